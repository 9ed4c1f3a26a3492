//! What can go wrong between this node and the cluster's API, and what would help.

use std::time::Duration;

use super::wire::Refusal;

/// Why pods are not known, or no longer kept up with.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error("cannot find the cluster's API: {0}")]
    Config(String),
    #[error("cannot reach the cluster's API at {server}: {why}")]
    Unreachable { server: String, why: String },
    #[error("the cluster's API did not answer within {} s", .0.as_secs())]
    Silent(Duration),
    #[error(
        "the cluster's API does not know who asks (401): {0}. In a pod, its service account's token must be mounted; \
         with --kubeconfig the user must be valid"
    )]
    Unknown(String),
    #[error(
        "the cluster's API does not allow it (403): {0}. The account needs a ClusterRole with the verbs list and watch \
         on pods"
    )]
    Forbidden(String),
    /// The version from which changes were asked for is too old: begin again.
    #[error("what changed since is no longer kept by the cluster's API (410)")]
    Expired,
    #[error("the cluster's API is busy ({code}): {message}")]
    Busy { code: u16, message: String, wait: Option<Duration> },
    #[error("the cluster's API answered {code}: {message}")]
    Refused { code: u16, message: String },
    #[error("the connection to the cluster's API broke: {0}")]
    Broken(String),
    #[error("the cluster's API answered what makes no sense: {0}")]
    Nonsense(String),
    #[error("the cluster's API ends each watch at once")]
    Brief,
}

impl Trouble {
    /// What the API says instead of an answer. `wait`: how long it asks for patience.
    pub(super) fn refused(refusal: Refusal, wait: Option<Duration>) -> Self {
        let message = refusal.message.unwrap_or_else(|| String::from("without a word why"));
        match refusal.code {
            Some(401) => Self::Unknown(message),
            Some(403) => Self::Forbidden(message),
            Some(410) => Self::Expired,
            Some(code @ (429 | 503 | 504)) => Self::Busy { code, message, wait },
            Some(code) => Self::Refused { code, message },
            None => Self::Nonsense(message),
        }
    }

    /// What somebody has to change: it is no use to try often.
    pub(super) const fn is_lasting(&self) -> bool {
        matches!(self, Self::Config(_) | Self::Unknown(_) | Self::Forbidden(_))
    }

    /// What happens to watches every day.
    pub(super) const fn is_ordinary(&self) -> bool {
        matches!(self, Self::Broken(_) | Self::Expired)
    }
}
