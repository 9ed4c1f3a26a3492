//! How much of the programs the kernel's verifier walks: what it takes to start, and how near they are to its limit.
//!
//! Another compiler may make the figures a little different, so they are held against budgets. Every kernel that tells
//! them is asked; `cargo xtask vm` makes the table in `docs/kernels.md` from the lines printed here.

use std::io::Write as _;
use tcpwatch::kernel::{Kernel, Options, run_stats};
use tcpwatch_common::names::program;

/// The most that the verifier may walk of each program, on any kernel: Linux 6.1 walks up to three times as much as newer
/// ones.
const BUDGETS: [(&str, u64); 15] = [
    (program::TRANSITION, 6_000),
    (program::TRANSITION_NESTED, 500),
    (program::TRANSITION_THIRD, 500),
    (program::TRANSITION_FOURTH, 500),
    (program::TRANSITION_RARE, 50_000),
    (program::RETRANSMIT, 20_000),
    (program::RETRANSMIT_SYNACK, 6_000),
    (program::RESET_SENT, 12_000),
    (program::RESET_RECEIVED, 12_000),
    (program::CENSUS, 8_000),
    (program::ROWS, 13_000),
    (program::BRIEF, 2_000),
    (program::SURVEY, 90_000),
    (program::HOLDERS, 2_000),
    (program::POLL, 2_000),
];
/// The most that it may walk of all together. Newer kernels walk less than 80,000; on 6.1 `survey` alone is 74,000.
const ALL: u64 = 190_000;

#[test]
fn the_verifier_walks_no_more_than_it_may() {
    let options = Options { sockets: 1 << 10, namespaces: 8, adopt: false, ..Options::default() };
    let kernel = Kernel::open(&options).expect("load the programs");
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let (mut sum, mut over) = (0, Vec::new());
    for status in kernel.programs() {
        let Some(stats) = status.fd.and_then(run_stats) else { continue };
        let told = stats.verified.map_or_else(|| "unknown".to_owned(), |verified| verified.to_string());
        // Not by `println!`, which is only shown of tests that fail.
        writeln!(std::io::stdout(), "verified {release} {} {told}", status.name).expect("write");
        let Some(verified) = stats.verified else { continue };
        let budget = BUDGETS.iter().find(|(name, _)| *name == status.name);
        let (_, budget) = budget.unwrap_or_else(|| panic!("{} has no budget", status.name));
        if verified > *budget {
            over.push(format!("{}: {verified} instructions, at most {budget}", status.name));
        }
        sum += verified;
    }
    assert!(over.is_empty(), "{over:#?}");
    assert!(sum <= ALL, "all programs: {sum} instructions, at most {ALL}");
}
