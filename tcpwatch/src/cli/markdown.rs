//! Markdown for a terminal: as much of it as our pages use, in 80 columns.

use std::io::{self, IsTerminal as _};

const WIDTH: usize = 80;

/// Whether headings may be bold: on a terminal whose user does not mind.
pub(super) fn has_colours() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stdout().is_terminal() && !refused
}

/// Headings, paragraphs, lists and code blocks.
pub(super) fn render(text: &str, bold: bool) -> String {
    let mut out = String::new();
    let mut block = Block::default();
    let mut in_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            block.end(&mut out, bold);
            in_code = !in_code;
        } else if in_code || (line.starts_with("    ") && block.is_empty()) {
            out += "    ";
            out += line.strip_prefix("    ").unwrap_or(line);
            out.push('\n');
        } else if line.trim().is_empty() {
            block.end(&mut out, bold);
            if !out.is_empty() && !out.ends_with("\n\n") {
                out.push('\n');
            }
        } else if let Some(heading) = line.strip_prefix("## ").or_else(|| line.strip_prefix("# ")) {
            block.end(&mut out, bold);
            Block { first: "", rest: "", words: format!("**{heading}**") }.end(&mut out, bold);
        } else if let Some(item) = line.strip_prefix("- ") {
            block.end(&mut out, bold);
            block = Block { first: "- ", rest: "  ", words: item.into() };
        } else {
            block.words.push(' ');
            block.words += line.trim();
        }
    }
    block.end(&mut out, bold);
    out
}

/// A paragraph or an item of a list.
#[derive(Default)]
struct Block {
    /// Before the first line.
    first: &'static str,
    /// Before the others.
    rest: &'static str,
    words: String,
}

impl Block {
    fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    fn end(&mut self, out: &mut String, bold: bool) {
        let block = std::mem::take(self);
        if block.is_empty() {
            return;
        }
        let (mut style, mut column) = (Style::default(), 0);
        for word in block.words.split_ascii_whitespace() {
            let (shown, length) = style.apply(word, bold);
            if column == 0 {
                *out += block.first;
                column = block.first.len();
            } else if column + 1 + length > WIDTH {
                out.push('\n');
                *out += block.rest;
                column = block.rest.len();
            } else {
                out.push(' ');
                column += 1;
            }
            *out += &shown;
            column += length;
        }
        out.push('\n');
    }
}

/// What is open at the end of a word.
#[derive(Default)]
struct Style {
    is_bold: bool,
    is_code: bool,
}

impl Style {
    /// The word as it is shown, and how many columns it takes.
    fn apply(&mut self, word: &str, bold: bool) -> (String, usize) {
        let word = word.strip_prefix('_').unwrap_or(word);
        let word = word.strip_suffix("._").map_or_else(|| word.to_owned(), |word| format!("{word}."));
        let (mut shown, mut length) = (String::new(), 0);
        let mut rest = word.as_str();
        while let Some(c) = rest.chars().next() {
            if let Some(after) = rest.strip_prefix("**").filter(|_| !self.is_code) {
                self.is_bold = !self.is_bold;
                if bold {
                    shown += if self.is_bold { "\x1b[1m" } else { "\x1b[0m" };
                }
                rest = after;
                continue;
            }
            rest = &rest[c.len_utf8()..];
            if c == '`' {
                self.is_code = !self.is_code;
                continue;
            }
            shown.push(c);
            length += 1;
        }
        (shown, length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_laid_out_for_a_terminal() {
        let text = "# CLOSE_WAIT\n\nThe **application** is `close(2)`-less.\n\n## How\n\n\
            - one\n  more\n- two\n\n    ss -tn | wc\n\n```\n- code **x**\n```\n";
        assert_eq!(
            render(text, false),
            "CLOSE_WAIT\n\nThe application is close(2)-less.\n\nHow\n\n- one more\n- two\n\n    ss -tn | wc\n\n    - code **x**\n"
        );
        assert!(
            render(text, true).starts_with("\x1b[1mCLOSE_WAIT\x1b[0m\n\nThe \x1b[1mapplication\x1b[0m is")
        );
    }

    #[test]
    fn lines_have_80_columns() {
        let text = format!("- {}\n", "word ".repeat(60));
        let rendered = render(&text, true);
        let lines: Vec<&str> = rendered.lines().collect();
        assert!(lines.iter().all(|line| line.len() <= WIDTH) && lines.len() > 3, "{rendered}");
        assert!(lines[0].starts_with("- word") && lines[1].starts_with("  word"));
        assert_eq!(render(&format!("{}\n", "x".repeat(100)), false), format!("{}\n", "x".repeat(100)));
    }
}
