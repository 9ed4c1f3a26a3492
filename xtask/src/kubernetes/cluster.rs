//! The chart on a real cluster: a Kubernetes of one node, which is built from Debian's source package.
//!
//! Nothing of it is left behind: it has a network namespace of its own, and all its files are below `target/`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::python::Python;
use crate::project::Project;
use crate::{image, process, vm};

/// What is looked for: the API server, which the test asks all the time, may have findings of its own.
const KIND: &str = "close_wait_buildup";
const NETNS: &str = "/run/netns/tcpwatch-cluster";
const PATIENCE: Duration = Duration::from_mins(2);
/// Who is in the namespace `shop` and forgets to close 30 connections, or 5 on the node's network.
const FORGETFUL: &str = include_str!("cluster/forgetful.yaml");
/// Who is there, started by the kubelet alone, and forgets 4.
const STATIC: &str = include_str!("cluster/static.yaml");

struct Cluster<'a> {
    project: &'a Project,
    python: &'a Python,
    /// What is kept from one run to the next.
    work: PathBuf,
    begin: Instant,
}

impl Drop for Cluster<'_> {
    fn drop(&mut self) {
        self.say("tearing down");
        if let Err(error) = process::output(self.script("cluster.sh").arg(&self.work).arg("down")) {
            println!("kubernetes: {error:#}");
        }
    }
}

pub fn test(project: &Project, python: &Python) -> Result<()> {
    let archive = image::build_local(project)?;
    let work = project.target.join("kubernetes");
    let cluster = Cluster { project, python, work, begin: Instant::now() };
    cluster.up()?;
    cluster.image(&archive)?;
    cluster.install()?;
    let pod = cluster.pod()?;
    println!("{}", cluster.reload(&pod)?);
    cluster.replay(&pod)?;
    cluster.refuse(&pod)?;
    cluster.update(&pod)?;
    cluster.uninstall()
}

impl Cluster<'_> {
    fn say(&self, what: &str) {
        println!("kubernetes: {:>5.1} s  {what}", self.begin.elapsed().as_secs_f64());
    }

    fn script(&self, name: &str) -> Command {
        let mut bash = Command::new("bash");
        bash.arg(self.project.root.join("xtask/src/kubernetes/cluster").join(name));
        bash
    }

    fn inside(program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("nsenter");
        // `ip netns exec` would mount another /sys.
        command.arg(format!("--net={NETNS}")).arg(program.as_ref());
        command
    }

    fn kubectl(&self, args: &[&str]) -> Result<String> {
        let mut kubectl = Self::inside(self.work.join("bin/kubectl"));
        process::text(kubectl.arg("--kubeconfig").arg(self.work.join("run/kubeconfig")).args(args))
    }

    /// Runs a command of the daemon's program in its pod.
    fn tcpwatch(&self, pod: &str, args: &[&str]) -> Result<String> {
        let mut kubectl = Self::inside(self.work.join("bin/kubectl"));
        kubectl.arg("--kubeconfig").arg(self.work.join("run/kubeconfig"));
        kubectl.args(["-n", "tcpwatch", "exec", pod, "--", "/tcpwatch"]).args(args);
        let ended = kubectl.output().with_context(|| format!("cannot start {}", process::show(&kubectl)))?;
        // 1 is: there are findings.
        ensure!(
            matches!(ended.status.code(), Some(0 | 1)) && !ended.stdout.is_empty(),
            "`{}` failed: {}",
            process::show(&kubectl),
            String::from_utf8_lossy(&ended.stderr)
        );
        Ok(String::from_utf8_lossy(&ended.stdout).into_owned())
    }

    fn docker(&self) -> Command {
        let mut docker = Self::inside("docker");
        docker.arg("-H").arg(format!("unix://{}", self.work.join("run/docker.sock").display()));
        docker
    }

    fn helm(&self, verb: &str, text: &str) -> Result<()> {
        let values = self.work.join("run/values.yaml");
        fs::write(&values, text).with_context(|| format!("cannot write {}", values.display()))?;
        let chart = self.project.root.join("deploy/helm/tcpwatch");
        let helm = self.python.helm_command(verb, Some(&chart));
        let mut command = Self::inside(helm.get_program());
        command.args(helm.get_args()).arg("tcpwatch").arg(self.work.join("run/kubeconfig")).arg(values);
        self.say(process::text(&mut command)?.trim());
        Ok(())
    }

    fn wait_for<T>(&self, what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
        let end = Instant::now() + PATIENCE;
        loop {
            let found = look();
            if let Ok(Some(found)) = found {
                self.say(what);
                return Ok(found);
            }
            if Instant::now() > end {
                let state = self.kubectl(&["describe", "pods", "--all-namespaces"]).unwrap_or_default();
                println!("{state}");
                found.with_context(|| format!("waiting for this: {what}"))?;
                bail!("this did not come to be within {} s: {what}", PATIENCE.as_secs());
            }
            sleep(Duration::from_millis(500));
        }
    }

    fn up(&self) -> Result<()> {
        self.say("building Kubernetes, unless that was done before");
        process::run(self.script("build.sh").arg(&self.work).arg(vm::debian_mirror()?))?;
        fs::copy(self.project.root.join("xtask/src/kubernetes/cluster/pod.c"), self.work.join("pod.c"))
            .context("cannot copy the program of the pods")?;
        self.say("bringing it up");
        process::output(self.script("cluster.sh").arg(&self.work).arg("up"))?;
        self.say(self.kubectl(&["get", "nodes", "--no-headers"])?.trim());
        Ok(())
    }

    fn image(&self, archive: &Path) -> Result<()> {
        let said = process::text(self.docker().args(["load", "--quiet", "--input"]).arg(archive))?;
        self.say(said.trim());
        Ok(())
    }

    fn install(&self) -> Result<()> {
        self.kubectl(&["create", "namespace", "shop"])?;
        let file = self.work.join("run/forgetful.yaml");
        fs::write(&file, FORGETFUL).context("write who leaks")?;
        self.kubectl(&["apply", "-f", &file.to_string_lossy()])?;
        fs::write(self.work.join("run/manifests/fixed.yaml"), STATIC).context("write the static pod")?;
        self.helm("install", "config: {close_wait_buildup: {min_count: 1000, age: 1s}}\n")?;
        self.roll_out()?;
        // As the authorizer of this cluster sees the role.
        let may = |verb: &str, what: &str| {
            let account = "--as=system:serviceaccount:tcpwatch:tcpwatch";
            // It fails where the answer is no.
            self.kubectl(&["auth", "can-i", verb, what, account, "--all-namespaces"]).is_ok()
        };
        ensure!(may("list", "pods") && may("watch", "pods"), "the role does not allow to watch pods");
        for (verb, what) in
            [("get", "secrets"), ("list", "configmaps"), ("delete", "pods"), ("create", "pods/exec")]
        {
            ensure!(!may(verb, what), "the role allows to {verb} {what}");
        }
        self.say("the role allows to list and watch pods, and no more");
        Ok(())
    }

    fn roll_out(&self) -> Result<()> {
        self.wait_for("the DaemonSet is rolled out", || {
            self.kubectl(&["-n", "tcpwatch", "rollout", "status", "daemonset/tcpwatch", "--timeout=5s"])
                .map(Some)
        })
        .map(drop)
    }

    /// The only pod of the `DaemonSet`, once its predecessor is gone.
    fn pod(&self) -> Result<String> {
        self.wait_for("it is the only one, and ready", || {
            let pods = self.kubectl(&["-n", "tcpwatch", "get", "pods", "--no-headers"])?;
            let one = pods.lines().count() == 1 && pods.contains("1/1");
            Ok(pods.split_whitespace().next().filter(|_| one).map(str::to_owned))
        })
    }

    /// The finding comes when another `ConfigMap` has come, without another pod.
    fn reload(&self, pod: &str) -> Result<String> {
        self.wait_for(
            "every socket in CLOSE_WAIT is its pod's, on the node's network and of static pods, too",
            || self.forgotten(pod).map(|pods| (pods == [(4, false), (5, true), (30, false)]).then_some(())),
        )?;
        let findings = self.tcpwatch(pod, &["findings", "--kind", KIND, "--json"])?;
        ensure!(findings.contains("\"findings\":[]"), "30 are too few yet, but: {findings}");
        self.helm("upgrade", "config: {close_wait_buildup: {min_count: 10, age: 1s}}\n")?;
        self.wait_for("the daemon has read the changed ConfigMap", || {
            Ok(self
                .kubectl(&["-n", "tcpwatch", "logs", pod])?
                .contains("it has changed: the configuration")
                .then_some(()))
        })?;
        self.finding(pod)
    }

    /// How many sockets each of the pods of `shop` forgets, by the daemon, and whether they are on the node's network:
    /// `fixed-node1`, `forgetful-…` and `hostly`, by number.
    fn forgotten(&self, pod: &str) -> Result<Vec<(usize, bool)>> {
        let node = fs::metadata(NETNS).context("the node's network namespace")?.ino();
        let said = self.tcpwatch(pod, &["netstat", "--filter", "state=close_wait", "--json"])?;
        let said: Value = serde_json::from_str(&said).context("a listing")?;
        let mut pods: BTreeMap<String, Vec<bool>> = BTreeMap::new();
        for socket in said["sockets"].as_array().into_iter().flatten() {
            let owner = &socket["owner"];
            ensure!(owner["namespace"] == "shop", "a socket of nobody's: {socket}");
            let name = owner["pod_name"].as_str().context("a socket of no pod")?;
            pods.entry(name.to_owned()).or_default().push(socket["netns"] == node);
        }
        let is_one = |begin: &str| pods.keys().filter(|name| name.starts_with(begin)).count() == 1;
        ensure!(
            ["fixed-node1", "forgetful-", "hostly"].into_iter().all(is_one),
            "other pods: {:?}",
            pods.keys()
        );
        let mut pods: Vec<(usize, bool)> =
            pods.values().map(|sockets| (sockets.len(), sockets.iter().all(|is_node| *is_node))).collect();
        pods.sort_unstable();
        Ok(pods)
    }

    /// Who leaks is named: its pod, where that is, and the Deployment that it is of.
    fn finding(&self, pod: &str) -> Result<String> {
        let name = self.kubectl(&[
            "-n",
            "shop",
            "get",
            "pods",
            "-l",
            "app=forgetful",
            "-o",
            "jsonpath={.items[0].metadata.name}",
        ])?;
        let owner = [
            format!("\"pod_name\":\"{name}\""),
            String::from("\"namespace\":\"shop\""),
            String::from("\"container_name\":\"server\""),
            String::from("\"workload\":\"forgetful\""),
            String::from("\"workload_type\":\"deployment\""),
        ];
        let findings = self.wait_for(&format!("a finding about shop/{name}"), || {
            let findings = self.tcpwatch(pod, &["findings", "--kind", KIND, "--json"])?;
            Ok(owner.iter().all(|part| findings.contains(part)).then_some(findings))
        })?;
        ensure!(findings.matches("\"kind\":").count() == 1, "one is the only one: {findings}");
        self.tcpwatch(pod, &["findings"])
    }

    /// Its recorder can write, and what it wrote is found.
    fn replay(&self, pod: &str) -> Result<()> {
        self.wait_for("the finding is in the recording, too", || {
            Ok(self.tcpwatch(pod, &["replay"])?.contains(KIND).then_some(()))
        })
    }

    /// A `ConfigMap` that somebody has broken by hand.
    fn refuse(&self, pod: &str) -> Result<()> {
        let broken = r#"{"data":{"tcpwatch.toml":"[close_wait_buildup]\nmin_count = 0\n"}}"#;
        self.kubectl(&["-n", "tcpwatch", "patch", "configmap", "tcpwatch", "--patch", broken])?;
        self.wait_for("the daemon refuses a broken ConfigMap", || {
            let log = self.kubectl(&["-n", "tcpwatch", "logs", pod])?;
            Ok((log.contains("min_count is 0") && log.contains("the old configuration stays")).then_some(()))
        })?;
        self.finding(pod).map(drop)
    }

    fn update(&self, old: &str) -> Result<()> {
        self.helm(
            "upgrade",
            "config: {close_wait_buildup: {min_count: 10, age: 1s}}\npodAnnotations: {round: two}\n",
        )?;
        self.roll_out()?;
        let new = self.pod()?;
        ensure!(new != old, "the update made no new pod");
        self.finding(&new).map(drop)
    }

    fn uninstall(&self) -> Result<()> {
        let mut helm = self.python.helm_command("uninstall", None);
        let helm = helm.arg("tcpwatch").arg(self.work.join("run/kubeconfig"));
        let mut command = Self::inside(helm.get_program());
        self.say(process::text(command.args(helm.get_args()))?.trim());
        let kinds =
            "daemonsets,configmaps,services,serviceaccounts,clusterroles,clusterrolebindings,pods,secrets";
        self.wait_for("nothing of it is left in the cluster", || {
            let left =
                self.kubectl(&["get", kinds, "-A", "-l", "app.kubernetes.io/name=tcpwatch", "-o", "name"])?;
            Ok(left.trim().is_empty().then_some(()))
        })
    }
}
