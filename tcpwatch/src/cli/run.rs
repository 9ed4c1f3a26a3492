//! `tcpwatch run`: the daemon.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::kubernetes::KubernetesArgs;
use super::{DEFAULT_LISTEN, Outcome};
use crate::config::{self, Config};
use crate::daemon::{self, Settings, Socket};
use crate::kernel::Options;

const EXAMPLES: &str = "\
Examples:
  tcpwatch run                                    metrics on http://127.0.0.1:9717/metrics
  tcpwatch run --listen 0.0.0.0:9717 --tick 5s
  tcpwatch run --listen 127.0.0.1:9718 --socket /run/tcpwatch/second.sock
  tcpwatch run --print-config > tcpwatch.toml     every option, with what it means
  tcpwatch run --config tcpwatch.toml
  tcpwatch run --kubeconfig node.kubeconfig --node-name node-1    pods by name, from outside of the cluster
  tcpwatch run --max-tracked 1000000              ages and owners of up to a million sockets";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(super) struct RunArgs {
    /// Address and port of the HTTP server.
    #[arg(long, value_name = "ADDR:PORT", default_value = DEFAULT_LISTEN)]
    listen: SocketAddr,
    /// Unix socket on which the same is served, for root and the file's group. By default
    /// /run/tcpwatch/tcpwatch.sock, where it can be made.
    #[arg(long, value_name = "PATH", conflicts_with = "no_socket")]
    socket: Option<PathBuf>,
    /// No Unix socket.
    #[arg(long)]
    no_socket: bool,
    /// How often figures are read, such as 1s or 500ms.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_duration)]
    tick: Duration,
    /// Configuration file: what findings are measured by. It is read again at SIGHUP.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Read the configuration file again within seconds after it has changed, too.
    #[arg(long, requires = "config")]
    watch_config: bool,
    /// Print the configuration with a comment for each option, and end.
    #[arg(long)]
    print_config: bool,
    /// Maximum number of sockets whose age and owner are tracked. The table is sized at start for twice the open sockets
    /// (80 bytes of kernel memory each), up to this limit. Further sockets are still counted exactly, but without age or
    /// owner.
    #[arg(long, value_name = "N", default_value_t = Options::default().sockets,
          value_parser = clap::value_parser!(u32).range(64..=1 << 26))]
    max_tracked: u32,
    /// Maximum number of network namespaces with their own counters (256 bytes per CPU each). Any others are summed as
    /// `others`.
    #[arg(long, value_name = "N", default_value_t = Options::default().namespaces,
          value_parser = clap::value_parser!(u32).range(1..=65_000))]
    max_namespaces: u32,
    /// Maximum number of listeners polled every tick (600 bytes and a few microseconds per tick each). Any others are
    /// polled in rotation.
    #[arg(long, value_name = "N", default_value_t = Options::default().listeners,
          value_parser = clap::value_parser!(u32).range(16..=1 << 20))]
    max_listeners: u32,
    /// Maximum number of remote ends with their own failure counts (400 bytes each; at least 256 per CPU). Any others are
    /// summed by process or service.
    #[arg(long, value_name = "N", default_value_t = Options::default().remotes,
          value_parser = clap::value_parser!(u32).range(256..=1 << 20))]
    max_remotes: u32,
    /// Do not use eBPF: numbers of sockets by state only.
    #[arg(long)]
    netlink_only: bool,
    /// Do not keep the last hours on disk, see `tcpwatch replay`.
    #[arg(long)]
    no_record: bool,
    /// Keep them there. By default flight in `$STATE_DIRECTORY`, or in /var/lib/tcpwatch.
    #[arg(long, value_name = "DIR", conflicts_with = "no_record")]
    record_dir: Option<PathBuf>,
    #[command(flatten)]
    kubernetes: KubernetesArgs,
    /// Diagnostics of the eBPF programs themselves, in the log.
    #[arg(long)]
    bpf_log: bool,
}

pub(super) fn run(args: &RunArgs) -> Result<Outcome> {
    let config = Config::load(args.config.as_deref())?;
    if args.print_config {
        io::stdout().write_all(config::print(&config.values()).as_bytes())?;
        return Ok(Outcome::Fine);
    }
    let socket = match &args.socket {
        Some(path) => Socket::At(path.clone()),
        None if args.no_socket => Socket::Off,
        None => Socket::Default,
    };
    let settings = Settings {
        listen: args.listen,
        socket,
        tick: args.tick,
        kernel: Options {
            sockets: args.max_tracked,
            namespaces: args.max_namespaces,
            listeners: args.max_listeners,
            remotes: args.max_remotes,
            log: args.bpf_log,
            ..Options::default()
        },
        netlink_only: args.netlink_only,
        no_record: args.no_record,
        record_directory: args.record_dir.clone(),
        pods: args.kubernetes.options()?,
        config: Arc::new(config),
        watch_config: args.watch_config,
    };
    daemon::run(&settings, stop_signal)?;
    log::info!("stopped, nothing is left in the kernel");
    Ok(Outcome::Fine)
}

/// Completes when somebody has told it to stop since this was called, inside a runtime.
pub(super) fn stop_signal() -> Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// `500ms`, `1s`, `1m` or a plain number of seconds.
pub(super) fn parse_duration(text: &str) -> Result<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: f64 =
        digits.parse().with_context(|| format!("{text:?} is no time; write 500ms, 1s or 1m"))?;
    let factor = match &text[digits.len()..] {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        other => bail!("unknown unit {other:?}; use ms, s or m"),
    };
    let seconds = number * factor;
    // Detectors look at the last minute of samples, and need two.
    if !(0.01..=60.0).contains(&seconds) {
        bail!("a tick is between 10ms and 1m");
    }
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_read_as_people_write_them() {
        for (text, milliseconds) in
            [("1s", 1000), ("500ms", 500), ("2", 2000), ("1.5s", 1500), ("1m", 60_000)]
        {
            assert_eq!(parse_duration(text).ok(), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "s", "1h", "-1s", "0", "1e9s", "nan", "ms5", "61s", "2m"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
