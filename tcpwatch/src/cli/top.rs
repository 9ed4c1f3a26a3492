//! `tcpwatch top`: the full screen. What it shows is [`crate::top`]; here are the terminal, the keys, and who fetches
//! the figures.

mod alone;
mod fetch;
mod input;
mod once;
mod parse;
mod recording;
mod screen;

use std::io::{self, IsTerminal as _};
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use clap::Args;

use super::moment::{self, When};
use super::run::parse_duration;
use super::{BadUsage, Outcome, Remote, client, markdown};
use crate::causes::causes;
use crate::detect::Thresholds;
use crate::replay::Replay;
use crate::top::{App, Command, Event, Options, Timeline};
use client::{Client, ClientError};
use screen::Screen;

const EXAMPLES: &str = "\
Examples:
  tcpwatch top                                 this host: states, findings, listeners, owners, remote ends
  tcpwatch top --remote http://db1:9717        another host
  tcpwatch top --alone                         without a daemon
  tcpwatch top --netns 4026531840              one network namespace
  tcpwatch top --interval 5s                   figures every five seconds
  tcpwatch top --replay incident.tcpw          a recording, with a time line
  tcpwatch top --replay incident.tcpw --at 03:12
  tcpwatch top --once > top.txt                one screen as plain text, for a ticket

Keys: ? help, Tab or 1 to 5 another pane, Enter look into a row, s sort, / filter, space pause, q quit.
Exit codes: 0 quit, 2 it could not be done, 64 wrong usage, such as no terminal.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct TopArgs {
    /// How often figures are fetched, from 100ms to 1m.
    #[arg(short, long, value_name = "TIME", default_value = "1s", value_parser = parse_interval)]
    interval: Duration,
    /// Only this network namespace, by inode number (see `lsns -t net`).
    #[arg(long, value_name = "INODE", conflicts_with = "replay")]
    netns: Option<u64>,
    /// Print one screen as plain text instead, also where there is no terminal.
    #[arg(long)]
    once: bool,
    /// A recording, a file or a directory of them, instead of what happens now.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["remote", "alone"])]
    replay: Option<PathBuf>,
    /// Begin at this moment of the recording: 2026-01-31T03:00:00Z, 03:00 (UTC), or -10m before its end.
    #[arg(long, value_name = "TIME", value_parser = moment::parse, allow_hyphen_values = true, requires = "replay")]
    at: Option<When>,
    #[command(flatten)]
    remote: Remote,
}

fn parse_interval(text: &str) -> Result<Duration> {
    let interval = parse_duration(text)?;
    if !(Duration::from_millis(100)..=Duration::from_mins(1)).contains(&interval) {
        bail!("between 100ms and 1m");
    }
    Ok(interval)
}

/// What the edge tells the loop.
#[derive(Debug)]
enum Input {
    Event(Event),
    /// A signal asks for the end.
    Stop,
    /// There is nothing to be shown any more, and why.
    Broken(anyhow::Error),
}

/// Somebody who does what the screen asks for, beside it.
trait Worker {
    fn ask(&self, command: Command);
}

pub(super) fn top(args: &TopArgs) -> Result<Outcome> {
    if let Some(path) = &args.replay {
        return replay(path, args.at, None, args.once);
    }
    let client = find(&args.remote);
    let source = match &client {
        None => "this host, without a daemon".into(),
        Some(_) if args.remote.remote.is_none() => "this host".into(),
        Some(client) => client.address().to_string(),
    };
    let (tell, told) = channel();
    let app = App::new(options(source, args.interval, None));
    if args.once {
        // The first figures of one's own have no rates yet.
        let (worker, wanted): (Box<dyn Worker>, _) = match client {
            Some(client) => (Box::new(fetch::start(client, args.netns, args.interval, tell)), 1),
            None => (Box::new(alone::start(args.netns, args.interval, tell)), 2),
        };
        return once::print(app, &told, worker.as_ref(), wanted);
    }
    check_terminal()?;
    run(app, &tell, &told, |tell| match client {
        Some(client) => Box::new(fetch::start(client, args.netns, args.interval, tell)),
        None => Box::new(alone::start(args.netns, args.interval, tell)),
    })
}

/// A recording on the full screen.
pub(super) fn replay(
    path: &Path,
    at: Option<When>,
    thresholds: Option<Thresholds>,
    once: bool,
) -> Result<Outcome> {
    if !once {
        check_terminal()?;
    }
    let replay = Replay::open(path, thresholds)?;
    let span = replay.span()?;
    let name = path.display().to_string();
    let timeline = Timeline::new(span.first, span.last);
    let app = App::new(options(name, Duration::from_secs(1), Some(timeline)));
    let at = at.map_or(span.first, |at| at.within(span));
    let (tell, told) = channel();
    if once {
        return once::print(app, &told, &recording::start(replay, path.to_owned(), span, at, tell), 1);
    }
    let path = path.to_owned();
    run(app, &tell, &told, |tell| Box::new(recording::start(replay, path, span, at, tell)))
}

fn options(source: String, interval: Duration, timeline: Option<Timeline>) -> Options {
    Options { source, interval, has_colours: markdown::has_colours(), timeline }
}

/// The daemon that is meant, if there is one. Whether one that was named answers is told on the screen.
fn find(remote: &Remote) -> Option<Client> {
    let mut client = Client::find(remote)?;
    if remote.remote.is_none() {
        // One that hangs is told to hang on the screen.
        client.within = Duration::from_secs(2);
        if let Err(error @ ClientError::NotOurs { .. }) = client.json("/api/v1/status") {
            log::warn!("{error}; going on without a daemon");
            return None;
        }
    }
    // Rather an old picture that says so than one that stands still.
    client.within = Duration::from_secs(10);
    Some(client)
}

fn check_terminal() -> Result<()> {
    let usage = |text: &str| Err(BadUsage(format!("{text}; `tcpwatch top --once` prints one screen")).into());
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return usage("top needs a terminal to show its screen on and to read its keys from");
    }
    match std::env::var("TERM").as_deref() {
        Ok("dumb") => usage("this terminal cannot show a screen (TERM is dumb)"),
        Ok("") | Err(_) => usage("it is not known what this terminal can do (TERM is not set)"),
        Ok(_) => Ok(()),
    }
}

/// Shows the screen until it is left.
fn run(
    mut app: App,
    tell: &Sender<Input>,
    told: &Receiver<Input>,
    start: impl FnOnce(Sender<Input>) -> Box<dyn Worker>,
) -> Result<Outcome> {
    // First: what comes before it is not lost. The screen gives the terminal back when it goes.
    input::watch_signals(tell)?;
    let mut screen = Screen::open()?;
    let worker = start(tell.clone());
    input::read_keys(tell);
    let began = Instant::now();
    let (columns, rows) = screen.size()?;
    let mut commands = app.update(Event::Resize(columns, rows), began.elapsed());
    loop {
        for command in std::mem::take(&mut commands) {
            match command {
                Command::Quit => return Ok(Outcome::Fine),
                Command::Redraw => screen.clear()?,
                Command::Suspend => {
                    screen.suspend()?;
                    let (columns, rows) = screen.size()?;
                    commands.extend(app.update(Event::Resize(columns, rows), began.elapsed()));
                }
                other => worker.ask(other),
            }
        }
        screen.draw(&app)?;
        // Ages are told in seconds.
        let first = match told.recv_timeout(TICK) {
            Ok(input) => Some(input),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => bail!("all who could tell something have ended"),
        };
        if first.is_none() {
            commands.extend(app.update(Event::Tick, began.elapsed()));
        }
        // What has piled up is drawn once.
        for input in first.into_iter().chain(told.try_iter()) {
            match input {
                Input::Event(event) => commands.extend(app.update(event, began.elapsed())),
                Input::Stop => return Ok(Outcome::Fine),
                Input::Broken(error) => return Err(error),
            }
        }
    }
}

/// A thread that tells what becomes of it: a screen whose figures nobody fetches any more must not stand still.
fn spawn(name: &str, tell: &Sender<Input>, work: impl FnOnce() -> Result<()> + Send + 'static) {
    let told = tell.clone();
    let run = move || {
        // What it worked on is gone with it.
        let done = panic::catch_unwind(AssertUnwindSafe(work));
        let done = done.unwrap_or_else(|_| Err(anyhow!("a part of tcpwatch has panicked, see above")));
        if let Err(error) = done {
            // Nobody listens any more if it has ended already.
            let _ = told.send(Input::Broken(error));
        }
    };
    if let Err(error) = thread::Builder::new().name(name.into()).spawn(run) {
        let _ = tell.send(Input::Broken(anyhow!("cannot start a thread: {error}")));
    }
}

const TICK: Duration = Duration::from_secs(1);

/// What went wrong, in a line.
fn line(error: &(dyn std::error::Error + 'static)) -> String {
    causes(error).lines().collect::<Vec<_>>().join(" ")
}
