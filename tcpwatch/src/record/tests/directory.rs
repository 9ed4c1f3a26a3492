//! The directory that the flight recorder keeps.

use std::fs;
use std::path::Path;

use super::super::flight::Flight;
use super::*;

const MOST: u64 = 256 << 10;

fn head() -> Vec<(SystemTime, Item)> {
    vec![(at(1), Item::Start(start())), (at(1), Item::Config("# nothing".into()))]
}

fn write(flight: &mut Flight, sample: &Arc<Sample>) -> Result<(), RecordError> {
    flight.write(&head(), &[(sample.at, Item::Sample(Arc::clone(sample)))])
}

fn size(directory: &Path) -> u64 {
    let files = fs::read_dir(directory).expect("a directory").map(|file| file.expect("a file"));
    files.map(|file| file.metadata().expect("it is there").len()).sum()
}

/// Samples of which none is like another, so that they are large.
fn large(count: u64) -> Vec<Arc<Sample>> {
    let mut random = Random(9);
    (0..count).map(|second| Arc::new(Sample { at: at(10 + second), ..random.sample() })).collect()
}

#[test]
fn the_oldest_make_room_and_the_bound_is_kept() {
    let scratch = Scratch::new("bound");
    let samples = large(400);
    let mut flight = Flight::open(&scratch.0, MOST).expect("a directory");
    for sample in &samples {
        write(&mut flight, sample).expect("there is room");
        assert!(size(&scratch.0) <= MOST);
    }
    assert!(size(&scratch.0) > MOST / 2, "it is used");
    let (kept, damage) = read(Reader::open(&scratch.0).expect("a recording"));
    assert!(damage.is_empty(), "{damage:?}");
    assert!(kept.len() > 20 && kept.len() < samples.len(), "{}", kept.len());
    assert_eq!(debug(&kept), debug(&&samples[samples.len() - kept.len()..]), "the latest");
    // Another daemon must not write there; the next one keeps to the bound, be it a smaller one.
    let taken = Flight::open(&scratch.0, MOST).expect_err("it is taken");
    assert!(matches!(taken, RecordError::Taken { .. }), "{taken}");
    drop(flight);
    let mut flight = Flight::open(&scratch.0, MOST / 2).expect("it is free");
    assert!(size(&scratch.0) <= MOST / 2);
    write(&mut flight, &samples[0]).expect("there is room");
    let (after, _) = read(Reader::open(&scratch.0).expect("a recording"));
    assert_eq!(debug(after.last().expect("one")), debug(&samples[0]), "in a file that comes last");
}

#[test]
fn files_of_others_are_left_alone() {
    let scratch = Scratch::new("others");
    let others = [scratch.file("notes.txt", b"x"), scratch.file("mine.tcpw", &[0; 5000])];
    let mut flight = Flight::open(&scratch.0, MOST).expect("a directory");
    for sample in large(300) {
        write(&mut flight, &sample).expect("there is room");
    }
    assert!(others.iter().all(|path| path.exists()));
}

#[test]
fn what_is_removed_is_made_again() {
    let scratch = Scratch::new("removed");
    let path = scratch.0.join("a/b");
    let samples = samples(200);
    let mut flight = Flight::open(&path, MOST).expect("it is made");
    write(&mut flight, &samples[0]).expect("there is room");
    fs::remove_dir_all(&path).expect("remove it");
    for sample in &samples[1..] {
        write(&mut flight, sample).expect("there is room");
    }
    let (kept, damage) = read(Reader::open(&path).expect("a recording"));
    assert!(damage.is_empty() && kept.len() >= 130, "{} {damage:?}", kept.len());
}

#[test]
fn a_directory_that_cannot_be_is_an_error_and_no_more() {
    let scratch = Scratch::new("cannot");
    let file = scratch.file("file", b"x");
    let error = Flight::open(&file.join("below"), MOST).expect_err("a file is in the way");
    assert!(error.to_string().contains("cannot make the directory"), "{error}");
    // A sample that has no room at all.
    let mut flight = Flight::open(&scratch.0, 500).expect("a directory");
    let error = write(&mut flight, &large(3)[2]).expect_err("too large");
    assert!(matches!(error, RecordError::TooLarge { .. }), "{error}");
}

#[test]
fn the_background_writes_everything() {
    let scratch = Scratch::new("background");
    let samples = samples(40);
    let mut recorder =
        Recorder::start(scratch.0.clone(), MOST, start(), "# nothing".into()).expect("a thread");
    for sample in &samples {
        recorder.take(moment(sample, [], []));
        std::thread::sleep(Duration::from_millis(3));
    }
    drop(recorder);
    let (kept, damage) = read(Reader::open(&scratch.0).expect("a recording"));
    assert!(damage.is_empty());
    assert_eq!(debug(&kept), debug(&samples));
}
