//! Nanoseconds per event of each program, beside a program that does nothing, by the kernel's own account.

use std::fs;

use anyhow::{Context as _, Result};
use tcpwatch::kernel::{Kernel, Options, RunStats, Yardstick, run_stats};

use crate::{Effort, churn, median};

const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// Prints the cost of each program that ran.
pub(crate) fn run(effort: Effort) -> Result<()> {
    let yardstick = Yardstick::open()?;
    // As they are from a moment after the start on: until every older socket is met, each event costs more.
    let kernel = Kernel::open(&Options { adopt: false, ..Options::default() })?;
    let programs: Vec<_> = kernel
        .programs()
        .iter()
        .chain([&yardstick.program])
        .filter_map(|program| Some((program.name, program.fd?)))
        .collect();
    let costs = with_stats(|| measure(effort, &programs))?;
    println!("## Per event\n\n| program | ns per event | times the empty one |\n|---|---|---|");
    let empty = costs.last().map_or(f64::NAN, |(_, cost)| *cost);
    for (name, cost) in costs.iter().filter(|(_, cost)| cost.is_finite()) {
        println!("| {name} | {cost:.0} | {:.2} |", cost / empty);
    }
    // What is reached by a tail call has no account of its own: it is in that of the program that calls it.
    let ran = costs.iter().filter(|(name, cost)| name.starts_with("transition") && cost.is_finite());
    let both: f64 = ran.map(|(_, cost)| cost).sum();
    println!("| **both state-change programs** | **{both:.0}** | **{:.2}** |\n", both / empty);
    Ok(())
}

/// Does `work` while the kernel keeps account of programs.
pub(crate) fn with_stats<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let before_us = fs::read_to_string(SWITCH).context("read kernel.bpf_stats_enabled")?;
    fs::write(SWITCH, "1").context("enable kernel.bpf_stats_enabled (needs root)")?;
    let done = work();
    fs::write(SWITCH, before_us.trim())?;
    done
}

fn measure(effort: Effort, programs: &[(&'static str, i32)]) -> Result<Vec<(&'static str, f64)>> {
    let stats =
        || -> Vec<RunStats> { programs.iter().map(|(_, fd)| run_stats(*fd).unwrap_or_default()).collect() };
    let mut costs: Vec<Vec<f64>> = vec![Vec::new(); programs.len()];
    for round in 0..effort.rounds {
        eprintln!("per event, round {} of {}", round + 1, effort.rounds);
        let before = stats();
        churn::churn(effort.seconds)?;
        for ((before, after), (costs, (name, _))) in
            before.iter().zip(stats()).zip(costs.iter_mut().zip(programs))
        {
            let runs = after.runs - before.runs;
            // Less is noise.
            if runs >= 1000 {
                #[expect(clippy::cast_precision_loss, reason = "a ratio")]
                let cost = (after.nanoseconds - before.nanoseconds) as f64 / runs as f64;
                eprintln!("{name}: {cost:.0} ns");
                costs.push(cost);
            }
        }
    }
    Ok(programs.iter().zip(costs).map(|((name, _), costs)| (*name, median(costs))).collect())
}
