//! `deploy/tcpwatch.toml`: every option with its default; and the same as tables in `docs/configuration.md`.

use std::fmt::Write as _;

use tcpwatch::config::{self, Values};

use crate::committed;

const EXAMPLE: &str = "deploy/tcpwatch.toml";

/// What `tcpwatch run --print-config` prints without a file.
fn printed() -> String {
    config::print(&Values::default())
}

/// The tables of the page: each section, what it says of itself, and its options.
fn tables() -> String {
    let mut text = String::new();
    let printed = printed();
    for section in printed.split("\n\n").skip(1) {
        let (about, rest) = section.split_once('\n').expect("a section has a name");
        let (name, options) = rest.split_once('\n').expect("a section has options");
        let about = about.strip_prefix("# ").expect("a comment");
        let _ = write!(
            text,
            "### `{name}`\n\n{about}\n\n| option | default | meaning and bounds |\n|---|---|---|\n"
        );
        let lines: Vec<&str> = options.lines().collect();
        for option in lines.chunks(2) {
            let [about, value] = option else { panic!("{option:?} is no option with its comment") };
            let (name, value) = value.split_once(" = ").expect("a value");
            let about = about.strip_prefix("# ").and_then(|about| about.split_once(", by default "));
            let (about, _) = about.unwrap_or_else(|| panic!("{name} says nothing of itself"));
            let _ = writeln!(text, "| `{name}` | `{value}` | {about} |");
        }
        text.push('\n');
    }
    text
}

#[test]
fn the_example_has_every_option_with_its_default() {
    committed::expect(EXAMPLE, &printed());
    let read = config::parse(&committed::read(EXAMPLE)).expect("a configuration");
    assert_eq!(read, Values::default(), "it changes nothing");
}

#[test]
fn the_page_has_every_option() {
    committed::expect_part("docs/configuration.md", "options", &tables());
}
