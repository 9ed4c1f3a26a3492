//! Wires the daemon: a listener, a source, a thread that samples on its tick, and the server that shows it.
//!
//! Signals come first, so that none ends the daemon half-way with something left behind; then the listener, so that a
//! taken port is found out before anything is attached. From then on the server answers, while the sampling thread loads
//! the programs and meets older sockets. It gives its privileges up as soon as everything is attached and the directory
//! of recordings is there; the other thread has given them up before.

mod inform;
mod local;
mod notify;
mod problems;
mod recording;
mod reload;
mod room;
mod sampler;

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::config::Config;
use crate::feed::{Feed, feed};
use crate::host::{caps, process};
use crate::kernel::Options;
use crate::pods;
use crate::roster::Roster;
use crate::serve::{self, Own, SelfUsage};
use crate::source;
pub use local::DEFAULT_SOCKET;
use local::Local;
use notify::Manager;
pub(crate) use recording::start;
use sampler::Sampler;

/// What the daemon is asked to do.
#[derive(Clone, Debug)]
pub struct Settings {
    pub listen: SocketAddr,
    pub socket: Socket,
    pub tick: Duration,
    pub kernel: Options,
    /// Do not even try eBPF.
    pub netlink_only: bool,
    /// Record nothing, whatever the configuration says.
    pub no_record: bool,
    /// Record there, whatever the configuration says.
    pub record_directory: Option<PathBuf>,
    /// The cluster that is asked for the pods of this node, if one is.
    pub pods: Option<pods::Options>,
    /// Read again at SIGHUP.
    pub config: Arc<Config>,
    /// Read it again when it has changed, too.
    pub watch_config: bool,
}

/// Whether the daemon has a Unix socket, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Socket {
    /// At [`DEFAULT_SOCKET`] if one can be made there.
    Default,
    At(PathBuf),
    Off,
}

/// Runs until what `stop` gives completes. `stop` is called first, inside the runtime.
pub fn run<S>(settings: &Settings, stop: impl FnOnce() -> Result<S>) -> Result<()>
where
    S: Future<Output = ()> + Send + 'static,
{
    // It has no thread but this one, which does not run it before everything is attached, but to look for signals.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the asynchronous runtime")?;
    let manager = Arc::new(Manager::of_environment(settings.tick));
    let shutdown = {
        let _inside = runtime.enter();
        reload::follow(&settings.config, &manager, settings.watch_config)?;
        stop()?
    };
    let listener = bind(settings.listen)?;
    let address = listener.local_addr().context("read the address that was bound")?;
    let (local, _file) = bind_local(&settings.socket)?.map(Local::into_parts).unzip();
    manager.status("loading the eBPF programs");
    let config = Arc::clone(&settings.config);
    let roster = settings.pods.clone().map(|options| {
        let roster = Roster::default();
        // It waits with all else that is asynchronous until this thread serves.
        runtime.spawn(pods::follow(options, roster.clone()));
        roster
    });
    let (publisher, feed) = feed();
    let own = Own { usage: self_usage, settings: source::settings, roster: roster.clone(), config };
    let stopping = Arc::new(AtomicBool::new(false));
    let sampler = Sampler { settings: settings.clone(), publisher, roster, stopping: Arc::clone(&stopping) };
    let sampler = std::thread::Builder::new()
        .name("sampler".into())
        .spawn(move || sampler.run(address))
        .context("start the sampling thread")?;
    // That thread has its own, and gives them up as soon as everything is attached.
    drop_privileges(log::Level::Debug);
    let config = Arc::clone(&settings.config);
    runtime.spawn(inform::inform(Arc::clone(&manager), feed.clone(), config, address));
    let failed = no_more(feed.clone());
    let shutdown = async move {
        tokio::select! { () = shutdown => {}, () = failed => {} }
        stopping.store(true, Ordering::Relaxed);
    };
    let served = runtime.block_on(serve_until(listener, local, feed.clone(), own, shutdown));
    manager.stopping();
    feed.stop();
    // A panic there has been reported by its own thread.
    let sampled = sampler.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the sampling thread panicked")));
    served.and(sampled)
}

/// Until the sampling thread has ended without a single report: then there is nothing to serve.
async fn no_more(mut feed: Feed) {
    if !feed.next().await && feed.latest().is_none() {
        return;
    }
    std::future::pending::<()>().await;
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

/// A second daemon does without the default socket, as its user did not ask for one.
fn bind_local(socket: &Socket) -> Result<Option<Local>> {
    match socket {
        Socket::Off => Ok(None),
        Socket::At(path) => Ok(Some(Local::bind(path)?)),
        Socket::Default => Ok(Local::bind(Path::new(DEFAULT_SOCKET))
            .inspect_err(|error| log::warn!("no local socket: {error}"))
            .ok()),
    }
}

/// What sampling still needs: entering namespaces, opening those of other users' processes, and eBPF maps, which
/// some kernels refuse without.
fn drop_privileges(level: log::Level) {
    match caps::drop_to(caps::sampling()) {
        Ok(dropped) => log::log!(level, "capabilities kept: {}", dropped.effective.join(", ")),
        Err(error) => log::warn!("{error}"),
    }
}

async fn serve_until(
    listener: TcpListener,
    local: Option<UnixListener>,
    feed: Feed,
    own: Own,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener).context("use the listening socket")?;
    let local = local.map(tokio::net::UnixListener::from_std).transpose();
    let local = local.context("use the local socket")?;
    serve::serve(listener, local, feed, own, shutdown).await.context("serve HTTP")
}

fn self_usage() -> SelfUsage {
    SelfUsage {
        resident_bytes: process::resident_bytes(),
        cpu_seconds: process::cpu_seconds(),
        ..SelfUsage::default()
    }
}
