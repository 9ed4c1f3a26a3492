//! Facts about processes: command names of others, and what the daemon itself uses.

use std::fs;

/// The command name of a process; `None` once it has ended.
pub fn command(pid: u32) -> Option<String> {
    let comm = fs::read(format!("/proc/{pid}/comm")).ok()?;
    Some(String::from_utf8_lossy(&comm).trim_end_matches('\n').to_owned())
}

/// Memory of this process that is in RAM, in bytes.
pub fn resident_bytes() -> Option<u64> {
    status_bytes(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// Time that all threads of this process have run, in seconds.
pub fn cpu_seconds() -> Option<f64> {
    let usage = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    #[expect(clippy::cast_precision_loss, reason = "seconds and nanoseconds of a process")]
    Some(usage.tv_sec as f64 + usage.tv_nsec as f64 / 1e9)
}

fn status_bytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_known() {
        assert!(command(std::process::id()).is_some_and(|name| !name.is_empty()));
        assert_eq!(command(u32::MAX), None);
        assert!(resident_bytes().is_some_and(|bytes| bytes > 100_000));
        assert!(cpu_seconds().is_some_and(|seconds| seconds > 0.0));
    }

    #[test]
    fn lines_of_status_are_understood_and_nonsense_is_not() {
        assert_eq!(status_bytes("VmPeak:\t 9 kB\nVmRSS:\t   12 kB\n", "VmRSS:"), Some(12 * 1024));
        assert_eq!(status_bytes("VmRSS:\t x kB\n", "VmRSS:"), None);
        assert_eq!(status_bytes("", "VmRSS:"), None);
    }
}
