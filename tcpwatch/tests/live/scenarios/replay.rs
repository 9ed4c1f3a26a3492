//! Every scene that found something is recorded, and says the same again when it ends.

use std::sync::Arc;

use tcpwatch::detect::{Findings, Thresholds};
use tcpwatch::record::{Encoder, Item};
use tcpwatch::replay::{Moment, Replay, Step};
use tcpwatch::sample::Sample;

/// What was recorded, and what was said.
#[derive(Default)]
pub(crate) struct Recording {
    encoder: Encoder,
    bytes: Vec<u8>,
    said: Vec<Findings>,
    seen: Vec<String>,
}

impl Recording {
    pub(crate) fn take(&mut self, sample: &Arc<Sample>, findings: &Findings) {
        let is_taken = self.encoder.put(sample.at, &Item::Sample(Arc::clone(sample)), &mut self.bytes);
        assert!(is_taken, "a sample is too large");
        self.said.push(findings.clone());
        self.seen.push(format!("{sample:?}"));
    }

    /// Every finding at every tick: id, since, evidence and all else. A scene that found nothing has nothing to say
    /// again.
    #[track_caller]
    pub(crate) fn replays_the_same(&self, thresholds: &Thresholds) {
        let opened: Vec<&str> =
            self.said.iter().flat_map(|said| &said.opened_now).map(|finding| finding.id.as_str()).collect();
        if opened.is_empty() {
            return;
        }
        let moments = self.replay(thresholds);
        assert_eq!(moments.len(), self.said.len());
        for (tick, moment) in moments.iter().enumerate() {
            assert_eq!(format!("{:?}", moment.report.sample), self.seen[tick], "the sample of tick {tick}");
            assert_eq!(moment.findings, self.said[tick], "tick {tick}");
        }
        println!("replayed {} samples in {} bytes: {opened:?}", self.said.len(), self.bytes.len());
    }

    fn replay(&self, thresholds: &Thresholds) -> Vec<Moment> {
        let path = std::env::temp_dir().join(format!(
            "tcpwatch-scene-{}-{:?}.tcpw",
            std::process::id(),
            std::thread::current().id()
        ));
        std::fs::write(&path, &self.bytes).expect("write the recording");
        let steps: Result<Vec<Step>, _> =
            Replay::open(&path, Some(thresholds.clone())).and_then(Iterator::collect);
        std::fs::remove_file(&path).expect("remove the recording");
        let moments = steps.expect("it can be read").into_iter().map(|step| match step {
            Step::Moment(moment) => *moment,
            other => panic!("not a sample: {other:?}"),
        });
        moments.collect()
    }
}
