//! Counts TCP sockets by state from `/proc`, for kernels without `tcp_diag`.
//!
//! Slower than netlink (the kernel prints every socket), so only a fallback.
//! The files are read as a stream with one reused line buffer: a host with a
//! million sockets needs no more memory than one with ten. States are shown as
//! netlink shows them: half-open requests as 3, closed `FIN_WAIT2` as 5.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};

/// No line of these files is longer; more means it is not such a file.
const LONGEST: u64 = 1024;

/// Why the sockets could not be counted.
#[derive(Debug, thiserror::Error)]
pub enum ProcNetError {
    #[error(
        "cannot read {path}: {source}; \
         the socket counts of this network namespace are missing (is /proc mounted?)"
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
    // `thread-self`: `/proc/net` would follow the main thread.
    for path in ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"] {
        match File::open(path) {
            Ok(file) => count(BufReader::new(file), path, &mut counts)?,
            // A kernel without IPv6.
            Err(error) if error.kind() == ErrorKind::NotFound && path.ends_with('6') => {}
            Err(source) => return Err(ProcNetError::Read { path, source }),
        }
    }
    Ok(counts)
}

fn count(mut file: impl BufRead, path: &'static str, counts: &mut [u64; 13]) -> Result<(), ProcNetError> {
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
        if line == 1 {
            continue; // column titles
        }
        // Slot, local, remote, state.
        let state = text
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty())
            .nth(3)
            .and_then(|word| std::str::from_utf8(word).ok())
            .and_then(|word| usize::from_str_radix(word, 16).ok())
            .ok_or(fail("no state in the fourth column"))?;
        *counts.get_mut(state).filter(|_| state != 0).ok_or(fail("a state that does not exist"))? += 1;
    }
    Ok(())
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
