//! A named network namespace for one test, removed at its end.

use super::netns::{self, NetnsHandle};
use std::process::Command;
use std::sync::Mutex;

/// `ip netns add` remounts its directory: two at once get in each other's way.
static ADDING: Mutex<()> = Mutex::new(());

pub struct TestNs {
    pub name: String,
}

impl TestNs {
    pub fn new(tag: &str) -> Self {
        let name = format!("twtest-{tag}-{}", std::process::id());
        {
            let _one = ADDING.lock().unwrap();
            sh(&format!("ip netns add {name}"));
        }
        let ns = Self { name };
        ns.exec("ip link set lo up");
        ns
    }

    /// Runs a shell command inside and returns what it printed.
    pub fn exec(&self, command: &str) -> String {
        sh(&format!("ip netns exec {} {command}", self.name))
    }

    pub fn handle(&self) -> NetnsHandle {
        netns::discover()
            .unwrap()
            .namespaces
            .into_iter()
            .find(|ns| ns.name.as_deref() == Some(&self.name))
            .unwrap()
    }

    pub fn within<T>(&self, f: impl FnOnce() -> T) -> T {
        netns::within(&self.handle(), f).unwrap()
    }
}

impl Drop for TestNs {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

fn sh(command: &str) -> String {
    let out = Command::new("sh").args(["-c", command]).output().unwrap();
    let error = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{command}: {error}");
    String::from_utf8(out.stdout).unwrap()
}
