//! What the rules about documents have in common: lines of prose, pieces of code, headings.

/// Lines of prose, counted from one, each with its number.
pub fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        (!is_fence && !in_code).then_some((index + 1, line))
    })
}

/// The pieces of a line of prose that are set as code.
pub fn spans(line: &str) -> impl Iterator<Item = &str> {
    // One that is not closed is none.
    let pieces = line.split('`').count();
    line.split('`').enumerate().filter(move |(at, _)| at % 2 == 1 && at + 1 < pieces).map(|(_, span)| span)
}

/// The names under which the headings of a page can be linked to, as GitHub makes them.
pub fn anchors(text: &str) -> Vec<String> {
    let mut anchors: Vec<String> = Vec::new();
    for (_, line) in prose(text) {
        let heading = line.trim_start_matches('#');
        if heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let anchor = anchor(heading.trim());
        let same = anchors.iter().filter(|other| {
            let more = other.strip_prefix(anchor.as_str());
            more.is_some_and(|more| more.is_empty() || more.strip_prefix('-').is_some_and(is_number))
        });
        let same = same.count();
        anchors.push(if same == 0 { anchor } else { format!("{anchor}-{same}") });
    }
    anchors
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn anchor(heading: &str) -> String {
    // Of a link only its text counts.
    let mut text = heading.to_owned();
    while let Some((before, after)) = text.split_once("](") {
        let after = after.split_once(')').map_or("", |(_, after)| after);
        text = format!("{}{after}", before.replacen('[', "", 1));
    }
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_and_prose_are_told_apart() {
        let text = "a `b` c\n```sh\nd\n```\ne `f` `g` ` h\n";
        assert_eq!(prose(text).collect::<Vec<_>>(), [(1, "a `b` c"), (5, "e `f` `g` ` h")]);
        assert_eq!(spans("a `b` c").collect::<Vec<_>>(), ["b"]);
        assert_eq!(spans("e `f` `g` ` h").collect::<Vec<_>>(), ["f", "g"]);
    }

    #[test]
    fn headings_are_named_as_on_the_web() {
        let text = "# A `b.rs`, and what?\n## Known limits\n#no heading\n## Known limits\n```\n# code\n```\n\
            ### [Link](x.md) here\n";
        assert_eq!(anchors(text), ["a-brs-and-what", "known-limits", "known-limits-1", "link-here"]);
    }
}
