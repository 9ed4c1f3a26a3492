//! The tables of capabilities in `docs/security.md`: what [`PRIVILEGES`] says, which a live test proves.

use tcpwatch::host::caps;
use tcpwatch::host::privileges::{PRIVILEGES, Privilege};

use crate::committed;

/// Sets that people may want to give, from all that is of use to nothing.
const SETS: [&[&str]; 6] = [
    &["SYS_ADMIN", "SYS_PTRACE", "DAC_READ_SEARCH"],
    &["SYS_ADMIN", "SYS_PTRACE"],
    &["SYS_ADMIN"],
    &["BPF", "PERFMON", "SYS_PTRACE", "DAC_READ_SEARCH"],
    &["BPF", "PERFMON"],
    &[],
];

#[test]
fn what_each_capability_is_for_is_documented() {
    let row = |privilege: &Privilege| {
        let sets = needs(privilege).iter().map(|set| code(set, " and ")).collect::<Vec<_>>().join(", or ");
        let free = privilege.free.map_or_else(String::new, |free| format!("; nothing since {}", free.since));
        format!("| {} | {sets}{free} | {} |\n", privilege.name, privilege.lost)
    };
    let rows: Vec<String> = PRIVILEGES.iter().map(row).collect();
    let table = format!("| for | it takes | lost without it |\n|---|---|---|\n{}", rows.concat());
    committed::expect_part("docs/security.md", "capabilities", &table);
}

#[test]
fn what_sets_are_enough_for_is_documented() {
    let names: Vec<&str> = PRIVILEGES.iter().map(|privilege| privilege.name).collect();
    let row = |set: &&[&str]| {
        let cells: Vec<&str> = PRIVILEGES.iter().map(|privilege| cell(privilege, set)).collect();
        let given = if set.is_empty() { "none".into() } else { code(set, ", ") };
        format!("| {given} | {} |\n", cells.join(" | "))
    };
    let rows: Vec<String> = SETS.iter().map(row).collect();
    let line = "---|".repeat(names.len());
    let table = format!("| capabilities | {} |\n|---|{line}\n{}", names.join(" | "), rows.concat());
    committed::expect_part("docs/security.md", "sets of capabilities", &table);
}

fn cell(privilege: &Privilege, set: &[&str]) -> &'static str {
    let is_enough = needs(privilege).iter().any(|need| need.iter().all(|one| set.contains(&one.as_str())));
    match (is_enough, privilege.free) {
        (true, _) => "yes",
        (false, Some(_)) => "newer kernels",
        (false, None) => "**no**",
    }
}

/// The sets that are each enough, by names as engines and Kubernetes want them.
fn needs(privilege: &Privilege) -> Vec<Vec<String>> {
    let short = |name: String| name.trim_start_matches("CAP_").to_owned();
    privilege.any.iter().map(|set| caps::names(*set).into_iter().map(short).collect()).collect()
}

fn code(names: &[impl AsRef<str>], between: &str) -> String {
    names.iter().map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>().join(between)
}
