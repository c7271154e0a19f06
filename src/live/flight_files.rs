//! Files of what the flight recorder held when orders were slow. They are written by a thread of their own; orders that are slow
//! while the file before is still new wait for the next one, so there are at most two files in the time that one covers.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use tickscope_model::{Nanos, Timestamp};

use super::flight::{Flight, Held};
use crate::capture::recorded::files_called;
use crate::write::{file_time, named};

const PREFIX: &str = "flight-";
const ENDING: &str = ".pcapng";
/// So many files are kept, the newest.
pub const FILES: usize = 100;
/// Orders that a file names.
const NAMED: usize = 20;

struct Job {
    held: Held,
    comment: String,
}

/// See the head of this file.
pub struct FlightFiles {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
    /// Orders that no file covers yet: those that are named, and how many.
    waiting: VecDeque<String>,
    count: u64,
    /// Time of the newest frame of the last file.
    covered: Option<Timestamp>,
    gap: Nanos,
    pub slow: u64,
    written: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
}

impl FlightFiles {
    /// `span` is that of the recorder; `tell` is called by another thread.
    pub fn start(folder: PathBuf, span: Nanos, tell: fn(&str)) -> io::Result<FlightFiles> {
        fs::create_dir_all(&folder).map_err(|error| named(folder.display(), &error))?;
        let (jobs, from_jobs) = sync_channel(1);
        let (written, failed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let counts = (Arc::clone(&written), Arc::clone(&failed));
        let run = move || write_all(&folder, &from_jobs, tell, &counts.0, &counts.1);
        let thread = thread::Builder::new().name("flight".to_owned()).spawn(run)?;
        Ok(FlightFiles {
            jobs: Some(jobs),
            thread: Some(thread),
            waiting: VecDeque::new(),
            count: 0,
            covered: None,
            gap: Nanos(span.0 / 2),
            slow: 0,
            written,
            failed,
        })
    }

    /// An order was slow; its last frame is of this time.
    pub fn slow(&mut self, end: Timestamp, text: String) {
        self.slow += 1;
        if self.covered.is_some_and(|covered| end <= covered) {
            return;
        }
        self.count += 1;
        if self.waiting.len() < NAMED {
            self.waiting.push_back(text);
        }
    }

    /// To be called again and again: writes a file where one is due, or at the end.
    pub fn advance(&mut self, flight: &mut Flight, now: Timestamp, is_over: bool) {
        let is_new = self.covered.is_some_and(|covered| now < covered.shifted(self.gap));
        if self.count == 0 || (is_new && !is_over) {
            return;
        }
        let named = self.waiting.iter().map(String::as_str).collect::<Vec<_>>().join("; ");
        let comment = format!("{} slow: {named}", self.count);
        let held = flight.held();
        let newest = held.newest();
        let Some(jobs) = &self.jobs else { return };
        // Where the one before is still being written they wait on.
        if jobs.try_send(Job { held, comment }).is_ok() {
            self.covered = Some(newest);
            self.waiting.clear();
            self.count = 0;
        }
    }

    /// Files written, and files that could not be.
    pub fn counts(&self) -> (u64, u64) {
        (self.written.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }

    /// Waits for the last file.
    pub fn finish(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take()
            && let Err(panicked) = thread.join()
        {
            std::panic::resume_unwind(panicked);
        }
    }
}

fn write_all(folder: &Path, jobs: &Receiver<Job>, tell: fn(&str), written: &AtomicU64, failed: &AtomicU64) {
    while let Ok(job) = jobs.recv() {
        let path = folder.join(format!("{PREFIX}{}{ENDING}", file_time(job.held.newest())));
        let result = write(&path, &job).and_then(|()| delete_oldest(folder));
        match result {
            Ok(()) => {
                written.fetch_add(1, Ordering::Relaxed);
                tell(&format!("{}: {}", path.display(), job.comment));
            }
            Err(error) => {
                failed.fetch_add(1, Ordering::Relaxed);
                // Half a file is of no use where the disk is full.
                let _ = fs::remove_file(&path);
                tell(&format!("{}: not written: {error}; {}", path.display(), job.comment));
            }
        }
    }
}

fn write(path: &Path, job: &Job) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    job.held.write(&job.comment, &mut out)?;
    out.flush()
}

fn delete_oldest(folder: &Path) -> io::Result<()> {
    let files = files_called(folder, PREFIX, ENDING)?;
    let old = files.len().saturating_sub(FILES);
    files.iter().take(old).try_for_each(|(name, _)| fs::remove_file(folder.join(name)))
}
