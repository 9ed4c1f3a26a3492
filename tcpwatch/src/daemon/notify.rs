//! Tells the service manager how the daemon is, after `sd_notify(3)`: lines in a datagram to the socket that the
//! environment names.
//!
//! Without such a socket nothing is told. A manager that cannot be told is no reason not to watch: it is said once.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::host::clock;

/// Signs of life for each that the manager needs.
const PINGS: u32 = 3;

/// Ticks that may pass without a sign of life.
const TICKS: u32 = 6;

/// The service manager, if there is one.
#[derive(Debug, Default)]
pub struct Manager {
    to: Option<(UnixDatagram, SocketAddr)>,
    patience: Option<Duration>,
    /// It was told once that the daemon works.
    is_told: AtomicBool,
    has_failed: AtomicBool,
}

impl Manager {
    /// The one that has started this process, which has something to tell each `tick`.
    pub fn of_environment(tick: Duration) -> Self {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Self::default();
        };
        let patience =
            patience(env::var("WATCHDOG_USEC").ok(), env::var("WATCHDOG_PID").ok(), std::process::id());
        let mut manager = Self::at(&name, patience).unwrap_or_else(|error| {
            log::warn!(
                "cannot tell the service manager at {}: {error}; it will wait in vain",
                name.display()
            );
            Self::default()
        });
        manager.grant(tick * TICKS);
        manager
    }

    fn at(name: &OsStr, patience: Option<Duration>) -> io::Result<Self> {
        let address = match name.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(name)?,
        };
        let socket = UnixDatagram::unbound()?;
        // A manager that does not read must not make anybody wait.
        socket.set_nonblocking(true)?;
        Ok(Self { to: Some((socket, address)), patience, ..Self::default() })
    }

    /// It works: whoever waits for it may go on.
    pub fn ready(&self, status: &str) {
        self.is_told.store(true, Ordering::Relaxed);
        self.tell(&format!("READY=1\nSTATUS={}", one_line(status)));
    }

    /// What it does, for a person.
    pub fn status(&self, status: &str) {
        self.tell(&format!("STATUS={}", one_line(status)));
    }

    /// It reads its configuration again.
    pub fn reloading(&self) {
        if self.is_told.load(Ordering::Relaxed) {
            self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={}", clock::monotonic().as_micros()));
        }
    }

    /// It has done so. While it starts this would say that it works.
    pub fn reloaded(&self) {
        if self.is_told.load(Ordering::Relaxed) {
            self.tell("READY=1");
        }
    }

    /// It ends by itself now.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=stopping");
    }

    /// It is alive.
    pub fn ping(&self) {
        self.tell("WATCHDOG=1");
    }

    /// How often it has to be told that the daemon lives; `None` if it does not want to know.
    pub fn ping_every(&self) -> Option<Duration> {
        self.patience.map(|patience| patience / PINGS)
    }

    /// Asks for more time if the manager is less patient than this.
    fn grant(&mut self, least: Duration) {
        if let Some(patience) = self.patience.as_mut().filter(|patience| **patience < least) {
            *patience = least;
            self.tell(&format!("WATCHDOG_USEC={}", least.as_micros()));
        }
    }

    fn tell(&self, lines: &str) {
        let Some((socket, address)) = &self.to else { return };
        if let Err(error) = socket.send_to_addr(lines.as_bytes(), address)
            && !self.has_failed.swap(true, Ordering::Relaxed)
        {
            log::warn!("cannot tell the service manager {:?}: {error}", lines.replace('\n', " "));
        }
    }
}

/// A status is one line.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

/// How long the manager waits for a sign of life, if it was this process that it means.
fn patience(microseconds: Option<String>, of: Option<String>, own: u32) -> Option<Duration> {
    let is_meant = of.is_none_or(|of| of.parse() == Ok(own));
    let patience = microseconds?.parse().ok().filter(|microseconds| *microseconds > 0);
    patience.map(Duration::from_micros).filter(|_| is_meant)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 512];
        let length = socket.recv(&mut bytes).expect("a datagram");
        String::from_utf8(bytes[..length].to_vec()).expect("UTF-8")
    }

    #[test]
    fn a_manager_is_told_at_a_path_and_at_an_abstract_name() {
        let path = env::temp_dir().join(format!("tcpwatch-notify-{}", std::process::id()));
        let socket = UnixDatagram::bind(&path).expect("bind");
        let manager = Manager::at(path.as_os_str(), None).expect("an address");
        manager.reloading();
        manager.reloaded();
        manager.ready("watching\nall");
        assert_eq!(told(&socket), "READY=1\nSTATUS=watching all", "one that starts is not told to reload");
        manager.reloading();
        assert!(told(&socket).starts_with("RELOADING=1\nMONOTONIC_USEC="));
        manager.reloaded();
        assert_eq!(told(&socket), "READY=1");
        manager.stopping();
        assert_eq!(told(&socket), "STOPPING=1\nSTATUS=stopping");
        drop(socket);
        // Nobody listens any more: that is no reason to end.
        manager.ping();
        std::fs::remove_file(&path).expect("remove");

        let name = format!("tcpwatch-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let socket = UnixDatagram::bind_addr(&address).expect("bind");
        Manager::at(OsStr::new(&format!("@{name}")), None).expect("an address").ping();
        assert_eq!(told(&socket), "WATCHDOG=1");
    }

    #[test]
    fn one_that_does_not_read_makes_nobody_wait() {
        let name = format!("tcpwatch-notify-full-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let _deaf = UnixDatagram::bind_addr(&address).expect("bind");
        let manager = Manager::at(OsStr::new(&format!("@{name}")), None).expect("an address");
        for _ in 0..10_000 {
            manager.ping();
        }
        assert!(manager.has_failed.load(Ordering::Relaxed), "its queue was never full");
    }

    #[test]
    fn a_slow_daemon_asks_for_more_time() {
        let name = format!("tcpwatch-notify-slow-{}", std::process::id());
        let socket =
            SocketAddr::from_abstract_name(&name).and_then(|address| UnixDatagram::bind_addr(&address));
        let socket = socket.expect("bind");
        let name = format!("@{name}");
        let mut manager = Manager::at(OsStr::new(&name), Some(Duration::from_secs(30))).expect("an address");
        manager.grant(Duration::from_secs(20));
        assert_eq!(manager.ping_every(), Some(Duration::from_secs(10)));
        manager.grant(Duration::from_mins(1));
        assert_eq!(told(&socket), "WATCHDOG_USEC=60000000");
        assert_eq!(manager.ping_every(), Some(Duration::from_secs(20)));
    }

    #[test]
    fn the_watchdog_may_be_meant_for_another() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(patience(some("3000000"), None, 7), Some(Duration::from_secs(3)));
        assert_eq!(patience(some("3000000"), some("7"), 7), Some(Duration::from_secs(3)));
        assert_eq!(patience(some("3000000"), some("8"), 7), None);
        for wrong in [None, some(""), some("0"), some("soon")] {
            assert_eq!(patience(wrong, None, 7), None);
        }
        let mut nobody = Manager::default();
        nobody.grant(Duration::from_mins(1));
        assert_eq!(nobody.ping_every(), None);
    }
}
