//! `cargo xtask tidy`: the rules of this project that no compiler checks.
//!
//! Plain text search over the source tree, so that it takes no time and a rule is a line in a table: who may use
//! which library (`words`), who may import whom (`floors`), how files look (`shape`), and that the documents tell of
//! things that exist (`links`, `commands`, `metrics`). All violations are printed, each with the place to open.

mod commands;
mod floors;
mod links;
mod markdown;
mod metrics;
mod shape;
mod source;
mod tree;
mod words;

use anyhow::{Result, ensure};

use crate::project::Project;
use source::Source;
use tree::Tree;

/// One place where one rule is broken.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Violation {
    /// Relative to the root.
    path: String,
    /// Counted from one.
    line: usize,
    rule: &'static str,
    message: String,
}

/// Prints what breaks a rule, and fails if anything does.
pub fn tidy(project: &Project) -> Result<()> {
    let tree = Tree::read(project)?;
    let sources: Vec<Source> =
        tree.with_extension("rs").map(|file| Source::new(&file.path, &file.text)).collect();
    let mut violations = Vec::new();
    for source in &sources {
        violations.extend(words::check(source));
        violations.extend(shape::check(source));
        violations.extend(floors::check(source));
    }
    violations.extend(links::check(&tree));
    violations.extend(commands::check(&tree, crate::USAGE));
    violations.extend(metrics::check(&tree));
    violations.sort();
    for Violation { path, line, rule, message } in &violations {
        println!("{path}:{line}: {rule}: {message}");
    }
    let count = violations.len();
    ensure!(count == 0, "{count} violations of the project's rules, listed above with their places");
    println!("tidy: {} files keep the rules", tree.files.len());
    Ok(())
}
