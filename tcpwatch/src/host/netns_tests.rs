//! Tests of discovery and entering; those with real namespaces need root.

use super::*;
use crate::host::caps::drop_to;
use crate::host::procfs::NetCounters;
use crate::host::testns::TestNs;
use rustix::thread::CapabilitySet;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

fn inode_of(path: &str) -> u64 {
    statat(CWD, path, AtFlags::empty()).unwrap().st_ino
}

/// A process in a namespace of its own, ended with the test.
struct Alone(Child);

impl Alone {
    fn new() -> Self {
        let child = Command::new("unshare").args(["-n", "sleep", "60"]).spawn().unwrap();
        let alone = Self(child);
        while alone.inode() == inode_of(OWN) {
            std::thread::sleep(Duration::from_millis(2));
        }
        alone
    }
    fn inode(&self) -> u64 {
        inode_of(&format!("/proc/{}/ns/net", self.0.id()))
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn mountinfo_lines() {
    let text = b"36 25 0:33 / /sys rw shared:7 - sysfs sysfs rw\n\
        700 30 0:4 net:[4026532218] /run/netns/a\\040b\\134 rw shared:9 - nsfs nsfs rw\n\
        701 30 0:4 mnt:[4026532219] /run/x rw - nsfs nsfs rw\n\
        702 30 0:4 net:[4026532220] /run/docker/netns/0f rw - nsfs nsfs rw\n\
        703 30 0:4 net:[abc] /bad rw\n704 30 0:4 net:[1]\n705 30 0:4 net:[1 /cut\n\n\xff\xfe\n";
    let found: Vec<_> = parse_mounts(text).collect();
    assert_eq!(
        found,
        [
            (4_026_532_218, PathBuf::from("/run/netns/a b\\")),
            (4_026_532_220, PathBuf::from("/run/docker/netns/0f")),
        ]
    );
    for end in 0..text.len() {
        parse_mounts(&text[..end]).count();
    }
    assert_eq!(unescape(b"\\04"), b"\\04");
    assert_eq!(unescape(b"\\999\\"), b"\\999\\");
    assert_eq!(unescape(b"\\377"), [255]);
}

#[test]
fn finds_own_named_and_process() {
    let named = TestNs::new("find");
    let alone = Alone::new();
    let found = discover().unwrap().namespaces;
    let own: Vec<_> = found.iter().filter(|ns| ns.is_own).collect();
    assert_eq!(own.len(), 1);
    assert_eq!(own[0].inode, inode_of(OWN));
    let mount = format!("/run/netns/{}", named.name);
    let handle = named.handle();
    assert_eq!(handle.inode, inode_of(&mount));
    assert_eq!(handle.path, PathBuf::from(mount));
    let process = found.iter().find(|ns| ns.inode == alone.inode()).unwrap();
    assert_eq!(process.name, None);
    assert_eq!(process.path, PathBuf::from(format!("/proc/{}/ns/net", alone.0.id())));
    assert!(found.windows(2).all(|two| two[0].inode < two[1].inode));
}

/// As on a host whose mounts do not reach the daemon's: here a process stands for the first one.
#[test]
fn finds_what_only_another_process_has_mounted() {
    let folder = std::env::temp_dir().join(format!("tcpwatch-mounts-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let point = folder.join("over there");
    fs::write(&point, "").unwrap();
    let script = r#"mount --bind /proc/self/ns/net "$0" && echo there && exec sleep 60"#;
    let mut child = Command::new("unshare")
        .args(["--mount", "--net", "sh", "-c", script])
        .arg(&point)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = [0; 6];
    child.stdout.take().unwrap().read_exact(&mut said).unwrap();
    let process = format!("/proc/{}", child.id());
    let inode = inode_of(&format!("{process}/ns/net"));

    assert!(has_other_mounts(&process));
    assert!(!has_other_mounts("/proc/self") && !has_other_mounts("/proc/0"));
    let look = |mounts: &Mounts<'_>| {
        let mut found = BTreeMap::new();
        add_mounts(mounts, &statat(CWD, OWN, AtFlags::empty()).unwrap(), &mut found).unwrap();
        found.remove(&inode)
    };
    assert_eq!(look(&MOUNTS), None);
    let (list, root) = (format!("{process}/mountinfo"), format!("{process}/root"));
    let handle = look(&Mounts { list: &list, root: &root }).unwrap();
    assert_eq!(handle.name.as_deref(), Some("over there"));
    assert_eq!(handle.path, PathBuf::from(format!("{root}{}", point.display())));
    assert_eq!(within(&handle, || inode_of(OWN)).unwrap(), inode);

    child.kill().unwrap();
    child.wait().unwrap();
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn within_reads_its_own_counters_and_comes_back() {
    let ns = TestNs::new("within");
    let home = inode_of(OWN);
    let read = || {
        let mut buffer = String::new();
        NetCounters::read(Path::new("/proc/thread-self/net"), &mut buffer).unwrap()
    };
    let before = ns.within(read);
    assert!(before.no_sockets());
    assert_eq!(before.snmp.passive_opens, 0);
    let (inside, sockets) = ns.within(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (inode_of(OWN), (listener, stream))
    });
    assert_eq!(inside, ns.handle().inode);
    assert_eq!(inode_of(OWN), home);
    let after = ns.within(read);
    assert_eq!((after.snmp.active_opens, after.snmp.passive_opens), (1, 1));
    assert_eq!(after.sock.inuse, 3);
    assert!(!after.no_sockets());
    drop(sockets);
}

#[test]
fn comes_back_from_a_panic() {
    let ns = TestNs::new("panic");
    let handle = ns.handle();
    let home = inode_of(OWN);
    let caught = std::panic::catch_unwind(|| {
        let _ = within(&handle, || panic!("in a foreign namespace"));
    });
    assert!(caught.is_err());
    assert_eq!(inode_of(OWN), home);
}

#[test]
fn own_namespace_needs_no_move() {
    let own = NetnsHandle { inode: inode_of(OWN), path: "/nowhere".into(), name: None, is_own: true };
    // The path does not even exist, so nothing can have been entered.
    assert_eq!(within(&own, || 7).unwrap(), 7);
}

#[test]
fn gone_and_reused_are_told_from_denied() {
    let alone = Alone::new();
    let mut handle = NetnsHandle {
        inode: alone.inode() + 1,
        path: format!("/proc/{}/ns/net", alone.0.id()).into(),
        name: None,
        is_own: false,
    };
    let never = || panic!("must not run");
    assert!(matches!(within(&handle, never), Err(NetnsError::Gone { .. })));
    handle.inode = alone.inode();
    drop(alone);
    assert!(matches!(within(&handle, never), Err(NetnsError::Gone { .. })));
}

#[test]
fn without_capabilities_it_is_denied() {
    let ns = TestNs::new("denied");
    let handle = ns.handle();
    let outcome = std::thread::spawn(move || {
        drop_to(CapabilitySet::empty()).unwrap();
        within(&handle, || ())
    })
    .join()
    .unwrap();
    let message = outcome.unwrap_err().to_string();
    assert!(message.contains("CAP_SYS_ADMIN"), "{message}");
}

#[test]
fn two_capabilities_suffice() {
    let ns = TestNs::new("caps");
    let alone = Alone::new();
    let with = |keep: CapabilitySet| {
        let (named, inode) = (ns.handle(), alone.inode());
        std::thread::spawn(move || {
            drop_to(keep).unwrap();
            let found = discover().unwrap();
            let process = found.namespaces.iter().find(|ns| ns.inode == inode);
            let entered = process.is_some_and(|ns| within(ns, || ()).is_ok());
            (within(&named, || ()).is_ok(), entered, found.unreadable)
        })
        .join()
        .unwrap()
    };
    let (admin, ptrace) = (CapabilitySet::SYS_ADMIN, CapabilitySet::SYS_PTRACE);
    let (named, entered, unreadable) = with(admin | ptrace);
    assert!(named && entered);
    let (named, entered, more) = with(admin);
    assert!(named && !entered && more > unreadable);
}

/// Its child loses the right to come back and must not go on.
#[test]
fn aborts_when_it_cannot_come_back() {
    const CHILD: &str = "TCPWATCH_TEST_LOST_NETNS";
    if let Some(name) = std::env::var_os(CHILD) {
        let handle = NetnsHandle {
            inode: inode_of(&format!("/run/netns/{}", name.display())),
            path: Path::new("/run/netns").join(name),
            name: None,
            is_own: false,
        };
        let _ = within(&handle, || drop_to(CapabilitySet::empty()).unwrap());
        println!("went on in a foreign namespace");
        return;
    }
    let ns = TestNs::new("lost");
    let out = Command::new(std::env::current_exe().unwrap())
        .args(["aborts_when_it_cannot_come_back", "--nocapture"])
        .env(CHILD, &ns.name)
        .output()
        .unwrap();
    assert_eq!(out.status.signal(), Some(6), "{out:?}");
    let error = String::from_utf8(out.stderr).unwrap();
    assert!(error.contains("fatal: cannot return"), "{error}");
    assert!(!String::from_utf8(out.stdout).unwrap().contains("went on"));
}

#[test]
fn holds_nothing_open() {
    let ns = TestNs::new("held");
    let handle = ns.handle();
    within(&handle, || ()).unwrap();
    let held = fs::read_dir("/proc/self/fd").unwrap().any(|fd| {
        fs::read_link(fd.unwrap().path()).is_ok_and(|to| to == Path::new(&format!("net:[{}]", handle.inode)))
    });
    assert!(!held);
}
