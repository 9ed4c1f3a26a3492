//! The settings of a network namespace, and limits of the whole host, that findings are measured by.

/// Settings of one network namespace; `None` is one that this kernel or namespace does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sysctls {
    pub somaxconn: Option<u64>,
    pub max_syn_backlog: Option<u64>,
    /// 0 never, 1 when the SYN queue is full, 2 always.
    pub syncookies: Option<u64>,
    pub synack_retries: Option<u64>,
    pub syn_retries: Option<u64>,
    pub retries2: Option<u64>,
    pub orphan_retries: Option<u64>,
    /// Seconds.
    pub fin_timeout: Option<u64>,
    pub max_tw_buckets: Option<u64>,
    pub tw_reuse: Option<u64>,
    pub abort_on_overflow: Option<u64>,
    /// Seconds.
    pub keepalive_time: Option<u64>,
    /// Seconds.
    pub keepalive_interval: Option<u64>,
    pub keepalive_probes: Option<u64>,
    /// First and last ephemeral port.
    pub port_range: Option<(u16, u16)>,
}

/// Limits of the whole host, and how near they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostLimits {
    /// `tcp_mem`: low, pressure and high, in pages.
    pub memory_limits: Option<[u64; 3]>,
    /// Pages that TCP uses.
    pub memory: Option<u64>,
    pub orphans: Option<u64>,
    pub max_orphans: Option<u64>,
}
