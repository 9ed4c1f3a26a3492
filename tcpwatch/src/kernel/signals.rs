//! Keeps signals away while a program is loaded: the verifier gives up when one is pending.
//!
//! The program would be missing then, or be verified again and again with a log that nobody reads.

use std::mem::MaybeUninit;

/// Does `act` while signals to this thread wait; those to the process go to another thread, or wait as well.
pub(super) fn held_back<T>(act: impl FnOnce() -> T) -> T {
    let (mut all, mut before) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    // SAFETY: both sets are ours; the first is filled before it is read.
    let is_set = unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) == 0
    };
    let done = act();
    if is_set {
        // SAFETY: the call that succeeded has written the set.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Signals that this thread holds back, as bits.
    fn blocked() -> u64 {
        let status = std::fs::read_to_string("/proc/thread-self/status").expect("readable");
        let line = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).expect("a line");
        u64::from_str_radix(line.trim(), 16).expect("bits")
    }

    #[test]
    fn signals_wait_and_are_let_through_again() {
        let before = blocked();
        let terminate = 1 << (libc::SIGTERM - 1);
        assert_eq!(before & terminate, 0);
        assert_ne!(held_back(blocked) & terminate, 0);
        assert_eq!(blocked(), before);
    }
}
