//! `--metrics`: answers scrapes over HTTP/1.1, one request a connection, one connection after the other. A thread of its own asks
//! the engine for a snapshot and writes it; what a client sends, and how long it may take, is bounded.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use super::socket::Tell;
use crate::stats::Snapshot;
use crate::write::write_openmetrics;

/// A request's line and headers have at most so many bytes, in so many pieces, each of which is waited for so long.
const REQUEST: usize = 8 << 10;
const PIECES: usize = 8;
const PATIENCE: Duration = Duration::from_millis(250);
/// A client that takes nothing for so long is left.
const SENDING: Duration = Duration::from_secs(2);
/// The engine looks four times a second at least whether one is wanted; where it makes none in this time, something is wrong.
const SNAPSHOT: Duration = Duration::from_secs(3);

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";

/// The engine's end.
pub struct Metrics {
    wanted: Arc<AtomicBool>,
    snapshots: SyncSender<Snapshot>,
}

impl Metrics {
    pub fn start(listener: TcpListener, tell: Tell) -> io::Result<Metrics> {
        let wanted = Arc::<AtomicBool>::default();
        let (snapshots, queue) = sync_channel(1);
        let scraper = Scraper { wanted: Arc::clone(&wanted), queue };
        thread::Builder::new().name("metrics".to_owned()).spawn(move || scraper.run(&listener, &tell))?;
        Ok(Metrics { wanted, snapshots })
    }

    pub fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    /// Whoever wanted it may be gone.
    pub fn snapshot(&self, snapshot: Snapshot) {
        self.wanted.store(false, Ordering::Relaxed);
        let _ = self.snapshots.try_send(snapshot);
    }
}

struct Scraper {
    wanted: Arc<AtomicBool>,
    queue: Receiver<Snapshot>,
}

/// Status line, content type and text of an answer.
type Answer = (&'static str, &'static str, String);

impl Scraper {
    /// To the end of the process.
    fn run(&self, listener: &TcpListener, tell: &Tell) {
        for stream in listener.incoming() {
            match stream {
                // A client that is gone wants no answer.
                Ok(stream) => drop(self.serve(&stream)),
                Err(error) => {
                    tell(&format!("metrics: {error}"));
                    // Of too many open files some will be closed.
                    thread::park_timeout(PATIENCE);
                }
            }
        }
    }

    fn serve(&self, mut stream: &TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(SENDING))?;
        let request = read(stream)?;
        let (status, kind, text) = match page(&request) {
            Ok(()) => self.metrics(),
            Err(answer) => answer,
        };
        let is_head = request.starts_with("HEAD ");
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            text.len()
        );
        stream.write_all(head.as_bytes())?;
        if !is_head {
            stream.write_all(text.as_bytes())?;
        }
        stream.flush()
    }

    fn metrics(&self) -> Answer {
        // One that came too late for an earlier scrape.
        self.queue.try_iter().for_each(drop);
        self.wanted.store(true, Ordering::Relaxed);
        match self.queue.recv_timeout(SNAPSHOT) {
            Ok(snapshot) => ("200 OK", OPEN_METRICS, write_openmetrics(&snapshot)),
            Err(_) => ("503 Service Unavailable", PLAIN, "the engine gives no figures now\n".to_owned()),
        }
    }
}

/// Line and headers of a request.
fn read(mut stream: &TcpStream) -> io::Result<String> {
    let mut request = Vec::new();
    let mut bytes = [0; REQUEST / PIECES];
    for _ in 0..PIECES {
        let count = stream.read(&mut bytes)?;
        request.extend_from_slice(&bytes[..count]);
        if count == 0 || request.windows(4).any(|end| end == b"\r\n\r\n") {
            break;
        }
    }
    Ok(String::from_utf8_lossy(&request).into_owned())
}

/// Whether a request is for the metrics, or what is wrong with it.
fn page(request: &str) -> Result<(), Answer> {
    let mut words = request.lines().next().unwrap_or_default().split(' ');
    let (method, path, version) = (words.next(), words.next(), words.next());
    let is_http = version.is_some_and(|version| version.starts_with("HTTP/1.")) && words.next().is_none();
    if !is_http || !request.contains("\r\n\r\n") {
        return Err(("400 Bad Request", PLAIN, "this is no request of HTTP/1.1\n".to_owned()));
    }
    if !matches!(method, Some("GET" | "HEAD")) {
        return Err(("405 Method Not Allowed\r\nAllow: GET, HEAD", PLAIN, "only GET\n".to_owned()));
    }
    let path = path.unwrap_or_default();
    match path.split('?').next() {
        Some("/metrics") => Ok(()),
        _ => Err(("404 Not Found", PLAIN, "there is only /metrics\n".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_request_for_metrics_gets_them() {
        for (request, expected) in [
            ("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", None),
            ("GET /metrics?x=1 HTTP/1.0\r\n\r\n", None),
            ("HEAD /metrics HTTP/1.1\r\n\r\n", None),
            ("GET / HTTP/1.1\r\n\r\n", Some("404")),
            ("POST /metrics HTTP/1.1\r\n\r\n", Some("405")),
            ("GET /metrics HTTP/1.1\r\n", Some("400")),
            ("GET /metrics\r\n\r\n", Some("400")),
            ("\u{0}\u{1}", Some("400")),
            ("", Some("400")),
        ] {
            let answer = page(request).err().map(|(status, ..)| &status[..3]);
            assert_eq!(answer, expected, "{request:?}");
        }
    }
}
