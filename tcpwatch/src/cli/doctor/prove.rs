//! `tcpwatch doctor --prove`: what was proven on this kernel, for a person or as JSON.

use std::io::{self, Write};

use anyhow::Result;

use crate::cli::Outcome;
use crate::prove::{self, Options};
use crate::view::proof::{EdgeProof, Proof, Verdict};

pub(super) fn prove(json: bool) -> Result<Outcome> {
    let proof = prove::prove(&Options::default())?;
    let mut out = io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string_pretty(&proof)?)?;
    } else {
        print(&mut out, &proof)?;
    }
    Ok(if proof.proven { Outcome::Fine } else { Outcome::Findings })
}

fn print(out: &mut impl Write, proof: &Proof) -> io::Result<()> {
    let Proof { kernel, architecture, .. } = proof;
    writeln!(out, "Linux {kernel} on {architecture}, in a network namespace of its own\n")?;
    line(out, "transitions, the minimum", ["", "expected", "counted"], "")?;
    proof.transitions.iter().filter(|edge| edge.minimum).try_for_each(|edge| transition(out, edge))?;
    line(out, "\nother transitions", ["", "expected", "counted"], "")?;
    proof.transitions.iter().filter(|edge| !edge.minimum).try_for_each(|edge| transition(out, edge))?;
    line(out, "\nsockets by state", ["held", "netlink", "tcpwatch"], "")?;
    for state in &proof.states {
        let counts = [&known(Some(state.held)), &known(Some(state.netlink)), &known(state.tcpwatch)];
        line(out, &format!("  {}", state.state), counts.map(String::as_str), word(state.verdict))?;
    }
    line(out, "\ncounters of the kernel", ["", "kernel", "tcpwatch"], "")?;
    for counter in &proof.counters {
        let counts = ["", &known(Some(counter.kernel)), &known(counter.tcpwatch)];
        line(out, &format!("  {}", counter.counter), counts, word(counter.verdict))?;
    }
    writeln!(out)?;
    for illegal in &proof.illegal {
        writeln!(out, "ILLEGAL     {illegal}")?;
    }
    for not in &proof.not_proven {
        writeln!(
            out,
            "{}  {}: {}",
            if not.minimum { "FAILED    " } else { "not proven" },
            not.what,
            not.why
        )?;
    }
    for field in &proof.lost_fields {
        writeln!(out, "not proven  what needs the field {field}, which this kernel lacks")?;
    }
    writeln!(out, "{}", verdict(proof))
}

fn transition(out: &mut impl Write, edge: &EdgeProof) -> io::Result<()> {
    let label = format!("  {:<25}  {}", format!("{} -> {}", edge.from, edge.to), edge.how);
    if let Some(reason) = edge.reason {
        return line(out, &label, ["", "-", "-"], &format!("{}: {reason}", word(edge.verdict)));
    }
    let counts = ["", &edge.expected.to_string(), &edge.counted.to_string()];
    line(out, &label, counts, word(edge.verdict))
}

/// Numbers stand below each other in all tables, and a table of two columns has more room for its labels.
fn line(out: &mut impl Write, label: &str, [a, b, c]: [&str; 3], result: &str) -> io::Result<()> {
    // A title may begin with an empty line, which takes no room.
    let width = 48 + usize::from(label.starts_with('\n'));
    let text = match a {
        "" => format!("{label:<width$} {b:>8} {c:>8}  {result}", width = width + 9),
        a => format!("{label:<width$} {a:>8} {b:>8} {c:>8}  {result}"),
    };
    writeln!(out, "{}", text.trim_end())
}

fn known(count: Option<u64>) -> String {
    count.map_or_else(|| "unknown".to_owned(), |count| count.to_string())
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Ok => "ok",
        Verdict::Missed => "MISSED",
        Verdict::Extra => "TOO MANY",
        Verdict::Differs => "DIFFERS",
        Verdict::Drift => "DRIFT",
        Verdict::NotProvoked => "not provoked",
    }
}

/// What a script's user reads first: the last line.
fn verdict(proof: &Proof) -> String {
    let minimum = || proof.transitions.iter().filter(|edge| edge.minimum);
    let others = proof.transitions.iter().filter(|edge| !edge.minimum);
    let is_ok = |edge: &&EdgeProof| edge.verdict == Verdict::Ok;
    let states = proof.states.iter().filter(|state| state.verdict == Verdict::Ok).count();
    let counters = proof.counters.iter().filter(|counter| counter.verdict == Verdict::Ok).count();
    format!(
        "{}: {} of {} transitions of the minimum, {} others, {} of {} states, {} of {} counters, in {:.1} s",
        if proof.proven { "PROVEN" } else { "NOT PROVEN" },
        minimum().filter(is_ok).count(),
        minimum().count(),
        others.filter(is_ok).count(),
        states,
        proof.states.len(),
        counters,
        proof.counters.len(),
        proof.seconds,
    )
}
