//! What this kernel and these privileges allow.

use serde::Serialize;

/// `tcpwatch doctor --json`.
#[derive(Debug, Serialize)]
pub struct Checkup {
    pub kernel: String,
    pub architecture: &'static str,
    pub capabilities: Vec<String>,
    /// What these are not enough for.
    pub lost_privileges: Vec<LostPrivilege>,
    /// Why eBPF does not work at all, if it does not.
    pub error: Option<String>,
    pub programs: Vec<Program>,
    pub lost_fields: Vec<LostField>,
    pub namespaces: usize,
    /// Processes whose network namespace may not be seen.
    pub hidden_processes: usize,
    /// Whether process numbers here are the kernel's; without that owners have no names.
    pub host_pids: bool,
    /// Whether the cluster tells of the pods of this node; `null` outside of one.
    pub kubernetes: Option<Kubernetes>,
    /// What to do about what is lost.
    pub advice: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct LostPrivilege {
    /// Sets of capabilities, of which any is enough.
    pub needs: Vec<Vec<String>>,
    pub lost: &'static str,
}

#[derive(Debug, Serialize)]
pub struct Program {
    pub name: &'static str,
    pub hook: String,
    pub error: Option<String>,
    pub lost: Option<&'static str>,
}

#[derive(Debug, Serialize)]
pub struct LostField {
    pub field: String,
    pub lost: &'static str,
}

/// What the cluster's API answered.
#[derive(Debug, Serialize)]
pub struct Kubernetes {
    pub node: String,
    /// Address of the API; `null` if it did not answer.
    pub server: Option<String>,
    /// Pods that run on the node; `null` if it did not answer.
    pub pods: Option<usize>,
    pub error: Option<String>,
}
