//! Hand-made samples for the tests of the model.

use std::time::{Duration, SystemTime};

use tcpwatch_common::cell;

use crate::sample::{NamespaceSample, RingSample, Sample, SourceKind};

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
        programs: Vec::new(),
        lost_fields: Vec::new(),
        ring: RingSample::default(),
        problems: Vec::new(),
        kernel_memory: None,
    }
}
