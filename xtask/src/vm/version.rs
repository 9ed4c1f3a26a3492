//! Order of Debian package versions, as deb-version(7) defines it.
//!
//! A suite can list several versions of one package (sid during an upload), and
//! a string comparison would put 6.9 above 6.12.

use std::cmp::Ordering;

/// Compares `[epoch:]upstream[-revision]`.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (epoch_a, upstream_a, revision_a) = split(a);
    let (epoch_b, upstream_b, revision_b) = split(b);
    compare_part(epoch_a, epoch_b)
        .then_with(|| compare_part(upstream_a, upstream_b))
        .then_with(|| compare_part(revision_a, revision_b))
}

fn split(version: &str) -> (&str, &str, &str) {
    let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
    (epoch, upstream, revision)
}

/// Text and numbers take turns, beginning with text.
fn compare_part(mut a: &str, mut b: &str) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        let (text_a, rest_a) = cut(a, |c| !c.is_ascii_digit());
        let (text_b, rest_b) = cut(b, |c| !c.is_ascii_digit());
        let (number_a, rest_a) = cut(rest_a, |c| c.is_ascii_digit());
        let (number_b, rest_b) = cut(rest_b, |c| c.is_ascii_digit());
        let order = compare_text(text_a, text_b).then_with(|| compare_number(number_a, number_b));
        if order.is_ne() {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
    Ordering::Equal
}

fn cut(text: &str, keep: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !keep(c)).unwrap_or(text.len()))
}

/// `~` comes before everything, even the end; letters before other characters.
fn compare_text(a: &str, b: &str) -> Ordering {
    let rank = |c: Option<char>| match c {
        Some('~') => (0, '~'),
        None => (1, ' '),
        Some(c) if c.is_ascii_alphabetic() => (2, c),
        Some(c) => (3, c),
    };
    let (mut a, mut b) = (a.chars(), b.chars());
    loop {
        let (next_a, next_b) = (a.next(), b.next());
        let order = rank(next_a).cmp(&rank(next_b));
        if order.is_ne() || (next_a.is_none() && next_b.is_none()) {
            return order;
        }
    }
}

/// Compared as text, so that no number is too long.
fn compare_number(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_like_dpkg() {
        // Each pair as `dpkg --compare-versions A lt B` confirms it.
        for (a, b) in [
            ("6.9.7-1", "6.12.3-1"),
            ("7.2~rc4-1", "7.2-1"),
            ("7.2.13-1", "7.2.13-1+b1"),
            ("6.1.153-1", "6.1.153-2"),
            ("6.1.153-1~bpo11+1", "6.1.153-1"),
            ("9.9-1", "1:1.0-1"),
            ("5.10.0", "5.10.0-1"),
            ("1.0a-1", "1.0+1-1"),
        ] {
            assert_eq!(compare(a, b), Ordering::Less, "{a} < {b}");
            assert_eq!(compare(b, a), Ordering::Greater, "{b} > {a}");
        }
        assert_eq!(compare("6.01-1", "6.1-1"), Ordering::Equal);
        assert_eq!(compare("0:6.1-1", "6.1-1"), Ordering::Equal);
    }
}
