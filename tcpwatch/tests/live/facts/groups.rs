//! Sockets in groups: by state, owner, service, age, and what is wrong with them.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use tcpwatch::sample::{Group, Plan, Trouble};
use tcpwatch_common::TcpState;
use tcpwatch_common::host::Role;

use super::{Host, groups};
use crate::support::netns::Netns;
use crate::support::peer::Peer;
use crate::support::sock;
use crate::support::tun::{Tun, kernel_ip, peer_ip};

const N: u64 = 12;
const TIMEOUT: Duration = Duration::from_secs(5);

/// Everything is suspicious, and nothing has to last.
fn eager() -> Plan {
    Plan {
        aged_after: [Duration::from_secs(1); TcpState::COUNT],
        suspicious_from: [1; TcpState::COUNT],
        silent_after: Duration::from_secs(1),
        unacknowledged_after: Duration::from_millis(500),
        stalled_after: Duration::from_millis(500),
        tuples_from: 1,
    }
}

fn is_close_wait(group: &Group) -> bool {
    group.state == TcpState::CloseWait
}

#[test]
fn close_wait_by_owner_accepted_or_not() {
    let ns = Netns::new("closewait");
    let mut host = Host::open();
    host.plan(eager());
    let listener = ns.run(|| sock::listen((Ipv4Addr::LOCALHOST, 0).into(), 64)).expect("listen");
    let address = listener.local_addr().expect("bound");
    let connect = || {
        let mut client = ns.run(|| TcpStream::connect(address)).expect("connect");
        client.write_all(b"unread").expect("write");
        client
    };
    let accepted: Vec<_> = (0..N)
        .map(|_| {
            let client = connect();
            let (server, _) = sock::accept(&listener, TIMEOUT).expect("accept");
            drop(client);
            server
        })
        .collect();
    for _ in 0..3 {
        drop(connect());
    }
    let found = host.until("aged groups", |sample| {
        let found: Vec<_> =
            groups(sample, &ns).iter().filter(|group| is_close_wait(group)).cloned().collect();
        (found.iter().map(|group| group.aged).sum::<u64>() == N + 3).then_some(found)
    });
    let [never, mine]: [Group; 2] = {
        let mut found = found;
        found.sort_by_key(|group| group.count);
        found.try_into().expect("two groups")
    };
    assert_eq!((mine.count, mine.pid, mine.never_accepted), (N, Some(std::process::id()), false));
    assert_eq!((mine.role, mine.port, mine.orphan), (Some(Role::Passive), address.port(), false));
    assert_eq!((mine.unread, mine.unread_bytes, mine.unknown_age), (N, N * 6, 0));
    assert!(mine.oldest >= Duration::from_secs(1) && mine.example.local == address, "{mine:?}");
    assert_eq!((never.count, never.pid, never.never_accepted), (3, Some(std::process::id()), true));
    assert_eq!(never.port, address.port());
    // Those that were never accepted go with their listener.
    drop((accepted, listener));
    host.until("their end", |sample| (!groups(sample, &ns).iter().any(is_close_wait)).then_some(()));
}

#[test]
fn ports_toward_one_destination_are_counted() {
    let ns = Netns::new("tuples");
    let mut host = Host::open();
    host.plan(eager());
    let listener = ns.run(|| sock::listen((Ipv4Addr::LOCALHOST, 0).into(), 64)).expect("listen");
    let address = listener.local_addr().expect("bound");
    // The client closes first, so that TIME_WAIT stays on its side.
    let mut open = Vec::new();
    for number in 0..N {
        let client = ns.run(|| TcpStream::connect(address)).expect("connect");
        let server = sock::accept(&listener, TIMEOUT).expect("accept");
        if number.is_multiple_of(2) {
            drop(client);
            crate::support::states::wait_state(&server.0, TcpState::CloseWait as u8);
        } else {
            open.push((client, server));
        }
    }
    let tuple = host.until("the tuple", |sample| {
        let survey = super::namespace(sample, &ns)?.survey.as_ref()?;
        survey.tuples.iter().find(|tuple| tuple.remote == address && tuple.used == N).cloned()
    });
    assert_eq!((tuple.local, tuple.time_wait), (address.ip(), N / 2));
}

/// A connection that the kernel opened to the peer.
fn opened<'a>(tun: &'a Tun, ns: &Netns, port: u16) -> (Peer<'a>, TcpStream) {
    let remote = SocketAddr::new(peer_ip(false), port);
    let mut peer = Peer::new(tun, remote, SocketAddr::new(kernel_ip(false), 0));
    let stream = ns.run(|| sock::connect_start(remote)).expect("connect");
    peer.accept_from_kernel();
    (peer, stream)
}

#[test]
fn troubled_connections_are_told_apart() {
    let ns = Netns::new("trouble");
    let tun = Tun::new(&ns, "tun0");
    let mut host = Host::open();
    host.plan(eager());
    let (_silent, idle) = opened(&tun, &ns, 30_001);
    let (_kept, alive) = opened(&tun, &ns, 30_002);
    sock::keepalive(&alive, Duration::from_hours(1), Duration::from_mins(1), 3).expect("keepalive");
    let (_deaf, mut sending) = opened(&tun, &ns, 30_003);
    sending.write_all(b"nobody answers").expect("write");
    let (mut full, mut stalled) = opened(&tun, &ns, 30_004);
    full.window = 0;
    full.ack();
    std::thread::sleep(Duration::from_millis(50));
    stalled.write_all(b"no room there").expect("write");
    let found = host.until("three troubles", |sample| {
        let of = |port: u16| {
            let mut mine = groups(sample, &ns).iter().filter(|group| group.port == port);
            mine.find(|group| group.state == TcpState::Established).map(|group| group.trouble)
        };
        let found = [of(30_001), of(30_002), of(30_003), of(30_004)];
        let wanted = [Trouble::NoKeepalive, Trouble::None, Trouble::Unacknowledged, Trouble::PeerWindowZero];
        (found == wanted.map(Some)).then_some(found)
    });
    assert_eq!(found.len(), 4);
    drop((idle, alive, sending, stalled));
}
