//! Every option of the configuration file: its bounds, what it means, and where its value is kept.
//!
//! The file is read by this table and printed from it; a test holds it against [`Values`].

use std::time::Duration;

#[cfg(doc)]
use super::Values;
use super::value::Setting;

/// One option.
pub(super) struct Opt {
    pub(super) section: &'static str,
    pub(super) name: &'static str,
    /// Completed by its bounds and its default.
    pub(super) about: &'static str,
    pub(super) setting: Setting,
}

/// A whole number.
macro_rules! count {
    ($section:ident . $name:ident, $low:literal to $high:literal, $about:literal) => {
        Opt {
            section: stringify!($section),
            name: stringify!($name),
            about: $about,
            setting: Setting::Count(|values| &mut values.thresholds.$section.$name, $low, $high),
        }
    };
}

/// A bound on the page of metrics.
macro_rules! bound {
    ($name:ident, $low:literal to $high:literal, $about:literal) => {
        Opt {
            section: "metrics",
            name: stringify!($name),
            about: $about,
            setting: Setting::Count(|values| &mut values.metrics.$name, $low, $high),
        }
    };
}

/// A share, or a rate per second.
macro_rules! share {
    ($section:ident . $name:ident, $low:literal to $high:literal, $about:literal) => {
        Opt {
            section: stringify!($section),
            name: stringify!($name),
            about: $about,
            setting: Setting::Share(|values| &mut values.thresholds.$section.$name, $low, $high),
        }
    };
}

/// A time, with its bounds in seconds.
macro_rules! time {
    ($section:ident . $name:ident, $low:literal to $high:literal, $about:literal) => {
        Opt {
            section: stringify!($section),
            name: stringify!($name),
            about: $about,
            setting: Setting::Time(
                |values| &mut values.thresholds.$section.$name,
                Duration::from_secs($low),
                Duration::from_secs($high),
            ),
        }
    };
}

/// Sections, in the order in which they are printed.
pub(super) const SECTIONS: &[(&str, &str)] = &[
    ("findings", "Findings of all kinds."),
    ("close_wait_buildup", "An application does not close connections that their peers have closed."),
    ("time_wait_storm", "More connections end in TIME_WAIT than there is room for."),
    ("port_exhaustion", "Nearly all local ports toward one destination are in use."),
    ("syn_flood", "Half-open requests that nobody answers fill a listener's SYN queue."),
    ("syn_queue_overflow", "A listener without SYN cookies drops SYNs, as its SYN queue is full."),
    ("accept_queue_overflow", "A listener drops connections, as its application accepts too slowly."),
    ("retransmit_burst", "Many segments to one remote are sent again."),
    ("connect_failures", "Connects to one service fail."),
    ("reset_storm", "Many connections with one service are reset."),
    ("closing_stuck", "Connections are being closed for longer than the settings of their namespace allow."),
    ("silent_peer", "Established connections whose peers may be gone without a word."),
    ("zero_window_stall", "One side of a connection has stopped reading."),
    ("memory_pressure", "TCP's memory, or the number of orphans, nears the limit of the host."),
    ("illegal_transition", "A socket changed its state in a way that no TCP may."),
    ("record", "The flight recorder: the last hours, on disk, for `tcpwatch replay`."),
    ("metrics", "How large a scrape may get. What has no series of its own is added up in `other`."),
];

pub(super) const OPTIONS: &[Opt] = &[
    time!(findings.close_after, 0 to 3_600, "How long a finding must not be seen to be closed"),
    count!(close_wait_buildup.min_count, 1 to 1_000_000, "Fewest sockets in CLOSE_WAIT of one owner"),
    time!(close_wait_buildup.age, 1 to 86_400, "How long each of them has been in CLOSE_WAIT"),
    share!(close_wait_buildup.files_share, 0.01 to 1.0, "Share of the owner's file limit from which it is critical"),
    time!(close_wait_buildup.files_within, 0 to 86_400,
        "It is critical if at the present growth the file limit is reached within this time"),
    share!(time_wait_storm.stock_share, 0.01 to 1.0, "Share of tcp_max_tw_buckets in use"),
    share!(time_wait_storm.rising_share, 0.01 to 1.0,
        "Share of tcp_max_tw_buckets in use from which a rate that would fill it is told"),
    count!(time_wait_storm.min_overflows, 1 to 1_000_000,
        "Fewest connections closed without TIME_WAIT for want of room within 15 seconds"),
    count!(time_wait_storm.min_stock, 0 to 10_000_000, "Below this number in TIME_WAIT only overflows are told"),
    share!(port_exhaustion.share, 0.01 to 1.0, "Share of ip_local_port_range in use toward one destination"),
    share!(port_exhaustion.critical_share, 0.01 to 1.0,
        "Share from which it is critical even if no connect has failed"),
    count!(port_exhaustion.min_used, 1 to 65_535, "Below this number of ports nothing is told"),
    time!(syn_flood.within, 1 to 60, "Within this time"),
    share!(syn_flood.queue_share, 0.01 to 1.0, "Share of the SYN queue from which it is under pressure"),
    count!(syn_flood.unanswered, 1 to 1_000_000, "Fewest SYN-ACKs that nobody answered"),
    share!(syn_flood.unanswered_share, 0.01 to 1.0, "Share of all handshakes that is not answered"),
    share!(syn_flood.certain_share, 0.01 to 1.0,
        "Share that is a flood at first sight; a smaller one has to be there in two samples"),
    share!(syn_flood.rate, 0.0 to 10_000_000.0,
        "Unanswered SYN cookies a second that are a flood whatever their share"),
    count!(syn_queue_overflow.drops, 1 to 1_000_000, "Fewest drops"),
    time!(syn_queue_overflow.within, 1 to 60, "Within this time"),
    count!(syn_queue_overflow.critical_drops, 1 to 1_000_000, "Drops from which it is critical"),
    count!(accept_queue_overflow.drops, 1 to 1_000_000, "Fewest drops"),
    time!(accept_queue_overflow.within, 1 to 60, "Within this time"),
    count!(accept_queue_overflow.critical_drops, 1 to 1_000_000, "Drops from which it is critical"),
    count!(retransmit_burst.segments, 1 to 1_000_000, "Fewest segments sent again"),
    time!(retransmit_burst.within, 1 to 60, "Within this time"),
    share!(retransmit_burst.share, 0.0 to 1.0, "Least share of all segments that the namespace sent"),
    count!(retransmit_burst.timeouts, 1 to 1_000_000, "Timeouts that are too many, whatever their share"),
    share!(retransmit_burst.rate, 0.0 to 10_000_000.0,
        "Segments sent again in a second that are told whatever their share"),
    count!(connect_failures.failures, 1 to 1_000_000, "Fewest failed connects to one service"),
    time!(connect_failures.within, 1 to 60, "Within this time"),
    share!(connect_failures.share, 0.0 to 1.0, "Least share of all connects of the namespace"),
    share!(connect_failures.rate, 0.0 to 1_000_000.0, "Failures a second that are told whatever their share"),
    share!(connect_failures.critical_rate, 0.0 to 1_000_000.0, "Failures a second from which it is critical"),
    count!(connect_failures.many, 1 to 1_000_000,
        "Fewest failed connects of one program to services of which none has enough to be told by itself"),
    share!(connect_failures.many_share, 0.0 to 1.0, "Least share of these of all connects of the namespace"),
    share!(connect_failures.many_rate, 0.0 to 1_000_000.0, "How many of these a second are told whatever their share"),
    count!(reset_storm.resets, 1 to 1_000_000, "Fewest resets, sent and received, with one service"),
    time!(reset_storm.within, 1 to 60, "Within this time"),
    share!(reset_storm.share, 0.0 to 1.0,
        "Least share of the connections that the namespace opened in that time"),
    share!(reset_storm.rate, 0.0 to 1_000_000.0, "Resets a second that are told whatever their share"),
    share!(reset_storm.critical_rate, 0.0 to 1_000_000.0, "Resets a second from which it is critical"),
    count!(closing_stuck.min_count, 1 to 1_000_000, "Fewest sockets of one service in one state"),
    time!(closing_stuck.slack, 0 to 3_600, "How far beyond what the settings allow"),
    time!(closing_stuck.age, 1 to 86_400, "Those in FIN_WAIT1, CLOSING or LAST_ACK for less are not counted"),
    time!(closing_stuck.fin_wait2_age, 1 to 86_400, "Orphans in FIN_WAIT2 for less are not counted"),
    time!(silent_peer.unacknowledged_age, 1 to 86_400, "How long nothing came though data is unacknowledged"),
    count!(silent_peer.unacknowledged_count, 1 to 1_000_000, "Fewest such sockets of one owner and service"),
    time!(silent_peer.idle_age, 60 to 8_640_000, "How long nothing came or went on a socket without keepalive"),
    count!(silent_peer.idle_count, 1 to 1_000_000, "Fewest such sockets of one owner and service"),
    share!(silent_peer.min_share, 0.0 to 1.0, "Least share of the service's established connections"),
    count!(silent_peer.many, 1 to 1_000_000, "So many are told whatever their share"),
    time!(zero_window_stall.age, 1 to 86_400, "How long the window has been closed"),
    count!(zero_window_stall.min_count, 1 to 1_000_000, "Fewest sockets of one owner and service"),
    share!(zero_window_stall.min_share, 0.0 to 1.0, "Least share of the service's established connections"),
    count!(zero_window_stall.many, 1 to 1_000_000, "So many are told whatever their share"),
    share!(zero_window_stall.critical_share, 0.0 to 1.0,
        "Share from which it is critical if the process here does not read"),
    share!(memory_pressure.pressure_share, 0.01 to 1.5, "Share of the pressure mark of tcp_mem"),
    share!(memory_pressure.memory_share, 0.01 to 1.0, "Share of the limit of tcp_mem from which it is critical"),
    share!(memory_pressure.orphan_share, 0.01 to 1.0, "Share of tcp_max_orphans"),
    share!(memory_pressure.critical_orphan_share, 0.01 to 1.0, "Share of tcp_max_orphans from which it is critical"),
    count!(illegal_transition.min_count, 1 to 1_000_000, "Fewest illegal transitions of one kind within a minute"),
    count!(illegal_transition.min_gaps, 1 to 1_000_000,
        "Fewest gaps within a minute beyond those that known losses explain"),
    Opt {
        section: "record",
        name: "enabled",
        about: "Whether to record",
        setting: Setting::Flag(|values| &mut values.record.enabled),
    },
    Opt {
        section: "record",
        name: "directory",
        about: "Where to; empty is flight in $STATE_DIRECTORY, or in /var/lib/tcpwatch without one",
        setting: Setting::Text(|values| &mut values.record.directory),
    },
    Opt {
        section: "record",
        name: "max_size",
        about: "What all files together may take",
        setting: Setting::Size(|values| &mut values.record.max_size, 1 << 20, 1 << 50),
    },
    bound!(listeners, 0 to 10_000, "Listening addresses with series of their own, ten for each"),
    bound!(owners, 0 to 10_000, "Owners of sockets with series of their own, ten for each"),
    bound!(findings, 0 to 10_000, "Subjects of findings with a series of their own"),
    bound!(series, 1_000 to 1_000_000,
        "Series in all, whatever the other bounds allow; findings go first, then owners and listeners have half each"),
];
