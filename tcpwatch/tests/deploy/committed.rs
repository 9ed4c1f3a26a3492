//! Compares what was made with the committed file, or renews that.

use std::fs;
use std::path::{Path, PathBuf};

/// Set to anything: files are written instead of compared.
const RENEW: &str = "TCPWATCH_RENEW";

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The committed file has to be this text.
pub fn expect(path: &str, text: &str) {
    if std::env::var_os(RENEW).is_some() {
        fs::write(root().join(path), text).unwrap_or_else(|error| panic!("{path}: {error}"));
        return;
    }
    let found = fs::read_to_string(root().join(path)).unwrap_or_default();
    let different = found.lines().zip(text.lines()).position(|(found, made)| found != made);
    let line = different.unwrap_or_else(|| found.lines().count().min(text.lines().count()));
    assert!(
        found == text,
        "{path} is not what is made from the code: line {} is {:?} and has to be {:?}; {RENEW}=1 renews it",
        line + 1,
        found.lines().nth(line),
        text.lines().nth(line),
    );
}

/// The part of a file between the lines `<!-- NAME -->` and `<!-- end of NAME -->` has to be this text.
pub fn expect_part(path: &str, name: &str, text: &str) {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->\n"));
    let file = read(path);
    let (before, rest) = file.split_once(&begin).unwrap_or_else(|| panic!("{path} has no {begin}"));
    let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("{path} has no {end}"));
    expect(path, &format!("{before}{begin}{text}{end}{after}"));
}
