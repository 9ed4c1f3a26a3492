//! Every example of every command's help is run as it stands there, against a real daemon.

use std::env;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use super::process::{self, BINARY, Daemon, Running, output, wait_for};
use crate::support::netns::Netns;
use crate::support::pty::Terminal;

/// How an example ends that does not end by itself.
enum Way {
    /// It is a daemon: it gets ready, and ends when it is told to.
    Daemon,
    /// It goes on until it is told to end.
    Endless,
    /// It takes the terminal over until it is left.
    Screen,
    /// It cannot be run here; why.
    #[allow(dead_code, reason = "of the examples there are now, all can be run")]
    LeftOut(&'static str),
}

/// All others end by themselves. Each has to be an example still.
const WAYS: &[(&str, Way)] = &[
    ("tcpwatch run", Way::Daemon),
    ("tcpwatch run --listen 0.0.0.0:9717 --tick 5s", Way::Daemon),
    ("tcpwatch run --listen 127.0.0.1:9718 --socket /run/tcpwatch/second.sock", Way::Daemon),
    ("tcpwatch run --config tcpwatch.toml", Way::Daemon),
    ("tcpwatch run --max-tracked 1000000", Way::Daemon),
    ("tcpwatch run --kubeconfig node.kubeconfig --node-name node-1", Way::Daemon),
    ("tcpwatch trace", Way::Endless),
    ("tcpwatch trace --port 443", Way::Endless),
    ("tcpwatch trace --port 5432 --type reset", Way::Endless),
    ("tcpwatch trace --peer 10.0.0.0/8 --state close_wait", Way::Endless),
    ("tcpwatch findings --watch", Way::Endless),
    ("tcpwatch netstat -c 2 syn-sent", Way::Endless),
    ("tcpwatch top", Way::Screen),
    ("tcpwatch top --remote http://db1:9717", Way::Screen),
    ("tcpwatch top --alone", Way::Screen),
    ("tcpwatch top --netns 4026531840", Way::Screen),
    ("tcpwatch top --interval 5s", Way::Screen),
    ("tcpwatch top --replay incident.tcpw", Way::Screen),
    ("tcpwatch top --replay incident.tcpw --at 03:12", Way::Screen),
    ("tcpwatch replay incident.tcpw --as top", Way::Screen),
    ("tcpwatch record --to incident.tcpw --for 10m", Way::Endless),
];

/// What stands for something of the reader's own.
const OF_THE_READER: &[(&str, &str)] = &[
    ("db1:9717", "127.0.0.1:9717"),
    // What was recorded here is seconds old.
    ("--from 02:00 --to 04:00", "--from -1h"),
    ("--at 03:12", ""),
    ("--at -10m", "--at -1s"),
];

/// A network namespace of the reader's.
const INODE: &str = "4026531840";

/// Programs that examples use; without one its examples are left out, which is told.
const TOOLS: &[&str] = &["jq", "man"];

const MOMENT: Duration = Duration::from_secs(4);

/// Whether this host has a program.
pub fn has(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// The names of all commands, as the help lists them.
pub fn commands() -> Vec<String> {
    let help = help(None);
    let list = help.split("\nCommands:\n").nth(1).expect("a list of commands");
    let lines = list.lines().take_while(|line| !line.is_empty());
    // A description may go on below.
    let names = lines.filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')));
    let names = names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
    let names: Vec<String> = names.map(str::to_owned).collect();
    assert!(names.len() > 5 && names.iter().any(|name| name == "doctor"), "{names:?}");
    names
}

pub fn help(command: Option<&str>) -> String {
    let mut args: Vec<&str> = command.into_iter().collect();
    args.push("--help");
    let ended = output(&args);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    String::from_utf8(ended.stdout).expect("UTF-8")
}

/// The commands below `Examples:`, without what is said of them.
pub fn examples(help: &str) -> Vec<String> {
    let (_, block) = help.split_once("\nExamples:\n").unwrap_or_else(|| panic!("no examples in {help}"));
    let lines = block.lines().take_while(|line| !line.is_empty());
    let found: Vec<String> = lines
        .map(|line| {
            let line = line.strip_prefix("  ").unwrap_or_else(|| panic!("{line:?} is no example"));
            let example = line.split("  ").next().expect("a first part");
            assert!(example.contains("tcpwatch "), "{line:?} is no example");
            example.to_owned()
        })
        .collect();
    assert!(!found.is_empty(), "no examples in {help}");
    found
}

/// A directory of the reader's, where examples leave their files.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let path = env::temp_dir().join(format!("tcpwatch-examples-{}", std::process::id()));
        fs::create_dir_all(&path).expect("make a directory");
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Whatever is left is the system's to clean.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The example in a shell that finds the binary.
fn shell(example: &str, ns: &Netns, directory: &Directory) -> Command {
    let mut line = example.replace(INODE, &ns.inode().to_string());
    for (theirs, ours) in OF_THE_READER {
        line = line.replace(theirs, ours);
    }
    let binaries = Path::new(BINARY).parent().expect("a directory").to_path_buf();
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths(std::iter::once(binaries).chain(env::split_paths(&path))).expect("a PATH");
    let mut command = Command::new("bash");
    command.args(["-o", "pipefail", "-c", &line]).env("PATH", path).env_remove("RUST_LOG");
    // Recordings of this host are none of a test's business.
    command.current_dir(&directory.0).env("STATE_DIRECTORY", &directory.0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    process::interruptible(&mut command);
    command
}

fn interrupt(running: &Running) {
    let group = i32::try_from(running.pid()).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process_group(group, Signal::INT).expect("interrupt it");
}

/// It shows figures, and ends by its key.
fn look(example: &str, ns: &Netns, directory: &Directory) {
    let mut terminal = Terminal::start(shell(example, ns, directory).env("TERM", "xterm"), 80, 24);
    wait_for(example, || {
        let shown = terminal.shown();
        assert!(terminal.has_ended().is_none(), "{example}: {shown}");
        shown.contains("2 States").then_some(())
    });
    terminal.type_in("q");
    let status = wait_for("it ends", || terminal.has_ended());
    assert_eq!(status.code(), Some(0), "{example}: {}", terminal.shown());
}

fn run(example: &str, way: Option<&Way>, ns: &Netns, directory: &Directory) {
    if matches!(way, Some(Way::Screen)) {
        return look(example, ns, directory);
    }
    let mut running = Running::spawn(shell(example, ns, directory).process_group(0));
    match way {
        Some(Way::Daemon) => {
            let daemon = Daemon::ready(running);
            interrupt(&daemon.running);
            let ended = daemon.running.finish();
            assert_eq!(ended.status.code(), Some(0), "{example}: {ended:?}");
        }
        Some(Way::Endless) => {
            thread::sleep(MOMENT);
            assert!(!running.has_ended(), "{example} should go on: {:?}", running.finish());
            interrupt(&running);
            let ended = running.finish();
            let told = String::from_utf8_lossy(&ended.stderr);
            assert!(!told.contains("panicked") && !told.contains("error"), "{example}: {ended:?}");
        }
        Some(Way::LeftOut(reason)) => panic!("{example} was to be left out: {reason}"),
        Some(Way::Screen) => panic!("{example} needs a terminal"),
        None => {
            let ended = running.finish();
            let told = String::from_utf8_lossy(&ended.stderr);
            // Other programs on this host may make trouble; to find it is no failure.
            let most = if example.starts_with("tcpwatch check") { 2 } else { 1 };
            let code = ended.status.code();
            assert!(code.is_some_and(|code| (0..=most).contains(&code)), "{example}: {ended:?}");
            assert!(!told.contains("panicked"), "{example}: {ended:?}");
        }
    }
}

#[test]
fn every_example_of_every_command_works() {
    if !process::is_there() || !has("bash") {
        return;
    }
    let mut all = examples(&help(None));
    for command in commands() {
        let of_command = examples(&help(Some(&command)));
        let own = format!("tcpwatch {command}");
        assert!(of_command.iter().all(|example| example.contains(&own)), "{command}: {of_command:?}");
        all.extend(of_command);
    }
    for (example, _) in WAYS {
        assert!(all.iter().any(|one| one == example), "{example} is no example any more");
    }
    let way = |example: &str| WAYS.iter().find(|(one, _)| *one == example).map(|(_, way)| way);
    let missing = |example: &str| {
        let uses = |tool: &&&str| example.contains(&format!("| {tool} "));
        TOOLS.iter().find(uses).filter(|tool| !has(tool)).map(|tool| format!("there is no {tool} here"))
    };
    let directory = Directory::new();
    let ns = Netns::new("examples");
    ns.run_apart(|| {
        // Daemons take the default port: they come first, and the files that they are given before them.
        let (daemons, mut others): (Vec<&String>, Vec<&String>) =
            all.iter().partition(|example| example.starts_with("tcpwatch run"));
        // What is recorded by some is shown by others.
        others.sort_by_key(|example| !example.starts_with("tcpwatch record"));
        for example in daemons {
            run(example, way(example), &ns, &directory);
        }
        let flight = directory.0.join("flight");
        let daemon = Daemon::run(&["--record-dir", flight.to_str().expect("UTF-8")]);
        // For something to be recorded.
        thread::sleep(MOMENT);
        for example in others {
            let reason = match way(example) {
                Some(Way::LeftOut(reason)) => Some((*reason).to_owned()),
                _ => missing(example),
            };
            match reason {
                Some(reason) => println!("left out: {example}: {reason}"),
                None => run(example, way(example), &ns, &directory),
            }
        }
        daemon.stop(Signal::TERM);
    });
}

#[test]
fn examples_are_taken_apart() {
    let help =
        "x\n\nExamples:\n  tcpwatch a 'b c'      what it does\n  source <(tcpwatch b)\n\nExit codes: 0";
    assert_eq!(examples(help), ["tcpwatch a 'b c'", "source <(tcpwatch b)"]);
}
