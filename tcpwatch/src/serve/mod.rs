//! The HTTP interface: what the daemon tells Prometheus, scripts, and whoever keeps it running.
//!
//! Every figure comes out of the [`Feed`]; nothing here reads the host.
//!
//! | route | answer |
//! |---|---|
//! | `GET /` | this list, as text |
//! | `GET /metrics` | Prometheus text format, of this moment |
//! | `GET /healthz` | 200 while the daemon samples |
//! | `GET /readyz` | 200 once every socket of its own network namespace is counted |
//! | `GET /api/v1/status` | what runs, what is lost, what it costs |
//! | `GET /api/v1/states[?netns=N]` | sockets by state, of this moment |
//! | `GET /api/v1/transitions[?netns=N]` | transitions with verdict, count and rate, of this moment |
//! | `GET /api/v1/listeners[?netns=N]` | listeners with both queues, owner and drops by cause, of this moment |
//! | `GET /api/v1/services[?netns=N]` | what connections left behind at their end, by service |
//! | `GET /api/v1/remotes[?netns=N]` | the remote ends with the most retransmits, resets and failed connects |
//! | `GET /api/v1/pods` | the pods of this node with their containers, where a cluster is asked |
//! | `GET /api/v1/overview[?netns=N]` | all that `tcpwatch top` shows, of a moment ago |
//! | `GET /api/v1/sockets?limit=100[&filter=…]` | single sockets with age and owner, the oldest first, of this moment |
//! | `GET /api/v1/findings[?kind=K&netns=N&closed=1h]` | what is wrong, explained; with `closed` what was lately |
//! | `GET /api/v1/explain` | all topics that are explained |
//! | `GET /api/v1/explain/TOPIC[?netns=N][&format=markdown]` | one of them, with this host's values |
//!
//! Errors are JSON, `{"error": "…"}`, with the code that fits.

mod api;
mod explain;
mod failure;
mod findings;
mod health;
mod metrics;
mod query;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::Request;
use axum::routing::get;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;

use crate::config::{Condition, Config};
use crate::explain::Settings;
use crate::feed::Feed;
use crate::roster::Roster;
use failure::Failure;
pub use metrics::page_of as metrics_page;

/// How long open connections get to end after the shutdown.
const GRACE: Duration = Duration::from_secs(2);

const INDEX: &str = "\
tcpwatch watches the state of every TCP socket on this host.

/metrics                        for Prometheus
/healthz                        does it sample?
/readyz                         are all sockets counted?
/api/v1/status                  what runs, what is lost, what it costs
/api/v1/states[?netns=N]        sockets by state
/api/v1/transitions[?netns=N]   transitions with verdict, count and rate
/api/v1/listeners[?netns=N]     listeners: both queues, owner, drops by cause
/api/v1/remotes[?netns=N]       remote ends with the most retransmits, resets, failed connects
/api/v1/services[?netns=N]      connections that ended, by service: bytes, retransmits, round-trip times
/api/v1/pods                    the pods of this node, in a cluster
/api/v1/overview[?netns=N]      all that `tcpwatch top` shows
/api/v1/sockets?limit=100       single sockets with age and owner; also ?filter=state=close_wait+older-than=5m
/api/v1/findings[?closed=1h]    what is wrong, explained
/api/v1/explain                 all topics that are explained
/api/v1/explain/TOPIC           one of them, with this host's values (?format=markdown)
";

/// What the daemon itself uses; `None` where it is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SelfUsage {
    pub resident_bytes: Option<u64>,
    pub cpu_seconds: Option<f64>,
    /// Told by the feed, at each scrape.
    pub tick_seconds: Option<f64>,
    /// Looked up at each scrape; `None` without a file.
    pub config: Option<ConfigRead>,
    /// Told by the roster, at each scrape.
    pub pods: Option<PodsKnown>,
}

/// When the configuration that is in effect was read, and whether it is what its file has now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConfigRead {
    pub at: SystemTime,
    pub is_current: bool,
}

impl From<Condition> for ConfigRead {
    fn from(config: Condition) -> Self {
        Self { at: config.read_at, is_current: config.error.is_none() }
    }
}

/// How it stands with the pods of this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodsKnown {
    /// The cluster tells of changes as they happen.
    pub up: bool,
    /// Those that run; `None` if they were never known.
    pub running: Option<u64>,
}

/// What the daemon finds out when somebody asks.
#[derive(Clone, Debug)]
pub struct Own {
    /// Asked at each scrape.
    pub usage: fn() -> SelfUsage,
    /// Asked for each page that explains.
    pub settings: fn() -> Settings,
    /// How many series a scrape may have; what became of its file is told.
    pub config: Arc<Config>,
    /// The pods of this node, if a cluster is asked for them.
    pub roster: Option<Roster>,
}

/// What every handler gets.
#[derive(Clone)]
struct App {
    feed: Feed,
    own: Own,
    kept: metrics::Kept,
    started: SystemTime,
}

/// All routes.
pub fn router(feed: Feed, own: Own) -> Router {
    let app = App { feed, own, kept: metrics::Kept::default(), started: SystemTime::now() };
    Router::new()
        .route("/", get(async || INDEX))
        .route("/metrics", get(metrics::scrape))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/api/v1/status", get(api::status))
        .route("/api/v1/states", get(api::states))
        .route("/api/v1/transitions", get(api::transitions))
        .route("/api/v1/listeners", get(api::listeners))
        .route("/api/v1/remotes", get(api::remotes))
        .route("/api/v1/services", get(api::services))
        .route("/api/v1/pods", get(api::pods))
        .route("/api/v1/overview", get(api::overview))
        .route("/api/v1/sockets", get(api::sockets))
        .route("/api/v1/findings", get(findings::list))
        .route("/api/v1/explain", get(explain::topics))
        .route("/api/v1/explain/{*topic}", get(explain::topic))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .with_state(app)
}

/// Answers requests until `shutdown` is over, and a little longer those that have begun. Both listeners have the same
/// answers.
pub async fn serve(
    listener: TcpListener,
    local: Option<UnixListener>,
    feed: Feed,
    own: Own,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let (stop, stopping) = watch::channel(());
    let stopped = |mut stopping: watch::Receiver<()>| async move {
        // Told, or its sender has gone.
        let _ = stopping.changed().await;
    };
    let router = router(feed, own);
    let tcp = axum::serve(listener, router.clone()).with_graceful_shutdown(stopped(stopping.clone()));
    let unix = local.map(|local| axum::serve(local, router).with_graceful_shutdown(stopped(stopping)));
    let serve = async {
        match unix {
            Some(unix) => tokio::try_join!(tcp.into_future(), unix.into_future()).map(|_| ()),
            None => tcp.await,
        }
    };
    // A client that never reads its answer must not keep the daemon from ending.
    let out_of_patience = async {
        shutdown.await;
        stop.send_replace(());
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        result = serve => result,
        () = out_of_patience => Ok(()),
    }
}

async fn no_such_path(request: Request) -> Failure {
    Failure::not_found(format!("no such path: {}; / lists what there is", request.uri().path()))
}

async fn no_such_method(request: Request) -> Failure {
    Failure::wrong_method(format!("{} is not possible here: everything is read by GET", request.method()))
}
