//! How a source file looks: it says what it is for, and one can read it in one go.

use super::Violation;
use super::source::Source;

const MOST_LINES: usize = 400;

pub fn check(source: &Source) -> Vec<Violation> {
    let violation = |line, rule, message| Violation { path: source.path.clone(), line, rule, message };
    let mut violations = Vec::new();
    if !source.raw.first().is_some_and(|line| line.starts_with("//!")) {
        violations.push(violation(
            1,
            "module-doc",
            "begin with `//!` and what this module is for".to_owned(),
        ));
    }
    let lines = source.raw.len();
    if lines > MOST_LINES {
        let message =
            format!("{lines} lines are too many to read in one go, {MOST_LINES} are the most: split it");
        violations.push(violation(MOST_LINES + 1, "length", message));
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Vec<&'static str> {
        check(&Source::new("a.rs", text)).into_iter().map(|violation| violation.rule).collect()
    }

    #[test]
    fn files_say_what_they_are_for() {
        assert!(rules("//! Reads.\n\nfn f() {}\n").is_empty());
        assert_eq!(rules("// Reads.\n"), ["module-doc"]);
        assert_eq!(rules(""), ["module-doc"]);
    }

    #[test]
    fn files_are_short() {
        assert!(rules(&"//!\n".repeat(MOST_LINES)).is_empty());
        assert_eq!(rules(&"//!\n".repeat(MOST_LINES + 1)), ["length"]);
    }
}
