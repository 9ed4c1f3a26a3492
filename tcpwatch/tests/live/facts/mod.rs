//! What a sample tells of listeners, groups of sockets, their owners and remote ends, held against real sockets.

mod crowd;
mod drops;
mod ends;
mod floods;
mod groups;
mod listeners;
mod memory;
mod refused;
mod remotes;
mod services;

use std::time::{Duration, Instant};

use tcpwatch::kernel::Options;
use tcpwatch::sample::{Group, NamespaceSample, Plan, Sample};
use tcpwatch::source::{Live, Source as _};

use crate::support::netns::Netns;

const PATIENCE: Duration = Duration::from_secs(20);

/// The live source, without the daemon around it.
struct Host {
    live: Live,
}

impl Host {
    fn open() -> Host {
        let options = Options { sockets: 1 << 15, namespaces: 64, ring_bytes: 1 << 16, ..Options::default() };
        Host { live: Live::open(&options, |_| ()).expect("live tests need root and eBPF") }
    }

    fn plan(&mut self, plan: Plan) {
        self.live.set_plan(plan);
    }

    fn sample(&mut self) -> Sample {
        self.live.sample(false).expect("a sample")
    }

    /// The first answer that is one, from one sample after another.
    #[track_caller]
    fn until<T>(&mut self, what: &str, mut found: impl FnMut(&Sample) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let sample = self.sample();
            if let Some(found) = found(&sample) {
                return found;
            }
            let last = || {
                let surveys = sample.namespaces.iter().map(|namespace| (namespace.inode, &namespace.survey));
                (&sample.listeners, &sample.remotes, surveys.collect::<Vec<_>>(), &sample.problems)
            };
            assert!(Instant::now() < deadline, "{what} never came; last: {:#?}", last());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn namespace<'a>(sample: &'a Sample, ns: &Netns) -> Option<&'a NamespaceSample> {
    sample.namespaces.iter().find(|namespace| namespace.inode == ns.inode())
}

fn groups<'a>(sample: &'a Sample, ns: &Netns) -> &'a [Group] {
    namespace(sample, ns).and_then(|found| found.survey.as_ref()).map_or(&[], |survey| &survey.groups)
}
