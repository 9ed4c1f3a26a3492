//! The knowledge: a page for everything that tcpwatch shows, filled with what this host has now.
//!
//! [`find`] takes what people type, [`render`] fills the page with [`Facts`]. The texts are Markdown files in `pages/`,
//! which anybody can edit: each begins with a small header, and names the values it wants in braces. Pure: no clock,
//! no I/O, nothing that can fail.

mod facts;
mod fill;
mod library;
mod live;
mod names;
mod page;
mod show;
mod timers;

#[cfg(test)]
mod tests;

use tcpwatch_common::TcpState;

pub use facts::{Facts, Moved, Setting, Settings};
pub use fill::Filled;
pub use page::Page;

/// A page that somebody asked for.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    pub page: &'static Page,
    /// The transition that was asked for; several have no page of their own, as no TCP may make them.
    pub pair: Option<(TcpState, TcpState)>,
}

/// There is no such page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    pub asked: String,
    /// Topics with similar names, the most similar first.
    pub suggestions: Vec<&'static str>,
}

/// A page with this host's values in it.
#[derive(Clone, Debug)]
pub struct Explanation {
    pub page: &'static Page,
    /// The whole page.
    pub markdown: String,
    /// Its values, in the order of the text.
    pub values: Vec<Filled>,
}

/// The page for what somebody typed: any case, `-` for `_`, a transition, a counter, a sysctl with its path.
pub fn find(text: &str) -> Result<Found, Unknown> {
    library::get().find(text)
}

/// All pages by section, in the order in which they are listed.
pub fn sections() -> Vec<(&'static str, Vec<&'static Page>)> {
    library::get().sections()
}

/// Every sysctl that some page wants to show, by its full name.
pub fn settings() -> impl Iterator<Item = &'static str> {
    library::get().settings.iter().map(String::as_str)
}

/// Fills a page.
pub fn render(found: Found, facts: &Facts) -> Explanation {
    let mut text = found.page.markdown();
    if let Some(pair) = found.pair.filter(|pair| tcpwatch_common::judge(pair.0, pair.1).cell.is_none()) {
        text = page::with_pair(&text, pair);
    }
    let (markdown, values) = fill::fill(&text, facts);
    Explanation { page: found.page, markdown, values }
}

impl std::error::Error for Unknown {}

impl std::fmt::Display for Unknown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "there is no page about {:?}", self.asked)?;
        match self.suggestions.as_slice() {
            [] => Ok(()),
            [one] => write!(f, "; did you mean {one}?"),
            [most @ .., last] => write!(f, "; did you mean {} or {last}?", most.join(", ")),
        }
    }
}
