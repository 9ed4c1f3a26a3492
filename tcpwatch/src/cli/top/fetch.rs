//! Figures from a daemon. What is asked for by a key has a thread of its own, so that it does not wait for figures, nor
//! they for it.

use std::fmt::Write as _;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Input, Worker, client, line, parse, spawn};
use crate::cli::markdown;
use crate::top::{Command, Event};
use client::Client;

/// A daemon that is gone is asked again after so long, or after the interval if that is longer.
const AGAIN: Duration = Duration::from_secs(1);

/// Whom questions are sent to.
pub(super) struct Fetcher(Sender<Command>);

impl Worker for Fetcher {
    fn ask(&self, command: Command) {
        // Its thread ends with the program.
        let _ = self.0.send(command);
    }
}

pub(super) fn start(client: Client, netns: Option<u64>, every: Duration, tell: Sender<Input>) -> Fetcher {
    let (ask, asked) = channel();
    let (asking, told) = (client.clone(), tell.clone());
    spawn("answers", &tell, move || {
        answers(&asking, netns, &asked, &told);
        Ok(())
    });
    spawn("figures", &tell.clone(), move || {
        figures(&client, netns, every, &tell);
        Ok(())
    });
    Fetcher(ask)
}

fn figures(client: &Client, netns: Option<u64>, every: Duration, tell: &Sender<Input>) {
    let path = match netns {
        Some(netns) => format!("/api/v1/overview?netns={netns}"),
        None => "/api/v1/overview".into(),
    };
    loop {
        let began = Instant::now();
        let fetched = client.json(&path).map_err(|error| trouble(client, &error));
        let event = match fetched.and_then(|value| snapshot(client, &value)) {
            Ok(event) => event,
            Err(why) => Event::Trouble(why),
        };
        let pause = if matches!(event, Event::Trouble(_)) { every.max(AGAIN) } else { every };
        if tell.send(Input::Event(event)).is_err() {
            return;
        }
        thread::sleep(pause.saturating_sub(began.elapsed()));
    }
}

fn snapshot(client: &Client, value: &Value) -> Result<Event, String> {
    let snapshot = parse::snapshot(value);
    let snapshot = snapshot.ok_or_else(|| format!("{} told no overview", client.address()))?;
    Ok(Event::Snapshot(Box::new(snapshot)))
}

fn trouble(client: &Client, error: &client::ClientError) -> String {
    match error {
        // Short: what to do about it is known to who named the daemon.
        client::ClientError::Connect { source, .. } => format!("cannot reach {}: {source}", client.address()),
        _ => line(error),
    }
}

/// Questions of keys; of several that wait, all but the last of each kind are out of date.
fn answers(client: &Client, netns: Option<u64>, asked: &Receiver<Command>, tell: &Sender<Input>) {
    while let Ok(first) = asked.recv() {
        let (mut sockets, mut page) = (None, None);
        for command in std::iter::once(first).chain(asked.try_iter()) {
            match command {
                Command::Sockets { .. } => sockets = Some(command),
                Command::Page { .. } => page = Some(command),
                _ => {}
            }
        }
        for command in page.into_iter().chain(sockets) {
            if answer(client, netns, &command).is_some_and(|event| tell.send(Input::Event(event)).is_err()) {
                return;
            }
        }
    }
}

fn answer(client: &Client, own: Option<u64>, command: &Command) -> Option<Event> {
    match command {
        Command::Sockets { ticket, filter, limit } => {
            let mut path = format!("/api/v1/sockets?limit={limit}");
            if !filter.trim().is_empty() {
                path = format!("{path}&filter={}", encoded(&within(filter, own)));
            } else if let Some(netns) = own {
                path = format!("{path}&netns={netns}");
            }
            let answer = client.json(&path).map_err(|error| trouble(client, &error));
            Some(Event::Sockets(*ticket, answer.map(|answer| parse::sockets(&answer))))
        }
        Command::Page { ticket, topic, netns } => {
            let query = netns.or(own).map(|netns| format!("?netns={netns}")).unwrap_or_default();
            let page = client.json(&format!("/api/v1/explain/{topic}{query}"));
            let text = page.map_err(|error| trouble(client, &error)).and_then(|page| {
                let text = page["markdown"].as_str().ok_or("the daemon's answer has no page in it")?;
                Ok(markdown::render(text, false))
            });
            Some(Event::Page(*ticket, text))
        }
        _ => None,
    }
}

/// A filter within the network namespace that is looked at.
pub(super) fn within(filter: &str, netns: Option<u64>) -> String {
    match netns {
        Some(netns) => format!("netns={netns} ({filter})"),
        None => filter.into(),
    }
}

/// As a part of a query.
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            encoded.push(byte.into());
        } else {
            _ = write!(encoded, "%{byte:02x}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Filter;

    #[test]
    fn filters_stay_within_the_namespace_and_the_query() {
        let filter = within("state=listen or port 80", Some(7));
        assert_eq!(filter, "netns=7 (state=listen or port 80)");
        assert!(Filter::parse(&filter).is_ok());
        assert_eq!(within("port 80", None), "port 80");
        assert_eq!(encoded("a=b&c d"), "a%3db%26c%20d");
    }
}
