//! Listeners: queues, drops, and the bound on their series.

use super::*;

#[test]
fn listeners_are_bounded_and_the_rest_is_not_lost() {
    let mut sample = full();
    sample.listeners = (1..=130).map(|port| listener(port, u64::from(port))).collect();
    // The same address in another network namespace.
    sample.listeners.push(ListenerSample { netns: 8, ..listener(130, 1_000) });
    let page = shown(sample, USAGE);
    let found = lines(&page, "tcpwatch_listener_synack_retransmits_total");
    assert_eq!(found.len(), 101);
    let line = |address: &str, process: &str, netns: &str, count: u32| {
        format!(
            "tcpwatch_listener_synack_retransmits_total{{listen_addr=\"{address}\",process=\"{process}\",\
             namespace=\"\",pod=\"\",container=\"\",workload=\"\",netns=\"{netns}\"}} {count}"
        )
    };
    assert_eq!(found[0], line("0.0.0.0:130", "httpd", "8", 1_000));
    assert_eq!(found[1], line("0.0.0.0:130", "httpd", "7", 130));
    assert_eq!(found[100], line("other", "other", "other", (1..=31).sum()));
}

#[test]
fn drops_are_counted_by_listener_and_cause_and_the_least_are_folded() {
    let sample = |seconds: u64, drops: u32| {
        let mut sample = full();
        sample.elapsed = Duration::from_secs(seconds);
        sample.listeners = (1..=130).map(|port| listener(port, 0)).collect();
        sample.listeners[49].drops = drops;
        sample.listeners[50].pid = None;
        sample.namespaces[0].counters = Some(listen_drops(u64::from(drops) * 2));
        sample
    };
    let mut model = Model::default();
    model.apply(sample(1, 10));
    model.apply(sample(2, 15));
    let page = page(&model.apply(sample(3, 15)), &Findings::default(), USAGE).expect("encodes");
    let found = lines(&page, "tcpwatch_listener_drops_total");
    assert_eq!(found.len(), 101 * 5);
    let first = "tcpwatch_listener_drops_total{listen_addr=\"0.0.0.0:50\",cause=\"accept_queue_syn\",process=\"httpd\",namespace=\"\",pod=\"\",container=\"\",workload=\"\",netns=\"7\"} 5";
    assert_eq!(found[0], first);
    assert!(
        found[500].contains(
            "listen_addr=\"other\",cause=\"accept_queue_syn\",process=\"other\",namespace=\"\",pod=\"\",container=\"\",workload=\"\",netns=\"other\"} 0"
        )
    );
    assert!(page.contains("listen_addr=\"0.0.0.0:51\",process=\"unknown\",namespace=\"\""));
    assert!(page.contains("\ntcpwatch_listeners_folded 30\n"));
    // Twice as much as the listeners know of.
    assert!(page.contains("\ntcpwatch_listener_drops_unattributed_total 5\n"));
    let limits = lines(&page, "tcpwatch_listener_accept_queue_limit");
    assert_eq!(limits.len(), 101);
    assert!(limits[100].ends_with(&format!(" {}", 30 * 4096)), "{}", limits[100]);
}

#[test]
fn a_syn_queue_that_is_not_known_has_no_series() {
    let mut sample = full();
    sample.listeners[0].syn_queue = None;
    sample.namespaces[0].sysctls = None;
    let page = shown(sample, USAGE);
    assert!(!page.contains("tcpwatch_listener_syn_queue"));
    assert!(page.contains("tcpwatch_listener_accept_queue_length"));
}
