//! Values in a filter: addresses, names with wildcards, times, users.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use super::lex::is_bare;

/// An address, or all that begin with the same bits. IPv4 addresses mapped into IPv6 are IPv4 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prefix {
    /// The bits behind the prefix are 0.
    address: IpAddr,
    bits: u8,
}

impl Prefix {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (address, bits) =
            text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let Ok(address) = address.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() else {
            return Err(if text.parse::<std::net::SocketAddr>().is_ok() {
                format!("{text:?} has a port: ask for it by dport (peer's) or sport (local)")
            } else {
                format!("{text:?} is no address (names are not resolved)")
            });
        };
        let width = width(address);
        let bits = match bits.map(str::parse::<u8>) {
            None => width,
            Some(Ok(bits)) if bits <= width => bits,
            Some(_) => return Err(format!("{text:?} has no prefix length from 0 to {width}")),
        };
        Ok(Self::new(address, bits))
    }

    fn new(address: IpAddr, bits: u8) -> Self {
        match (address, address.to_canonical()) {
            (IpAddr::V6(_), inner @ IpAddr::V4(_)) if bits >= 96 => {
                Self { address: masked(inner, bits - 96), bits: bits - 96 }
            }
            _ => Self { address: masked(address, bits), bits },
        }
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        width(address) == width(self.address) && masked(address, self.bits) == self.address
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn masked(address: IpAddr, bits: u8) -> IpAddr {
    let bits = u32::from(bits);
    match address {
        IpAddr::V4(v4) => IpAddr::V4((v4.to_bits() & u32::MAX.checked_shl(32 - bits).unwrap_or(0)).into()),
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & u128::MAX.checked_shl(128 - bits).unwrap_or(0)).into()),
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        if self.bits == width(self.address) { Ok(()) } else { write!(f, "/{}", self.bits) }
    }
}

/// Whether `text` is what `pattern` describes: `*` stands for anything, `?` for one character.
pub(super) fn is_like(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut place) = (0, 0);
    // Where to go on if it does not fit: behind the last star, one character further.
    let mut again = None;
    while place < text.len() {
        match pattern.get(at) {
            Some('*') => {
                again = Some((at + 1, place));
                at += 1;
            }
            Some(c) if *c == '?' || *c == text[place] => (at, place) = (at + 1, place + 1),
            _ => match again {
                Some((behind, start)) => {
                    again = Some((behind, start + 1));
                    (at, place) = (behind, start + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|c| *c == '*')
}

const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// `30s`, `5m`, `1h30m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let bad = || match text.parse::<u64>() {
        Ok(number) => format!("{number} has no unit: is it {number}s, {number}m or {number}h?"),
        Err(_) => format!("{text:?} is no time"),
    };
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let number: u64 = rest[..digits].parse().map_err(|_| bad())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == &rest[..letters]).ok_or_else(bad)?;
        rest = &rest[letters..];
        total = number
            .checked_mul(*unit)
            .and_then(|part| part.checked_add(total))
            .ok_or_else(|| format!("{text} is too long a time"))?;
    }
    if text.is_empty() { Err(bad()) } else { Ok(Duration::from_millis(total)) }
}

/// A duration as [`duration`] reads it.
pub(super) struct Time(pub(super) Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        for (name, unit) in UNITS.iter().rev().filter(|(name, _)| *name != "ms") {
            if rest >= *unit {
                write!(f, "{}{name}", rest / unit)?;
                rest %= unit;
            }
        }
        if rest > 0 || self.0.is_zero() { write!(f, "{rest}ms") } else { Ok(()) }
    }
}

/// A user by name or by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum User {
    Name(String),
    Uid(u32),
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => Text(name).fmt(f),
            Self::Uid(uid) => uid.fmt(f),
        }
    }
}

/// Words that join tests: values that look like them must be in quotes.
pub(super) const JOINERS: [&str; 3] = ["and", "or", "not"];

/// A value as one has to write it, in quotes if need be.
pub(super) struct Text<'a>(pub(super) &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_joiner = JOINERS.iter().any(|word| word.eq_ignore_ascii_case(self.0));
        if !self.0.is_empty() && self.0.chars().all(is_bare) && !is_joiner {
            return f.write_str(self.0);
        }
        f.write_str("\"")?;
        for c in self.0.chars() {
            if matches!(c, '"' | '\\') {
                f.write_str("\\")?;
            }
            write!(f, "{c}")?;
        }
        f.write_str("\"")
    }
}
