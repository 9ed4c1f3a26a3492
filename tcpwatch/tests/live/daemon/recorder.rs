//! The daemon's flight recorder on disks that fill up, and with daemons that are killed.

use std::fs;
use std::thread;

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::process::Signal;
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::process::{self, Daemon, wait_for};
use super::record::{Directory, fine};

#[test]
fn a_full_disk_stops_nothing() {
    if !process::is_there() {
        return;
    }
    // Its mounts are those of this thread and of what it starts.
    let done = thread::spawn(|| {
        // SAFETY: only the mounts of this thread become its own.
        unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.expect("a mount namespace");
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).expect("apart");
        let scratch = Directory::new("full");
        mount("none", scratch.path(), "tmpfs", MountFlags::empty(), Some(c"size=256k"))
            .expect("a small disk");
        let (flight, rest) = (scratch.file("flight"), scratch.file("rest"));
        // All but some bytes.
        let fill = || {
            let mut size = 256 << 10;
            while size > 0 && fs::write(&rest, vec![1; size]).is_err() {
                size -= 4096;
            }
        };
        fill();
        let daemon = Daemon::start(&["--record-dir", &flight]);
        let told = daemon.running.log_line("not recording: ");
        assert!(told.contains("No space left on device"), "{told}");
        fs::remove_file(&rest).expect("make room");
        let told = daemon.running.log_line(" again; ");
        assert!(told.contains("samples are missing"), "{told}");
        // Once more, in the middle of a file.
        fill();
        daemon.running.log_line("not recording: ");
        assert_eq!(daemon.get("/healthz").0, 200);
        fs::remove_file(&rest).expect("make room");
        daemon.running.log_line(" again; ");
        daemon.stop(Signal::TERM);
        let text = fine(&["replay", &flight, "--as", "json", "--every", "0s"]);
        assert!(text.contains("\"type\":\"lost\"") && !text.contains("\"damage\""), "{text}");
        rustix::mount::unmount(scratch.path(), rustix::mount::UnmountFlags::DETACH).expect("unmount");
    });
    done.join().expect("no panic");
}

#[test]
fn a_killed_daemon_leaves_a_recording_and_the_next_goes_on() {
    if !process::is_there() {
        return;
    }
    let scratch = Directory::new("killed");
    let flight = scratch.file("flight");
    let size = || -> u64 {
        let files = fs::read_dir(&flight).into_iter().flatten().flatten();
        files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
    };
    let daemon = Daemon::start(&["--record-dir", &flight, "--tick", "100ms"]);
    wait_for("something is recorded", || (size() > 5000).then_some(()));
    daemon.running.signal(Signal::KILL);
    drop(daemon);
    let killed = fine(&["replay", &flight]);
    assert!(killed.contains("the end: "), "{killed}");

    let daemon = Daemon::start(&["--record-dir", &flight]);
    daemon.running.log_line("recording to ");
    let second = Daemon::start(&["--record-dir", &flight]);
    second.running.log_line("another tcpwatch records to ");
    second.stop(Signal::TERM);
    daemon.stop(Signal::TERM);
    let both = fine(&["replay", &flight]);
    assert_eq!(both.matches(" starts on ").count(), 2, "{both}");
}

#[test]
fn one_line_turns_it_off() {
    if !process::is_there() {
        return;
    }
    let scratch = Directory::new("off");
    let flight = scratch.file("flight");
    let text = format!("[record]\ndirectory = {flight:?}\nenabled = false\n");
    let config = scratch.file("off.toml");
    fs::write(&config, &text).expect("write the configuration");
    // `Daemon::start` would turn it off by itself.
    let args = ["run", "--listen", "127.0.0.1:0", "--netlink-only", "--config", &config];
    let running = process::Running::start(&args);
    running.log_line("listening on ");
    thread::sleep(std::time::Duration::from_secs(2));
    assert!(!std::path::Path::new(&flight).exists());
    // And on again, while it runs.
    fs::write(&config, text.replace("enabled = false\n", "")).expect("write the configuration");
    running.signal(Signal::HUP);
    running.log_line("recording to ");
    running.signal(Signal::TERM);
    assert_eq!(running.finish().status.code(), Some(0));
    assert!(fine(&["replay", &flight]).contains("the end: "));
}
