//! What is asked for on the command line, checked and put together.

use std::env;
use std::io::{self, IsTerminal as _};

use anyhow::Result;

use super::columns::{Column, Wish, wished};
use super::namespace::Wanted;
use super::order::Order;
use super::teller::Teller;
use super::{By, NetstatArgs};
use crate::cli::Outcome;
use crate::filter::{Filter, FilterError, Word};
use crate::host::terminal;

/// Sockets that are kept to be sorted, if nobody says how many.
const SORTED: usize = 10_000;

/// A filter that makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(in crate::cli) struct WrongFilter(FilterError);

/// How sockets are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    Table,
    Json,
    JsonLines,
}

/// What is asked for.
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
pub(super) struct Asked {
    pub(super) filter: Filter,
    /// Somebody wrote a filter, not only flags.
    pub(super) is_filtered: bool,
    /// Whether IPv6 sockets are wanted, if only one kind is.
    pub(super) family: Option<bool>,
    pub(super) netns: Wanted,
    pub(super) columns: Option<Vec<Column>>,
    pub(super) order: Option<Order>,
    pub(super) limit: usize,
    pub(super) output: Output,
    /// Of the terminal, if it is one.
    pub(super) width: Option<usize>,
    pub(super) has_header: bool,
    pub(super) is_coloured: bool,
    pub(super) resolves: bool,
    /// Queues of listeners are shown.
    is_listening: bool,
    by: Option<By>,
    extended: bool,
    owners: bool,
}

impl Asked {
    pub(super) fn new(args: &NetstatArgs, words: &[String]) -> Result<Self> {
        let written = words.join(" ");
        let texts = [Some(written.as_str()).filter(|text| !text.trim().is_empty()), args.filter.as_deref()];
        let mut filter = Filter::everything();
        for text in texts.into_iter().flatten() {
            filter = filter.and(Filter::parse(text).map_err(WrongFilter)?);
        }
        let is_filtered = texts.iter().flatten().next().is_some();
        if args.listening {
            filter = filter.and(fixed("state=listen")?);
        } else if !args.all && !args.statistics && !filter.asks_for(Word::State) {
            filter = filter.and(fixed("not state=listen")?);
        }
        let order = args.sort.as_deref().map(Column::parse_sort).transpose()?;
        let order = order.map(|(column, is_reversed)| Order { column, is_reversed });
        let is_terminal = io::stdout().is_terminal();
        Ok(Self {
            filter,
            is_filtered,
            family: (args.ipv4 || args.ipv6).then_some(args.ipv6),
            netns: Wanted(args.netns.clone()),
            columns: args.columns.as_deref().map(Column::parse_list).transpose()?,
            order,
            limit: args.limit.unwrap_or(if order.is_some() { SORTED } else { usize::MAX }),
            output: match (args.json, args.json_lines) {
                (true, _) => Output::Json,
                (_, true) => Output::JsonLines,
                _ => Output::Table,
            },
            width: is_terminal.then(terminal_width),
            has_header: !args.no_header,
            is_coloured: is_terminal && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
            resolves: args.resolve,
            is_listening: args.listening,
            by: args.by,
            extended: args.extended,
            owners: args.processes,
        })
    }

    /// What decides the columns.
    pub(super) fn wish(&self, teller: &Teller) -> Wish {
        Wish {
            namespaces: teller.tells_several(),
            terminal: self.width.is_some() && teller.knows_details(),
            ..self.wish_of(teller.knows_ages())
        }
    }

    fn wish_of(&self, daemon: bool) -> Wish {
        Wish {
            extended: self.extended,
            owners: self.owners,
            namespaces: true,
            daemon,
            terminal: self.width.is_some(),
        }
    }

    fn has_column(&self, daemon: bool, is_it: impl Fn(Column) -> bool) -> bool {
        let sorted = self.order.is_some_and(|order| is_it(order.column));
        sorted
            || match &self.columns {
                _ if self.output != Output::Table => true,
                Some(columns) => columns.iter().any(|column| is_it(*column)),
                None => wished(self.wish_of(daemon)).iter().any(|(column, _)| is_it(*column)),
            }
    }

    /// Whether more is asked for than a brief listing tells.
    pub(super) fn needs_detail(&self, daemon: bool) -> bool {
        self.looks_for_owners()
            || self.is_listening
            || self.by == Some(By::User)
            || Word::ALL.iter().any(|word| word.needs_detail() && self.filter.asks_for(*word))
            || self.has_column(daemon, Column::needs_detail)
    }

    /// Whether nothing is asked for but the sockets that match, in brief and as they come.
    pub(super) fn is_plain(&self, teller: &Teller) -> bool {
        self.output == Output::Table
            && self.order.is_none()
            && self.limit == usize::MAX
            && !self.resolves
            && teller.is_fast()
            && !self.needs_detail(teller.knows_ages())
    }

    /// Whether owners are shown, or decide.
    pub(super) fn needs_owner(&self, teller: &Teller) -> bool {
        self.looks_for_owners() || self.has_column(teller.knows_ages(), Column::needs_owner)
    }

    /// Whether owners that nobody remembers are worth a look at the descriptors of all processes.
    pub(super) fn looks_for_owners(&self) -> bool {
        let is_column = |columns: &Vec<Column>| columns.iter().any(|column| column.needs_owner());
        self.owners
            || matches!(self.by, Some(By::Process | By::Container))
            || self.filter.needs_owner()
            || self.columns.as_ref().is_some_and(is_column)
            || self.order.is_some_and(|order| order.column.needs_owner())
    }

    /// Somebody who asks for certain sockets wants to know whether there are any.
    pub(super) fn outcome(&self, total: u64) -> Outcome {
        if self.is_filtered && total == 0 { Outcome::Findings } else { Outcome::Fine }
    }
}

fn fixed(text: &str) -> Result<Filter> {
    Ok(Filter::parse(text).map_err(WrongFilter)?)
}

/// The terminal's own word, or `COLUMNS`.
fn terminal_width() -> usize {
    let set = || env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    terminal::width().or_else(set).unwrap_or(80)
}
