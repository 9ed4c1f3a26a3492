//! Where Alertmanager delivers alerts: whoever is on call, played by a thread.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(5);

/// Alerts as they come, until the end of the process.
pub fn listen(port: u16) -> Result<Receiver<Value>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .with_context(|| format!("cannot listen on port {port} for alerts"))?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // One who goes away in the middle comes again.
            for alert in take(stream).unwrap_or_default() {
                if sender.send(alert).is_err() {
                    return;
                }
            }
        }
    });
    Ok(receiver)
}

fn take(stream: TcpStream) -> Result<Vec<Value>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim().to_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
    }
    let mut body = Vec::new();
    reader.by_ref().take(length).read_to_end(&mut body)?;
    reader.into_inner().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    let body: Value = serde_json::from_slice(&body)?;
    Ok(body["alerts"].as_array().cloned().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_posted_arrives() {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let port = free.expect("a free port").port();
        let alerts = listen(port).expect("listen");
        for body in ["{}", "{\"alerts\": [{\"status\": \"firing\"}, {\"status\": \"resolved\"}]}"] {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connect");
            write!(stream, "POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len()).expect("post");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("an answer");
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        }
        let come: Vec<_> = (0..2).map(|_| alerts.recv_timeout(PATIENCE).expect("an alert")).collect();
        assert_eq!([&come[0]["status"], &come[1]["status"]], ["firing", "resolved"]);
    }
}
