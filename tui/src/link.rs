//! The other side: a thread reads its lines and hands them on as values; questions go out on the same socket. Where a daemon's
//! socket is lost, it is looked for again.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::Connection;
use crate::terminal::Event;
use crate::wire::{self, Message};

/// How often a lost daemon is looked for.
const AGAIN: Duration = Duration::from_millis(500);
/// A question that the other side does not take for so long is given up with the connection.
const WRITE: Duration = Duration::from_secs(2);
/// So long a single frame waits for what it needs.
const READ: Duration = Duration::from_secs(30);
/// A line that is longer than this is none of ours: memory is bounded.
const LONGEST_LINE: u64 = 64 << 20;

/// Where questions are written to; empty while there is no connection.
type Way = Arc<Mutex<Option<UnixStream>>>;

/// See the head of this file.
pub(crate) struct Asker(Way);

impl Asker {
    /// Asks; where that is not possible the reader notices it, too.
    pub(crate) fn ask(&self, question: &str) {
        let mut way = locked(&self.0);
        let Some(stream) = way.as_mut() else { return };
        if stream.write_all(format!("{question}\n").as_bytes()).is_err() {
            *way = None;
        }
    }
}

fn locked(way: &Way) -> MutexGuard<'_, Option<UnixStream>> {
    way.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts reading.
pub(crate) fn start(connection: Connection, events: SyncSender<Event>) -> std::io::Result<Asker> {
    let way = Way::default();
    let theirs = Arc::clone(&way);
    thread::Builder::new().name("screen-link".to_owned()).spawn(move || match connection {
        Connection::Given(stream) => {
            let why = read(stream, &theirs, &events);
            let _ = events.send(Event::Lost(why));
            let _ = events.send(Event::Closed);
        }
        Connection::Daemon(path) => daemon(&path, &theirs, &events),
    })?;
    Ok(Asker(way))
}

/// Until nobody listens any more.
fn daemon(path: &Path, way: &Way, events: &SyncSender<Event>) {
    loop {
        let why = match UnixStream::connect(path) {
            Ok(stream) => read(stream, way, events),
            Err(error) => not_there(path, &error),
        };
        if events.send(Event::Lost(why)).is_err() {
            return;
        }
        #[allow(clippy::disallowed_methods, reason = "a socket that is not there cannot be waited for")]
        thread::sleep(AGAIN);
    }
}

fn not_there(path: &Path, error: &std::io::Error) -> String {
    let path = path.display();
    match error.kind() {
        std::io::ErrorKind::NotFound => format!("no tickscope live runs there: {path}: {error}"),
        std::io::ErrorKind::ConnectionRefused => format!("tickscope live has ended: {path}: {error}"),
        std::io::ErrorKind::PermissionDenied => format!("{path}: {error}: only its owner and group may connect"),
        _ => format!("{path}: {error}"),
    }
}

/// Hands on all lines; why there are no more.
fn read(stream: UnixStream, way: &Way, events: &SyncSender<Event>) -> String {
    let _ = stream.set_write_timeout(Some(WRITE));
    let writer = match stream.try_clone() {
        Ok(writer) => writer,
        Err(error) => return error.to_string(),
    };
    *locked(way) = Some(writer);
    let why = if events.send(Event::Found).is_err() { String::new() } else { lines(stream, events) };
    *locked(way) = None;
    why
}

fn lines(stream: UnixStream, events: &SyncSender<Event>) -> String {
    let mut reader = BufReader::with_capacity(256 << 10, stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut limited = std::io::Read::take(&mut reader, LONGEST_LINE);
        match limited.read_until(b'\n', &mut line) {
            Ok(0) => return "the other side has closed the connection".to_owned(),
            Ok(_) if line.last() != Some(&b'\n') => return "the other side's last line has no end".to_owned(),
            Ok(_) => {}
            Err(error) => return error.to_string(),
        }
        if events.send(Event::Line(Box::new(wire::read(&line)))).is_err() {
            return String::new();
        }
    }
}

/// A connection for one frame.
pub(crate) fn connect(connection: Connection) -> Result<UnixStream, String> {
    let (stream, longest) = match connection {
        // It reads captures for as long as that takes.
        Connection::Given(stream) => (stream, None),
        Connection::Daemon(path) => (UnixStream::connect(&path).map_err(|error| not_there(&path, &error))?, Some(READ)),
    };
    stream.set_read_timeout(longest).map_err(|error| error.to_string())?;
    stream.set_write_timeout(Some(WRITE)).map_err(|error| error.to_string())?;
    Ok(stream)
}

/// The last snapshot of a capture, or the next of a daemon, as it came.
pub fn newest_line(connection: Connection) -> Result<String, String> {
    let is_given = matches!(connection, Connection::Given(_));
    let mut reader = BufReader::new(connect(connection)?);
    let mut line = String::new();
    loop {
        line.clear();
        match reader.read_line(&mut line) {
            Ok(0) => return Err("the other side has closed the connection before its snapshot".to_owned()),
            Ok(_) => {}
            Err(error) => return Err(format!("no snapshot came: {error}")),
        }
        if let Message::Snapshot(snapshot) = wire::read(line.as_bytes())?
            && (!is_given || snapshot.is_last)
        {
            return Ok(line);
        }
    }
}
