//! `deploy/systemd/tcpwatch.service` and the scripts, held against the tools that know what is right.

use std::collections::BTreeSet;
use std::env;
use std::process::Command;

use tcpwatch::host::caps;

use crate::committed;

const UNIT: &str = "deploy/systemd/tcpwatch.service";

/// What `systemd-analyze security` may give at most, of 10, times ten. Below 5 is what it calls fine; what is left is
/// explained in the unit.
const MOST_EXPOSED: &str = "25";

/// Whether this host has a program. The gate has all of them.
#[expect(clippy::print_stdout, reason = "shown with the test that fails, or by --nocapture")]
fn has(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let there = env::split_paths(&path).any(|directory| directory.join(program).is_file());
    assert!(there || env::var_os("CI").is_none(), "there is no {program}");
    if !there {
        println!("left out: there is no {program} here");
    }
    there
}

fn settings() -> Vec<(String, String)> {
    let text = committed::read(UNIT);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once('=')).map(|(name, value)| (name.into(), value.into())).collect()
}

#[test]
fn systemd_finds_the_unit_right_and_shut() {
    if !has("systemd-analyze") {
        return;
    }
    let analyze = |args: &[&str]| {
        let mut command = Command::new("systemd-analyze");
        command
            .args(args)
            .arg(committed::root().join(UNIT))
            .env("SYSTEMD_COLORS", "0")
            .output()
            .expect("it runs")
    };
    let verified = analyze(&["verify", "--man=no"]);
    let told = String::from_utf8_lossy(&verified.stderr).into_owned();
    // It is not installed here. Nothing else may be wrong.
    let other: Vec<&str> =
        told.lines().filter(|line| !line.contains("bin/tcpwatch is not executable")).collect();
    assert!(other.is_empty(), "{told}");
    let judged = analyze(&["security", "--offline=true", "--no-pager", "--threshold", MOST_EXPOSED]);
    assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stdout));
    let stricter = analyze(&["security", "--offline=true", "--no-pager", "--threshold", "5"]);
    assert!(!stricter.status.success(), "a threshold that nothing can miss shows nothing");
}

#[test]
fn it_has_the_capabilities_that_the_daemon_keeps() {
    // SYS_ADMIN holds these two.
    let held = ["CAP_BPF", "CAP_PERFMON"];
    let wanted = caps::names(caps::sampling()).into_iter().filter(|name| !held.contains(&name.as_str()));
    let wanted: BTreeSet<String> = wanted.collect();
    assert!(wanted.contains("CAP_SYS_ADMIN"), "{wanted:?}");
    for name in ["CapabilityBoundingSet", "AmbientCapabilities"] {
        let settings = settings();
        let (_, value) = settings.iter().find(|(found, _)| found == name).expect("it is set");
        assert_eq!(value.split(' ').map(str::to_owned).collect::<BTreeSet<_>>(), wanted, "{name}");
    }
}

/// Those that a reader would miss, and that must not be set: each is explained below `Left open on purpose`.
#[test]
fn what_is_left_open_is_explained() {
    let text = committed::read(UNIT);
    let (_, open) = text.split_once("# Left open on purpose:\n").expect("a list");
    let set: BTreeSet<String> = settings().into_iter().map(|(name, _)| name).collect();
    for name in
        ["ProtectProc", "ProcSubset", "PrivateNetwork", "PrivateUsers", "IPAddressDeny", "PrivatePIDs"]
    {
        assert!(open.contains(&format!("{name}=")) && !set.contains(name), "{name}");
    }
}

#[test]
fn the_scripts_are_sound() {
    let scripts = ["deploy/install.sh", "deploy/uninstall.sh"].map(|script| committed::root().join(script));
    if has("shellcheck") {
        let checked =
            Command::new("shellcheck").args(["--shell", "sh"]).args(&scripts).output().expect("it runs");
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    }
    for script in scripts {
        let checked = Command::new("sh").arg("-n").arg(&script).output().expect("a shell");
        assert!(checked.status.success(), "{checked:?}");
    }
}
