//! What `live` gives others to read while it runs: snapshots on a Unix socket and metrics over HTTP. The engine makes a
//! snapshot only where somebody waits for one, and as a copy of figures; text is made of it on other threads.

use std::fs::DirBuilder;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use std::{env, io};

use anyhow::anyhow;
use rustix::time::{ClockId, clock_gettime};
use tickscope_model::Timestamp;
use tickscope_nic::clock;
use tracing::{info, warn};

use super::config::Settings;
use super::config::settings::SocketSetting;
use super::facts;
use super::grow::Growing;
use super::watch::Watch;
use crate::live::flight::Flight;
use crate::live::{Metrics, Publisher, Socket, Tell, Wanted};
use crate::pipeline::Pipeline;
use crate::pipeline::correlator::Correlator;
use crate::stats::{Asked, By, Kept, Rates, Slowness, Snapshot, Summary, Tap};
use crate::write::{Packets, named};

/// The name of the socket in its folder.
const NAME: &str = "live.sock";
/// So many sessions, conversations and feeds stand in a snapshot.
const MOST: usize = 64;
/// So many sessions have metrics of their own.
const LABELS: usize = 32;

/// See the head of this file.
pub(super) struct Serving {
    /// Open, and nobody serves them yet.
    opened: (Option<Socket>, Option<TcpListener>),
    /// The end of a pair whose other end the screen of this run reads.
    screen: Option<UnixStream>,
    is_quiet: bool,
    socket: Option<Publisher>,
    metrics: Option<Metrics>,
    start: Timestamp,
    rates: Rates,
    /// Counts that stand in snapshots.
    number: u64,
    skipped: u64,
    rows_skipped: u64,
    spent_ns: u64,
    made: u64,
    watch: Watch,
    /// An answer for which there was no room yet.
    unsent: Option<(Wanted, Option<Packets>)>,
}

/// Where the figures are.
pub(super) struct Figures<'a> {
    pub pipeline: &'a Pipeline,
    pub correlator: &'a Correlator,
}

impl Serving {
    /// Opens what the settings ask for, before capabilities are given up.
    pub(super) fn open(settings: &Settings, screen: Option<UnixStream>, is_quiet: bool) -> anyhow::Result<Serving> {
        let socket = match &settings.live.socket {
            SocketSetting::None => None,
            SocketSetting::At(path) => Some(Socket::bind(path)?),
            SocketSetting::Default => default_socket(is_quiet),
        };
        let note = |text: &str| {
            if !is_quiet {
                info!("{text}");
            }
        };
        if let Some(socket) = &socket {
            note(&format!("snapshots on {}", socket.path().display()));
        }
        let listen = |address: SocketAddr| {
            TcpListener::bind(address).map_err(|error| anyhow!("metrics cannot be given on {address}: {error}"))
        };
        let listener = settings.live.metrics.map(listen).transpose()?;
        if let Some(listener) = &listener {
            note(&format!("metrics on http://{}/metrics", listener.local_addr()?));
        }
        Ok(Serving {
            opened: (socket, listener),
            screen,
            is_quiet,
            socket: None,
            metrics: None,
            start: Timestamp(clock::now_utc_ns()),
            rates: Rates::default(),
            number: 0,
            skipped: 0,
            rows_skipped: 0,
            spent_ns: 0,
            made: 0,
            watch: Watch::default(),
            unsent: None,
        })
    }

    /// Starts their threads, which have the capabilities of this one.
    pub(super) fn start(&mut self, taps: Vec<String>) -> io::Result<()> {
        let (socket, listener) = std::mem::take(&mut self.opened);
        let screen = self.screen.take();
        if socket.is_some() || screen.is_some() {
            self.socket = Some(Publisher::start(socket, screen, taps, tell(self.is_quiet))?);
        }
        self.metrics = listener.map(|listener| Metrics::start(listener, tell(self.is_quiet))).transpose()?;
        Ok(())
    }

    /// Whether somebody will be able to ask for rows.
    pub(super) fn keeps_rows(&self) -> bool {
        self.opened.0.is_some() || self.screen.is_some()
    }

    /// Frames that somebody asked for, one question at a time: to look for them takes the engine up to a millisecond.
    pub(super) fn give_frames(&mut self, flight: Option<&Flight>) {
        let Some(socket) = &self.socket else { return };
        let look = |wanted: Wanted| {
            let found = flight.map(|flight| flight.packets(&wanted.frames));
            (wanted, found)
        };
        let answer = self.unsent.take().or_else(|| socket.asked().map(look));
        self.unsent = answer.and_then(|(wanted, found)| socket.frames(wanted, found));
    }

    /// Whether somebody reads snapshots, ten a second.
    pub(super) fn is_read(&self) -> bool {
        self.socket.as_ref().is_some_and(Publisher::is_wanted)
    }

    /// To be called ten times a second where somebody reads snapshots.
    pub(super) fn tick(&mut self, growing: &mut Growing, figures: &Figures<'_>, taps: impl FnOnce() -> Vec<Tap>) {
        self.number += 1;
        let Figures { pipeline, correlator } = *figures;
        let counts = [pipeline.frames_read(), correlator.messages.market, correlator.pairer.requests_seen];
        self.rates.look(Timestamp(clock::now_utc_ns()), counts);
        self.hand_over(growing.take_kept());
        let by_socket = self.is_read();
        let is_behind = self.socket.as_ref().is_some_and(Publisher::is_behind);
        let by_metrics = self.metrics.as_ref().is_some_and(Metrics::is_wanted);
        let kinds: Vec<By> = self.socket.iter().filter(|_| !is_behind).flat_map(Publisher::groups).collect();
        let asked = |whole: &Summary, facts: &Summary| kinds.iter().map(|by| Asked::of(*by, whole, facts)).collect();
        self.skipped += u64::from(by_socket && is_behind);
        if by_socket {
            self.find_slowness(growing, figures);
        }
        if by_socket && !is_behind || by_metrics {
            let snapshot = self.timed(|| {
                let mut summary = growing.summary().figures_so_far();
                summary.is_running = true;
                summary.taps = taps();
                facts::counts(&mut summary, pipeline, correlator, MOST);
                Snapshot {
                    groups: asked(growing.summary(), &summary),
                    ..groups(growing.summary(), summary, by_metrics)
                }
            });
            let snapshot = self.complete(snapshot, correlator);
            if let Some(metrics) = self.metrics.as_ref().filter(|_| by_metrics) {
                metrics.snapshot(snapshot.clone());
            }
            if let Some(socket) = self.socket.as_ref().filter(|_| by_socket && !is_behind) {
                self.skipped += u64::from(!socket.snapshot(snapshot));
            }
        }
    }

    /// The last snapshot, with the numbers of the report.
    pub(super) fn finish(mut self, growing: &mut Growing, summary: &Summary, correlator: &Correlator) {
        self.number += 1;
        self.hand_over(growing.take_kept());
        let Some(socket) = &self.socket else { return };
        let groups = socket.groups().map(|by| Asked::of(by, summary, summary)).collect();
        let snapshot = Snapshot { groups, ..last(summary, Timestamp(clock::now_utc_ns())) };
        let snapshot = self.complete(snapshot, correlator);
        if let Some(socket) = self.socket.take() {
            socket.finish(snapshot);
        }
    }

    fn find_slowness(&mut self, growing: &Growing, figures: &Figures<'_>) {
        let copy = || {
            let mut summary = growing.for_verdict();
            facts::counts(&mut summary, figures.pipeline, figures.correlator, MOST);
            summary
        };
        if let Err(error) = self.watch.advance(Timestamp(clock::now_utc_ns()), copy) {
            warn!("which side slowed is not looked for: {error}");
        }
    }

    fn hand_over(&mut self, kept: Vec<Kept>) {
        let count = kept.len() as u64;
        if let Some(socket) = self.socket.as_ref().filter(|_| count > 0)
            && !socket.rows(kept)
        {
            self.rows_skipped += count;
        }
    }

    #[allow(clippy::disallowed_methods, reason = "what snapshots cost is measured; no figure comes from it")]
    fn timed(&mut self, make: impl FnOnce() -> Snapshot) -> Snapshot {
        let start = Instant::now();
        let snapshot = make();
        self.spent_ns += u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.made += 1;
        snapshot
    }

    fn complete(&self, snapshot: Snapshot, correlator: &Correlator) -> Snapshot {
        Snapshot {
            number: self.number,
            time: Timestamp(clock::now_utc_ns()),
            start: self.start,
            conversation_count: correlator.pairer.sessions().count() as u64,
            feed_count: correlator.feeds.feeds.len() as u64,
            market_messages: correlator.messages.market,
            pace: self.rates.pace(),
            slowness: snapshot.slowness.or_else(|| self.watch.latest()),
            skipped: self.skipped,
            rows_skipped: self.rows_skipped,
            processor_ns: processor_ns(),
            spent_ns: self.spent_ns,
            made: self.made,
            ..snapshot
        }
    }
}

/// What the process has taken of its processors so far.
fn processor_ns() -> Option<u64> {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let (seconds, nanos) = (u64::try_from(time.tv_sec).ok()?, u64::try_from(time.tv_nsec).ok()?);
    Some(seconds * 1_000_000_000 + nanos)
}

/// The snapshot of a run that is over: the numbers of its report.
pub(super) fn last(summary: &Summary, now: Timestamp) -> Snapshot {
    let slowness = Slowness::find(now, summary.for_verdict(summary.evidence.clone()));
    let mut copy = summary.figures_so_far();
    copy.feeds.truncate(MOST);
    copy.sessions.drain(..copy.sessions.len().saturating_sub(MOST));
    Snapshot { is_last: true, slowness: Some(Arc::new(slowness)), ..groups(summary, copy, false) }
}

/// A snapshot of these figures, with the sessions of the whole.
pub(super) fn groups(whole: &Summary, summary: Summary, for_metrics: bool) -> Snapshot {
    let sessions = &whole.by_session;
    let labels = if for_metrics { LABELS } else { 0 };
    Snapshot {
        summary,
        busiest: sessions.busiest(MOST).into_iter().cloned().collect(),
        earliest: sessions.iter().take(labels).cloned().collect(),
        session_count: sessions.len() as u64,
        ..Snapshot::default()
    }
}

fn tell(is_quiet: bool) -> Tell {
    Box::new(move |text| {
        if !is_quiet {
            info!("{text}");
        }
    })
}

/// Where the socket is that nobody named: the first of these, or for who looks for one, the first that has one.
pub(super) fn default_paths() -> Vec<PathBuf> {
    let variable = |name| env::var_os(name).filter(|value| !value.is_empty());
    // systemd gives several folders with colons between them.
    let first = |value: std::ffi::OsString| value.to_string_lossy().split(':').next().map(PathBuf::from);
    let folder = variable("RUNTIME_DIRECTORY").and_then(first);
    let user = variable("XDG_RUNTIME_DIR").map(|folder| Path::new(&folder).join("tickscope"));
    let system = PathBuf::from("/run/tickscope");
    folder.into_iter().chain(user).chain([system]).map(|folder| folder.join(NAME)).collect()
}

/// Nobody asked for it, so where it is not to be had the run goes on without.
fn default_socket(is_quiet: bool) -> Option<Socket> {
    let path = default_paths().swap_remove(0);
    let bound = make_folder(&path).and_then(|()| Socket::bind(&path));
    bound
        .inspect_err(|error| {
            if !is_quiet {
                info!("no socket: {error}; --socket PATH names another, --socket none wants none");
            }
        })
        .ok()
}

fn make_folder(path: &Path) -> io::Result<()> {
    let Some(folder) = path.parent() else { return Ok(()) };
    let made = DirBuilder::new().recursive(true).mode(0o750).create(folder);
    made.map_err(|error| named(folder.display(), &error))
}
