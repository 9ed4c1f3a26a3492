//! Keeps up with the pods of a node: a list, then every change from there on, and again from the last known version
//! when the connection ends, which it does every few minutes.

use std::convert::Infallible;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use super::book::Book;
use super::client::{Answer, Server};
use super::pace::{Pace, Patience};
use super::trouble::Trouble;
use super::wire::{self, Event};
use crate::roster::Roster;

/// Pods that are asked for at once, where the API keeps to it: it does not when it answers out of its memory.
const PAGE: usize = 250;

/// How often what has gone is looked at.
const TIDY: Duration = Duration::from_mins(1);

/// Where the cluster is, and which node this is.
#[derive(Clone, Debug)]
pub struct Options {
    /// `None`: what the cluster puts into each pod.
    pub kubeconfig: Option<PathBuf>,
    pub node: String,
    pub patience: Patience,
}

/// Which versions of the pods a list may show.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fresh {
    /// Any: the API answers out of its memory, where pods are kept by node. So do the kubelets ask.
    Any,
    /// None older than this one, which it no longer goes on from. Also out of its memory: after the API was started
    /// anew all nodes ask at once.
    Since(String),
    /// The latest: what it has in memory is too old to go on from. It looks through all pods of the cluster for that.
    Latest,
}

impl Fresh {
    /// In terms of the API. Out of its memory it gives all at once, and with a limit some versions would not take it
    /// from there.
    fn query(&self) -> String {
        match self {
            Self::Any => format!("&limit={PAGE}&resourceVersion=0"),
            Self::Since(version) => {
                format!("&resourceVersion={}&resourceVersionMatch=NotOlderThan", escaped(version))
            }
            Self::Latest => format!("&limit={PAGE}"),
        }
    }
}

/// Follows the pods of the node for ever.
pub async fn follow(options: Options, roster: Roster) -> Infallible {
    roster.set_status(|status| status.node.clone_from(&options.node));
    let mut watcher = Watcher {
        pace: Pace::new(options.patience),
        options,
        roster,
        book: Book::default(),
        server: None,
        version: None,
        fresh: Fresh::Any,
    };
    loop {
        let Err(trouble) = watcher.attempt().await;
        let wait = watcher.note(&trouble);
        watcher.tidy();
        tokio::time::sleep(wait).await;
    }
}

/// Asks once for the pods of the node, and says where and how many run.
pub async fn probe(options: &Options) -> Result<(String, usize), Trouble> {
    let server = Server::find(options.kubeconfig.as_deref()).await?;
    let (entries, _) = list(&server, options, &Fresh::Any).await?;
    Ok((server.address, entries.iter().filter(|entry| !entry.gone).count()))
}

struct Watcher {
    options: Options,
    roster: Roster,
    pace: Pace,
    book: Book,
    server: Option<Server>,
    /// Up to which all changes are known.
    version: Option<String>,
    fresh: Fresh,
}

impl Watcher {
    async fn attempt(&mut self) -> Result<Infallible, Trouble> {
        let server = match self.server.take() {
            Some(server) => server,
            None => Server::find(self.options.kubeconfig.as_deref()).await?,
        };
        self.server = Some(server.clone());
        self.roster.set_status(|status| status.server.clone_from(&server.address));
        let mut version = match self.version.take() {
            Some(version) => version,
            None => self.list(&server).await?,
        };
        loop {
            self.version = Some(version.clone());
            version = self.watch(&server, version).await?;
        }
    }

    /// All pods of the node; the version of the list.
    async fn list(&mut self, server: &Server) -> Result<String, Trouble> {
        let (entries, version) = list(server, &self.options, &self.fresh).await?;
        let running = entries.iter().filter(|entry| !entry.gone).count();
        log::debug!("{running} pods run on the node {}", self.options.node);
        self.book.replace(entries, Instant::now());
        // At the first time also if there is none: from now on it is known that there is none.
        self.roster.publish(self.book.directory());
        Ok(version)
    }

    /// Takes changes until the API ends the watch, as it does after a while. The version to go on from.
    async fn watch(&mut self, server: &Server, version: String) -> Result<String, Trouble> {
        let Patience { answer, watch, brief, .. } = self.options.patience;
        let lasts = self.pace.jitter(watch);
        let began = Instant::now();
        // One whose peer has vanished without a word ends here.
        let deadline = began + lasts + answer;
        let path = format!(
            "{}&watch=true&allowWatchBookmarks=true&resourceVersion={}&timeoutSeconds={}",
            pods_of(&self.options.node),
            escaped(&version),
            lasts.as_secs().max(1)
        );
        let mut answer = server.get(&path, answer).await?;
        self.stands();
        self.version = Some(version);
        let mut is_heard = false;
        loop {
            let line = self.line(&mut answer, deadline).await;
            if began.elapsed() >= brief {
                // It stood for a while, however it ends.
                self.pace.reset();
            }
            let Some(line) = line? else { break };
            if line.is_empty() {
                continue;
            }
            let now = Instant::now();
            let (is_news, version) = match wire::event(&line, &self.options.node)? {
                Event::Is(entry, version) => (self.book.put(entry, now), version),
                Event::Gone(entry, version) => (self.book.remove(entry, now), version),
                Event::Bookmark(version) => (false, version),
                Event::Unknown => (false, None),
            };
            self.version = version.or_else(|| self.version.take());
            if is_news {
                self.roster.publish(self.book.directory());
            }
            is_heard = true;
            self.pace.reset();
        }
        if !is_heard && began.elapsed() < brief {
            return Err(Trouble::Brief);
        }
        self.version.take().ok_or(Trouble::Brief)
    }

    /// The next line; meanwhile what has gone is forgotten in time.
    async fn line(&mut self, answer: &mut Answer, deadline: Instant) -> Result<Option<Vec<u8>>, Trouble> {
        loop {
            let until = deadline.min(Instant::now() + TIDY);
            match tokio::time::timeout_at(until.into(), answer.line()).await {
                Ok(line) => return line,
                Err(_) if Instant::now() >= deadline => {
                    return Err(Trouble::Broken("nothing came any more, not even its end".into()));
                }
                Err(_) => self.tidy(),
            }
        }
    }

    fn tidy(&mut self) {
        if self.book.make_room(Instant::now()) {
            self.roster.publish(self.book.directory());
        }
    }

    /// Changes are told as they happen.
    fn stands(&mut self) {
        let status = self.roster.status();
        if !status.up {
            let pods = self.roster.latest().1.running();
            let (node, server) = (&status.node, &status.server);
            log::info!("pods are known: {pods} run on the node {node}, by the cluster's API at {server}");
            if pods == 0 {
                log::warn!(
                    "no pod runs on a node {node}: is that its name in the cluster? --node-name says it"
                );
            }
            self.roster.set_status(|status| (status.up, status.since) = (true, Some(SystemTime::now())));
        }
        self.fresh = Fresh::Any;
    }

    /// What is known is too old to go on from. The second time in a row it is what the list gave.
    fn begin_anew(&mut self) {
        self.fresh = match (self.version.take(), &self.fresh) {
            (Some(version), Fresh::Any) => Fresh::Since(version),
            _ => Fresh::Latest,
        };
    }

    /// Tells what went wrong, and how long to wait.
    fn note(&mut self, trouble: &Trouble) -> Duration {
        match trouble {
            Trouble::Expired => self.begin_anew(),
            // It has not come as far as that yet.
            Trouble::Busy { code: 504, .. } if matches!(self.fresh, Fresh::Since(_)) => {
                self.fresh = Fresh::Latest;
            }
            // Who we are, and where it is, may be read anew.
            Trouble::Unreachable { .. } => self.server = None,
            trouble if trouble.is_lasting() => self.server = None,
            // What was told last may not be what was meant.
            Trouble::Nonsense(_) => self.version = None,
            _ => {}
        }
        let wait = self.pace.wait(trouble);
        let before = self.roster.status();
        // As long as pods are not known it is told why.
        if trouble.is_ordinary() && before.up {
            log::debug!("{trouble}; asking again");
            return wait;
        }
        let text = trouble.to_string();
        // Said once, not at each try.
        if before.up || before.error.as_ref().is_none_or(|(_, said)| *said != text) {
            let known = if before.since.is_some() { "are known as they were last" } else { "have no names" };
            log::warn!("{text}. Pods {known} until it works; it is tried again and again");
        }
        self.roster.set_status(|status| {
            let now = SystemTime::now();
            if status.up {
                (status.up, status.since) = (false, Some(now));
            }
            status.error = Some((now, text));
        });
        wait
    }
}

/// All pods of the node, and the version of the list.
async fn list(
    server: &Server,
    options: &Options,
    fresh: &Fresh,
) -> Result<(Vec<crate::roster::Entry>, String), Trouble> {
    let Options { node, patience, .. } = options;
    let (mut entries, mut next) = (Vec::new(), None::<String>);
    loop {
        let from = next
            .take()
            .map_or_else(|| fresh.query(), |next| format!("&limit={PAGE}&continue={}", escaped(&next)));
        let path = format!("{}{from}", pods_of(node));
        let text = server.get(&path, patience.answer).await?.whole(patience.answer).await?;
        let page = wire::page(&text, node)?;
        entries.extend(page.pods);
        match page.next {
            Some(more) => next = Some(more),
            None => return Ok((entries, page.version)),
        }
    }
}

fn pods_of(node: &str) -> String {
    format!("/api/v1/pods?fieldSelector={}", escaped(&format!("spec.nodeName={node}")))
}

/// For a query: everything but what may stand there as it is.
fn escaped(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte.into());
        } else {
            out.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
        out
    })
}

fn digit(half: u8) -> char {
    char::from_digit(half.into(), 16).unwrap_or('0').to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped() {
        assert_eq!(pods_of("node-1.example"), "/api/v1/pods?fieldSelector=spec.nodeName%3Dnode-1.example");
        assert_eq!(escaped("a b/c&d=é"), "a%20b%2Fc%26d%3D%C3%A9");
    }
}
