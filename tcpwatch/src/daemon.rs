//! Wires the daemon: a listener, a source, a thread that samples on its tick, and the server that shows it.
//!
//! The listener comes first, so that a taken port is found out before anything is attached; privileges go as soon as
//! everything is attached and before any other thread starts.

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tcpwatch_common::event::{Event, Kind};

use crate::causes::causes;
use crate::feed::{Feed, Publisher, Wake, feed};
use crate::host::{caps, process};
use crate::kernel::Options;
use crate::model::Model;
use crate::serve::{self, Own, SelfUsage};
use crate::source::{self, Fallback, Live, Source, SourceError};

/// What the daemon is asked to do.
#[derive(Clone, Debug)]
pub struct Settings {
    pub listen: SocketAddr,
    pub tick: Duration,
    pub kernel: Options,
    /// Do not even try eBPF.
    pub netlink_only: bool,
}

/// Runs until `shutdown` completes.
pub fn run(settings: &Settings, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<()> {
    let listener = bind(settings.listen)?;
    let address = listener.local_addr().context("read the address that was bound")?;
    let started = Instant::now();
    let source = open(settings)?;
    log::info!("ready after {:.1} s, listening on http://{address}", started.elapsed().as_secs_f64());
    drop_privileges();
    let (publisher, feed) = feed();
    let tick = settings.tick;
    let sampler = std::thread::Builder::new()
        .name("sampler".into())
        .spawn(move || sample(source, &publisher, tick))
        .context("start the sampling thread")?;
    let served = serve_until(listener, feed.clone(), shutdown);
    feed.stop();
    // A panic there has been reported by its own thread.
    let sampled = sampler.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the sampling thread panicked")));
    served.and(sampled)
}

fn bind(address: SocketAddr) -> Result<TcpListener> {
    let listener = TcpListener::bind(address).with_context(|| {
        format!(
            "listen on {address} (is another tcpwatch running there? choose another with --listen ADDR:PORT)"
        )
    })?;
    listener.set_nonblocking(true).context("make the listening socket non-blocking")?;
    Ok(listener)
}

/// The live kernel, or the best that can be had instead, loudly.
fn open(settings: &Settings) -> Result<Box<dyn Source>> {
    if !settings.netlink_only {
        match Live::open(&settings.kernel, log_grave) {
            Ok(live) => {
                log_losses(&live);
                return Ok(Box::new(live));
            }
            Err(error) => log::error!(
                "no eBPF: {}. Going on with netlink: numbers of sockets by state only, no transitions, \
                 durations, causes or owners. `tcpwatch doctor` says what would help",
                causes(&error)
            ),
        }
    }
    Ok(Box::new(Fallback::open().context("open the fallback source")?))
}

fn log_losses(live: &Live) {
    for program in live.kernel().programs() {
        if let (Some(error), Some(lost)) = (&program.error, program.lost) {
            log::warn!("the program {} does not run, which loses {lost}: {error}", program.name);
        }
    }
    for lost in live.kernel().lost_fields() {
        log::warn!("this kernel has no {}, which loses {}", lost.field, lost.lost);
    }
}

/// Facts that come without a subscriber are grave.
fn log_grave(event: &Event) {
    match Kind::from_raw(event.kind) {
        Some(Kind::Gap) => log::debug!("a socket was in state {}, expected {}", event.old, event.what),
        _ => log::warn!(
            "illegal transition {} to {} in network namespace {}",
            event.old,
            event.new,
            event.netns
        ),
    }
}

/// What sampling still needs: entering namespaces, opening those of other users' processes, and eBPF maps, which
/// some kernels refuse without.
fn drop_privileges() {
    match caps::drop_to(caps::sampling()) {
        Ok(dropped) => log::info!("capabilities kept: {}", dropped.effective.join(", ")),
        Err(error) => log::warn!("{error}"),
    }
}

fn sample(mut source: Box<dyn Source>, publisher: &Publisher, tick: Duration) -> Result<()> {
    let mut model = Model::default();
    let mut next = Instant::now();
    let mut census = true;
    let mut failing = false;
    loop {
        match source.sample(census) {
            Ok(sample) => {
                publisher.publish(model.apply(sample));
                failing = false;
            }
            Err(error) => report_once(&error, &mut failing),
        }
        let now = Instant::now();
        if now >= next {
            next = now + tick;
        }
        match publisher.wait(next.saturating_duration_since(now)) {
            Wake::Stop => return Ok(()),
            Wake::Asked => census = true,
            Wake::Tick => census = false,
        }
    }
}

/// A source that fails once fails at every tick; `/healthz` goes on telling.
fn report_once(error: &SourceError, failing: &mut bool) {
    if !*failing {
        log::error!("cannot sample: {}; the figures stay as they were until it works again", causes(error));
    }
    *failing = true;
}

fn serve_until(
    listener: TcpListener,
    feed: Feed,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the asynchronous runtime")?;
    let own = Own { usage: self_usage, settings: source::settings };
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).context("use the listening socket")?;
        serve::serve(listener, feed, own, shutdown).await.context("serve HTTP")
    })
}

fn self_usage() -> SelfUsage {
    SelfUsage { resident_bytes: process::resident_bytes(), cpu_seconds: process::cpu_seconds() }
}
