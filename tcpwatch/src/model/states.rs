//! How many sockets are in each state, as `ss` counts them.

use std::collections::BTreeMap;

use tcpwatch_common::TcpState;
use tcpwatch_common::machine::{self, EDGES};

use crate::sample::{Minis, NamespaceSample, Sample, StateCounts};

/// The sockets of one namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceStates {
    pub name: Option<String>,
    /// By [`TcpState::index`], as `ss` shows them: half-open requests are SYN_RECV, FIN_WAIT2 mini-sockets are
    /// FIN_WAIT2. `None` where it is not known.
    pub counts: [Option<u64>; TcpState::COUNT],
    /// The part of SYN_RECV that are half-open requests.
    pub half_open: Option<u64>,
    /// The part of FIN_WAIT2 that are mini-sockets.
    pub fin_wait2_minis: Option<u64>,
    /// Sockets older than the programs may be missing.
    pub is_complete: bool,
    /// What is not known of it is counted in another entry, which stands for all such namespaces.
    pub is_in_others: bool,
}

/// Counts the sockets of every namespace that exists or has sockets.
pub fn by_namespace(sample: &Sample) -> BTreeMap<u64, NamespaceStates> {
    let mut all = BTreeMap::new();
    // The one without a number: all its mini-sockets are counted as well.
    let has_others = sample.namespaces.iter().any(|one| one.inode == 0 && one.census.is_some());
    for namespace in &sample.namespaces {
        let mut states = of(namespace);
        states.is_in_others =
            has_others && namespace.is_alive && namespace.generation == 0 && !states.is_complete;
        let has_sockets = states.counts.iter().flatten().any(|count| *count > 0);
        // A later namespace may have the number of one that is gone.
        if namespace.is_alive || (has_sockets && !all.contains_key(&namespace.inode)) {
            all.insert(namespace.inode, states);
        }
    }
    all
}

/// Sums over namespaces; `None` where one of them does not know.
pub fn total(states: &BTreeMap<u64, NamespaceStates>) -> NamespaceStates {
    let zero = NamespaceStates {
        name: None,
        counts: [Some(0); TcpState::COUNT],
        half_open: Some(0),
        fin_wait2_minis: Some(0),
        is_complete: true,
        is_in_others: false,
    };
    states.values().fold(zero, |mut sum, one| {
        let known = |count: Option<u64>| count.or(one.is_in_others.then_some(0));
        for (sum, count) in sum.counts.iter_mut().zip(one.counts) {
            *sum = plus(*sum, known(count));
        }
        sum.half_open = plus(sum.half_open, known(one.half_open));
        sum.fin_wait2_minis = plus(sum.fin_wait2_minis, known(one.fin_wait2_minis));
        sum.is_complete &= one.is_complete || one.is_in_others;
        sum
    })
}

fn plus(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    Some(a? + b?)
}

/// Counts the sockets of one namespace.
pub fn of(namespace: &NamespaceSample) -> NamespaceStates {
    let census = namespace.census.as_ref();
    let transitions = whole_sockets(namespace);
    // A namespace that is gone leaves orphans behind, but no mini-sockets.
    let is_gone = !namespace.is_alive && transitions.is_some();
    let gone = is_gone.then(Minis::default);
    let minis = census.map_or(gone, |census| census.minis);
    // A source that sees no transitions has counted mini-sockets in the state that they stand for.
    let known = |count: fn(Minis) -> u64| if transitions.is_some() { minis.map(count) } else { Some(0) };
    let whole = transitions.or_else(|| census.map(|census| census.counts));
    let mut counts = [None; TcpState::COUNT];
    for state in TcpState::RFC {
        let whole = whole.map(|whole| whole[state.index()]);
        counts[state.index()] = match state {
            TcpState::SynRecv => plus(whole, known(|minis| minis.half_open)),
            TcpState::FinWait2 => plus(whole, known(|minis| minis.fin_wait2)),
            TcpState::TimeWait => time_wait(namespace, minis).or(is_gone.then_some(0)),
            // Closed sockets are in no table of the kernel's, so `ss` shows none.
            TcpState::Close => Some(0),
            _ => whole,
        };
    }
    NamespaceStates {
        name: namespace.name.clone(),
        counts,
        half_open: minis.map(|minis| minis.half_open),
        fin_wait2_minis: minis.map(|minis| minis.fin_wait2),
        is_complete: namespace.is_complete,
        is_in_others: false,
    }
}

/// TIME_WAIT mini-sockets. The kernel's own count is exact and has those that stand for FIN_WAIT2 in it; the iterator
/// of kernels before 6.17 can pass a socket over.
fn time_wait(namespace: &NamespaceSample, minis: Option<Minis>) -> Option<u64> {
    let census = namespace.census.as_ref()?;
    match (&namespace.kernel, minis) {
        (Some((_, kernel)), Some(minis)) => Some(kernel.time_wait.saturating_sub(minis.fin_wait2)),
        _ => Some(census.counts[TcpState::TimeWait.index()]),
    }
}

/// Whole sockets (no mini-sockets) by state, from what was there at first and every transition since.
pub fn whole_sockets(namespace: &NamespaceSample) -> Option<StateCounts> {
    let cells = namespace.cells.as_ref()?;
    let mut counts = namespace.adopted.map(signed);
    for (edge, times) in EDGES.iter().zip(cells) {
        machine::apply(&mut counts, edge.from, edge.to, signed(*times));
    }
    for (from, to, times) in &namespace.illegal {
        machine::apply(&mut counts, *from, *to, signed(*times));
    }
    // A socket older than the programs that has not been met yet is missing where it left from.
    Some(counts.map(|count| u64::try_from(count).unwrap_or(0)))
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tcpwatch_common::cell;
    use tcpwatch_common::judge;

    use super::*;
    use crate::sample::Census;

    fn namespace(transitions: &[(TcpState, TcpState, u64)]) -> NamespaceSample {
        let mut cells = [0; cell::CELLS];
        for (from, to, times) in transitions {
            cells[judge(*from, *to).cell.expect("a legal edge")] += times;
        }
        NamespaceSample { inode: 1, is_alive: true, cells: Some(cells), ..NamespaceSample::default() }
    }

    use TcpState::{Close, CloseWait, Established, Listen, SynRecv, SynSent};

    #[test]
    fn a_listener_stays_while_its_children_come_and_go() {
        let mut sample = namespace(&[
            (Close, Listen, 1),
            (Listen, SynRecv, 5),
            (SynRecv, Established, 5),
            (Established, CloseWait, 2),
            (CloseWait, Close, 1),
        ]);
        sample.adopted[Established.index()] = 3;
        let counts = whole_sockets(&sample).expect("cells");
        assert_eq!(counts[Listen.index()], 1);
        assert_eq!(counts[Established.index()], 6);
        assert_eq!(counts[CloseWait.index()], 1);
        assert_eq!(counts[SynRecv.index()], 0);
    }

    #[test]
    fn mini_sockets_are_added_as_ss_shows_them() {
        let mut sample = namespace(&[(Close, SynSent, 2), (SynSent, SynRecv, 2)]);
        sample.is_alive = false;
        assert_eq!(of(&sample).counts[SynRecv.index()], Some(2), "gone, with orphans left");
        sample.is_alive = true;
        assert_eq!(of(&sample).counts[SynRecv.index()], None, "unknown without a census");
        let mut counts = [0; TcpState::COUNT];
        counts[TcpState::TimeWait.index()] = 4;
        let minis = Some(Minis { half_open: 7, fin_wait2: 3 });
        sample.census = Some(Census { elapsed: Duration::ZERO, counts, minis });
        let states = of(&sample);
        assert_eq!(states.counts[SynRecv.index()], Some(9));
        assert_eq!(states.counts[TcpState::FinWait2.index()], Some(3));
        assert_eq!(states.counts[TcpState::TimeWait.index()], Some(4));
        assert_eq!((states.half_open, states.fin_wait2_minis), (Some(7), Some(3)));
    }

    #[test]
    fn without_transitions_the_census_is_all_there_is() {
        let mut counts = [0; TcpState::COUNT];
        counts[SynRecv.index()] = 5;
        let census = Some(Census { elapsed: Duration::ZERO, counts, minis: None });
        let states = of(&NamespaceSample { census, ..NamespaceSample::default() });
        assert_eq!(states.counts[SynRecv.index()], Some(5));
        assert_eq!(states.half_open, None);
    }

    #[test]
    fn a_socket_not_met_yet_makes_no_negative_count() {
        let sample = namespace(&[(Established, CloseWait, 1)]);
        assert_eq!(of(&sample).counts[Established.index()], Some(0));
    }
}
