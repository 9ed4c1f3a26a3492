//! Names that both sides must spell alike: programs, maps and the globals that the loader sets.

pub mod program {
    pub const TRANSITION: &str = "transition";
    pub const TRANSITION_NESTED: &str = "transition_nested";
    pub const TRANSITION_THIRD: &str = "transition_third";
    pub const TRANSITION_FOURTH: &str = "transition_fourth";
    /// The rest of the four, which they go on with.
    pub const TRANSITION_RARE: &str = "transition_rare";
    pub const RETRANSMIT: &str = "retransmit";
    pub const RETRANSMIT_SYNACK: &str = "retransmit_synack";
    pub const RESET_SENT: &str = "reset_sent";
    pub const RESET_RECEIVED: &str = "reset_received";
    pub const CENSUS: &str = "census";
    pub const ROWS: &str = "rows";
    pub const BRIEF: &str = "brief";
    pub const SURVEY: &str = "survey";
    pub const HOLDERS: &str = "holders";
    pub const POLL: &str = "poll";
    /// In an object of its own.
    pub const CONNECTIONS: &str = "connections";
    /// In another object of its own.
    pub const SWEEP: &str = "sweep";
    pub const NETS: &str = "nets";
    /// Does nothing; what an attached program costs at the least.
    pub const EMPTY: &str = "empty";
    /// Only looked into, by a test.
    pub const BUCKET_OF: &str = "bucket_of";
}

pub mod map {
    pub const SOCKETS: &str = "SOCKETS";
    pub const NAMESPACES: &str = "NAMESPACES";
    pub const FREE_ROWS: &str = "FREE_ROWS";
    pub const CELLS: &str = "CELLS";
    pub const ACTIVE: &str = "ACTIVE";
    pub const ADOPTED: &str = "ADOPTED";
    pub const OLDER: &str = "OLDER";
    pub const ILLEGAL: &str = "ILLEGAL";
    pub const HOST: &str = "HOST";
    pub const UNDERWAY: &str = "UNDERWAY";
    pub const RARE: &str = "RARE";
    pub const TASK_NOTES: &str = "TASK_NOTES";
    pub const RESET_REASONS: &str = "RESET_REASONS";
    pub const LISTENERS: &str = "LISTENERS";
    pub const REMOTES: &str = "REMOTES";
    pub const CLIENTS: &str = "CLIENTS";
    pub const SHARES: &str = "SHARES";
    pub const FOLDED: &str = "FOLDED";
    pub const LISTENER_SHARES: &str = "LISTENER_SHARES";
    pub const SERVICES: &str = "SERVICES";
    pub const FREE_SERVICES: &str = "FREE_SERVICES";
    pub const NEW_SERVICES: &str = "NEW_SERVICES";
    pub const ENDS: &str = "ENDS";
    pub const GROUPS: &str = "GROUPS";
    pub const TUPLES: &str = "TUPLES";
    pub const SURVEY_REQUEST: &str = "SURVEY_REQUEST";
    pub const SERVICE_PORTS: &str = "SERVICE_PORTS";
    pub const SURVEY_RESULT: &str = "SURVEY_RESULT";
    pub const ANSWERS: &str = "ANSWERS";
    pub const CENSUS_COUNTS: &str = "CENSUS_COUNTS";
    pub const CONTROL: &str = "CONTROL";
    pub const EVENTS: &str = "EVENTS";
    pub const PARTS: &str = "PARTS";
    pub const WORK: &str = "WORK";
    pub const MINIS: &str = "MINIS";
    pub const FOUND: &str = "FOUND";
    pub const SEARCH: &str = "SEARCH";
}

pub mod global {
    pub const OFFSETS: &str = "OFFSETS";
    pub const SET_MASK: &str = "SET_MASK";
    pub const RESET_ARGS: &str = "RESET_ARGS";
    pub const RETRANSMIT_ARGS: &str = "RETRANSMIT_ARGS";
    pub const TCP_CAST: &str = "TCP_CAST";
    pub const PREEMPTIBLE: &str = "PREEMPTIBLE";
    pub const SALT: &str = "SALT";
    pub const REMOTES_MOST: &str = "REMOTES_MOST";
    pub const LISTENERS_EACH: &str = "LISTENERS_EACH";
    pub const RING_QUARTER: &str = "RING_QUARTER";
    pub const TCP_SOCK: &str = "TCP_SOCK";
    pub const TIMEWAIT_SOCK: &str = "TIMEWAIT_SOCK";
    pub const ORIGIN: &str = "ORIGIN";
    pub const LISTEN_STRIDE: &str = "LISTEN_STRIDE";
}
