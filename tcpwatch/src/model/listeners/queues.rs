//! When the queues of a listener are full.

use crate::sample::{ListenerSample, Sysctls};

/// The SYN queue takes no more requests once it is longer than this; `None` if that is not known.
///
/// It is as long as the accept queue may be. Only without cookies `tcp_max_syn_backlog` limits it too: strangers are
/// turned away once a quarter of it is left.
pub fn syn_limit(listener: &ListenerSample, sysctls: Option<&Sysctls>) -> Option<u64> {
    let sysctls = sysctls?;
    match sysctls.syncookies? {
        0 => sysctls.max_syn_backlog.map(|most| listener.accept_limit.min(most - most / 4)),
        _ => Some(listener.accept_limit),
    }
}

/// Whether there is no room for another connection.
pub fn accept_full(listener: &ListenerSample) -> bool {
    listener.accept_queue > listener.accept_limit
}

/// Whether it is full, or was until a moment ago: an application that accepts one after the other leaves room for one
/// until the next client comes.
pub fn accept_stays_full(listener: &ListenerSample) -> bool {
    listener.accept_queue > 0 && listener.accept_queue >= listener.accept_limit
}

/// Whether there is no room for another half-open request. Kernels before 6.1 take one less.
pub fn syn_full(listener: &ListenerSample, sysctls: Option<&Sysctls>) -> bool {
    listener.syn_queue.zip(syn_limit(listener, sysctls)).is_some_and(|(length, limit)| length >= limit.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::testing::listener_at;

    #[test]
    fn the_syn_queue_is_limited_as_measured() {
        let listener = |accept_limit, length| ListenerSample {
            accept_limit,
            syn_queue: Some(length),
            ..listener_at(1, 80)
        };
        let sysctls = |syncookies, max_syn_backlog| Sysctls {
            syncookies: Some(syncookies),
            max_syn_backlog: Some(max_syn_backlog),
            ..Sysctls::default()
        };
        for (backlog, cookies, most, limit) in
            [(1024, 0, 256, 192), (128, 0, 256, 128), (1024, 1, 256, 1024), (1024, 2, 256, 1024)]
        {
            assert_eq!(syn_limit(&listener(backlog, 0), Some(&sysctls(cookies, most))), Some(limit));
        }
        assert_eq!(syn_limit(&listener(128, 0), None), None);
        assert_eq!(syn_limit(&listener(128, 0), Some(&Sysctls::default())), None);
        assert!(syn_full(&listener(1024, 193), Some(&sysctls(0, 256))));
        assert!(!syn_full(&listener(1024, 193), Some(&sysctls(1, 256))));
        assert!(!syn_full(&listener(0, 0), Some(&sysctls(1, 256))), "an empty queue is not full");
        assert!(!syn_full(&listener(1024, 193), None));
    }

    #[test]
    fn the_accept_queue_holds_one_more_than_its_limit() {
        let listener = |accept_queue| ListenerSample { accept_queue, accept_limit: 8, ..listener_at(1, 80) };
        assert!(!accept_full(&listener(8)));
        assert!(accept_full(&listener(9)));
    }

    #[test]
    fn one_that_was_just_accepted_makes_a_queue_no_shorter() {
        let listener =
            |accept_queue, accept_limit| ListenerSample { accept_queue, accept_limit, ..listener_at(1, 80) };
        let stays = |queue, limit| accept_stays_full(&listener(queue, limit));
        assert_eq!([(9, 8), (8, 8), (7, 8)].map(|(queue, limit)| stays(queue, limit)), [true, true, false]);
        assert_eq!([(1, 0), (0, 0)].map(|(queue, limit)| stays(queue, limit)), [true, false]);
    }
}
