//! The files of a recording, and the thread that packs and writes them. Names sort by time:
//! `record-20260301T143000.123456789Z.pcapng.zst`, by the first frame.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use tickscope_model::{LinkType, Timestamp};

use super::pcapng;
use super::record::{Buffer, Counts, Limits, Shared};
use crate::capture::recorded::{ENDING, PREFIX, files_called};
use crate::write::file_time;

/// Fast enough for one thread at a gigabyte a second or so, and a third of the size.
const LEVEL: i32 = 1;
/// How often a folder that could not be written is looked at.
const RETRY: Duration = Duration::from_secs(10);
/// How often the age of a file is looked at where nothing comes.
const IDLE: Duration = Duration::from_secs(1);
/// A full disk is written again once it has so much room, or a sixteenth of it.
const ROOM_BYTES: u64 = 64 << 20;

/// A file that is being written.
struct Open {
    file: File,
    path: PathBuf,
    bytes: u64,
    since: Instant,
    last: Timestamp,
    counts: Vec<Counts>,
}

/// See the head of this file.
pub(super) struct Files {
    folder: PathBuf,
    taps: Vec<(String, String)>,
    shared: Arc<Shared>,
    open: Option<Open>,
    packer: zstd::bulk::Compressor<'static>,
    packed: Vec<u8>,
    /// When a write failed, and is tried again then.
    retry: Option<Instant>,
}

impl Files {
    pub(super) fn new(folder: PathBuf, taps: Vec<(String, String)>, shared: Arc<Shared>) -> io::Result<Files> {
        let mut packer = zstd::bulk::Compressor::new(LEVEL)?;
        packer.include_checksum(true)?;
        Ok(Files { folder, taps, shared, open: None, packer, packed: Vec::new(), retry: None })
    }

    /// Writes buffers until there are no more.
    pub(super) fn run(mut self, full: &Receiver<Buffer>, empty: &SyncSender<Buffer>) {
        loop {
            match full.recv_timeout(IDLE) {
                Ok(mut buffer) => {
                    self.take(&buffer);
                    buffer.blocks.clear();
                    buffer.frames = 0;
                    buffer.last = Timestamp::MIN;
                    // There is room for all buffers.
                    let _ = empty.try_send(buffer);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let Limits { file_bytes, file_span, .. } = self.shared.limits();
            let span = Duration::from_nanos(u64::try_from(file_span.0).unwrap_or(u64::MAX));
            if self.open.as_ref().is_some_and(|open| open.bytes >= file_bytes || open.since.elapsed() >= span) {
                self.close();
            }
        }
        self.close();
    }

    #[allow(clippy::disallowed_methods, reason = "when a disk is tried again is no figure")]
    fn take(&mut self, buffer: &Buffer) {
        let is_blocked = match self.retry {
            Some(retry) if Instant::now() < retry => true,
            Some(_) if !self.has_room() => {
                self.retry = Some(Instant::now() + RETRY);
                true
            }
            _ => false,
        };
        if is_blocked {
            self.shared.not_written.fetch_add(buffer.frames, Ordering::Relaxed);
            return;
        }
        match self.write(buffer) {
            Ok(()) => {
                self.shared.recorded.fetch_add(buffer.frames, Ordering::Relaxed);
                if self.retry.take().is_some() {
                    self.shared.is_stopped.store(false, Ordering::Relaxed);
                    self.shared.tell("the folder can be written again: recording goes on".to_owned());
                }
            }
            Err(error) => {
                self.shared.not_written.fetch_add(buffer.frames, Ordering::Relaxed);
                self.abandon();
                if self.retry.is_none() {
                    self.shared.is_stopped.store(true, Ordering::Relaxed);
                    let folder = self.folder.display();
                    let text =
                        format!("{folder}: recording stops ({error}), capturing goes on; it is tried again every 10 s");
                    self.shared.tell(text);
                }
                self.retry = Some(Instant::now() + RETRY);
            }
        }
    }

    /// Whether a disk that was full has room again.
    fn has_room(&self) -> bool {
        let Ok(disk) = rustix::fs::statvfs(&self.folder) else { return false };
        let (free, all) = (disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize);
        free >= ROOM_BYTES.min(all / 16)
    }

    fn write(&mut self, buffer: &Buffer) -> io::Result<()> {
        if self.open.is_none() {
            self.create(buffer.first)?;
        }
        self.append(&buffer.blocks)?;
        if let Some(open) = &mut self.open {
            open.last = open.last.max(buffer.last);
            open.counts.clone_from(&buffer.counts);
        }
        Ok(())
    }

    #[allow(clippy::disallowed_methods, reason = "files are as old as the clock says")]
    fn create(&mut self, first: Timestamp) -> io::Result<()> {
        let (file, path) = self.unused(first)?;
        self.shared.files.fetch_add(1, Ordering::Relaxed);
        let counts = vec![Counts::default(); self.taps.len()];
        self.open = Some(Open { file, path, bytes: 0, since: Instant::now(), last: first, counts });
        let mut blocks = Vec::new();
        pcapng::section(&mut blocks, "recorded by tickscope live");
        for (name, about) in &self.taps {
            pcapng::interface(&mut blocks, LinkType::Ethernet, name, about);
        }
        self.append(&blocks)
    }

    /// A file of its own, though the clock may have been set back.
    fn unused(&self, first: Timestamp) -> io::Result<(File, PathBuf)> {
        let mut time = first.0;
        loop {
            let path = self.folder.join(format!("{PREFIX}{}{ENDING}", file_time(Timestamp(time))));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => return Ok((file, path)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => time += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Packs blocks as a frame of their own; all of it is in the file, or nothing.
    fn append(&mut self, blocks: &[u8]) -> io::Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        self.packed.clear();
        self.packed.reserve(zstd::zstd_safe::compress_bound(blocks.len()));
        self.packer.compress_to_buffer(blocks, &mut self.packed)?;
        open.file.write_all(&self.packed)?;
        open.bytes += self.packed.len() as u64;
        self.shared.bytes.fetch_add(self.packed.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Leaves a file as it was before the write that failed.
    fn abandon(&mut self) {
        let Some(open) = self.open.take() else { return };
        // Nothing more can be done where this fails: readers take what is whole.
        let _ = if open.bytes == 0 { fs::remove_file(&open.path) } else { open.file.set_len(open.bytes) };
    }

    /// Ends a file with what became of the frames.
    fn close(&mut self) {
        let Some(open) = &self.open else { return };
        let mut blocks = Vec::new();
        for (tap, counts) in open.counts.iter().enumerate() {
            pcapng::statistics(&mut blocks, u16::try_from(tap).unwrap_or(u16::MAX), open.last, counts);
        }
        if self.append(&blocks).is_err() {
            self.abandon();
        }
        self.open = None;
        if let Some(most) = self.shared.limits().total_bytes
            && let Err(error) = self.delete_oldest(most)
        {
            self.shared.tell(format!("{}: old files cannot be deleted: {error}", self.folder.display()));
        }
    }

    /// Only those that are ours by their names, and not the newest one.
    fn delete_oldest(&self, most: u64) -> io::Result<()> {
        let mut files = files_called(&self.folder, PREFIX, ENDING)?;
        let mut total: u64 = files.iter().map(|(_, bytes)| bytes).sum();
        files.pop();
        for (name, bytes) in files {
            if total <= most {
                break;
            }
            fs::remove_file(self.folder.join(name))?;
            total -= bytes;
        }
        Ok(())
    }
}
