//! Completions and manual pages, held against the programs that read them.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use super::examples::{commands, has};
use super::process::{self, BINARY, output};

/// What a program says to this input; `None` if this host has no such program.
fn feed(program: &str, args: &[&str], input: &[u8]) -> Option<Output> {
    if !has(program) {
        println!("left out: there is no {program} here");
        return None;
    }
    let mut command = Command::new(program);
    let command = command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("start it");
    child.stdin.take().expect("piped").write_all(input).expect("it reads all");
    Some(child.wait_with_output().expect("it ends"))
}

#[test]
fn shells_understand_the_completions() {
    if !process::is_there() {
        return;
    }
    for (shell, args) in [("bash", &["-n"][..]), ("zsh", &["-n"]), ("fish", &["--no-execute"])] {
        let script = output(&["completions", shell]);
        assert_eq!(script.status.code(), Some(0), "{script:?}");
        let text = String::from_utf8(script.stdout).expect("UTF-8");
        for word in ["findings", "close_wait_buildup", "remote"] {
            assert!(text.contains(word), "{shell} does not know {word}");
        }
        if let Some(read) = feed(shell, args, text.as_bytes()) {
            assert!(read.status.success() && read.stderr.is_empty(), "{shell}: {read:?}");
        }
    }
    let wrong = output(&["completions", "tcsh"]);
    assert_eq!(wrong.status.code(), Some(64), "{wrong:?}");
}

#[test]
fn bash_completes_what_is_typed() {
    if !process::is_there() || !has("bash") {
        return;
    }
    let script = output(&["completions", "bash"]);
    let mut text = String::from_utf8(script.stdout).expect("UTF-8");
    text += "COMP_WORDS=(tcpwatch findings --sev); COMP_CWORD=2; _tcpwatch tcpwatch --sev findings\n\
             echo \"${COMPREPLY[@]}\"\n";
    let typed = feed("bash", &["--norc"], text.as_bytes()).expect("bash");
    assert_eq!(String::from_utf8_lossy(&typed.stdout).trim(), "--severity", "{typed:?}");
}

#[test]
fn a_closed_pipe_is_no_error() {
    if !process::is_there() || !has("bash") {
        return;
    }
    for command in ["completions bash", "man run", "explain close_wait --alone"] {
        let line = format!("{BINARY} {command} | head -c 1");
        let ended = Command::new("bash").args(["-o", "pipefail", "-c", &line]).output().expect("bash");
        assert_eq!(ended.status.code(), Some(0), "{command}: {ended:?}");
        assert!(ended.stderr.is_empty() && ended.stdout.len() == 1, "{command}: {ended:?}");
    }
}

#[test]
fn every_page_renders() {
    if !process::is_there() {
        return;
    }
    let mut pages = vec![None];
    pages.extend(commands().into_iter().map(Some));
    for command in pages {
        let mut args = vec!["man"];
        args.extend(command.as_deref());
        let page = output(&args);
        assert_eq!(page.status.code(), Some(0), "{page:?}");
        let title = command.as_deref().map_or("tcpwatch".into(), |command| format!("tcpwatch-{command}"));
        let text = String::from_utf8_lossy(&page.stdout).into_owned();
        assert!(text.contains(&format!(".TH {title} 1")), "{text}");
        if let Some(shown) = feed("man", &["--warnings", "-l", "-"], &page.stdout) {
            assert!(shown.status.success() && shown.stderr.is_empty(), "{title}: {shown:?}");
            let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
            assert!(shown.contains("EXAMPLES") && shown.contains("tcpwatch "), "{shown}");
        }
    }
    let wrong = output(&["man", "nothing"]);
    assert_eq!(wrong.status.code(), Some(64), "{wrong:?}");
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("there is no command \"nothing\""), "{wrong:?}");
}
