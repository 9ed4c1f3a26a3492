//! The command line: what can be asked, and how answers are printed.

mod check;
mod client;
mod doctor;
#[cfg(test)]
mod documented;
mod explain;
mod filter;
mod findings;
mod generate;
mod kubernetes;
mod markdown;
mod moment;
mod netstat;
mod place;
mod record;
mod replay;
mod run;
mod services;
mod top;
mod trace;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::causes::causes;

/// Where the daemon listens unless told otherwise.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:9717";

const EXAMPLES: &str = "\
Examples:
  tcpwatch run                          the daemon, on loopback port 9717
  tcpwatch netstat -anp                 all sockets with their owners, all network namespaces
  tcpwatch top                          all of it on a full screen
  tcpwatch netstat -s                   sockets by state
  tcpwatch trace --port 443             state changes of port 443 as they happen
  tcpwatch findings                     what is wrong now, whose it is, and what to do
  tcpwatch explain CLOSE_WAIT           what it means, on this host, and what to do
  tcpwatch replay --from -1h            what was wrong within the last hour
  tcpwatch doctor                       what this kernel and these privileges allow";

/// Watches every TCP socket's state through eBPF, and explains what is wrong.
#[derive(Debug, Parser)]
#[command(name = "tcpwatch", version, after_help = EXAMPLES, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// More of what tcpwatch does on standard error; twice for even more.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon: count every transition, serve metrics and the HTTP API.
    Run(run::RunArgs),
    /// Sockets as `ss` and `netstat` show them, and what neither tells: age, owner, drops.
    Netstat(Box<netstat::NetstatArgs>),
    /// Figures of ended connections by service: bytes, retransmits, round-trip times.
    Services(services::ServicesArgs),
    /// Everything on a full screen: states, findings, listeners, owners, remote ends.
    Top(top::TopArgs),
    /// Show transitions, retransmits and resets as they happen, filtered in the kernel.
    Trace(trace::TraceArgs),
    /// Show what is wrong now, each finding with its explanation.
    Findings(findings::FindingsArgs),
    /// Say in one line whether something is wrong, as a monitoring plugin does.
    Check(check::CheckArgs),
    /// Write a recording, or cut one out of what the daemon keeps of the last hours.
    Record(record::RecordArgs),
    /// Show what was wrong, by a recording: the same analysis over what was sampled then.
    Replay(replay::ReplayArgs),
    /// Explain a state, transition, finding, counter, sysctl or metric, with this host's values.
    Explain(explain::ExplainArgs),
    /// Say what this kernel and these privileges allow, what is lost, and what would fix it.
    Doctor(doctor::DoctorArgs),
    /// Print the completions for a shell.
    Completions(generate::CompletionsArgs),
    /// Print a manual page.
    Man(generate::ManArgs),
}

/// How a command ended, if it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Fine,
    /// Nothing matched, or something is lost, where the command says so.
    Findings,
    /// An exit code that has a meaning of its own.
    Code(u8),
}

/// Arguments that only the command itself can find wrong.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct BadUsage(String);

/// Wrong usage, after `sysexits.h`.
const USAGE: u8 = 64;
/// The command could not do what was asked.
const FAILED: u8 = 2;

/// Parses the command line, does what it says, and gives the exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors. If they cannot be printed, nobody reads them.
            let _ = error.print();
            if error.use_stderr() && check::is_asked(std::env::args_os()) {
                return ExitCode::from(check::wrong_usage());
            }
            return if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    init_log(cli.verbose, matches!(cli.command, Command::Run(_)));
    let done = match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Netstat(args) => netstat::netstat(&args),
        Command::Services(args) => services::services(&args),
        Command::Top(args) => top::top(&args),
        Command::Trace(args) => trace::trace(&args),
        Command::Findings(args) => findings::findings(&args),
        Command::Check(args) => check::check(&args),
        Command::Record(args) => record::record(&args),
        Command::Replay(args) => replay::replay(&args),
        Command::Explain(args) => explain::explain(&args),
        Command::Doctor(args) => doctor::doctor(&args),
        Command::Completions(args) => generate::completions(&args),
        Command::Man(args) => generate::man(&args),
    };
    match done {
        Ok(Outcome::Fine) => ExitCode::SUCCESS,
        Ok(Outcome::Findings) => ExitCode::from(1),
        Ok(Outcome::Code(code)) => ExitCode::from(code),
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error may be closed as well.
            let _ = writeln!(io::stderr(), "tcpwatch: {}", causes(error.as_ref()));
            let is_usage = error.is::<filter::BadFilter>()
                || error.is::<crate::explain::Unknown>()
                || error.is::<netstat::WrongFilter>()
                || error.is::<netstat::Usage>()
                || error.is::<BadUsage>();
            ExitCode::from(if is_usage { USAGE } else { FAILED })
        }
    }
}

/// `tcpwatch trace | head` is no error.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    // A daemon that hangs up is one.
    !error.is::<client::ClientError>()
        && error
            .chain()
            .filter_map(|cause| cause.downcast_ref::<io::Error>())
            .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

fn init_log(verbose: u8, is_daemon: bool) {
    let level = match (verbose, is_daemon) {
        // What the libraries say of the cluster's API at each try, `pods` says once.
        (0, false) => "warn,kube_client=off,rustls_platform_verifier=off",
        (0, true) | (1, _) => "tcpwatch=info,warn,kube_client=off,rustls_platform_verifier=off",
        (2, _) => "tcpwatch=debug,info",
        _ => "trace",
    };
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(level)).init();
}

/// Which daemon to ask.
#[derive(Debug, Args)]
struct Remote {
    /// Ask the daemon at `http://HOST:PORT[/PREFIX]`, `HOST:PORT` or `unix:/PATH`. Without it the daemon of this host is
    /// asked, if one runs: at /run/tcpwatch/tcpwatch.sock, else at 127.0.0.1:9717.
    #[arg(long, value_name = "URL", conflicts_with = "alone")]
    remote: Option<client::Address>,
    /// Do not ask a daemon, look for yourself.
    #[arg(long)]
    alone: bool,
}
