//! The listing: who tells of the sockets, which of them are shown, and how.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::net::IpAddr;
use std::ops::ControlFlow;

use anyhow::Result;

use super::columns::{Column, wished};
use super::json::{End, Json};
use super::line::Beside;
use super::order::First;
use super::owners::Owners;
use super::plain;
use super::table::{Layout, SAMPLE, Style, Table};
use super::teller::Teller;
use super::{Asked, Output, names};
use crate::filter::{Filter, SocketFacts};
use crate::sample::SocketSample;

/// How many sockets a listing met.
#[derive(Clone, Debug, Default)]
pub(super) struct Met {
    /// Those that match.
    pub(super) total: u64,
    /// Those that were shown.
    pub(super) shown: u64,
    /// Remote addresses of those, if their names are wanted.
    pub(super) remotes: BTreeSet<IpAddr>,
    pub(super) problems: Vec<String>,
}

impl Met {
    fn show(&mut self, asked: &Asked, socket: &SocketSample) {
        self.shown += 1;
        if asked.resolves && socket.remote.port() != 0 && self.remotes.len() < names::MOST {
            self.remotes.insert(socket.remote.ip());
        }
    }
}

/// Meets all sockets once, and hands on those that match.
pub(super) struct Sieve<'a> {
    pub(super) filter: &'a Filter,
    /// `-4` or `-6`.
    pub(super) family: Option<bool>,
    pub(super) owners: &'a mut Owners,
    /// Owners are shown, or decide.
    pub(super) needs_owner: bool,
}

impl Sieve<'_> {
    /// What matches, with its owner; the sockets of a listing pass here one after the other.
    pub(super) fn pass(&mut self, socket: &SocketSample) -> Option<SocketSample> {
        if self.family.is_some_and(|is_v6| is_v6 != socket.is_v6) {
            return None;
        }
        let mut socket = *socket;
        if self.needs_owner {
            self.owners.complete(&mut socket);
        }
        let facts = SocketFacts::new(&socket, self.owners.of(&socket), self.owners.user(&socket));
        self.filter.matches(&facts).then_some(socket)
    }
}

/// Shows the sockets that are asked for.
pub(super) fn list(
    asked: &Asked,
    teller: &mut Teller,
    owners: &mut Owners,
    out: &mut dyn Write,
) -> Result<Met> {
    let wish = asked.wish(teller);
    let columns: Vec<(Column, u8)> = match &asked.columns {
        Some(columns) => columns.iter().map(|column| (*column, 0)).collect(),
        None => wished(wish),
    };
    let is_json = asked.output != Output::Table;
    let style = Style {
        columns,
        width: asked.columns.is_none().then_some(asked.width).flatten(),
        has_header: asked.has_header,
        is_coloured: asked.is_coloured,
    };
    if asked.is_plain(teller) {
        return plain::plain(asked, style, teller, out);
    }
    let needs_owner = asked.needs_owner(teller);
    let mut problems = Vec::new();
    owners.begin();
    if asked.looks_for_owners() && !teller.knows_owners() {
        problems.extend(owners.look());
    }
    let called = teller.names();
    let mut met = Met { problems, ..Met::default() };
    let mut sink = if is_json {
        Sink::Json(Json::new(out, asked.output == Output::JsonLines)?)
    } else {
        Sink::Waiting { out: Some(out), style, first: Vec::with_capacity(SAMPLE) }
    };
    let mut failed: io::Result<()> = Ok(());
    // Owners decide what matches, and are shown of what is written: both by turns.
    let mut sieve = Sieve { filter: &asked.filter, family: asked.family, owners, needs_owner };
    let mut first = asked.order.map(|order| First::new(order, asked.limit));
    let problems = teller.walk(asked, &mut |socket| {
        let Some(socket) = sieve.pass(socket) else { return ControlFlow::Continue(()) };
        met.total += 1;
        if let Some(first) = &mut first {
            first.add(&socket, beside(sieve.owners, &called, &socket));
            return ControlFlow::Continue(());
        }
        // The rest are counted.
        if met.shown < asked.limit as u64 {
            met.show(asked, &socket);
            failed = sink.show(&socket, sieve.owners, &called);
        }
        if failed.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    failed?;
    met.problems.extend(problems);
    for socket in first.map(First::into_sorted).unwrap_or_default() {
        met.show(asked, &socket);
        sink.show(&socket, sieve.owners, &called)?;
    }
    sink.end(sieve.owners, &called, &met)?;
    Ok(met)
}

/// What namespaces are called, by their numbers.
pub(super) type Names = std::collections::BTreeMap<u64, String>;

fn beside<'a>(owners: &'a Owners, names: &'a Names, socket: &SocketSample) -> Beside<'a> {
    Beside {
        owner: owners.of(socket),
        user: owners.user(socket),
        netns: names.get(&socket.netns).map(String::as_str),
    }
}

/// Where sockets go to.
enum Sink<'a> {
    /// The first few decide how the table looks.
    Waiting {
        out: Option<&'a mut dyn Write>,
        style: Style,
        first: Vec<SocketSample>,
    },
    Table(Table<'a>),
    Json(Json<'a>),
}

impl Sink<'_> {
    fn show(&mut self, socket: &SocketSample, owners: &Owners, names: &Names) -> io::Result<()> {
        match self {
            Self::Json(json) => json.row(socket, beside(owners, names, socket)),
            Self::Table(table) => table.row(socket, beside(owners, names, socket)),
            Self::Waiting { first, .. } => {
                first.push(*socket);
                if first.len() >= SAMPLE { self.lay_out(owners, names) } else { Ok(()) }
            }
        }
    }

    fn lay_out(&mut self, owners: &Owners, names: &Names) -> io::Result<()> {
        let Self::Waiting { out, style, first } = self else { return Ok(()) };
        let Some(out) = out.take() else { return Ok(()) };
        let sample = first.iter().map(|socket| (socket, beside(owners, names, socket)));
        let mut table = Table::new(out, Layout::new(style.clone(), &sample));
        for socket in &*first {
            table.row(socket, beside(owners, names, socket))?;
        }
        *self = Self::Table(table);
        Ok(())
    }

    fn end(&mut self, owners: &Owners, names: &Names, met: &Met) -> io::Result<()> {
        self.lay_out(owners, names)?;
        match self {
            Self::Table(table) => table.flush(),
            Self::Json(json) => json.end(&End { total: met.total, problems: &met.problems }),
            Self::Waiting { .. } => Ok(()),
        }
    }
}
