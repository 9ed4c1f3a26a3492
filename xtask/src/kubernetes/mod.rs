//! `cargo xtask kubernetes`: the Helm chart and the manifests in `deploy/`, held against Helm, schemas and a cluster.
//!
//! The plain manifests are the chart, rendered with its defaults. They are made by Helm itself, and compared with what is
//! committed; `tcpwatch/tests/deploy` looks at those then, without Helm.

mod chart;
mod cluster;
mod python;

use anyhow::Result;

use crate::project::Project;
use crate::{packages, process};
use chart::Chart;
use python::Python;

/// Releases of Kubernetes whose schemas the manifests are held against: the oldest and the newest that there are, and
/// the first one with a field for `AppArmor`.
const VERSIONS: [&str; 4] = ["1.25", "1.29", "1.30", "1.37"];

/// What is to be done with what Helm renders.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Rendered {
    Compare,
    /// Write it over what is committed.
    Renew,
}

/// `None` if it does not take these arguments.
pub fn command(project: &Project, args: &[String]) -> Option<Result<()>> {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        [] => Some(check(project)),
        ["renew"] => Some(renew(project)),
        ["cluster"] => Some(on_a_cluster(project)),
        _ => None,
    }
}

/// Everything that needs no cluster.
pub fn check(project: &Project) -> Result<()> {
    packages::install(packages::TEST)?;
    let python = Python::prepare(project)?;
    let chart = Chart::new(project, &python)?;
    chart.lint()?;
    let files = chart.render(Rendered::Compare)?;
    chart.validate(&files)?;
    chart.refuse_nonsense()
}

fn renew(project: &Project) -> Result<()> {
    let python = Python::prepare(project)?;
    Chart::new(project, &python)?.render(Rendered::Renew).map(drop)
}

/// Runs the chart on a Kubernetes of one node, which it builds and brings up for that.
fn on_a_cluster(project: &Project) -> Result<()> {
    packages::install(packages::CLUSTER)?;
    anyhow::ensure!(process::is_root(), "a kubelet needs root: run this as root");
    cluster::test(project, &Python::prepare(project)?)
}
