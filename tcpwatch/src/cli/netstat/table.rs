//! Lays a listing out: the first sockets decide how wide the columns are, the rest are written as they come.

use std::io::{self, Write};

use tcpwatch_common::TcpState;

use super::columns::{Column, fit};
use super::line::{self, Beside};
use crate::sample::SocketSample;

/// Sockets that are looked at before the first line is written.
pub(super) const SAMPLE: usize = 256;

/// Bytes that are written at once.
const BLOCK: usize = 256 * 1024;

/// How a table is to look.
#[derive(Clone, Debug)]
pub(super) struct Style {
    /// Each with its rank, see [`fit`].
    pub(super) columns: Vec<(Column, u8)>,
    /// `None` if nobody looks at it.
    pub(super) width: Option<usize>,
    pub(super) has_header: bool,
    pub(super) is_coloured: bool,
}

/// Writes lines.
pub(super) struct Table<'a> {
    out: &'a mut dyn Write,
    style: Style,
    columns: Vec<(Column, usize)>,
    block: Vec<u8>,
    spare: Vec<u8>,
}

impl<'a> Table<'a> {
    /// Lays out by a few of the sockets, and writes the header.
    pub(super) fn new<'b>(
        out: &'a mut dyn Write,
        style: Style,
        sample: impl Iterator<Item = (&'b SocketSample, Beside<'b>)> + Clone,
    ) -> Self {
        let mut spare = Vec::new();
        let mut width_of = |column: Column| {
            let cells = sample.clone().map(|(socket, beside)| {
                spare.clear();
                line::cell(&mut spare, column, socket, beside);
                line::width(&spare)
            });
            cells.max().unwrap_or(0).max(column.name().len())
        };
        let widths: Vec<(Column, usize)> =
            style.columns.iter().map(|(column, _)| (*column, width_of(*column).max(minimum(*column)))).collect();
        let of = |column: Column| widths.iter().find(|(one, _)| *one == column).map_or(0, |(_, width)| *width);
        let shown = fit(style.columns.clone(), style.width.unwrap_or(usize::MAX / 2), of);
        let columns: Vec<(Column, usize)> = shown.into_iter().map(|column| (column, of(column))).collect();
        let mut table = Self { out, style, columns, block: Vec::with_capacity(BLOCK + 4096), spare };
        if table.style.has_header {
            table.header();
        }
        table
    }

    fn header(&mut self) {
        for (place, (column, width)) in self.columns.iter().enumerate() {
            pad(&mut self.block, place, self.columns.len(), *width, column.is_right(), column.name().as_bytes());
        }
        self.block.push(b'\n');
    }

    /// Writes a socket's line.
    pub(super) fn row(&mut self, socket: &SocketSample, beside: Beside<'_>) -> io::Result<()> {
        let count = self.columns.len();
        let colour = if self.style.is_coloured { colour(socket.state) } else { "" };
        for (place, (column, width)) in self.columns.iter().enumerate() {
            let is_last = place + 1 == count;
            let start = self.block.len();
            if place > 0 {
                self.block.push(b' ');
            }
            let is_coloured = *column == Column::State && !colour.is_empty();
            if is_coloured {
                self.block.extend_from_slice(colour.as_bytes());
            }
            let cell = self.block.len();
            line::cell(&mut self.block, *column, socket, beside);
            let length = line::width(&self.block[cell..]);
            let missing = width.saturating_sub(length);
            if is_coloured {
                self.block.extend_from_slice(b"\x1b[0m");
            }
            if column.is_right() && missing > 0 {
                // Shift the cell to the right: it is a few bytes.
                self.spare.clear();
                self.spare.extend_from_slice(&self.block[cell..]);
                self.block.truncate(cell);
                spaces(&mut self.block, missing);
                self.block.extend_from_slice(&self.spare);
            } else if !is_last {
                spaces(&mut self.block, missing);
            }
            debug_assert!(self.block.len() > start || place == 0);
        }
        self.block.push(b'\n');
        if self.block.len() >= BLOCK { self.flush() } else { Ok(()) }
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.write_all(&self.block)?;
        self.block.clear();
        self.out.flush()
    }
}

fn pad(out: &mut Vec<u8>, place: usize, count: usize, width: usize, is_right: bool, cell: &[u8]) {
    if place > 0 {
        out.push(b' ');
    }
    let missing = width.saturating_sub(line::width(cell));
    if is_right {
        spaces(out, missing);
    }
    out.extend_from_slice(cell);
    if !is_right && place + 1 < count {
        spaces(out, missing);
    }
}

fn spaces(out: &mut Vec<u8>, count: usize) {
    const SPACES: [u8; 64] = [b' '; 64];
    let mut left = count;
    while left > 0 {
        let now = left.min(SPACES.len());
        out.extend_from_slice(&SPACES[..now]);
        left -= now;
    }
}

/// What later sockets will need, too: the longest state, and more digits.
fn minimum(column: Column) -> usize {
    match column {
        Column::State => 11,
        Column::Age | Column::Rtt => 6,
        _ => 0,
    }
}

/// States that end well are left alone; those that wait for somebody are not.
const fn colour(state: TcpState) -> &'static str {
    match state {
        TcpState::CloseWait | TcpState::LastAck | TcpState::Closing | TcpState::FinWait1 => "\x1b[33m",
        TcpState::SynSent | TcpState::SynRecv | TcpState::NewSynRecv => "\x1b[36m",
        TcpState::TimeWait | TcpState::FinWait2 | TcpState::Close => "\x1b[2m",
        TcpState::Listen => "\x1b[34m",
        _ => "",
    }
}
