//! `docs/runbooks/`: the explanation of each kind of finding as a page that alerts can link to.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use tcpwatch::explain::{self, Facts, Setting};
use tcpwatch::finding::Kind;

use crate::alerts::kinds;
use crate::committed;

const FOLDER: &str = "docs/runbooks";
const LIVE: &str = "On this host now";
/// What times are computed from, as Linux has it by default.
const DEFAULTS: [(&str, &str); 9] = [
    ("net.ipv4.tcp_syn_retries", "6"),
    ("net.ipv4.tcp_syn_linear_timeouts", "4"),
    ("net.ipv4.tcp_synack_retries", "5"),
    ("net.ipv4.tcp_retries2", "15"),
    ("net.ipv4.tcp_orphan_retries", "0"),
    ("net.ipv4.tcp_rto_max_ms", "120000"),
    ("net.ipv4.tcp_keepalive_time", "7200"),
    ("net.ipv4.tcp_keepalive_intvl", "75"),
    ("net.ipv4.tcp_keepalive_probes", "9"),
];

/// The page of a kind, from the root of the project.
pub fn path(kind: Kind) -> String {
    format!("{FOLDER}/{}.md", kind.name())
}

fn page(kind: Kind) -> String {
    let setting = |(name, value): (&str, &str)| (name.to_owned(), Setting::Value(value.to_owned()));
    let facts = Facts { settings: DEFAULTS.map(setting).into(), ..Facts::default() };
    let found = explain::find(kind.name()).expect("each kind has a page");
    let markdown = explain::render(found, &facts).markdown;
    let mut parts = markdown.split("\n## ");
    let opening = parts.next().expect("a page has an opening");
    let name = kind.name();
    let mut text = format!("{}\n\nAlert: `{}`.\n", opening.trim_end(), kinds::name(kind));
    for part in parts {
        let (heading, body) = part.split_once('\n').expect("a part has a text");
        if heading == LIVE {
            let _ = write!(
                text,
                "\n## On the host\n\n    tcpwatch findings --kind {name} --long\n    tcpwatch explain {name}\n\n\
                 The first tells what was found, whose it is, and the proof. The second shows this page with the \
                 host's own values; the times here are those of Linux' defaults.\n"
            );
        } else {
            assert!(!body.contains("unknown here"), "{name} asks for what has no default: {body}");
            let _ = write!(text, "\n## {heading}\n{}\n", body.trim_end());
        }
    }
    text
}

#[test]
fn each_kind_has_its_page() {
    for kind in Kind::ALL {
        committed::expect(&path(kind), &page(kind));
    }
    let listed = fs::read_dir(committed::root().join(FOLDER)).expect("list the pages");
    let files: BTreeSet<String> =
        listed.map(|file| format!("{FOLDER}/{}", file.expect("a file").file_name().display())).collect();
    assert_eq!(files, Kind::ALL.into_iter().map(path).collect(), "and there is no other");
}
