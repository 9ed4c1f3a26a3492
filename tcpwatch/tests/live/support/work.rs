//! What goes on beside a test until it has seen enough.

use std::sync::atomic::{AtomicBool, Ordering};

/// What goes on until it is told to stop.
pub type Work<'a> = dyn Fn(&AtomicBool) + Sync + 'a;

/// Tells others to stop, also when a test fails: threads that were started for it are waited for.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Has `others` work while `act` does.
pub fn meanwhile<T>(others: &[&Work<'_>], act: impl FnOnce() -> T) -> T {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for other in others {
            scope.spawn(|| other(&stop));
        }
        let _stop = Stop(&stop);
        act()
    })
}
