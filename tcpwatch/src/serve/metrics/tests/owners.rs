//! The labels that say whose something is.

use super::*;
use crate::process::{Container, Pod, Workload};

/// As the kubelet, containerd and the cluster tell it.
fn in_pod(pid: u32, command: &str, pod: &str) -> Process {
    let workload = Workload { kind: "deployment".into(), name: "web".into() };
    let pod = Pod {
        uid: "0d6f2a3e-0000-4000-8000-000000000001".into(),
        namespace: Some("shop".into()),
        name: Some(pod.into()),
        workload: Some(workload),
    };
    let container = Container {
        runtime: "containerd",
        id: "ab12".repeat(16),
        name: Some("nginx".into()),
        pod: Some(pod),
    };
    Process { pid, command: Some(command.into()), container: Some(container), ..Process::default() }
}

const OF_POD: &str =
    "process=\"nginx\",namespace=\"shop\",pod=\"web-7d9f-abcde\",container=\"nginx\",workload=\"web\"";

#[test]
fn pods_are_named_wherever_an_owner_is() {
    let mut sample = full();
    sample.processes.insert(42, Arc::new(in_pod(42, "nginx", "web-7d9f-abcde")));
    sample.processes.insert(7, Arc::new(in_pod(7, "nginx", "web-7d9f-abcde")));
    let mut flood = finding(Kind::SynFlood, Severity::Critical, None, Some(443));
    flood.seen.subject.owner = sample.processes.get(&42).cloned();
    let findings = Findings { open: vec![flood], ..Findings::default() };
    let page = page(&Model::default().apply(sample), &findings, USAGE).expect("encodes");
    for line in [
        format!(
            "tcpwatch_listener_accept_queue_length{{listen_addr=\"0.0.0.0:443\",{OF_POD},netns=\"7\"}} 0"
        ),
        format!("tcpwatch_listener_syn_queue_limit{{listen_addr=\"0.0.0.0:443\",{OF_POD},netns=\"7\"}} 4096"),
        format!(
            "tcpwatch_listener_synack_retransmits_total{{listen_addr=\"0.0.0.0:443\",{OF_POD},netns=\"7\"}} 7"
        ),
        format!(
            "tcpwatch_listener_drops_total{{listen_addr=\"0.0.0.0:443\",cause=\"syn_queue\",{OF_POD},netns=\"7\"}} 0"
        ),
        format!(
            "tcpwatch_finding_active{{kind=\"syn_flood\",severity=\"critical\",{OF_POD},listen_addr=\"0.0.0.0:443\"}} 1"
        ),
        format!("tcpwatch_workload_sockets{{{OF_POD},state=\"close_wait\"}} 30"),
    ] {
        assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
    }
}

#[test]
fn a_container_outside_of_kubernetes_has_the_beginning_of_its_id() {
    let mut sample = full();
    let mut process = in_pod(42, "nginx", "");
    process.container = process.container.map(|container| Container { name: None, pod: None, ..container });
    sample.processes.insert(42, Arc::new(process.clone()));
    let labels =
        "process=\"nginx\",namespace=\"\",pod=\"\",container=\"ab12ab12ab12\",workload=\"\",netns=\"7\"";
    assert!(shown(sample.clone(), USAGE).contains(labels));
    // In a cluster that does not answer, too.
    let pod = Pod { uid: "0d6f2a3e-0000-4000-8000-000000000001".into(), ..Pod::default() };
    process.container = process.container.map(|container| Container { pod: Some(pod), ..container });
    sample.processes.insert(42, Arc::new(process));
    assert!(shown(sample, USAGE).contains(labels));
}

#[test]
fn what_shares_an_address_is_named_as_far_as_it_is_the_same() {
    let mut sample = full();
    sample.processes.insert(42, Arc::new(in_pod(42, "nginx", "web-1")));
    sample.processes.insert(43, Arc::new(in_pod(43, "nginx", "web-2")));
    sample.listeners.push(ListenerSample { pid: Some(43), ..sample.listeners[0].clone() });
    let both = "process=\"nginx\",namespace=\"shop\",pod=\"\",container=\"nginx\",workload=\"web\",netns";
    let page = shown(sample.clone(), USAGE);
    assert!(page.contains(both), "{page}");
    sample.listeners[1].pid = None;
    let one_is_unknown = "process=\"unknown\",namespace=\"\",pod=\"\",container=\"\",workload=\"\",netns";
    assert!(shown(sample, USAGE).contains(one_is_unknown));
}

#[test]
fn owners_of_sockets_are_told_apart_by_pod_and_bounded() {
    let mut sample = full();
    let mut survey = survey();
    let like = survey.groups[0].clone();
    survey.groups.clear();
    for pod in 0..30u32 {
        survey.groups.push(Group { pid: Some(100 + pod), count: 100 - u64::from(pod), ..like.clone() });
        let process = in_pod(100 + pod, "nginx", &format!("web-{pod}"));
        sample.processes.insert(100 + pod, Arc::new(process));
    }
    // A second process in the first pod.
    survey.groups.push(Group { pid: Some(200), count: 1, ..like });
    sample.processes.insert(200, Arc::new(in_pod(200, "nginx", "web-0")));
    sample.namespaces[0].survey = Some(Arc::new(survey));
    let page = shown(sample, USAGE);
    let found = lines(&page, "tcpwatch_workload_sockets");
    let states = TcpState::RFC.len() - 1;
    assert_eq!(found.len(), 21 * states);
    let of = |pod: &str| {
        let labels = format!("pod=\"{pod}\",container=\"nginx\",workload=\"web\",state=\"close_wait\"");
        found.iter().find(|line| line.contains(&labels)).and_then(|line| line.rsplit(' ').next())
    };
    assert_eq!([of("web-0"), of("web-19"), of("web-20")], [Some("101"), Some("81"), None]);
    let rest: u64 = (20..30).map(|pod| 100 - pod).sum();
    let other = format!(
        "tcpwatch_workload_sockets{{process=\"other\",namespace=\"\",pod=\"\",container=\"\",workload=\"\",\
         state=\"close_wait\"}} {rest}"
    );
    assert!(found.contains(&&*other), "{page}");
}
