//! What is sent again, added up at the end of the connection.

use std::time::{Duration, Instant};

use tcpwatch::model::Model;
use tcpwatch::sample::{Sample, Side};
use tcpwatch::view::services::services;

use super::Scene;
use super::living::send_over_a_lossy_path;
use crate::support::netns::Netns;

#[test]
fn retransmits_are_added_up_as_the_kernel_counts_them() {
    let ns = Netns::new("lossyend");
    // What is left when the stream is dropped is given up soon.
    ns.sysctl("net.ipv4.tcp_orphan_retries", "1");
    let mut scene = Scene::open();
    let mut model = Model::default();
    model.apply(Sample::clone(&scene.tick().0));
    let lost = send_over_a_lossy_path(&ns, 20, 30, |_| std::thread::sleep(Duration::from_secs(3)));
    let deadline = Instant::now() + Duration::from_secs(90);
    let of = |sample: &Sample| sample.services.iter().find(|one| one.netns == ns.inode()).cloned();
    let (report, service) = loop {
        let report = model.apply(Sample::clone(&scene.tick().0));
        if let Some(service) = of(&report.sample) {
            break (report, service);
        }
        assert!(Instant::now() < deadline, "it never ends: {:?}", ns.snmp()["Tcp.RetransSegs"]);
    };
    let again = ns.snmp()["Tcp.RetransSegs"];
    assert!(lost > 0 && again >= lost, "{lost} lost, {again} sent again");
    let ends = &service.ends;
    assert_eq!((service.side, ends.connections, ends.retransmitting), (Side::There, 1, Some(1)));
    assert_eq!(ends.retransmitted, Some(again));
    let ratio = ends.retransmit_ratio().expect("data was sent");
    assert!(ratio > 0.0 && ratio < 1.0, "{ratio}");
    let shown = serde_json::to_value(services(&report, Some(ns.inode()))).expect("JSON");
    assert_eq!(shown["services"][0]["recent"]["retransmit_ratio"], ratio);
}
