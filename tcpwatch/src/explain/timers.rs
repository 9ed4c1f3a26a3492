//! When Linux gives up, by the kernel's own arithmetic.
//!
//! `tcp_write_timeout` and `tcp_retransmit_timer` (SYN), `reqsk_timer_handler` (SYN-ACK), `tcp_model_timeout` (data),
//! of Linux 5.8 to 6.18.

/// The first wait of a handshake, in seconds.
const INITIAL: f64 = 1.0;
/// The shortest wait that data is given in the model of `tcp_retries2`: `TCP_RTO_MIN`, whatever the sysctl says.
const SHORTEST: f64 = 0.2;
/// The longest wait, in milliseconds, where `tcp_rto_max_ms` does not say otherwise: `TCP_RTO_MAX`.
pub const LONGEST_MS: u64 = 120_000;

/// Seconds after the first segment.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// When the segment is sent again.
    pub sent: Vec<f64>,
    pub gives_up: f64,
}

/// A SYN: the first waits are equal (`tcp_syn_linear_timeouts`, Linux 6.5), then each is twice the one before.
pub fn syn(retries: u64, linear: u64, longest: f64) -> Schedule {
    let (mut now, mut wait) = (0.0, INITIAL);
    let mut sent = Vec::new();
    for timeouts in 1..=retries.saturating_add(linear).min(1000) {
        now += wait;
        sent.push(now);
        // A kernel without the linear ones doubles from the first on.
        if timeouts > linear {
            wait = f64::min(wait * 2.0, longest);
        }
    }
    Schedule { sent, gives_up: now + wait }
}

/// A SYN-ACK.
pub fn synack(retries: u64, longest: f64) -> Schedule {
    syn(retries, 0, longest)
}

/// How long data may stay unacknowledged: as if there had been so many retransmissions, the first wait the shortest.
pub fn data(retries: u64, longest: f64) -> f64 {
    let (mut seconds, mut wait) = (0.0, SHORTEST);
    for _ in 0..=retries.min(1000) {
        seconds += wait;
        // The kernel doubles as long as that stays below the longest, then takes the longest.
        wait = if wait * 2.0 > longest { longest } else { wait * 2.0 };
    }
    seconds
}

/// How long a closed socket's last data and FIN may stay unacknowledged; 0 retries mean 8 while the peer may live.
pub fn orphan(retries: u64, longest: f64) -> f64 {
    data(if retries == 0 { 8 } else { retries }, longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: f64 = 120.0;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-6
    }

    #[test]
    fn a_syn_gives_up_as_the_kernel_documents_it() {
        // Documentation/networking/ip-sysctl.rst: 127 s before 6.5, 131 s with four linear timeouts.
        let old = syn(6, 0, LONGEST);
        assert_eq!(old.sent, [1.0, 3.0, 7.0, 15.0, 31.0, 63.0]);
        assert!(near(old.gives_up, 127.0));
        let new = syn(6, 4, LONGEST);
        assert_eq!(new.sent, [1.0, 2.0, 3.0, 4.0, 5.0, 7.0, 11.0, 19.0, 35.0, 67.0]);
        assert!(near(new.gives_up, 131.0));
        assert!(near(syn(0, 0, LONGEST).gives_up, 1.0));
        assert!(near(
            syn(8, 0, LONGEST).gives_up,
            1.0 + 2.0 + 4.0 + 8.0 + 16.0 + 32.0 + 64.0 + 120.0 + 120.0
        ));
        assert!(near(syn(3, 0, 2.0).gives_up, 7.0), "tcp_rto_max_ms");
    }

    #[test]
    fn a_syn_ack_gives_up_after_63_seconds() {
        let schedule = synack(5, LONGEST);
        assert_eq!(schedule.sent, [1.0, 3.0, 7.0, 15.0, 31.0]);
        assert!(near(schedule.gives_up, 63.0));
    }

    #[test]
    fn data_gives_up_after_924_seconds() {
        // Documentation/networking/ip-sysctl.rst: 924.6 s for 15; 8 is at least 100 s, as RFC 1122 wants it.
        assert!(near(data(15, LONGEST), 924.6), "{}", data(15, LONGEST));
        assert!(near(orphan(0, LONGEST), 102.2), "{}", orphan(0, LONGEST));
        assert!(near(data(0, LONGEST), 0.2));
        assert!(near(orphan(1, LONGEST), 0.6));
        // ilog2(1 s / 0.2 s) is 2: 0.2 + 0.4 + 0.8, then 1 s each.
        assert!(near(data(5, 1.0), 1.4 + 3.0), "{}", data(5, 1.0));
    }
}
