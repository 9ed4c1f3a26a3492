//! The chart: linted, rendered, compared with what is committed, held against schemas, and asked for what it must refuse.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use super::python::Python;
use super::{Rendered, VERSIONS};
use crate::process;
use crate::project::Project;

const CHART: &str = "deploy/helm/tcpwatch";
const NAMESPACE: &str = "tcpwatch";
/// Values to render with: `NAME.yaml`, and what comes of it as `NAME.rendered.yaml`.
const CASES: &str = "deploy/helm/examples";
/// The chart with its defaults, without the labels that only Helm gives a meaning.
const MANIFESTS: &str = "deploy/kubernetes/tcpwatch.yaml";
/// The release that it is rendered for.
const NEWEST: &str = VERSIONS[VERSIONS.len() - 1];

pub struct Chart<'a> {
    project: &'a Project,
    python: &'a Python,
    directory: PathBuf,
    scratch: PathBuf,
}

impl<'a> Chart<'a> {
    pub fn new(project: &'a Project, python: &'a Python) -> Result<Self> {
        let scratch = project.target.join("kubernetes/rendered");
        if scratch.exists() {
            fs::remove_dir_all(&scratch).with_context(|| format!("cannot empty {}", scratch.display()))?;
        }
        fs::create_dir_all(&scratch).with_context(|| format!("cannot make {}", scratch.display()))?;
        Ok(Self { project, python, directory: project.root.join(CHART), scratch })
    }

    pub fn lint(&self) -> Result<()> {
        process::output(&mut self.python.helm_command("lint", Some(&self.directory)))?;
        println!("kubernetes: helm lint finds nothing in {CHART}");
        Ok(())
    }

    /// Renders every case; what came of it.
    pub fn render(&self, rendered: Rendered) -> Result<Vec<PathBuf>> {
        let defaults = self.scratch.join("values");
        fs::create_dir(&defaults).context("make a directory for values")?;
        let defaults = defaults.join("defaults.yaml");
        fs::write(&defaults, "{}\n").context("write empty values")?;
        let cases = self.cases()?;
        self.helm(NEWEST, cases.iter().chain([&defaults]))?;
        let mut files = Vec::new();
        let manifests = plain(&self.result("defaults")?);
        self.committed(&self.project.root.join(MANIFESTS), &manifests, rendered)?;
        for case in &cases {
            let name = name(case);
            let text = self.result(&name)?;
            self.committed(&case.with_extension("rendered.yaml"), &text, rendered)?;
            files.push(self.scratch.join(format!("{name}.yaml")));
        }
        files.push(self.project.root.join(MANIFESTS));
        files.push(self.project.root.join(MANIFESTS).with_file_name("namespace.yaml"));
        println!("kubernetes: {} and {} cases are what Helm renders", MANIFESTS, cases.len());
        Ok(files)
    }

    fn cases(&self) -> Result<Vec<PathBuf>> {
        let mut files = yaml(&self.project.root.join(CASES))?;
        files.retain(|file| !name(file).ends_with(".rendered"));
        Ok(files)
    }

    fn helm<'b>(&self, kubernetes: &str, values: impl Iterator<Item = &'b PathBuf>) -> Result<()> {
        let mut helm = self.python.helm_command("render", Some(&self.directory));
        process::output(helm.args([NAMESPACE, kubernetes]).arg(&self.scratch).args(values)).map(drop)
    }

    fn result(&self, name: &str) -> Result<String> {
        let file = self.scratch.join(format!("{name}.yaml"));
        if let Ok(error) = fs::read_to_string(file.with_extension("error")) {
            bail!("Helm does not render {CHART} with the values {name}: {}", error.trim());
        }
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
    }

    fn committed(&self, file: &Path, text: &str, rendered: Rendered) -> Result<()> {
        let show = self.project.relative(file).display();
        if rendered == Rendered::Renew {
            return fs::write(file, text).with_context(|| format!("cannot write {show}"));
        }
        let found = fs::read_to_string(file).unwrap_or_default();
        let at = found.lines().zip(text.lines()).take_while(|(found, text)| found == text).count();
        ensure!(
            found == text,
            "{show} is not what Helm renders: line {} is {:?} and has to be {:?}; `cargo xtask kubernetes renew` \
             writes it anew",
            at + 1,
            found.lines().nth(at),
            text.lines().nth(at),
        );
        Ok(())
    }

    /// Schemas of Kubernetes, and promtool for the rules.
    pub fn validate(&self, files: &[PathBuf]) -> Result<()> {
        // Rendered for the release that it is held against: it differs.
        let older: Vec<&str> = VERSIONS.into_iter().filter(|version| minor(version) < 30).collect();
        let newer: Vec<&str> = VERSIONS.into_iter().filter(|version| minor(version) >= 30).collect();
        self.schemas(&newer, files)?;
        let cases = self.cases()?;
        self.helm(older[0], cases.iter())?;
        let old: Vec<PathBuf> =
            cases.iter().map(|case| self.scratch.join(format!("{}.yaml", name(case)))).collect();
        self.schemas(&older, &old)?;

        let mut rules = yaml_ending(&self.scratch, ".rules.yml")?;
        ensure!(!rules.is_empty(), "no case in {CASES} has prometheusRule.enabled");
        process::output(Command::new("promtool").args(["check", "rules"]).args(rules.drain(..)))
            .context("the rules of the chart are not right")?;
        self.scrape().context("the job for Prometheus is not right")?;
        println!("kubernetes: promtool takes the rules and the job");
        Ok(())
    }

    /// Debian's Prometheus does not know how to find pods: without that part.
    fn scrape(&self) -> Result<()> {
        let text = process::read(&self.project.root.join("deploy/prometheus/scrape-kubernetes.yml"))?;
        let text = String::from_utf8_lossy(&text);
        let (before, rest) = text.split_once("    kubernetes_sd_configs:\n").context("it finds no pods")?;
        let (_, after) = rest.split_once("    relabel_configs:\n").context("it relabels nothing")?;
        let file = self.scratch.join("scrape.yml");
        fs::write(
            &file,
            format!("{before}    static_configs: [{{targets: []}}]\n    relabel_configs:\n{after}"),
        )
        .with_context(|| format!("cannot write {}", file.display()))?;
        process::output(Command::new("promtool").args(["check", "config"]).arg(file)).map(drop)
    }

    fn schemas(&self, versions: &[&str], files: &[PathBuf]) -> Result<()> {
        let mut validate = self.python.script("validate.py");
        validate.arg(versions.join(",")).arg(&self.scratch).args(files);
        let said = process::text(&mut validate)?;
        print!("kubernetes: {said}");
        Ok(())
    }

    /// Values that the schema of the chart must not take. Each has to be refused for its own reason.
    pub fn refuse_nonsense(&self) -> Result<()> {
        let directory = self.scratch.join("nonsense");
        fs::create_dir(&directory).context("make a directory for values")?;
        let values: Vec<PathBuf> = (0..NONSENSE.len())
            .map(|at| {
                let file = directory.join(format!("nonsense-{at}.yaml"));
                fs::write(&file, NONSENSE[at].0).map(|()| file)
            })
            .collect::<Result<_, _>>()
            .context("write values")?;
        self.helm(NEWEST, values.iter())?;
        for (at, (values, reason)) in NONSENSE.iter().enumerate() {
            let error = fs::read_to_string(self.scratch.join(format!("nonsense-{at}.error")));
            let error = error.map_err(|_| anyhow::anyhow!("Helm takes the values {values}"))?;
            ensure!(
                error.contains(reason) && error.contains("specifications of the schema"),
                "Helm refuses the values {values}, but not for {reason:?}: {error}"
            );
        }
        println!("kubernetes: {} kinds of nonsense in values are refused", NONSENSE.len());
        Ok(())
    }
}

/// Values, and what Helm says of them.
const NONSENSE: [(&str, &str); 19] = [
    ("imagee: {}", "additional properties 'imagee' not allowed"),
    ("image: {repository: ''}", "at '/image/repository': minLength"),
    ("image: {digest: 'sha256:1'}", "at '/image/digest'"),
    ("image: {pullPolicy: Sometimes}", "at '/image/pullPolicy'"),
    ("listen: {port: 70000}", "at '/listen/port': maximum"),
    ("listen: {port: '9717'}", "at '/listen/port': got string"),
    ("hostPID: 'yes'", "at '/hostPID': got string"),
    ("capabilities: [CAP_BPF]", "at '/capabilities/0'"),
    ("capabilities: [ALL]", "at '/capabilities/0'"),
    ("tick: fast", "at '/tick'"),
    ("config: {close_wait_buildup: {min_cuont: 3}}", "additional properties 'min_cuont' not allowed"),
    ("config: {close_wait_buildup: {min_count: 0}}", "at '/config/close_wait_buildup/min_count': minimum"),
    (
        "config: {close_wait_buildup: {min_count: '3'}}",
        "at '/config/close_wait_buildup/min_count': got string",
    ),
    ("config: {close_wait_buildup: {age: soon}}", "at '/config/close_wait_buildup/age'"),
    ("config: {closewait: {}}", "additional properties 'closewait' not allowed"),
    ("config: {record: {enabled: false}}", "additional properties 'record' not allowed"),
    ("record: {volume: tape}", "at '/record/volume'"),
    ("tolerations: {operator: Exists}", "at '/tolerations': got object, want array"),
    ("updateStrategy: {type: Recreate}", "at '/updateStrategy/type'"),
];

/// Helm's own labels mean nothing where Helm does not manage the objects.
fn plain(rendered: &str) -> String {
    let mut text = String::from(
        "# The Helm chart deploy/helm/tcpwatch, rendered with its default values for Kubernetes 1.30 and newer. Change the\n\
         # chart, not this file: `cargo xtask kubernetes renew` makes it. docs/kubernetes.md says how to install it.\n",
    );
    for line in rendered.lines() {
        let label = line.trim_start();
        if !(label.starts_with("helm.sh/chart:") || label == "app.kubernetes.io/managed-by: Helm") {
            text.extend([line, "\n"]);
        }
    }
    text
}

fn minor(version: &str) -> u32 {
    version.split('.').nth(1).and_then(|minor| minor.parse().ok()).unwrap_or_default()
}

fn name(file: &Path) -> String {
    file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn yaml(directory: &Path) -> Result<Vec<PathBuf>> {
    yaml_ending(directory, ".yaml")
}

fn yaml_ending(directory: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    let list = || -> std::io::Result<Vec<PathBuf>> {
        fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect()
    };
    let mut files = list().with_context(|| format!("cannot list {}", directory.display()))?;
    files.retain(|file| file.to_string_lossy().ends_with(ending));
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_helm_understands_is_left_out() {
        let rendered = "metadata:\n  labels:\n    app.kubernetes.io/managed-by: Helm\n    helm.sh/chart: tcpwatch-1\n    a: b\n";
        let text = plain(rendered);
        assert!(text.starts_with("# ") && text.ends_with("metadata:\n  labels:\n    a: b\n"), "{text}");
    }
}
