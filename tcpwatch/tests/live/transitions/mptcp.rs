//! MPTCP: its subflows are TCP sockets, its own sockets have another machine.

use super::{Bed, TIMEOUT, loopback};
use crate::support::sock;
use crate::watch::History;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use tcpwatch::view::event::View;

#[test]
fn subflows_are_told_of_and_meta_sockets_only_counted() {
    for v6 in [false, true] {
        let bed = Bed::new("mptcp");
        let addr = SocketAddr::new(loopback(v6), 0);
        let listener = match bed.ns.run(|| sock::mptcp_listen(addr, 4)) {
            Ok(listener) => listener,
            Err(error) => {
                // A kernel without MPTCP, or with MPTCP turned off.
                let known = [libc::EPROTONOSUPPORT, libc::ENOPROTOOPT];
                assert!(known.contains(&error.raw_os_error().unwrap_or(0)), "{error}");
                println!("no MPTCP in this kernel: {error}");
                return;
            }
        };
        let before = bed.watch().host().mptcp.iter().sum::<u64>();
        let addr = listener.local_addr().expect("local address");
        let mut client = bed.ns.run(|| sock::mptcp_connect(addr)).expect("connect");
        let (mut server, _) = sock::accept(&listener, TIMEOUT).expect("accept");
        client.write_all(b"ping").expect("write");
        server.read_exact(&mut [0; 4]).expect("read");
        server.write_all(b"pong").expect("write");
        client.read_exact(&mut [0; 4]).expect("read");
        bed.expect(
            v6,
            &[
                ("listener", &["close>listen rfc me"]),
                ("client", &["close>syn_sent rfc me", "syn_sent>established rfc me"]),
                ("server", &["listen>syn_recv linux unknown", "syn_recv>established rfc unknown"]),
            ],
        );
        let mptcp = bed.watch().host().mptcp.iter().sum::<u64>();
        assert!(mptcp > before, "no transition of a meta-socket");

        drop(client);
        drop(server);
        drop(listener);
        let ended = |told: &[&View]| told.iter().filter(|view| view.to == Some("close")).count() >= 3;
        let histories = bed.watch().histories(super::family(v6), ended);
        // Which side is first depends on the kernel's workers; each must come to its end in the TCP machine.
        assert_eq!(histories.len(), 3, "{histories:#?}");
        for History { name, steps } in &histories {
            assert!(steps.last().is_some_and(|step| step.contains(">close ")), "{name}: {steps:?}");
            assert!(!steps.iter().any(|step| step.contains("illegal")), "{name}: {steps:?}");
            // Whoever runs when a worker closes a subflow is not the owner.
            assert!(steps.iter().all(|s| s.ends_with(" me") || s.ends_with(" unknown")), "{name}: {steps:?}");
        }
        bed.done();
    }
}

#[test]
fn plain_clients_fall_back() {
    let bed = Bed::new("fallback");
    let addr = SocketAddr::new(loopback(false), 0);
    let listener = match bed.ns.run(|| sock::mptcp_listen(addr, 4)) {
        Ok(listener) => listener,
        Err(error) => {
            assert_ne!(error.kind(), ErrorKind::PermissionDenied);
            println!("no MPTCP in this kernel: {error}");
            return;
        }
    };
    let addr = listener.local_addr().expect("local address");
    let _client = bed.ns.run(|| std::net::TcpStream::connect(addr)).expect("connect");
    let _server = sock::accept(&listener, TIMEOUT).expect("accept");
    bed.expect(
        false,
        &[
            ("listener", &["close>listen rfc me"]),
            ("client", &["close>syn_sent rfc me", "syn_sent>established rfc me"]),
            ("server", &["listen>syn_recv linux unknown", "syn_recv>established rfc unknown"]),
        ],
    );
    bed.done();
}
