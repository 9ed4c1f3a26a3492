//! How long one look at the host takes, with few and with many namespaces and listeners.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use tcpwatch::detect::{Detectors, Thresholds, plan};
use tcpwatch::kernel::Options;
use tcpwatch::model::Model;
use tcpwatch::source::{Live, Source as _};

use crate::support::netns::Netns;
use crate::support::sock;
use crate::{Effort, median};

const NAMESPACES: usize = 300;
const LISTENERS: usize = 1000;

/// Prints how long a sample takes, and the work on it.
pub(crate) fn run(effort: Effort) -> Result<()> {
    println!("## One tick\n");
    println!(
        "| namespaces, listeners of its own | sample, ms (median, longest) | model | detectors |\n|---|---|---|---|"
    );
    for (namespaces, listeners) in [(1, 1), (NAMESPACES, LISTENERS)] {
        eprintln!("one tick, {namespaces} namespaces and {listeners} listeners");
        let made: Vec<Netns> = (0..namespaces).map(|_| Netns::new("scale")).collect();
        let listening = (0..listeners).map(|number| {
            let any = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
            made[number % namespaces].run(|| sock::listen(any, 128))
        });
        let listening: Vec<_> = listening.collect::<std::io::Result<_>>()?;
        let mut live = Live::open(&Options::default(), |_| ())?;
        let thresholds = Thresholds::default();
        live.set_plan(plan(&thresholds));
        let (mut model, mut detectors) = (Model::default(), Detectors::default());
        let mut times: [Vec<f64>; 3] = Default::default();
        let mut time = |at: usize, started: Instant| times[at].push(started.elapsed().as_secs_f64() * 1e3);
        for _ in 0..effort.rounds.max(12) {
            thread::sleep(Duration::from_secs(1));
            let started = Instant::now();
            let sample = live.sample(false)?;
            time(0, started);
            let started = Instant::now();
            let report = model.apply(sample);
            time(1, started);
            let started = Instant::now();
            detectors.apply(&Arc::clone(&report.sample), &thresholds);
            time(2, started);
        }
        let longest = times[0].iter().copied().fold(0.0, f64::max);
        let [sample, model, detectors] = times.map(median);
        println!("| {namespaces}, {listeners} | {sample:.1}, {longest:.1} | {model:.1} | {detectors:.1} |");
        drop(listening);
    }
    println!();
    Ok(())
}
