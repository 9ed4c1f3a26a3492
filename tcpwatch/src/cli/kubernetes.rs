//! The flags that say whether and how the cluster is asked for the pods of this node.

use std::env;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};

use crate::host;
use crate::pods::{Options, Patience};

/// What Kubernetes sets in each pod.
const IN_CLUSTER: &str = "KUBERNETES_SERVICE_HOST";
/// What a pod's definition usually calls the name of its node.
const NODE_NAME: &str = "NODE_NAME";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum When {
    /// In a pod, and with --kubeconfig.
    #[default]
    Auto,
    On,
    Off,
}

#[derive(Debug, Default, Args)]
pub(super) struct KubernetesArgs {
    /// Name containers and pods as the Kubernetes API has them. It needs no right but to list and watch pods.
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    kubernetes: When,
    /// How to get to the API, as `kubectl` has it. By default what the cluster puts into each pod.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// What the cluster calls this node. By default `$NODE_NAME`, else the name of the host.
    #[arg(long, value_name = "NAME")]
    node_name: Option<String>,
}

impl KubernetesArgs {
    /// `None` if nobody shall be asked.
    pub(super) fn options(&self) -> Result<Option<Options>> {
        self.options_in(|name| env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn options_in(&self, var: impl Fn(&str) -> Option<String>) -> Result<Option<Options>> {
        let is_on = match self.kubernetes {
            When::On => true,
            When::Off => false,
            When::Auto => self.kubeconfig.is_some() || var(IN_CLUSTER).is_some(),
        };
        if !is_on {
            return Ok(None);
        }
        let node = self.node_name.clone().or_else(|| var(NODE_NAME)).or_else(host::host_name);
        let node = node.context("this host has no name: say with --node-name what the cluster calls it")?;
        Ok(Some(Options { kubeconfig: self.kubeconfig.clone(), node, patience: Patience::default() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(args: &KubernetesArgs, variables: &[(&str, &str)]) -> Option<String> {
        let var = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        args.options_in(var).expect("a host with a name").map(|options| options.node)
    }

    #[test]
    fn the_cluster_is_asked_where_there_is_one() {
        let args = |kubernetes, kubeconfig: Option<&str>, node_name: Option<&str>| KubernetesArgs {
            kubernetes,
            kubeconfig: kubeconfig.map(PathBuf::from),
            node_name: node_name.map(str::to_owned),
        };
        let in_cluster = [(IN_CLUSTER, "10.0.0.1"), (NODE_NAME, "node-1")];
        assert_eq!(node(&args(When::Auto, None, None), &[(NODE_NAME, "node-1")]), None);
        assert_eq!(node(&args(When::Auto, None, None), &in_cluster).as_deref(), Some("node-1"));
        assert_eq!(node(&args(When::Off, Some("/x"), None), &in_cluster), None);
        let own = host::host_name();
        assert_eq!(node(&args(When::Auto, Some("/x"), None), &[]), own);
        assert_eq!(node(&args(When::On, None, None), &[]), own);
        assert_eq!(node(&args(When::On, None, Some("n")), &in_cluster).as_deref(), Some("n"));
    }
}
