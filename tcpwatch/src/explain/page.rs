//! One page: its header, its parts, and the Markdown they make together.
//!
//! A file holds one page or several. Each begins with a header between two lines of `---`:
//!
//! ```text
//! ---
//! name: close_wait            the topic; for a transition `from->to`
//! title: CLOSE_WAIT
//! also: CLOSE-WAIT, ...       other names that lead here
//! section: States
//! related: last_ack, ...
//! live: none                  only where a host has nothing to show
//! ---
//! ```
//!
//! The text before the first `## ` is the opening. A file can have a template, whose parts stand where a page has none
//! of its own; in it `%name%` and the like stand for what is in the header.

use std::fmt::Write as _;

use tcpwatch_common::{TcpState, judge};

use super::names;

/// The parts of a page, in their order.
pub const PARTS: [&str; 5] = [HOW, LIVE, VERIFY, DO, DO_NOT];
pub const HOW: &str = "How Linux does it";
pub const LIVE: &str = "On this host now";
pub const VERIFY: &str = "How to verify";
pub const DO: &str = "What to do";
pub const DO_NOT: &str = "What not to do";

/// One topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    pub topic: String,
    pub title: String,
    /// Other names that lead here.
    pub also: Vec<String>,
    pub section: String,
    /// Topics to read next.
    pub related: Vec<String>,
    /// A host has something to show.
    pub is_live: bool,
    pub opening: String,
    /// Heading and text.
    pub parts: Vec<(String, String)>,
    /// It is a transition's page.
    pub pair: Option<(TcpState, TcpState)>,
    /// Some of its parts come from a template.
    pub is_short: bool,
}

impl Page {
    /// The text of a part.
    pub fn part(&self, heading: &str) -> Option<&str> {
        self.parts.iter().find(|(own, _)| own == heading).map(|(_, text)| text.as_str())
    }

    /// The whole page, its values not filled in.
    pub fn markdown(&self) -> String {
        let mut text = format!("# {}\n\n{}\n", self.title, self.opening);
        for (heading, part) in &self.parts {
            // Writing to a string cannot fail.
            let _ = write!(text, "\n## {heading}\n\n{part}\n");
        }
        if !self.related.is_empty() {
            let topics: Vec<String> = self.related.iter().map(|topic| format!("`{topic}`")).collect();
            let _ = write!(text, "\nSee also: {}\n", topics.join(", "));
        }
        text
    }
}

/// The pages of one file; the error says what is wrong and where.
pub fn parse(file: &str, text: &str, template: Option<&str>) -> Result<Vec<Page>, String> {
    let mut pages = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line.trim().is_empty() {
            continue;
        }
        if line != "---" {
            return Err(format!("{file}: a page begins with ---, not {line:?}"));
        }
        let header: Vec<&str> = lines.by_ref().take_while(|line| *line != "---").collect();
        let mut body = String::new();
        while let Some(line) = lines.next_if(|line| *line != "---") {
            body.push_str(line);
            body.push('\n');
        }
        pages.push(page(file, &header, &body, template)?);
    }
    if pages.is_empty() { Err(format!("{file}: no page in it")) } else { Ok(pages) }
}

fn page(file: &str, header: &[&str], body: &str, template: Option<&str>) -> Result<Page, String> {
    let mut page = Page {
        topic: String::new(),
        title: String::new(),
        also: Vec::new(),
        section: String::new(),
        related: Vec::new(),
        is_live: true,
        opening: String::new(),
        parts: Vec::new(),
        pair: None,
        is_short: template.is_some(),
    };
    for line in header {
        let (key, value) = line.split_once(':').ok_or_else(|| format!("{file}: {line:?} is no header"))?;
        let value = value.trim();
        let list = || value.split(',').map(|item| item.trim().to_owned()).collect();
        match key {
            "name" => value.clone_into(&mut page.topic),
            "title" => value.clone_into(&mut page.title),
            "section" => value.clone_into(&mut page.section),
            "also" => page.also = list(),
            "related" => page.related = list(),
            "live" => page.is_live = value != "none",
            _ => return Err(format!("{file}: {key:?} is no header that a page has")),
        }
    }
    if page.topic.is_empty() || page.section.is_empty() {
        return Err(format!("{file}: a page has neither name nor section in {header:?}"));
    }
    page.pair = names::pair(&page.topic);
    if page.title.is_empty() {
        page.title = match page.pair {
            Some((from, to)) => format!("{} to {}", upper(from), upper(to)),
            None => page.topic.clone(),
        };
    }
    let (opening, own) = split(body);
    page.opening = opening;
    let template = template.map(|text| split(&replace(text, &page)).1).unwrap_or_default();
    let unknown = own.iter().chain(&template).find(|(heading, _)| !PARTS.contains(&heading.as_str()));
    if let Some((heading, _)) = unknown {
        return Err(format!("{file}: {:?} has a part {heading:?}, which pages do not have", page.topic));
    }
    for part in PARTS {
        let find = |parts: &[(String, String)]| parts.iter().find(|(heading, _)| heading == part).cloned();
        page.parts.extend(find(&own).or_else(|| find(&template)));
    }
    Ok(page)
}

/// The text before the first heading, and what is below each.
fn split(body: &str) -> (String, Vec<(String, String)>) {
    let mut opening = String::new();
    let mut parts: Vec<(String, String)> = Vec::new();
    for line in body.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            parts.push((heading.trim().to_owned(), String::new()));
            continue;
        }
        let text = parts.last_mut().map_or(&mut opening, |(_, text)| text);
        text.push_str(line);
        text.push('\n');
    }
    for (_, text) in &mut parts {
        *text = text.trim_matches('\n').to_owned();
    }
    (opening.trim().to_owned(), parts)
}

/// What templates can say of a page.
fn replace(template: &str, page: &Page) -> String {
    let column = page.topic.strip_prefix("sockstat_").unwrap_or(&page.topic);
    let text = template.replace("%name%", &page.topic).replace("%column%", column);
    let Some((from, to)) = page.pair else { return text };
    let judgement = judge(from, to);
    text.replace("%from%", from.name())
        .replace("%to%", to.name())
        .replace("%verdict%", judgement.verdict.name())
        .replace("%reason%", judgement.reason)
}

fn upper(state: TcpState) -> String {
    state.name().to_uppercase()
}

/// A page that several illegal transitions share, with the one that was asked for.
pub fn with_pair(text: &str, (from, to): (TcpState, TcpState)) -> String {
    let reason = judge(from, to).reason;
    let said = format!(
        "**{} to {}** is illegal: {reason}. It happened {{transitions {} {}}} here.",
        upper(from),
        upper(to),
        from.name(),
        to.name()
    );
    match text.split_once("\n\n") {
        Some((title, rest)) => format!("{title}\n\n{said}\n\n{rest}"),
        None => format!("{text}\n\n{said}\n"),
    }
}
