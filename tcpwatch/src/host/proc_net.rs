//! Counts and lists TCP sockets from `/proc`, for kernels without `tcp_diag`.
//!
//! Slower than netlink (the kernel prints every socket), so only a fallback.
//! The files are read as a stream with one reused line buffer: a host with a
//! million sockets needs no more memory than one with ten. States are shown as
//! netlink shows them: half-open requests as 3, closed `FIN_WAIT2` as 5.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::net::{IpAddr, SocketAddr};

use super::diag::DiagSocket;
use super::diag_wire::{AF_INET, AF_INET6};

/// No line of these files is longer; more means it is not such a file.
const LONGEST: u64 = 1024;

/// Why the sockets could not be counted.
#[derive(Debug, thiserror::Error)]
pub enum ProcNetError {
    #[error(
        "cannot read {path}: {source}; \
         the sockets of this network namespace are missing (is /proc mounted?)"
    )]
    Read { path: &'static str, source: io::Error },
    #[error(
        "cannot understand {path}, line {line}: {problem}; \
         please report it with the kernel version"
    )]
    Format { path: &'static str, line: usize, problem: &'static str },
}

/// Counts the TCP sockets of the calling thread's namespace; the index is the
/// kernel's state number.
pub fn count_states() -> Result<[u64; 13], ProcNetError> {
    let mut counts = [0; 13];
    read(|file, path, _| count(file, path, &mut counts))?;
    Ok(counts)
}

/// Hands every TCP socket of the calling thread's namespace to `each`. It has
/// no cookie, and no timer that netlink would tell of.
pub fn dump(mut each: impl FnMut(&DiagSocket)) -> Result<(), ProcNetError> {
    read(|file, path, family| {
        lines(file, path, |line| {
            each(&socket(line, family)?);
            Ok(())
        })
    })
}

/// Opens the file of each family.
fn read(
    mut each: impl FnMut(BufReader<File>, &'static str, u8) -> Result<(), ProcNetError>,
) -> Result<(), ProcNetError> {
    // `thread-self`: `/proc/net` would follow the main thread.
    for (path, family) in [("/proc/thread-self/net/tcp", AF_INET), ("/proc/thread-self/net/tcp6", AF_INET6)] {
        match File::open(path) {
            Ok(file) => each(BufReader::new(file), path, family)?,
            // A kernel without IPv6.
            Err(error) if error.kind() == ErrorKind::NotFound && family == AF_INET6 => {}
            Err(source) => return Err(ProcNetError::Read { path, source }),
        }
    }
    Ok(())
}

fn count(file: impl BufRead, path: &'static str, counts: &mut [u64; 13]) -> Result<(), ProcNetError> {
    lines(file, path, |line| {
        counts[usize::from(state(line)?)] += 1;
        Ok(())
    })
}

/// Hands on every line but that of the titles; an error of `each` gets its place.
fn lines(
    mut file: impl BufRead,
    path: &'static str,
    mut each: impl FnMut(&str) -> Result<(), &'static str>,
) -> Result<(), ProcNetError> {
    let mut text = Vec::new();
    for line in 1.. {
        text.clear();
        let read = file.by_ref().take(LONGEST).read_until(b'\n', &mut text);
        if read.map_err(|source| ProcNetError::Read { path, source })? == 0 {
            break;
        }
        let fail = |problem| ProcNetError::Format { path, line, problem };
        if text.last() != Some(&b'\n') {
            return Err(fail("cut short or far too long"));
        }
        if line > 1 {
            each(std::str::from_utf8(&text).map_err(|_| fail("not text"))?).map_err(fail)?;
        }
    }
    Ok(())
}

/// Slot, local, remote, state.
fn state(line: &str) -> Result<u8, &'static str> {
    let word = line.split_ascii_whitespace().nth(3).ok_or("no state in the fourth column")?;
    let state = u8::from_str_radix(word, 16).map_err(|_| "no state in the fourth column")?;
    if (1..=12).contains(&state) { Ok(state) } else { Err("a state that does not exist") }
}

fn socket(line: &str, family: u8) -> Result<DiagSocket, &'static str> {
    let state = state(line)?;
    let mut words = line.split_ascii_whitespace().skip(1);
    let mut end = || words.next().and_then(|word| endpoint(word, family)).ok_or("no address");
    let (local, remote) = (end()?, end()?);
    let queues = words.nth(1).and_then(|word| word.split_once(':')).ok_or("no queues")?;
    let [wqueue, rqueue] =
        [queues.0, queues.1].map(|queue| u32::from_str_radix(queue, 16).map_err(|_| "no number in a queue"));
    // Timer and retransmits are between them.
    let uid = words.nth(2).and_then(|word| word.parse().ok()).ok_or("no user")?;
    let inode = words.nth(1).and_then(|word| word.parse().ok()).ok_or("no inode")?;
    Ok(DiagSocket {
        family,
        state,
        timer: 0,
        retransmits: 0,
        local,
        remote,
        cookie: 0,
        expires_ms: 0,
        rqueue: rqueue?,
        wqueue: wqueue?,
        uid,
        inode,
    })
}

/// `0100007F:0035`: the words of the address as this machine has them in memory, and the port.
fn endpoint(word: &str, family: u8) -> Option<SocketAddr> {
    let (address, port) = word.split_once(':')?;
    let mut octets = [0; 16];
    for (place, four) in octets.chunks_exact_mut(4).enumerate().take(if family == AF_INET { 1 } else { 4 }) {
        let word = u32::from_str_radix(address.get(place * 8..place * 8 + 8)?, 16).ok()?;
        four.copy_from_slice(&word.to_ne_bytes());
    }
    let ip = match (family, address.len()) {
        (AF_INET, 8) => IpAddr::from(*octets.first_chunk::<4>()?),
        (AF_INET6, 32) => IpAddr::from(octets),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0035 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1
   1: 0100007F:0036 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 2 1
   2: 0100007F:0036 0100007F:9C41 06 00000000:00000000 03:000016F6 00000000     0        0 0 3
";

    fn run(text: &str) -> Result<[u64; 13], ProcNetError> {
        let mut counts = [0; 13];
        count(text.as_bytes(), "/proc/x", &mut counts).map(|()| counts)
    }

    #[test]
    fn counts() {
        assert_eq!(run(TEXT).unwrap(), [0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0]);
        assert_eq!(run("titles only\n").unwrap(), [0; 13]);
        assert_eq!(run("").unwrap(), [0; 13]);
    }

    #[test]
    fn lists() {
        let mut found = Vec::new();
        let text = TEXT.replace(
            " 00000000:00000000 00:00000000 00000000     0        0 2 1",
            " 00000003:0000000A 00:0 0 33 0 2 1",
        );
        lines(text.as_bytes(), "/proc/x", |line| socket(line, AF_INET).map(|socket| found.push(socket)))
            .unwrap();
        assert_eq!(found.len(), 3);
        let one = found[1];
        assert_eq!((one.family, one.state, one.uid, one.inode), (AF_INET, 1, 33, 2));
        assert_eq!((one.wqueue, one.rqueue), (3, 10));
        let end = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert_eq!((one.local, one.remote), (end("127.0.0.1:54"), end("127.0.0.1:40000")));
        let v6 = "00000000000000000000000001000000:1388";
        assert_eq!(endpoint(v6, AF_INET6), Some(end("[::1]:5000")));
        for bad in ["", ":", "0100007F", "0100007:0035", "0100007FF:0035", "0100007F:x", "ä100007:0035", v6]
        {
            assert_eq!(endpoint(bad, AF_INET), None, "{bad}");
        }
        assert!(socket("1: 0100007F:0035 00000000:0000 0A", AF_INET).is_err());
    }

    #[test]
    fn broken_lines_are_named() {
        for bad in ["0D", "00", "zz", "FFFFFFFFFFFFFFFFF"] {
            let error = run(&TEXT.replacen(" 01 ", &format!(" {bad} "), 1)).unwrap_err();
            assert!(error.to_string().contains("/proc/x, line 3"), "{error}");
        }
        assert!(run("titles\n\n").is_err());
        assert!(run("titles\n 0: a\n").is_err());
        assert!(run(&TEXT[..TEXT.len() - 5]).is_err());
        assert!(run(&format!("{TEXT}{}", "x ".repeat(4096))).is_err());
    }
}
