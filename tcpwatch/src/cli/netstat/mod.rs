//! `tcpwatch netstat`: the sockets there are, as fingers that know `netstat` and `ss` expect them, and what neither tells.

mod asked;
mod columns;
mod groups;
mod json;
mod line;
mod list;
mod listeners;
mod names;
mod namespace;
mod order;
mod owners;
mod plain;
mod pods;
mod sets;
mod table;
mod teller;
mod text;
mod totals;
mod usage;
pub(in crate::cli) mod vitals;
mod watch;

use std::io::{self, Write};

use anyhow::Result;
use clap::{Args, ValueEnum};

pub(in crate::cli) use asked::WrongFilter;
use asked::{Asked, Output};
use columns::Column;
use list::Met;
use namespace::Chosen;
use owners::Owners;
use teller::Teller;
pub(in crate::cli) use usage::Usage;

use super::{Outcome, Remote, client};

const EXAMPLES: &str = "\
Examples:
  tcpwatch netstat                              connections of all network namespaces
  tcpwatch netstat -anp                         all sockets, with their owners
  tcpwatch netstat -l                           listeners: queues, limits, drops
  tcpwatch netstat close-wait older-than 5m     leaks, longest first: add --sort age
  tcpwatch netstat established and dport 5432 and not peer 10.0.0.0/8
  tcpwatch netstat --sort recv-q --limit 10     who does not read
  tcpwatch netstat -o limits --sort rwnd-limited   who waits for a peer that reads too slowly
  tcpwatch netstat -o dying 'backoff>3'         who is about to lose the connection
  tcpwatch netstat -o traffic 'rtt>200ms'       slow ones, and what they have carried
  tcpwatch netstat kernel                       what the kernel has for itself, such as NFS
  tcpwatch netstat -s                           counts by state, all namespaces
  tcpwatch netstat -s --by process close-wait   whose sockets they are
  tcpwatch netstat -c 2 syn-sent                again every 2 seconds
  tcpwatch netstat --json-lines | jq -c 'select(.retransmits > 0)'

Words of a filter: state, port, sport, dport, peer, local, process, pid, container, netns, older-than, role, user, kernel;
of one connection retransmits, timeouts, backoff, probes, soft-error, busy, rwnd-limited, sndbuf-limited, rtt, min-rtt,
bytes-acked, bytes-received, segments-out; joined by and, or, not and parentheses. States stand alone, too.

Exit codes: 0 fine, 1 nothing matches the filter, 2 it could not be done, 64 wrong usage.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
pub(super) struct NetstatArgs {
    /// Which sockets, in words: `close-wait port 443 and not process nginx`.
    #[arg(value_name = "FILTER", allow_hyphen_values = false)]
    words: Vec<String>,
    /// The same in one text; both must hold.
    #[arg(long, value_name = "FILTER")]
    filter: Option<String>,
    /// All sockets. Without it listeners are left out, unless the filter asks for states.
    #[arg(short = 'a', long)]
    all: bool,
    /// Listeners, with both queues, their limits, and what was dropped.
    #[arg(short = 'l', long, conflicts_with_all = ["all", "statistics"])]
    listening: bool,
    /// TCP sockets, which is all there is here.
    #[arg(short = 't', long)]
    tcp: bool,
    /// Numbers instead of names, as always: see --resolve.
    #[arg(short = 'n', long)]
    numeric: bool,
    /// Whose sockets they are: looks at the descriptors of all processes.
    #[arg(short = 'p', long)]
    processes: bool,
    /// More columns.
    #[arg(short = 'e', long)]
    extended: bool,
    /// Count sockets by state.
    #[arg(short = 's', long)]
    statistics: bool,
    /// With -s: count them apart for each of these.
    #[arg(long, value_name = "WHAT", requires = "statistics")]
    by: Option<By>,
    /// IPv4 sockets only.
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    ipv4: bool,
    /// IPv6 sockets only, those with IPv4 addresses among them, as in `ss`.
    #[arg(short = '6', long)]
    ipv6: bool,
    /// Only this network namespace: its inode number (`lsns -t net`), its name (`ip netns`), or `own`.
    #[arg(short = 'N', long, value_name = "NETNS")]
    netns: Option<String>,
    /// Columns to show, in this order, or one of the sets limits, dying, traffic; `help` lists them.
    #[arg(short = 'o', long, value_name = "A,B,C")]
    columns: Option<String>,
    /// Sort by a column, the largest or the first first; `-COLUMN` turns that around.
    #[arg(long, value_name = "COLUMN", allow_hyphen_values = true)]
    sort: Option<String>,
    /// Show so many; with --sort at most 10000 unless it is given.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// No header.
    #[arg(short = 'H', long)]
    no_header: bool,
    /// Names of remote addresses, below the listing, as far as they are known within two seconds.
    #[arg(short = 'r', long, conflicts_with_all = ["json", "json_lines", "statistics", "listening"])]
    resolve: bool,
    /// Again every so many seconds, 2 if no number follows, until it is interrupted.
    #[arg(
        short = 'w', visible_short_alias = 'c', long, value_name = "SECONDS",
        num_args = 0..=1, require_equals = true, default_missing_value = "2"
    )]
    watch: Option<watch::Seconds>,
    /// One JSON object, as the API has it.
    #[arg(long)]
    json: bool,
    /// A JSON object a line for each socket.
    #[arg(long, conflicts_with_all = ["json", "statistics", "listening"])]
    json_lines: bool,
    #[command(flatten)]
    remote: Remote,
}

/// What sockets are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum By {
    Process,
    Container,
    Peer,
    Listener,
    Netns,
    User,
}

pub(super) fn netstat(args: &NetstatArgs) -> Result<Outcome> {
    let mut out = io::stdout().lock();
    if args.columns.as_deref() == Some("help") {
        writeln!(out, "{}", Column::ALL.map(Column::name).join("\n"))?;
        writeln!(out, "sets of them: {}", sets::names())?;
        return Ok(Outcome::Fine);
    }
    let (every, words) = watch::every(args)?;
    let asked = Asked::new(args, words)?;
    let mut kept = Kept { teller: None, owners: Owners::default(), has_remarked: false };
    match every {
        None => once(args, &asked, &mut kept, &mut out),
        Some(every) => watch::watch(every, &asked, &mut out, |out| once(args, &asked, &mut kept, out)),
    }
}

/// What one listing leaves for the next.
struct Kept {
    teller: Option<Teller>,
    owners: Owners,
    has_remarked: bool,
}

fn once(args: &NetstatArgs, asked: &Asked, kept: &mut Kept, out: &mut dyn Write) -> Result<Outcome> {
    if args.listening {
        return listeners::listeners(args, asked, kept, out);
    }
    if args.statistics && args.by.is_none() && !asked.is_filtered && asked.family.is_none() {
        return totals::totals(args, asked, out);
    }
    kept.find(asked, &args.remote)?;
    if args.statistics {
        return groups::groups(args, asked, kept, out);
    }
    kept.remark(asked);
    let Some(teller) = &mut kept.teller else { return Ok(Outcome::Fine) };
    let met = list::list(asked, teller, &mut kept.owners, out)?;
    warn(&met.problems, asked);
    finish(args, asked, &met, out)
}

fn finish(args: &NetstatArgs, asked: &Asked, met: &Met, out: &mut dyn Write) -> Result<Outcome> {
    if met.shown < met.total && asked.output == Output::Table {
        let (shown, total) = (met.shown, met.total);
        eprint(&format!("{shown} of {total} sockets are shown: --limit {total} shows all"));
    }
    if args.resolve {
        names::names(&met.remotes, out)?;
    }
    Ok(asked.outcome(met.total))
}

/// What a person has to know beside the output. If nobody reads it, nothing is lost.
fn eprint(text: &str) {
    let _ = writeln!(io::stderr(), "tcpwatch: {text}");
}

/// Problems are in the JSON object.
fn warn(problems: &[String], asked: &Asked) {
    if asked.output != Output::Json {
        for problem in problems {
            eprint(problem);
        }
    }
}

impl Kept {
    /// The way to the sockets: found anew, or used again if it is our own.
    fn find(&mut self, asked: &Asked, remote: &Remote) -> Result<()> {
        let teller = match self.teller.take() {
            Some(mut teller) if teller.is_own() => {
                teller.look(asked)?;
                teller
            }
            // A daemon may have been replaced: then its program remembers nothing new.
            _ => Teller::find(asked, remote)?,
        };
        self.owners.tell(teller.owners());
        if let Some(roster) = teller.pods() {
            self.owners.follow(roster);
        }
        self.teller = Some(teller);
        Ok(())
    }

    /// Says once what the figures lack.
    fn remark(&mut self, asked: &Asked) {
        let remark = self.teller.as_ref().and_then(Teller::remark);
        if let Some(remark) = remark.filter(|_| !self.has_remarked && asked.output == Output::Table) {
            eprint(remark);
            self.has_remarked = true;
        }
    }
}
