//! The cluster's API over HTTP: requests, their answers in whole or line by line. Only this file knows the `kube` crate.

use std::path::Path;
use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use super::trouble::Trouble;
use super::wire::{self, Refusal};
use crate::causes::causes;

/// The most that an answer may have: a list of all pods that fit on a node, with all their fields.
const MOST_BYTES: usize = 64 << 20;
/// What of an error's text is kept.
const MOST_WORDS: usize = 300;
/// To make a connection, TLS included.
const CONNECT: Duration = Duration::from_secs(10);

/// The API, with what is needed to be let in. Tokens and certificates that the cluster renews are read again.
#[derive(Clone)]
pub(super) struct Server {
    client: Client,
    pub(super) address: String,
}

/// An answer that has begun.
pub(super) struct Answer {
    body: Body,
    /// What of the body has come and was not taken.
    buffer: Vec<u8>,
}

impl Server {
    /// By a file as `kubectl` has it, or else by what the cluster puts into each pod.
    pub(super) async fn find(kubeconfig: Option<&Path>) -> Result<Self, Trouble> {
        let mut config = match kubeconfig {
            Some(path) => {
                let said = |error: &(dyn std::error::Error + 'static)| {
                    Trouble::Config(format!("{}: {}", path.display(), causes(error)))
                };
                let file = Kubeconfig::read_from(path).map_err(|error| said(&error))?;
                let chosen = KubeConfigOptions::default();
                Config::from_custom_kubeconfig(file, &chosen).await.map_err(|error| said(&error))?
            }
            None => Config::incluster_env().map_err(|error| {
                Trouble::Config(format!(
                    "{}. In a pod, its service account must be mounted; elsewhere give --kubeconfig FILE",
                    causes(&error)
                ))
            })?,
        };
        // A node has a straight way to its cluster, and what is asked again is ours to decide.
        (config.proxy_url, config.default_retry) = (None, false);
        config.connect_timeout = Some(CONNECT);
        let address = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let client = Client::try_from(config).map_err(|error| Trouble::Config(causes(&error)))?;
        Ok(Self { client, address })
    }

    /// Asks, and waits for so long until the answer begins.
    pub(super) async fn get(&self, path: &str, patience: Duration) -> Result<Answer, Trouble> {
        let request =
            Request::get(path).header("accept", "application/json").header("accept-encoding", "identity");
        let request = request.body(Body::empty()).map_err(|error| Trouble::Config(causes(&error)))?;
        let response = tokio::time::timeout(patience, self.client.send(request)).await;
        let response = response.map_err(|_| Trouble::Silent(patience))?.map_err(|error| match error {
            kube::Error::Auth(error) => Trouble::Config(causes(&error)),
            error => Trouble::Unreachable { server: self.address.clone(), why: causes(&error) },
        })?;
        if response.status().is_success() {
            return Ok(Answer { body: response.into_body(), buffer: Vec::new() });
        }
        Err(refusal(response, patience).await)
    }
}

/// An answer with a code that is none of success. What it says is shown, whatever it is.
async fn refusal(response: Response<Body>, patience: Duration) -> Trouble {
    let code = response.status().as_u16();
    let wait = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let mut answer = Answer { body: response.into_body(), buffer: Vec::new() };
    let text = answer.whole(patience).await.unwrap_or_default();
    let told = wire::parse::<Refusal>("status", &text).ok().and_then(|refusal| refusal.message);
    let message = told.unwrap_or_else(|| String::from_utf8_lossy(&text).trim().to_owned());
    let message = message.chars().take(MOST_WORDS).collect::<String>();
    let message = (!message.is_empty()).then_some(message);
    Trouble::refused(Refusal { code: Some(code), message }, wait.map(Duration::from_secs))
}

impl Answer {
    /// All of it.
    pub(super) async fn whole(&mut self, patience: Duration) -> Result<Vec<u8>, Trouble> {
        let all = async {
            while self.more().await? {}
            Ok(std::mem::take(&mut self.buffer))
        };
        tokio::time::timeout(patience, all).await.map_err(|_| Trouble::Silent(patience))?
    }

    /// The next line, without its end; `None` at the end, which also ends what was begun. Can be dropped and called
    /// again.
    pub(super) async fn line(&mut self) -> Result<Option<Vec<u8>>, Trouble> {
        let mut looked = 0;
        loop {
            if let Some(end) = self.buffer[looked..].iter().position(|byte| *byte == b'\n') {
                let rest = self.buffer.split_off(looked + end + 1);
                let mut line = std::mem::replace(&mut self.buffer, rest);
                line.truncate(looked + end);
                return Ok(Some(line));
            }
            looked = self.buffer.len();
            if !self.more().await? {
                return Ok(None);
            }
        }
    }

    /// Whether more has come, or it is the end.
    async fn more(&mut self) -> Result<bool, Trouble> {
        match self.body.frame().await {
            None => Ok(false),
            Some(Err(error)) => Err(Trouble::Broken(causes(&error))),
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.buffer.extend_from_slice(data);
                }
                if self.buffer.len() > MOST_BYTES {
                    return Err(Trouble::Nonsense(format!("more than {} MiB", MOST_BYTES >> 20)));
                }
                Ok(true)
            }
        }
    }
}
