//! The clocks of the host: the kernel's events are stamped by the monotonic one, people read the other.

use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};

/// Now on the clock that the eBPF programs read.
pub fn monotonic() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    // The monotonic clock starts at boot and is never negative.
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// Wall clock time at the monotonic clock's zero, as the two stand now.
pub fn boot() -> SystemTime {
    SystemTime::now().checked_sub(monotonic()).unwrap_or(SystemTime::UNIX_EPOCH)
}
