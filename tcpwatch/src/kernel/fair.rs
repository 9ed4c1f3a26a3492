//! Who keeps how much of what there is too little of: the largest give first, until all fit. Pure.

use std::collections::BTreeMap;

/// One that wants a place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    /// Who shares with whom: a user of a namespace, as one number.
    pub(super) group: u64,
    /// The process, which shares with others of its group.
    pub(super) part: u32,
    /// Those with the lowest are kept first.
    pub(super) rank: (bool, u64),
}

/// Which of `claims` get one of `room` places. A group that wants no more than its equal part gets all that it wants; what
/// it leaves is for larger ones. So it is for the parts of a group.
pub(super) fn kept(claims: &[Claim], room: usize) -> Vec<bool> {
    let mut kept = vec![false; claims.len()];
    let by_group = grouped(0..claims.len(), |at| claims[at].group);
    for (members, places) in shares(by_group, room) {
        for (mut members, places) in shares(grouped(members, |at| claims[at].part), places) {
            members.sort_by_key(|at| claims[*at].rank);
            for at in members.into_iter().take(places) {
                kept[at] = true;
            }
        }
    }
    kept
}

fn grouped<K: Ord>(all: impl IntoIterator<Item = usize>, key: impl Fn(usize) -> K) -> Vec<Vec<usize>> {
    let mut groups: BTreeMap<K, Vec<usize>> = BTreeMap::new();
    for at in all {
        groups.entry(key(at)).or_default().push(at);
    }
    groups.into_values().collect()
}

/// Each with its places.
fn shares(mut groups: Vec<Vec<usize>>, mut room: usize) -> Vec<(Vec<usize>, usize)> {
    groups.sort_by_key(Vec::len);
    let mut waiting = groups.len();
    let mut all = Vec::with_capacity(waiting);
    for group in groups {
        let places = group.len().min(room / waiting);
        room -= places;
        waiting -= 1;
        all.push((group, places));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many each of these groups keeps of what it claims, in order.
    fn places(groups: &[&[(u32, usize)]], room: usize) -> Vec<Vec<usize>> {
        let mut claims = Vec::new();
        for (group, parts) in (0..).zip(groups) {
            for (part, count) in *parts {
                claims.extend((0..*count).map(|_| Claim { group, part: *part, rank: (false, 0) }));
            }
        }
        let kept = kept(&claims, room);
        let count = |group, part| {
            let of = claims.iter().zip(&kept).filter(|(claim, _)| (claim.group, claim.part) == (group, part));
            of.filter(|(_, kept)| **kept).count()
        };
        (0..)
            .zip(groups)
            .map(|(group, parts)| parts.iter().map(|(part, _)| count(group, *part)).collect())
            .collect()
    }

    #[test]
    fn the_largest_gives_and_no_place_is_left() {
        for (groups, room, expected) in [
            (&[&[(1, 5000)][..], &[(2, 1)], &[(3, 10)]][..], 4096, vec![vec![4085], vec![1], vec![10]]),
            (&[&[(1, 5000)], &[(2, 5000)]], 4096, vec![vec![2048], vec![2048]]),
            (&[&[(1, 5000), (2, 3)], &[(3, 9)]], 100, vec![vec![88, 3], vec![9]]),
            (&[&[(1, 2)], &[(2, 1)]], 10, vec![vec![2], vec![1]]),
            (&[&[(1, 2)], &[(2, 1)]], 0, vec![vec![0], vec![0]]),
        ] {
            assert_eq!(places(groups, room), expected, "{groups:?}");
        }
        assert!(kept(&[], 3).is_empty());
    }

    #[test]
    fn of_one_process_those_with_trouble_stay_then_the_latest() {
        let claim = |is_idle, since| Claim { group: 1, part: 1, rank: (is_idle, since) };
        let claims = [claim(true, 3), claim(false, 9), claim(true, 1)];
        assert_eq!(kept(&claims, 2), [false, true, true]);
    }
}
