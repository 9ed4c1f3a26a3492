//! The memory of processes, on a tree of files that looks like `/proc`, and on real ones.

use std::fs;
use std::process::Command;

use super::*;
use crate::process::Pod;
use crate::roster::Entry;

/// A directory like `/proc`, gone when dropped.
struct Proc(PathBuf);

impl Proc {
    fn new(name: &str) -> Self {
        let root = std::env::temp_dir().join(format!("tcpwatch-proc-{name}-{}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        Self(root)
    }

    fn add(&self, pid: u32, command: &str, start: u64) {
        let directory = self.0.join(pid.to_string());
        fs::create_dir_all(directory.join("fd")).unwrap();
        let stat = format!("{pid} ({command}) S 1 0 0 0 0 0 0 0 0 0 0 0 0 0 20 0 1 0 {start} 0 0\n");
        fs::write(directory.join("stat"), stat).unwrap();
        fs::write(directory.join("status"), format!("Uid:\t0\t0\t0\t0\nNSpid:\t{pid}\t1\n")).unwrap();
        fs::write(directory.join("cgroup"), "0::/system.slice/web.service\n").unwrap();
        fs::write(directory.join("limits"), "Max open files   100   200   files\n").unwrap();
    }

    fn remove(&self, pid: u32) {
        fs::remove_dir_all(self.0.join(pid.to_string())).unwrap();
    }

    fn processes(&self) -> Processes {
        Processes { root: self.0.clone(), ..Processes::default() }
    }
}

impl Drop for Proc {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn one(processes: &mut Processes, pid: u32, now: Instant) -> Process {
    let mut found = processes.describe_at([pid, 0, pid].into_iter(), now);
    let process = found.remove(&pid).expect("it is told of");
    assert!(found.is_empty());
    Process::clone(&process)
}

#[test]
fn processes_come_go_and_are_replaced() {
    let proc = Proc::new("life");
    let mut processes = proc.processes();
    let start = Instant::now();
    let later = |seconds| start + Duration::from_secs(seconds);
    proc.add(7, "web", 100);
    let first = one(&mut processes, 7, start);
    assert_eq!((first.command.as_deref(), first.inner_pid, first.exited), (Some("web"), Some(1), false));
    assert_eq!((first.unit.as_deref(), first.uid), (Some("web.service"), Some(0)));
    assert_eq!(first.user.as_deref(), Some("root"));

    proc.remove(7);
    assert!(!one(&mut processes, 7, later(4)).exited, "nobody has looked");
    let ended = one(&mut processes, 7, later(5));
    assert_eq!(ended, Process { exited: true, ..first.clone() }, "what was known is kept");
    assert_eq!(one(&mut processes, 7, later(20)), ended);

    proc.add(7, "other", 200);
    let second = one(&mut processes, 7, later(30));
    assert_eq!((second.command.as_deref(), second.exited), (Some("other"), false), "another has its number");
    // The same process runs another program.
    proc.add(7, "third", 200);
    fs::write(proc.0.join("7/cgroup"), "0::/x.service\n").unwrap();
    assert_eq!(one(&mut processes, 7, later(40)).unit.as_deref(), Some("x.service"));
    // It is moved, which shows in time.
    fs::write(proc.0.join("7/cgroup"), "0::/y.service\n").unwrap();
    assert_eq!(one(&mut processes, 7, later(50)).unit.as_deref(), Some("x.service"));
    assert_eq!(one(&mut processes, 7, later(110)).unit.as_deref(), Some("y.service"));
}

#[test]
fn of_what_ended_unread_the_name_may_be_known() {
    let proc = Proc::new("short");
    let mut processes = proc.processes();
    let now = Instant::now();
    processes.note(8, "curl");
    processes.note(0, "nobody");
    let curl = Process { pid: 8, command: Some("curl".into()), exited: true, ..Process::default() };
    assert_eq!(one(&mut processes, 8, now), curl);
    assert_eq!(one(&mut processes, 9, now), Process { pid: 9, exited: true, ..Process::default() });
    assert!(processes.describe_at([0].into_iter(), now).is_empty(), "0 is no process");
    assert!(!processes.known.contains_key(&0));
    // One that was met and still runs is read.
    proc.add(10, "wget", 1);
    processes.note(10, "wg");
    assert_eq!(one(&mut processes, 10, now).command.as_deref(), Some("wget"));
    processes.note(10, "other");
    assert_eq!(one(&mut processes, 10, now).command.as_deref(), Some("wget"));
}

#[test]
fn work_and_memory_are_bounded() {
    let proc = Proc::new("many");
    let mut processes = proc.processes();
    let start = Instant::now();
    assert_eq!(processes.describe_at(1..2000, start).len(), READ_AT_ONCE);
    assert_eq!(processes.describe_at(1..2000, start).len(), 2 * READ_AT_ONCE, "the next ones");
    for turn in 0..40 {
        let first = turn * 256 + 1;
        processes.describe_at(first..first + 256, start + Duration::from_secs(turn.into()));
        assert!(processes.known.len() <= MOST_ENDED, "they have all ended");
    }
    for pid in 20_000..30_000 {
        processes.note(pid, "x");
        assert!(processes.known.len() <= MOST);
    }
    assert!(processes.known.contains_key(&29_999) && !processes.known.contains_key(&20_000));
}

#[test]
fn a_real_process_is_remembered_after_its_end() {
    let mut processes = Processes::default();
    let now = Instant::now();
    let mut child = Command::new("sleep").arg("60").spawn().unwrap();
    let pid = child.id();
    let running = one(&mut processes, pid, now);
    assert!(!running.exited && running.files.is_some(), "{running:?}");
    child.kill().unwrap();
    // It is a zombie now or soon.
    child.wait().unwrap();
    let ended = one(&mut processes, pid, now + LOOK_EVERY);
    assert_eq!(ended, Process { exited: true, ..running });
}

#[test]
fn pods_get_their_names_when_the_cluster_tells_and_keep_them() {
    let proc = Proc::new("pods");
    let mut processes = proc.processes();
    let start = Instant::now();
    let later = |seconds| start + Duration::from_secs(seconds);
    let (id, uid) = ("ab12".repeat(16), "0d6f2a3e-6f0b-4c5e-9c6d-0b6f2c1d7a11");
    proc.add(7, "web", 100);
    fs::write(proc.0.join("7/cgroup"), format!("0::/kubepods/besteffort/pod{uid}/{id}\n")).unwrap();
    let roster = Roster::default();
    processes.follow(roster.clone());
    let shown = |process: &Process| {
        let container = process.container.as_ref().expect("a container");
        (container.name.clone(), process.pod().expect("a pod").path())
    };
    let entry = |name: &str| Entry {
        pod: Arc::new(Pod { uid: uid.into(), name: Some(name.into()), ..Pod::default() }),
        containers: [(id.clone(), String::from("nginx"))].into(),
        ..Entry::default()
    };
    assert_eq!(shown(&one(&mut processes, 7, start)), (None, None));
    roster.publish(Directory::new(vec![Entry { containers: BTreeMap::new(), ..entry("web-1") }]));
    // Without a look at the process, which is not due.
    assert_eq!(shown(&one(&mut processes, 7, start)), (None, Some("web-1".into())));
    roster.publish(Directory::new(vec![entry("web-1")]));
    let named = (Some("nginx".into()), Some("web-1".into()));
    assert_eq!(shown(&one(&mut processes, 7, start)), named);
    roster.publish(Directory::default());
    assert_eq!(shown(&one(&mut processes, 7, start)), named);
    assert_eq!(
        shown(&one(&mut processes, 7, later(110))),
        named,
        "it was read again, and a cgroup has no names"
    );
    proc.remove(7);
    let ended = one(&mut processes, 7, later(200));
    assert!(ended.exited);
    assert_eq!(shown(&ended), named);
    // Its number is another's now, in no container.
    proc.add(7, "other", 200);
    assert_eq!(one(&mut processes, 7, later(300)).container, None);
}
