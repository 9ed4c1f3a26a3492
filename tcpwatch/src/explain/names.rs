//! What people type, and which page they mean.

use tcpwatch_common::TcpState;

/// What stands between the two states of a transition, the longest first.
const ARROWS: [&str; 6] = ["->", "=>", "→", ">", " to ", "_to_"];

/// Paths that people write before the name of a sysctl.
const PATHS: [&str; 2] = ["net.ipv4.", "net.core."];

/// A name with nothing in it that people write this way or that: `CLOSE-WAIT` and `close_wait` are the same.
pub fn plain(text: &str) -> String {
    let text = text.trim().to_lowercase();
    let text = text.replace('/', ".");
    let text = PATHS.iter().find_map(|path| text.strip_prefix(path)).unwrap_or(&text);
    text.chars().filter(|c| c.is_alphanumeric()).collect()
}

/// The same name without what tools put around it: `TcpExtListenDrops`, `tcpwatch_handshake_seconds_bucket`.
pub fn bare(plain: &str) -> Vec<&str> {
    let prefixes = ["tcpext", "tcp"].iter().filter_map(|prefix| plain.strip_prefix(prefix));
    let suffixes = ["bucket", "sum", "count"].iter().filter_map(|suffix| plain.strip_suffix(suffix));
    prefixes.chain(suffixes).collect()
}

/// The transition that `text` names.
pub fn pair(text: &str) -> Option<(TcpState, TcpState)> {
    let text = text.to_lowercase();
    let (from, to) = ARROWS.iter().find_map(|arrow| text.split_once(arrow))?;
    Some((TcpState::parse(from.trim())?, TcpState::parse(to.trim())?))
}

/// How many letters must be put in, left out, changed or swapped with their neighbour to make `b` of `a`.
pub fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    // Three rows of the table are enough: the one being filled and two above it.
    let mut above: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let changed = last[j] + usize::from(x != y);
            let mut least = changed.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i - 1] == *y && *x == b[j - 1] {
                least = least.min(above[j - 1] + 1);
            }
            row.push(least);
        }
        above = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

/// How unlike two plain names are, if they are alike at all; 0 is the most alike.
pub fn unlike(asked: &str, name: &str) -> Option<usize> {
    let distance = distance(asked, name);
    let allowed = 1 + asked.chars().count() / 4;
    if distance <= allowed {
        return Some(distance);
    }
    let is_part = asked.len() >= 3 && name.contains(asked);
    let is_whole = name.len() >= 4 && asked.contains(name);
    // After all typing errors; the shorter the rest, the better.
    (is_part || is_whole).then(|| 10 + asked.len().abs_diff(name.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_people_write_them() {
        for text in ["CLOSE_WAIT", "close-wait", "Close Wait", " closewait "] {
            assert_eq!(plain(text), "closewait");
        }
        assert_eq!(plain("net.ipv4.tcp_tw_reuse"), "tcptwreuse");
        assert_eq!(plain("net/core/somaxconn"), "somaxconn");
        assert_eq!(bare("tcpextlistendrops"), ["listendrops", "extlistendrops"]);
        assert_eq!(bare("handshakesecondsbucket"), ["handshakeseconds"]);
    }

    #[test]
    fn transitions_are_read_in_many_spellings() {
        let expected = Some((TcpState::SynRecv, TcpState::Established));
        for text in [
            "syn_recv->established",
            "SYN_RECV to ESTABLISHED",
            "SYN-RECEIVED → ESTAB",
            "syn_recv > estab",
            "syn_recv=>established",
            "syn_recv_to_established",
        ] {
            assert_eq!(pair(text), expected, "{text}");
        }
        for text in ["syn_recv", "syn_recv established", "a->b", "->", "established->"] {
            assert_eq!(pair(text), None, "{text}");
        }
    }

    #[test]
    fn distances_count_typing_errors() {
        for (a, b, expected) in [
            ("", "abc", 3),
            ("closewait", "closewait", 0),
            ("colsewait", "closewait", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!((distance(a, b), distance(b, a)), (expected, expected), "{a} {b}");
        }
        assert_eq!(unlike("clsewait", "closewait"), Some(1));
        assert_eq!(unlike("overflow", "acceptqueueoverflow"), Some(21));
        assert_eq!(unlike("banana", "closewait"), None);
    }
}
