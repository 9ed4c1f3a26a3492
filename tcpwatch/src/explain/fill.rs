//! Puts values where a text names them: `{count close_wait}`. `{{` and `}}` are braces.

use super::facts::Facts;
use super::live;

/// Sysctls that computed values need, beside those that pages show.
pub const REQUIRED: [&str; 13] = [
    "net.ipv4.tcp_syn_retries",
    "net.ipv4.tcp_syn_linear_timeouts",
    "net.ipv4.tcp_synack_retries",
    "net.ipv4.tcp_retries2",
    "net.ipv4.tcp_orphan_retries",
    "net.ipv4.tcp_rto_max_ms",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_mem",
    "net.ipv4.tcp_max_orphans",
    "net.ipv4.tcp_max_tw_buckets",
    "net.ipv4.ip_local_port_range",
];

/// A value that was put into a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filled {
    /// As the page names it, without the braces.
    pub placeholder: String,
    pub text: String,
    /// Whether it is a value, and not the reason why there is none.
    pub is_known: bool,
}

/// A piece of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    Text(&'a str),
    Placeholder(&'a str),
}

/// The text with values, and the values.
pub fn fill(text: &str, facts: &Facts) -> (String, Vec<Filled>) {
    let mut out = String::new();
    let mut values: Vec<Filled> = Vec::new();
    for piece in pieces(text) {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Placeholder(placeholder) => {
                let filled = value(placeholder, facts);
                if let Some(label) = label(placeholder) {
                    out.push_str(&label);
                    out.push_str(if filled.is_known { ":\n\n" } else { ": " });
                }
                out.push_str(&filled.text);
                if !values.contains(&filled) {
                    values.push(filled);
                }
            }
        }
    }
    (out, values)
}

/// Sysctls that a text shows.
pub fn settings(text: &str) -> Vec<String> {
    let name = |piece| match piece {
        Piece::Placeholder(text) => text.strip_prefix("sysctl ").map(|name| name.trim().to_owned()),
        Piece::Text(_) => None,
    };
    pieces(text).into_iter().filter_map(name).collect()
}

/// The name of a placeholder, and what it is of.
fn words(placeholder: &str) -> (&str, Vec<&str>) {
    let mut words = placeholder.split_ascii_whitespace();
    (words.next().unwrap_or_default(), words.collect())
}

fn label(placeholder: &str) -> Option<String> {
    let (name, args) = words(placeholder);
    live::label(name, &args)
}

fn value(placeholder: &str, facts: &Facts) -> Filled {
    let (name, args) = words(placeholder);
    let (text, is_known) = match live::value(name, &args, facts) {
        Some(live::Value::Known(text)) => (text, true),
        Some(live::Value::List(lines)) => {
            (lines.iter().map(|line| format!("- {line}")).collect::<Vec<_>>().join("\n"), true)
        }
        Some(live::Value::Unknown(why)) => (format!("unknown here ({why})"), false),
        // A test sees to it that no page says this.
        None => ("unknown here (the page asks for something that is no value)".into(), false),
    };
    Filled { placeholder: placeholder.to_owned(), text, is_known }
}

/// Takes a text apart.
pub fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, brace) = rest.split_at(at);
        pieces.push(Piece::Text(before));
        let doubled = brace.starts_with("{{") || brace.starts_with("}}");
        let end = brace.find('}').filter(|_| !doubled && brace.starts_with('{'));
        rest = if let Some(end) = end {
            pieces.push(Piece::Placeholder(&brace[1..end]));
            &brace[end + 1..]
        } else {
            pieces.push(Piece::Text(&brace[..1]));
            &brace[if doubled { 2 } else { 1 }..]
        };
    }
    pieces.push(Piece::Text(rest));
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_are_values_unless_doubled() {
        let of = |text| {
            let pieces = pieces(text).into_iter().filter(|piece| *piece != Piece::Text(""));
            pieces.collect::<Vec<_>>()
        };
        assert_eq!(of("a {b c} d"), [Piece::Text("a "), Piece::Placeholder("b c"), Piece::Text(" d")]);
        let (text, values) = fill("awk '/^tcp/{{++S[$NF]}}END{{x}}'", &Facts::default());
        assert_eq!((text.as_str(), values.len()), ("awk '/^tcp/{++S[$NF]}END{x}'", 0));
        assert_eq!(of("{"), [Piece::Text("{")], "no end");
        assert_eq!(of("}"), [Piece::Text("}")]);
    }

    #[test]
    fn what_is_no_value_is_not_shown_as_one() {
        let (text, values) = fill("{nonsense}", &Facts::default());
        assert!(text.starts_with("unknown here (") && !values[0].is_known, "{text}");
    }
}
