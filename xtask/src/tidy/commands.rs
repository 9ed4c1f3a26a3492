//! `cargo xtask NAME` in documents, scripts and units names a command that there is.

use super::Violation;
use super::tree::{Tree, has_extension};

const CALL: &str = "cargo xtask ";
const TOLD_IN: [&str; 5] = ["md", "sh", "service", "toml", "yml"];

/// `usage` is what `cargo xtask help` prints.
pub fn check(tree: &Tree, usage: &str) -> Vec<Violation> {
    let known: Vec<&str> = names(usage).collect();
    let mut violations = Vec::new();
    for file in tree.files.iter().filter(|file| TOLD_IN.iter().any(|end| has_extension(&file.path, end))) {
        for (index, line) in file.text.lines().enumerate() {
            for name in called(line).filter(|name| !known.contains(name)) {
                violations.push(Violation {
                    path: file.path.clone(),
                    line: index + 1,
                    rule: "command",
                    message: format!("there is no `{CALL}{name}`; there is {}", known.join(", ")),
                });
            }
        }
    }
    violations
}

/// The commands, two spaces from the left below `Usage`.
fn names(usage: &str) -> impl Iterator<Item = &str> {
    let listed = usage.split("\nExamples:").next().unwrap_or(usage).lines();
    listed.filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).filter(|name| is_name(name))
}

fn is_name(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '-')
}

fn called(line: &str) -> impl Iterator<Item = &str> {
    let word = |rest: &str| rest.find(|c: char| !c.is_ascii_lowercase() && c != '-').unwrap_or(rest.len());
    // What stands for any of them, as in NAME, is none.
    line.split(CALL).skip(1).map(move |rest| &rest[..word(rest)]).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::tree::File;
    use super::*;

    #[test]
    fn commands_that_are_gone_are_found() {
        let usage = "Usage: x\n\n  ci      the gate\n  vm [SUITE…]  guests\n          more\n\nExamples:\n  no  such\n";
        assert_eq!(names(usage).collect::<Vec<_>>(), ["ci", "vm"]);
        let text = "`cargo xtask ci`, `cargo xtask NAME`\ncargo xtask build && cargo xtask vm bullseye\ncargo xtask no\n";
        let file = |path: &str| File { path: path.into(), text: text.into() };
        let tree = Tree { root: "/nowhere".into(), files: vec![file("a.md"), file("a.rs")] };
        let found: Vec<_> = check(&tree, usage).into_iter().map(|one| (one.path, one.line)).collect();
        assert_eq!(found, [("a.md".to_owned(), 2), ("a.md".to_owned(), 3)]);
    }

    #[test]
    fn the_usage_lists_what_there_is() {
        let listed: Vec<&str> = names(crate::USAGE).collect();
        assert!(listed.len() > 7 && listed.contains(&"tidy") && listed.contains(&"systemd"), "{listed:?}");
    }
}
