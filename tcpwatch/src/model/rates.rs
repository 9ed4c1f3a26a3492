//! Transitions by namespace, with verdict, count and rate.

use std::collections::BTreeMap;

use tcpwatch_common::machine::{EDGES, Judgement};
use tcpwatch_common::{TcpState, judge};

use crate::sample::{NamespaceSample, Sample};

/// How often sockets went from one state to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transition {
    pub from: TcpState,
    pub to: TcpState,
    pub judgement: Judgement,
    /// Since the start.
    pub count: u64,
    /// Per second since the sample before; `None` for the first sample.
    pub rate: Option<f64>,
}

/// What happened in each namespace; only transitions that did happen.
pub fn transitions(sample: &Sample, previous: Option<&Sample>) -> BTreeMap<u64, Vec<Transition>> {
    let now = counts(sample);
    let before = previous.map(|previous| (counts(previous), sample.elapsed.saturating_sub(previous.elapsed)));
    now.into_iter()
        .map(|(inode, counts)| {
            let row = counts
                .iter()
                .map(|((from, to), count)| {
                    let rate = before.as_ref().and_then(|(before, elapsed)| {
                        let earlier = before.get(&inode).and_then(|row| row.get(&(*from, *to))).unwrap_or(&0);
                        rate(count.saturating_sub(*earlier), elapsed.as_secs_f64())
                    });
                    Transition { from: *from, to: *to, judgement: judge(*from, *to), count: *count, rate }
                })
                .collect();
            (inode, row)
        })
        .collect()
}

/// Sums over namespaces.
pub fn total(transitions: &BTreeMap<u64, Vec<Transition>>) -> Vec<Transition> {
    let mut sum: BTreeMap<(TcpState, TcpState), Transition> = BTreeMap::new();
    for transition in transitions.values().flatten() {
        sum.entry((transition.from, transition.to))
            .and_modify(|sum| {
                sum.count += transition.count;
                sum.rate = sum.rate.zip(transition.rate).map(|(a, b)| a + b);
            })
            .or_insert(*transition);
    }
    sum.into_values().collect()
}

#[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 53 bits")]
fn rate(count: u64, seconds: f64) -> Option<f64> {
    (seconds > 0.0).then(|| count as f64 / seconds)
}

type Counts = BTreeMap<(TcpState, TcpState), u64>;

/// By inode number: namespaces that had the same number one after the other are one.
fn counts(sample: &Sample) -> BTreeMap<u64, Counts> {
    let mut all: BTreeMap<u64, Counts> = BTreeMap::new();
    for namespace in &sample.namespaces {
        let row = all.entry(namespace.inode).or_default();
        for (from, to, count) in happened(namespace) {
            *row.entry((from, to)).or_default() += count;
        }
    }
    all
}

fn happened(namespace: &NamespaceSample) -> impl Iterator<Item = (TcpState, TcpState, u64)> {
    let legal = namespace
        .cells
        .iter()
        .flat_map(|cells| EDGES.iter().zip(cells))
        .map(|(edge, count)| (edge.from, edge.to, *count));
    legal.chain(namespace.illegal.iter().copied()).filter(|(_, _, count)| *count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::testing::sample_at;
    use tcpwatch_common::Verdict;

    #[test]
    fn rates_come_from_two_samples() {
        let mut first = sample_at(1.0, 1);
        let mut second = sample_at(3.0, 1);
        let edge = judge(TcpState::Close, TcpState::SynSent).cell.expect("legal");
        first.namespaces[0].cells.as_mut().expect("cells")[edge] = 10;
        second.namespaces[0].cells.as_mut().expect("cells")[edge] = 30;
        second.namespaces[0].illegal.push((TcpState::Listen, TcpState::Established, 2));
        assert_eq!(transitions(&first, None)[&1][0].rate, None);
        let row = &transitions(&second, Some(&first))[&1];
        let by_pair = |from, to| row.iter().find(|t| t.from == from && t.to == to).expect("happened");
        assert_eq!(by_pair(TcpState::Close, TcpState::SynSent).rate, Some(10.0));
        assert_eq!(by_pair(TcpState::Listen, TcpState::Established).judgement.verdict, Verdict::Illegal);
    }

    #[test]
    fn a_number_used_twice_is_one_namespace_whose_counts_never_fall() {
        let mut sample = sample_at(1.0, 1);
        let edge = judge(TcpState::Close, TcpState::Listen).cell.expect("legal");
        sample.namespaces[0].cells.as_mut().expect("cells")[edge] = 4;
        let mut later = sample.namespaces[0].clone();
        later.generation = 9;
        sample.namespaces.push(later);
        assert_eq!(transitions(&sample, None)[&1][0].count, 8);
    }
}
