//! Where a daemon is, as people write it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::DEFAULT_LISTEN;

/// The path of a Unix socket is at most so long (`sun_path` with its end).
const LONGEST_PATH: usize = 107;

/// A daemon's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Address {
    /// Host (without brackets), port, and what all paths begin with (no slash at its end).
    Tcp {
        host: String,
        port: u16,
        prefix: String,
    },
    Unix(PathBuf),
}

/// Why an address is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::cli) enum BadAddress {
    #[error(
        "https is not spoken here. Ask by way of ssh: `ssh -L 9718:127.0.0.1:9717 HOST`, then `--remote 127.0.0.1:9718`"
    )]
    Https,
    #[error("unknown scheme {0:?}; {ACCEPTED}")]
    Scheme(String),
    #[error("no host in it; {ACCEPTED}")]
    NoHost,
    #[error("{0:?} is no port: it is a number from 1 to 65535")]
    Port(String),
    #[error("{0:?} is no IPv6 address; an IPv6 address is written in brackets, [::1]:9717")]
    Ipv6(String),
    #[error("user names and passwords are not understood; {ACCEPTED}")]
    User,
    #[error("{0:?} cannot be in it; {ACCEPTED}")]
    Character(char),
    #[error("a Unix socket is written unix:/PATH, with at most {LONGEST_PATH} bytes")]
    Path,
}

const ACCEPTED: &str = "write http://HOST:PORT[/PREFIX], HOST:PORT or unix:/PATH";

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        if let Some(path) = text.strip_prefix("unix:") {
            let name = path.trim_start_matches('/');
            // After two slashes a URL has a host.
            let is_path = matches!(path.len() - name.len(), 1 | 3..) && !name.contains('\0');
            let path = format!("/{name}");
            let is_path = is_path && path.len() <= LONGEST_PATH;
            return if is_path { Ok(Self::Unix(path.into())) } else { Err(BadAddress::Path) };
        }
        let (rest, default_port) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (rest, 80),
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => return Err(BadAddress::Https),
            Some((scheme, _)) => return Err(BadAddress::Scheme(scheme.into())),
            None => (text, daemon_port()),
        };
        let (authority, prefix) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        if authority.contains('@') {
            return Err(BadAddress::User);
        }
        // What goes into a request must not end it.
        let is_odd = |c: &char| !c.is_ascii_graphic() || matches!(c, '?' | '#' | '"' | '<' | '>' | '\\');
        if let Some(odd) = rest.chars().find(is_odd) {
            return Err(BadAddress::Character(odd));
        }
        let (host, port) = split_port(authority, default_port)?;
        Ok(Self::Tcp { host: host.into(), port, prefix: prefix.trim_end_matches('/').into() })
    }
}

/// Who names a host and nothing else means the daemon there.
fn daemon_port() -> u16 {
    DEFAULT_LISTEN.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(80)
}

fn split_port(authority: &str, default: u16) -> Result<(&str, u16), BadAddress> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or_else(|| BadAddress::Ipv6(authority.into()))?;
        if host.parse::<std::net::Ipv6Addr>().is_err() {
            return Err(BadAddress::Ipv6(host.into()));
        }
        match rest.strip_prefix(':') {
            None if !rest.is_empty() => return Err(BadAddress::Port(rest.into())),
            port => (host, port),
        }
    } else if authority.matches(':').count() > 1 {
        return Err(BadAddress::Ipv6(authority.into()));
    } else {
        authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)))
    };
    if host.is_empty() {
        return Err(BadAddress::NoHost);
    }
    match port.map(|port| (port, port.parse())) {
        None => Ok((host, default)),
        Some((_, Ok(port @ 1..))) => Ok((host, port)),
        Some((port, _)) => Err(BadAddress::Port(port.into())),
    }
}

impl Address {
    /// What all paths begin with.
    pub(super) fn prefix(&self) -> &str {
        match self {
            Self::Tcp { prefix, .. } => prefix,
            Self::Unix(_) => "",
        }
    }

    pub(super) fn host_header(&self) -> String {
        match self {
            Self::Tcp { host, port, .. } => authority(host, *port),
            Self::Unix(_) => "localhost".into(),
        }
    }
}

fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port, prefix } if prefix.is_empty() => f.write_str(&authority(host, *port)),
            Self::Tcp { host, port, prefix } => write!(f, "http://{}{prefix}", authority(host, *port)),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16, prefix: &str) -> Address {
        Address::Tcp { host: host.into(), port, prefix: prefix.into() }
    }

    #[test]
    fn addresses_are_read_as_people_write_them() {
        for (text, expected, shown) in [
            ("127.0.0.1:9717", tcp("127.0.0.1", 9717, ""), "127.0.0.1:9717"),
            ("db1", tcp("db1", 9717, ""), "db1:9717"),
            ("db1:80", tcp("db1", 80, ""), "db1:80"),
            ("[::1]", tcp("::1", 9717, ""), "[::1]:9717"),
            ("[::1]:1", tcp("::1", 1, ""), "[::1]:1"),
            ("http://db1", tcp("db1", 80, ""), "db1:80"),
            ("HTTP://db1:9717/", tcp("db1", 9717, ""), "db1:9717"),
            ("http://proxy/tcp/db1/", tcp("proxy", 80, "/tcp/db1"), "http://proxy:80/tcp/db1"),
            ("http://[::1]:2/x", tcp("::1", 2, "/x"), "http://[::1]:2/x"),
            ("unix:/run/x.sock", Address::Unix("/run/x.sock".into()), "unix:/run/x.sock"),
            ("unix:///run/x.sock", Address::Unix("/run/x.sock".into()), "unix:/run/x.sock"),
        ] {
            let address: Address = text.parse().expect(text);
            assert_eq!(address, expected, "{text}");
            assert_eq!(address.to_string(), shown);
            assert_eq!(shown.parse(), Ok(address), "{shown}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_what_is_accepted() {
        for (text, problem) in [
            ("https://db1:9717", "https is not spoken here. Ask by way of ssh: "),
            ("ftp://db1", "unknown scheme \"ftp\"; write http://"),
            ("", "no host"),
            (":9717", "no host"),
            ("http:///x", "no host"),
            ("db1:x", "\"x\" is no port"),
            ("db1:0", "\"0\" is no port"),
            ("db1:65536", "\"65536\" is no port"),
            ("db1:", "\"\" is no port"),
            ("::1", "\"::1\" is no IPv6 address; an IPv6 address is written in brackets"),
            ("[::1", "\"[::1\" is no IPv6"),
            ("[db1]:1", "\"db1\" is no IPv6"),
            ("[::1]x", "\"x\" is no port"),
            ("http://me:secret@db1", "user names and passwords"),
            ("http://db1/a b", "' ' cannot be in it"),
            ("http://db1/a\r\nX: y", "'\\r' cannot be in it"),
            ("http://db1/?x", "'?' cannot be in it"),
            ("unix://run/x.sock", "a Unix socket is written unix:/PATH"),
            ("unix:relative", "a Unix socket is written unix:/PATH"),
            ("unix:", "a Unix socket is written unix:/PATH"),
        ] {
            let error = text.parse::<Address>().expect_err(text).to_string();
            assert!(error.starts_with(problem), "{text}: {error}");
        }
        assert_eq!(format!("unix:/{}", "x".repeat(107)).parse::<Address>(), Err(BadAddress::Path));
    }
}
