//! A busy host with which nothing is wrong: nothing may be found, and not one transition be lost.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tcpwatch::finding::{Finding, Kind};
use tcpwatch::model::Model;
use tcpwatch::sample::Sample;
use tcpwatch_common::cell;

use super::Scene;
use crate::churn::traffic::is_ours;
use crate::support::netns::Netns;
use crate::support::sock;
use crate::support::withheld::Withheld;
use crate::support::work::{Work, meanwhile};

const LENGTH: Duration = Duration::from_mins(1);
const TIMEOUT: Duration = Duration::from_secs(30);
/// Nobody calls for so long only when all clients have gone.
const PAUSE: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_millis(50);
/// Connections a second of each client.
const RATE: u32 = 500;
const SERVERS: usize = 4;
/// Servers have so many addresses, so that no destination takes many ports.
const ADDRESSES: u64 = 64;
const PAIRS: usize = 50;
/// Nobody listens there.
const CLOSED_PORT: u16 = 1;

/// How a connection ends; the client's first byte.
const CLIENT_FIRST: u8 = 0;
const SERVER_FIRST: u8 = 1;
const HALF_CLOSE: u8 = 2;

struct Place {
    ns: Netns,
    listeners: Vec<TcpListener>,
    endings: &'static [u8],
    made: AtomicU64,
}

impl Place {
    fn new(hint: &str, endings: &'static [u8]) -> Self {
        let ns = Netns::new(hint);
        // As hosts do that have as many connections; a small machine's default is small.
        ns.sysctl("net.ipv4.tcp_max_tw_buckets", "262144");
        ns.sysctl("net.ipv4.ip_local_port_range", "10240 65000");
        let any = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
        let listeners = (0..SERVERS).map(|_| ns.run(|| sock::listen(any, 1024)).expect("listen")).collect();
        Self { ns, listeners, endings, made: AtomicU64::new(0) }
    }

    fn address(&self, number: u64) -> SocketAddr {
        let listener = &self.listeners[usize::try_from(number).expect("small") % SERVERS];
        let host = u8::try_from(number / SERVERS as u64 % ADDRESSES).expect("small");
        // The record of what this host withholds has connections of such addresses.
        SocketAddr::new(Ipv4Addr::new(127, 1, host, 1).into(), listener.local_addr().expect("bound").port())
    }

    fn serve(&self, number: usize, stop: &AtomicBool) {
        loop {
            let (mut stream, _) = match sock::accept(&self.listeners[number], PAUSE) {
                Ok(accepted) => accepted,
                // Only then: clients that wait are served also when it is over.
                Err(_) if stop.load(Ordering::Relaxed) => return,
                Err(_) => continue,
            };
            stream.set_read_timeout(Some(TIMEOUT)).expect("an option");
            let mut ending = [0];
            stream.read_exact(&mut ending).expect("a request");
            if ending == [HALF_CLOSE] {
                assert_eq!(stream.read(&mut [0]).expect("the end of the request"), 0);
            }
            stream.write_all(b"answer").expect("the client waits");
            if ending == [CLIENT_FIRST] {
                assert_eq!(stream.read(&mut [0]).expect("the end"), 0);
            }
        }
    }

    /// Makes [`RATE`] connections a second, or as many as this machine can.
    fn call(&self, stop: &AtomicBool) {
        self.ns.run(|| {
            let started = Instant::now();
            let mut made: u32 = 0;
            while !stop.load(Ordering::Relaxed) {
                let number = self.made.fetch_add(1, Ordering::Relaxed);
                let ending = self.endings[made as usize % self.endings.len()];
                connect(self.address(number), ending);
                made += 1;
                std::thread::sleep((Duration::from_secs(1) / RATE * made).saturating_sub(started.elapsed()));
            }
        });
    }

    /// Connections that stay: some are busy, some only kept alive. Now and then a connect is refused.
    fn hold(&self, stop: &AtomicBool) {
        let listener = self.ns.run(|| sock::listen(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0), 64));
        let listener = listener.expect("listen");
        let address =
            SocketAddr::new(Ipv4Addr::new(127, 2, 0, 1).into(), listener.local_addr().expect("bound").port());
        let pair = || {
            let client = self.ns.run(|| TcpStream::connect(address)).expect("connect");
            let server = sock::accept(&listener, TIMEOUT).expect("accept").0;
            for end in [&client, &server] {
                sock::keepalive(end, Duration::from_secs(20), Duration::from_secs(5), 5).expect("an option");
            }
            (client, server)
        };
        let idle: Vec<_> = (0..PAIRS).map(|_| pair()).collect();
        let mut busy: Vec<_> = (0..PAIRS).map(|_| pair()).collect();
        for round in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            for (client, server) in &mut busy {
                request(client, server);
            }
            // One of them has served its time.
            busy[round % PAIRS] = pair();
            if round % 80 == 40 {
                let nobody = SocketAddr::new(address.ip(), CLOSED_PORT);
                assert!(self.ns.run(|| TcpStream::connect(nobody)).is_err());
            }
            std::thread::sleep(SOON);
        }
        drop(idle);
    }
}

fn connect(address: SocketAddr, ending: u8) {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT).expect("connect");
    stream.set_read_timeout(Some(TIMEOUT)).expect("an option");
    stream.write_all(&[ending]).expect("write");
    if ending == HALF_CLOSE {
        stream.shutdown(Shutdown::Write).expect("connected");
    }
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).expect("an answer");
    if ending != CLIENT_FIRST {
        assert_eq!(stream.read(&mut [0]).expect("the end"), 0);
    }
}

fn request(client: &mut TcpStream, server: &mut TcpStream) {
    let (mut asked, mut answer) = ([0; 100], [0; 4000]);
    client.write_all(&asked).expect("write");
    server.read_exact(&mut asked).expect("a request");
    server.write_all(&answer).expect("write");
    client.read_exact(&mut answer).expect("an answer");
}

/// Findings about these places, or about the whole host and what the programs saw of it.
fn about<'a>(open: &'a [Finding], places: &[Place]) -> Vec<&'a Finding> {
    let is_here = |inode| places.iter().any(|place| place.ns.inode() == inode);
    let is_mine = |finding: &&Finding| match finding.seen.subject.netns {
        Some(inode) => is_here(inode),
        None => finding.seen.kind == Kind::IllegalTransition,
    };
    open.iter().filter(is_mine).collect()
}

fn lost(sample: &Sample) -> (u64, u64, u64) {
    let host = sample.host.as_ref().expect("the source has host counters");
    (host.gaps, host.illegal, sample.missed_transitions())
}

#[test]
fn a_minute_of_heavy_traffic_in_which_nothing_is_wrong() {
    let places = [
        Place::new("clients", &[CLIENT_FIRST]),
        Place::new("servers", &[SERVER_FIRST]),
        Place::new("mixed", &[CLIENT_FIRST, SERVER_FIRST, HALF_CLOSE]),
    ];
    let withheld = Withheld::watch();
    let (mut scene, mut model) = (Scene::open(), Model::default());
    let mut works: Vec<Box<Work<'_>>> = Vec::new();
    for place in &places {
        for number in 0..SERVERS {
            works.push(Box::new(move |stop: &AtomicBool| place.serve(number, stop)));
        }
        works.push(Box::new(|stop: &AtomicBool| place.call(stop)));
        works.push(Box::new(|stop: &AtomicBool| place.call(stop)));
        works.push(Box::new(|stop: &AtomicBool| place.hold(stop)));
    }
    let works: Vec<_> = works.iter().map(AsRef::as_ref).collect();
    let mut longest = Duration::ZERO;
    let mut look = |scene: &mut Scene| {
        let (sample, findings) = scene.tick();
        longest = longest.max(scene.took);
        let report = model.apply(Sample::clone(&sample));
        let is_withheld = withheld.cells(is_ours) != [0; cell::CELLS] || lost(&sample).2 > 0;
        let found = about(&findings.open, &places);
        let is_explained = |finding: &&&Finding| is_withheld && finding.seen.kind == Kind::IllegalTransition;
        assert!(found.iter().all(|finding| is_explained(&finding)), "{found:#?}");
        for place in &places {
            let drift = report.drift.get(&place.ns.inode()).cloned().unwrap_or_default();
            let is_exact = drift.iter().all(|drift| drift.drift.unwrap_or(0) == 0);
            assert!(is_exact || is_withheld, "{}: {drift:#?} {:?}", place.ns.name(), lost(&sample));
        }
        (sample, is_withheld)
    };
    meanwhile(&works, || {
        let started = Instant::now();
        while started.elapsed() < LENGTH {
            look(&mut scene);
        }
    });
    // At rest.
    let is_withheld = (0..5).fold(false, |is_withheld, _| look(&mut scene).1 || is_withheld);
    let (sample, _) = look(&mut scene);
    for place in &places {
        let (kernel, made) = (place.ns.snmp(), place.made.load(Ordering::Relaxed));
        let of = sample.namespaces.iter().find(|one| one.inode == place.ns.inode()).expect("it is there");
        println!(
            "{}: {made} connections, {} in TIME_WAIT",
            place.ns.name(),
            of.counters.expect("readable").sock.tw
        );
        assert!(kernel["Tcp.ActiveOpens"] >= made);
        for quiet in ["ListenDrops", "TCPTimeWaitOverflow", "SyncookiesSent"] {
            assert_eq!(kernel[&format!("TcpExt.{quiet}")], 0, "{quiet}: it was healthy");
        }
    }
    println!("the longest sample took {longest:?}; gaps, illegal, missed {:?}", lost(&sample));
    println!("this host withholds events: {is_withheld}");
}
