//! TCP segments as bytes on the wire: IPv4 or IPv6 header, TCP header, checksums.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub const FIN: u8 = 0x01;
pub const SYN: u8 = 0x02;
pub const RST: u8 = 0x04;
pub const PSH: u8 = 0x08;
pub const ACK: u8 = 0x10;

const TCP: u8 = 6;
const TCP_HEADER: usize = 20;

/// One TCP segment with the addresses of its IP header.
#[derive(Clone, PartialEq, Eq)]
pub struct Segment {
    pub src: SocketAddr,
    pub dst: SocketAddr,
    pub seq: u32,
    pub ack: u32,
    pub flags: u8,
    pub window: u16,
    /// The bytes between the TCP header and the payload; a multiple of four.
    pub options: Vec<u8>,
    pub payload: Vec<u8>,
}

impl Segment {
    /// How far this segment moves the sequence number.
    pub fn len(&self) -> u32 {
        let flags = u32::from(self.flags & SYN != 0) + u32::from(self.flags & FIN != 0);
        u32::try_from(self.payload.len()).expect("payload fits a packet") + flags
    }

    /// Whether it takes no sequence number: a bare ACK or RST.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The whole IP packet, with right checksums.
    ///
    /// Panics if the addresses are of two families or the options are of a
    /// length no header can have.
    pub fn to_bytes(&self) -> Vec<u8> {
        assert!(
            self.options.len().is_multiple_of(4) && self.options.len() <= 40,
            "TCP options of {} bytes",
            self.options.len()
        );
        let header = TCP_HEADER + self.options.len();
        let mut tcp = Vec::with_capacity(header + self.payload.len());
        tcp.extend(self.src.port().to_be_bytes());
        tcp.extend(self.dst.port().to_be_bytes());
        tcp.extend(self.seq.to_be_bytes());
        tcp.extend(self.ack.to_be_bytes());
        let words = u8::try_from(header / 4).expect("at most 15 words");
        tcp.extend([words << 4, self.flags]);
        tcp.extend(self.window.to_be_bytes());
        tcp.extend([0; 4]); // checksum and urgent pointer
        tcp.extend(&self.options);
        tcp.extend(&self.payload);
        let sum = tcp_checksum(self.src.ip(), self.dst.ip(), &tcp);
        tcp[16..18].copy_from_slice(&sum.to_be_bytes());

        let mut packet = match (self.src.ip(), self.dst.ip()) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => ipv4_header(src, dst, tcp.len()),
            (IpAddr::V6(src), IpAddr::V6(dst)) => ipv6_header(src, dst, tcp.len()),
            (src, dst) => panic!("one segment cannot go from {src} to {dst}"),
        };
        packet.extend(tcp);
        packet
    }

    /// Reads an IP packet. None if it is not a whole TCP segment with right
    /// checksums (fragments and IPv6 extension headers are not understood).
    pub fn parse(packet: &[u8]) -> Option<Segment> {
        let (src, dst, tcp) = match packet.first()? >> 4 {
            4 => parse_ipv4(packet)?,
            6 => parse_ipv6(packet)?,
            _ => return None,
        };
        let header = usize::from(tcp.get(12)? >> 4) * 4;
        if header < TCP_HEADER || tcp.len() < header || tcp_checksum(src, dst, tcp) != 0 {
            return None;
        }
        Some(Segment {
            src: SocketAddr::new(src, be16(tcp, 0)),
            dst: SocketAddr::new(dst, be16(tcp, 2)),
            seq: be32(tcp, 4),
            ack: be32(tcp, 8),
            flags: tcp[13],
            window: be16(tcp, 14),
            options: tcp[TCP_HEADER..header].to_vec(),
            payload: tcp[header..].to_vec(),
        })
    }
}

impl fmt::Debug for Segment {
    /// `10.77.0.1:80 > 10.77.0.2:9: SYN|ACK seq 1 ack 2 len 0`: fit for a panic message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Segment { src, dst, seq, ack, .. } = self;
        let (flags, len) = (flag_names(self.flags), self.payload.len());
        write!(f, "{src} > {dst}: {flags} seq {seq} ack {ack} len {len}")
    }
}

/// `SYN|ACK` for people.
pub fn flag_names(flags: u8) -> String {
    const NAMES: [(u8, &str); 5] = [(FIN, "FIN"), (SYN, "SYN"), (RST, "RST"), (PSH, "PSH"), (ACK, "ACK")];
    let set = NAMES.iter().filter(|(bit, _)| flags & bit != 0);
    set.map(|(_, name)| *name).collect::<Vec<_>>().join("|")
}

fn ipv4_header(src: Ipv4Addr, dst: Ipv4Addr, len: usize) -> Vec<u8> {
    let total = u16::try_from(20 + len).expect("segment fits an IPv4 packet");
    let mut header = vec![0x45, 0];
    header.extend(total.to_be_bytes());
    header.extend([0, 0, 0x40, 0, 64, TCP, 0, 0]); // id, don't fragment, ttl, protocol, checksum
    header.extend(src.octets());
    header.extend(dst.octets());
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header
}

fn ipv6_header(src: Ipv6Addr, dst: Ipv6Addr, len: usize) -> Vec<u8> {
    let len = u16::try_from(len).expect("segment fits an IPv6 packet");
    let mut header = vec![0x60, 0, 0, 0];
    header.extend(len.to_be_bytes());
    header.extend([TCP, 64]);
    header.extend(src.octets());
    header.extend(dst.octets());
    header
}

fn parse_ipv4(packet: &[u8]) -> Option<(IpAddr, IpAddr, &[u8])> {
    let header = usize::from(packet[0] & 0x0f) * 4;
    let fixed = packet.first_chunk::<20>()?;
    let fragment = be16(fixed, 6) & 0x3fff;
    if fixed[9] != TCP || fragment != 0 || header < 20 || checksum(packet.get(..header)?) != 0 {
        return None;
    }
    let src: [u8; 4] = fixed[12..16].try_into().ok()?;
    let dst: [u8; 4] = fixed[16..20].try_into().ok()?;
    let tcp = packet.get(header..usize::from(be16(fixed, 2)))?;
    Some((src.into(), dst.into(), tcp))
}

fn parse_ipv6(packet: &[u8]) -> Option<(IpAddr, IpAddr, &[u8])> {
    let fixed = packet.first_chunk::<40>()?;
    if fixed[6] != TCP {
        return None;
    }
    let src: [u8; 16] = fixed[8..24].try_into().ok()?;
    let dst: [u8; 16] = fixed[24..40].try_into().ok()?;
    let tcp = packet.get(40..40 + usize::from(be16(fixed, 4)))?;
    Some((src.into(), dst.into(), tcp))
}

/// The checksum over the pseudo header and the segment: 0 for a segment whose
/// checksum field is right.
fn tcp_checksum(src: IpAddr, dst: IpAddr, tcp: &[u8]) -> u16 {
    let mut bytes = match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => [src.octets(), dst.octets()].concat(),
        (IpAddr::V6(src), IpAddr::V6(dst)) => [src.octets(), dst.octets()].concat(),
        (src, dst) => panic!("one segment cannot go from {src} to {dst}"),
    };
    // Both pseudo headers sum up to the same words: protocol and length.
    bytes.extend(u32::from(TCP).to_be_bytes());
    bytes.extend(u32::try_from(tcp.len()).expect("segment fits a packet").to_be_bytes());
    bytes.extend(tcp);
    checksum(&bytes)
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(*w.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    loop {
        match u16::try_from(sum) {
            Ok(sum) => return !sum,
            Err(_) => sum = (sum & 0xffff) + (sum >> 16),
        }
    }
}

fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(src: &str, dst: &str) -> Segment {
        Segment {
            src: SocketAddr::new(src.parse().unwrap(), 40000),
            dst: SocketAddr::new(dst.parse().unwrap(), 8080),
            seq: 0x1122_3344,
            ack: 0x5566_7788,
            flags: PSH | ACK,
            window: 0x2000,
            options: vec![2, 4, 5, 0xb4],
            payload: b"odd".to_vec(),
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().fold(String::new(), |hex, b| hex + &format!("{b:02x}"))
    }

    #[test]
    fn checksum_of_the_rfc_1071_example() {
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
    }

    /// The bytes were computed by a program of another language.
    #[test]
    fn bytes_of_ipv4() {
        assert_eq!(
            hex(&sample("10.77.0.2", "10.77.0.1").to_bytes()),
            "4500002f000040004006262d0a4d00020a4d0001\
             9c401f90112233445566778860182000c2e60000020405b46f6464"
        );
    }

    #[test]
    fn bytes_of_ipv6() {
        assert_eq!(
            hex(&sample("fd77::2", "fd77::1").to_bytes()),
            "60000000001b0640fd770000000000000000000000000002fd770000000000000000000000000001\
             9c401f90112233445566778860182000dc900000020405b46f6464"
        );
    }

    #[test]
    fn round_trip() {
        for (src, dst) in [("10.77.0.2", "10.77.0.1"), ("fd77::2", "fd77::1")] {
            for payload in [&b""[..], b"x", b"even", &[0xff; 1400]] {
                for flags in [SYN, SYN | ACK, ACK, FIN | ACK, RST] {
                    let mut segment = sample(src, dst);
                    segment.payload = payload.to_vec();
                    segment.flags = flags;
                    let mut bytes = segment.to_bytes();
                    assert_eq!(Segment::parse(&bytes), Some(segment.clone()));
                    bytes.push(0); // padding after the packet is not payload
                    assert_eq!(Segment::parse(&bytes), Some(segment));
                }
            }
        }
    }

    #[test]
    fn broken_packets_are_not_segments() {
        for (src, dst) in [("10.77.0.2", "10.77.0.1"), ("fd77::2", "fd77::1")] {
            let bytes = sample(src, dst).to_bytes();
            for end in 0..bytes.len() {
                assert_eq!(Segment::parse(&bytes[..end]), None, "cut at {end}");
            }
            let mut bad = bytes.clone();
            *bad.last_mut().unwrap() ^= 1;
            assert_eq!(Segment::parse(&bad), None, "bad checksum");
            let mut udp = bytes;
            udp[if src.contains(':') { 6 } else { 9 }] = 17;
            assert_eq!(Segment::parse(&udp), None, "not TCP");
        }
    }

    #[test]
    fn length_counts_syn_and_fin() {
        let mut segment = sample("10.77.0.2", "10.77.0.1");
        assert_eq!(segment.len(), 3);
        segment.flags = FIN | ACK;
        assert_eq!(segment.len(), 4);
        segment.payload.clear();
        segment.flags = RST;
        assert!(segment.is_empty());
    }
}
