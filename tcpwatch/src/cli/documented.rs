//! Command lines in README and docs are ones that this version takes: each is given to the parser.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser as _;
use clap::error::ErrorKind;

use super::Cli;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// README and every page below `docs/`, with their paths.
fn pages() -> Vec<(String, String)> {
    let mut pages = Vec::new();
    let mut waiting = vec![root().join("docs"), root().join("README.md"), root().join("deploy")];
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("list it");
            waiting.extend(entries.map(|entry| entry.expect("an entry").path()));
        } else if path.extension().is_some_and(|extension| extension == "md") {
            pages.push((path.display().to_string(), fs::read_to_string(&path).expect("text")));
        }
    }
    assert!(pages.len() > 20, "{} pages", pages.len());
    pages
}

/// The words of a command line of ours; `None` if it is none. What may be left out (`[…]`) is there, what is said of it
/// (behind `#`, or two spaces) and what is done with its output is not.
fn words(line: &str) -> Option<Vec<String>> {
    let line = line.trim().trim_start_matches("$ ").trim_start_matches("sudo ");
    let line = line.strip_prefix("tcpwatch ").map(|_| line)?;
    let line = line.split("  ").next().unwrap_or(line).replace(['[', ']'], "");
    let end = line.find(['|', '>', ';', '&', '#']).unwrap_or(line.len());
    let mut words: Vec<String> = Vec::new();
    for (at, piece) in line[..end].split(['\'', '"']).enumerate() {
        if at % 2 == 1 {
            words.push(piece.to_owned());
        } else {
            words.extend(piece.split_whitespace().map(str::to_owned));
        }
    }
    Some(words)
}

/// Where something is, and what.
type Placed = (String, String);

/// Lines of blocks, and pieces of prose that are set as code.
fn lines_and_spans() -> (Vec<Placed>, Vec<Placed>) {
    let (mut lines, mut spans) = (Vec::new(), Vec::new());
    for (path, text) in pages() {
        let mut in_code = false;
        for (index, line) in text.lines().enumerate() {
            let place = format!("{path}:{}", index + 1);
            if line.trim_start().starts_with("```") {
                in_code = !in_code;
            } else if in_code || line.starts_with("    tcpwatch ") {
                lines.push((place, line.to_owned()));
            } else {
                spans.extend(line.split('`').skip(1).step_by(2).map(|span| (place.clone(), span.to_owned())));
            }
        }
    }
    (lines, spans)
}

/// What the parser says, but that help was asked for.
fn wrong(words: &[String]) -> Option<clap::Error> {
    let error = Cli::try_parse_from(words).err()?;
    (!matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion)).then_some(error)
}

#[test]
fn command_lines_of_the_documents_are_taken() {
    let (lines, spans) = lines_and_spans();
    let mut taken = 0;
    for (place, line) in lines {
        // A picture of a screen begins with the same name.
        if let Some(words) = words(&line).filter(|words| words.len() > 1) {
            if let Some(error) = wrong(&words) {
                panic!("{place}: {line}: {error}");
            }
            taken += 1;
        }
    }
    assert!(taken > 30, "{taken} command lines");
    let mut taken = 0;
    for (place, span) in spans {
        let Some(words) = words(&span).filter(|words| words.len() > 1) else { continue };
        // In a sentence words may stand for a value, so only names are held against what there is.
        let unknown = [ErrorKind::UnknownArgument, ErrorKind::InvalidSubcommand];
        if let Some(error) = wrong(&words).filter(|error| unknown.contains(&error.kind())) {
            panic!("{place}: `{span}`: {error}");
        }
        taken += 1;
    }
    assert!(taken > 30, "{taken} pieces of code");
}

#[test]
fn words_are_what_a_shell_makes_of_them() {
    let words = |line| words(line).map(|words| words.join("|"));
    assert_eq!(
        words("$ sudo tcpwatch trace --port 443   # of it").as_deref(),
        Some("tcpwatch|trace|--port|443")
    );
    assert_eq!(words("tcpwatch netstat 'a and b' [-l] > x").as_deref(), Some("tcpwatch|netstat|a and b|-l"));
    assert_eq!(words("tcpwatchd x"), None);
    assert!(wrong(&["tcpwatch", "run", "--no-such"].map(str::to_owned)).is_some());
    assert!(wrong(&["tcpwatch", "run", "--help"].map(str::to_owned)).is_none());
}
