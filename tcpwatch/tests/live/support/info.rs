//! What the kernel itself tells of a connection (`TCP_INFO`), to hold tcpwatch against.

use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// `struct tcp_info`, as far as it is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Info {
    pub timeouts: u8,
    pub probes: u8,
    pub backoff: u8,
    pub total_retrans: u32,
    pub bytes_acked: u64,
    pub bytes_received: u64,
    pub segments_out: u32,
    /// In microseconds, `u32::MAX` if none was measured.
    pub min_rtt: u32,
    pub busy: Duration,
    pub rwnd_limited: Duration,
    pub sndbuf_limited: Duration,
}

/// Bytes of `struct tcp_info` up to the last one that is read; it has had them since Linux 4.10.
const LENGTH: usize = 192;

impl Info {
    pub fn of(fd: impl AsFd) -> Self {
        let mut bytes = [0u8; LENGTH];
        let mut length = 192;
        // SAFETY: the fd is open, and the kernel writes no more than `length` bytes.
        let result = unsafe {
            libc::getsockopt(
                fd.as_fd().as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                bytes.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        assert_eq!(result, 0, "TCP_INFO: {}", std::io::Error::last_os_error());
        assert_eq!(length, 192, "an older struct tcp_info");
        let small = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let large = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        Self {
            timeouts: bytes[2],
            probes: bytes[3],
            backoff: bytes[4],
            total_retrans: small(100),
            bytes_acked: large(120),
            bytes_received: large(128),
            segments_out: small(136),
            min_rtt: small(148),
            busy: Duration::from_micros(large(168)),
            rwnd_limited: Duration::from_micros(large(176)),
            sndbuf_limited: Duration::from_micros(large(184)),
        }
    }
}
