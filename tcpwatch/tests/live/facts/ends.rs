//! Failed connects and resets on the live kernel: what is found, and that nothing else is.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use tcpwatch::finding::{Candidate, Evidence, Kind};

use super::floods::{Watch, listen, told};
use crate::support::netns::Netns;
use crate::support::peer::Peer;
use crate::support::sock;
use crate::support::tun::{Tun, kernel_ip, peer_ip};

const STORM: u16 = 200;

#[test]
fn connects_that_are_refused_are_found_and_a_single_one_is_not() {
    let ns = Netns::new("refused");
    let (listener, address) = listen(&ns, Ipv4Addr::LOCALHOST.into(), 8);
    drop(listener);
    let mut watch = Watch::on(&ns);
    let refused = || assert!(ns.run(|| TcpStream::connect(address)).is_err());
    refused();
    std::thread::sleep(Duration::from_secs(1));
    let found = watch.look();
    assert_eq!(told(&found), [], "{found:#?}");
    for _ in 0..20 {
        refused();
    }
    std::thread::sleep(Duration::from_secs(1));
    let found = watch.look();
    assert_eq!(told(&found), [(Kind::ConnectFailures, Some("refused"))], "{found:#?}");
    assert_eq!(found[0].subject.destination, Some(address));
    assert_eq!(owner(&found[0]), Some(std::process::id()));
    // The window may reach back to the single one, or not.
    assert!((20..=21).contains(&count(&found[0], "refused")), "{found:#?}");
    assert_eq!(count(&found[0], "failures"), count(&found[0], "refused"));
    assert_eq!(ns.snmp()["Tcp.AttemptFails"], 21);
}

fn owner(found: &Candidate) -> Option<u32> {
    found.subject.owner.as_ref().map(|owner| owner.pid)
}

#[track_caller]
fn count(found: &Candidate, name: &str) -> u64 {
    match found.evidence.iter().find(|(evidence, _)| *evidence == name) {
        Some((_, Evidence::Count(count))) => *count,
        other => panic!("{name} is no count but {other:?} in {found:#?}"),
    }
}

/// No socket has a part in it, so it is nobody's: it is in the host's count of resets without a socket.
#[test]
fn strangers_that_knock_at_closed_ports_are_no_finding() {
    let ns = Netns::new("nobody");
    let tun = Tun::new(&ns, "tun0");
    let mut watch = Watch::on(&ns);
    let closed = SocketAddr::new(kernel_ip(false), 9);
    for port in 20_000..20_000 + STORM {
        Peer::new(&tun, SocketAddr::new(peer_ip(false), port), closed).syn_raw();
    }
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(told(&watch.look()), []);
    assert_eq!(ns.snmp()["Tcp.OutRsts"], u64::from(STORM));
}

/// Connections over loopback, each ended by `end`.
fn storm(
    hint: &str,
    kernels: &str,
    evidence: &str,
    end: fn(TcpStream, TcpStream),
) -> Vec<(Kind, Option<&'static str>)> {
    let ns = Netns::new(hint);
    let (listener, address) = listen(&ns, Ipv4Addr::LOCALHOST.into(), 64);
    let mut watch = Watch::on(&ns);
    for _ in 0..STORM {
        let client = ns.run(|| TcpStream::connect(address)).expect("it listens");
        let (server, _) = listener.accept().expect("a client");
        end(client, server);
    }
    std::thread::sleep(Duration::from_secs(1));
    let found = watch.look();
    println!("{found:#?}");
    assert!(
        found
            .iter()
            .all(|one| one.subject.listener.map(|local: SocketAddr| local.port()) == Some(address.port()))
    );
    let all = u64::from(STORM);
    for one in &found {
        assert_eq!(owner(one), Some(std::process::id()));
        assert_eq!((count(one, evidence), ns.snmp()[kernels]), (all, all));
        // Over loopback each reset is sent here and received here.
        assert_eq!((count(one, "resets_sent"), count(one, "resets_received")), (all, all));
    }
    told(&found)
}

#[test]
fn resets_are_told_by_who_is_at_fault() {
    let aborted =
        storm("linger", "TcpExt.TCPAbortOnData", "aborted_or_data_after_close", |client, server| {
            sock::linger_zero(&client).expect("an option");
            drop(client);
            drop(server);
        });
    assert_eq!(aborted, [(Kind::ResetStorm, Some("application_aborts"))]);
    let unread =
        storm("unread", "TcpExt.TCPAbortOnClose", "closed_with_unread_data", |mut client, server| {
            client.write_all(b"never read").expect("sent");
            drop(server);
            drop(client);
        });
    assert_eq!(unread, [(Kind::ResetStorm, Some("unread_data"))]);
    let regular = storm("regular", "", "", |mut client, server| {
        drop(server);
        assert_eq!(client.read(&mut [0]).expect("an end"), 0);
    });
    assert_eq!(regular, []);
}
