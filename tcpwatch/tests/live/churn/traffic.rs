//! Short connections in every way they can end, by a client and a server thread.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::support::netns::Netns;
use crate::support::sock;

/// How a connection ends; the client tells the server with its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Ending {
    ClientFirst,
    ServerFirst,
    /// The client resets, perhaps before the server has accepted.
    ClientReset,
    ServerReset,
    /// The server closes with data unread, which resets.
    Unread,
    /// Both close at once: FINs may cross.
    Both,
    /// There is no server: the connection is refused.
    Refused,
}

const ENDINGS: [Ending; 7] = [
    Ending::ClientFirst,
    Ending::ServerFirst,
    Ending::ClientReset,
    Ending::ServerReset,
    Ending::Unread,
    Ending::Both,
    Ending::Refused,
];

/// The client's first byte when there are no more connections.
const STOP: u8 = 0xff;

/// Connections to one address: ports in use make the search for a free one slow.
const PER_ADDRESS: u32 = 2000;

/// Nobody listens there.
const CLOSED_PORT: u16 = 1;

/// No call takes longer, unless something is broken.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Whether this machine is small and slow: the guest of another kernel, which has nothing but the test's binary.
pub fn is_small() -> bool {
    std::env::var_os("TCPWATCH_SMALL").is_some_and(|small| small == "1")
        || !Path::new(env!("CARGO_BIN_EXE_tcpwatch")).exists()
}

/// Spreads the packets of the loopback device over the first two CPUs. They then come by interrupts, at any instant,
/// where otherwise the sender's own call delivers them.
pub fn steer(ns: &Netns) {
    ns.run(|| {
        // SAFETY: only this thread, which ends with this function, gets another mount namespace.
        unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.expect("make a mount namespace");
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", private).expect("keep mounts private");
        // It shows the devices of the namespace in which it is mounted.
        mount("sysfs", "/sys", "sysfs", MountFlags::empty(), None).expect("mount sysfs");
        let cpus = if thread::available_parallelism().is_ok_and(|cpus| cpus.get() > 1) { "3" } else { "1" };
        // A kernel without packet steering delivers as it does.
        if let Err(error) = fs::write("/sys/class/net/lo/queues/rx-0/rps_cpus", cpus) {
            println!("packets cannot be steered: {error}");
        }
    });
}

/// A client and a server at work.
pub struct Traffic {
    client: JoinHandle<u32>,
    server: JoinHandle<()>,
    stop: Arc<AtomicBool>,
}

impl Traffic {
    /// Makes connections in `ns` until there were `limit` or it is told to stop. Each `lane` of a namespace has
    /// addresses of its own.
    pub fn start(ns: &Netns, lane: u8, limit: u32) -> Self {
        let any = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
        let listener = ns.run(|| sock::listen(any, 4096)).expect("listen");
        let port = listener.local_addr().expect("address").port();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let server = ns.spawn(move || serve(&listener));
        let client = ns.spawn(move || {
            let mut made = 0;
            while made < limit && !stopped.load(Ordering::Relaxed) {
                let ending = ENDINGS[made as usize % ENDINGS.len()];
                let address = address(lane, made);
                match ending {
                    Ending::Refused => refuse(SocketAddr::new(address, CLOSED_PORT)),
                    _ => connect(SocketAddr::new(address, port), ending),
                }
                made += 1;
            }
            let mut last = TcpStream::connect((address(lane, made), port)).expect("connect to stop");
            last.write_all(&[STOP]).expect("tell the server to stop");
            made + 1
        });
        Self { client, server, stop }
    }

    /// Waits until all connections have been made; returns how many.
    pub fn finish(self) -> u32 {
        let made = self.client.join().expect("the client did its work");
        self.server.join().expect("the server did its work");
        made
    }

    /// Ends early.
    pub fn stop(self) -> u32 {
        self.stop.store(true, Ordering::Relaxed);
        self.finish()
    }
}

/// Whether a server of these tests has this address.
pub fn is_ours(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(address) if matches!(address.octets(), [127, lane, ..] if lane > 0))
}

fn address(lane: u8, made: u32) -> IpAddr {
    let block = u16::try_from(made / PER_ADDRESS).expect("not that many");
    let [high, low] = block.to_be_bytes();
    Ipv4Addr::new(127, 1 + lane, high, low).into()
}

fn refuse(to: SocketAddr) {
    let refused = TcpStream::connect(to).expect_err("nobody listens");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused, "{refused}");
}

fn connect(to: SocketAddr, ending: Ending) {
    let mut stream = TcpStream::connect_timeout(&to, TIMEOUT).expect("connect");
    stream.set_read_timeout(Some(TIMEOUT)).expect("set a timeout");
    let message: &[u8] = if ending == Ending::Unread { &[ending as u8, 0, 0] } else { &[ending as u8] };
    stream.write_all(message).expect("write");
    match ending {
        Ending::ClientFirst | Ending::Refused => {}
        Ending::ClientReset => sock::linger_zero(&stream).expect("set linger"),
        Ending::ServerFirst => assert!(!reads_reset(&mut stream), "the server closes, and does not reset"),
        Ending::ServerReset | Ending::Unread => assert!(reads_reset(&mut stream), "the server resets"),
        Ending::Both => {
            // The server may have closed already.
            let _ = stream.shutdown(Shutdown::Write);
            assert!(!reads_reset(&mut stream), "both close");
        }
    }
}

fn serve(listener: &TcpListener) {
    loop {
        let (mut stream, _) = sock::accept(listener, TIMEOUT).expect("accept");
        stream.set_read_timeout(Some(TIMEOUT)).expect("set a timeout");
        let mut first = [0];
        // A reset may come before the byte is read.
        if stream.read_exact(&mut first).is_err() {
            continue;
        }
        match first[0] {
            STOP => return,
            byte if byte == Ending::ClientFirst as u8 => {
                assert!(!reads_reset(&mut stream), "the client closes");
            }
            byte if byte == Ending::ClientReset as u8 => {
                assert!(reads_reset(&mut stream), "the client resets");
            }
            byte if byte == Ending::ServerReset as u8 => sock::linger_zero(&stream).expect("set linger"),
            _ => {}
        }
    }
}

/// Reads to the end: whether it is a reset.
fn reads_reset(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0]) {
        Ok(0) => false,
        Ok(_) => panic!("the peer sent data"),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => true,
        Err(error) => panic!("read: {error}"),
    }
}
