//! The pods of this node as the cluster told of them, those that have gone lately among them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::roster::{Directory, Entry};

/// How long a pod is known that has ended or is gone: its sockets can outlive it.
const REMEMBER: Duration = Duration::from_mins(15);

/// Pods that are known at once; a node has some hundred at most.
const MOST: usize = 4096;

/// Pods that have gone among them.
const MOST_GONE: usize = 1024;

/// Containers of a pod that are known: one that is started again and again leaves its earlier ids.
const MOST_CONTAINERS: usize = 128;

#[derive(Debug, Default)]
pub(super) struct Book {
    by_uid: HashMap<String, Card>,
}

#[derive(Debug)]
struct Card {
    entry: Entry,
    /// When it was found to be gone.
    gone: Option<Instant>,
}

impl Book {
    /// Takes a whole list: what is not in it has gone. Whether anything is different now.
    pub(super) fn replace(&mut self, told: Vec<Entry>, now: Instant) -> bool {
        let there: std::collections::HashSet<String> =
            told.iter().map(|entry| entry.pod.uid.clone()).collect();
        let mut is_news = false;
        for (_, card) in self.by_uid.iter_mut().filter(|(uid, _)| !there.contains(*uid)) {
            is_news |= card.end(now);
        }
        for entry in told {
            is_news |= self.put(entry, now);
        }
        is_news | self.make_room(now)
    }

    /// A pod as it is now. Whether that is news.
    pub(super) fn put(&mut self, mut entry: Entry, now: Instant) -> bool {
        let Some(card) = self.by_uid.get_mut(&entry.pod.uid) else {
            let gone = entry.gone.then_some(now);
            self.by_uid.insert(entry.pod.uid.clone(), Card { entry, gone });
            self.make_room(now);
            return true;
        };
        // What was told of its containers earlier stays true.
        for (id, name) in &card.entry.containers {
            if entry.containers.len() >= MOST_CONTAINERS {
                break;
            }
            entry.containers.entry(id.clone()).or_insert_with(|| name.clone());
        }
        if card.entry == entry {
            return false;
        }
        card.gone = entry.gone.then(|| card.gone.unwrap_or(now));
        card.entry = entry;
        true
    }

    /// A pod that the cluster does not have any more, as it was last.
    pub(super) fn remove(&mut self, entry: Entry, now: Instant) -> bool {
        self.put(Entry { gone: true, ..entry }, now) | self.make_room(now)
    }

    /// Forgets what has gone long ago. Whether there was any.
    pub(super) fn make_room(&mut self, now: Instant) -> bool {
        let before = self.by_uid.len();
        self.by_uid.retain(|_, card| card.gone.is_none_or(|gone| now < gone + REMEMBER));
        let mut gone: Vec<(Instant, String)> =
            self.by_uid.iter().filter_map(|(uid, card)| Some((card.gone?, uid.clone()))).collect();
        let excess = gone.len().saturating_sub(MOST_GONE).max(self.by_uid.len().saturating_sub(MOST));
        gone.sort_unstable();
        for (_, uid) in gone.into_iter().take(excess) {
            self.by_uid.remove(&uid);
        }
        // No node has so many: whoever answers does not keep to what was asked for.
        while self.by_uid.len() > MOST {
            let Some(uid) = self.by_uid.keys().next().cloned() else { break };
            self.by_uid.remove(&uid);
        }
        self.by_uid.len() != before
    }

    pub(super) fn directory(&self) -> Directory {
        Directory::new(self.by_uid.values().map(|card| card.entry.clone()).collect())
    }
}

impl Card {
    fn end(&mut self, now: Instant) -> bool {
        let is_news = !self.entry.gone;
        self.entry.gone = true;
        self.gone.get_or_insert(now);
        is_news
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::*;
    use crate::process::Pod;

    fn entry(uid: &str, containers: &[&str]) -> Entry {
        let pod = Pod { uid: uid.into(), name: Some(format!("pod-{uid}")), ..Pod::default() };
        let containers = containers.iter().map(|id| ((*id).to_owned(), "web".to_owned())).collect();
        Entry { pod: Arc::new(pod), containers, ..Entry::default() }
    }

    /// The uids, those that are gone in parentheses.
    fn shown(book: &Book) -> BTreeSet<String> {
        let directory = book.directory();
        let show = |entry: &Entry| {
            let uid = &entry.pod.uid;
            if entry.gone { format!("({uid})") } else { uid.clone() }
        };
        directory.entries().iter().map(show).collect()
    }

    fn set(uids: &[&str]) -> BTreeSet<String> {
        uids.iter().map(|uid| (*uid).to_owned()).collect()
    }

    #[test]
    fn what_is_not_listed_any_more_is_known_for_a_while() {
        let (mut book, start) = (Book::default(), Instant::now());
        assert!(book.replace(vec![entry("a", &[]), entry("b", &[])], start));
        assert!(!book.replace(vec![entry("a", &[]), entry("b", &[])], start), "no news");
        assert!(book.replace(vec![entry("b", &[]), entry("c", &[])], start));
        assert_eq!(shown(&book), set(&["(a)", "b", "c"]));
        assert!(book.remove(entry("b", &[]), start + REMEMBER / 2));
        assert!(!book.make_room(start + REMEMBER.mul_f64(0.99)));
        assert!(book.make_room(start + REMEMBER));
        assert_eq!(shown(&book), set(&["(b)", "c"]));
        // One comes back with the same uid.
        assert!(book.put(entry("b", &[]), start + REMEMBER));
        assert!(!book.make_room(start + REMEMBER * 9));
        assert_eq!(shown(&book), set(&["b", "c"]));
    }

    #[test]
    fn containers_that_were_started_again_stay_known_within_a_bound() {
        let (mut book, now) = (Book::default(), Instant::now());
        book.put(entry("a", &["c1"]), now);
        assert!(book.put(entry("a", &["c2"]), now));
        assert!(!book.put(entry("a", &["c2"]), now), "no news");
        let containers = |book: &Book| book.directory().entries()[0].containers.len();
        assert_eq!(containers(&book), 2);
        for start in 0..1_000 {
            book.put(entry("a", &[&format!("c{start}")]), now);
        }
        assert_eq!(containers(&book), MOST_CONTAINERS);
    }

    #[test]
    fn memory_is_bounded_whatever_is_told() {
        let (mut book, now) = (Book::default(), Instant::now());
        for pod in 0..5_000u32 {
            let later = now + Duration::from_millis(pod.into());
            book.put(entry(&format!("{pod}"), &[]), later);
            book.remove(entry(&format!("{pod}"), &[]), later);
        }
        assert_eq!(shown(&book).len(), MOST_GONE);
        assert!(shown(&book).contains("(4999)") && !shown(&book).contains("(10)"), "the latest are kept");
        let many = (0..10_000).map(|pod| entry(&format!("x{pod}"), &[])).collect();
        book.replace(many, now);
        assert_eq!(shown(&book).len(), MOST);
    }
}
