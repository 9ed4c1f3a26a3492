//! Findings: what is wrong, whose it is, since when, and what to do.

use super::board::{Board, OWNER};
use super::panel::{Panel, Unit};

const ACTIVE: &str = "tcpwatch_finding_active";

pub fn board() -> Board {
    Board::new("findings", "Findings", "What is wrong, whose is it, since when, and what does one do?")
        .choose("severity", "Severity", ACTIVE)
        .choose("kind", "Kind", ACTIVE)
        .choose("namespace", "Namespace", ACTIVE)
        .choose("pod", "Pod", ACTIVE)
        .choose("process", "Process", ACTIVE)
        .row("Now", now())
        .row("Since when", since())
}

fn now() -> Vec<Panel> {
    let open = |severity: &str| {
        format!("sum({ACTIVE}{{ALL, severity=\"{severity}\"}}) or 0 * count(tcpwatch_build_info{{HOST}})")
    };
    vec![
        Panel::stat("Critical", "Findings that cost connections now.", &open("critical"))
            .bad(1.0)
            .worry("above 0."),
        Panel::stat("Warnings", "Findings that will cost connections if they go on.", &open("warning"))
            .odd(1.0, 100.0)
            .worry("when it stays above 0 for hours, or grows."),
        Panel::text(
            "What to do",
            "The commands that tell more than a dashboard can.",
            "Click a **kind** for its runbook. On the host, or from anywhere with `--remote HOST:9717`:\n\n\
             - `tcpwatch findings --long` shows each finding with its proof and what to do\n\
             - `tcpwatch explain KIND` explains it with the host's own values\n\
             - `tcpwatch top` shows it live, `tcpwatch replay` shows what was before"
                .into(),
        )
        .size(16, 4),
        Panel::table(
            "Open findings",
            "Each subject with an open finding. The owner is empty where it is not known or there is none.",
        )
        .column(
            "open",
            Unit::Count,
            None,
            &format!("sum by (severity, kind, instance, {OWNER}, listen_addr) ({ACTIVE}{{ALL}}) > 0"),
        )
        .worry("about what is critical first. An empty table is good news.")
        .size(24, 10),
    ]
}

fn since() -> Vec<Panel> {
    vec![
        Panel::stacked("Open, by kind", "How many findings of each kind were open.")
            .of(&format!("sum by (kind) ({ACTIVE}{{ALL}})"), "{{kind}}")
            .worry("when one kind stays: it does not go away by itself."),
        Panel::stacked("Open, by host", "Where they were open.")
            .of(&format!("sum by (instance) ({ACTIVE}{{ALL}})"), "{{instance}}")
            .worry("when all hosts have them at once: look for what they share, a network or a service."),
        Panel::bars("Opened, by kind", "Findings that were opened in the time that is shown.")
            .of(
                "sum by (kind) (increase(tcpwatch_findings_total{HOST, kind=~\"$kind\"}[$__range]))",
                "{{kind}}",
            )
            .worry("about a kind that opens again and again: its cause comes back."),
        Panel::stacked("Open, by owner, the ten with the most", "Whose they were.").of(
            &format!("topk(10, sum by (process, namespace, pod) ({ACTIVE}{{ALL, process!=\"\"}}))"),
            "{{process}} {{namespace}} {{pod}}",
        ),
    ]
}
