//! The clocks of the host: the kernel's events are stamped by the monotonic one, people read the other.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_getres, clock_gettime};

/// Now on the clock that the eBPF programs read.
pub fn monotonic() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    // The monotonic clock starts at boot and is never negative.
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// How long a tick of the kernel is (`1/HZ`): the clock that it moves forward at each tick has this resolution. `None` if
/// that is no tick of any kernel.
pub fn tick() -> Option<Duration> {
    static TICK: LazyLock<Option<Duration>> = LazyLock::new(|| {
        let tick = clock_getres(ClockId::MonotonicCoarse);
        let nanoseconds = u32::try_from(tick.tv_nsec).ok().filter(|_| tick.tv_sec == 0)?;
        // From 1000 to 100 a second.
        (1_000_000..=10_000_000).contains(&nanoseconds).then(|| Duration::from_nanos(nanoseconds.into()))
    });
    *TICK
}

/// Wall clock time at the monotonic clock's zero, as the two stand now.
pub fn boot() -> SystemTime {
    SystemTime::now().checked_sub(monotonic()).unwrap_or(SystemTime::UNIX_EPOCH)
}
