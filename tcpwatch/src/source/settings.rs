//! Settings of namespaces and limits of the host, read again every now and then.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::host::sysctl::{read_string, read_u64};
use crate::sample::{HostLimits, NetCounters, Sysctls};

/// Settings change rarely, and each costs a file to read: more often where something happens.
const EVERY: Duration = Duration::from_secs(10);
const EVERY_AT_REST: Duration = Duration::from_mins(2);

/// What was read last, by namespace.
#[derive(Debug, Default)]
pub(super) struct Settings {
    kept: HashMap<u64, (Instant, Arc<Sysctls>)>,
}

impl Settings {
    /// The settings of the calling thread's namespace.
    pub(super) fn of(&mut self, inode: u64, is_at_rest: bool) -> Arc<Sysctls> {
        let every = if is_at_rest { EVERY_AT_REST } else { EVERY };
        if let Some((read, sysctls)) = self.kept.get(&inode)
            && read.elapsed() < every
        {
            return Arc::clone(sysctls);
        }
        let sysctls = Arc::new(read());
        self.kept.insert(inode, (Instant::now(), Arc::clone(&sysctls)));
        sysctls
    }

    /// Forgets namespaces that are gone.
    pub(super) fn retain(&mut self, mut is_alive: impl FnMut(u64) -> bool) {
        self.kept.retain(|inode, _| is_alive(*inode));
    }
}

fn read() -> Sysctls {
    // One that is not there is not known; what needs it says so.
    let number = |name: &str| read_u64(name).ok();
    let ipv4 = |name: &str| number(&format!("net.ipv4.{name}"));
    Sysctls {
        somaxconn: number("net.core.somaxconn"),
        max_syn_backlog: ipv4("tcp_max_syn_backlog"),
        syncookies: ipv4("tcp_syncookies"),
        synack_retries: ipv4("tcp_synack_retries"),
        syn_retries: ipv4("tcp_syn_retries"),
        retries2: ipv4("tcp_retries2"),
        orphan_retries: ipv4("tcp_orphan_retries"),
        fin_timeout: ipv4("tcp_fin_timeout"),
        max_tw_buckets: ipv4("tcp_max_tw_buckets"),
        tw_reuse: ipv4("tcp_tw_reuse"),
        abort_on_overflow: ipv4("tcp_abort_on_overflow"),
        keepalive_time: ipv4("tcp_keepalive_time"),
        keepalive_interval: ipv4("tcp_keepalive_intvl"),
        keepalive_probes: ipv4("tcp_keepalive_probes"),
        port_range: read_string("net.ipv4.ip_local_port_range").ok().and_then(|text| pair(&text)),
    }
}

/// Two ports with a tab between them.
fn pair(text: &str) -> Option<(u16, u16)> {
    let mut numbers = text.split_ascii_whitespace().map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

/// Limits that the initial namespace shows, and the use that every namespace shows.
pub(super) fn limits(counters: Option<&NetCounters>) -> HostLimits {
    let memory_limits = read_string("net.ipv4.tcp_mem").ok().and_then(|text| {
        let numbers: Vec<u64> = text.split_ascii_whitespace().map_while(|n| n.parse().ok()).collect();
        numbers.try_into().ok()
    });
    HostLimits {
        memory_limits,
        memory: counters.map(|counters| counters.sock.mem),
        orphans: counters.map(|counters| counters.sock.orphan),
        max_orphans: read_u64("net.ipv4.tcp_max_orphans").ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_two_ports() {
        assert_eq!(pair("32768\t60999"), Some((32768, 60999)));
        assert_eq!(pair("32768"), None);
        assert_eq!(pair("1 70000"), None);
    }

    #[test]
    fn this_host_has_settings() {
        let sysctls = read();
        assert!(sysctls.somaxconn.is_some_and(|limit| limit > 0));
        assert!(sysctls.port_range.is_some_and(|(low, high)| low < high));
        assert!(
            limits(None)
                .memory_limits
                .is_some_and(|[low, pressure, high]| low <= pressure && pressure <= high)
        );
    }
}
