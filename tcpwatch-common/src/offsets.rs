//! The kernel fields that the programs read, by name.
//!
//! rustc emits no CO-RE relocations, so no offset is ever written down: the loader looks each field up in the
//! running kernel's BTF and passes the offsets as one frozen read-only global. The verifier sees constants, and
//! code for a field that this kernel lacks ([`ABSENT`]) is pruned.

/// The offset of a field that this kernel does not have.
pub const ABSENT: u16 = u16::MAX;

/// A field of a kernel structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Field {
    Family,
    LocalPort,
    RemotePort,
    LocalV4,
    RemoteV4,
    LocalV6,
    RemoteV6,
    Net,
    State,
    Flags,
    Protocol,
    Error,
    Socket,
    LockOwned,
    SourcePort,
    Srtt,
    SegmentsOut,
    ReceiveNext,
    CopiedSequence,
    IsMptcp,
    Clock,
    Linger2,
    NetInode,
    NetCookie,
    TimeWaitSubstate,
    Uid,
    SocketFileInode,
    AcceptQueue,
    AcceptLimit,
    SynQueue,
    Young,
    Drops,
    V6Only,
    CongestionState,
    SendUnacknowledged,
    SendNext,
    WriteSequence,
    PacketsOut,
    SendWindow,
    ReceiveWindow,
    LastAck,
    LastSent,
    LastReceived,
    Retransmitted,
    Retries,
    RequestAcked,
    FileInode,
    FilePrivate,
    InodeMode,
    SocketOfFile,
    TaskGroup,
    TaskNamespaces,
    NamespacesNet,
    NetHash,
    Table,
    TableMask,
    Link,
    Hash,
    ListenTable,
    ListenMask,
    ListenHead,
    NetList,
    TimeWaitRefs,
    SendMemory,
    ReceiveMemory,
    ReservedMemory,
    Cgroup,
    CgroupNode,
    CgroupId,
    BytesAcked,
    BytesReceived,
    DataSegmentsOut,
    MinRtt,
    ChronoTimes,
    ChronoStart,
    ChronoType,
    MadeByKernel,
    HoldsNet,
    TaskFlags,
    SoftError,
    ProbesOut,
    Backoff,
}

/// Where a field is found, and what it means that a kernel lacks it.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub field: Field,
    pub container: &'static str,
    /// Where kernels differ, several of them with `|` between; the first that there is counts.
    pub path: &'static str,
    /// Size in bytes that the programs read; 0 for a bitfield, of which they read the lowest bits that matter.
    pub size: u32,
    /// What is lost without the field; `None`: nothing works without it.
    pub lost: Option<&'static str>,
}

/// Number of fields.
pub const COUNT: usize = 82;

/// The offset of a bitfield: its first byte, and how far its lowest bit is from that byte's.
pub const fn bit_offset(byte: u16, shift: u16) -> u16 {
    byte | shift << BIT_SHIFT
}

/// Where [`bit_offset`] keeps the shift; structures are smaller than this.
pub const BIT_SHIFT: u16 = 13;

/// The offsets in the order of [`Field`].
pub type Offsets = [u16; COUNT];

const fn required(field: Field, container: &'static str, path: &'static str, size: u32) -> Place {
    Place { field, container, path, size, lost: None }
}

const fn optional(
    field: Field,
    container: &'static str,
    path: &'static str,
    size: u32,
    lost: &'static str,
) -> Place {
    Place { field, container, path, size, lost: Some(lost) }
}

/// Every field, in the order of [`Field`].
pub const PLACES: [Place; COUNT] = [
    required(Field::Family, "sock_common", "skc_family", 2),
    required(Field::LocalPort, "sock_common", "skc_num", 2),
    required(Field::RemotePort, "sock_common", "skc_dport", 2),
    required(Field::LocalV4, "sock_common", "skc_rcv_saddr", 4),
    required(Field::RemoteV4, "sock_common", "skc_daddr", 4),
    optional(Field::LocalV6, "sock_common", "skc_v6_rcv_saddr", 16, "IPv6 addresses (a kernel without IPv6)"),
    optional(Field::RemoteV6, "sock_common", "skc_v6_daddr", 16, "IPv6 addresses (a kernel without IPv6)"),
    optional(Field::Net, "sock_common", "skc_net.net", 8, "network namespaces (a kernel without them)"),
    required(Field::State, "sock_common", "skc_state", 1),
    required(Field::Flags, "sock_common", "skc_flags", 8),
    required(Field::Protocol, "sock", "sk_protocol", 2),
    required(Field::Error, "sock", "sk_err", 4),
    required(Field::Socket, "sock", "sk_socket", 8),
    required(Field::LockOwned, "sock", "sk_lock.owned", 4),
    required(Field::SourcePort, "inet_sock", "inet_sport", 2),
    optional(Field::Srtt, "tcp_sock", "srtt_us", 4, "handshake times of passive connections"),
    optional(Field::SegmentsOut, "tcp_sock", "segs_out", 4, "connects that failed before a SYN was sent"),
    optional(Field::ReceiveNext, "tcp_sock", "rcv_nxt", 4, "resets for unread data, told from aborts"),
    optional(Field::CopiedSequence, "tcp_sock", "copied_seq", 4, "resets for unread data, told from aborts"),
    optional(Field::IsMptcp, "tcp_sock", "is_mptcp", 1, "owners of MPTCP subflows"),
    optional(
        Field::Clock,
        "tcp_sock",
        "tcp_clock_cache",
        8,
        "nothing but time: the clock is read at every event",
    ),
    optional(
        Field::Linger2,
        "tcp_sock",
        "linger2",
        4,
        "orphans that TCP_LINGER2 closes by force, told from mini-sockets",
    ),
    required(Field::NetInode, "net", "ns.inum", 4),
    optional(
        Field::NetCookie,
        "net",
        "net_cookie",
        8,
        "telling a namespace from a later one with the same number",
    ),
    optional(
        Field::TimeWaitSubstate,
        "inet_timewait_sock",
        "tw_substate",
        1,
        "FIN_WAIT2 apart from TIME_WAIT",
    ),
    optional(Field::Uid, "sock", "sk_uid", 4, "the user of a socket"),
    optional(
        Field::SocketFileInode,
        "socket_alloc",
        "vfs_inode.i_ino",
        8,
        "owners of sockets older than the daemon",
    ),
    optional(Field::AcceptQueue, "sock", "sk_ack_backlog", 4, "accept queues"),
    optional(Field::AcceptLimit, "sock", "sk_max_ack_backlog", 4, "limits of accept queues"),
    optional(Field::SynQueue, "inet_connection_sock", "icsk_accept_queue.qlen", 4, "SYN queues"),
    optional(Field::Young, "inet_connection_sock", "icsk_accept_queue.young", 4, "fresh half-open requests"),
    optional(Field::Drops, "sock", "sk_drops", 4, "drops by listener"),
    optional(Field::V6Only, "sock_common", "skc_ipv6only", 0, "listeners for IPv6 only, told from dual ones"),
    optional(
        Field::CongestionState,
        "inet_connection_sock",
        "icsk_ca_state",
        0,
        "timeouts told from fast retransmits and probes",
    ),
    optional(Field::SendUnacknowledged, "tcp_sock", "snd_una", 4, "bytes not acknowledged"),
    optional(Field::SendNext, "tcp_sock", "snd_nxt", 4, "bytes not sent"),
    optional(Field::WriteSequence, "tcp_sock", "write_seq", 4, "bytes not sent"),
    optional(Field::PacketsOut, "tcp_sock", "packets_out", 4, "peers that do not acknowledge"),
    optional(Field::SendWindow, "tcp_sock", "snd_wnd", 4, "peers that do not read"),
    optional(Field::ReceiveWindow, "tcp_sock", "rcv_wnd", 4, "applications that do not read"),
    optional(Field::LastAck, "tcp_sock", "rcv_tstamp", 4, "silent peers"),
    optional(Field::LastSent, "tcp_sock", "lsndtime", 4, "silent peers"),
    optional(
        Field::LastReceived,
        "inet_connection_sock",
        "icsk_ack.lrcvtime",
        4,
        "applications that do not read",
    ),
    optional(Field::Retransmitted, "tcp_sock", "total_retrans", 4, "retransmits of single sockets"),
    optional(
        Field::Retries,
        "inet_connection_sock",
        "icsk_retransmits",
        1,
        "peers that are slow, told from silent ones",
    ),
    optional(Field::RequestAcked, "inet_request_sock", "acked", 0, "clients whose last ACK was dropped"),
    optional(Field::FileInode, "file", "f_inode", 8, OWNERS),
    optional(Field::FilePrivate, "file", "private_data", 8, OWNERS),
    optional(Field::InodeMode, "inode", "i_mode", 2, OWNERS),
    optional(Field::SocketOfFile, "socket", "sk", 8, OWNERS),
    optional(Field::TaskGroup, "task_struct", "tgid", 4, OWNERS),
    optional(Field::TaskNamespaces, "task_struct", "nsproxy", 8, WALK),
    optional(Field::NamespacesNet, "nsproxy", "net_ns", 8, WALK),
    optional(Field::NetHash, "net", "ipv4.tcp_death_row.hashinfo", 8, WALK),
    optional(Field::Table, "inet_hashinfo", "ehash", 8, WALK),
    optional(Field::TableMask, "inet_hashinfo", "ehash_mask", 4, WALK),
    optional(Field::Link, "sock_common", "skc_nulls_node", 16, WALK),
    optional(Field::Hash, "sock_common", "skc_hash", 4, WALK),
    optional(Field::ListenTable, "inet_hashinfo", "lhash2", 8, SWEEP),
    optional(Field::ListenMask, "inet_hashinfo", "lhash2_mask", 4, SWEEP),
    optional(Field::ListenHead, "inet_listen_hashbucket", "nulls_head", 8, SWEEP),
    optional(Field::NetList, "net", "list", 16, SWEEP),
    optional(
        Field::TimeWaitRefs,
        "net",
        "ipv4.tcp_death_row.tw_refcount",
        4,
        "TIME_WAIT sockets of all namespaces without a look into each",
    ),
    optional(Field::SendMemory, "sock", "sk_wmem_queued", 4, MEMORY),
    optional(Field::ReceiveMemory, "sock", "sk_backlog.rmem_alloc", 4, MEMORY),
    optional(Field::ReservedMemory, "sock", "sk_forward_alloc", 4, MEMORY),
    // A pointer; until Linux 5.15 a word that is a pointer if its lowest bits are 0.
    optional(Field::Cgroup, "sock", "sk_cgrp_data.cgroup|sk_cgrp_data.val", 8, CGROUPS),
    optional(Field::CgroupNode, "cgroup", "kn", 8, CGROUPS),
    optional(Field::CgroupId, "kernfs_node", "id", 8, CGROUPS),
    optional(Field::BytesAcked, "tcp_sock", "bytes_acked", 8, "bytes that peers acknowledged"),
    optional(Field::BytesReceived, "tcp_sock", "bytes_received", 8, "bytes that were received"),
    optional(
        Field::DataSegmentsOut,
        "tcp_sock",
        "data_segs_out",
        4,
        "the share of segments sent again, by service",
    ),
    // Three measurements of eight bytes each, of which the first is the lowest: a time and a value.
    optional(Field::MinRtt, "tcp_sock", "rtt_min.s", 24, "minimum round-trip times"),
    optional(Field::ChronoTimes, "tcp_sock", "chrono_stat", 12, LIMITED),
    optional(Field::ChronoStart, "tcp_sock", "chrono_start", 4, LIMITED),
    optional(Field::ChronoType, "tcp_sock", "chrono_type", 0, LIMITED),
    optional(Field::MadeByKernel, "sock", "sk_kern_sock", 0, KERNEL),
    optional(Field::HoldsNet, "sock_common", "skc_net_refcnt", 0, KERNEL),
    optional(Field::TaskFlags, "task_struct", "flags", 4, "owners of MPTCP subflows that the kernel adds"),
    optional(Field::SoftError, "sock", "sk_err_soft", 4, DYING),
    optional(Field::ProbesOut, "inet_connection_sock", "icsk_probes_out", 1, DYING),
    optional(Field::Backoff, "inet_connection_sock", "icsk_backoff", 1, DYING),
];

const MEMORY: &str = "the kernel's memory of each owner's sockets";
const CGROUPS: &str = "the containers of sockets that no process has";
const KERNEL: &str = "sockets of the kernel itself, told from those of processes";
const DYING: &str = "connections that are about to be given up";

const WALK: &str = "listings of all sockets as fast as they can be";
const SWEEP: &str = "one walk for the sockets of all namespaces";
const LIMITED: &str = "what a connection waits for: the peer's window or the own send buffer";
const OWNERS: &str = "owners of accepted sockets, and of those older than the daemon";

const _: () = {
    let mut i = 0;
    while i < COUNT {
        assert!(PLACES[i].field as usize == i, "PLACES must be in the order of Field");
        i += 1;
    }
};
