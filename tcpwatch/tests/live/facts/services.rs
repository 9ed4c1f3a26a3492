//! What is added up at the end of connections by service, held against what the sockets said of themselves.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use tcpwatch::sample::{Ends, Sample, ServiceSample, Side, What};
use tcpwatch_common::service::CONNECTED;
use tcpwatch_common::{TcpState, histogram};

use super::Host;
use super::floods::listen;
use crate::support::link::has_ipv6;
use crate::support::netns::Netns;
use crate::support::sock;

/// What `TCP_INFO` says that is added up as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Told {
    connections: u64,
    segments: u64,
    retransmitted: u64,
    received: u64,
    acknowledged: u64,
    /// Microseconds.
    busy: u64,
    window: u64,
    rtt: u64,
}

/// Asks a socket right before it is closed, when all that was sent has been acknowledged.
fn ask(stream: &TcpStream) -> Told {
    let mut info = [0u8; 256];
    let mut length = libc::socklen_t::try_from(info.len()).expect("small");
    // SAFETY: the descriptor is open, and the kernel writes no more than `length` bytes.
    let done = unsafe {
        let into = info.as_mut_ptr().cast();
        libc::getsockopt(stream.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, into, &raw mut length)
    };
    assert_eq!(done, 0, "TCP_INFO: {}", std::io::Error::last_os_error());
    let half = |at: usize| u64::from(u32::from_ne_bytes(info[at..at + 4].try_into().expect("four")));
    let whole = |at: usize| u64::from_ne_bytes(info[at..at + 8].try_into().expect("eight"));
    // `struct tcp_info`: these places are part of the kernel's interface.
    Told {
        connections: 1,
        retransmitted: half(100),
        acknowledged: whole(120),
        received: whole(128),
        rtt: half(148),
        segments: half(156),
        busy: whole(168),
        window: whole(176),
    }
}

impl Told {
    fn and(self, other: Self) -> Self {
        Self {
            connections: self.connections + other.connections,
            segments: self.segments + other.segments,
            retransmitted: self.retransmitted + other.retransmitted,
            received: self.received + other.received,
            acknowledged: self.acknowledged + other.acknowledged,
            busy: self.busy + other.busy,
            window: self.window + other.window,
            rtt: self.rtt.min(other.rtt),
        }
    }
}

fn of(sample: &Sample, ns: &Netns, side: Side, port: u16) -> Option<ServiceSample> {
    let mut all = sample.services.iter().filter(|one| one.netns == ns.inode());
    all.find(|one| (one.side, one.port) == (side, port)).cloned()
}

/// Connections that ended, by the host's counters of ends, which are counted elsewhere.
fn ends_of_host(sample: &Sample) -> u64 {
    let host = sample.host.as_ref().expect("eBPF counts");
    let connected = TcpState::ALL.iter().filter(|state| CONNECTED >> **state as u64 & 1 == 1);
    connected.flat_map(|state| host.endings[state.index()]).sum()
}

/// Connections of all services, and of those that are not told apart.
fn ends_by_service(sample: &Sample) -> u64 {
    let other = sample.other_ends.as_ref().expect("ends are seen");
    sample.services.iter().map(|one| one.ends.connections).sum::<u64>() + other.connections
}

/// Every connection of the host is of one service, once nothing happens between two looks at the counters.
fn assert_all_are_counted(host: &mut Host) {
    host.until("a sum that is that of all ends", |sample| {
        (ends_by_service(sample) == ends_of_host(sample)).then_some(())
    });
}

/// Sends both ways, and waits until all of it is acknowledged.
fn talk(client: &mut TcpStream, server: &mut TcpStream, request: usize, answer: usize) {
    let mut buffer = vec![7; request.max(answer)];
    client.write_all(&buffer[..request]).expect("sent");
    server.read_exact(&mut buffer[..request]).expect("received");
    server.write_all(&buffer[..answer]).expect("sent");
    client.read_exact(&mut buffer[..answer]).expect("received");
    let unsent = |stream: &TcpStream| {
        let mut bytes: libc::c_int = 0;
        // SAFETY: the descriptor is open, and the kernel writes one int.
        unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
        bytes
    };
    while unsent(client) != 0 || unsent(server) != 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
}

type End = fn(TcpStream, TcpStream);

fn client_first(client: TcpStream, mut server: TcpStream) {
    drop(client);
    assert_eq!(server.read(&mut [0]).expect("an end"), 0);
}

fn server_first(client: TcpStream, server: TcpStream) {
    client_first(server, client);
}

fn both_know(mut client: TcpStream, mut server: TcpStream) {
    client.shutdown(Shutdown::Write).expect("shut down");
    assert_eq!(server.read(&mut [0]).expect("an end"), 0);
    server.shutdown(Shutdown::Write).expect("shut down");
    assert_eq!(client.read(&mut [0]).expect("an end"), 0);
}

fn by_reset(client: TcpStream, mut server: TcpStream) {
    sock::linger_zero(&client).expect("an option");
    drop(client);
    server.read(&mut [0]).expect_err("reset");
}

/// The one that closes first is a mini-socket in `FIN_WAIT2` before the other closes.
fn by_mini_socket(client: TcpStream, server: TcpStream) {
    drop(client);
    std::thread::sleep(Duration::from_millis(20));
    drop(server);
}

const ENDS: [End; 5] = [client_first, server_first, both_know, by_reset, by_mini_socket];

fn check(service: &ServiceSample, told: Told, syns: u64) {
    let found = &service.ends;
    let expected = Ends {
        connections: told.connections,
        retransmitting: Some(0),
        // The kernel counts the SYN of who connected.
        bytes_out: Some(told.acknowledged - syns),
        bytes_in: Some(told.received),
        segments: Some(told.segments),
        retransmitted: Some(told.retransmitted),
        ..found.clone()
    };
    assert_eq!(*found, expected);
    let rtt = found.rtt.as_ref().expect("every kernel tells");
    assert_eq!(rtt.buckets.iter().sum::<u64>() + rtt.unknown, told.connections);
}

fn both_ways(ip: IpAddr, hint: &str) {
    let ns = Netns::new(hint);
    let (listener, address) = listen(&ns, ip, 64);
    let mut host = Host::open();
    let (mut clients, mut servers) = (Told::default(), Told::default());
    for (number, end) in (1..).zip(ENDS.iter().cycle().take(15)) {
        let mut client = ns.run(|| TcpStream::connect(address)).expect("it listens");
        let (mut server, _) = listener.accept().expect("a client");
        talk(&mut client, &mut server, 100 * number, 30_000);
        clients = clients.and(ask(&client));
        servers = servers.and(ask(&server));
        end(client, server);
    }
    assert_eq!(clients.received, 15 * 30_000, "{clients:?}");
    let port = address.port();
    let (here, there) = host.until("both sides", |sample| {
        let (here, there) = (of(sample, &ns, Side::Here, port)?, of(sample, &ns, Side::There, port)?);
        (here.ends.connections == 15 && there.ends.connections == 15).then_some((here, there))
    });
    check(&there, clients, 15);
    check(&here, servers, 0);
    let all = host.sample();
    let of_it: Vec<_> = all.services.iter().filter(|one| one.netns == ns.inode()).collect();
    assert_eq!(of_it.len(), 2, "{of_it:#?}");
    assert_all_are_counted(&mut host);
}

#[test]
fn each_connection_is_added_to_its_service_once_however_it_ends() {
    both_ways(Ipv4Addr::LOCALHOST.into(), "ends4");
    if has_ipv6() {
        both_ways(Ipv6Addr::LOCALHOST.into(), "ends6");
    }
}

/// The peer reads nothing for a while, so data waits for its window.
#[test]
fn what_limits_a_connection_is_what_the_socket_says() {
    let ns = Netns::new("limits");
    let (listener, address) = listen(&ns, Ipv4Addr::LOCALHOST.into(), 8);
    let mut host = Host::open();
    let mut client = ns.run(|| TcpStream::connect(address)).expect("it listens");
    let (mut server, _) = listener.accept().expect("a client");
    let much = vec![7; 8 << 20];
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| (&client).write_all(&much).expect("sent"));
        std::thread::sleep(Duration::from_millis(600));
        server.read_exact(&mut vec![0; much.len()]).expect("received");
        writer.join().expect("no panic");
    });
    talk(&mut client, &mut server, 1, 1);
    let told = ask(&client);
    assert!(told.window > 100_000, "{told:?}");
    client_first(client, server);
    let there = host.until("the connection", |sample| {
        of(sample, &ns, Side::There, address.port()).filter(|one| one.ends.limits.is_some())
    });
    let limits = there.ends.limits.expect("looked for");
    assert_eq!(limits.window, Duration::from_micros(told.window));
    // The FIN has to be acknowledged, too.
    assert!(
        limits.busy + limits.window + limits.buffer >= Duration::from_micros(told.busy),
        "{limits:?}, {told:?}"
    );
    assert_eq!(there.ends.bytes_out, Some(told.acknowledged - 1));
    // And its acknowledgement may be the fastest.
    let rtt = there.ends.rtt.expect("every kernel tells");
    let bucket = rtt.buckets.iter().position(|count| *count > 0).expect("it was measured");
    assert!(bucket <= histogram::bucket(told.rtt * 1000) && rtt.unknown == 0, "{rtt:?}, {told:?}");
}

/// A connect that is refused was no connection.
#[test]
fn connects_that_fail_are_no_connections() {
    let ns = Netns::new("noends");
    let (listener, address) = listen(&ns, Ipv4Addr::LOCALHOST.into(), 8);
    let mut host = Host::open();
    let refused = SocketAddr::new(address.ip(), 9);
    ns.run(|| TcpStream::connect(refused)).expect_err("nobody listens");
    let client = ns.run(|| TcpStream::connect(address)).expect("it listens");
    drop(listener);
    drop(client);
    let there = host.until("the connection", |sample| of(sample, &ns, Side::There, address.port()));
    assert_eq!((there.ends.connections, there.ends.bytes_out), (1, Some(0)));
    assert_eq!(of(&host.sample(), &ns, Side::There, 9), None);
    assert_all_are_counted(&mut host);
}

/// Who opened a connection that is older than the programs is not known, and not guessed.
#[test]
fn older_connections_are_of_an_unknown_side() {
    let ns = Netns::new("oldends");
    let (listener, address) = listen(&ns, Ipv4Addr::LOCALHOST.into(), 8);
    let client = ns.run(|| TcpStream::connect(address)).expect("it listens");
    let (server, _) = listener.accept().expect("a client");
    let mut host = Host::open();
    client_first(client, server);
    let unknown = host.until("both ends", |sample| {
        of(sample, &ns, Side::Unknown, 0).filter(|one| one.ends.connections == 2)
    });
    assert_eq!(unknown.ends.bytes_in, Some(0));
    assert_all_are_counted(&mut host);
}

#[test]
fn services_without_room_are_all_others_and_reported() {
    const MANY: u16 = 200;
    let ns = Netns::new("manyends");
    let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let listeners: Vec<TcpListener> = ns.run(|| {
        let ports = 20_000..20_000 + MANY;
        ports.map(|port| TcpListener::bind(address(port)).expect("a free port")).collect()
    });
    let mut host = Host::open();
    let other = |sample: &Sample| sample.other_ends.as_ref().expect("ends are seen").connections;
    let before = host.sample();
    // Between two samples, so that a namespace gets its part of the slots and no more.
    for listener in &listeners {
        let port = listener.local_addr().expect("bound").port();
        let client = ns.run(|| TcpStream::connect(address(port))).expect("it listens");
        let (server, _) = listener.accept().expect("a client");
        client_first(client, server);
    }
    std::thread::sleep(Duration::from_millis(100));
    let after = host.sample();
    let told = after.services.iter().filter(|one| one.netns == ns.inode()).map(|one| one.ends.connections);
    let (slots, told): (Vec<u64>, u64) = (told.clone().collect(), told.sum());
    assert!(!slots.is_empty() && slots.len() < 2 * usize::from(MANY), "{slots:?}");
    // Others on this host may have a part in it.
    assert!(other(&after) - other(&before) >= 2 * u64::from(MANY) - told, "{told}");
    let short = after.shortages.iter().find(|one| one.what == What::Services).expect("it is reported");
    assert!(short.count >= 2 * u64::from(MANY) - told, "{short:?}");
    assert_all_are_counted(&mut host);
}
