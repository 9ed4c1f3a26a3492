//! How much of the programs the kernel's verifier walks: what it takes to start, and how near they are to its limit.
//!
//! Another compiler may make the figures a little different, so they are held against budgets. Every kernel that tells
//! them is asked; `cargo xtask vm` makes the table in `docs/kernels.md` from the lines printed here.

use std::io::Write as _;
use tcpwatch::kernel::{Kernel, Options, run_stats};
use tcpwatch_common::names::program;

/// The most that the verifier may walk of each program, on any kernel: some 1.3 times what it walks where it walks most,
/// which is Linux 6.1 for some and 6.18 for others.
const BUDGETS: [(&str, u64); 15] = [
    (program::TRANSITION, 5_200),
    (program::TRANSITION_NESTED, 300),
    (program::TRANSITION_THIRD, 300),
    (program::TRANSITION_FOURTH, 300),
    (program::TRANSITION_RARE, 50_000),
    (program::RETRANSMIT, 6_000),
    (program::RETRANSMIT_SYNACK, 2_300),
    (program::RESET_SENT, 2_700),
    (program::RESET_RECEIVED, 2_700),
    (program::CENSUS, 2_600),
    (program::ROWS, 6_500),
    (program::BRIEF, 600),
    (program::SURVEY, 15_000),
    (program::HOLDERS, 1_200),
    (program::POLL, 1_300),
];
/// The most that it may walk of all together.
const ALL: u64 = 120_000;

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
