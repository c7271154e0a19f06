//! `--hlog` of `live`: an `HdrHistogram` log that grows by a line for each interval and segment, of the rows that were written
//! in it, so that the sum of a tag's lines is the histogram of the whole run. Whole lines go to the file at once, so a process
//! that is killed loses an interval at most. A new day or hour begins a new file; the one before gets its first time in its name.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use tickscope_model::{Nanos, Timestamp};

use super::complain;
use crate::pair::OrderRow;
use crate::stats::{Latencies, Span, write_intervals};
use crate::write::file_time;

/// When a new file is begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rotate {
    #[default]
    Daily,
    Hourly,
    Never,
}

impl Rotate {
    pub const NAMES: &[&str] = &["daily", "hourly", "never"];

    pub fn of(name: &str) -> Rotate {
        match name {
            "hourly" => Rotate::Hourly,
            "never" => Rotate::Never,
            _ => Rotate::Daily,
        }
    }

    /// Which file a time belongs to.
    fn period(self, time: Timestamp) -> u64 {
        let hour = time.0 / 3_600_000_000_000;
        match self {
            Rotate::Hourly => hour,
            Rotate::Daily => hour / 24,
            Rotate::Never => 0,
        }
    }
}

/// See the head of this file.
pub(super) struct IntervalLog {
    path: PathBuf,
    pub(super) interval: Nanos,
    pub(super) rotate: Rotate,
    file: File,
    /// Bytes of whole lines.
    length: u64,
    /// Of the file: what its lines count from.
    start: Timestamp,
    /// Of the interval at hand.
    from: Timestamp,
    latencies: Latencies,
    is_failing: bool,
}

impl IntervalLog {
    /// A file of this name that is there already keeps what is in it, under another name.
    pub(super) fn create(path: &Path, interval: Nanos, rotate: Rotate, now: Timestamp) -> io::Result<IntervalLog> {
        if let Ok(before) = fs::metadata(path)
            && before.is_file()
            && before.len() > 0
        {
            let since = before.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
            put_aside(path, Timestamp(u64::try_from(since.as_nanos()).unwrap_or(0)))?;
        }
        let mut log = IntervalLog {
            path: path.to_owned(),
            interval,
            rotate,
            file: File::create(path)?,
            length: 0,
            start: now,
            from: now,
            latencies: Latencies::default(),
            is_failing: false,
        };
        log.append(&[])?;
        Ok(log)
    }

    pub(super) fn row(&mut self, row: &OrderRow) {
        for (kind, latency) in row.segments().filter(|(kind, _)| !kind.is_part()) {
            if let Ok(value) = u64::try_from(latency.0) {
                self.latencies.record(kind, value);
            }
        }
    }

    /// Writes the interval that is over, if one is. What cannot be written goes with the next one.
    pub(super) fn advance(&mut self, now: Timestamp, is_over: bool) {
        let interval = u64::try_from(self.interval.0).unwrap_or(1).max(1);
        if !is_over && self.from.0 / interval >= now.0 / interval {
            return;
        }
        let span =
            Span { from: self.from, to: now.max(self.from), market: 0, latencies: std::mem::take(&mut self.latencies) };
        match self.rotated().and_then(|()| self.append(std::slice::from_ref(&span))) {
            Ok(()) => {
                self.from = span.to;
                self.is_failing = false;
            }
            Err(error) => {
                self.latencies = span.latencies;
                if !std::mem::replace(&mut self.is_failing, true) {
                    complain("error", &format!("{}: {error}; it is tried again", self.path.display()));
                }
            }
        }
    }

    /// Begins a new file where the interval at hand is of another day or hour.
    fn rotated(&mut self) -> io::Result<()> {
        if self.rotate.period(self.from) == self.rotate.period(self.start) {
            return Ok(());
        }
        put_aside(&self.path, self.start)?;
        self.file = File::create(&self.path)?;
        (self.length, self.start) = (0, self.from);
        Ok(())
    }

    fn append(&mut self, spans: &[Span]) -> io::Result<()> {
        let mut text = Vec::new();
        write_intervals(self.start, spans, &mut text)?;
        if self.length > 0 {
            // The head stands in the file.
            let lines = text.split_inclusive(|&byte| byte == b'\n').filter(|line| line.starts_with(b"Tag="));
            text = lines.collect::<Vec<_>>().concat();
        }
        if let Err(error) = self.file.write_all(&text) {
            // Half a line would spoil the rest. Where this fails too, nothing more can be done.
            let _ = self.file.set_len(self.length);
            let _ = io::Seek::seek(&mut self.file, io::SeekFrom::Start(self.length));
            return Err(error);
        }
        self.length += text.len() as u64;
        Ok(())
    }
}

/// `latency.hlog` becomes `latency-20260301T000000.000000000Z.hlog`.
fn put_aside(path: &Path, time: Timestamp) -> io::Result<()> {
    let part =
        |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned()).unwrap_or_default();
    let (stem, ending) = (part(path.file_stem()), part(path.extension()));
    let ending = if ending.is_empty() { ending } else { format!(".{ending}") };
    fs::rename(path, path.with_file_name(format!("{stem}-{}{ending}", file_time(time))))
}
