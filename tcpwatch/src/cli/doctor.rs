//! `tcpwatch doctor`: what this kernel and these privileges allow, what is lost, and what would fix it.

mod prove;

use std::io::{self, Write};
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;

use super::Outcome;
use super::kubernetes::KubernetesArgs;
use crate::causes::causes;
use crate::host::privileges::{self, Privilege};
use crate::host::{caps, kernel_release, netns, owner};
use crate::kernel::{Kernel, Options};
use crate::pods::{self, Patience};
use crate::view::checkup::{Checkup, Kubernetes, LostField, LostPrivilege, Program};

/// How long the cluster is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

const EXAMPLES: &str = "\
Examples:
  tcpwatch doctor
  tcpwatch doctor --json | jq '.programs[] | select(.error)'
  tcpwatch doctor --prove
  tcpwatch doctor --prove --json | jq '.transitions[] | select(.verdict != \"ok\")'

Exit codes: 0 everything works, 1 something is lost, 2 nothing of eBPF works.
With --prove: 0 proven, 1 not proven, 2 nothing could be tried.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct DoctorArgs {
    /// One JSON object.
    #[arg(long)]
    json: bool,
    /// Prove that transitions and states are counted right on this kernel: provoke them, hold sockets in each state, and
    /// compare with netlink and the kernel's counters. Requires root, takes a few seconds, and runs in a temporary network
    /// namespace.
    #[arg(long, conflicts_with_all = ["kubernetes", "kubeconfig", "node_name"])]
    prove: bool,
    #[command(flatten)]
    kubernetes: KubernetesArgs,
}

pub(super) fn doctor(args: &DoctorArgs) -> Result<Outcome> {
    if args.prove {
        return prove::prove(args.json);
    }
    let mut checkup = examine()?;
    checkup.kubernetes = args.kubernetes.options()?.map(ask).transpose()?;
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&checkup)?)?;
    } else {
        print(&mut out, &checkup)?;
    }
    if let Some(error) = checkup.error {
        anyhow::bail!("{error}");
    }
    let without_pods = |kubernetes: &Kubernetes| kubernetes.error.is_some();
    let lost = checkup.programs.iter().any(|program| program.error.is_some())
        || !checkup.lost_fields.is_empty()
        || !checkup.lost_privileges.is_empty()
        || !checkup.host_pids
        || checkup.kubernetes.as_ref().is_some_and(without_pods);
    Ok(if lost { Outcome::Findings } else { Outcome::Fine })
}

fn examine() -> Result<Checkup> {
    let small = Options { sockets: 64, namespaces: 8, ring_bytes: 4096, adopt: false, ..Options::default() };
    let found = netns::discover()?;
    let capabilities = caps::effective().ok();
    let mut checkup = Checkup {
        kernel: kernel_release(),
        architecture: std::env::consts::ARCH,
        capabilities: capabilities.map(caps::names).unwrap_or_default(),
        lost_privileges: capabilities
            .map(|set| privileges::lost(set).map(lost_privilege).collect())
            .unwrap_or_default(),
        error: None,
        programs: Vec::new(),
        lost_fields: Vec::new(),
        namespaces: found.namespaces.len(),
        hidden_processes: found.unreadable,
        host_pids: owner::sees_host_pids(),
        kubernetes: None,
        advice: Vec::new(),
    };
    match Kernel::open(&small) {
        Ok(kernel) => {
            let programs = kernel.programs().iter();
            checkup.programs = programs
                .map(|program| Program {
                    name: program.name,
                    hook: program.hook.to_string(),
                    error: program.error.clone(),
                    lost: program.error.as_ref().and(program.lost),
                })
                .collect();
            let lost = kernel.lost_fields().iter();
            checkup.lost_fields =
                lost.map(|lost| LostField { field: lost.field.clone(), lost: lost.lost }).collect();
        }
        Err(error) => checkup.error = Some(causes(&error)),
    }
    checkup.advice = advice(&checkup);
    Ok(checkup)
}

fn lost_privilege(privilege: &Privilege) -> LostPrivilege {
    LostPrivilege { needs: privilege.any.iter().map(|set| caps::names(*set)).collect(), lost: privilege.lost }
}

/// Asks the cluster once for the pods of this node.
fn ask(options: pods::Options) -> Result<Kubernetes> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the asynchronous runtime")?;
    let patience = Patience { answer: PATIENCE, ..options.patience };
    let options = pods::Options { patience, ..options };
    let answer = runtime.block_on(pods::probe(&options));
    let (server, pods, error) = match answer {
        Ok((server, pods)) => (Some(server), Some(pods), None),
        Err(trouble) => (None, None, Some(trouble.to_string())),
    };
    Ok(Kubernetes { node: options.node, server, pods, error })
}

fn advice(checkup: &Checkup) -> Vec<String> {
    let mut advice = Vec::new();
    let has = |name: &str| checkup.capabilities.iter().any(|have| have.eq_ignore_ascii_case(name));
    if checkup.error.is_some() {
        let may_load = has("CAP_SYS_ADMIN") || (has("CAP_BPF") && has("CAP_PERFMON"));
        let what = if may_load {
            "`tcpwatch run` goes on without eBPF: sockets by state only"
        } else {
            "run it as root, or give it CAP_BPF and CAP_PERFMON"
        };
        advice.push(what.into());
    }
    advice
}

fn print(out: &mut impl Write, checkup: &Checkup) -> io::Result<()> {
    writeln!(out, "kernel        Linux {} on {}", checkup.kernel, checkup.architecture)?;
    let (count, hidden) = (checkup.namespaces, checkup.hidden_processes);
    writeln!(out, "namespaces    {count} network namespaces found; {hidden} processes hide theirs")?;
    writeln!(out, "capabilities  {}", checkup.capabilities.join(" "))?;
    match &checkup.error {
        Some(_) => writeln!(out, "eBPF          does not work (see below)")?,
        None => writeln!(out, "eBPF          works")?,
    }
    for program in &checkup.programs {
        let mark = if program.error.is_none() { "ok  " } else { "LOST" };
        writeln!(out, "  {mark} {:<18} {}", program.name, program.hook)?;
        if let (Some(error), Some(lost)) = (&program.error, program.lost) {
            writeln!(out, "       lost: {lost}\n       why:  {}", error.lines().next().unwrap_or(""))?;
        }
    }
    if !checkup.host_pids {
        writeln!(out, "  LOST owners: {}", owner::FOREIGN_PIDS)?;
    }
    for LostPrivilege { needs, lost } in &checkup.lost_privileges {
        let sets: Vec<String> = needs.iter().map(|set| set.join(" and ")).collect();
        writeln!(out, "  LOST without {}: {lost}", sets.join(", or "))?;
    }
    for field in &checkup.lost_fields {
        writeln!(out, "  LOST field {}: {}", field.field, field.lost)?;
    }
    if let Some(Kubernetes { node, server, pods, error }) = &checkup.kubernetes {
        match (server, pods, error) {
            (Some(server), Some(0), _) => {
                writeln!(out, "pods          none on a node {node} (--node-name says another), {server}")?;
            }
            (Some(server), Some(pods), _) => {
                writeln!(out, "pods          {pods} run on the node {node}, {server}")?;
            }
            (_, _, error) => {
                writeln!(out, "pods          LOST: only ids are known of those on the node {node}")?;
                writeln!(out, "       why:  {}", error.as_deref().unwrap_or_default())?;
            }
        }
    }
    for advice in &checkup.advice {
        writeln!(out, "advice        {advice}")?;
    }
    Ok(())
}
