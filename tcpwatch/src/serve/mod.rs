//! The HTTP interface: what the daemon tells Prometheus, scripts, and whoever keeps it running.
//!
//! Every figure comes out of the [`Feed`]; nothing here reads the host, and nothing changes state.
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
//! | `GET /api/v1/remotes[?netns=N]` | the remote ends with the most retransmits, resets and failed connects |
//!
//! Errors are JSON, `{"error": "…"}`, with the code that fits.

mod api;
mod failure;
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
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::feed::Feed;
use failure::Failure;

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
";

/// What the daemon itself uses; `None` where it is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SelfUsage {
    pub resident_bytes: Option<u64>,
    pub cpu_seconds: Option<f64>,
}

/// What every handler gets.
#[derive(Clone)]
struct App {
    feed: Feed,
    usage: fn() -> SelfUsage,
    started: SystemTime,
}

/// All routes. `usage` is asked at each scrape.
pub fn router(feed: Feed, usage: fn() -> SelfUsage) -> Router {
    let app = App { feed, usage, started: SystemTime::now() };
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
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .with_state(app)
}

/// Answers requests until `shutdown` is over, and a little longer those that have begun.
pub async fn serve(
    listener: TcpListener,
    feed: Feed,
    usage: fn() -> SelfUsage,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let stopping = Arc::new(Notify::new());
    let stop = Arc::clone(&stopping);
    let signal = async move {
        shutdown.await;
        stop.notify_one();
    };
    // A client that never reads its answer must not keep the daemon from ending.
    let out_of_patience = async {
        stopping.notified().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        result = axum::serve(listener, router(feed, usage)).with_graceful_shutdown(signal) => result,
        () = out_of_patience => Ok(()),
    }
}

async fn no_such_path(request: Request) -> Failure {
    Failure::not_found(format!("no such path: {}; / lists what there is", request.uri().path()))
}

async fn no_such_method(request: Request) -> Failure {
    Failure::wrong_method(format!("{} is not possible here: everything is read by GET", request.method()))
}
