//! Hand-made samples for the tests of the model.

use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime};

use tcpwatch_common::cell;

use crate::sample::{ListenerSample, NamespaceSample, Sample, SourceKind};

/// A sample at `seconds` with one living namespace in which nothing happened.
pub(crate) fn sample_at(seconds: f64, inode: u64) -> Sample {
    let elapsed = Duration::from_secs_f64(seconds);
    let namespace = NamespaceSample {
        inode,
        is_alive: true,
        is_complete: true,
        cells: Some([0; cell::CELLS]),
        ..NamespaceSample::default()
    };
    let empty = Sample::empty(SystemTime::UNIX_EPOCH + elapsed, elapsed, SourceKind::Ebpf);
    Sample { namespaces: vec![namespace], ..empty }
}

/// An idle listener on all IPv4 addresses.
pub(crate) fn listener_at(netns: u64, port: u16) -> ListenerSample {
    ListenerSample {
        id: u64::from(port),
        netns,
        local: (Ipv4Addr::UNSPECIFIED, port).into(),
        v6_only: false,
        pid: None,
        uid: None,
        accept_queue: 0,
        accept_limit: 4096,
        syn_queue: Some(0),
        young: Some(0),
        stuck: Some(0),
        drops: 0,
        synack_retransmits: 0,
    }
}
