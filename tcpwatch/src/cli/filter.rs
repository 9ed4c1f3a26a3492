//! What a `trace` subscriber wants, in the words of the command line.

use std::net::{IpAddr, Ipv6Addr};

use clap::Args;
use tcpwatch_common::TcpState;
use tcpwatch_common::event::{Filter, Kind};

/// A filter that makes no sense.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?}: {problem}")]
pub(super) struct BadFilter {
    what: &'static str,
    text: String,
    problem: String,
}

#[derive(Debug, Default, Args)]
pub(super) struct FilterArgs {
    /// Local or remote port.
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Local port.
    #[arg(long, value_name = "PORT")]
    sport: Option<u16>,
    /// Remote port.
    #[arg(long, value_name = "PORT")]
    dport: Option<u16>,
    /// Remote address or prefix, such as `10.0.0.0/8` or `2001:db8::1`.
    #[arg(long, value_name = "ADDRESS[/BITS]")]
    peer: Option<String>,
    /// Old or new state, as in `ss`; may be given several times.
    #[arg(long, value_name = "STATE")]
    state: Vec<String>,
    /// Owner's process id (events whose owner is not known do not match).
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// Network namespace, by inode number.
    #[arg(long, value_name = "INODE")]
    netns: Option<u32>,
    /// Only these: transition, retransmit, reset; may be given several times.
    #[arg(long = "type", value_name = "TYPE")]
    kinds: Vec<String>,
    /// Only transitions that are unusual or illegal.
    #[arg(long)]
    odd: bool,
}

impl FilterArgs {
    /// The kinds wanted, as bits, and the filter that the kernel applies.
    pub(super) fn compile(&self) -> Result<(u32, Filter), BadFilter> {
        let mut filter = Filter {
            netns: self.netns.unwrap_or(0),
            pid: self.pid.unwrap_or(0),
            port: self.port.unwrap_or(0),
            local_port: self.sport.unwrap_or(0),
            remote_port: self.dport.unwrap_or(0),
            odd_only: u8::from(self.odd),
            ..Filter::default()
        };
        for text in &self.state {
            filter.states |= 1 << parse_state(text)? as u32;
        }
        if let Some(text) = &self.peer {
            (filter.peer, filter.peer_mask, filter.peer_bits) = parse_peer(text)?;
        }
        Ok((self.wanted()?, filter))
    }

    fn wanted(&self) -> Result<u32, BadFilter> {
        if self.odd || self.kinds.is_empty() {
            let all = Kind::ALL.iter().fold(0, |bits, kind| bits | kind.bit());
            return Ok(if self.odd { Kind::Transition.bit() | Kind::Gap.bit() } else { all });
        }
        self.kinds.iter().try_fold(Kind::Gap.bit(), |bits, text| {
            Ok(bits
                | match text.as_str() {
                    "transition" => Kind::Transition.bit(),
                    "retransmit" => Kind::Retransmit.bit(),
                    "reset" => Kind::ResetSent.bit() | Kind::ResetReceived.bit(),
                    _ => {
                        let problem = "use transition, retransmit or reset".into();
                        return Err(BadFilter { what: "type", text: text.clone(), problem });
                    }
                })
        })
    }
}

fn parse_state(text: &str) -> Result<TcpState, BadFilter> {
    TcpState::parse(text).ok_or_else(|| BadFilter {
        what: "state",
        text: text.into(),
        problem: format!("use one of {}", TcpState::RFC.map(TcpState::name).join(", ")),
    })
}

type Peer = ([u64; 2], [u64; 2], u8);

/// The prefix as the kernel side compares it: IPv4 is v4-mapped, each half in memory order.
fn parse_peer(text: &str) -> Result<Peer, BadFilter> {
    let bad = |problem: String| BadFilter { what: "peer", text: text.into(), problem };
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let address: IpAddr =
        address.parse().map_err(|_| bad("not an IP address (names are not resolved)".into()))?;
    let (address, width): (Ipv6Addr, u8) = match address {
        IpAddr::V4(address) => (address.to_ipv6_mapped(), 32),
        IpAddr::V6(address) => (address, 128),
    };
    let bits = match bits.map(str::parse::<u8>) {
        None => width,
        Some(Ok(bits)) if (1..=width).contains(&bits) => bits,
        Some(_) => return Err(bad(format!("the prefix length is between 1 and {width}"))),
    };
    let bits = 128 - width + bits;
    let mask = u128::MAX << (128 - u32::from(bits));
    Ok((halves(u128::from(address) & mask), halves(mask), bits))
}

fn halves(value: u128) -> [u64; 2] {
    let bytes = value.to_be_bytes();
    let mut halves =
        bytes.chunks_exact(8).map(|half| u64::from_ne_bytes(half.try_into().unwrap_or_default()));
    [halves.next().unwrap_or(0), halves.next().unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(peer: &str, remote: &str) -> bool {
        let (prefix, mask, bits) = parse_peer(peer).expect("a prefix");
        let remote: IpAddr = remote.parse().expect("an address");
        let remote = match remote {
            IpAddr::V4(remote) => remote.to_ipv6_mapped(),
            IpAddr::V6(remote) => remote,
        };
        let remote = halves(u128::from(remote));
        assert_ne!(bits, 0);
        (0..2).all(|half| remote[half] & mask[half] == prefix[half])
    }

    #[test]
    fn prefixes_match_as_everywhere() {
        assert!(matches("10.0.0.0/8", "10.200.3.4"));
        assert!(!matches("10.0.0.0/8", "11.0.0.1"));
        assert!(matches("10.1.2.3", "10.1.2.3"));
        assert!(!matches("10.1.2.3", "10.1.2.4"));
        assert!(matches("2001:db8::/33", "2001:db8:7fff::1"));
        assert!(!matches("2001:db8::/33", "2001:db8:8000::1"));
        assert!(!matches("::/1", "ffff::"));
    }

    #[test]
    fn nonsense_is_refused_with_what_is_accepted() {
        for peer in ["host.example", "10.0.0.0/33", "10.0.0.0/0", "10.0.0.0/x", "", "::1/129"] {
            assert!(parse_peer(peer).is_err(), "{peer}");
        }
        let args = FilterArgs { state: vec!["opened".into()], ..FilterArgs::default() };
        assert!(args.compile().expect_err("no state").to_string().contains("close_wait"));
        let args = FilterArgs { kinds: vec!["packet".into()], ..FilterArgs::default() };
        assert!(args.compile().is_err());
    }

    #[test]
    fn states_and_kinds_become_bits() {
        let args = FilterArgs {
            state: vec!["CLOSE-WAIT".into(), "estab".into()],
            kinds: vec!["reset".into()],
            ..FilterArgs::default()
        };
        let (wanted, filter) = args.compile().expect("fine");
        assert_eq!(filter.states, 1 << 8 | 1 << 1);
        assert_eq!(wanted & Kind::Transition.bit(), 0);
        assert_ne!(wanted & Kind::ResetSent.bit(), 0);
    }
}
