//! Cuts the text of a filter into words, values and signs, each with its place.

use super::error::FilterError;

/// A piece of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// First byte, and the one after the last.
    pub(super) place: (usize, usize),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A word, a value or a keyword, as it stands there.
    Bare(String),
    /// A value in quotes, without them.
    Quoted(String),
    Sign(Sign),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    Open,
    Close,
    Comma,
    And,
    Or,
    Not,
    Equal,
    NotEqual,
    Above,
    AtLeast,
    Below,
    AtMost,
}

/// Longer ones first where one begins another.
const SIGNS: [(&str, Sign); 13] = [
    ("!=", Sign::NotEqual),
    (">=", Sign::AtLeast),
    ("<=", Sign::AtMost),
    ("==", Sign::Equal),
    ("&&", Sign::And),
    ("||", Sign::Or),
    ("=", Sign::Equal),
    (">", Sign::Above),
    ("<", Sign::Below),
    ("!", Sign::Not),
    ("(", Sign::Open),
    (")", Sign::Close),
    (",", Sign::Comma),
];

/// Whether `c` can be part of a value that is not in quotes.
pub(super) fn is_bare(c: char) -> bool {
    !c.is_whitespace() && !c.is_control() && !"=<>!(),&|\"'\\".contains(c)
}

pub(super) fn tokens(text: &str) -> Result<Vec<Token>, FilterError> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let (kind, length) = if let Some((sign, kind)) = SIGNS.iter().find(|(sign, _)| rest.starts_with(sign))
        {
            (Kind::Sign(*kind), sign.len())
        } else if first == '"' || first == '\'' {
            let (value, length) = quoted(rest, first).ok_or_else(|| {
                let problem = "this quote is never closed";
                FilterError::new(
                    text,
                    (at, at + 1),
                    problem,
                    format!("expected another {first} behind the value"),
                )
            })?;
            (Kind::Quoted(value), length)
        } else if is_bare(first) {
            let length = rest.find(|c| !is_bare(c)).unwrap_or(rest.len());
            (Kind::Bare(rest[..length].to_owned()), length)
        } else {
            let problem = format!("{first:?} has no meaning here");
            let place = (at, at + first.len_utf8());
            return Err(FilterError::new(text, place, problem, "put values with such characters in quotes"));
        };
        tokens.push(Token { kind, place: (at, at + length) });
        at += length;
    }
    Ok(tokens)
}

/// The text between two quotes, and how many bytes it takes with them; `\` takes the next character as it is.
fn quoted(rest: &str, quote: char) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => {
                value.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            _ if c == quote => return Some((value, at + c.len_utf8())),
            _ => value.push(c),
        }
    }
    None
}
