//! Failed connects and resets on the live kernel: what is found, and that nothing else is.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use tcpwatch::finding::Kind;

use super::floods::{Watch, listen, told};
use crate::support::netns::Netns;
use crate::support::sock;

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
}

/// Connections over loopback, each ended by `end`.
fn storm(hint: &str, end: fn(TcpStream, TcpStream)) -> Vec<(Kind, Option<&'static str>)> {
    let ns = Netns::new(hint);
    let (listener, address) = listen(&ns, Ipv4Addr::LOCALHOST.into(), 64);
    let mut watch = Watch::on(&ns);
    for _ in 0..200 {
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
    told(&found)
}

#[test]
fn resets_are_told_by_who_is_at_fault() {
    let aborted = storm("linger", |client, server| {
        sock::linger_zero(&client).expect("an option");
        drop(client);
        drop(server);
    });
    assert_eq!(aborted, [(Kind::ResetStorm, Some("application_aborts"))]);
    let unread = storm("unread", |mut client, server| {
        client.write_all(b"never read").expect("sent");
        drop(server);
        drop(client);
    });
    assert_eq!(unread, [(Kind::ResetStorm, Some("unread_data"))]);
    let regular = storm("regular", |mut client, server| {
        drop(server);
        assert_eq!(client.read(&mut [0]).expect("an end"), 0);
    });
    assert_eq!(regular, []);
}
