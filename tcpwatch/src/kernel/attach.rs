//! The table of programs: where each is attached, and what is lost where it cannot be.
//!
//! Support is decided by loading and attaching, never by the kernel's version: distributions backport.

use std::os::fd::{AsFd as _, AsRawFd as _, RawFd};

use aya::maps::ProgramArray;
use aya::programs::{BtfTracePoint, Iter, RawTracePoint};
use aya::{Btf, Ebpf};
use tcpwatch_common::names::{map, program};

use super::load::Stage;
use super::signals;

/// How a program gets to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// At a tracepoint, with typed arguments.
    Tracepoint(&'static str),
    /// When one at this tracepoint goes on with it, with the same arguments.
    TailCall(&'static str),
    /// When user space walks all sockets of a namespace, or all files.
    Iterator(&'static str),
    /// When user space calls it.
    Call,
}

impl std::fmt::Display for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tracepoint(name) => write!(f, "tracepoint {name}"),
            Self::TailCall(name) => write!(f, "tail call at tracepoint {name}"),
            Self::Iterator(name) => write!(f, "iterator {name}"),
            Self::Call => f.write_str("called by the daemon"),
        }
    }
}

/// A program of the kernel side.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    pub name: &'static str,
    pub hook: Hook,
    /// What is lost without it; `None` if nothing works without it.
    pub lost: Option<&'static str>,
}

/// Every program that the daemon loads on any kernel.
pub const PROGRAMS: [Program; 13] = [
    Program { name: program::TRANSITION, hook: Hook::Tracepoint("inet_sock_set_state"), lost: None },
    // After `transition`: programs run in the order in which they are attached.
    Program { name: program::TRANSITION_NESTED, hook: Hook::Tracepoint("inet_sock_set_state"), lost: None },
    Program { name: program::TRANSITION_RARE, hook: Hook::TailCall("inet_sock_set_state"), lost: None },
    Program {
        name: program::RETRANSMIT,
        hook: Hook::Tracepoint("tcp_retransmit_skb"),
        lost: Some("retransmitted data and SYN segments"),
    },
    Program {
        name: program::RETRANSMIT_SYNACK,
        hook: Hook::Tracepoint("tcp_retransmit_synack"),
        lost: Some("retransmitted SYN-ACKs, by listener"),
    },
    Program {
        name: program::RESET_SENT,
        hook: Hook::Tracepoint("tcp_send_reset"),
        lost: Some("resets sent"),
    },
    Program {
        name: program::RESET_RECEIVED,
        hook: Hook::Tracepoint("tcp_receive_reset"),
        lost: Some("resets received"),
    },
    Program {
        name: program::CENSUS,
        hook: Hook::Iterator("tcp"),
        lost: Some(
            "exact counts of half-open requests and mini-sockets without asking netlink, and of idle sockets older than the daemon",
        ),
    },
    Program {
        name: program::ROWS,
        hook: Hook::Iterator("tcp"),
        lost: Some("age and owner of single sockets"),
    },
    Program {
        name: program::BRIEF,
        hook: Hook::Iterator("tcp"),
        lost: Some("listings of all sockets as fast as they can be"),
    },
    Program {
        name: program::SURVEY,
        hook: Hook::Iterator("tcp"),
        lost: Some("sockets by owner, age and service, and with that most findings"),
    },
    Program {
        name: program::HOLDERS,
        hook: Hook::Iterator("task_file"),
        lost: Some("owners of accepted sockets, and of those older than the daemon"),
    },
    Program {
        name: program::POLL,
        hook: Hook::Call,
        lost: Some("listeners: queues, limits and drops; and for how long connections are silent or stalled"),
    },
];

/// Those that it also loads where tasks can be preempted in the middle of a tracepoint.
const PREEMPTED: [Program; 2] = [
    Program {
        name: program::TRANSITION_THIRD,
        hook: Hook::Tracepoint("inet_sock_set_state"),
        lost: Some(LOST_PREEMPTED),
    },
    Program {
        name: program::TRANSITION_FOURTH,
        hook: Hook::Tracepoint("inet_sock_set_state"),
        lost: Some(LOST_PREEMPTED),
    },
];

const LOST_PREEMPTED: &str = "transitions made while several tasks are preempted in the midst of another";

/// Only loaded by the benchmark.
pub(super) const EMPTY: Program =
    Program { name: program::EMPTY, hook: Hook::Tracepoint("inet_sock_set_state"), lost: Some("nothing") };

/// The program of this name; the first one if there is none, which a test rules out.
pub(super) fn named(name: &str) -> &'static Program {
    static ALL: [Program; PROGRAMS.len()] = PROGRAMS;
    ALL.iter().find(|program| program.name == name).unwrap_or(&ALL[0])
}

/// What became of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramStatus {
    pub name: &'static str,
    pub hook: Hook,
    pub lost: Option<&'static str>,
    /// Why it is not running, if it is not.
    pub error: Option<String>,
    /// Its file descriptor while it runs, under which `/proc` tells its run time.
    pub fd: Option<RawFd>,
}

impl ProgramStatus {
    pub fn is_loaded(&self) -> bool {
        self.error.is_none()
    }
}

/// Loads and attaches every program that this kernel takes: first all are loaded, which takes long, then all are
/// attached. `None` if it was stopped before the last was loaded.
pub(super) fn attach_all(
    ebpf: &mut Ebpf,
    btf: &Btf,
    is_preemptible: bool,
    stopped: &mut dyn FnMut(Stage) -> bool,
) -> Option<Vec<ProgramStatus>> {
    let more: &[Program] = if is_preemptible { &PREEMPTED } else { &[] };
    let programs = || PROGRAMS.iter().chain(more);
    let mut loaded = Vec::new();
    for (done, program) in programs().enumerate() {
        let of = programs().count();
        if stopped(Stage { what: "loading the eBPF programs", done, of }) {
            return None;
        }
        loaded.push(load(ebpf, btf, program));
    }
    let attached = programs().zip(loaded).map(|(program, loaded)| {
        let attached = loaded.and_then(|fd| attach(ebpf, program).map(|()| fd));
        status(program, attached)
    });
    Some(attached.collect())
}

/// Loads and attaches one program.
pub(super) fn attach_one(ebpf: &mut Ebpf, btf: &Btf, program: &Program) -> ProgramStatus {
    let attached = load(ebpf, btf, program).and_then(|fd| attach(ebpf, program).map(|()| fd));
    status(program, attached)
}

fn status(program: &Program, attached: anyhow::Result<RawFd>) -> ProgramStatus {
    let (fd, error) = match attached {
        Ok(fd) => (Some(fd), None),
        Err(error) => (None, Some(format!("{error:#}"))),
    };
    ProgramStatus { name: program.name, hook: program.hook, lost: program.lost, error, fd }
}

fn load(ebpf: &mut Ebpf, btf: &Btf, program: &Program) -> anyhow::Result<RawFd> {
    // Each by itself, so that nobody waits long who wants to stop.
    signals::held_back(|| load_now(ebpf, btf, program))
}

fn load_now(ebpf: &mut Ebpf, btf: &Btf, program: &Program) -> anyhow::Result<RawFd> {
    let loaded = ebpf
        .program_mut(program.name)
        .ok_or_else(|| anyhow::anyhow!("the eBPF object has no program {}", program.name))?;
    match program.hook {
        Hook::Tracepoint(tracepoint) | Hook::TailCall(tracepoint) => {
            let loaded: &mut BtfTracePoint = loaded.try_into()?;
            loaded.load(tracepoint, btf)?;
            Ok(loaded.fd()?.as_fd().as_raw_fd())
        }
        Hook::Iterator(kind) => {
            let loaded: &mut Iter = loaded.try_into()?;
            loaded.load(kind, btf)?;
            Ok(loaded.fd()?.as_fd().as_raw_fd())
        }
        Hook::Call => {
            let loaded: &mut RawTracePoint = loaded.try_into()?;
            loaded.load()?;
            Ok(loaded.fd()?.as_fd().as_raw_fd())
        }
    }
}

fn attach(ebpf: &mut Ebpf, program: &Program) -> anyhow::Result<()> {
    match program.hook {
        Hook::Tracepoint(_) => {
            if let Some(loaded) = ebpf.program_mut(program.name) {
                let loaded: &mut BtfTracePoint = loaded.try_into()?;
                loaded.attach()?;
            }
        }
        Hook::TailCall(_) => {
            let Some(aya::programs::Program::BtfTracePoint(loaded)) = ebpf.program(program.name) else {
                return Ok(());
            };
            let fd = loaded.fd()?.try_clone()?;
            let rare =
                ebpf.map_mut(map::RARE).ok_or_else(|| anyhow::anyhow!("there is no map {}", map::RARE))?;
            ProgramArray::try_from(rare)?.set(0, &fd, 0)?;
        }
        // Iterators are attached anew for each walk.
        Hook::Iterator(_) | Hook::Call => {}
    }
    Ok(())
}
