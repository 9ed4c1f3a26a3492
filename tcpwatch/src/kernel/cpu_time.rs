//! What the kernel says of our own programs: runs, run time, and runs that it skipped.
//!
//! Read from `/proc/self/fdinfo`, which needs no capability and no further system call interface. Run times are
//! only kept while `kernel.bpf_stats_enabled` is set; skipped runs always.

use std::fs;
use std::os::fd::RawFd;

/// Statistics of one program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunStats {
    /// The kernel's number of the program.
    pub id: u32,
    pub runs: u64,
    pub nanoseconds: u64,
    /// Runs skipped because the program was interrupted by its own event. Not told by older kernels, which skip none.
    pub missed: Option<u64>,
    /// Instructions that the verifier walked before it let the program run. Told since Linux 5.16.
    pub verified: Option<u64>,
}

/// Statistics of the program with this descriptor; `None` if the kernel does not tell.
pub fn run_stats(fd: RawFd) -> Option<RunStats> {
    parse(&fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?)
}

/// Bytes of kernel memory that all maps of this process take; `None` if the kernel does not tell.
pub fn map_memory() -> Option<u64> {
    let mut sum = None;
    for entry in fs::read_dir("/proc/self/fdinfo").ok()?.flatten() {
        // Descriptors come and go while they are listed.
        let Ok(text) = fs::read_to_string(entry.path()) else { continue };
        if let (Some(_), Some(bytes)) = (value(&text, "map_id"), value(&text, "memlock")) {
            sum = Some(sum.unwrap_or(0) + bytes);
        }
    }
    sum
}

fn value(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.strip_prefix(':')?.trim().parse().ok()
}

fn parse(text: &str) -> Option<RunStats> {
    let value = |name| value(text, name);
    Some(RunStats {
        id: u32::try_from(value("prog_id")?).ok()?,
        runs: value("run_cnt").unwrap_or(0),
        nanoseconds: value("run_time_ns").unwrap_or(0),
        missed: value("recursion_misses"),
        verified: value("verified_insns"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fdinfo_is_understood_and_anything_else_refused() {
        let text = "pos:\t0\nprog_type:\t26\nprog_jited:\t1\nmemlock:\t4096\nprog_id:\t7\nrun_time_ns:\t61\nrun_cnt:\t2\n\
            recursion_misses:\t3\nverified_insns:\t9\n";
        let all = RunStats { id: 7, runs: 2, nanoseconds: 61, missed: Some(3), verified: Some(9) };
        assert_eq!(parse(text), Some(all));
        assert_eq!(parse("prog_id:\t7\n"), Some(RunStats { id: 7, ..RunStats::default() }));
        assert_eq!(parse("pos:\t0\n"), None);
        assert_eq!(parse("prog_id:\tx\n"), None);
    }
}
