//! `tickscope live`: the stages of `analyze`, fed by interfaces. This thread is the engine: it takes frames in time order,
//! runs them through the stages, and some times a second does what else is to be done ([`Engine::tick`]).

use std::io::{self, IsTerminal};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use tickscope_model::{Nanos, TapId, Timestamp};
use tickscope_nic::{BusyPoll, Driver, Options, clock, drop_other_capabilities, realtime};
use tracing::{error, info, warn};

use super::apart::Apart;
use super::args::LiveArgs;
use super::clocks::Clocks;
use super::config::Settings;
use super::config::settings::TapSetting;
use super::decode::is_lossy;
use super::grow::Growing;
use super::recording::{self, Recording};
use super::reload::Reload;
use super::serve::{Figures, Serving};
use super::tui::live::LiveScreen;
use super::{Outcome, WrongUsage, facts, open, rules, stop, unmatched};
use crate::capture::stamp::Trailer;
use crate::dissect::Filter;
use crate::live::{Live, Step, TapOptions};
use crate::pair::attribution::Learning;
use crate::pair::{Pairer, Rules};
use crate::pipeline::Pipeline;
use crate::pipeline::correlator::Correlator;
use crate::pipeline::hops::Hops;
use crate::stats::{self, Relation, Summary};

/// Frames between two looks at the clock.
const FRAMES_AT_ONCE: usize = 1024;
/// Frames that a NIC hands over when it is polled busily, at most: as many as by an interrupt.
const POLLED_FRAMES: u32 = 64;
/// Everything that is not frames is looked at this often where somebody reads snapshots …
const TICK: Duration = Duration::from_millis(100);
/// … and else this often: frames are left to gather until then.
const QUIET_TICK: Duration = Duration::from_millis(250);
/// … and of that, links and clocks this often.
const SECOND: Duration = Duration::from_secs(1);
/// … and for conversations whose directions come apart, in seconds.
const LOOK_EVERY: u64 = 10;

pub(super) fn run(arguments: &LiveArgs, mut settings: Settings) -> anyhow::Result<Outcome> {
    if settings.trigger.learning == Learning::TwoPass {
        // The two-pass model needs the end of the capture.
        settings.trigger.learning = Learning::Causal;
    }
    let taps: Vec<TapSetting> = settings.taps.iter().filter(|tap| tap.interface.is_some()).cloned().collect();
    if taps.is_empty() {
        let text = "no --tap is given, and no [[tap]] of the configuration names an interface";
        return Err(WrongUsage(text.to_owned()).into());
    }
    let names: Vec<String> = taps.iter().map(|tap| tap.name.clone()).collect();
    arguments.clock.check_taps(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
    let mut live = Live::default();
    for tap in &taps {
        check(tap)?;
        // The error says itself what the system said.
        live.open(options(arguments, &settings, tap)).map_err(|error| anyhow!("tap {}: {error}", tap.name))?;
    }
    for (tap, id) in live.taps().filter(|(tap, _)| tap.nic.xdp.busy_poll.is_some()) {
        if live.driver(id) == Some(Driver::AfPacket) {
            let driver = live.report(id).driver;
            warn!(tap = tap.name, "busy_poll does nothing here, since it is for AF_XDP: {driver}");
        }
    }
    let mut growing = Growing::create(&arguments.output, names, settings.trigger.confidence)?;
    let has_screen = !arguments.headless && arguments.output.prints_report() && io::stdout().is_terminal();
    let (screen, own) =
        if has_screen { UnixStream::pair().map(|(screen, own)| (Some(screen), Some(own)))? } else { (None, None) };
    let serving = Serving::open(&settings, own, arguments.display.quiet)?;
    if serving.keeps_rows() {
        growing.keep();
    }
    let about = |(tap, id): (&TapOptions, TapId)| {
        let offset = match tap.time.offset {
            Nanos(0) => String::new(),
            offset => format!("; {:+} ns of offset are not in the times", offset.0),
        };
        (tap.name.clone(), format!("{}: {}{offset}", tap.nic.interface, live.report(id).driver))
    };
    let recording = Recording::start(
        &settings,
        live.taps().map(about).collect(),
        arguments.output.hlog.as_deref(),
        arguments.display.quiet,
    )?;
    let engine = Engine::new(arguments, &settings, &taps, live, (growing, serving, recording, screen))?;
    let is_asked = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGUSR1, Arc::clone(&is_asked))?;
    if let Err(error) = drop_other_capabilities(taps.iter().any(|tap| tap.fifo > 0)) {
        warn!("capabilities that are not needed could not be given up: {error}");
    }
    engine.run(&is_asked)
}

/// Receivers of a tap that could not run as it wants would be found out by what they lose.
fn check(tap: &TapSetting) -> anyhow::Result<()> {
    if tap.busy_poll.0 > 0 && tap.driver == Driver::AfPacket {
        let text = format!("tap {}: busy_poll is for AF_XDP, and driver = afpacket; leave one of them out", tap.name);
        return Err(WrongUsage(text).into());
    }
    if tap.fifo == 0 {
        return Ok(());
    }
    realtime::may_run_first(tap.fifo).map_err(|error| {
        let name = &tap.name;
        anyhow!(
            "tap {name}: fifo: {error}; SCHED_FIFO needs CAP_SYS_NICE: sudo setcap with cap_sys_nice beside the others, or \
             CAP_SYS_NICE in AmbientCapabilities of the unit"
        )
    })
}

fn options(arguments: &LiveArgs, settings: &Settings, tap: &TapSetting) -> TapOptions {
    let mut nic = Options::new(tap.interface.as_deref().unwrap_or_default());
    nic.driver = tap.driver;
    nic.filter.ports.clone_from(&tap.ports);
    nic.groups.clone_from(&tap.join);
    nic.xdp.queues.clone_from(&tap.queues);
    nic.xdp.steal = tap.steal;
    let polls = u64::try_from(tap.busy_poll.0).ok().filter(|time| *time > 0).map(Duration::from_nanos);
    nic.xdp.busy_poll = polls.map(|time| BusyPoll { time, budget: POLLED_FRAMES });
    nic.packet.rings = u16::try_from(tap.queues.len().max(1)).unwrap_or(u16::MAX);
    TapOptions {
        name: tap.name.clone(),
        nic,
        // Stamps in frames are looked for where somebody says that there are any.
        time: open::tap_time(tap, tap.trailer.or(settings.trailer).unwrap_or(Trailer::None)),
        queue_bytes: usize::try_from(arguments.buffer).unwrap_or(usize::MAX).saturating_mul(1024),
        processors: tap.processors.clone(),
        fifo: tap.fifo,
    }
}

/// The observation point of each tap: taps of one group are one.
fn points(taps: &[TapSetting]) -> Vec<u16> {
    let mut points: Vec<u16> = Vec::new();
    for (at, tap) in taps.iter().enumerate() {
        let earlier = taps.iter().take(at).position(|other| other.group.is_some() && other.group == tap.group);
        points.push(earlier.map_or(u16::try_from(at).unwrap_or(u16::MAX), |earlier| points[earlier]));
    }
    points
}

/// See the head of this file.
struct Engine<'a> {
    arguments: &'a LiveArgs,
    settings: &'a Settings,
    taps: &'a [TapSetting],
    points: Vec<u16>,
    clocks: Clocks,
    live: Live,
    pipeline: Pipeline,
    correlator: Correlator,
    growing: Growing,
    serving: Serving,
    recording: Recording,
    reload: Reload,
    apart: Apart,
    /// What the screen reads from, until it is started.
    screen_end: Option<UnixStream>,
    screen: Option<LiveScreen>,
    seconds: u64,
}

impl<'a> Engine<'a> {
    fn new(
        arguments: &'a LiveArgs,
        settings: &'a Settings,
        taps: &'a [TapSetting],
        live: Live,
        (growing, serving, recording, screen_end): (Growing, Serving, Recording, Option<UnixStream>),
    ) -> anyhow::Result<Engine<'a>> {
        let selection = &arguments.selection;
        let filter = selection.filter.as_deref().map(Filter::parse).transpose();
        let filter = filter.map_err(|error| WrongUsage(format!("--filter: {error}")))?;
        let (from, to) = selection.window(Timestamp(clock::now_utc_ns()), &arguments.clock.tz)?;
        let mut trigger = rules::trigger(settings, rules::keeps_books(settings, 0)?)?;
        trigger.keeps_cases = serving.keeps_rows();
        let rules = Rules {
            trigger,
            from,
            to,
            symbols: selection.symbols.clone(),
            sessions: selection.sessions.clone(),
            answer_timeout: Some(settings.pairing.answer_timeout),
            ..Rules::default()
        };
        let points = points(taps);
        let names: Vec<(String, u16)> =
            taps.iter().zip(&points).map(|(tap, point)| (tap.name.clone(), *point)).collect();
        let nearest = open::nearest(settings, &names);
        let mut correlator =
            Correlator::new(open::symbols(settings)?, rules::feeds(settings), Pairer::new(rules), nearest);
        rules::watch_instruments(settings, &mut correlator)?;
        let mut pipeline = Pipeline::new(open::configured(settings)?, filter, points.clone());
        pipeline.hops = (taps.len() > 1).then(|| Hops::sparing(taps.len()));
        let mut engine = Engine {
            arguments,
            settings,
            taps,
            pipeline,
            points,
            clocks: Clocks::default(),
            live,
            correlator,
            growing,
            serving,
            recording,
            reload: Reload::start(arguments)?,
            apart: Apart::default(),
            screen_end,
            screen: None,
            seconds: 0,
        };
        engine.relate_clocks();
        Ok(engine)
    }

    /// Each time that it is known whose times a tap's are.
    fn relate_clocks(&mut self) {
        let stamped = self.live.taps().map(|(tap, id)| (tap.name.as_str(), self.live.is_stamped(id)));
        self.clocks = Clocks::live(self.settings, &stamped.collect::<Vec<_>>());
        let by_point = self.clocks.by_point(|tap| self.points.get(tap).copied().unwrap_or(0));
        self.correlator.pairer.set_clocks(by_point, self.clocks.between.clone());
        self.pipeline.relate_taps(&self.clocks.between);
        self.growing.set_clocks(self.clocks.relations.clone(), self.clocks.between.clone());
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "a daemon lives by the clock; what it measures comes from frames alone"
    )]
    fn run(mut self, is_asked: &AtomicBool) -> anyhow::Result<Outcome> {
        let names = self.taps.iter().map(|tap| tap.name.clone()).collect();
        self.serving.start(names)?;
        self.live.start()?;
        let start = Instant::now();
        self.say_taps();
        self.start_screen()?;
        let (mut next, mut next_second, mut is_stopped) = (start + TICK, start + SECOND, false);
        while let Some(is_idle) = self.frames() {
            let now = Instant::now();
            if now >= next {
                let is_second = now >= next_second;
                if is_second {
                    next_second = (next_second + SECOND).max(now);
                }
                self.tick(is_second).context("writing rows")?;
                // On time, unless the engine is behind by more than one.
                next = (next + if self.serving.is_read() { TICK } else { QUIET_TICK }).max(now);
                if is_asked.swap(false, Ordering::Relaxed) {
                    self.report_so_far()?;
                }
            }
            let is_over = self.arguments.duration.is_some_and(|most| is_longer(now - start, most));
            if !is_stopped && (is_over || stop().load(Ordering::Relaxed)) {
                is_stopped = true;
                self.live.stop();
            }
            if is_idle {
                // Nobody sees anything of what comes before the next tick: to wake up for it, with caches that others have used
                // meanwhile, costs more than to read it. Receivers wake the engine where a queue fills.
                thread::park_timeout(next.saturating_duration_since(Instant::now()));
            }
        }
        self.finish()
    }

    /// Frames that are there, up to so many; whether that was all there is now, and `None` at the end.
    fn frames(&mut self) -> Option<bool> {
        for _ in 0..FRAMES_AT_ONCE {
            match self.live.step() {
                Step::Frame(captured, arrival) => {
                    let time = captured.frame.time;
                    self.recording.frame(&captured, &arrival);
                    if let Some(since) = arrival.lost_since {
                        self.correlator.pairer.capture_lost(since, time);
                    }
                    self.correlator.advance(arrival.reached);
                    self.pipeline.frame(&captured, &mut self.correlator);
                }
                Step::Decided(decision) => {
                    if !decision.moved_at.is_empty() {
                        self.correlator.times_moved(decision.moved_at);
                        // What waits is of the clocks so far.
                        self.pipeline.advance(Timestamp::MAX);
                    }
                    self.relate_clocks();
                }
                Step::Nothing(floor) => {
                    self.recording.reached(floor);
                    self.correlator.advance(floor);
                    self.pipeline.advance(floor);
                    return Some(true);
                }
                Step::End => return None,
            }
        }
        Some(false)
    }

    /// What is done a few times a second, beside frames.
    fn tick(&mut self, is_second: bool) -> io::Result<()> {
        self.growing.take(&mut self.correlator, &mut self.recording)?;
        let Engine { taps, points, clocks, live, pipeline, correlator, growing, serving, .. } = self;
        let figures = Figures { pipeline, correlator };
        serving.tick(growing, &figures, || tap_facts((taps, points, clocks), live, &figures));
        self.serving.give_frames(self.recording.flight.as_ref());
        self.recording.tick(&self.live, is_second);
        self.reload.advance(self.arguments, &mut self.recording);
        if is_second {
            self.growing.flush()?;
            let is_quiet = self.arguments.display.quiet;
            self.live.advance(&mut |tap, text| say(is_quiet, tap, text))?;
            self.seconds += 1;
            if self.seconds.is_multiple_of(LOOK_EVERY) {
                self.apart.look(&self.pipeline, (self.taps, &self.points), is_quiet);
            }
        }
        Ok(())
    }

    /// What every tap does, before the first frame.
    fn say_taps(&self) {
        if self.arguments.display.quiet {
            return;
        }
        for (tap, id) in self.live.taps() {
            info!(tap = tap.name, "{}: {}", tap.nic.interface, self.live.report(id).driver);
        }
        info!("capturing");
    }

    /// From now on what happens is told when the screen is gone.
    fn start_screen(&mut self) -> io::Result<()> {
        let Some(stream) = self.screen_end.take() else { return Ok(()) };
        let LiveArgs { screen, clock, display, .. } = self.arguments;
        let name = |tap: &TapSetting| format!("{}={}", tap.name, tap.interface.as_deref().unwrap_or_default());
        let title = self.taps.iter().map(name).collect::<Vec<_>>().join(", ");
        self.screen = Some(LiveScreen::start(stream, self.settings, screen, (clock, display), title)?);
        Ok(())
    }

    fn tap_facts(&self) -> Vec<stats::Tap> {
        let figures = Figures { pipeline: &self.pipeline, correlator: &self.correlator };
        tap_facts((self.taps, &self.points, &self.clocks), &self.live, &figures)
    }

    /// The report of what was collected.
    fn complete(&self, summary: &mut Summary) {
        summary.taps = self.tap_facts();
        summary.recorded = self.recording.report();
        summary.notes.extend(summary.recorded.iter().flat_map(recording::notes));
        facts::facts(summary, self.settings, &self.pipeline, &self.correlator);
        summary.notes.extend(self.about_clocks());
        summary.notes.extend(self.apart.notes());
        let names: Vec<&str> = self.taps.iter().map(|tap| tap.name.as_str()).collect();
        summary.notes.extend(unmatched::notes(self.settings, &self.arguments.selection, &names, &self.correlator));
    }

    /// What is to be known of the taps' clocks.
    fn about_clocks(&self) -> Option<String> {
        if self.clocks.of_tap.is_empty() {
            let text = "live, all taps have the clock of this host's UTC; clock of [[tap]] says nothing here";
            return self.taps.iter().any(|tap| tap.clock.is_some()).then(|| text.to_owned());
        }
        let text = "live looks for nothing that bounds the difference of two clocks: give taps whose clocks agree the same clock in \
                    [[tap]], or an offset and error; or have a recording analysed";
        self.clocks.relations.iter().any(|clock| matches!(clock.how, Relation::Unknown)).then(|| text.to_owned())
    }

    /// Prints the report as it would be now, on a thread of its own: what is found out at the end takes its time.
    fn report_so_far(&mut self) -> anyhow::Result<()> {
        if self.screen.is_some() {
            info!("SIGUSR1: there is no report so far while a screen has the terminal");
            return Ok(());
        }
        self.growing.take(&mut self.correlator, &mut self.recording)?;
        let mut summary = self.growing.snapshot();
        summary.is_running = true;
        self.complete(&mut summary);
        let (output, display, clock) = (&self.arguments.output, &self.arguments.display, &self.arguments.clock);
        let arguments = (output.json, display.clone(), clock.clone());
        thread::Builder::new().name("report".to_owned()).spawn(move || {
            let (json, display, clock) = arguments;
            if let Err(error) = facts::print(json, &display, &clock, &summary) {
                error!("{error:#}");
            }
        })?;
        Ok(())
    }

    /// The taps have ended: everything that is open is closed, and the last report is written.
    fn finish(mut self) -> anyhow::Result<Outcome> {
        self.apart.look(&self.pipeline, (self.taps, &self.points), self.arguments.display.quiet);
        self.pipeline.end(&mut self.correlator);
        let mut is_open = true;
        while is_open {
            is_open = self.correlator.finish_some();
            self.growing.take(&mut self.correlator, &mut self.recording).context("writing rows")?;
        }
        let is_quiet = self.arguments.display.quiet;
        self.live.finish(&mut |tap, text| say(is_quiet, tap, text));
        self.recording.finish(&self.live);
        let mut summary = self.growing.finish(is_quiet).context("writing rows")?;
        self.complete(&mut summary);
        self.serving.finish(&mut self.growing, &summary, &self.correlator);
        // The screen has seen the last snapshot and the end of its stream.
        if let Some(screen) = self.screen.take() {
            screen.end();
        }
        let arguments = self.arguments;
        facts::write(&arguments.output, &arguments.display, &arguments.clock, &summary)?;
        let lost = summary.taps.iter().filter_map(|tap| tap.live.as_ref()).map(stats::LiveTap::lost).sum::<u64>();
        Ok(if lost > 0 || is_lossy(&summary.losses) { Outcome::DataLost } else { Outcome::Done })
    }
}

/// What every tap has brought so far.
fn tap_facts(
    (taps, points, clocks): (&[TapSetting], &[u16], &Clocks),
    live: &Live,
    figures: &Figures<'_>,
) -> Vec<stats::Tap> {
    let fact = |(at, tap): (usize, &TapSetting)| {
        let id = TapId(u16::try_from(at).unwrap_or(u16::MAX));
        let counts = figures.pipeline.taps.get(at).copied().unwrap_or_default();
        let (has_market, has_orders) = facts::carries(figures.correlator, id, points[at]);
        stats::Tap {
            name: tap.name.clone(),
            file: tap.interface.clone().unwrap_or_default(),
            frames: counts.frames,
            bytes: counts.bytes,
            first: counts.first,
            last: counts.last,
            point: tap.point,
            has_market,
            has_orders,
            resolution_ns: 1,
            stamps: live.stamps(id),
            edge: tap.edge,
            offset: tap.offset,
            exchange: figures.correlator.exchange_clocks.ahead(id),
            clock: open::offset_text(tap.offset),
            clock_name: clocks.labels.get(at).cloned().unwrap_or_default(),
            live: Some(live.report(id)),
            ..stats::Tap::default()
        }
    };
    taps.iter().enumerate().map(fact).collect()
}

fn is_longer(since: Duration, most: Nanos) -> bool {
    u128::try_from(most.0).is_ok_and(|most| since.as_nanos() >= most)
}

/// What happened to a tap.
fn say(is_quiet: bool, tap: &str, text: &str) {
    if !is_quiet {
        info!(tap, "{text}");
    }
}
