//! The lines between a screen and the thread that has analysed captures: snapshots and answers one way, questions the other.
//! The thread waits for the screen, which nobody else reads from.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::write::{Question, question};

/// A line that is longer than this is no question.
const LONGEST_LINE: u64 = 64 << 10;
/// So many questions wait.
const QUESTIONS: usize = 64;
/// How far it is is told this often at most.
const PROGRESS: Duration = Duration::from_millis(100);

/// See the head of this file.
pub(super) struct Lines {
    stream: UnixStream,
    questions: Receiver<Result<Question, String>>,
    told: Option<Instant>,
}

impl Lines {
    pub(super) fn new(stream: UnixStream) -> io::Result<Lines> {
        let (ask, questions) = sync_channel(QUESTIONS);
        let reader = BufReader::new(stream.try_clone()?);
        thread::Builder::new().name("questions".to_owned()).spawn(move || read(reader, &ask))?;
        Ok(Lines { stream, questions, told: None })
    }

    /// A line with its end.
    pub(super) fn send(&mut self, line: &[u8]) -> io::Result<()> {
        self.stream.write_all(line)
    }

    /// The next question; `None` once nobody asks any more.
    pub(super) fn next(&self) -> Option<Result<Question, String>> {
        self.questions.recv().ok()
    }

    /// A question that has come already.
    pub(super) fn waiting(&self) -> Option<Result<Question, String>> {
        self.questions.try_recv().ok()
    }

    /// How far it is, from 0 to 1 where that is known. What begins is told at once.
    #[allow(clippy::disallowed_methods, reason = "a screen lives by the clock; no figure comes from it")]
    pub(super) fn progress(&mut self, done: Option<f64>, text: &str, begins: bool) -> io::Result<()> {
        let now = Instant::now();
        if !begins && self.told.is_some_and(|told| now - told < PROGRESS) {
            return Ok(());
        }
        self.told = Some(now);
        let done = done.map(|done| (done.clamp(0.0, 1.0) * 1000.0).round() / 1000.0);
        self.send(&line(&json!({ "tickscope_progress": 1, "done": done, "text": text })))
    }

    /// Why there will be nothing.
    pub(super) fn fail(&mut self, error: &str) -> io::Result<()> {
        self.send(&line(&json!({ "tickscope_progress": 1, "done": null, "text": error, "error": error })))
    }
}

fn line(value: &Value) -> Vec<u8> {
    format!("{value}\n").into_bytes()
}

fn read(mut reader: BufReader<UnixStream>, ask: &SyncSender<Result<Question, String>>) {
    loop {
        let mut line = Vec::new();
        let count = reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line);
        let is_over = !matches!(count, Ok(1..));
        if !line.trim_ascii().is_empty() && ask.send(question(line.trim_ascii())).is_err() || is_over {
            return;
        }
    }
}
