//! `--hlog` of `live`: an `HdrHistogram` log that grows by a line for each interval and segment, of the rows that were written
//! in it, so that the sum of a tag's lines is the histogram of the whole run. Whole lines go to the file at once, so a process
//! that is killed loses an interval at most. A new day or hour begins a new file; the one before gets its first time in its name.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use tickscope_model::{Nanos, Timestamp};
use tracing::error;

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
                    error!("{}: {error}; it is tried again", self.path.display());
                }
            }
        }
    }

    /// Begins a new file where the interval at hand is of another day or hour.
    fn rotated(&mut self) -> io::Result<()> {
        if self.rotate.period(self.from) == self.rotate.period(self.start) {
            return Ok(());
        }
        match put_aside(&self.path, self.start) {
            // Somebody else put it aside, or it was and the new one could not be made.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
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

#[cfg(test)]
mod tests {
    use base64::Engine;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
    use tickscope_model::SegmentKind;

    use super::*;
    use crate::stats::summary_tests::row;

    const SECOND: u64 = 1_000_000_000;
    /// 2026-01-06T00:00:00Z
    const MIDNIGHT: u64 = 1_767_657_600 * SECOND;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("tickscope-hlog-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        folder
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = entries.collect();
        names.sort();
        names
    }

    /// The values of the acknowledgements in a log, each as its histogram has it, and in which seconds from `MIDNIGHT` on its lines
    /// begin. Fails where the reader of the hdrhistogram crate does, or where the last line is not whole.
    fn read(path: &Path) -> (Vec<u64>, Vec<i64>) {
        let text = fs::read(path).unwrap();
        assert!(text.is_empty() || text.ends_with(b"\n"));
        let (mut base, mut values, mut begin) = (None, Vec::new(), Vec::new());
        for entry in IntervalLogIterator::new(&text) {
            match entry.expect("a line") {
                LogEntry::BaseTime(time) => base = Some(time),
                LogEntry::Interval(line) if line.tag().map(|tag| tag.as_str()) == Some("ack") => {
                    let bytes = base64::engine::general_purpose::STANDARD.decode(line.encoded_histogram()).unwrap();
                    let histogram = Deserializer::new().deserialize::<u64, _>(&mut bytes.as_slice()).unwrap();
                    for step in histogram.iter_recorded() {
                        (0..step.count_at_value()).for_each(|_| values.push(step.value_iterated_to()));
                    }
                    let start = base.expect("a base in front of all lines") + line.start_timestamp();
                    begin.push(i64::try_from(start.as_secs()).unwrap() - i64::try_from(MIDNIGHT / SECOND).unwrap());
                }
                LogEntry::Interval(_) | LogEntry::StartTime(_) => {}
            }
        }
        (values, begin)
    }

    fn create(path: &Path, rotate: Rotate, from: u64) -> IntervalLog {
        IntervalLog::create(path, Nanos(1_000_000_000), rotate, Timestamp(from)).unwrap()
    }

    /// A row with an acknowledgement after this, which three digits hold exactly.
    fn put(log: &mut IntervalLog, latency_ns: i64) {
        let mut row = row("a", MIDNIGHT);
        row.latency = crate::pair::Measured::default();
        row.latency.set(SegmentKind::Ack, Nanos(latency_ns));
        log.row(&row);
    }

    /// Ten rows a second from two seconds before midnight to three behind it, and an hour later once more.
    fn night(rotate: Rotate, name: &str) -> PathBuf {
        let folder = folder(name);
        let mut log = create(&folder.join("latency.hlog"), rotate, MIDNIGHT - 2 * SECOND);
        for tenth in 0..50_u64 {
            log.advance(Timestamp(MIDNIGHT - 2 * SECOND + tenth * SECOND / 10), false);
            put(&mut log, i64::try_from(tenth).unwrap());
        }
        log.advance(Timestamp(MIDNIGHT + 3 * SECOND), false);
        log.advance(Timestamp(MIDNIGHT + 3600 * SECOND), false);
        put(&mut log, 50);
        log.advance(Timestamp(MIDNIGHT + 3600 * SECOND), true);
        folder
    }

    #[test]
    fn a_new_day_or_hour_begins_a_new_file_and_nothing_is_lost() {
        let (evening, night_of, hour) =
            ("latency-20260105T235958.000000000Z.hlog", "latency-20260106T000000.000000000Z.hlog", "latency.hlog");
        let (first, second, third): (Vec<u64>, Vec<u64>, Vec<u64>) = ((0..20).collect(), (20..50).collect(), vec![50]);

        let daily = night(Rotate::Daily, "daily");
        assert_eq!(names(&daily), [evening, hour]);
        assert_eq!(read(&daily.join(evening)), (first.clone(), vec![-2, -1]));
        let rest = [second.clone(), third.clone()].concat();
        assert_eq!(read(&daily.join(hour)), (rest.clone(), vec![0, 1, 2, 3600]));

        let hourly = night(Rotate::Hourly, "hourly");
        assert_eq!(names(&hourly), [evening, night_of, hour]);
        assert_eq!(read(&hourly.join(evening)).0, first);
        assert_eq!(read(&hourly.join(night_of)), (second, vec![0, 1, 2]));
        assert_eq!(read(&hourly.join(hour)), (third, vec![3600]));

        let never = night(Rotate::Never, "never");
        assert_eq!(names(&never), [hour]);
        assert_eq!(read(&never.join(hour)).0, [first, rest].concat());
        for folder in [daily, hourly, never] {
            fs::remove_dir_all(folder).unwrap();
        }
    }

    #[test]
    fn a_file_that_is_there_is_put_aside_and_an_empty_one_is_not() {
        let folder = folder("aside");
        let path = folder.join("latency.hlog");
        fs::write(&path, b"of somebody").unwrap();
        let set = UNIX_EPOCH + std::time::Duration::from_nanos(MIDNIGHT);
        File::options().write(true).open(&path).unwrap().set_modified(set).unwrap();
        drop(create(&path, Rotate::Daily, MIDNIGHT + SECOND));
        let aside = "latency-20260106T000000.000000000Z.hlog";
        assert_eq!(names(&folder), [aside, "latency.hlog"]);
        assert_eq!(fs::read(folder.join(aside)).unwrap(), b"of somebody");
        fs::write(&path, b"").unwrap();
        drop(create(&path, Rotate::Daily, MIDNIGHT + SECOND));
        assert_eq!(names(&folder).len(), 2);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_tried_again_and_nothing_is_lost() {
        let folder = folder("gone");
        let moved = folder.with_extension("moved");
        let path = folder.join("latency.hlog");
        let mut log = create(&path, Rotate::Daily, MIDNIGHT - 2 * SECOND);
        put(&mut log, 1);
        log.advance(Timestamp(MIDNIGHT), false);
        put(&mut log, 2);
        // The new day's file cannot be made.
        fs::rename(&folder, &moved).unwrap();
        log.advance(Timestamp(MIDNIGHT + SECOND), false);
        put(&mut log, 3);
        log.advance(Timestamp(MIDNIGHT + 2 * SECOND), false);
        assert!(log.is_failing);
        fs::rename(&moved, &folder).unwrap();
        put(&mut log, 4);
        log.advance(Timestamp(MIDNIGHT + 3 * SECOND), false);
        assert!(!log.is_failing);
        let evening = "latency-20260105T235958.000000000Z.hlog";
        assert_eq!(names(&folder), [evening, "latency.hlog"]);
        assert_eq!(read(&folder.join(evening)), (vec![1], vec![-2]));
        assert_eq!(read(&path), (vec![2, 3, 4], vec![0]), "one line of all that was missing");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_file_that_somebody_moved_away_does_not_stop_the_next_one() {
        let folder = folder("moved");
        let path = folder.join("latency.hlog");
        let mut log = create(&path, Rotate::Daily, MIDNIGHT - SECOND);
        put(&mut log, 1);
        log.advance(Timestamp(MIDNIGHT), false);
        fs::rename(&path, folder.join("latency.1")).unwrap();
        put(&mut log, 2);
        log.advance(Timestamp(MIDNIGHT + SECOND), false);
        assert_eq!(names(&folder), ["latency.1", "latency.hlog"]);
        assert_eq!((read(&folder.join("latency.1")).0, read(&path).0), (vec![1], vec![2]));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_a_full_disk_did_not_take_goes_with_the_next_interval() {
        let folder = folder("full");
        let path = folder.join("latency.hlog");
        let mut log = create(&path, Rotate::Daily, MIDNIGHT);
        put(&mut log, 1);
        let file = std::mem::replace(&mut log.file, File::options().write(true).open("/dev/full").unwrap());
        log.advance(Timestamp(MIDNIGHT + SECOND), false);
        assert!(log.is_failing);
        log.file = file;
        put(&mut log, 2);
        log.advance(Timestamp(MIDNIGHT + 2 * SECOND), false);
        assert_eq!(read(&path), (vec![1, 2], vec![0]));
        fs::remove_dir_all(folder).unwrap();
    }
}
