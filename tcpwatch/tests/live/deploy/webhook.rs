//! Where Alertmanager delivers alerts: takes what is posted, and says that it was fine.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;

use crate::support::netns::Netns;
use crate::support::sock;

/// How long one who posts may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// An alert, and the path that it was posted to.
#[derive(Clone, Debug)]
pub(super) struct Delivered {
    pub(super) path: String,
    pub(super) alert: Value,
}

pub(super) struct Webhook {
    delivered: Arc<Mutex<Vec<Delivered>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Webhook {
    pub(super) fn listen(ns: &Netns, port: u16) -> Self {
        let listener = ns.run(|| TcpListener::bind((Ipv4Addr::LOCALHOST, port))).expect("listen");
        let (delivered, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (all, over) = (Arc::clone(&delivered), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                if let Ok((stream, _)) = sock::accept(&listener, Duration::from_millis(100)) {
                    // One who goes away in the middle comes again.
                    let alerts = take(stream).unwrap_or_default();
                    all.lock().expect("no panic").extend(alerts);
                }
            }
        });
        Self { delivered, stop, thread: Some(thread) }
    }

    /// Everything that came, the earliest first.
    pub(super) fn delivered(&self) -> Vec<Delivered> {
        self.delivered.lock().expect("no panic").clone()
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // A panic in it has been told.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Reads one post with its alerts.
fn take(stream: TcpStream) -> std::io::Result<Vec<Delivered>> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_lowercase());
    }
    let path = head.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default().to_owned();
    let length = head.iter().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body)?;
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    reader.into_inner().write_all(answer)?;
    let body: Value = serde_json::from_slice(&body)?;
    let alerts = body["alerts"].as_array().cloned().unwrap_or_default();
    Ok(alerts.into_iter().map(|alert| Delivered { path: path.clone(), alert }).collect())
}
