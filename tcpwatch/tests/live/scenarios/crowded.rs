//! A victim beside somebody who does much more of the same, or much that succeeds: both are told.

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use tcpwatch::finding::Kind;

use super::{Scene, count, of, owner};
use crate::support::netns::Netns;
use crate::support::work::meanwhile;

/// In each tick.
const REFUSED: usize = 12;
const SERVED: usize = 800;

fn refused(to: SocketAddr) {
    TcpStream::connect(to).expect_err("nobody listens");
}

#[test]
fn connects_that_succeed_hide_none_that_fail() {
    let ns = Netns::new("diluted");
    let mut scene = Scene::open();
    let listener = ns.run(|| TcpListener::bind("127.0.0.1:0")).expect("listen");
    let address = listener.local_addr().expect("bound");
    let server = |stop: &AtomicBool| {
        while !stop.load(Ordering::Relaxed) {
            drop(crate::support::sock::accept(&listener, std::time::Duration::from_millis(50)));
        }
    };
    let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
    meanwhile(&[&server], || {
        for tick in 0..8 {
            ns.run(|| {
                for _ in 0..SERVED {
                    let mut client = TcpStream::connect(address).expect("connect");
                    assert_eq!(client.read(&mut [0]).expect("the server closes"), 0);
                }
                (0..REFUSED).for_each(|_| refused(nobody));
            });
            let (_, findings) = scene.tick();
            // As many seconds as rates are told of, and one more.
            if tick < 3 {
                continue;
            }
            let mine = of(&findings, &ns);
            let [one] = mine.as_slice() else { panic!("tick {tick}: {mine:#?}") };
            assert_eq!((one.seen.kind, one.seen.verdict), (Kind::ConnectFailures, Some("refused")));
            assert_eq!(one.seen.subject.destination, Some(nobody));
            let (failed, opened) = (count(one, "failures"), count(one, "connects_of_the_namespace"));
            assert!(failed * 50 < opened, "{failed} of {opened} are no small share");
        }
    });
}

#[test]
fn a_scan_hides_no_victim_and_is_told_itself() {
    let (noisy, ns) = (Netns::new("scan"), Netns::new("victim"));
    let mut scene = Scene::open();
    let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
    let scanned = AtomicU32::new(0);
    let scan = |stop: &AtomicBool| {
        noisy.run(|| {
            while !stop.load(Ordering::Relaxed) {
                let number = scanned.fetch_add(1, Ordering::Relaxed) + 1;
                refused((Ipv4Addr::from_bits(0x7f00_0000 + number % 0xff_0000), 9).into());
            }
        });
    };
    meanwhile(&[&scan], || {
        for tick in 0..8 {
            ns.run(|| (0..REFUSED).for_each(|_| refused(nobody)));
            let (_, findings) = scene.tick();
            if tick < 2 {
                continue;
            }
            let victim = of(&findings, &ns);
            let [one] = victim.as_slice() else { panic!("tick {tick}: {victim:#?}") };
            assert_eq!(one.seen.subject.destination, Some(nobody));
            let of_scan = of(&findings, &noisy);
            let [one] = of_scan.as_slice() else { panic!("tick {tick}: {of_scan:#?}") };
            assert_eq!((one.seen.kind, one.seen.verdict), (Kind::ConnectFailures, Some("refused")));
            let pid = std::process::id();
            assert_eq!((one.seen.subject.destination, owner(one)), (None, Some(pid)));
            assert!(count(one, "failures_of_others") > 0, "{one:#?}");
        }
    });
    println!("{} connects of a scan", scanned.load(Ordering::Relaxed));
}
