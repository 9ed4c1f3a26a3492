//! What is recorded is read back exactly; what is damaged costs little, and nothing makes the reader fail.

#![expect(clippy::cast_possible_truncation, reason = "small numbers, or any bits")]

mod bad;
mod directory;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::encode::{plain, restore};
use super::testing::{Random, Scratch};
use super::*;
use crate::process::Pod;
use crate::sample::Sample;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn start() -> Start {
    Start {
        began: at(1),
        version: "1".into(),
        host: Some("h".into()),
        kernel: None,
        tick: Duration::from_secs(1),
        redacted: false,
    }
}

/// A sample each second from the tenth on, each a little different from the one before.
fn samples(count: u64) -> Vec<Arc<Sample>> {
    let mut random = Random(7);
    let mut samples = vec![random.sample()];
    for _ in 1..count {
        let next = random.later(samples.last().expect("one"));
        samples.push(next);
    }
    let timed = |(second, sample)| Arc::new(Sample { at: at(10 + second), ..sample });
    (0u64..).zip(samples).map(timed).collect()
}

/// A recording of them, with the place of each frame.
fn recording(samples: &[Arc<Sample>]) -> (Vec<u8>, Vec<usize>) {
    let mut encoder = Encoder::default();
    let (mut bytes, mut places) = (Vec::new(), Vec::new());
    let head = [Item::Start(start()), Item::Config("# nothing".into())];
    let all = head.into_iter().chain(samples.iter().cloned().map(Item::Sample));
    for item in all {
        places.push(bytes.len());
        let time = if let Item::Sample(sample) = &item { sample.at } else { samples[0].at };
        assert!(encoder.put(time, &item, &mut bytes));
    }
    (bytes, places)
}

/// The samples of a recording, and its damage.
fn read(reader: Reader) -> (Vec<Arc<Sample>>, Vec<Damage>) {
    let (mut samples, mut damage) = (Vec::new(), Vec::new());
    for entry in reader {
        match entry.expect("it can be read") {
            Entry::Item(_, Item::Sample(sample)) => samples.push(sample),
            Entry::Item(..) => {}
            Entry::Damage(found) => damage.push(found),
        }
    }
    (samples, damage)
}

fn debug<T: std::fmt::Debug>(value: &T) -> String {
    format!("{value:?}")
}

proptest! {
    #[test]
    fn samples_are_restored_exactly(seed: u64) {
        let mut random = Random(seed);
        let mut before = random.sample();
        let whole = plain(&before, None);
        let restored = restore(&whole, None);
        prop_assert_eq!(debug(&restored), debug(&Some(before.clone())));
        for _ in 0..10 {
            let next = if random.below(5) == 0 { random.sample() } else { random.later(&before) };
            let restored = restore(&plain(&next, Some(&before)), Some(&before));
            prop_assert_eq!(debug(&restored), debug(&Some(next.clone())));
            before = next;
        }
    }

    #[test]
    fn any_bytes_are_a_sample_or_none(bytes: Vec<u8>, seed: u64) {
        let _ = restore(&bytes, None);
        // What is nearly right gets further.
        let mut random = Random(seed);
        let mut nearly = plain(&random.sample(), None);
        for _ in 0..=random.below(4) {
            let place = random.below(nearly.len() as u64) as usize;
            nearly[place] = (random.number() & 0xff) as u8;
        }
        let _ = restore(&nearly, None);
    }
}

#[test]
fn a_sample_that_has_not_changed_is_one_byte() {
    let sample = Random(1).sample();
    assert_eq!(plain(&sample, Some(&sample)), [0]);
}

#[test]
fn a_recording_has_everything_in_it() {
    let scratch = Scratch::new("whole");
    let samples = samples(150);
    let (mut bytes, _) = recording(&samples);
    let change = Change {
        is_open: true,
        id: "syn_flood:1".into(),
        since: at(3),
        severity: "critical".into(),
        summary: "s".into(),
    };
    let rare = Rare {
        is_gap: true,
        netns: 3,
        old: 1,
        new: 7,
        expected: 2,
        local: "10.0.0.1:80".parse().expect("an address"),
        remote: "[::1]:9".parse().expect("an address"),
        pid: Some(3),
    };
    let mut encoder = Encoder::default();
    for item in [Item::Change(change.clone()), Item::Rare(rare.clone()), Item::Lost(4)] {
        assert!(encoder.put(at(500), &item, &mut bytes));
    }
    let path = scratch.file("a.tcpw", &bytes);
    let reader = Reader::open(&path).expect("a recording");
    assert_eq!(reader.span().expect("a span"), Span { first: at(10), last: at(500) });
    let entries: Vec<Entry> = reader.map(|entry| entry.expect("whole")).collect();
    assert_eq!(entries.len(), 2 + 150 + 3);
    let item = |place: usize| match &entries[place] {
        Entry::Item(_, item) => item.clone(),
        Entry::Damage(damage) => panic!("{damage}"),
    };
    assert_eq!(debug(&item(0)), debug(&Item::Start(start())));
    assert_eq!(debug(&item(1)), debug(&Item::Config("# nothing".into())));
    for (place, sample) in samples.iter().enumerate() {
        assert_eq!(debug(&item(2 + place)), debug(&Item::Sample(Arc::clone(sample))));
    }
    assert_eq!(debug(&item(152)), debug(&Item::Change(change)));
    assert_eq!(debug(&item(153)), debug(&Item::Rare(rare)));
    assert_eq!(debug(&item(154)), debug(&Item::Lost(4)));
}

#[test]
fn one_can_begin_at_any_time() {
    let scratch = Scratch::new("seek");
    let all = samples(300);
    for (name, part) in [("1.tcpw", &all[..150]), ("2.tcpw", &all[150..])] {
        scratch.file(name, &recording(part).0);
    }
    scratch.file("notes.txt", b"not a recording");
    let mut reader = Reader::open(&scratch.0).expect("a recording");
    assert_eq!(reader.span().expect("a span").last, at(309));
    // Whole ones come every sixty.
    for (seconds, first) in
        [(10, 10), (69, 10), (70, 70), (159, 130), (200, 160), (250, 220), (5000, 280), (2, 10)]
    {
        reader.seek(at(seconds)).expect("a place");
        let mut times = reader.by_ref().filter_map(|entry| match entry.expect("whole") {
            Entry::Item(time, Item::Sample(_)) => Some(time),
            _ => None,
        });
        assert_eq!(times.next(), Some(at(first)), "{seconds}");
        assert_eq!(times.count() as u64, 309 - first, "{seconds}");
        let (read, total) = reader.progress();
        assert_eq!(read, total);
    }
    reader.seek(at(200)).expect("a place");
    let head: Vec<Entry> = reader.take(2).map(|entry| entry.expect("whole")).collect();
    assert!(
        matches!(head[..], [Entry::Item(_, Item::Start(_)), Entry::Item(_, Item::Config(_))]),
        "{head:?}"
    );
}

/// A process in a pod's cgroup, recorded before pods had names.
#[test]
fn version_1_is_still_read() {
    let scratch = Scratch::new("version-1");
    let path = scratch.file("old.tcpw", include_bytes!("tests/version_1.tcpw"));
    let (samples, damage) = read(Reader::open(&path).expect("a recording"));
    assert_eq!((samples.len(), damage.len()), (4, 0), "{damage:?}");
    for sample in samples {
        let found = sample.processes.values().find_map(|process| process.container.as_ref());
        let container = found.expect("a process in a container");
        assert_eq!((container.id.len(), container.name.as_ref()), (64, None));
        let pod = container.pod.as_ref().expect("a pod");
        assert_eq!(pod, &Pod { uid: pod.uid.clone(), ..Pod::default() });
        assert_eq!(pod.uid.len(), 36);
        assert!(sample.listeners.iter().any(|listener| listener.local.port() == 8080));
    }
}

#[test]
fn redacted_samples_tell_nobody() {
    let mut redactor = Redactor::default();
    let mut random = Random(3);
    for _ in 0..50 {
        let sample = Arc::new(random.sample());
        let Item::Sample(other) = redactor.item(Item::Sample(Arc::clone(&sample))) else {
            panic!("it is a sample no more")
        };
        // Names of programs, fields and reasons stay.
        let text = debug(&(&other.namespaces, &other.listeners, &other.remotes, &other.problems));
        let ends = |sample: &Sample| -> Vec<IpAddr> {
            let ends = sample.listeners.iter().map(|listener| listener.local.ip());
            ends.chain(sample.remotes.iter().map(|remote| remote.address)).collect()
        };
        // Each has another name. Groups are the same everywhere, and so are the addresses that mean no host.
        for (secret, told) in ends(&sample).into_iter().zip(ends(&other)) {
            let is_nobody = secret.is_multicast() || secret.is_unspecified() || secret.is_loopback();
            assert!(is_nobody || secret != told, "{secret} is told as {told}");
        }
        assert!(!text.contains("10.1.2.3") && !text.contains("2a00::5"), "{text}");
        assert!(!debug(&other.processes).contains(&"0a".repeat(32)), "{text}");
        let pods = |sample: &Sample| -> Vec<Pod> {
            sample.processes.values().filter_map(|process| process.pod().cloned()).collect()
        };
        for (secret, told) in pods(&sample).into_iter().zip(pods(&other)) {
            assert!(secret.name.is_none() || secret.name != told.name, "{told:?}");
            assert!(secret.namespace.is_none() || secret.namespace != told.namespace, "{told:?}");
            let names = [&secret, &told].map(|pod| pod.workload.as_ref().map(|workload| &workload.name));
            assert!(names[0].is_none() || names[0] != names[1], "{told:?}");
        }
        assert_eq!(other.processes.len(), sample.processes.len());
    }
    let Item::Start(start) = redactor.item(Item::Start(start())) else { panic!("it is a start no more") };
    assert_eq!((start.host, start.redacted), (None, true));
}
