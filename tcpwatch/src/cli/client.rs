//! Asks a daemon over its HTTP API: one GET at a time, over TCP or a Unix socket.
//!
//! Which daemon: the one that was named; else the one of this host, by its local socket or its default port; else
//! none, and the command works alone. A daemon of this host that answers with an error is told, as it is there.

mod address;
mod http;
mod stream;
#[cfg(test)]
mod tests;

use std::io::{self, Read as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;

use super::{DEFAULT_LISTEN, Remote};
use crate::daemon::DEFAULT_SOCKET;
pub(super) use address::Address;
pub(super) use http::Body;
use stream::Stream;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A daemon answers within ten seconds, or says that it cannot.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// More than any answer has that is read as a whole; a server that sends more is not ours.
const LIMIT: u64 = 64 << 20;

/// Of a reason for an error.
const REASON_LIMIT: u64 = 64 << 10;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error("cannot connect to the daemon at {at}: {source}{}", hint(source))]
    Connect { at: Address, source: io::Error },
    #[error("no answer from {at} within {} s; is the host busy?", .within.as_secs())]
    Late { at: Address, within: Duration },
    #[error("the answer of {at} broke off: {source}")]
    Read { at: Address, source: io::Error },
    #[error("at {at} is no tcpwatch daemon: {problem}")]
    NotOurs { at: Address, problem: String },
    #[error("the daemon at {at} answered {status}: {reason}")]
    Refused { at: Address, status: u16, reason: String },
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
            "; does it run there? `tcpwatch run` starts it"
        }
        io::ErrorKind::PermissionDenied => "; the socket is for root and its group",
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "; it hangs, or a firewall is in between",
        _ => "",
    }
}

/// One daemon.
#[derive(Clone, Debug)]
pub(super) struct Client {
    at: Address,
    /// For a whole answer, and at most this for a connection.
    pub(super) within: Duration,
}

impl Client {
    pub(super) fn new(at: Address) -> Self {
        Self { at, within: ANSWER_TIMEOUT }
    }

    pub(super) fn address(&self) -> &Address {
        &self.at
    }

    /// The daemon that is meant; `None` if none was named and none runs, or if none may be asked.
    pub(super) fn find(remote: &Remote) -> Option<Self> {
        match &remote.remote {
            _ if remote.alone => None,
            Some(named) => Some(Self::new(named.clone())),
            None => Self::of_this_host(),
        }
    }

    /// The daemon of this host, if there is one.
    pub(super) fn of_this_host() -> Option<Self> {
        for address in defaults() {
            let client = Self::new(address);
            match client.connect(Instant::now() + CONNECT_TIMEOUT) {
                Ok(_) => return Some(client),
                Err(error) => log::debug!("{error}"),
            }
        }
        None
    }

    /// The JSON that the daemon answers `path` with.
    pub(super) fn json(&self, path: &str) -> Result<Value, ClientError> {
        let bytes = self.bytes(path)?;
        serde_json::from_slice(&bytes).map_err(|error| self.not_ours(format!("it sent no JSON ({error})")))
    }

    /// The whole answer, whatever it is.
    pub(super) fn bytes(&self, path: &str) -> Result<Vec<u8>, ClientError> {
        let mut bytes = Vec::new();
        let body = self.open(path)?;
        body.take(LIMIT + 1).read_to_end(&mut bytes).map_err(|error| self.broken(error))?;
        if bytes.len() as u64 > LIMIT {
            return Err(self.not_ours(format!("its answer is longer than {} MiB", LIMIT >> 20)));
        }
        Ok(bytes)
    }

    /// An answer to be read bit by bit; what is wrong from here on are errors of [`io::Read`].
    pub(super) fn open(&self, path: &str) -> Result<Body<Stream>, ClientError> {
        let mut stream = self.connect(Instant::now() + self.within)?;
        let (host, prefix) = (self.at.host_header(), self.at.prefix());
        let agent = concat!("tcpwatch/", env!("CARGO_PKG_VERSION"));
        let request = format!(
            "GET {prefix}{path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {agent}\r\n\
             Accept: application/json, */*\r\nConnection: close\r\n\r\n"
        );
        io::Write::write_all(&mut stream, request.as_bytes()).map_err(|error| self.broken(error))?;
        let answer = http::read_head(stream).map_err(|error| match error {
            http::HeadError::Read(error) => self.broken(error),
            http::HeadError::Nonsense(problem) => self.not_ours(problem.into()),
        })?;
        if answer.status == 200 {
            return Ok(answer.body);
        }
        let mut reason = Vec::new();
        // An error without a reason is one as well.
        let _ = answer.body.take(REASON_LIMIT).read_to_end(&mut reason);
        let reason: Option<Value> = serde_json::from_slice(&reason).ok();
        match reason.as_ref().and_then(|reason| reason["error"].as_str()) {
            Some(reason) => Err(ClientError::Refused {
                at: self.at.clone(),
                status: answer.status,
                reason: reason.to_owned(),
            }),
            None => Err(self.not_ours(format!("it answered {} to {prefix}{path}", answer.status))),
        }
    }

    fn connect(&self, deadline: Instant) -> Result<Stream, ClientError> {
        let within = CONNECT_TIMEOUT.min(deadline.saturating_duration_since(Instant::now()));
        Stream::connect(&self.at, within, deadline)
            .map_err(|source| ClientError::Connect { at: self.at.clone(), source })
    }

    fn broken(&self, error: io::Error) -> ClientError {
        let at = self.at.clone();
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                ClientError::Late { at, within: self.within }
            }
            io::ErrorKind::InvalidData => ClientError::NotOurs { at, problem: error.to_string() },
            _ => ClientError::Read { at, source: error },
        }
    }

    fn not_ours(&self, problem: String) -> ClientError {
        ClientError::NotOurs { at: self.at.clone(), problem }
    }
}

/// Where the daemon of this host is.
fn defaults() -> impl Iterator<Item = Address> {
    let port = DEFAULT_LISTEN.parse().ok();
    std::iter::once(Address::Unix(PathBuf::from(DEFAULT_SOCKET))).chain(port)
}

/// The JSON that the chosen daemon answers `path` with; `None` if none was named and none runs.
pub(super) fn get(remote: &Remote, path: &str) -> Result<Option<Value>> {
    let Some(client) = Client::find(remote) else { return Ok(None) };
    match client.json(path) {
        Ok(answer) => Ok(Some(answer)),
        // Nobody said that a daemon is what listens there.
        Err(error @ ClientError::NotOurs { .. }) if remote.remote.is_none() => {
            log::warn!("{error}; going on without a daemon");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}
