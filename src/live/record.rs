//! A recording: everything that is captured, as pcapng files packed by zstd, in a folder. The engine puts blocks into buffers
//! that are there from the start; a thread of its own packs and writes them. What that cannot keep up with is not recorded, and
//! counted; capturing and measuring never wait for a disk.
//!
//! Each buffer is a zstd frame of its own and is written once a second at the latest: of a file that was cut at any place, all
//! buffers before that can be read. Where the disk is full the last buffer is taken back, so that the file is whole, and the
//! recording goes on in another file once there is room.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::{fs, io, mem};

use tickscope_model::{Frame, Nanos, Timestamp};

use super::merge::Arrival;
use super::pcapng::{self, Packet};
use super::record_files::Files;
use crate::stats::Recorded;
use crate::write::named;

pub(super) use super::pcapng::Counts;

/// Bytes of a buffer, and how many go round.
const BUFFER_BYTES: usize = 1 << 20;
const BUFFERS: usize = 64;

/// Where a recording goes, and how large it may become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordOptions {
    pub folder: PathBuf,
    pub limits: Limits,
}

/// What can be changed while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A file that has so many bytes is ended …
    pub file_bytes: u64,
    /// … and one that is so old.
    pub file_span: Nanos,
    /// The oldest files are deleted once there are more bytes than this.
    pub total_bytes: Option<u64>,
}

/// Whole blocks on their way to the file.
pub(super) struct Buffer {
    pub blocks: Vec<u8>,
    pub frames: u64,
    /// Time of the first frame, and of the newest.
    pub first: Timestamp,
    pub last: Timestamp,
    /// What became of the taps' frames up to here.
    pub counts: Vec<Counts>,
}

/// What both threads know.
pub(super) struct Shared {
    pub recorded: AtomicU64,
    /// Frames that were not recorded: no buffer was free, or the folder could not be written.
    pub not_kept_up: AtomicU64,
    pub not_written: AtomicU64,
    pub bytes: AtomicU64,
    pub files: AtomicU64,
    pub is_stopped: AtomicBool,
    limits: Mutex<Limits>,
    /// What happened since somebody asked.
    told: Mutex<Vec<String>>,
}

impl Shared {
    pub(super) fn limits(&self) -> Limits {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn tell(&self, text: String) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    }
}

/// See the head of this file.
pub struct Recorder {
    current: Option<Buffer>,
    full: Option<SyncSender<Buffer>>,
    empty: Receiver<Buffer>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    folder: PathBuf,
    counts: Vec<Counts>,
}

impl Recorder {
    /// The folder is made where it is missing. `taps`: name of each, and what is to be said of it in the files.
    pub fn start(options: &RecordOptions, taps: Vec<(String, String)>) -> io::Result<Recorder> {
        let in_folder =
            |error: io::Error| named(format_args!("{}: cannot record into it", options.folder.display()), &error);
        fs::create_dir_all(&options.folder).map_err(in_folder)?;
        let (full, from_full) = sync_channel(BUFFERS);
        let (empty, from_empty) = sync_channel(BUFFERS);
        for _ in 0..BUFFERS {
            let counts = vec![Counts::default(); taps.len()];
            let blocks = Vec::with_capacity(BUFFER_BYTES);
            let (first, last) = (Timestamp::MIN, Timestamp::MIN);
            empty.try_send(Buffer { blocks, frames: 0, first, last, counts }).expect("it holds as many");
        }
        let shared = Arc::new(Shared {
            recorded: AtomicU64::new(0),
            not_kept_up: AtomicU64::new(0),
            not_written: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            files: AtomicU64::new(0),
            is_stopped: AtomicBool::new(false),
            limits: Mutex::new(options.limits),
            told: Mutex::default(),
        });
        let counts = vec![Counts::default(); taps.len()];
        let files = Files::new(options.folder.clone(), taps, Arc::clone(&shared)).map_err(in_folder)?;
        let thread = thread::Builder::new().name("record".to_owned()).spawn(move || files.run(&from_full, &empty))?;
        Ok(Recorder {
            current: None,
            full: Some(full),
            empty: from_empty,
            shared,
            thread: Some(thread),
            folder: options.folder.clone(),
            counts,
        })
    }

    /// Records a frame, with its stamp as it was taken, or counts it.
    #[inline]
    pub fn push(&mut self, frame: &Frame<'_>, arrival: &Arrival, has_time: bool) {
        let room = pcapng::packet_len(frame.bytes.len()) + NO_STAMP_BYTES;
        if self.current.as_ref().is_some_and(|buffer| buffer.blocks.len() + room > BUFFER_BYTES) {
            self.flush();
        }
        if self.current.is_none() {
            self.current = self.empty.try_recv().ok();
        }
        let Some(buffer) = &mut self.current else {
            self.shared.not_kept_up.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let time = arrival.stamp;
        let Frame { tap, wire_len, bytes, .. } = *frame;
        let packet = Packet { interface: tap.0, time, wire_len, is_sent: Some(arrival.is_sent), bytes };
        pcapng::packet(&mut buffer.blocks, &packet, if has_time { "" } else { NO_STAMP });
        if buffer.frames == 0 {
            buffer.first = time;
        }
        buffer.frames += 1;
        buffer.last = buffer.last.max(time);
    }

    /// Hands over what there is: to be called once a second.
    pub fn flush(&mut self) {
        let Some(mut buffer) = self.current.take_if(|buffer| buffer.frames > 0) else { return };
        buffer.counts.clone_from(&self.counts);
        if let Some(full) = &self.full {
            // There is room for all buffers; the thread ends after us only.
            let _ = full.try_send(buffer);
        }
    }

    /// What became of the taps' frames up to now, by tap: seen, dropped, used.
    pub fn account(&mut self, taps: impl Iterator<Item = (u64, u64, u64)>) {
        for (counts, (seen, dropped, used)) in self.counts.iter_mut().zip(taps) {
            *counts = Counts { seen, dropped, used };
        }
    }

    /// From the next file or buffer on.
    pub fn set_limits(&self, limits: Limits) {
        *self.shared.limits.lock().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    /// What happened since the last call, for the log.
    pub fn told(&self) -> Vec<String> {
        mem::take(&mut *self.shared.told.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn report(&self) -> Recorded {
        let number = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Recorded {
            folder: self.folder.display().to_string(),
            frames: number(&self.shared.recorded),
            bytes: number(&self.shared.bytes),
            files: number(&self.shared.files),
            losses: [
                ("not_kept_up", number(&self.shared.not_kept_up)),
                ("not_written", number(&self.shared.not_written)),
            ],
            is_stopped: self.shared.is_stopped.load(Ordering::Relaxed),
            ..Recorded::default()
        }
    }

    /// Writes what there is, and ends the last file.
    pub fn finish(&mut self) {
        self.flush();
        self.full = None;
        if let Some(thread) = self.thread.take()
            && let Err(panicked) = thread.join()
        {
            std::panic::resume_unwind(panicked);
        }
    }
}

const NO_STAMP: &str = "no stamp: the time of the frame before";
/// An option with that text.
const NO_STAMP_BYTES: usize = 4 + NO_STAMP.len().next_multiple_of(4);
