//! Who may import whom in the tcpwatch crate: a module knows those on floors below its own.
//!
//! The crates themselves need no rule: cargo does not let them depend on each other in circles.

use super::Violation;
use super::source::Source;

struct Floor {
    modules: &'static [&'static str],
    /// Whether its modules know nothing of each other.
    apart: bool,
}

/// From the bottom. Whatever is not named here, beside `main.rs` and `lib.rs`, has to find its floor first.
const FLOORS: [Floor; 5] = [
    Floor { modules: &["causes", "finding", "process", "roster"], apart: false },
    Floor { modules: &["sample"], apart: false },
    Floor { modules: &["explain", "filter", "host", "kernel", "model", "pods", "record"], apart: true },
    Floor {
        modules: &[
            "config", "detect", "feed", "lab", "prove", "question", "replay", "serve", "source", "top",
            "view",
        ],
        apart: false,
    },
    Floor { modules: &["cli", "daemon"], apart: false },
];

const RULE: &str = "floors";

pub fn check(source: &Source) -> Vec<Violation> {
    let Some(module) = module(&source.path) else {
        return Vec::new();
    };
    let violation = |line, message| Violation { path: source.path.clone(), line, rule: RULE, message };
    let Some(own) = floor(module) else {
        let message = format!("the module {module} has no floor yet: put it into xtask/src/tidy/floors.rs");
        return vec![violation(1, message)];
    };
    let mut violations = Vec::new();
    for (line, other) in imports(&source.code) {
        let Some(floor) = floor(&other).filter(|_| other != module) else {
            continue;
        };
        if floor > own {
            violations.push(violation(line, format!("{module} must not know {other}, which is above it")));
        } else if floor == own && FLOORS[own].apart {
            violations.push(violation(line, format!("{module} must not know {other}, which is beside it")));
        }
    }
    violations
}

/// The module of the crate's root that a file belongs to.
fn module(path: &str) -> Option<&str> {
    let path = path.strip_prefix("tcpwatch/src/")?;
    let name = path.split('/').next()?.trim_end_matches(".rs");
    (!matches!(name, "main" | "lib")).then_some(name)
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.modules.contains(&module))
}

/// The names right after `crate::`, each with its line counted from one.
fn imports(code: &[String]) -> Vec<(usize, String)> {
    let code = code.join("\n");
    let mut names = Vec::new();
    for (at, path) in code.match_indices("crate::") {
        let start = at + path.len();
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let line = |at: usize| code[..at].matches('\n').count() + 1;
        if code[start..].starts_with('{') {
            names.extend(group(&code[start..]).into_iter().map(|(at, name)| (line(start + at), name)));
        } else {
            names.push((line(start), name(&code[start..])));
        }
    }
    names
}

/// The first name of each path in `{a, b::{c, d}}`, with its offset.
fn group(code: &str) -> Vec<(usize, String)> {
    let mut names = Vec::new();
    let (mut depth, mut expected) = (0, false);
    for (at, c) in code.char_indices() {
        match c {
            '{' => (depth, expected) = (depth + 1, depth == 0),
            '}' => depth -= 1,
            ',' => expected = depth == 1,
            _ if c.is_whitespace() => {}
            _ if expected => {
                names.push((at, name(&code[at..])));
                expected = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    names
}

fn name(code: &str) -> String {
    code.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(path: &str, text: &str) -> Vec<String> {
        let say = |violation: Violation| format!("{}: {}", violation.line, violation.message);
        check(&Source::new(path, text)).into_iter().map(say).collect()
    }

    #[test]
    fn imports_go_down() {
        let text = "use crate::finding::Finding;\nuse crate::{model, sample::Sample};\n";
        assert!(broken("tcpwatch/src/detect/burst.rs", text).is_empty());
        assert!(
            broken("tcpwatch/src/source/live.rs", "use crate::{host, kernel::{self, Kernel}};\n").is_empty()
        );
        assert_eq!(
            broken("tcpwatch/src/model.rs", "fn f() -> crate::detect::Burst {}\n"),
            ["1: model must not know detect, which is above it"]
        );
    }

    #[test]
    fn groups_are_read() {
        let text = "use crate::{\n    finding::{serve, Finding},\n    daemon,\n};\n";
        assert_eq!(
            broken("tcpwatch/src/sample.rs", text),
            ["3: sample must not know daemon, which is above it"]
        );
    }

    #[test]
    fn the_middle_floor_stays_apart() {
        assert_eq!(
            broken("tcpwatch/src/host/diag.rs", "\nuse crate::kernel::Kernel;\n"),
            ["2: host must not know kernel, which is beside it"]
        );
        assert!(broken("tcpwatch/src/host/diag.rs", "use crate::host::netns;\n").is_empty());
        assert!(broken("tcpwatch/src/daemon.rs", "use crate::cli;\n").is_empty());
    }

    #[test]
    fn other_things_are_no_modules() {
        let text = "// use crate::daemon;\nuse mycrate::daemon;\n$crate::daemon!();\nuse crate::Error;\n";
        assert!(broken("tcpwatch/src/model/table.rs", text).is_empty());
        assert!(broken("tcpwatch/src/main.rs", "use crate::daemon;\n").is_empty());
        assert!(broken("tcpwatch-common/src/state.rs", "use crate::daemon;\n").is_empty());
    }

    #[test]
    fn new_modules_need_a_floor() {
        assert_eq!(broken("tcpwatch/src/attic/mod.rs", "use crate::daemon;\n").len(), 1);
    }
}
