//! A listing of what the kernel tells fastest, as it comes: the threads that meet the sockets write their lines, too.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::sync::OnceLock;

use anyhow::Result;

use super::Asked;
use super::line::Beside;
use super::list::{Met, Names};
use super::table::{Layout, SAMPLE, Style};
use super::teller::Teller;
use crate::filter::{Filter, SocketFacts};
use crate::sample::SocketSample;
use crate::source::Make;

/// What one thread has made of some sockets.
#[derive(Default)]
struct Block {
    /// Those that were met before the layout was known.
    waiting: Vec<SocketSample>,
    text: Vec<u8>,
    total: u64,
}

/// Shows all sockets that match.
pub(super) fn plain(asked: &Asked, style: Style, teller: &mut Teller, out: &mut dyn Write) -> Result<Met> {
    let called = teller.names();
    let layout = OnceLock::new();
    let is_filtered = asked.filter != Filter::everything();
    let is_wanted = |socket: &SocketSample| {
        asked.family.is_none_or(|is_v6| is_v6 == socket.is_v6)
            && (!is_filtered || asked.filter.matches(&SocketFacts::new(socket, None, None)))
    };
    let one = |block: &mut Block, socket: &SocketSample| {
        if !is_wanted(socket) {
            return;
        }
        block.total += 1;
        match layout.get() {
            Some(layout) => write(layout, &mut block.text, socket, &called),
            None => block.waiting.push(*socket),
        }
    };
    let mut total = 0;
    let mut lines = Lines { out, style, layout: &layout, called: &called, first: Vec::new() };
    let mut failed = Ok(());
    let make = Make { new: &Block::default, one: &one };
    let problems = teller.share(asked, &make, &mut |block| {
        total += block.total;
        failed = lines.take(block);
        *block = Block { text: std::mem::take(&mut block.text), ..Block::default() };
        block.text.clear();
        if failed.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    failed?;
    lines.end()?;
    Ok(Met { total, shown: total, problems, ..Met::default() })
}

/// Where lines go to.
struct Lines<'a> {
    out: &'a mut dyn Write,
    style: Style,
    layout: &'a OnceLock<Layout>,
    called: &'a Names,
    /// The first few sockets, which decide how the table looks.
    first: Vec<SocketSample>,
}

impl Lines<'_> {
    fn take(&mut self, block: &mut Block) -> io::Result<()> {
        self.first.append(&mut block.waiting);
        if self.layout.get().is_some() || self.first.len() >= SAMPLE {
            self.lay_out()?;
        }
        self.out.write_all(&block.text)
    }

    /// Writes those that have waited.
    fn lay_out(&mut self) -> io::Result<()> {
        let mut text = Vec::new();
        let layout = self.layout.get_or_init(|| {
            let beside = |socket: &SocketSample| beside(socket, self.called);
            let sample = self.first.iter().take(SAMPLE).map(|socket| (socket, beside(socket)));
            let layout = Layout::new(self.style.clone(), &sample);
            layout.header(&mut text);
            layout
        });
        for socket in self.first.drain(..) {
            write(layout, &mut text, &socket, self.called);
        }
        self.out.write_all(&text)
    }

    fn end(&mut self) -> io::Result<()> {
        self.lay_out()?;
        self.out.flush()
    }
}

fn write(layout: &Layout, text: &mut Vec<u8>, socket: &SocketSample, called: &Names) {
    layout.row(text, socket, beside(socket, called));
}

/// All that is shown beside what the sample has.
fn beside<'a>(socket: &SocketSample, called: &'a Names) -> Beside<'a> {
    Beside { netns: called.get(&socket.netns).map(String::as_str), ..Beside::default() }
}
