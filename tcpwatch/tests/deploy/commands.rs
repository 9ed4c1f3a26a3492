//! Command lines in the documents that need nobody are run as they stand there. That the others are right is held
//! against the parser (`cli/documented.rs`).

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::committed;

const BINARY: &str = env!("CARGO_BIN_EXE_tcpwatch");

/// What ends by itself at once, asks no daemon if it is told so, and writes nothing.
const ALONE: [(&str, &str); 4] =
    [("completions ", ""), ("man ", ""), ("explain ", " --alone"), ("run --print-config", "")];

/// Stand for something of the reader's own.
const OF_THE_READER: [&str; 5] = ["TOPIC", "KIND", "SHELL", "COMMAND", "FILE"];

fn pages() -> Vec<String> {
    let listed = |folder: &str| {
        let entries = fs::read_dir(committed::root().join(folder)).expect("list it");
        let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"));
        names.map(|name| format!("{folder}/{name}")).collect::<Vec<_>>()
    };
    let all = [vec!["README.md".to_owned()], listed("docs"), listed("docs/runbooks")].concat();
    all.into_iter().filter(|path| Path::new(path).extension().is_some_and(|found| found == "md")).collect()
}

/// The first command of a line, without what is done with its output and what is said of it.
fn command(text: &str) -> Option<String> {
    let text = text.trim().trim_start_matches("$ ").strip_prefix("tcpwatch ")?;
    let text = text.split("  ").next().unwrap_or(text);
    let text = text[..text.find(['|', '>', '#']).unwrap_or(text.len())].trim();
    let is_whole = !text.contains(['[', '…']) && !text.split(' ').any(|word| OF_THE_READER.contains(&word));
    let (_, more) = ALONE.iter().find(|(begin, _)| text.starts_with(begin))?;
    is_whole.then(|| format!("{text}{more}"))
}

#[test]
fn commands_that_need_nobody_work_as_they_are_written() {
    let folder = std::env::temp_dir().join(format!("tcpwatch-documented-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("make a directory");
    fs::write(folder.join("tcpwatch.toml"), "[findings]\nclose_after = \"11s\"\n").expect("write a file");
    let mut commands: Vec<(String, String)> = Vec::new();
    for path in pages() {
        let text = committed::read(&path);
        let pieces = text.lines().chain(text.split('`').skip(1).step_by(2));
        for found in pieces.filter(|piece| !piece.contains('\n')).filter_map(command) {
            if !commands.iter().any(|(known, _)| *known == found) {
                commands.push((found, path.clone()));
            }
        }
    }
    assert!(commands.len() >= 15, "{commands:?}");
    for (words, path) in commands {
        let words: Vec<&str> = words.split_whitespace().collect();
        let mut command = Command::new(BINARY);
        let ended = command.args(&words).current_dir(&folder).stdin(Stdio::null()).output().expect("it runs");
        assert!(ended.status.success() && !ended.stdout.is_empty(), "{path}: {words:?}: {ended:?}");
    }
    fs::remove_dir_all(&folder).expect("remove it");
}
