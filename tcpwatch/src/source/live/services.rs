//! What was added up at the end of connections, in the units and by the names of a sample.

use std::collections::HashMap;
use std::time::Duration;

use tcpwatch_common::histogram::BUCKETS;
use tcpwatch_common::offsets::{Field, PLACES};
use tcpwatch_common::service::{Words, word};

use super::Live;
use crate::kernel::{LostField, ServicesMet};
use crate::sample::{Ends, Rtts, SendLimits, ServiceSample};
use crate::source::SourceError;

/// Services, all others, and how many connections had no room.
#[derive(Default)]
pub(super) struct Ended {
    pub(super) services: Vec<ServiceSample>,
    pub(super) other: Option<Ends>,
    pub(super) unplaced: u64,
}

impl Live {
    /// What has been added up so far.
    pub(super) fn ended(&mut self) -> Result<Ended, SourceError> {
        if !self.kernel.sees_ends() {
            return Ok(Ended::default());
        }
        let ServicesMet { services, other, unplaced } = self.ends.read()?;
        let namespaces = self.counters.namespaces()?;
        let inodes: HashMap<u32, u64> =
            namespaces.into_iter().map(|(_, met)| (met.row, met.inode.into())).collect();
        let units = Units::of(self.kernel.lost_fields(), self.surveyor.ticks_per_second());
        let services = services.into_iter().map(|one| ServiceSample {
            id: one.id,
            netns: inodes.get(&one.row).copied().unwrap_or(0),
            side: one.side,
            port: one.port,
            ends: units.ends(&one.ends),
        });
        Ok(Ended { services: services.collect(), other: Some(units.ends(&other)), unplaced })
    }
}

/// What this kernel tells, and in which units.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact that a kernel may lack")]
struct Units {
    bytes_out: bool,
    bytes_in: bool,
    segments: bool,
    retransmitted: bool,
    rtt: bool,
    /// `None` also until the length of a tick has been measured.
    ticks_per_second: Option<u64>,
}

impl Units {
    fn of(lost: &[LostField], ticks_per_second: Option<u64>) -> Self {
        let has = |field: Field| {
            let place = &PLACES[field as usize];
            let name = format!("{}.{}", place.container, place.path);
            !lost.iter().any(|lost| lost.field == name)
        };
        let has_times = has(Field::ChronoTimes) && has(Field::ChronoStart) && has(Field::ChronoType);
        Self {
            bytes_out: has(Field::BytesAcked) && has(Field::SendUnacknowledged) && has(Field::WriteSequence),
            bytes_in: has(Field::BytesReceived),
            segments: has(Field::DataSegmentsOut),
            retransmitted: has(Field::Retransmitted),
            rtt: has(Field::MinRtt),
            ticks_per_second: ticks_per_second.filter(|_| has_times),
        }
    }

    fn ends(self, words: &Words) -> Ends {
        let time = |ticks: u64, rate: u64| {
            Duration::from_secs(ticks / rate) + Duration::from_micros(ticks % rate * 1_000_000 / rate)
        };
        Ends {
            connections: words[word::CONNECTIONS],
            retransmitting: self.retransmitted.then_some(words[word::RETRANSMITTING]),
            bytes_out: self.bytes_out.then_some(words[word::BYTES_OUT]),
            bytes_in: self.bytes_in.then_some(words[word::BYTES_IN]),
            segments: self.segments.then_some(words[word::SEGMENTS]),
            retransmitted: self.retransmitted.then_some(words[word::RETRANSMITTED]),
            limits: self.ticks_per_second.map(|rate| SendLimits {
                busy: time(words[word::BUSY], rate),
                window: time(words[word::WINDOW], rate),
                buffer: time(words[word::BUFFER], rate),
            }),
            rtt: self.rtt.then(|| {
                let buckets: [u64; BUCKETS] = std::array::from_fn(|at| words[word::RTT + at]);
                Box::new(Rtts { buckets, unknown: words[word::RTT_UNKNOWN] })
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_kernel_lacks_is_unknown() {
        let mut words = [0; word::COUNT];
        (words[word::CONNECTIONS], words[word::BYTES_IN], words[word::WINDOW]) = (3, 500, 375);
        words[word::RTT + 2] = 3;
        let all = Units::of(&[], Some(250)).ends(&words);
        assert_eq!((all.connections, all.bytes_in, all.bytes_out), (3, Some(500), Some(0)));
        assert_eq!(all.limits.map(|limits| limits.window), Some(Duration::from_millis(1500)));
        assert_eq!(all.rtt.map(|rtt| rtt.buckets[2]), Some(3));
        let lost = |field: &str| LostField { field: field.into(), lost: "" };
        let lost =
            [lost("tcp_sock.bytes_received"), lost("tcp_sock.rtt_min.s"), lost("tcp_sock.chrono_type")];
        let some = Units::of(&lost, Some(250)).ends(&words);
        assert_eq!((some.bytes_in, some.rtt, some.limits), (None, None, None));
        assert_eq!(some.bytes_out, Some(0));
        assert_eq!(Units::of(&[], None).ends(&words).limits, None);
    }
}
