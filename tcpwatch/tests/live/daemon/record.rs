//! `tcpwatch record` and `tcpwatch replay`: what they write, print and refuse.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use rustix::process::Signal;
use serde_json::Value;

use super::config::{File, forgotten};
use super::process::{self, Daemon, Running, output, wait_for};
use crate::support::netns::Netns;

/// A directory that does not outlive its test.
pub(super) struct Directory(PathBuf);

impl Directory {
    pub(super) fn new(hint: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tcpwatch-record-{hint}-{}", std::process::id()));
        // An earlier run may have left it.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).expect("make a directory");
        Self(path)
    }

    pub(super) fn path(&self) -> &str {
        self.0.to_str().expect("UTF-8")
    }

    pub(super) fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("UTF-8").to_owned()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(super) fn fine(args: &[&str]) -> String {
    let done = output(args);
    assert_eq!(done.status.code(), Some(0), "{args:?}: {done:?}");
    String::from_utf8(done.stdout).expect("UTF-8")
}

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

#[test]
fn what_the_daemon_said_is_said_again() {
    if !process::is_there() {
        return;
    }
    let (ns, scratch) = (Netns::new("flight"), Directory::new("said"));
    let flight = scratch.file("flight");
    let config =
        File::new("flight", "[close_wait_buildup]\nmin_count = 3\nage = 1\n[findings]\nclose_after = 1\n");
    let daemon = Daemon::start(&["--config", config.path(), "--record-dir", &flight]);
    let sockets = forgotten(&ns, 4);
    let path = format!("/api/v1/findings?netns={}&closed=1h", ns.inode());
    let ask = || daemon.json(&path)["findings"][0].clone();
    wait_for("the finding opens", || (!ask().is_null()).then_some(()));
    drop(sockets);
    let said = wait_for("the finding closes", || Some(ask()).filter(|finding| !finding["closed"].is_null()));
    daemon.stop(Signal::TERM);

    let told = lines(&fine(&["replay", &flight, "--as", "json"]));
    let of = |what: &str| -> Vec<&Value> {
        let mine = |line: &&Value| line["type"] == what && line["finding"]["id"] == said["id"];
        told.iter().filter(mine).map(|line| &line["finding"]).collect()
    };
    let (opened, closed) = (of("opened"), of("closed"));
    assert_eq!((opened.len(), closed.len()), (1, 1), "{told:#?}");
    assert_eq!(*closed[0], said, "with its id, since, evidence and owner");
    assert_eq!(told[0]["type"], "start");
    assert!(told.iter().any(|line| line["type"] == "moment" && line["states"]["listen"].is_u64()));

    for form in ["findings", "states", "metrics", "json"] {
        let args = ["replay", &flight, "--as", form];
        let first = fine(&args);
        assert!(!first.is_empty());
        assert_eq!(fine(&args), first, "{form} is not the same again");
    }
    let text = fine(&["replay", &flight]);
    assert!(
        text.contains(said["summary"].as_str().expect("text")) && text.contains(" closed after "),
        "{text}"
    );
    let since = said["since"].as_str().expect("a time");
    let then = fine(&["replay", &flight, "--at", since]);
    assert!(then.contains("findings open") && then.contains(said["id"].as_str().expect("an id")), "{then}");
    let page = fine(&["replay", &flight, "--as", "metrics"]);
    // Other programs on this host may make the same trouble.
    let is_leak = |line: &&Value| line["type"] == "opened" && line["finding"]["kind"] == "close_wait_buildup";
    let leaks = told.iter().filter(is_leak).count();
    assert!(
        page.contains(&format!("tcpwatch_findings_total{{kind=\"close_wait_buildup\"}} {leaks}\n")),
        "{page}"
    );
    let strict = File::new("strict", "[close_wait_buildup]\nmin_count = 1000\n");
    let other = fine(&["replay", &flight, "--config", strict.path()]);
    assert!(!other.contains(said["id"].as_str().expect("an id")), "{other}");

    // A part of it in one file, without what tells whose it is.
    let (cut, redacted) = (scratch.file("cut.tcpw"), scratch.file("redacted.tcpw"));
    fine(&["record", "export", "--in", &flight, "--from", "-1m", "-o", &cut]);
    fine(&["record", "export", "--in", &cut, "-o", &redacted, "--redact"]);
    let again = fine(&["replay", &cut, "--as", "json"]);
    assert!(lines(&again).iter().any(|line| line["type"] == "closed" && line["finding"] == said), "{again}");
    let strange = lines(&fine(&["replay", &redacted, "--as", "json"]));
    assert!(strange.iter().any(|line| line["finding"]["id"] == said["id"]), "{strange:#?}");
    assert!(strange[0]["redacted"] == true && strange[0]["host"].is_null());
    let exists = output(&["record", "export", "--in", &flight, "-o", &cut]);
    assert_eq!(exists.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&exists.stderr).contains("exists already"), "{exists:?}");
}

#[test]
fn one_can_record_without_a_daemon() {
    if !process::is_there() {
        return;
    }
    let scratch = Directory::new("alone");
    let file = scratch.file("a.tcpw");
    let told = fine(&["record", "--netlink-only", "--to", &file, "--for", "2s", "--tick", "500ms"]);
    assert!(told.contains("a.tcpw: ") && told.contains(" samples, "), "{told}");
    let states = fine(&["replay", &file, "--as", "states", "--every", "0s"]);
    assert!(states.starts_with("time") && states.lines().count() >= 4, "{states}");
    // Until it is stopped, with everything.
    let file = scratch.file("b.tcpw");
    let running = Running::start(&["record", "--to", &file]);
    wait_for("it has written something", || fs::metadata(&file).ok().filter(|file| file.len() > 1000));
    running.signal(Signal::INT);
    assert_eq!(running.finish().status.code(), Some(0));
    assert!(fine(&["replay", &file]).contains("the end: "));
}

#[track_caller]
fn refused(args: &[&str], code: i32, reason: &str) {
    let Output { status, stdout, stderr } = output(args);
    let told = String::from_utf8_lossy(&stderr);
    assert_eq!(status.code(), Some(code), "{args:?}: {told}");
    assert!(told.contains(reason), "{args:?}: {told}");
    assert!(!told.contains("panicked") && stdout.is_empty(), "{args:?}: {told}");
}

#[test]
fn what_is_no_recording_is_refused_in_words() {
    if !process::is_there() {
        return;
    }
    let scratch = Directory::new("refused");
    let noise = scratch.file("noise.bin");
    fs::write(
        &noise,
        (0..100_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect::<Vec<_>>(),
    )
    .expect("write noise");
    let out = scratch.file("out.tcpw");
    for path in [noise.as_str(), "/etc/passwd", BINARY] {
        refused(&["replay", path], 2, "is no recording of tcpwatch");
        refused(&["record", "export", "--in", path, "-o", &out], 2, "is no recording of tcpwatch");
    }
    refused(&["replay", scratch.path()], 2, "no file in it ends in .tcpw");
    refused(&["replay", "/nowhere"], 2, "cannot read the recording /nowhere");
    refused(&["replay", "/dev/null"], 2, "neither a file nor a directory");
    refused(&["record", "--netlink-only", "--to", "/nowhere/a.tcpw"], 2, "cannot create /nowhere/a.tcpw");
    for args in [
        &["replay", "x", "--at", "yesterday"][..],
        &["replay", "x", "--at", "03:00", "--from", "02:00"],
        &["replay", "x", "--as", "poem"],
        &["record"],
        &["record", "--to", "x", "--for", "soon"],
        &["record", "export"],
    ] {
        refused(args, 64, "");
    }
    assert!(!PathBuf::from(out).exists(), "nothing was written");
}

const BINARY: &str = env!("CARGO_BIN_EXE_tcpwatch");

#[test]
fn broken_recordings_are_replayed_as_far_as_they_go() {
    if !process::is_there() {
        return;
    }
    let scratch = Directory::new("broken");
    let file = scratch.file("a.tcpw");
    fine(&["record", "--netlink-only", "--to", &file, "--for", "3s", "--tick", "100ms"]);
    let whole = fs::read(&file).expect("read it");
    let broken = scratch.file("b.tcpw");
    // The same places every time.
    let mut place = 1;
    for _ in 0..40 {
        place = (place * 7919 + 12_345) % whole.len();
        let mut flipped = whole.clone();
        flipped[place] ^= 1 << (place % 8);
        for bytes in [&whole[..place], &whole[place..], &flipped[..]] {
            fs::write(&broken, bytes).expect("write it");
            let done = output(&["replay", &broken, "--as", "states", "--every", "0s"]);
            let told = String::from_utf8_lossy(&done.stderr);
            assert!(matches!(done.status.code(), Some(0 | 2)), "{place}: {:?} {told}", done.status);
            assert!(!told.contains("panicked"), "{place}: {told}");
        }
    }
    fs::write(&broken, &whole[..whole.len() - 1]).expect("write it");
    let torn = output(&["replay", &broken]);
    assert_eq!(torn.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&torn.stderr).contains("is torn"), "{torn:?}");
}

#[test]
fn recordings_of_other_hosts_are_refused_with_what_to_do() {
    if !process::is_there() {
        return;
    }
    let scratch = Directory::new("remote");
    let file = scratch.file("x.tcpw");
    let remote = "http://db1:9717";
    for args in [
        &["record", "--remote", remote][..],
        &["record", "--to", &file, "--remote", remote],
        &["record", "export", "-o", &file, "--remote", remote],
    ] {
        let done = output(args);
        let told = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(64), "{args:?}: {told}");
        assert!(told.contains(remote) && told.contains("record export -o FILE"), "{args:?}: {told}");
        assert!(done.stdout.is_empty() && !std::path::Path::new(&file).exists(), "{args:?}");
    }
    let help = fine(&["record", "--help"]);
    assert!(help.contains("on the host that they are of") && !help.contains("--remote"), "{help}");
}
