//! Short connections, within the limits and beyond.

use super::*;
use crate::detect::testing::{PORT, address, assert_told, evidence, group, surveyed, window};
use crate::sample::{KernelCounters, NetCounters};

/// What happens each second, on a host with room for 10,000.
#[derive(Clone, Copy)]
struct Load {
    stock: u64,
    rate: u64,
    overflows: u64,
}

fn at(second: u32, load: Load, groups: Vec<Group>) -> Sample {
    let mut sample = surveyed(f64::from(second), groups);
    let namespace = &mut sample.namespaces[0];
    let kernel = KernelCounters { time_wait: load.stock, ..KernelCounters::default() };
    namespace.kernel = Some((kernel, kernel));
    namespace.cells.as_mut().expect("cells")[cell::TIME_WAIT_ENTERED] = load.rate * u64::from(second);
    let mut counters = NetCounters::default();
    counters.ext.tw_overflow = Some(load.overflows * u64::from(second));
    namespace.counters = Some(counters);
    sample
}

fn found(load: Load, groups: &[Group]) -> Vec<Candidate> {
    let found = detect(&window((0..40).map(|second| at(second, load, groups.to_vec()))), &Limits::default());
    found.iter().for_each(assert_told);
    found
}

fn of_server() -> Group {
    Group { pid: None, ..group(TcpState::TimeWait, 900, 0, 30) }
}

#[test]
fn within_the_limits_nothing_is_wrong() {
    for (stock, rate) in [(0, 0), (100, 10_000), (4_900, 200), (7_999, 133), (3_000, 160)] {
        assert!(found(Load { stock, rate, overflows: 0 }, &[of_server()]).is_empty(), "{stock} {rate}");
    }
}

#[test]
fn a_stock_near_the_limit_is_flagged() {
    let all = found(Load { stock: 8_100, rate: 135, overflows: 0 }, &[of_server()]);
    let [one] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!((one.key.as_str(), one.verdict, one.severity), ("7", Some("near_limit"), Severity::Warning));
    assert_eq!(evidence(one, "time_wait"), &Evidence::Count(8_100));
    assert_eq!(evidence(one, "entered_per_second"), &Evidence::Number(135.0));
    assert_eq!(
        one.summary,
        "8100 connections are in TIME_WAIT of 10000 allowed, 135 more each second; most are of web (pid 4711) on \
         0.0.0.0:8080"
    );
}

#[test]
fn a_rate_beyond_the_room_is_flagged_before_it_is_full() {
    let all = found(Load { stock: 5_000, rate: 170, overflows: 0 }, &[]);
    assert_eq!(all[0].verdict, Some("rising"));
    assert_eq!(all[0].subject.listener, None);
}

#[test]
fn overflow_is_critical_for_as_long_as_it_goes_on() {
    let all = found(Load { stock: 10_000, rate: 400, overflows: 230 }, &[of_server()]);
    assert_eq!((all[0].verdict, all[0].severity), (Some("overflow"), Severity::Critical));
    assert!(all[0].summary.contains("were closed without it in the last 15 s"), "{}", all[0].summary);
    assert!(found(Load { stock: 10, rate: 0, overflows: 0 }, &[]).is_empty());
    // Long ago.
    let samples = (0..40).map(|second| {
        let mut sample = at(second, Load { stock: 10, rate: 1, overflows: 0 }, vec![]);
        sample.namespaces[0].counters.as_mut().expect("set").ext.tw_overflow = Some(5_000);
        sample
    });
    assert!(detect(&window(samples), &Limits::default()).is_empty());
}

#[test]
fn who_closes_first_is_told() {
    let load = Load { stock: 9_000, rate: 150, overflows: 0 };
    let server = found(load, &[of_server()]).remove(0);
    assert_eq!(evidence(&server, "closes_first"), &Evidence::Text("server_here".into()));
    assert_eq!(server.subject.listener.map(|local| local.port()), Some(PORT));
    let mut to = of_server();
    to.role = Some(Role::Active);
    to.port = 443;
    to.example = crate::sample::Example { local: address(1, 40_001), remote: address(9, 443) };
    let client = found(load, &[Group { count: 10, ..of_server() }, to.clone()]).remove(0);
    assert_eq!(evidence(&client, "closes_first"), &Evidence::Text("client_here".into()));
    assert_eq!(client.subject.destination, Some(address(9, 443)));
    assert!(client.summary.ends_with("; most lead to port 443, such as 10.0.0.9:443"), "{}", client.summary);
    assert!(client.advice.iter().any(|line| line.contains("tcp_tw_reuse")));
    // The kernel side cannot tell: a listener can.
    to.role = None;
    assert_eq!(evidence(&found(load, &[to])[0], "closes_first"), &Evidence::Text("client_here".into()));
    let unknown = Group { role: None, ..of_server() };
    assert_eq!(evidence(&found(load, &[unknown])[0], "closes_first"), &Evidence::Text("server_here".into()));
}

#[test]
fn what_is_not_known_is_not_told() {
    let mut sample = at(1, Load { stock: 99_999, rate: 0, overflows: 0 }, vec![]);
    sample.namespaces[0].sysctls = None;
    assert!(detect(&window([sample]), &Limits::default()).is_empty());
}
