//! `tcpwatch explain`: what everything means, with this host's values.

use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::Value;
use tcpwatch_common::TcpState;

use super::{Outcome, Remote, client, markdown};
use crate::explain::{self, Facts, Found};
use crate::host::procfs::{self, NetCounters};
use crate::model::Model;
use crate::source::{self, Fallback, Source as _};
use crate::view::explain as view;

const EXAMPLES: &str = "\
Examples:
  tcpwatch explain                               all topics
  tcpwatch explain CLOSE_WAIT                    a state
  tcpwatch explain 'syn_recv->established'       a transition; `syn_recv to established` works too
  tcpwatch explain ListenOverflows               a counter of the kernel's
  tcpwatch explain net.ipv4.tcp_tw_reuse         a sysctl
  tcpwatch explain syn_flood --markdown          a finding, for a ticket
  tcpwatch explain time_wait --json | jq .values";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ExplainArgs {
    /// What to explain; without it all topics are listed.
    #[arg(value_name = "TOPIC")]
    topic: Vec<String>,
    /// Figures of this network namespace only, by inode number (see `lsns -t net`).
    #[arg(long, value_name = "INODE")]
    netns: Option<u64>,
    /// One JSON object, as the API has it.
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// The page as Markdown.
    #[arg(long)]
    markdown: bool,
    #[command(flatten)]
    remote: Remote,
}

pub(super) fn explain(args: &ExplainArgs) -> Result<Outcome> {
    let mut out = io::stdout().lock();
    if args.topic.is_empty() {
        list(&mut out, args.json)?;
        return Ok(Outcome::Fine);
    }
    let found = explain::find(&args.topic.join(" "))?;
    let page = match client::get(&args.remote, &path(found, args.netns))? {
        Some(page) => page,
        None => look(found, args.netns)?,
    };
    if args.json {
        writeln!(out, "{page}")?;
        return Ok(Outcome::Fine);
    }
    let text = page["markdown"].as_str().context("the daemon's answer has no page in it")?;
    if args.markdown {
        write!(out, "{text}")?;
    } else {
        write!(out, "{}", markdown::render(text, markdown::has_colours()))?;
    }
    Ok(Outcome::Fine)
}

/// Where a daemon has the page.
fn path(found: Found, netns: Option<u64>) -> String {
    let topic = match found.pair {
        Some((from, to)) => format!("{}_to_{}", from.name(), to.name()),
        None => found.page.topic.clone(),
    };
    let query = netns.map(|netns| format!("?netns={netns}")).unwrap_or_default();
    format!("/api/v1/explain/{topic}{query}")
}

/// Without a daemon: what netlink, the kernel's counters and the sysctls tell.
fn look(found: Found, netns: Option<u64>) -> Result<Value> {
    let settings = source::settings();
    let sample = Fallback::open().and_then(|mut source| source.sample(true));
    let facts = match sample {
        Ok(mut sample) => {
            for namespace in sample.namespaces.iter_mut().filter(|namespace| namespace.is_own) {
                match NetCounters::read(Path::new(procfs::OF_THREAD), &mut String::new()) {
                    Ok(counters) => namespace.counters = Some(counters),
                    Err(error) => log::warn!("{error}"),
                }
            }
            let report = Model::default().apply(sample);
            if let Some(netns) = netns
                && !report.states.contains_key(&netns)
            {
                bail!("no network namespace {netns} was found; `lsns -t net` lists them");
            }
            view::facts(&report, netns, None, settings)
        }
        // The page itself does not need them.
        Err(error) => {
            log::warn!("the sockets could not be counted: {error}");
            Facts { netns, settings, ..Facts::default() }
        }
    };
    Ok(serde_json::to_value(view::page(found, &facts))?)
}

fn list(out: &mut impl Write, json: bool) -> Result<()> {
    let topics = view::topics();
    if json {
        return Ok(writeln!(out, "{}", serde_json::to_string(&topics)?)?);
    }
    let section = |section: view::Section| {
        let names: Vec<&str> = section.topics.iter().map(|topic| topic.topic).collect();
        format!("## {}\n\n{}\n\n", section.section, names.join(", "))
    };
    let sections: String = topics.sections.into_iter().map(section).collect();
    let text = format!(
        "`tcpwatch explain TOPIC` explains one of these. Other spellings work, too.\n\n{sections}\
         Every other transition of two states, such as `{}->{}`, is illegal, and has a page as well.\n",
        TcpState::Listen.name(),
        TcpState::Established.name()
    );
    Ok(write!(out, "{}", markdown::render(&text, markdown::has_colours()))?)
}
