//! The table in `docs/kernels.md`: how much of each program the verifiers of the kernels walk, as the live tests told it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

/// Set to write the table anew. Figures differ a little by compiler, so they are not compared.
const RENEW: &str = "TCPWATCH_RENEW";
const BEGIN: &str = "<!-- made by `TCPWATCH_RENEW=1 cargo xtask vm`: begin -->\n";
const END: &str = "<!-- end -->\n";

/// Instructions by program and kernel; `None` where the kernel does not tell.
#[derive(Debug, Default, PartialEq)]
pub struct Verified {
    kernels: Vec<String>,
    programs: BTreeMap<String, BTreeMap<String, Option<u64>>>,
}

impl Verified {
    /// Adds what a guest told in its log: lines of `verified KERNEL PROGRAM INSTRUCTIONS`.
    pub fn read(&mut self, log: &str) {
        for line in log.lines() {
            // The console may put something before it.
            let Some((_, rest)) = line.split_once("verified ") else { continue };
            let words: Vec<&str> = rest.split_whitespace().collect();
            let &[kernel, program, instructions] = &words[..] else { continue };
            let instructions = instructions.parse().ok();
            if instructions.is_none() && rest.split_whitespace().last() != Some("unknown") {
                continue;
            }
            if !self.kernels.iter().any(|known| known == kernel) {
                self.kernels.push(kernel.to_owned());
            }
            self.programs.entry(program.to_owned()).or_default().insert(kernel.to_owned(), instructions);
        }
    }

    /// Compares the table with what was told, or writes it if that was asked for.
    pub fn check(&self, root: &Path, is_all: bool) -> Result<()> {
        let path = root.join("docs/kernels.md");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let (head, rest) = text.split_once(BEGIN).with_context(|| no_marks(&path))?;
        let (table, tail) = rest.split_once(END).with_context(|| no_marks(&path))?;
        if std::env::var_os(RENEW).is_some() {
            ensure!(is_all, "{RENEW} needs all kernels: name no suites");
            let text = format!("{head}{BEGIN}{}{END}{tail}", self.table());
            return fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()));
        }
        let documented: Vec<&str> = table.lines().skip(2).filter_map(program_of).collect();
        let told = || self.programs.keys().map(String::as_str);
        let is_same = told().all(|program| documented.contains(&program))
            && (!is_all || documented.iter().all(|program| told().any(|told| told == *program)));
        ensure!(
            is_same,
            "{} is about the programs {documented:?}, but {:?} were loaded; `{RENEW}=1 cargo xtask vm` writes it anew",
            path.display(),
            told().collect::<Vec<_>>(),
        );
        Ok(())
    }

    fn table(&self) -> String {
        let mut text = format!("| program | {} |\n", self.kernels.join(" | "));
        text.extend(["|---|", &"---|".repeat(self.kernels.len()), "\n"]);
        for (program, by_kernel) in &self.programs {
            let cell = |kernel: &String| match by_kernel.get(kernel) {
                Some(Some(instructions)) => instructions.to_string(),
                Some(None) => "not told".to_owned(),
                None => "not loaded".to_owned(),
            };
            let cells: Vec<String> = self.kernels.iter().map(cell).collect();
            let _ = writeln!(text, "| `{program}` | {} |", cells.join(" | "));
        }
        let sum = |kernel: &String| {
            let told: Option<Vec<u64>> =
                self.programs.values().filter_map(|by_kernel| by_kernel.get(kernel).copied()).collect();
            told.map_or_else(|| "not told".to_owned(), |all| all.iter().sum::<u64>().to_string())
        };
        let sums: Vec<String> = self.kernels.iter().map(sum).collect();
        let _ = writeln!(text, "| all | {} |", sums.join(" | "));
        text
    }
}

fn no_marks(path: &Path) -> String {
    format!("{} lacks the lines that say where the table is", path.display())
}

/// The program of a row; none for the last one, which is the sum.
fn program_of(row: &str) -> Option<&str> {
    row.strip_prefix("| `")?.split_once('`').map(|(program, _)| program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_what_the_guests_told() {
        let mut told = Verified::default();
        told.read("test a ... verified 5.10.1 poll unknown\nverified 5.10.1 rows unknown\n");
        told.read("verified 7.2.0 poll 12\r\nverified 7.2.0 third 3\nverified it\nverified 1 2 x\n");
        assert_eq!(
            told.table(),
            "| program | 5.10.1 | 7.2.0 |\n|---|---|---|\n| `poll` | not told | 12 |\n\
             | `rows` | not told | not loaded |\n| `third` | not loaded | 3 |\n| all | not told | 15 |\n"
        );
        let table = told.table();
        assert_eq!(
            table.lines().skip(2).filter_map(program_of).collect::<Vec<_>>(),
            ["poll", "rows", "third"]
        );
    }
}
