//! More listeners and remotes than there is room for: who has too many of them hides nobody else's.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use tcpwatch::sample::{ListenerSample, Sample, Shortage, What};
use tcpwatch_common::failure::ConnectFailure;
use tcpwatch_common::listener::{Listener, WORDS};
use tcpwatch_common::names::map;

use super::Host;
use crate::support::bpf::Map;
use crate::support::netns::Netns;
use crate::support::sock;
use crate::support::states::raise_fd_limit;

/// More than are watched.
const MANY: usize = 5000;

fn at(sample: &Sample, address: SocketAddr, ns: &Netns) -> Option<ListenerSample> {
    sample.listeners.iter().find(|one| one.netns == ns.inode() && one.local == address).cloned()
}

fn shortage(sample: &Sample, what: What) -> Option<&Shortage> {
    sample.shortages.iter().find(|one| one.what == what)
}

fn listen(ns: &Netns, count: usize) -> Vec<(TcpListener, SocketAddr)> {
    let one = || {
        let listener = sock::listen((Ipv4Addr::LOCALHOST, 0).into(), 2).expect("listen");
        let address = listener.local_addr().expect("bound");
        (listener, address)
    };
    ns.run(|| (0..count).map(|_| one()).collect())
}

/// Fills the accept queue of a listener, and waits until it is seen.
fn overflow(host: &mut Host, ns: &Netns, address: SocketAddr) {
    let clients: Vec<_> = (0..8).map(|_| ns.run(|| sock::connect_start(address)).expect("start")).collect();
    host.until("a full queue", |sample| at(sample, address, ns).filter(|one| one.accept_queue > 2));
    drop(clients);
}

#[test]
fn listeners_of_one_process_hide_none_that_comes_later() {
    raise_fd_limit();
    let (crowd, ns) = (Netns::new("crowd"), Netns::new("victim"));
    let mut host = Host::open();
    assert_eq!(shortage(&host.sample(), What::ListenersInTurns), None);
    let many = listen(&crowd, MANY);
    host.sample();
    let later = listen(&ns, 1);
    let address = later[0].1;
    host.until("the one that came later", |sample| at(sample, address, &ns));
    overflow(&mut host, &ns, address);

    let sample = host.sample();
    let short = shortage(&sample, What::ListenersInTurns).expect("it is told");
    assert_eq!((short.netns, short.pid), (Some(crowd.inode()), Some(std::process::id())));
    let watched = sample.listeners.len();
    let all = watched + usize::try_from(short.count).expect("few");
    assert!(watched <= 4096 && all > MANY, "{watched} are watched, and {} in turns", short.count);
    assert_eq!(shortage(&sample, What::Listeners), None, "none is unknown");

    // One that nobody looked at comes back when it is in trouble, although it sends no SYN-ACK again.
    let parked = many.iter().find(|(_, address)| at(&sample, *address, &crowd).is_none());
    overflow(&mut host, &crowd, parked.expect("there are such").1);

    drop(many);
    host.until("room for all", |sample| shortage(sample, What::ListenersInTurns).is_none().then_some(()));
    host.until("the one that is left", |sample| at(sample, address, &ns));
}

#[test]
fn a_listener_where_an_earlier_one_was_is_a_new_one() {
    let ns = Netns::new("reused");
    let mut host = Host::open();
    let listeners = listen(&ns, 1);
    let (listener, address) = &listeners[0];
    host.until("the listener", |sample| at(sample, *address, &ns));
    let record = |map: &Map<WORDS>, key| map.get(key).map(|words| Listener::from_words(&words));
    let is_it = |met: Listener| (u64::from(met.netns), met.local_port) == (ns.inode(), address.port());
    let maps = Map::<WORDS>::named(map::LISTENERS);
    let found = maps.iter().find_map(|map| {
        let key = map.keys().into_iter().find(|key| record(map, *key).is_some_and(is_it))?;
        Some((map, key))
    });
    let (map, key) = found.expect("it is in the map");
    let old = record(map, key).expect("it is there");

    // It ends, and its record stays as if nobody had seen that.
    rustix::net::shutdown(listener, rustix::net::Shutdown::Read).expect("stop listening");
    assert_eq!(map.get(key), None, "its end was seen");
    map.put(key, &Listener { synack_retransmits: 99, stuck: 9, pid: 1, ..old }.to_words());
    ns.run(|| rustix::net::listen(listener, 16)).expect("listen again");
    let address = listener.local_addr().expect("bound");
    let again = host.until("the new one", |sample| at(sample, address, &ns));
    assert_eq!((again.synack_retransmits, again.stuck), (0, Some(0)), "{again:?}");
    assert_eq!(again.pid, Some(std::process::id()));
}

#[test]
fn a_scan_pushes_out_no_remotes_of_others() {
    const SCANNED: u32 = 20_000;
    const REFUSED: usize = ConnectFailure::Refused as usize;
    let (noisy, ns) = (Netns::new("scan"), Netns::new("quiet"));
    let mut host = Host::open();
    let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
    let refuse = |ns: &Netns, to: SocketAddr| ns.run(|| TcpStream::connect(to)).expect_err("nobody listens");
    for _ in 0..7 {
        refuse(&ns, nobody);
    }
    host.sample();
    noisy.run(|| {
        for number in 1..=SCANNED {
            let address = Ipv4Addr::from_bits(0x7f00_0000 + number);
            TcpStream::connect((address, 9)).expect_err("nobody listens");
        }
    });
    refuse(&ns, nobody);
    let failed = |sample: &Sample, inode| {
        let of = |remote: &&tcpwatch::sample::RemoteSample| remote.netns == inode;
        sample.remotes.iter().filter(of).map(|remote| remote.counts.failures[REFUSED]).collect::<Vec<u64>>()
    };
    let sample = host.sample();
    assert_eq!(failed(&sample, ns.inode()), [8], "it was not forgotten");
    let apart = failed(&sample, noisy.inode());
    let folded: Vec<_> = sample.folded.iter().filter(|one| one.netns == noisy.inode()).collect();
    let [one] = folded.as_slice() else { panic!("{folded:?}") };
    let pid = Some(std::process::id());
    assert_eq!((one.pid, one.service), (pid, None), "{one:?}");
    assert_eq!(
        apart.iter().sum::<u64>() + one.counts.failures[REFUSED],
        u64::from(SCANNED),
        "each is counted"
    );
    assert!((100..=2048 / 16 + 2).contains(&apart.len()), "{} are told apart", apart.len());
    let short = shortage(&sample, What::Remotes).expect("it is told");
    assert_eq!((short.netns, short.pid), (Some(noisy.inode()), pid));
}
