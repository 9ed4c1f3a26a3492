//! What is known of one thing, as lines.

use ratatui::layout::Rect;

use super::panes::{namespace, pair};
use super::paper::{Ink, age, count, wrap};
use crate::top::data::{Finding, Listener, Memory, Owner, Remote, Snapshot};
use crate::top::subject::Subject;
use crate::view::bar::bar;
use crate::view::timestamp;

pub(super) type Lines = Vec<(String, Ink)>;

/// Everything, in lines that fit.
pub(super) fn lines(subject: &Subject, snapshot: &Snapshot, area: Rect) -> Lines {
    let mut text = Text { lines: Vec::new(), width: area.width };
    match subject {
        Subject::Finding(one) => finding(one, snapshot, &mut text),
        Subject::Listener(one) => listener(one, snapshot, &mut text),
        Subject::Owner(one) => owner(one, snapshot, &mut text),
        Subject::Remote(one) => remote(one, snapshot, &mut text),
        Subject::State(_) => {}
    }
    text.lines
}

struct Text {
    lines: Lines,
    width: u16,
}

impl Text {
    fn heading(&mut self, text: &str) {
        if !self.lines.is_empty() {
            self.lines.push((String::new(), Ink::Plain));
        }
        self.lines.push((text.into(), Ink::Title));
    }

    fn prose(&mut self, first: &str, text: &str, ink: Ink) {
        let indent = u16::try_from(first.len()).unwrap_or(0);
        let rest = " ".repeat(first.len());
        for (place, line) in wrap(text, self.width.saturating_sub(indent)).into_iter().enumerate() {
            self.lines.push((format!("{}{line}", if place == 0 { first } else { &rest }), ink));
        }
    }

    fn pair(&mut self, name: &str, value: &str) {
        let line = pair(name, value);
        for (place, line) in wrap_keeping(&line, self.width).into_iter().enumerate() {
            self.lines.push((if place == 0 { line } else { format!("  {line}") }, Ink::Plain));
        }
    }
}

/// A line that keeps its spaces where it fits.
fn wrap_keeping(line: &str, width: u16) -> Vec<String> {
    if line.chars().count() <= usize::from(width) {
        vec![line.to_owned()]
    } else {
        wrap(line, width.saturating_sub(2))
    }
}

fn finding(one: &Finding, snapshot: &Snapshot, text: &mut Text) {
    text.prose("", &one.summary, if one.is_critical { Ink::Critical } else { Ink::Warning });
    text.heading("What to do");
    one.advice.iter().for_each(|advice| text.prose("- ", advice, Ink::Strong));
    text.heading("Meaning");
    text.prose("", &one.meaning, Ink::Plain);
    text.heading("Whom it concerns");
    let since = one.since.map(|since| {
        let lasts = snapshot.at.duration_since(since).unwrap_or_default();
        format!("{}, for {}", timestamp(since), age(lasts))
    });
    let parts = [
        ("since", since),
        ("verdict", one.verdict.clone()),
        ("listener", one.listener.clone()),
        ("destination", one.destination.clone()),
        ("remote", one.remote.clone()),
        ("process", Some(one.owner.long_name())),
        ("network namespace", one.netns.map(|netns| namespace(snapshot, netns))),
        ("confidence", one.confidence.map(|number| format!("{number:.2} (0 to 1)"))),
    ];
    for (name, value) in parts {
        if let Some(value) = value {
            text.pair(name, &value);
        }
    }
    text.heading("Evidence");
    for (name, value) in &one.evidence {
        text.pair(name, value);
    }
    text.heading("Verify with other tools");
    for command in &one.verify {
        text.prose("  ", command, Ink::Plain);
    }
}

fn listener(one: &Listener, snapshot: &Snapshot, text: &mut Text) {
    related(snapshot, text, |finding| {
        finding.listener.as_ref() == Some(&one.local) && finding.netns.is_none_or(|netns| netns == one.netns)
    });
    text.heading("Queues");
    text.pair("accept queue", &bar(one.accept.length, one.accept.limit));
    text.pair("syn queue", &bar(one.syn.length, one.syn.limit));
    text.pair("young requests", &format!("{} (their SYN-ACK was sent once)", count(one.young)));
    text.pair(
        "stuck requests",
        &format!("{} (the last ACK came, the accept queue was full)", count(one.stuck)),
    );
    text.pair("SYN-ACKs resent", &one.synack_retransmits.to_string());
    text.heading("Drops since it was first seen");
    text.pair("all", &one.drops.to_string());
    for (cause, number) in &one.causes {
        text.pair(cause, &number.to_string());
    }
    text.heading("Whose it is");
    text.pair("process", &one.owner.long_name());
    text.pair("network namespace", &namespace(snapshot, one.netns));
    text.pair("listening sockets", &one.sockets.to_string());
}

fn owner(one: &Owner, snapshot: &Snapshot, text: &mut Text) {
    related(snapshot, text, |finding| finding.owner.pid.is_some() && finding.owner.pid == one.process.pid);
    text.heading("Process");
    text.pair("process", &one.process.long_name());
    text.heading("Trouble");
    let within = age(snapshot.remotes_within);
    for (name, number) in [
        ("critical findings", one.critical),
        ("warnings", one.warning),
        ("drops", one.drops),
        ("in close_wait", one.close_wait),
        ("stalled sockets", one.stalled),
        ("unread bytes", one.unread_bytes),
        ("sockets", one.sockets),
        ("orphans", one.orphans),
    ] {
        text.pair(name, &number.to_string());
    }
    for (name, number) in
        [("retransmits", one.retransmits), ("resets", one.resets), ("failed connects", one.connect_failures)]
    {
        text.pair(name, &format!("{number} within {within}"));
    }
    text.heading("Kernel memory of its sockets, in bytes");
    let memory = |of: fn(&Memory) -> u64| count(one.memory.as_ref().map(of));
    text.pair("to be sent", &memory(|memory| memory.send));
    text.pair("not read", &memory(|memory| memory.receive));
    text.pair("set aside", &memory(|memory| memory.reserved));
    text.pair("not accepted yet", &format!("{} of these", memory(|memory| memory.unaccepted)));
}

fn remote(one: &Remote, snapshot: &Snapshot, text: &mut Text) {
    related(snapshot, text, |finding| {
        let end = finding.destination.as_deref().and_then(|text| text.rsplit_once(':'));
        let ip = end.map(|(ip, _)| ip.trim_start_matches('[').trim_end_matches(']'));
        finding.remote.as_deref().or(ip) == Some(one.address.as_str())
    });
    text.heading(&format!("Within {}", age(snapshot.remotes_within)));
    for (name, number) in [
        ("data sent again", one.data),
        ("SYNs sent again", one.syn),
        ("SYN-ACKs again", one.synack),
        ("resets sent", one.resets_sent),
        ("resets received", one.resets_received),
        ("failed connects", one.connect_failures),
    ] {
        text.pair(name, &number.to_string());
    }
    text.heading("Who");
    text.pair("remote", &one.address);
    let service = if one.is_client {
        format!("it is a client of port {} here", one.port)
    } else {
        format!("connections go from here to its port {}", one.port)
    };
    text.pair("service", &service);
    text.pair("process", &one.owner.long_name());
    text.pair("network namespace", &namespace(snapshot, one.netns));
}

/// Findings that concern it.
fn related(snapshot: &Snapshot, text: &mut Text, is_it: impl Fn(&Finding) -> bool) {
    let found: Vec<&Finding> = snapshot.findings.iter().flatten().filter(|one| is_it(one)).collect();
    if !found.is_empty() {
        text.heading("Findings");
    }
    for one in found {
        text.prose(
            "",
            &format!("{}: {}", one.kind, one.summary),
            if one.is_critical { Ink::Critical } else { Ink::Warning },
        );
    }
}
