//! Asks a daemon over its HTTP API: one GET at a time, plain HTTP.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::{DEFAULT_LISTEN, Remote};

const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// More than any answer has; a server that sends more is not ours.
const LIMIT: u64 = 64 << 20;

/// The JSON that the chosen daemon answers `path` with; `None` if none was chosen and none runs.
pub(super) fn get(remote: &Remote, path: &str) -> Result<Option<serde_json::Value>> {
    if remote.alone {
        return Ok(None);
    }
    let asked = remote.remote;
    let address = match asked {
        Some(address) => address,
        None => DEFAULT_LISTEN.parse().context("the default address")?,
    };
    match fetch(address, path) {
        Ok(value) => Ok(Some(value)),
        // Nobody said that there is a daemon.
        Err(error) if asked.is_none() => {
            log::debug!("no daemon at {address}: {error:#}");
            Ok(None)
        }
        Err(error) => Err(error.context(format!("ask the daemon at {address}"))),
    }
}

fn fetch(address: SocketAddr, path: &str) -> Result<serde_json::Value> {
    let mut stream = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).context("connect")?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\nAccept: application/json\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(LIMIT).read_to_end(&mut answer).context("read the answer")?;
    parse(&answer)
}

fn parse(answer: &[u8]) -> Result<serde_json::Value> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").context("the answer is not HTTP")?;
    let head = String::from_utf8_lossy(&answer[..end]);
    let mut words = head.split_ascii_whitespace();
    let (Some(version), Some(status)) = (words.next(), words.next()) else { bail!("the answer is empty") };
    if !version.starts_with("HTTP/1.") {
        bail!("the answer is not HTTP");
    }
    let body: serde_json::Value = serde_json::from_slice(&answer[end + 4..])
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
        .context("the answer is not JSON: is it a tcpwatch daemon?")?;
    if status != "200" {
        let message = body.get("error").and_then(serde_json::Value::as_str).unwrap_or("no reason given");
        bail!("it answered {status}: {message}");
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_taken_apart_and_nonsense_is_refused() {
        let ok = parse(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{\"a\":1}").expect("fine");
        assert_eq!(ok["a"], 1);
        for (answer, message) in [
            (&b""[..], "not HTTP"),
            (b"SSH-2.0\r\n\r\n", "empty"),
            (b"SSH-2.0 x\r\n\r\n", "not HTTP"),
            (b"HTTP/1.1 200 OK\r\n\r\n<html>", "not JSON"),
            (b"HTTP/1.1 404 Not Found\r\n\r\n{\"error\":\"no such namespace\"}", "404: no such namespace"),
        ] {
            let error = format!("{:#}", parse(answer).expect_err("refused"));
            assert!(error.contains(message), "{error}");
        }
    }
}
