//! How single connections fare, against what the kernel tells of the same sockets (`TCP_INFO`): asked before and after,
//! as all of it grows.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::net::sockopt;
use tcpwatch::host::clock;
use tcpwatch::kernel::{Counters, Kernel, Rows};
use tcpwatch::sample::Vitals;
use tcpwatch_common::event::{Row, detail};
use tcpwatch_common::socket::KERNEL_PID;

use super::Bed;
use super::figures::small;
use super::rows::{find, rows};
use crate::support::info::Info;
use crate::support::netns::Netns;
use crate::support::peer::Peer;
use crate::support::segment::ACK;
use crate::support::sock;
use crate::support::tun::{Tun, kernel_ip, peer_ip};
use crate::support::work::meanwhile;

const TIMEOUT: Duration = Duration::from_secs(20);

/// All sockets of the namespace, by a program of its own.
fn walk(ns: &Netns, program: &mut Rows) -> Vec<Row> {
    ns.run(|| {
        let mut walk = program.walk().expect("begin a walk");
        let mut buffer = vec![0; 64 * Row::SIZE];
        let mut rows = Vec::new();
        loop {
            let length = walk.read(&mut buffer).expect("walk");
            if length == 0 {
                return rows;
            }
            rows.extend(buffer[..length].chunks_exact(Row::SIZE).filter_map(Row::from_bytes));
        }
    })
}

/// What tcpwatch tells of a connection, and the kernel before and after.
struct Told {
    before: Info,
    ours: Vitals,
    retransmits: u32,
    after: Info,
}

impl Told {
    fn of(ns: &Netns, program: &mut Rows, stream: &TcpStream) -> Self {
        let (local, remote) = (stream.local_addr().expect("address"), stream.peer_addr().expect("connected"));
        let before = Info::of(stream);
        let rows = walk(ns, program);
        let after = Info::of(stream);
        let row = find(&rows, local, remote);
        let tick = clock::tick();
        assert!(tick.is_some(), "the kernel does not tell how long a tick is");
        Self { before, ours: Vitals::of(&row.vitals, tick), retransmits: row.retransmits, after }
    }

    /// Everything that only grows is between what it was before and after.
    #[track_caller]
    fn check(&self) {
        fn between<T: PartialOrd + Copy + std::fmt::Debug>(what: &str, before: T, ours: Option<T>, after: T) {
            let ours = ours.unwrap_or_else(|| panic!("{what} is not known"));
            assert!(before <= ours && ours <= after, "{what}: {before:?} <= {ours:?} <= {after:?}");
        }
        let Self { before, ours, after, .. } = self;
        // The kernel divides a second's microseconds by ticks a second, which is not exact for 300 of them.
        let rounded = |time: Duration| time + time / 1000;
        between("busy", before.busy, ours.busy, rounded(after.busy));
        between("rwnd_limited", before.rwnd_limited, ours.rwnd_limited, rounded(after.rwnd_limited));
        between("sndbuf_limited", before.sndbuf_limited, ours.sndbuf_limited, rounded(after.sndbuf_limited));
        between("bytes_acked", before.bytes_acked, ours.bytes_acked, after.bytes_acked);
        between("bytes_received", before.bytes_received, ours.bytes_received, after.bytes_received);
        between("segments_out", before.segments_out.into(), ours.segments_out, after.segments_out.into());
        between("retransmits", before.total_retrans, Some(self.retransmits), after.total_retrans);
        between("timeouts", before.timeouts, ours.timeouts, after.timeouts);
        between("backoff", before.backoff, ours.backoff, after.backoff);
        between("probes", before.probes, ours.probes, after.probes);
        if before.min_rtt == after.min_rtt {
            let known = (after.min_rtt != u32::MAX).then(|| Duration::from_micros(after.min_rtt.into()));
            assert_eq!(ours.min_rtt, known);
        }
    }
}

/// Looks again and again until it is as it should become; each look is compared.
#[track_caller]
fn until(ns: &Netns, stream: &TcpStream, is_so: impl Fn(&Told) -> bool) -> Told {
    let mut program = Rows::load(false).expect("load the iterator's program");
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let told = Told::of(ns, &mut program, stream);
        told.check();
        if is_so(&told) {
            return told;
        }
        assert!(Instant::now() < deadline, "still {:?}, {:?}", told.ours, told.after);
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Writes as much as there is room for.
fn fill(mut stream: &TcpStream) {
    stream.set_nonblocking(true).expect("an option");
    while stream.write(&[7; 8 * 1024]).is_ok() {}
}

#[test]
fn a_peer_that_does_not_read_limits_by_its_window() {
    let ns = Netns::new("rwnd");
    let (client, server) = ns.run(|| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listen");
        let client = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
        (client, listener.accept().expect("accept").0)
    });
    fill(&client);
    let long = Some(Duration::from_millis(300));
    let told = until(&ns, &client, |told| told.ours.rwnd_limited > long && told.ours.probes > Some(0));
    assert!(told.ours.busy >= told.ours.rwnd_limited, "{:?}", told.ours);
    assert_eq!(told.ours.sndbuf_limited, Some(Duration::ZERO));
    assert_eq!(told.ours.soft_error, Some(0), "none");
    assert!(told.ours.bytes_acked > Some(0) && told.ours.min_rtt.is_some(), "{:?}", told.ours);
    // The other end has received just what was acknowledged, which counts the SYN.
    let other = until(&ns, &server, |_| true);
    assert_eq!(other.ours.bytes_received, told.ours.bytes_acked.map(|bytes| bytes - 1));
    assert_eq!(other.ours.busy, Some(Duration::ZERO), "it has never sent data");
}

fn opened<'a>(tun: &'a Tun, ns: &Netns) -> (Peer<'a>, TcpStream) {
    let service = SocketAddr::new(peer_ip(false), 443);
    let mut peer = Peer::new(tun, service, SocketAddr::new(kernel_ip(false), 0));
    let stream = ns.run(|| sock::connect_start(service)).expect("connect");
    peer.accept_from_kernel();
    (peer, stream)
}

#[test]
fn a_small_send_buffer_limits() {
    let ns = Netns::new("sndbuf");
    let tun = Tun::new(&ns, "tun0");
    let (mut peer, stream) = opened(&tun, &ns);
    // The least there is: soon less than the congestion window.
    sockopt::set_socket_send_buffer_size(&stream, 1).expect("an option");
    stream.set_nonblocking(false).expect("an option");
    stream.set_write_timeout(Some(Duration::from_millis(200))).expect("an option");
    let much = vec![7; 256 * 1024];
    let write = |stop: &AtomicBool| {
        while !stop.load(Ordering::Relaxed) {
            // A part of it, or nothing in so short a time.
            let _ = (&stream).write(&much);
        }
    };
    // Far away: all that is under way is acknowledged at once, and late.
    let peer = Mutex::new(&mut peer);
    let acknowledge = |stop: &AtomicBool| {
        let mut peer = peer.lock().expect("one thread");
        while !stop.load(Ordering::Relaxed) {
            while peer.wait(ACK, Duration::from_millis(5)).is_ok() {}
            std::thread::sleep(Duration::from_millis(30));
            peer.ack();
        }
    };
    let long = Some(Duration::from_millis(300));
    let told =
        meanwhile(&[&write, &acknowledge], || until(&ns, &stream, |told| told.ours.sndbuf_limited > long));
    assert!(told.ours.busy >= told.ours.sndbuf_limited, "{:?}", told.ours);
}

#[test]
fn a_connection_that_dies_shows_how_far_it_is() {
    let ns = Netns::new("dying");
    let tun = Tun::new(&ns, "tun0");
    let (_, mut stream) = opened(&tun, &ns);
    stream.write_all(b"nobody answers").expect("write");
    let told = until(&ns, &stream, |told| told.ours.backoff >= Some(2));
    assert!(told.ours.timeouts >= Some(2) && told.retransmits >= 2, "{:?}", told.ours);
    assert_eq!(told.ours.soft_error, Some(0), "none");
    // Now the way is gone, too.
    drop(tun);
    let told = until(&ns, &stream, |told| told.ours.soft_error != Some(0));
    let name = told.ours.soft_error_name().expect("it is known");
    assert!(["ENETUNREACH", "EHOSTUNREACH"].contains(&&*name), "{name}");
    // The option tells the error, and forgets it.
    let error = stream.take_error().expect("an option").expect("an error");
    assert_eq!(error.raw_os_error().and_then(|error| u32::try_from(error).ok()), told.ours.soft_error);
}

#[test]
fn what_mptcp_makes_is_marked_as_the_kernel_s_and_is_not() {
    let bed = Bed::new("marked");
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let Ok(listener) = bed.ns.run(|| sock::mptcp_listen(any, 8)) else {
        println!("no MPTCP in this kernel");
        return;
    };
    let mut kernel = Kernel::open(&small()).expect("load the programs");
    let mut counters = Counters::open(&mut kernel).expect("open the maps");
    // One listener is older than the programs, one is not.
    bed.ns.run(|| kernel.census(&mut counters)).expect("meet the older sockets");
    kernel.adopt(false).expect("stop meeting sockets");
    let younger = bed.ns.run(|| sock::mptcp_listen(any, 8)).expect("listen");
    let plain = bed.ns.run(|| sock::listen(any, 8)).expect("listen");
    let mut connections = Vec::new();
    for listener in [&listener, &younger] {
        let to = listener.local_addr().expect("address");
        let subflow = bed.ns.run(|| sock::mptcp_connect(to)).expect("connect");
        let fallen_back = bed.ns.run(|| TcpStream::connect(to)).expect("connect");
        connections.push((subflow, true));
        connections.push((fallen_back, false));
    }
    let told = |kernel: &mut Kernel| rows(kernel, &bed);
    let never_accepted = told(&mut kernel);
    let accepted: Vec<_> = [&listener, &listener, &younger, &younger]
        .map(|listener| sock::accept(listener, TIMEOUT).expect("accept"))
        .into();
    for rows in [never_accepted, told(&mut kernel)] {
        // Three listeners and both ends of four connections, some of them marked.
        assert_eq!(rows.len(), 11, "{rows:#?}");
        for row in &rows {
            assert_eq!(row.details & detail::KERNEL, 0, "{row:#?}");
            assert_ne!(row.pid, KERNEL_PID, "{row:#?}");
        }
        let is_marked = |row: &Row| row.details & detail::MARKED != 0;
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let listens = |listener: &TcpListener| find(&rows, listener.local_addr().expect("bound"), nowhere);
        assert!(is_marked(listens(&listener)) && is_marked(listens(&younger)), "what MPTCP made");
        assert!(!is_marked(listens(&plain)), "what a process made");
        assert_eq!(listens(&younger).pid, std::process::id());
        for (stream, is_mptcp) in &connections {
            let ends = (stream.local_addr().expect("address"), stream.peer_addr().expect("connected"));
            let row = find(&rows, ends.0, ends.1);
            assert_eq!((is_marked(row), row.pid), (*is_mptcp, std::process::id()), "{row:#?}");
        }
    }
    drop(accepted);
}
