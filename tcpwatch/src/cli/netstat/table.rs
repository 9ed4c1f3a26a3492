//! Lays a listing out: the first sockets decide how wide the columns are, the rest are written as they come.

use std::io::{self, Write};

use tcpwatch_common::TcpState;

use super::columns::{Column, fit};
use super::line::{self, Beside};
use super::text::spaces;
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

/// How a table looks.
pub(super) struct Layout {
    style: Style,
    columns: Vec<(Column, usize)>,
}

impl Layout {
    /// Lays out by a few of the sockets.
    pub(super) fn new<'b>(
        style: Style,
        sample: &(impl Iterator<Item = (&'b SocketSample, Beside<'b>)> + Clone),
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
        let widths: Vec<(Column, usize)> = style
            .columns
            .iter()
            .map(|(column, _)| (*column, width_of(*column).max(minimum(*column))))
            .collect();
        let of =
            |column: Column| widths.iter().find(|(one, _)| *one == column).map_or(0, |(_, width)| *width);
        let shown = fit(style.columns.clone(), style.width.unwrap_or(usize::MAX / 2), of);
        let columns: Vec<(Column, usize)> = shown.into_iter().map(|column| (column, of(column))).collect();
        Self { style, columns }
    }

    /// Appends the header, if there is to be one.
    pub(super) fn header(&self, out: &mut Vec<u8>) {
        if !self.style.has_header {
            return;
        }
        for (place, (column, width)) in self.columns.iter().enumerate() {
            pad(out, place, self.columns.len(), *width, column.is_right(), column.name().as_bytes());
        }
        out.push(b'\n');
    }

    /// Appends a socket's line.
    pub(super) fn row(&self, out: &mut Vec<u8>, socket: &SocketSample, beside: Beside<'_>) {
        let count = self.columns.len();
        let colour = if self.style.is_coloured { colour(socket.state) } else { "" };
        for (place, (column, width)) in self.columns.iter().enumerate() {
            let is_last = place + 1 == count;
            if place > 0 {
                out.push(b' ');
            }
            let is_coloured = *column == Column::State && !colour.is_empty();
            if is_coloured {
                out.extend_from_slice(colour.as_bytes());
            }
            let cell = out.len();
            line::cell(out, *column, socket, beside);
            let length = if column.is_plain() { out.len() - cell } else { line::width(&out[cell..]) };
            let missing = width.saturating_sub(length);
            if is_coloured {
                out.extend_from_slice(b"\x1b[0m");
            }
            if column.is_right() && missing > 0 {
                // Shift the cell to the right: it is a few bytes.
                let end = out.len();
                spaces(out, missing);
                for place in (cell..end).rev() {
                    out.swap(place, place + missing);
                }
            } else if !is_last {
                spaces(out, missing);
            }
        }
        out.push(b'\n');
    }
}

/// Writes lines.
pub(super) struct Table<'a> {
    out: &'a mut dyn Write,
    layout: Layout,
    block: Vec<u8>,
}

impl<'a> Table<'a> {
    /// Begins with the header.
    pub(super) fn new(out: &'a mut dyn Write, layout: Layout) -> Self {
        let mut block = Vec::with_capacity(BLOCK + 4096);
        layout.header(&mut block);
        Self { out, layout, block }
    }

    /// Writes a socket's line.
    pub(super) fn row(&mut self, socket: &SocketSample, beside: Beside<'_>) -> io::Result<()> {
        self.layout.row(&mut self.block, socket, beside);
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tcpwatch_common::host::Role;

    use super::*;
    use crate::cli::netstat::columns::{Wish, wished};
    use crate::process::{Container, Process};

    fn socket(state: TcpState, local: &str, remote: &str) -> SocketSample {
        let end = |text: &str| text.parse().expect("an address");
        SocketSample::new(4_026_531_833, state, end(local), end(remote))
    }

    fn sockets() -> Vec<SocketSample> {
        let leak = SocketSample {
            age: Some(Duration::from_secs(341)),
            lifetime: Some(Duration::from_hours(30)),
            role: Some(Role::Passive),
            pid: Some(4711),
            uid: Some(33),
            inode: Some(123_456),
            recv_queue: Some(17),
            send_queue: Some(0),
            retransmits: Some(2),
            rtt: Some(Duration::from_micros(420)),
            keepalive: Some(false),
            ..socket(TcpState::CloseWait, "10.0.0.1:8080", "192.168.100.200:51324")
        };
        let v6 = SocketSample { age: Some(Duration::from_millis(12)), ..leak };
        let v6 = SocketSample {
            state: TcpState::Established,
            local: "[2001:db8:1:2:3:4:5:6]:443".parse().expect("an address"),
            remote: "[2001:db8:ffff:eeee:dddd:cccc:bbbb:aaaa]:65535".parse().expect("an address"),
            ..v6
        };
        vec![leak, socket(TcpState::NewSynRecv, "10.0.0.1:8080", "10.9.8.7:1024"), v6]
    }

    fn shown(sockets: &[SocketSample], style: Style) -> String {
        let container =
            Container { runtime: "docker", id: "0123456789abcdef".into(), ..Container::default() };
        let owner = Process {
            command: Some("ng inx\u{1b}".into()),
            container: Some(container),
            ..Process::default()
        };
        let beside = |socket: &SocketSample| Beside {
            owner: Some(&owner).filter(|_| socket.pid.is_some()),
            user: Some("www-data").filter(|_| socket.uid.is_some()),
            netns: None,
        };
        let mut out = Vec::new();
        let layout = Layout::new(style, &sockets.iter().take(2).map(|socket| (socket, beside(socket))));
        let mut table = Table::new(&mut out, layout);
        for socket in sockets {
            table.row(socket, beside(socket)).expect("writes to memory");
        }
        table.flush().expect("writes to memory");
        String::from_utf8(out).expect("UTF-8")
    }

    fn style(width: Option<usize>) -> Style {
        let wish = Wish { extended: true, owners: true, namespaces: true, daemon: true, terminal: true };
        Style { columns: wished(wish), width, has_header: true, is_coloured: false }
    }

    #[test]
    fn tables_look_as_they_should() {
        for (width, expected) in [
            (80, include_str!("snapshots/80.txt")),
            (132, include_str!("snapshots/132.txt")),
            (200, include_str!("snapshots/200.txt")),
        ] {
            let shown = shown(&sockets(), style(Some(width)));
            assert_eq!(shown, expected, "{width}:\n{shown}");
            // The last is longer than what the first two promised, and is not cut.
            for line in shown.lines().take(3) {
                assert!(line.chars().count() <= width, "{line}");
            }
            assert!(shown.contains("[2001:db8:ffff:eeee:dddd:cccc:bbbb:aaaa]:65535"), "{shown}");
        }
    }

    #[test]
    fn only_states_have_colours_and_widths_do_not_count_them() {
        let plain = shown(&sockets(), style(Some(132)));
        let coloured = shown(&sockets(), Style { is_coloured: true, ..style(Some(132)) });
        assert!(coloured.contains("\x1b[33mclose_wait\x1b[0m"), "{coloured:?}");
        let mut without = coloured.clone();
        for colour in ["\x1b[33m", "\x1b[36m", "\x1b[0m"] {
            without = without.replace(colour, "");
        }
        assert_eq!(without, plain);
        let bare = shown(&sockets()[..1], Style { has_header: false, ..style(None) });
        assert_eq!(bare.lines().count(), 1, "{bare}");
    }
}
