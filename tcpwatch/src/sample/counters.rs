//! The kernel's own TCP counters of one network namespace, as plain data.
//!
//! Only columns that are used are kept. `host` reads them from `/proc`; a column that a kernel lacks is `None`.

/// A struct of named columns that lines of a file are poured into.
pub(crate) trait Columns {
    fn slot(&mut self, column: &str) -> Option<&mut Option<u64>>;
    /// Every kept column under the kernel's name for it.
    fn all(&self) -> impl Iterator<Item = (&'static str, Option<u64>)>;
}

macro_rules! columns {
    ($(#[$meta:meta])* $vis:vis $name:ident { $($field:ident = $column:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        $vis struct $name { $($vis $field: Option<u64>),+ }

        impl Columns for $name {
            fn slot(&mut self, column: &str) -> Option<&mut Option<u64>> {
                match column {
                    $($column => Some(&mut self.$field),)+
                    _ => None,
                }
            }
            fn all(&self) -> impl Iterator<Item = (&'static str, Option<u64>)> {
                [$(($column, self.$field)),+].into_iter()
            }
        }
    };
}

columns! {
    /// The `TcpExt` columns of netstat; `None` is a column this kernel lacks.
    pub TcpExt {
        syncookies_sent = "SyncookiesSent", syncookies_recv = "SyncookiesRecv",
        syncookies_failed = "SyncookiesFailed", embryonic_rsts = "EmbryonicRsts",
        tw = "TW", tw_recycled = "TWRecycled", tw_killed = "TWKilled",
        tw_overflow = "TCPTimeWaitOverflow",
        paws_active = "PAWSActive", paws_estab = "PAWSEstab", paws_old_ack = "PAWSOldAck",
        paws_timewait = "PAWSTimewait", ts_ecr_rejected = "TSEcrRejected",
        beyond_window = "BeyondWindow", delayed_acks = "DelayedACKs",
        listen_overflows = "ListenOverflows", listen_drops = "ListenDrops",
        req_q_full_do_cookies = "TCPReqQFullDoCookies", req_q_full_drop = "TCPReqQFullDrop",
        syn_retrans = "TCPSynRetrans", timeouts = "TCPTimeouts",
        syn_challenge = "TCPSYNChallenge", challenge_ack = "TCPChallengeACK",
        keep_alive = "TCPKeepAlive",
        abort_on_data = "TCPAbortOnData", abort_on_close = "TCPAbortOnClose",
        abort_on_memory = "TCPAbortOnMemory", abort_on_timeout = "TCPAbortOnTimeout",
        abort_on_linger = "TCPAbortOnLinger", abort_failed = "TCPAbortFailed",
        backlog_drop = "TCPBacklogDrop", rcv_q_drop = "TCPRcvQDrop",
        zero_window_drop = "TCPZeroWindowDrop", ofo_queue = "TCPOFOQueue",
        defer_accept_drop = "TCPDeferAcceptDrop", md5_not_found = "TCPMD5NotFound",
        md5_unexpected = "TCPMD5Unexpected", md5_failure = "TCPMD5Failure",
        migrate_req_success = "TCPMigrateReqSuccess",
        migrate_req_failure = "TCPMigrateReqFailure",
    }
}

columns! {
    pub(crate) SnmpColumns {
        active_opens = "ActiveOpens", passive_opens = "PassiveOpens",
        attempt_fails = "AttemptFails", estab_resets = "EstabResets", curr_estab = "CurrEstab",
        in_segs = "InSegs", out_segs = "OutSegs", retrans_segs = "RetransSegs",
        out_rsts = "OutRsts",
    }
}

columns! {
    pub(crate) SockColumns { inuse = "inuse", orphan = "orphan", tw = "tw", alloc = "alloc", mem = "mem" }
}

/// The `Tcp` columns of snmp. All of them are older than any supported kernel,
/// so a missing one is an error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Snmp {
    pub active_opens: u64,
    pub passive_opens: u64,
    pub attempt_fails: u64,
    pub estab_resets: u64,
    pub curr_estab: u64,
    pub in_segs: u64,
    pub out_segs: u64,
    pub retrans_segs: u64,
    pub out_rsts: u64,
}

/// The `TCP` line of sockstat. `inuse` (IPv4 sockets) and `tw` belong to the
/// namespace; `orphan`, `alloc` and `mem` (pages) are those of the whole host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SockStat {
    pub inuse: u64,
    pub orphan: u64,
    pub tw: u64,
    pub alloc: u64,
    pub mem: u64,
}

impl TcpExt {
    /// Every column under the kernel's name for it.
    pub fn columns(&self) -> impl Iterator<Item = (&'static str, Option<u64>)> {
        self.all()
    }
}

impl Snmp {
    /// Every column under the kernel's name for it.
    pub fn columns(&self) -> impl Iterator<Item = (&'static str, Option<u64>)> {
        let Self { active_opens, passive_opens, attempt_fails, estab_resets, curr_estab, .. } = *self;
        let Self { in_segs, out_segs, retrans_segs, out_rsts, .. } = *self;
        let columns = [
            ("ActiveOpens", active_opens),
            ("PassiveOpens", passive_opens),
            ("AttemptFails", attempt_fails),
            ("EstabResets", estab_resets),
            ("CurrEstab", curr_estab),
            ("InSegs", in_segs),
            ("OutSegs", out_segs),
            ("RetransSegs", retrans_segs),
            ("OutRsts", out_rsts),
        ];
        columns.into_iter().map(|(name, value)| (name, Some(value)))
    }
}

impl SockStat {
    /// Every column under the kernel's name for it.
    pub fn columns(&self) -> impl Iterator<Item = (&'static str, Option<u64>)> {
        let Self { inuse, orphan, tw, alloc, mem } = *self;
        let columns = [("inuse", inuse), ("orphan", orphan), ("tw", tw), ("alloc", alloc), ("mem", mem)];
        columns.into_iter().map(|(name, value)| (name, Some(value)))
    }
}

/// All TCP counters of one namespace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NetCounters {
    pub snmp: Snmp,
    pub ext: TcpExt,
    pub sock: SockStat,
    /// 0 where the kernel has no IPv6.
    pub inuse6: u64,
}

impl NetCounters {
    /// Every counter under the kernel's name for it: those of snmp, of netstat and of sockstat.
    pub fn columns(&self) -> impl Iterator<Item = (&'static str, Option<u64>)> {
        self.snmp.columns().chain(self.ext.columns()).chain(self.sock.columns())
    }

    /// Whether the namespace holds no TCP socket at all, `TIME_WAIT` included, so
    /// that a walk of its socket table (milliseconds) would find nothing.
    pub fn no_sockets(&self) -> bool {
        self.sock.inuse == 0 && self.inuse6 == 0 && self.sock.tw == 0
    }
}
