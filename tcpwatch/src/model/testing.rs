//! Hand-made samples for the tests of the model.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime};

use tcpwatch_common::cell;

use crate::sample::{HostLimits, ListenerSample, NamespaceSample, RingSample, Sample, SourceKind};

/// A sample at `seconds` with one living namespace in which nothing happened.
pub(crate) fn sample_at(seconds: f64, inode: u64) -> Sample {
    let elapsed = Duration::from_secs_f64(seconds);
    Sample {
        at: SystemTime::UNIX_EPOCH + elapsed,
        elapsed,
        source: SourceKind::Ebpf,
        namespaces: vec![NamespaceSample {
            inode,
            is_alive: true,
            is_complete: true,
            cells: Some([0; cell::CELLS]),
            ..NamespaceSample::default()
        }],
        host: None,
        reset_reasons: Vec::new(),
        listeners: Vec::new(),
        remotes: Vec::new(),
        processes: BTreeMap::new(),
        limits: HostLimits::default(),
        programs: Vec::new(),
        lost_fields: Vec::new(),
        ring: RingSample::default(),
        problems: Vec::new(),
        kernel_memory: None,
    }
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
