//! `deploy/install.sh` and `uninstall.sh`, below a directory of the test's own. That they do the same with a systemd is
//! tried by `cargo xtask systemd`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::committed;

const CONFIG: &str = "etc/tcpwatch/tcpwatch.toml";

/// What is installed: small, and does what the real one does.
const PROGRAM: &str = concat!("#!/bin/sh\nexec '", env!("CARGO_BIN_EXE_tcpwatch"), "' \"$@\"\n");

struct Host(PathBuf);

impl Host {
    /// With directories that are not ours, and one that ours will be among.
    fn new(hint: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tcpwatch-install-{hint}-{}", std::process::id()));
        fs::create_dir_all(path.join("usr/local/bin")).expect("make a directory");
        fs::create_dir_all(path.join("etc/systemd/system")).expect("make a directory");
        fs::write(path.join("usr/local/bin/other"), "not ours").expect("write a file");
        Self(path)
    }

    /// A program beside what is installed.
    fn program(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).expect("write a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("make it a program");
        path.to_str().expect("plain text").to_owned()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn run(&self, script: &Path, args: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new("sh");
        let Output { status, stdout, stderr } =
            command.arg(script).args(args).arg("--destdir").arg(&self.0).output().expect("a shell");
        let said = [stdout, stderr].concat();
        (status.code(), String::from_utf8(said).expect("UTF-8"))
    }

    fn install(&self, binary: &str, more: &[&str]) -> String {
        let args = [&["--binary", binary], more].concat();
        let (code, said) = self.run(&committed::root().join("deploy/install.sh"), &args);
        assert_eq!(code, Some(0), "{said}");
        said
    }

    /// By the script that was installed.
    fn uninstall(&self, more: &[&str]) -> String {
        let (code, said) = self.run(&self.path("usr/local/share/tcpwatch/uninstall.sh"), more);
        assert_eq!(code, Some(0), "{said}");
        said
    }

    /// Every path with its mode and, of files, what is in it and its inode.
    fn tree(&self) -> BTreeMap<PathBuf, (u32, u64, String)> {
        let mut all = BTreeMap::new();
        let mut waiting = vec![self.0.clone()];
        while let Some(directory) = waiting.pop() {
            for entry in fs::read_dir(directory).expect("list it") {
                let path = entry.expect("an entry").path();
                let data = fs::symlink_metadata(&path).expect("it is there");
                let is_directory = data.is_dir();
                let (inode, content) =
                    if is_directory { (0, String::new()) } else { (data.ino(), text(&path)) };
                all.insert(path.clone(), (data.mode(), inode, content));
                if is_directory {
                    waiting.push(path);
                }
            }
        }
        all
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Whatever is left is the system's to clean.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn what_was_installed_works_and_goes_without_a_trace() {
    let host = Host::new("whole");
    let program = host.program("tcpwatch", PROGRAM);
    let before = host.tree();
    let said = host.install(&program, &["--dry-run"]);
    assert!(said.contains("install ") && said.contains("(dry run)"), "{said}");
    assert_eq!(host.tree(), before, "a dry run changes nothing");

    host.install(&program, &[]);
    for (path, mode, content) in [
        ("usr/local/bin/tcpwatch", 0o755, ""),
        ("usr/local/share/bash-completion/completions/tcpwatch", 0o644, "complete"),
        ("usr/local/share/zsh/site-functions/_tcpwatch", 0o644, "#compdef tcpwatch"),
        ("usr/local/share/fish/vendor_completions.d/tcpwatch.fish", 0o644, "complete"),
        ("usr/local/share/man/man1/tcpwatch.1", 0o644, ".TH tcpwatch 1"),
        ("usr/local/share/man/man1/tcpwatch-netstat.1", 0o644, ".TH tcpwatch-netstat 1"),
        ("etc/systemd/system/tcpwatch.service", 0o644, "ExecStart=/usr/local/bin/tcpwatch run"),
    ] {
        let found = fs::metadata(host.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(found.permissions().mode() & 0o7777, mode, "{path}");
        if !content.is_empty() {
            assert!(text(&host.path(path)).contains(content), "{path}");
        }
    }
    let help = Command::new(&program).arg("--help").output().expect("the binary");
    let commands = String::from_utf8(help.stdout).expect("UTF-8").matches("\n  ").count();
    let pages = fs::read_dir(host.path("usr/local/share/man/man1")).expect("pages").count();
    assert!(pages > 10 && pages < commands, "{pages} manual pages");

    // The configuration names every option and sets none.
    let print = Command::new(host.path("usr/local/bin/tcpwatch"))
        .args(["run", "--print-config", "--config"])
        .arg(host.path(CONFIG))
        .output()
        .expect("what was installed runs");
    assert!(print.status.success(), "{print:?}");
    assert_eq!(String::from_utf8(print.stdout).expect("UTF-8"), committed::read("deploy/tcpwatch.toml"));
    let config = text(&host.path(CONFIG));
    assert!(config.contains("\n#min_count = ") && !config.contains("\nmin_count"), "{config}");

    let installed = host.tree();
    let said = host.install(&program, &[]);
    assert_eq!(host.tree(), installed, "a second time nothing is written: {said}");

    let said = host.uninstall(&["--dry-run"]);
    assert!(said.contains("remove  "), "{said}");
    assert_eq!(host.tree(), installed, "a dry run changes nothing");
    host.uninstall(&[]);
    assert_eq!(host.tree(), before, "nothing is left, and what is of others is");
}

#[test]
fn an_upgrade_keeps_what_the_host_has_changed() {
    let host = Host::new("upgrade");
    let program = host.program("tcpwatch", PROGRAM);
    let newer = host.program("newer", &format!("{PROGRAM}# newer\n"));
    host.install(&program, &[]);

    // One that nobody has changed is brought up to date: as if an older version had left it.
    let noted = host.path("usr/local/share/tcpwatch/installed");
    let older = "# older\n";
    fs::write(host.path(CONFIG), older).expect("write it");
    let sum = Command::new("sh").args(["-c", "cksum <\"$1\"", "sh"]).arg(host.path(CONFIG)).output();
    let sum = String::from_utf8(sum.expect("a shell").stdout).expect("UTF-8");
    let list: String = text(&noted)
        .lines()
        .map(|line| match line.strip_prefix("configuration ") {
            Some(_) => format!("configuration /{CONFIG} {}\n", sum.trim()),
            None => format!("{line}\n"),
        })
        .collect();
    fs::write(&noted, list).expect("write it");
    let said = host.install(&newer, &[]);
    assert!(said.contains("replace ") && said.contains("bin/tcpwatch"), "{said}");
    assert_eq!(text(&host.path("usr/local/bin/tcpwatch")), text(Path::new(&newer)));
    assert_ne!(text(&host.path(CONFIG)), older);

    let own = "[findings]\nclose_after = \"45s\"\n";
    fs::write(host.path(CONFIG), own).expect("write it");
    let said = host.install(&program, &[]);
    assert!(said.contains("keep ") && said.contains("it was changed"), "{said}");
    assert_eq!(text(&host.path(CONFIG)), own);

    // What the new version would not take is found out before anything is replaced.
    fs::write(host.path(CONFIG), "[findings]\nno_such = 1\n").expect("write it");
    let before = host.tree();
    let args = ["--binary", newer.as_str()];
    let (code, said) = host.run(&committed::root().join("deploy/install.sh"), &args);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("no_such") && said.contains("nothing was changed"), "{said}");
    assert_eq!(host.tree(), before);

    let said = host.uninstall(&[]);
    assert!(said.contains("keep ") && host.path(CONFIG).exists(), "{said}");
    assert!(!host.path("usr/local/bin/tcpwatch").exists() && !host.path("usr/local/share").exists());
    // Nothing is noted any more, and what is there was made by somebody else, for all that one knows.
    let (code, said) = host.run(&committed::root().join("deploy/uninstall.sh"), &["--purge"]);
    assert_eq!(code, Some(1), "{said}");
}

#[test]
fn what_is_of_others_is_put_aside() {
    let host = Host::new("others");
    let program = host.program("tcpwatch", PROGRAM);
    let (unit, own) = (host.path("etc/systemd/system/tcpwatch.service"), "[Service]\nExecStart=/opt/mine\n");
    let aside = unit.with_extension("service.orig");
    fs::write(&unit, own).expect("write it");
    fs::create_dir_all(host.path("etc/tcpwatch")).expect("make it");
    fs::write(host.path(CONFIG), "# mine\n").expect("write it");
    let before = host.tree();
    let said = host.install(&program, &["--dry-run"]);
    assert!(said.contains("as /etc/systemd/system/tcpwatch.service.orig"), "{said}");
    assert_eq!(host.tree(), before, "a dry run changes nothing");

    host.install(&program, &[]);
    assert!(text(&aside) == own && text(&unit).contains("Type=notify"));
    let said = host.install(&program, &[]);
    assert!(!said.contains("orig"), "the second time it is ours: {said}");
    host.uninstall(&["--purge"]);
    assert!(text(&aside) == own && !unit.exists());
    assert!(!host.path(CONFIG).exists(), "--purge takes a configuration that was there before, too");

    // Whose is whose is not guessed at.
    fs::write(&unit, "another").expect("write it");
    let install = committed::root().join("deploy/install.sh");
    let (code, said) = host.run(&install, &["--binary", &program]);
    assert!(code == Some(1) && said.contains("move one away"), "{said}");
    let (code, said) = host.run(&committed::root().join("deploy/uninstall.sh"), &[]);
    assert_eq!(code, Some(0), "what was installed until then is known: {said}");
    assert_eq!((text(&unit), text(&aside)), ("another".into(), own.into()));
}

#[test]
fn what_was_begun_can_be_gone_on_with_and_undone() {
    let host = Host::new("begun");
    let program = host.program("tcpwatch", PROGRAM);
    let before = host.tree();
    // Manual pages are to be below what is no directory.
    let in_the_way = host.path("usr/local/share");
    fs::create_dir_all(&in_the_way).expect("make it");
    fs::write(in_the_way.join("man"), "").expect("write it");
    let args = ["--binary", program.as_str()];
    let install = committed::root().join("deploy/install.sh");
    let (code, said) = host.run(&install, &args);
    assert_eq!(code, Some(1), "{said}");
    assert!(host.path("usr/local/bin/tcpwatch").exists(), "{said}");
    fs::remove_file(in_the_way.join("man")).expect("remove it");

    let (code, said) = host.run(&install, &args);
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("orig"), "{said}");
    host.uninstall(&[]);
    fs::remove_dir(&in_the_way).expect("it was there before");
    assert_eq!(host.tree(), before);
}

#[test]
fn it_says_what_is_wrong_before_it_does_anything() {
    let host = Host::new("wrong");
    let program = host.program("tcpwatch", PROGRAM);
    let before = host.tree();
    for (args, told) in [
        (&["--binary", "/no/such/file"][..], "there is no /no/such/file"),
        (&["--binary", "/etc/passwd"], "does not run on this machine"),
        (&["--prefix", "relative"], "has to begin with /"),
        (&["--binary", program.as_str(), "--prefix", "/opt/my apps"], "may have letters"),
        (&["--binary", program.as_str(), "--start"], "--start needs the system itself"),
        (&["--no-such-option"], "there is no option --no-such-option"),
    ] {
        let (code, said) = host.run(&committed::root().join("deploy/install.sh"), args);
        assert_eq!(code, Some(1), "{args:?}: {said}");
        assert!(said.contains(told), "{args:?}: {said}");
    }
    let (code, said) = host.run(&committed::root().join("deploy/uninstall.sh"), &[]);
    assert!(code == Some(1) && said.contains("nothing is installed there"), "{said}");
    assert_eq!(host.tree(), before);
}

#[test]
fn everything_goes_below_another_prefix() {
    let host = Host::new("prefix");
    let program = host.program("tcpwatch", PROGRAM);
    let before = host.tree();
    host.install(&program, &["--prefix=/usr"]);
    let unit = text(&host.path("usr/lib/systemd/system/tcpwatch.service"));
    assert!(unit.contains("ExecStart=/usr/bin/tcpwatch run "), "{unit}");
    assert!(!unit.contains("/usr/local"), "{unit}");
    let script = host.path("usr/share/tcpwatch/uninstall.sh");
    let (code, said) = host.run(&script, &["--prefix", "/elsewhere"]);
    assert_eq!(code, Some(1), "{said}");
    let (code, said) = host.run(&script, &[]);
    assert_eq!(code, Some(0), "it knows where it was put: {said}");
    assert_eq!(host.tree(), before);
}
