//! The walk over the kernel's table of connections, held against the kernel's own iterator on the same sockets.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tcpwatch::kernel::{Connections, Rows};
use tcpwatch::sample::SocketSample;
use tcpwatch::source::Listing;
use tcpwatch_common::event::{Row, detail};
use tcpwatch_common::walk::{ROWS, Short};

use super::Bed;
use crate::support::netns::Netns;
use crate::support::states::{ESTABLISHED, LISTEN, raise_fd_limit};

/// State as the kernel numbers it, both ends, and both queues where there are some.
type Told = (u8, SocketAddr, SocketAddr, Option<(u64, u64)>);

fn end(ip: impl Into<IpAddr>, port: u16) -> SocketAddr {
    SocketAddr::new(ip.into().to_canonical(), port)
}

/// By the kernel's iterator.
fn iterated(ns: &Netns) -> Vec<Told> {
    let mut rows = Rows::load(true).expect("load the iterator's program");
    let mut told: Vec<Told> = ns.run(|| {
        let mut walk = rows.walk().expect("begin a walk");
        let mut buffer = vec![0; 1024 * Row::BRIEF_SIZE];
        let mut told = Vec::new();
        loop {
            let length = walk.read(&mut buffer).expect("walk");
            if length == 0 {
                return told;
            }
            for row in buffer[..length].chunks_exact(Row::BRIEF_SIZE).filter_map(Row::from_bytes) {
                let local = end(Ipv6Addr::from(row.local), row.local_port);
                let remote = end(Ipv6Addr::from(row.remote), row.remote_port);
                let queues = (u64::from(row.unread), u64::from(row.unsent));
                told.push((row.state, local, remote, (row.details & detail::KNOWN != 0).then_some(queues)));
            }
        }
    });
    told.sort();
    told
}

/// The program of the walk; `None` on a kernel that does not run it.
fn load(is_plain: bool) -> Option<Connections> {
    let error = match Connections::load(2, is_plain) {
        Ok(connections) => return Some(connections),
        Err(error) => error,
    };
    let symbols = fs::read_to_string("/proc/kallsyms").expect("read the kernel's symbols");
    let can = symbols.lines().any(|line| line.split(' ').nth(2) == Some("bpf_loop"));
    assert!(!can, "this kernel should run the walk: {error}");
    println!("no walk over connections here: {error}");
    None
}

/// By the walk over the table.
fn walked(connections: &mut Connections, ns: &Netns) -> Vec<Told> {
    let told = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for (number, mut walker) in (0..).zip(connections.walkers()) {
            let told = &told;
            // Each takes every other stretch, until the table ends.
            let walk = move || {
                for stretch in (number..).step_by(2) {
                    let mut mine = Vec::new();
                    let goes_on = walker.walk(stretch * 1000..(stretch + 1) * 1000, &mut |shorts| {
                        mine.extend(shorts.iter().map(tell));
                    });
                    told.lock().expect("whole").extend(mine);
                    if !goes_on.expect("walk") {
                        return;
                    }
                }
            };
            scope.spawn(move || ns.run(walk));
        }
    });
    let mut told = told.into_inner().expect("whole");
    told.sort();
    told
}

fn tell(short: &Short) -> Told {
    let ip = |bytes: [u8; 16]| match short.family {
        4 => IpAddr::from(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3])),
        _ => IpAddr::from(Ipv6Addr::from(bytes)),
    };
    let queues = (u64::from(short.unread), u64::from(short.unsent));
    (
        short.state,
        end(ip(short.local), short.local_port),
        end(ip(short.remote), short.remote_port),
        (short.is_whole != 0).then_some(queues),
    )
}

#[test]
fn the_walk_tells_what_the_iterator_tells() {
    let bed = Bed::new("walk");
    let held = bed.families(3);
    let (mut writer, _reader, _listener) = bed.ns.run(|| {
        let listener = TcpListener::bind("[::]:0").expect("listen");
        let to = SocketAddr::from(([127, 0, 0, 1], listener.local_addr().expect("address").port()));
        let client = TcpStream::connect(to).expect("connect");
        let server = listener.accept().expect("accept").0;
        (client, server, listener)
    });
    writer.write_all(&[7; 17]).expect("write what nobody reads");
    for socket in held.iter().flat_map(|held| &held.sockets).filter(|socket| socket.state == ESTABLISHED) {
        let fd = socket.fd.as_ref().expect("it is whole");
        rustix::io::write(fd, b"nobody acknowledges this").expect("write");
    }
    let all = iterated(&bed.ns);
    let (listeners, old): (Vec<Told>, Vec<Told>) = all.iter().partition(|told| told.0 == LISTEN);
    let mut states = [0_u64; 16];
    for (state, ..) in &all {
        states[usize::from(if *state == 12 { 3 } else { *state })] += 1;
    }
    let mut expected = [0; 16];
    for (sum, count) in held.iter().flat_map(|held| held.counts().into_iter().enumerate()) {
        expected[sum] += count;
    }
    // The pair, and its listener.
    (expected[1], expected[10]) = (expected[1] + 2, expected[10] + 1);
    assert_eq!(states, expected);
    for queues in [(0, 24), (17, 0)] {
        assert!(old.iter().any(|told| told.3 == Some(queues)), "{queues:?} is held: {old:?}");
    }
    for is_plain in [false, true] {
        let Some(mut connections) = load(is_plain) else { return };
        assert_eq!(walked(&mut connections, &bed.ns), old, "plain: {is_plain}");
    }

    let mut listing = Listing::quick().expect("the same again");
    listing.look().expect("look for namespaces");
    let mut listed = Vec::new();
    let problems = listing.walk(&|handle| handle.inode == bed.ns.inode(), &mut |socket: &SocketSample| {
        let queues = socket.recv_queue.zip(socket.send_queue);
        listed.push((socket.state as u8, socket.local, socket.remote, queues));
        ControlFlow::Continue(())
    });
    listed.sort();
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(listed, all);
    assert!(!listeners.is_empty());
}

/// A namespace with a table of its own that has so many chains; `None` where the kernel gives none.
fn with_chains(chains: u32) -> Option<Netns> {
    if !Path::new("/proc/sys/net/ipv4/tcp_child_ehash_entries").exists() {
        println!("this kernel gives no namespace a table of its own");
        return None;
    }
    let outer = Netns::new("parent");
    outer.sysctl("net.ipv4.tcp_child_ehash_entries", &chains.to_string());
    Some(outer.run(|| Netns::new("chains")))
}

#[test]
fn sockets_that_stay_are_told_once_while_others_come_and_go() {
    // In few chains, those that come and go are among those that stay.
    for ns in [Some(Netns::new("coming")), with_chains(8)].into_iter().flatten() {
        for is_plain in [false, true] {
            let Some(mut connections) = load(is_plain) else { return };
            watch_coming_and_going(&ns, &mut connections);
        }
    }
}

fn watch_coming_and_going(ns: &Netns, connections: &mut Connections) {
    let (listener, held) = ns.run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let to = listener.local_addr().expect("address");
        let pair = || (TcpStream::connect(to).expect("connect"), listener.accept().expect("accept").0);
        let held: Vec<_> = (0..200).map(|_| pair()).collect();
        (listener, held)
    });
    let ends = |socket: &TcpStream| {
        (socket.local_addr().expect("its address"), socket.peer_addr().expect("its peer's"))
    };
    let staying: Vec<_> = held.iter().flat_map(|(one, other)| [ends(one), ends(other)]).collect();
    let is_over = AtomicBool::new(false);
    let wrong = thread::scope(|scope| {
        scope.spawn(|| {
            ns.run(|| {
                let to = listener.local_addr().expect("address");
                while !is_over.load(Ordering::Relaxed) {
                    let client = TcpStream::connect(to).expect("connect");
                    drop((client, listener.accept().expect("accept")));
                }
            });
        });
        let until = Instant::now() + Duration::from_secs(1);
        let (mut walks, mut wrong) = (0, Vec::new());
        while Instant::now() < until && wrong.is_empty() {
            walks += 1;
            let mut counts: BTreeMap<(SocketAddr, SocketAddr), usize> = BTreeMap::new();
            for (_, local, remote, _) in walked(connections, ns) {
                *counts.entry((local, remote)).or_default() += 1;
            }
            let told = staying.iter().map(|ends| (*ends, counts.get(ends).copied().unwrap_or(0)));
            wrong.extend(told.filter(|(_, count)| *count != 1));
        }
        // Or the scope would never end.
        is_over.store(true, Ordering::Relaxed);
        println!("{walks} walks");
        wrong
    });
    assert!(wrong.is_empty(), "not told once: {wrong:?}");
}

#[test]
fn a_chain_that_is_longer_than_a_part_is_told_whole() {
    raise_fd_limit();
    let Some(ns) = with_chains(1) else { return };
    let pairs = ROWS / 2 + 100;
    let held = ns.run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let to = listener.local_addr().expect("address");
        let pair = |_| (TcpStream::connect(to).expect("connect"), listener.accept().expect("accept").0);
        ((0..pairs).map(pair).collect::<Vec<_>>(), listener)
    });
    for is_plain in [false, true] {
        let Some(mut connections) = load(is_plain) else { break };
        let told = walked(&mut connections, &ns);
        assert_eq!(told.len(), 2 * pairs, "each is told, plain: {is_plain}");
        assert!(told.is_sorted_by(|one, next| one < next), "none is told twice");
    }
    drop(held);
}
