//! Tests against the running kernel and `ss`, in a namespace of their own.

use super::*;
use crate::host::proc_net;
use crate::host::testns::TestNs;
use rustix::net::{SocketAddrAny, bind, connect as connect_to, listen};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

/// Kernel state numbers of the first column of `ss`.
fn number(name: &str) -> usize {
    let names = [
        "?",
        "ESTAB",
        "SYN-SENT",
        "SYN-RECV",
        "FIN-WAIT-1",
        "FIN-WAIT-2",
        "TIME-WAIT",
        "UNCONN",
        "CLOSE-WAIT",
        "LAST-ACK",
        "LISTEN",
        "CLOSING",
    ];
    names.iter().position(|n| *n == name).unwrap()
}

/// Sockets of both families in as many lasting states as loopback allows.
fn crowd() -> Vec<Box<dyn std::any::Any>> {
    let mut kept: Vec<Box<dyn std::any::Any>> = Vec::new();
    for address in ["127.0.0.1:0", "[::1]:0", "[::]:0"] {
        let listener = TcpListener::bind(address).unwrap();
        let mut to = listener.local_addr().unwrap();
        if to.ip().is_unspecified() {
            to.set_ip([127, 0, 0, 1].into()); // a v4-mapped pair
        }
        let pair = || {
            let client = TcpStream::connect(to).unwrap();
            (client, listener.accept().unwrap().0)
        };
        kept.push(Box::new(pair())); // ESTAB twice
        let (client, server) = pair();
        client.shutdown(Shutdown::Write).unwrap(); // FIN-WAIT-2 with its file
        kept.push(Box::new((client, server)));
        let (client, server) = pair();
        drop(client); // FIN-WAIT-2 held as a TIME_WAIT, CLOSE-WAIT
        kept.push(Box::new(server));
        let (client, server) = pair();
        drop(client);
        drop(server); // TIME-WAIT
        kept.push(Box::new(listener));
    }
    // A listener with room for one: the others stay in SYN-SENT.
    let inet = |flags| socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
    let full = inet(SocketFlags::CLOEXEC);
    bind(&full, &"127.0.0.1:4000".parse::<SocketAddr>().unwrap()).unwrap();
    listen(&full, 0).unwrap();
    for _ in 0..4 {
        let client = inet(SocketFlags::NONBLOCK);
        let to = SocketAddrAny::from("127.0.0.1:4000".parse::<SocketAddr>().unwrap());
        let _ = connect_to(&client, &to);
        kept.push(Box::new(client));
    }
    kept.push(Box::new(full));
    kept
}

#[test]
fn counts_what_ss_counts() {
    let ns = TestNs::new("diag");
    assert_eq!(ns.within(count_states).unwrap(), [0; 13]);
    let kept = ns.within(crowd);
    std::thread::sleep(Duration::from_millis(100));
    let mut expected = [0; 13];
    for line in ns.exec("ss -Htan").lines() {
        expected[number(line.split(' ').next().unwrap())] += 1;
    }
    let counted = ns.within(count_states).unwrap();
    assert_eq!(counted, expected);
    assert_eq!(ns.within(proc_net::count_states).unwrap(), expected);
    for state in [1, 2, 5, 6, 8, 10] {
        assert!(counted[state] > 0, "no socket in state {state}: {counted:?}");
    }
    println!("{counted:?}");
    // The same sockets, one by one. What netlink tells beside is left out.
    let bare = |socket: &DiagSocket| {
        let remote = (socket.remote, socket.state, socket.uid, socket.inode);
        format!("{} {remote:?} {} {} {}", socket.local, socket.family, socket.rqueue, socket.state == 10)
    };
    let (mut listed, mut printed) = (Vec::new(), Vec::new());
    ns.within(|| dump(ALL_STATES, |socket| listed.push(bare(socket)))).unwrap();
    ns.within(|| proc_net::dump(|socket| printed.push(bare(socket)))).unwrap();
    listed.sort();
    printed.sort();
    assert_eq!(printed, listed);
    drop(kept);
}

#[test]
fn mask_and_fields() {
    let ns = TestNs::new("fields");
    let (listener, waiting) = ns.within(|| {
        let listener = TcpListener::bind("[::]:5000").unwrap();
        let waiting = TcpStream::connect("127.0.0.1:5000").unwrap();
        (listener, waiting)
    });
    let list = |states| {
        let mut found = Vec::new();
        let dumped = ns.within(|| dump(states, |s| found.push(*s))).unwrap();
        assert!(!dumped.interrupted);
        found
    };
    let listeners = list(1 << 10);
    assert_eq!(listeners.len(), 1);
    let one = listeners[0];
    assert_eq!((one.family, one.state, one.uid), (10, 10, 0));
    assert_eq!(one.local, listener.local_addr().unwrap());
    assert_eq!(one.remote, "[::]:0".parse().unwrap());
    assert_eq!((one.rqueue, one.wqueue), (1, 128));
    assert!(one.inode != 0 && one.cookie != 0);
    let mapped: SocketAddr = "[::ffff:127.0.0.1]:5000".parse().unwrap();
    let established = list(1 << 1);
    assert_eq!(established.len(), 2);
    let server = established.iter().find(|s| s.local == mapped).unwrap();
    assert_eq!(server.family, 10);
    assert_eq!(server.inode, 0, "not accepted yet");
    let client = established.iter().find(|s| s.family == 2).unwrap();
    assert_eq!(client.local, waiting.local_addr().unwrap());
    assert!(list(1 << 6).is_empty());
}

#[test]
fn more_than_one_datagram() {
    let ns = TestNs::new("many");
    let kept: Vec<_> = ns.within(|| (0..1500).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect());
    assert_eq!(ns.within(count_states).unwrap()[10], 1500);
    assert_eq!(ns.within(proc_net::count_states).unwrap()[10], 1500);
    drop(kept);
}
