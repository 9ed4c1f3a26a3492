//! The columns of a listing: what they are called, how wide they are, and which of them are shown.

use anyhow::{Result, bail};

use super::sets;
use super::usage::Usage;

/// What is told of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    State,
    RecvQueue,
    SendQueue,
    Local,
    Remote,
    Age,
    Owner,
    Role,
    Rtt,
    Retransmits,
    Lifetime,
    Keepalive,
    Container,
    User,
    Netns,
    Pid,
    Process,
    Inode,
    Busy,
    RwndLimited,
    SndbufLimited,
    MinRtt,
    Timeouts,
    Backoff,
    Probes,
    SoftError,
    BytesAcked,
    BytesReceived,
    SegmentsOut,
}

impl Column {
    pub(super) const ALL: [Self; 29] = [
        Self::State,
        Self::RecvQueue,
        Self::SendQueue,
        Self::Local,
        Self::Remote,
        Self::Age,
        Self::Owner,
        Self::Role,
        Self::Rtt,
        Self::Retransmits,
        Self::Lifetime,
        Self::Keepalive,
        Self::Container,
        Self::User,
        Self::Netns,
        Self::Pid,
        Self::Process,
        Self::Inode,
        Self::Busy,
        Self::RwndLimited,
        Self::SndbufLimited,
        Self::MinRtt,
        Self::Timeouts,
        Self::Backoff,
        Self::Probes,
        Self::SoftError,
        Self::BytesAcked,
        Self::BytesReceived,
        Self::SegmentsOut,
    ];

    /// As it stands above the column, and as `--columns` and `--sort` take it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::RecvQueue => "recv-q",
            Self::SendQueue => "send-q",
            Self::Local => "local",
            Self::Remote => "remote",
            Self::Age => "age",
            Self::Owner => "owner",
            Self::Role => "role",
            Self::Rtt => "rtt",
            Self::Retransmits => "retrans",
            Self::Lifetime => "lifetime",
            Self::Keepalive => "keepalive",
            Self::Container => "container",
            Self::User => "user",
            Self::Netns => "netns",
            Self::Pid => "pid",
            Self::Process => "process",
            Self::Inode => "inode",
            Self::Busy => "busy",
            Self::RwndLimited => "rwnd-limited",
            Self::SndbufLimited => "sndbuf-limited",
            Self::MinRtt => "min-rtt",
            Self::Timeouts => "timeouts",
            Self::Backoff => "backoff",
            Self::Probes => "probes",
            Self::SoftError => "soft-error",
            Self::BytesAcked => "bytes-acked",
            Self::BytesReceived => "bytes-received",
            Self::SegmentsOut => "segments-out",
        }
    }

    /// Numbers and times stand at the right.
    pub(super) const fn is_right(self) -> bool {
        matches!(
            self,
            Self::RecvQueue
                | Self::SendQueue
                | Self::Age
                | Self::Rtt
                | Self::Retransmits
                | Self::Lifetime
                | Self::Pid
                | Self::Busy
                | Self::RwndLimited
                | Self::SndbufLimited
                | Self::MinRtt
                | Self::Timeouts
                | Self::Backoff
                | Self::Probes
                | Self::BytesAcked
                | Self::BytesReceived
                | Self::SegmentsOut
        )
    }

    /// Whether each byte of a cell is a character.
    pub(super) const fn is_plain(self) -> bool {
        !matches!(self, Self::Owner | Self::Process | Self::Container | Self::User | Self::Netns)
    }

    /// Whether only the program that tells everything tells it, and not the fast one.
    pub(super) const fn needs_detail(self) -> bool {
        !matches!(
            self,
            Self::State | Self::RecvQueue | Self::SendQueue | Self::Local | Self::Remote | Self::Netns
        )
    }

    /// Whether it takes a look at who has the socket.
    pub(super) const fn needs_owner(self) -> bool {
        matches!(self, Self::Owner | Self::Container | Self::Pid | Self::Process)
    }

    fn parse(text: &str) -> Result<Self> {
        let name = text.trim().to_ascii_lowercase().replace('_', "-");
        let other = match name.as_str() {
            "recv" | "recvq" | "unread" => Some(Self::RecvQueue),
            "send" | "sendq" | "unsent" => Some(Self::SendQueue),
            "peer" | "foreign" => Some(Self::Remote),
            "retransmits" => Some(Self::Retransmits),
            _ => None,
        };
        match other.or_else(|| Self::ALL.into_iter().find(|column| column.name() == name)) {
            Some(column) => Ok(column),
            None => bail!(Usage(format!(
                "there is no column {text:?}; the columns are {}; sets of them are {}",
                Self::ALL.map(Self::name).join(", "),
                sets::names()
            ))),
        }
    }

    /// Columns with commas between them.
    pub(super) fn parse_list(text: &str) -> Result<Vec<Self>> {
        let mut columns = Vec::new();
        for part in text.split(',') {
            let set = sets::find(part);
            let one = if set.is_none() { Some(Self::parse(part)?) } else { None };
            for column in set.into_iter().flatten().copied().chain(one) {
                if !columns.contains(&column) {
                    columns.push(column);
                }
            }
        }
        Ok(columns)
    }

    /// A column to sort by; `-` before it turns the order around.
    pub(super) fn parse_sort(text: &str) -> Result<(Self, bool)> {
        let (name, is_reversed) = text.strip_prefix('-').map_or((text, false), |name| (name, true));
        Ok((Self::parse(name)?, is_reversed))
    }
}

/// What decides which columns are shown, if nobody says which.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each decides for itself")]
pub(super) struct Wish {
    /// `-e`
    pub(super) extended: bool,
    /// `-p`
    pub(super) owners: bool,
    /// Sockets of several network namespaces are shown.
    pub(super) namespaces: bool,
    /// A daemon tells ages and owners.
    pub(super) daemon: bool,
    /// Somebody looks at it, so that all that fits into the width is welcome.
    pub(super) terminal: bool,
}

/// The columns that are wished for, in the order in which they stand, the dispensable ones with a rank: those of the
/// highest rank go first where there is no room.
pub(super) fn wished(wish: Wish) -> Vec<(Column, u8)> {
    let show = |is_shown: bool, column, rank| is_shown.then_some((column, rank));
    let more = wish.extended || wish.terminal;
    let rank = |rank: u8, is_asked: bool| if is_asked { rank.min(3) } else { rank };
    [
        show(wish.namespaces, Column::Netns, 2),
        show(true, Column::State, 0),
        show(wish.daemon && more, Column::Age, 1),
        show(true, Column::RecvQueue, 4),
        show(true, Column::SendQueue, 4),
        show(true, Column::Local, 0),
        show(true, Column::Remote, 0),
        show(wish.owners || (wish.daemon && more), Column::Owner, rank(3, wish.owners)),
        show(wish.daemon && more, Column::Role, 7),
        show(more, Column::Rtt, 6),
        show(more, Column::Retransmits, 5),
        show(wish.daemon && more, Column::Lifetime, 8),
        show(more, Column::Keepalive, 10),
        show(wish.owners && more, Column::Container, 9),
        show(wish.extended, Column::User, 11),
        show(wish.extended, Column::Inode, 12),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Drops what there is no room for: `widths` are those of the columns, each with a space before it but the first.
pub(super) fn fit(
    mut columns: Vec<(Column, u8)>,
    width: usize,
    width_of: impl Fn(Column) -> usize,
) -> Vec<Column> {
    loop {
        let line: usize = columns.iter().map(|(column, _)| width_of(*column) + 1).sum();
        let worst = columns.iter().map(|(_, rank)| *rank).max().unwrap_or(0);
        // One space less than columns.
        if line <= width + 1 || worst == 0 {
            return columns.into_iter().map(|(column, _)| column).collect();
        }
        if let Some(place) = columns.iter().rposition(|(_, rank)| *rank == worst) {
            columns.remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Room for what usually stands in a column.
    const fn usual(column: Column) -> usize {
        match column {
            Column::State | Column::User => 11,
            Column::RecvQueue | Column::SendQueue | Column::Age | Column::Rtt => 6,
            Column::Local | Column::Remote | Column::Process => 15,
            Column::Owner => 16,
            Column::Role
            | Column::Retransmits
            | Column::Pid
            | Column::Busy
            | Column::MinRtt
            | Column::Backoff
            | Column::Probes => 7,
            Column::Lifetime | Column::Timeouts => 8,
            Column::Keepalive => 9,
            Column::Netns | Column::Inode => 10,
            Column::Container
            | Column::BytesAcked
            | Column::SoftError
            | Column::RwndLimited
            | Column::SegmentsOut => 12,
            Column::BytesReceived | Column::SndbufLimited => 14,
        }
    }

    #[test]
    fn columns_have_names_of_their_own_and_others() {
        for column in Column::ALL {
            assert_eq!(Column::parse(column.name()).expect("its own name"), column);
            assert!(column.name().len() <= usual(column), "{column:?}");
        }
        assert_eq!(
            Column::parse_list("Local,peer,RECV_Q,local").expect("columns"),
            [Column::Local, Column::Remote, Column::RecvQueue]
        );
        let error = Column::parse_list("local,bytes").expect_err("no column").to_string();
        assert!(error.contains("\"bytes\"") && error.contains("keepalive"), "{error}");
        assert_eq!(Column::parse_sort("-age").expect("a column"), (Column::Age, true));
    }

    #[test]
    fn what_identifies_a_socket_is_never_dropped() {
        let all = Wish { extended: true, owners: true, namespaces: true, daemon: true, terminal: true };
        for width in [0, 10, 40, 80, 132, 200, 1000] {
            let shown = fit(wished(all), width, usual);
            for column in [Column::State, Column::Local, Column::Remote] {
                assert!(shown.contains(&column), "{width}: {shown:?}");
            }
            let line: usize = shown.iter().map(|column| usual(*column) + 1).sum();
            assert!(line <= width + 1 || shown.len() == 3, "{width}: {shown:?}");
        }
        assert_eq!(fit(wished(all), 1000, usual).len(), 16);
    }

    #[test]
    fn a_pipe_gets_what_is_told_fastest() {
        let plain = fit(wished(Wish { daemon: true, ..Wish::default() }), usize::MAX - 1, usual);
        assert!(plain.iter().all(|column| !column.needs_detail() && !column.needs_owner()), "{plain:?}");
        assert!(plain.contains(&Column::RecvQueue));
    }
}
