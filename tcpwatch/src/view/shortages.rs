//! What there was no room for, in words: how many, since when, what is missing, and what makes room.

use serde::Serialize;

use super::timestamp;
use crate::sample::{Sample, Shortage, What};

/// One of them; `check` is not OK while there is any.
#[derive(Debug, Serialize)]
pub struct Short {
    /// What did not fit: `sockets`, `listeners`, `remotes` and so on.
    pub what: &'static str,
    pub count: u64,
    pub since: String,
    /// The network namespace and the process with the most part in it; `null` if that is not known.
    pub netns: Option<u64>,
    pub pid: Option<u32>,
    pub text: String,
}

/// All that a sample tells of.
pub fn shortages(sample: &Sample) -> Vec<Short> {
    let all = sample.shortages.iter().map(|one| Short {
        what: one.what.name(),
        count: one.count,
        since: timestamp(one.since),
        netns: one.netns,
        pid: one.pid,
        text: text(one),
    });
    all.collect()
}

/// All problems: what could not be read, and what there is no room for, so that findings may be missing. No finding needs
/// services, so those without room are in the list of shortages alone.
pub fn problems(sample: &Sample) -> Vec<String> {
    let blinding = sample.shortages.iter().filter(|one| one.what != What::Services);
    sample.problems.iter().cloned().chain(blinding.map(text)).collect()
}

/// For a person: one sentence or two.
pub fn text(shortage: &Shortage) -> String {
    let Shortage { what, count, since, .. } = shortage;
    let since = timestamp(*since);
    let most = most(shortage);
    match what {
        What::Sockets => format!(
            "{count} sockets that are open have no place in the table of sockets, since {since}: their ages and owners are \
             not known, and findings that need them may be missing. A restart makes the table twice as large as what is \
             open then, at most as `tcpwatch run --max-tracked` says"
        ),
        What::ListenersInTurns => format!(
            "{count} listeners are more than are watched, since {since}{most}: those that were not in use are looked at in \
             turns, seconds apart, and are not listed. A higher `tcpwatch run --max-listeners` watches all"
        ),
        What::Listeners => format!(
            "{count} listeners were not noted when they were opened, since {since}, as too many were at once: each is \
             watched from the next tick on, or before Linux 5.19 after it had to send a SYN-ACK again. A higher \
             `tcpwatch run --max-listeners` makes room"
        ),
        What::Remotes => format!(
            "{count} retransmits, resets and failed connects since {since} were of more remote ends than are told \
             apart{most}: findings are told of all of them together. A higher `tcpwatch run --max-remotes` makes room"
        ),
        What::Clients => format!(
            "{count} clients that left SYN-ACKs unanswered were forgotten early since {since}: a flood has more sources than \
             findings tell. A higher `tcpwatch run --max-remotes` makes room"
        ),
        What::Groups => format!(
            "{count} sockets are in no group since {since}, as there are more kinds of them than the 4,096 that one walk \
             tells apart: findings and workloads lack them. No option makes more room"
        ),
        What::Services => format!(
            "{count} connections that ended since {since} are of no service that is told apart, as there are more than 1,024 \
             services or too many new ones at once: they are counted as `other`. No option makes more room"
        ),
        What::Namespaces => format!(
            "{count} events and older sockets since {since} were in network namespaces without counters of their own: they \
             are counted as `others`, and the socket counts of those namespaces are unknown. A higher `tcpwatch run --max-namespaces` makes room"
        ),
    }
}

fn most(shortage: &Shortage) -> String {
    match (shortage.netns, shortage.pid) {
        (Some(netns), Some(pid)) => format!(", most of the process {pid} in network namespace {netns}"),
        (Some(netns), None) => format!(", most in network namespace {netns}"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::model::testing::sample_at;

    #[test]
    fn each_tells_how_many_since_when_and_what_makes_room() {
        let mut sample = sample_at(1.0, 7);
        sample.problems = vec!["cannot read".into()];
        let one = |what| Shortage {
            what,
            count: 904,
            since: SystemTime::UNIX_EPOCH,
            netns: Some(7),
            pid: Some(42),
        };
        sample.shortages = What::ALL.map(one).into();
        let told = problems(&sample);
        assert_eq!((told.len(), told[0].as_str()), (What::ALL.len(), "cannot read"), "all but services");
        for text in &told[1..] {
            assert!(text.contains("904 ") && text.contains("since 1970-01-01T00:00:00.000Z"), "{text}");
            assert!(text.contains("tcpwatch run --max-") || text.contains("No option"), "{text}");
        }
        let turns = &told[2];
        assert!(turns.contains("most of the process 42 in network namespace 7: "), "{turns}");
        let shown = shortages(&sample);
        assert_eq!((shown[1].what, shown[1].count, shown[1].pid), ("listeners_in_turns", 904, Some(42)));
    }
}
