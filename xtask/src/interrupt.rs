//! Signals that ask for the end, for what has more to clear away than its own memory.
//!
//! From [`catch`] on they end nothing by themselves; whoever waits for something asks [`check`] meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use anyhow::{Context as _, Result, ensure};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

static IS_OVER: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

pub fn catch() -> Result<()> {
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&IS_OVER)).context("cannot listen for signals")?;
    }
    Ok(())
}

/// Fails once somebody wants it to end.
pub fn check() -> Result<()> {
    ensure!(!IS_OVER.load(Ordering::Relaxed), "it was told to end");
    Ok(())
}
