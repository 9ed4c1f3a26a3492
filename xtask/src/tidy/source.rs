//! A Rust file as the rules look at it: without comments, and with or without what its strings say.
//!
//! A small lexer blanks the rest out and keeps every line where it is. It knows comments, strings and characters, and
//! takes the rest of a file below an inline `#[cfg(test)] mod` for tests, which end the files of this project.

pub struct Source {
    /// Relative to the root.
    pub path: String,
    /// As written.
    pub raw: Vec<String>,
    /// Without comments and without the contents of strings.
    pub code: Vec<String>,
    /// Without comments.
    pub text: Vec<String>,
    /// The first line of the tests, counted from zero.
    tests: usize,
}

impl Source {
    pub fn new(path: &str, raw: &str) -> Self {
        let (code, text) = blank(raw);
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let (raw, code, text) = (lines(raw), lines(&code), lines(&text));
        let tests = if is_test_file(path) { 0 } else { first_test(&code) };
        Self { path: path.to_owned(), raw, code, text, tests }
    }

    /// Whether the line (counted from zero) is only there in tests.
    pub fn is_test(&self, line: usize) -> bool {
        line >= self.tests
    }
}

fn is_test_file(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).trim_end_matches(".rs");
    path.contains("/tests/")
        || path.contains("/benches/")
        || name.ends_with("_tests")
        || name.starts_with("test")
}

fn first_test(code: &[String]) -> usize {
    let starts = |line: usize| {
        let module = code.get(line + 1).map_or("", |next| next.trim());
        code[line].trim() == "#[cfg(test)]" && module.starts_with("mod ") && module.ends_with('{')
    };
    (0..code.len()).find(|line| starts(*line)).unwrap_or(code.len())
}

/// The text twice, with spaces for what does not count: comments and strings, and comments only.
fn blank(raw: &str) -> (String, String) {
    let (mut code, mut text) = (String::new(), String::new());
    let mut rest = raw;
    while let Some(first) = rest.chars().next() {
        let after_name = code.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let (length, in_code, in_text) = if rest.starts_with("//") {
            (rest.find('\n').unwrap_or(rest.len()), false, false)
        } else if rest.starts_with("/*") {
            (block_comment(rest), false, false)
        } else if let Some(length) = (!after_name).then(|| raw_string(rest)).flatten() {
            (length, false, true)
        } else if first == '"' {
            (quoted(rest, '"'), false, true)
        } else if let Some(length) = character(rest) {
            (length, false, true)
        } else {
            (first.len_utf8(), true, true)
        };
        let (piece, next) = rest.split_at(length);
        for c in piece.chars() {
            let space = if c == '\n' { '\n' } else { ' ' };
            code.push(if in_code { c } else { space });
            text.push(if in_text { c } else { space });
        }
        rest = next;
    }
    (code, text)
}

/// Block comments nest.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        let bytes = &rest.as_bytes()[at..];
        if bytes.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if bytes.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// Length of a string like `r#"…"#`, if one starts here.
fn raw_string(rest: &str) -> Option<usize> {
    let prefix = ["r", "br", "cr"].iter().find(|prefix| {
        let rest = rest.strip_prefix(**prefix);
        rest.is_some_and(|rest| rest.trim_start_matches('#').starts_with('"'))
    })?;
    let hashes = rest[prefix.len()..].find('"')?;
    let start = prefix.len() + hashes + 1;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(rest[start..].find(&end).map_or(rest.len(), |at| start + at + end.len()))
}

/// Length of a string or character from its opening quote to its closing one.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Length of a character like `'x'`, which is not the beginning of a lifetime.
fn character(rest: &str) -> Option<usize> {
    let inner = rest.strip_prefix('\'')?;
    let first = inner.chars().next()?;
    (first == '\\' || inner[first.len_utf8()..].starts_with('\'')).then(|| quoted(rest, '\''))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(raw: &str) -> String {
        // One space for many: only what stays is of interest.
        blank(raw).0.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comments_do_not_count() {
        assert_eq!(code("a // b\nc"), "a c");
        assert_eq!(code("a /* b /* c */ d */ e"), "a e");
        assert_eq!(code("//! unsafe\n/// unsafe\nfn f() {}"), "fn f() {}");
    }

    #[test]
    fn strings_do_not_count_as_code() {
        assert_eq!(code(r#"a "b \" // c" d"#), "a d");
        assert_eq!(code("a r#\"b \" c\"# d"), "a d");
        assert_eq!(code(r#"a br"\" d"#), "a d");
        assert_eq!(code("a '\"' b '\\'' c 'x' d"), "a b c d");
        assert_eq!(code("fn f<'a>(x: &'a str) -> &'a str"), "fn f<'a>(x: &'a str) -> &'a str");
        assert_eq!(code("number\"text\" attr"), "number attr");
    }

    #[test]
    fn strings_stay_in_the_text() {
        let (code, text) = blank("open(\"/proc/self\") // \"/sys\"\n");
        assert_eq!(code.trim_end(), "open(            )");
        assert_eq!(text.trim_end(), "open(\"/proc/self\")");
    }

    #[test]
    fn lines_stay_where_they_are() {
        let source = Source::new("a.rs", "/*\n*/ x\n\"\n\" y\nz");
        assert_eq!(source.code.iter().map(|line| line.trim()).collect::<Vec<_>>(), ["", "x", "", "y", "z"]);
    }

    #[test]
    fn tests_are_known() {
        let source = Source::new("a.rs", "#[cfg(test)]\nmod testing;\n\n#[cfg(test)]\nmod tests {\n}\n");
        assert_eq!(
            (0..6).map(|line| source.is_test(line)).collect::<Vec<_>>(),
            [false, false, false, true, true, true]
        );
        for path in ["x/tests/live/main.rs", "x/src/host/diag_tests.rs", "x/src/host/testns.rs"] {
            assert!(Source::new(path, "").is_test(0), "{path}");
        }
    }
}
