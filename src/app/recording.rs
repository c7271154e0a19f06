//! What `live` keeps of the frames themselves: the recording, and the flight recorder with its files.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueHint};
use tickscope_model::{Nanos, SegmentKind, Timestamp};
use tickscope_nic::clock;
use tracing::{error, info, warn};

use super::WrongUsage;
use super::config::Settings;
use super::config::duration;
use super::config::live_keys::{parse_over, parse_size};
use super::interval_log::IntervalLog;
use crate::capture::Captured;
use crate::live::flight::Flight;
use crate::live::flight_files::FlightFiles;
use crate::live::record::{Limits, RecordOptions, Recorder};
use crate::live::{Arrival, Live};
use crate::pair::OrderRow;
use crate::stats::{LiveTap, Recorded};

/// Thresholds of `--flight-over`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Over(pub Vec<(SegmentKind, Nanos)>);

#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Recording")]
pub struct RecordArgs {
    /// Record everything that is captured into this folder
    ///
    /// Files are pcapng with nanosecond stamps, the taps as interfaces, the way of each frame and what was lost, packed by
    /// zstd; their names sort by time. Written once a second at the latest. `analyze DIR` gives the
    /// figures of live from them: the folder is one capture, however many files it has (given one by one they are different taps).
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub record: Option<PathBuf>,

    /// End a file of the recording at this size [default: 1GiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub record_size: Option<u64>,

    /// End a file of the recording at this age [default: 3600s]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_span)]
    pub record_time: Option<Nanos>,

    /// Delete the oldest files of recordings once all have more bytes than this
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub record_total: Option<u64>,

    /// Keep the frames of so much time in memory: the flight recorder
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_span)]
    pub flight: Option<Nanos>,

    /// … but no more than fit into this, which is taken at the start [default: 64MiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub flight_memory: Option<u64>,

    /// Write what the flight recorder holds to a file when a latency of an order is longer: t2t=50us,ack=1ms
    ///
    /// An order is judged when its row is written. At most two files are written in the time that one covers, and the newest
    /// hundred are kept. Without --flight the recorder goes back 30 s. Files have the times as NIC and kernel took them, as the
    /// recording has: without the tap's offset, and before stamps of devices count. `analyze` with the same configuration gives the
    /// figures of live from them.
    #[arg(long, value_name = "LATENCY=DURATION[,...]", value_parser = over)]
    pub flight_over: Option<Over>,

    /// The folder of those files [default: that of --record]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub flight_dir: Option<PathBuf>,

    /// Add lines to the file of --hlog this often [default: 10s]
    ///
    /// A line holds a latency of the rows that were written meanwhile. A process that is killed loses one interval at most. A
    /// new day begins a new file, see `hlog_rotate` in tickscope-config(5).
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_span)]
    pub hlog_interval: Option<Nanos>,
}

fn over(text: &str) -> Result<Over, String> {
    parse_over(text).map(Over)
}

/// What the recorder goes back where only thresholds are given.
const FLIGHT: Nanos = Nanos(30_000_000_000);

/// See the head of this file.
pub(super) struct Recording {
    pub(super) flight: Option<Flight>,
    files: Option<FlightFiles>,
    over: Vec<(SegmentKind, Nanos)>,
    recorder: Option<Recorder>,
    log: Option<IntervalLog>,
    is_quiet: bool,
    now: Timestamp,
}

impl RecordArgs {
    /// The command line on top of the configuration.
    pub(super) fn apply(&self, settings: &mut Settings) {
        let live = &mut settings.live;
        live.record = self.record.clone().or(live.record.take());
        live.record_size = self.record_size.unwrap_or(live.record_size);
        live.record_time = self.record_time.unwrap_or(live.record_time);
        live.record_total = self.record_total.or(live.record_total);
        live.flight = self.flight.or(live.flight);
        live.flight_memory = self.flight_memory.unwrap_or(live.flight_memory);
        if let Some(Over(over)) = &self.flight_over {
            live.flight_over.clone_from(over);
        }
        live.hlog_interval = self.hlog_interval.unwrap_or(live.hlog_interval);
        live.flight_dir = self.flight_dir.clone().or(live.flight_dir.take());
        if live.flight.is_none() && !live.flight_over.is_empty() {
            live.flight = Some(FLIGHT);
        }
    }
}

fn limits(settings: &Settings) -> Limits {
    let live = &settings.live;
    Limits { file_bytes: live.record_size, file_span: live.record_time, total_bytes: live.record_total }
}

fn log(settings: &Settings, path: &Path) -> anyhow::Result<IntervalLog> {
    let (live, now) = (&settings.live, Timestamp(clock::now_utc_ns()));
    IntervalLog::create(path, live.hlog_interval, live.hlog_rotate, now).with_context(|| path.display().to_string())
}

impl Recording {
    /// `taps`: name of each, and what is to be said of it.
    pub(super) fn start(
        settings: &Settings,
        taps: Vec<(String, String)>,
        hlog: Option<&Path>,
        is_quiet: bool,
    ) -> anyhow::Result<Recording> {
        let live = &settings.live;
        let span = live.flight.filter(|span| span.0 > 0);
        let memory = usize::try_from(live.flight_memory).unwrap_or(usize::MAX);
        let mut files = None;
        if !live.flight_over.is_empty() {
            let Some(folder) = live.flight_dir.clone().or(live.record.clone()) else {
                let text = "flight-over needs a folder for its files: give --flight-dir or --record";
                return Err(WrongUsage(text.to_owned()).into());
            };
            let Some(span) = span else {
                return Err(WrongUsage("flight-over needs a flight recorder: --flight is 0".to_owned()).into());
            };
            if span < settings.pairing.answer_timeout && !is_quiet {
                let (span, most) = (duration::text(span), duration::text(settings.pairing.answer_timeout));
                let text = format!(
                    "the flight recorder goes back {span}, but an order may be judged only {most} after it was sent (answer_timeout)"
                );
                warn!("{text}");
            }
            files = Some(FlightFiles::start(folder, span, |text| info!("{text}")).context("flight recorder")?);
        }
        let options =
            live.record.as_ref().map(|folder| RecordOptions { folder: folder.clone(), limits: limits(settings) });
        Ok(Recording {
            flight: span.map(|span| Flight::new(&taps, span, memory)),
            files,
            over: live.flight_over.clone(),
            recorder: options.map(|options| Recorder::start(&options, taps)).transpose()?,
            log: hlog.map(|path| log(settings, path)).transpose()?,
            is_quiet,
            now: Timestamp::MIN,
        })
    }

    #[inline]
    pub(super) fn frame(&mut self, captured: &Captured<'_>, arrival: &Arrival) {
        let frame = &captured.frame;
        self.now = frame.time;
        if let Some(flight) = &mut self.flight {
            flight.push(frame, arrival);
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.push(frame, arrival, captured.has_time);
        }
    }

    pub(super) fn watches_orders(&self) -> bool {
        self.files.is_some()
    }

    /// The limits that can change.
    pub(super) fn change(&mut self, settings: &Settings) {
        if let Some(recorder) = &self.recorder {
            recorder.set_limits(limits(settings));
        }
        if let Some(log) = &mut self.log {
            log.interval = settings.live.hlog_interval;
            log.rotate = settings.live.hlog_rotate;
        }
        self.over.clone_from(&settings.live.flight_over);
    }

    /// What else is known of time where no frames come.
    pub(super) fn reached(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
    }

    /// A row was written, or is the echo of one.
    pub(super) fn latencies(&mut self, row: &OrderRow) {
        if let Some(log) = &mut self.log {
            log.row(row);
        }
    }

    /// A row was written: was it slow?
    pub(super) fn row(&mut self, row: &OrderRow) {
        let Some(files) = &mut self.files else { return };
        let mut slow = Vec::new();
        let mut end = row.t_out;
        for (kind, latency) in row.segments() {
            if let Some((_, most)) = self.over.iter().find(|(over, most)| *over == kind && latency > *most) {
                slow.push(format!("{} {} (over {})", kind.name(), duration::text(latency), duration::text(*most)));
                // Tick-to-trade lies before the request.
                if kind != SegmentKind::TickToTrade {
                    end = end.max(row.t_out.shifted(latency));
                }
            }
        }
        if !slow.is_empty() {
            files.slow(end, format!("{} {} {}", row.session, row.clordid, slow.join(", ")));
        }
    }

    /// Ten times a second; `is_second` once a second.
    pub(super) fn tick(&mut self, live: &Live, is_second: bool) {
        if let (Some(files), Some(flight)) = (&mut self.files, &mut self.flight) {
            files.advance(flight, self.now, false);
        }
        if is_second {
            if let Some(log) = &mut self.log {
                log.advance(Timestamp(clock::now_utc_ns()), false);
            }
            self.account(live);
            if let Some(recorder) = &mut self.recorder {
                recorder.flush();
            }
            self.tell();
        }
    }

    fn account(&mut self, live: &Live) {
        let Some(recorder) = &mut self.recorder else { return };
        let reports: Vec<LiveTap> = live.taps().map(|(_, id)| live.report(id)).collect();
        recorder.account(reports.iter().map(|tap| (tap.seen, tap.lost(), tap.used)));
    }

    /// A recording that stops is an error, whoever asked for quiet.
    fn tell(&self) {
        for text in self.recorder.iter().flat_map(Recorder::told) {
            if text.contains("recording stops") {
                error!("{text}");
            } else if !self.is_quiet {
                info!("{text}");
            }
        }
    }

    pub(super) fn finish(&mut self, live: &Live) {
        if let (Some(files), Some(flight)) = (&mut self.files, &mut self.flight) {
            files.advance(flight, self.now, true);
            files.finish();
        }
        if let Some(log) = &mut self.log {
            log.advance(Timestamp(clock::now_utc_ns()), true);
        }
        self.account(live);
        if let Some(recorder) = &mut self.recorder {
            recorder.finish();
        }
        self.tell();
    }

    /// For the report; `None` where nothing is written.
    pub(super) fn report(&self) -> Option<Recorded> {
        let mut recorded = self.recorder.as_ref().map(Recorder::report);
        if let Some(files) = &self.files {
            let recorded = recorded.get_or_insert_default();
            (recorded.flights, recorded.flights_failed) = files.counts();
            recorded.slow_orders = files.slow;
        }
        recorded
    }
}

/// The same as sentences.
pub(super) fn notes(recorded: &Recorded) -> Vec<String> {
    let mut notes = Vec::new();
    if !recorded.folder.is_empty() {
        let Recorded { folder, frames, bytes, files, .. } = recorded;
        notes.push(format!("recorded: {frames} frames in {files} files, {bytes} bytes, in {folder}"));
        for (reason, frames) in recorded.losses.iter().filter(|(_, frames)| *frames > 0) {
            notes.push(format!("not recorded, though captured and measured: {frames} frames ({reason})"));
        }
        if recorded.is_stopped {
            notes.push(format!("the recording had stopped at the end: {folder} could not be written"));
        }
    }
    if recorded.slow_orders > 0 {
        let Recorded { slow_orders, flights, flights_failed, .. } = recorded;
        notes.push(format!("orders over flight-over: {slow_orders}; files of the flight recorder: {flights}, not written: {flights_failed}"));
    }
    notes
}
