//! Numbers, addresses and times as text, into a buffer that is used again and again: nothing is allocated for a socket.
//!
//! Copies have a fixed length and what is too much is cut off: a call to copy a few bytes takes longer than all the rest.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// Appends a number.
pub(super) fn number(out: &mut Vec<u8>, mut value: u64) {
    let count = value.checked_ilog10().map_or(1, |power| power as usize + 1);
    let end = out.len() + count;
    out.extend_from_slice(&[b'0'; 20]);
    out.truncate(end);
    for digit in out.iter_mut().rev().take(count) {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// Appends that many spaces.
pub(super) fn spaces(out: &mut Vec<u8>, count: usize) {
    const SPACES: [u8; 32] = [b' '; 32];
    let end = out.len() + count;
    while out.len() < end {
        out.extend_from_slice(&SPACES);
    }
    out.truncate(end);
}

/// Appends a word of no more than sixteen characters.
pub(super) fn word(out: &mut Vec<u8>, word: &[u8; 16], length: usize) {
    let end = out.len() + length;
    out.extend_from_slice(word);
    out.truncate(end);
}

/// Appends an address with its port: `10.0.0.1:80`, `[::1]:80`.
pub(super) fn end(out: &mut Vec<u8>, end: SocketAddr) {
    match end.ip() {
        IpAddr::V4(ip) => v4(out, ip),
        IpAddr::V6(ip) => {
            out.push(b'[');
            v6(out, ip);
            out.push(b']');
        }
    }
    out.push(b':');
    number(out, end.port().into());
}

fn v4(out: &mut Vec<u8>, ip: Ipv4Addr) {
    let [a, b, c, d] = ip.octets();
    byte(out, a);
    for part in [b, c, d] {
        out.push(b'.');
        byte(out, part);
    }
}

fn byte(out: &mut Vec<u8>, value: u8) {
    if value >= 100 {
        out.push(b'0' + value / 100);
    }
    if value >= 10 {
        out.push(b'0' + value / 10 % 10);
    }
    out.push(b'0' + value % 10);
}

/// As RFC 5952 has it: the longest run of two zeros or more is left out.
fn v6(out: &mut Vec<u8>, ip: Ipv6Addr) {
    if let Some(inner) = ip.to_ipv4_mapped() {
        out.extend_from_slice(b"::ffff:");
        return v4(out, inner);
    }
    let groups = ip.segments();
    let (mut longest, mut length) = (0, 0);
    let mut at = 0;
    while at < groups.len() {
        let zeros = groups[at..].iter().take_while(|group| **group == 0).count();
        if zeros > length {
            (longest, length) = (at, zeros);
        }
        at += zeros.max(1);
    }
    let mut at = 0;
    while at < groups.len() {
        if length > 1 && at == longest {
            out.extend_from_slice(b"::");
            at += length;
            continue;
        }
        if at > 0 && !(length > 1 && at == longest + length) {
            out.push(b':');
        }
        hex(out, groups[at]);
        at += 1;
    }
}

fn hex(out: &mut Vec<u8>, group: u16) {
    let mut shift = 12;
    while shift > 0 && group >> shift == 0 {
        shift -= 4;
    }
    loop {
        let digit = usize::from(group >> shift & 0xf);
        out.push(b"0123456789abcdef"[digit]);
        if shift == 0 {
            return;
        }
        shift -= 4;
    }
}

/// Appends a duration in its two largest units, in at most six characters: `0.4ms`, `35s`, `5m07s`, `3h20m`, `12d4h`.
pub(super) fn duration(out: &mut Vec<u8>, value: Duration) {
    let seconds = value.as_secs();
    let two = |out: &mut Vec<u8>, large: u64, unit: u8, small: u64, small_unit: u8| {
        number(out, large);
        out.push(unit);
        if small < 10 && small_unit != b'h' {
            out.push(b'0');
        }
        number(out, small);
        out.push(small_unit);
    };
    match seconds {
        0 => {
            let micros = u64::from(value.subsec_micros());
            if micros < 1000 {
                number(out, micros);
                out.extend_from_slice(b"us");
            } else if micros < 10_000 {
                number(out, micros / 1000);
                out.push(b'.');
                number(out, micros / 100 % 10);
                out.extend_from_slice(b"ms");
            } else {
                number(out, micros / 1000);
                out.extend_from_slice(b"ms");
            }
        }
        1..10 => {
            number(out, seconds);
            out.push(b'.');
            number(out, u64::from(value.subsec_millis() / 100));
            out.push(b's');
        }
        10..60 => {
            number(out, seconds);
            out.push(b's');
        }
        60..3600 => two(out, seconds / 60, b'm', seconds % 60, b's'),
        3600..86_400 => two(out, seconds / 3600, b'h', seconds / 60 % 60, b'm'),
        // From a hundred days on the hours mean nothing.
        86_400..8_640_000 => two(out, seconds / 86_400, b'd', seconds / 3600 % 24, b'h'),
        _ => {
            number(out, seconds / 86_400);
            out.push(b'd');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    proptest! {
        #[test]
        fn numbers_are_those_of_the_library(value: u64) {
            prop_assert_eq!(written(|out| number(out, value)), value.to_string());
        }

        #[test]
        fn addresses_are_those_of_the_library(groups: [u16; 8], zeros: [bool; 8], v4: u32, port: u16) {
            let groups: Vec<u16> = groups.iter().zip(zeros).map(|(g, z)| if z { 0 } else { *g }).collect();
            let groups: [u16; 8] = groups.try_into().expect("eight");
            for ip in [IpAddr::V6(groups.into()), IpAddr::V4(v4.into())] {
                let socket = SocketAddr::new(ip, port);
                prop_assert_eq!(written(|out| end(out, socket)), socket.to_string());
            }
        }

        #[test]
        fn durations_are_short(nanoseconds in 0_u64..400 * 86_400_000_000_000) {
            let text = written(|out| duration(out, Duration::from_nanos(nanoseconds)));
            prop_assert!(text.len() <= 6, "{}", text);
        }
    }

    #[test]
    fn special_addresses() {
        for text in ["[::]:0", "[::1]:80", "[1::]:1", "[::ffff:1.2.3.4]:5", "[fe80::1:0:0:1]:9", "[0:1::]:1"]
        {
            let socket: SocketAddr = text.parse().expect("an address");
            assert_eq!(written(|out| end(out, socket)), socket.to_string());
        }
    }

    #[test]
    fn durations_have_their_two_largest_units() {
        for (milliseconds, text) in [
            (0, "0us"),
            (4, "4.0ms"),
            (40, "40ms"),
            (1_540, "1.5s"),
            (35_900, "35s"),
            (307_000, "5m07s"),
            (12_000_000, "3h20m"),
            (1_051_200_000, "12d4h"),
            (8_640_000_000, "100d"),
        ] {
            assert_eq!(written(|out| duration(out, Duration::from_millis(milliseconds))), text);
        }
        assert_eq!(written(|out| duration(out, Duration::from_micros(420))), "420us");
    }
}
