//! What ended within the last minute, by service.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tcpwatch_common::histogram::upper_bound;

use super::Window;
use crate::sample::{Ends, Rtts, Sample, SendLimits};

/// Over so much time it is told.
const WITHIN: Duration = Duration::from_mins(1);

/// What ended of late.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Services {
    /// The time in which it did; 0 as long as there is only one sample.
    pub span: Duration,
    /// By [`ServiceSample::id`](crate::sample::ServiceSample::id): those of which a connection ended.
    pub recent: BTreeMap<u64, Ends>,
    /// Of all services that are not told apart.
    pub other: Option<Ends>,
}

/// What ended in the last minute, or since the oldest sample.
pub fn recent(window: &Window) -> Services {
    let now = window.now();
    window.within(WITHIN).map_or_else(Services::default, |before| between(before, now))
}

fn between(before: &Sample, now: &Sample) -> Services {
    let earlier: HashMap<u64, &Ends> = before.services.iter().map(|one| (one.id, &one.ends)).collect();
    let nothing = Ends::default();
    let recent = now.services.iter().filter_map(|one| {
        let before = earlier.get(&one.id).copied().unwrap_or(&nothing);
        let ends = one.ends.since(before);
        (ends.connections > 0).then_some((one.id, ends))
    });
    let other = before.other_ends.as_ref().zip(now.other_ends.as_ref());
    Services {
        span: now.elapsed.saturating_sub(before.elapsed),
        recent: recent.collect(),
        other: other.map(|(before, now)| now.since(before)),
    }
}

impl Ends {
    /// What was added since then.
    pub fn since(&self, before: &Self) -> Self {
        let grown = |now: Option<u64>, before: Option<u64>| Some(now?.saturating_sub(before.unwrap_or(0)));
        let limits = |now: SendLimits| {
            let before = before.limits.unwrap_or_default();
            SendLimits {
                busy: now.busy.saturating_sub(before.busy),
                window: now.window.saturating_sub(before.window),
                buffer: now.buffer.saturating_sub(before.buffer),
            }
        };
        Self {
            connections: self.connections.saturating_sub(before.connections),
            retransmitting: grown(self.retransmitting, before.retransmitting),
            bytes_out: grown(self.bytes_out, before.bytes_out),
            bytes_in: grown(self.bytes_in, before.bytes_in),
            segments: grown(self.segments, before.segments),
            retransmitted: grown(self.retransmitted, before.retransmitted),
            limits: self.limits.map(limits),
            rtt: self.rtt.as_ref().map(|now| match &before.rtt {
                Some(before) => Box::new(now.since(before)),
                None => now.clone(),
            }),
        }
    }

    /// Segments that were sent again, for each segment with data. SYNs and FINs that were sent again can make it more
    /// than 1. `None` if nothing was sent.
    #[expect(clippy::cast_precision_loss, reason = "a ratio")]
    pub fn retransmit_ratio(&self) -> Option<f64> {
        let (again, all) = (self.retransmitted?, self.segments?);
        (all > 0).then(|| again as f64 / all as f64)
    }
}

impl Rtts {
    fn since(&self, before: &Self) -> Self {
        Self {
            buckets: std::array::from_fn(|at| self.buckets[at].saturating_sub(before.buckets[at])),
            unknown: self.unknown.saturating_sub(before.unknown),
        }
    }

    /// The seconds that the round-trip time of this share of all connections is below: a bound of the histogram, so that it
    /// is at least half of it for some. `None` if it was measured on no connection, or is beyond the last bound.
    pub fn below(&self, share: f64) -> Option<f64> {
        let all: u64 = self.buckets.iter().sum();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a count"
        )]
        let rank = ((all as f64 * share).ceil() as u64).max(1);
        let mut sum = 0;
        let bucket = self.buckets.iter().position(|count| {
            sum += count;
            sum >= rank
        });
        bucket.filter(|_| all > 0).and_then(upper_bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::testing::sample_at;
    use crate::sample::{ServiceSample, Side};

    fn ends(connections: u64, segments: u64, retransmitted: u64) -> Ends {
        Ends { connections, segments: Some(segments), retransmitted: Some(retransmitted), ..Ends::default() }
    }

    fn sample(seconds: f64, services: &[(u64, Ends)]) -> Sample {
        let service = |(id, ends): &(u64, Ends)| ServiceSample {
            id: *id,
            netns: 1,
            side: Side::Here,
            port: 80,
            ends: ends.clone(),
        };
        Sample {
            services: services.iter().map(service).collect(),
            other_ends: Some(ends(services.len() as u64, 0, 0)),
            ..sample_at(seconds, 1)
        }
    }

    #[test]
    fn only_what_ended_of_late_is_told() {
        let mut window = Window::new(sample(0.0, &[(1, ends(5, 50, 1))]).into());
        assert_eq!(recent(&window), Services::default());
        // A service that began anew has another number, though it counts more than before.
        window.push(sample(10.0, &[(2, ends(9, 100, 25)), (3, ends(2, 0, 4))]).into());
        let told = recent(&window);
        assert_eq!(
            (told.span, told.other.map(|other| other.connections)),
            (Duration::from_secs(10), Some(1))
        );
        assert_eq!(told.recent.keys().copied().collect::<Vec<_>>(), [2, 3]);
        let ratio = |id: u64| told.recent[&id].retransmit_ratio();
        assert_eq!((told.recent[&2].connections, ratio(2), ratio(3)), (9, Some(0.25), None));
        window.push(sample(20.0, &[(2, ends(9, 100, 25)), (3, ends(4, 8, 4))]).into());
        let told = recent(&window);
        assert_eq!(told.recent[&3].connections, 4, "the minute began before it");
        // A minute later only what is within it.
        for seconds in [40.0, 70.0, 90.0] {
            window.push(sample(seconds, &[(2, ends(9, 100, 25)), (3, ends(5, 9, 4))]).into());
        }
        let told = recent(&window);
        assert_eq!(told.recent.keys().copied().collect::<Vec<_>>(), [0; 0]);
    }

    #[test]
    fn round_trip_times_are_below_a_bound() {
        let mut rtt = Rtts { buckets: [0; 40], unknown: 7 };
        assert_eq!(rtt.below(0.5), None);
        (rtt.buckets[3], rtt.buckets[10]) = (9, 1);
        assert_eq!((rtt.below(0.5), rtt.below(0.9)), (upper_bound(3), upper_bound(3)));
        assert_eq!((rtt.below(0.91), rtt.below(0.0)), (upper_bound(10), upper_bound(3)));
    }
}
