//! Which listener of one network namespace dropped what, and why.
//!
//! The kernel counts drops twice: by listener without a cause (`sk_drops`), and by namespace with a cause. Measured on
//! Linux 6.18, all with `tcp_abort_on_overflow` 0 and 1:
//!
//! | what is dropped | `sk_drops` | `ListenDrops` | and |
//! |---|---|---|---|
//! | SYN, accept queue full | 1 | 1 | `ListenOverflows` 1; with cookies asked for also `TCPReqQFullDoCookies` 1 without a cookie sent |
//! | last ACK (or data, or FIN) of a half-open request, accept queue full | **2** | 1 | `ListenOverflows` 1; aborting: `EmbryonicRsts` 1 |
//! | ACK with a valid cookie, accept queue full | 1 | 1 | `ListenOverflows` 1, `SyncookiesRecv` 1, `PassiveOpens` 0 |
//! | SYN, SYN queue full, no cookies | 1 | 1 | `TCPReqQFullDrop` 1 |
//! | SYN, beyond ¾ of `tcp_max_syn_backlog`, no cookies | 1 | 1 | |
//! | RST of a half-open request | 1 | 0 | `EmbryonicRsts` 1, `AttemptFails` 1 |
//! | bare ACK under `TCP_DEFER_ACCEPT` | 1 | 0 | `TCPDeferAcceptDrop` 1 |
//! | SYN of a half-open request again, stray RST or FIN | 1 | 0 | |
//!
//! So what `sk_drops` has beyond `ListenDrops` tells the last ACKs. What two listeners could both have dropped is given
//! to neither. It is assumed that `sk_drops` was read before the namespace's counters.

use super::Drops;

/// By how much the counters of a namespace grew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    /// `ListenOverflows`.
    pub overflows: u64,
    /// The rest of `ListenDrops`.
    pub others: u64,
    /// `TCPReqQFullDrop`: a part of `others`.
    pub full: u64,
    /// `TCPReqQFullDoCookies` less `SyncookiesSent`: SYNs dropped though a cookie was to be sent.
    pub without_cookie: u64,
    pub cookies_received: u64,
    pub passive_opens: u64,
    pub embryonic_resets: u64,
    pub deferred: u64,
    /// `tcp_abort_on_overflow`.
    pub is_aborting: bool,
}

/// What is known of a listener that may have dropped something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Surge {
    /// By how much `sk_drops` grew.
    pub dropped: u64,
    /// Its accept queue was full in one of the samples.
    pub accept_full: bool,
    /// Its SYN queue was, and it has no cookies to help.
    pub syn_full: bool,
    /// It held half-open requests in one of the samples, or that is not known.
    pub may_hold_requests: bool,
}

/// One listener's part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    pub drops: Drops,
    /// Drops that `sk_drops` counted twice.
    pub twice: u64,
    /// How much of it is in `ListenOverflows`.
    pub overflows: u64,
}

impl Counted {
    /// Segments that are in `sk_drops` and in no `ListenDrops`, as far as they are counted elsewhere.
    fn strays(&self) -> u64 {
        // An aborted last ACK is an embryonic reset as well.
        let resets = if self.is_aborting { 0 } else { self.embryonic_resets };
        resets + self.deferred
    }

    /// How many of `overflows` at one listener with so many `sk_drops` too many were last ACKs.
    fn last_acks(&self, surge: &Surge, surplus: u64, overflows: u64) -> u64 {
        let most = surplus.saturating_sub(self.strays()).min(overflows);
        match self.is_aborting {
            true => most.min(self.embryonic_resets),
            // A request stays when its last ACK is dropped.
            false if surge.may_hold_requests => most,
            false => 0,
        }
    }

    /// Tells by stage what the accept queue had no room for, `held` of it last ACKs of half-open requests.
    fn stages(&self, overflows: u64, held: u64) -> Drops {
        let rest = overflows.saturating_sub(held);
        // Each cookie that came back either made a connection or found no room.
        let most = self.cookies_received.min(rest.saturating_sub(self.without_cookie));
        let least = self.cookies_received.saturating_sub(self.passive_opens).min(most);
        Drops {
            accept_queue_syn: rest - most,
            accept_queue_ack: overflows - rest + least,
            unknown: most - least,
            ..Drops::default()
        }
    }

    fn sole(&self, surge: &Surge) -> Share {
        let overflows = self.overflows.min(surge.dropped);
        let others = self.others.min(surge.dropped - overflows);
        let surplus = surge.dropped - overflows - others;
        let twice = self.last_acks(surge, surplus, overflows);
        let syn_queue = if surge.syn_full { others } else { self.full.min(others) };
        let drops = Drops { syn_queue, other: others - syn_queue, ..self.stages(overflows, twice) };
        Share { drops, twice, overflows }
    }
}

/// The share of each of `surges`, in their order. What they have less than `counted` is not attributed.
pub(super) fn attribute(surges: &[Surge], counted: &Counted) -> Vec<Share> {
    let mut shares = vec![Share::default(); surges.len()];
    let dropping: Vec<usize> = (0..surges.len()).filter(|at| surges[*at].dropped > 0).collect();
    if let [only] = dropping[..] {
        shares[only] = counted.sole(&surges[only]);
        return shares;
    }
    let sum = |of: &[usize]| of.iter().map(|at| surges[*at].dropped).sum::<u64>();
    let which = |is: &dyn Fn(&Surge) -> bool| -> Vec<usize> {
        dropping.iter().copied().filter(|at| is(&surges[*at])).collect()
    };
    // With only one cause around, queues are asked only where there are more drops than the cause explains.
    let of_one_cause = |evidence: Vec<usize>, pool: u64| {
        if sum(&dropping) > pool && sum(&evidence) >= pool { evidence } else { dropping.clone() }
    };
    let (at_accept, at_syn) = match (counted.overflows, counted.others) {
        (0, 0) => return shares,
        (pool, 0) => (of_one_cause(which(&|surge| surge.accept_full), pool), Vec::new()),
        (0, pool) => (Vec::new(), of_one_cause(which(&|surge| surge.syn_full), pool)),
        _ => {
            let at_accept = which(&|surge| surge.accept_full && !surge.syn_full);
            let at_syn = which(&|surge| surge.syn_full && !surge.accept_full);
            let unclear = which(&|surge| surge.syn_full == surge.accept_full);
            let rest = Counted {
                overflows: counted.overflows.saturating_sub(sum(&at_accept)),
                others: counted.others.saturating_sub(sum(&at_syn)),
                full: counted.full.saturating_sub(sum(&at_syn)),
                ..*counted
            };
            // One that nothing is known of gets what is left, if it is exactly that.
            if let [one] = unclear[..]
                && surges[one].dropped == rest.overflows + rest.others
            {
                shares[one] = rest.sole(&surges[one]);
            }
            (at_accept, at_syn)
        }
    };
    accept_queues(surges, &at_accept, counted, &mut shares);
    syn_queues(surges, &at_syn, counted, &mut shares);
    shares
}

/// Listeners whose accept queue was full, and nothing else.
fn accept_queues(surges: &[Surge], these: &[usize], counted: &Counted, shares: &mut [Share]) {
    let whole = |dropped: u64| {
        // A cookie that came back may have been for any of them.
        let (accept_queue_syn, unknown) =
            if counted.cookies_received == 0 { (dropped, 0) } else { (0, dropped) };
        Share { drops: Drops { accept_queue_syn, unknown, ..Drops::default() }, twice: 0, overflows: dropped }
    };
    let sum: u64 = these.iter().map(|at| surges[*at].dropped).sum();
    if let [only] = these {
        let alone = Counted { others: 0, full: 0, ..*counted };
        shares[*only] = alone.sole(&surges[*only]);
    } else if sum <= counted.overflows {
        for at in these {
            shares[*at] = whole(surges[*at].dropped);
        }
    } else {
        let mut holding = these.iter().filter(|at| surges[**at].may_hold_requests || counted.is_aborting);
        let (Some(one), None) = (holding.next(), holding.next()) else { return };
        let others = sum - surges[*one].dropped;
        if others > counted.overflows || counted.cookies_received > 0 {
            return;
        }
        for at in these.iter().filter(|at| *at != one) {
            shares[*at] = whole(surges[*at].dropped);
        }
        let rest = Counted { overflows: counted.overflows - others, others: 0, full: 0, ..*counted };
        shares[*one] = rest.sole(&surges[*one]);
    }
}

/// Listeners whose SYN queue was full, and nothing else.
fn syn_queues(surges: &[Surge], these: &[usize], counted: &Counted, shares: &mut [Share]) {
    let sum: u64 = these.iter().map(|at| surges[*at].dropped).sum();
    if let [only] = these {
        let alone = Counted { overflows: 0, ..*counted };
        shares[*only] = alone.sole(&surges[*only]);
    } else if sum <= counted.others {
        for at in these {
            let dropped = surges[*at].dropped;
            let is_told = surges[*at].syn_full || counted.full >= counted.others;
            let (syn_queue, unknown) = if is_told { (dropped, 0) } else { (0, dropped) };
            shares[*at].drops = Drops { syn_queue, unknown, ..Drops::default() };
        }
    }
}
