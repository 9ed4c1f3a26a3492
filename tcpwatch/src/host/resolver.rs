//! Names of addresses: from `/etc/hosts`, and by questions to the name servers of this host, all sent at once.
//!
//! Nobody waits for a slow server longer than until the deadline: what is not known by then stays an address.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Port of name servers.
const DNS: u16 = 53;

/// Names longer than this do not exist.
const LONGEST: usize = 255;

/// How many times a name can go on elsewhere in an answer.
const MOST_JUMPS: usize = 16;

const PTR: u16 = 12;
const INTERNET: u16 = 1;

/// The names of these addresses, as far as they are known within the time.
pub fn names(addresses: &BTreeSet<IpAddr>, within: Duration) -> BTreeMap<IpAddr, String> {
    let deadline = Instant::now() + within;
    let hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
    let mut known = hosts_names(&hosts, addresses);
    let servers = servers(&fs::read_to_string("/etc/resolv.conf").unwrap_or_default());
    let asked = addresses.iter().filter(|address| !known.contains_key(address)).copied().collect();
    for server in servers {
        // A server that cannot be asked leaves the addresses as they are.
        if let Ok(found) = ask(server, &asked, deadline) {
            known.extend(found);
            break;
        }
    }
    known
}

fn hosts_names(hosts: &str, wanted: &BTreeSet<IpAddr>) -> BTreeMap<IpAddr, String> {
    let mut names = BTreeMap::new();
    for line in hosts.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
        let Some(address) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else { continue };
        if let (true, Some(name)) = (wanted.contains(&address), words.next()) {
            names.entry(address).or_insert_with(|| name.to_owned());
        }
    }
    names
}

fn servers(resolv: &str) -> Vec<SocketAddr> {
    let lines = resolv.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    lines.filter_map(|rest| Some(SocketAddr::new(rest.trim().parse().ok()?, DNS))).collect()
}

/// Sends all questions, then reads answers until all are there or time is over.
fn ask(
    server: SocketAddr,
    addresses: &BTreeSet<IpAddr>,
    deadline: Instant,
) -> std::io::Result<BTreeMap<IpAddr, String>> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    let mut waiting = HashMap::new();
    for (id, address) in (1_u16..).zip(addresses) {
        socket.send(&question(id, *address))?;
        waiting.insert(id, *address);
    }
    let mut names = BTreeMap::new();
    let mut answer = [0; 1500];
    while !waiting.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        socket.set_read_timeout(Some(left))?;
        let Ok(length) = socket.recv(&mut answer) else { break };
        let answer = &answer[..length];
        let Some(address) = word(answer, 0).and_then(|id| waiting.remove(&id)) else { continue };
        if let Some(name) = name_in(answer) {
            names.insert(address, name);
        }
    }
    Ok(names)
}

/// A question for the name of an address.
fn question(id: u16, address: IpAddr) -> Vec<u8> {
    let mut out = Vec::with_capacity(96);
    // Recursion is wanted; one question.
    for word in [id, 0x0100, 1, 0, 0, 0] {
        out.extend(word.to_be_bytes());
    }
    let mut label = |text: &str| {
        out.push(u8::try_from(text.len()).unwrap_or(0));
        out.extend(text.as_bytes());
    };
    match address {
        IpAddr::V4(ip) => {
            ip.octets().iter().rev().for_each(|octet| label(&octet.to_string()));
            label("in-addr");
        }
        IpAddr::V6(ip) => {
            for octet in ip.octets().iter().rev() {
                label(&format!("{:x}", octet & 0xf));
                label(&format!("{:x}", octet >> 4));
            }
            label("ip6");
        }
    }
    label("arpa");
    out.push(0);
    out.extend(PTR.to_be_bytes());
    out.extend(INTERNET.to_be_bytes());
    out
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The first name that an answer has.
fn name_in(answer: &[u8]) -> Option<String> {
    let (questions, answers) = (word(answer, 4)?, word(answer, 6)?);
    let mut at = 12;
    for _ in 0..questions {
        at = name_at(answer, at)?.1 + 4;
    }
    for _ in 0..answers {
        at = name_at(answer, at)?.1;
        let (kind, length) = (word(answer, at)?, word(answer, at + 8)?);
        let data = at + 10;
        if kind == PTR {
            return name_at(answer, data).map(|(name, _)| name).filter(|name| !name.is_empty());
        }
        at = data + usize::from(length);
    }
    None
}

/// A name, and where what follows it begins. Whatever the bytes, it ends.
fn name_at(answer: &[u8], start: usize) -> Option<(String, usize)> {
    let (mut name, mut at, mut end, mut jumps) = (String::new(), start, None, 0);
    loop {
        let length = *answer.get(at)?;
        if length == 0 {
            return Some((name, end.unwrap_or(at + 1)));
        }
        if length & 0xc0 == 0xc0 {
            jumps += 1;
            end = end.or(Some(at + 2));
            at = usize::from(word(answer, at)? & 0x3fff);
            if jumps > MOST_JUMPS {
                return None;
            }
            continue;
        }
        let label = answer.get(at + 1..at + 1 + usize::from(length))?;
        if !name.is_empty() {
            name.push('.');
        }
        // Names come from others: nothing in them may steer a terminal.
        name.extend(label.iter().map(|byte| if byte.is_ascii_graphic() { char::from(*byte) } else { '?' }));
        if name.len() > LONGEST {
            return None;
        }
        at += 1 + usize::from(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::thread;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn files_are_understood() {
        let wanted = BTreeSet::from([ip("10.0.0.1"), ip("::1")]);
        let hosts = "# comment\n10.0.0.1 db1.example db1 # more\n10.0.0.1 second\n10.0.0.2 other\n::1 localhost\nx y\n";
        let names = hosts_names(hosts, &wanted);
        assert_eq!(
            names,
            BTreeMap::from([(ip("10.0.0.1"), "db1.example".into()), (ip("::1"), "localhost".into())])
        );
        let servers = servers("search a\nnameserver 10.0.0.9\nnameserver\t2001:db8::1\nnameserver x\n");
        assert_eq!(servers, [SocketAddr::new(ip("10.0.0.9"), 53), SocketAddr::new(ip("2001:db8::1"), 53)]);
    }

    /// An answer to `question`, as servers make it: the name of the question is not written again.
    fn answer(question: &[u8], name: &str) -> Vec<u8> {
        let mut answer = question.to_vec();
        answer[2..4].copy_from_slice(&0x8180_u16.to_be_bytes());
        answer[6..8].copy_from_slice(&1_u16.to_be_bytes());
        answer.extend([0xc0, 12, 0, 12, 0, 1, 0, 0, 0, 60, 0, u8::try_from(name.len() + 2).expect("short")]);
        for label in name.split('.') {
            answer.push(u8::try_from(label.len()).expect("short"));
            answer.extend(label.as_bytes());
        }
        answer.push(0);
        answer
    }

    #[test]
    fn a_server_is_asked_for_all_at_once_and_not_waited_for() {
        let server = UdpSocket::bind("127.0.0.1:0").expect("bind");
        let address = server.local_addr().expect("address");
        let asked = BTreeSet::from([ip("10.0.0.1"), ip("2001:db8::1"), ip("10.0.0.3")]);
        let answering = thread::spawn(move || {
            let mut questions = Vec::new();
            let mut buffer = [0; 512];
            for _ in 0..3 {
                let (length, from) = server.recv_from(&mut buffer).expect("a question");
                questions.push((buffer[..length].to_vec(), from));
            }
            for (question, from) in questions {
                let text = String::from_utf8_lossy(&question).into_owned();
                // The third is never answered.
                if text.contains("ip6") {
                    server.send_to(&answer(&question, "six.example"), from).expect("answer");
                } else if question[13] == b'1' {
                    server.send_to(&answer(&question, "one.example"), from).expect("answer");
                }
            }
        });
        let began = Instant::now();
        let names = ask(address, &asked, began + Duration::from_millis(300)).expect("asks");
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        answering.join().expect("answers");
        let expected = BTreeMap::from([
            (ip("10.0.0.1"), "one.example".into()),
            (ip("2001:db8::1"), "six.example".into()),
        ]);
        assert_eq!(names, expected);
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Some(name) = name_in(&bytes) {
                prop_assert!(name.bytes().all(|byte| byte.is_ascii_graphic()));
            }
        }
    }
}
