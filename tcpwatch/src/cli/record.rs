//! `tcpwatch record`: recordings without the daemon, and parts of the daemon's to send away.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};

use super::moment::{self, When};
use super::run::parse_duration;
use super::{BadUsage, Outcome, trace};
use crate::causes::causes;
use crate::config::{self, Config};
use crate::daemon;
use crate::detect::{self, Detectors};
use crate::kernel::Options;
use crate::record::{self, Change, Encoder, Entry, Item, Reader, Redactor, Start};
use crate::source::{Fallback, Live, Source};

const EXAMPLES: &str = "\
Examples:
  tcpwatch record --to incident.tcpw --for 10m              record for ten minutes, without the daemon
  tcpwatch record export --from 02:00 --to 04:00 -o night.tcpw
  tcpwatch record export --from -1h -o hour.tcpw --redact   the last hour, without real addresses

Recordings are made and cut out on the host that they are of, as a daemon's interface tells no samples. `tcpwatch replay
FILE` shows them anywhere.";

const EXPORT_EXAMPLES: &str = "\
Examples:
  tcpwatch record export --from 02:00 --to 04:00 -o night.tcpw
  tcpwatch record export --from -1h -o hour.tcpw --redact
  tcpwatch record export --in incident.tcpw -o redacted.tcpw --redact

Recordings are made and cut out on the host that they are of, as a daemon's interface tells no samples. `tcpwatch replay
FILE` shows them anywhere.";

/// Before the first moment, so that detectors see there what they saw then.
const LEAD: Duration = Duration::from_mins(2);

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct RecordArgs {
    #[command(subcommand)]
    export: Option<Export>,
    /// The file to write; it must not exist yet.
    #[arg(long, value_name = "FILE", required_unless_present = "remote")]
    to: Option<PathBuf>,
    #[command(flatten)]
    elsewhere: Elsewhere,
    /// How long; without it until it is stopped by Ctrl-C.
    #[arg(long = "for", value_name = "TIME", value_parser = moment::duration)]
    time: Option<Duration>,
    /// Time between samples.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_duration)]
    tick: Duration,
    /// Configuration file: what findings are measured by.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Do not use eBPF: numbers of sockets by state only.
    #[arg(long)]
    netlink_only: bool,
}

/// Other commands have it, so it is asked for here as well.
#[derive(Debug, Args)]
struct Elsewhere {
    #[arg(long, value_name = "URL", hide = true)]
    remote: Option<String>,
}

impl Elsewhere {
    fn refuse(&self) -> Result<(), BadUsage> {
        let Some(remote) = &self.remote else { return Ok(()) };
        Err(BadUsage(format!(
            "cannot record from {remote}: a daemon's interface tells figures and findings, not the samples that a \
             recording is made of. On that host run `tcpwatch record --to FILE`, or `tcpwatch record export -o FILE` \
             for what its daemon has recorded, and copy the file; `tcpwatch replay FILE` shows it anywhere"
        )))
    }
}

#[derive(Debug, Subcommand)]
enum Export {
    /// Cut one file out of what the daemon has recorded.
    Export(ExportArgs),
}

#[derive(Debug, Args)]
#[command(after_help = EXPORT_EXAMPLES)]
struct ExportArgs {
    /// The recording to cut from. By default that of the daemon on this host.
    #[arg(long = "in", value_name = "PATH")]
    input: Option<PathBuf>,
    /// From this time on, and two minutes before for the detectors: 2026-01-31T03:00:00Z, 03:00 (UTC), or -10m
    /// before the end.
    #[arg(long, value_name = "TIME", value_parser = moment::parse, allow_hyphen_values = true)]
    from: Option<When>,
    /// Up to this time.
    #[arg(long, value_name = "TIME", value_parser = moment::parse, allow_hyphen_values = true)]
    to: Option<When>,
    /// The file to write; it must not exist yet.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    elsewhere: Elsewhere,
    /// Replace addresses, users, containers and names of hosts and namespaces by others.
    #[arg(long)]
    redact: bool,
}

pub(super) fn record(args: &RecordArgs) -> Result<Outcome> {
    args.elsewhere.refuse()?;
    match (&args.export, &args.to) {
        (Some(Export::Export(export)), _) => {
            export.elsewhere.refuse()?;
            cut(export)
        }
        (None, Some(to)) => record_to(args, to),
        (None, None) => bail!("give a file to write by --to FILE"),
    }
}

/// A recording that is being written.
struct Output {
    path: PathBuf,
    file: BufWriter<File>,
    encoder: Encoder,
    buffer: Vec<u8>,
    written: u64,
    samples: u64,
}

impl Output {
    fn create(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = file.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                anyhow::anyhow!(
                    "{} exists already, and is not written over: give another name",
                    path.display()
                )
            }
            _ => anyhow::Error::new(error).context(format!("cannot create {}", path.display())),
        })?;
        let (encoder, file) = (Encoder::default(), BufWriter::new(file));
        Ok(Self { path: path.to_owned(), file, encoder, buffer: Vec::new(), written: 0, samples: 0 })
    }

    fn put(&mut self, at: SystemTime, item: &Item) -> Result<()> {
        self.buffer.clear();
        if !self.encoder.put(at, item, &mut self.buffer) {
            bail!("a sample is too large to be recorded");
        }
        self.samples += u64::from(matches!(item, Item::Sample(_)));
        self.written += self.buffer.len() as u64;
        self.file.write_all(&self.buffer).with_context(|| self.failed())
    }

    fn flush(&mut self) -> Result<()> {
        self.file.flush().with_context(|| self.failed())
    }

    fn failed(&self) -> String {
        format!("cannot write to {}; what is in it so far can be replayed", self.path.display())
    }

    fn end(mut self) -> Result<()> {
        self.flush()?;
        let Self { path, samples, written, .. } = self;
        writeln!(io::stdout(), "{}: {samples} samples, {written} bytes", path.display())?;
        Ok(())
    }
}

fn cut(args: &ExportArgs) -> Result<Outcome> {
    let path = args.input.clone().unwrap_or_else(record::default_directory);
    let mut reader = Reader::open(&path)?;
    let span = reader.span()?;
    let from = args.from.map_or(span.first, |when| when.within(span));
    let to = args.to.map_or(span.last, |when| when.within(span));
    if to < from {
        bail!("--to is before --from");
    }
    let from = from.checked_sub(LEAD).unwrap_or(from);
    reader.seek(from)?;
    let mut output = Output::create(&args.output)?;
    let mut redactor = args.redact.then(Redactor::default);
    // They begin each file of a directory.
    let mut began = None;
    for entry in reader {
        match entry? {
            Entry::Damage(damage) => log::warn!("{damage}; it is left out"),
            Entry::Item(at, _) if at > to => break,
            // What the samples are understood by comes along from before.
            Entry::Item(at, item) if at < from && !matches!(item, Item::Start(_) | Item::Config(_)) => {}
            Entry::Item(at, item) => {
                if let Item::Start(Start { began: now, .. }) = &item
                    && began.replace(*now) == Some(*now)
                {
                    continue;
                }
                let item = match &mut redactor {
                    Some(redactor) => redactor.item(item),
                    None => item,
                };
                output.put(at, &item)?;
            }
        }
    }
    output.end()?;
    Ok(Outcome::Fine)
}

fn record_to(args: &RecordArgs, to: &Path) -> Result<Outcome> {
    let config = Config::load(args.config.as_deref())?;
    let values = config.values();
    let stop = trace::stop_flag()?;
    // Before anything is attached: it may not be possible.
    let mut output = Output::create(to)?;
    let (tell, rare) = std::sync::mpsc::channel();
    let mut source = open(args, tell)?;
    source.set_plan(detect::plan(&values.thresholds));
    let now = SystemTime::now();
    output.put(now, &Item::Start(daemon::start(args.tick)))?;
    output.put(now, &Item::Config(config::print(&values)))?;
    let end = args.time.map(|time| Instant::now() + time);
    let mut detectors = Detectors::default();
    let mut next = Instant::now();
    let mut is_first = true;
    loop {
        let sample = Arc::new(source.sample(is_first).context("take a sample")?);
        is_first = false;
        let findings = detectors.apply(&sample, &values.thresholds);
        let changes = findings.opened_now.iter().chain(&findings.closed_now).map(Change::of);
        for (at, item) in record::moment(&sample, rare.try_iter().take(1000), changes) {
            output.put(at, &item)?;
        }
        output.flush()?;
        next = (next + args.tick).max(Instant::now());
        let until = end.map_or(next, |end| next.min(end));
        while Instant::now() < until && !stop.load(Ordering::Relaxed) {
            let left = until.saturating_duration_since(Instant::now());
            std::thread::sleep(left.min(Duration::from_millis(100)));
        }
        if stop.load(Ordering::Relaxed) || end.is_some_and(|end| Instant::now() >= end) {
            break;
        }
    }
    output.end()?;
    Ok(Outcome::Fine)
}

fn open(args: &RecordArgs, tell: std::sync::mpsc::Sender<record::Rare>) -> Result<Box<dyn Source>> {
    if !args.netlink_only {
        let on_event = move |event: &tcpwatch_common::event::Event| {
            if let Some(rare) = record::Rare::of(event) {
                // Nobody listens any more at the end.
                let _ = tell.send(rare);
            }
        };
        match Live::open(&Options::default(), on_event) {
            Ok(live) => return Ok(Box::new(live)),
            Err(error) => log::warn!(
                "no eBPF: {}. Recording with netlink: numbers of sockets by state only. `tcpwatch doctor` says \
                 what would help",
                causes(&error)
            ),
        }
    }
    Ok(Box::new(Fallback::open().context("open the fallback source")?))
}
