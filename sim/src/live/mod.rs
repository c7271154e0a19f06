//! The simulated market on a real network: market data as UDP datagrams, the mock exchange as a TCP server that speaks
//! FIX, reference data over TCP. A trader or gateway of the user's own takes the place of the reference trader.
//! Plain threads with blocking sockets; this is the only place of the simulator that reads a clock.
#![allow(clippy::disallowed_methods, reason = "a live exchange runs by the clock of the machine")]

mod connection;
mod consumer;
mod publisher;

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::exchange::{Exchange, Report};
use crate::market::{Market, instruments_csv};
use crate::random::{Random, to_count, to_float};
use crate::replay::Recording;
use crate::scenario::{Replay, Scenario};
use crate::session::Session;
use consumer::Consumers;
use publisher::Publisher;

/// Where market data go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MarketData {
    /// Multicast to the groups of the scenario's lines, out of this interface.
    Interface(String),
    /// Multicast out of the interface that has this address.
    From(Ipv4Addr),
    /// Unicast; every further line goes to the next port.
    To(SocketAddrV4),
}

impl MarketData {
    /// `eth1`, `10.0.0.1` (an address of this machine) or `10.0.0.2:26477` (a receiver).
    pub fn parse(text: &str) -> MarketData {
        match (text.parse(), text.parse()) {
            (Ok(receiver), _) => MarketData::To(receiver),
            (_, Ok(own)) => MarketData::From(own),
            _ => MarketData::Interface(text.to_owned()),
        }
    }
}

/// What to run, and where.
#[derive(Clone, Debug)]
pub struct Options {
    pub scenario: Scenario,
    pub seed: u64,
    pub market_data: MarketData,
    /// The exchange listens here; port 0 takes any.
    pub fix: SocketAddr,
    /// Reference data are served here, if anywhere.
    pub reference: Option<SocketAddr>,
    /// How much faster than real time the crowd acts.
    pub speed: f64,
}

/// What a live run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LiveSummary {
    pub messages: u64,
    pub packets: u64,
    pub connections: u64,
    pub requests: u64,
    pub reports: u64,
    pub session_rejects: u64,
}

/// A market that is ready to run.
pub struct Live {
    options: Options,
    fix: TcpListener,
    reference: Option<TcpListener>,
    publisher: Publisher,
}

/// What all threads share. One lock is enough for a mock: matching takes a microsecond.
struct Core {
    market: Market,
    exchange: Exchange,
    publisher: Publisher,
    random: Random,
    /// Sessions whose connection is gone wait here for their client to come back.
    sessions: HashMap<(String, String), (usize, Option<Session>)>,
    /// By session: reports and when they are due.
    mailboxes: Vec<Vec<(u64, Report)>>,
    summary: LiveSummary,
}

/// What the threads of one run see of each other.
struct Shared<'a> {
    options: &'a Options,
    core: Mutex<Core>,
    stop: &'a AtomicBool,
    /// Counts up when all connections are to be cut.
    drops: AtomicU64,
    over: AtomicBool,
}

impl Shared<'_> {
    fn core(&self) -> MutexGuard<'_, Core> {
        // A thread that panicked leaves the books as they were after its last whole change.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.over.load(Ordering::Relaxed)
    }
}

/// Nanoseconds since the Unix epoch.
fn now() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
}

impl Live {
    /// Opens the sockets.
    pub fn bind(options: Options) -> io::Result<Live> {
        let fix = TcpListener::bind(options.fix).map_err(|error| at(&options.fix, &error))?;
        let reference = match options.reference {
            Some(address) => Some(TcpListener::bind(address).map_err(|error| at(&address, &error))?),
            None => None,
        };
        let publisher = Publisher::open(&options, now())?;
        Ok(Live { options, fix, reference, publisher })
    }

    /// Where the exchange listens.
    pub fn fix_address(&self) -> io::Result<SocketAddr> {
        self.fix.local_addr()
    }

    /// Where reference data are served.
    pub fn reference_address(&self) -> Option<SocketAddr> {
        self.reference.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Runs until the scenario is over or `stop` is set.
    pub fn run(self, stop: &AtomicBool) -> io::Result<LiveSummary> {
        let Live { options, fix, reference, mut publisher } = self;
        let start = now();
        let mut market = Market::new(&options.scenario.market, options.seed, start);
        if options.scenario.market.replay.is_none() {
            publisher.open_market(&mut market, start)?;
        }
        let exchange = Exchange::new(&options.scenario.exchange, options.seed, &market);
        let core = Core {
            market,
            exchange,
            publisher,
            random: Random::new(options.seed, "live"),
            sessions: HashMap::new(),
            mailboxes: Vec::new(),
            summary: LiveSummary::default(),
        };
        let shared = Shared {
            options: &options,
            core: Mutex::new(core),
            stop,
            drops: AtomicU64::new(0),
            over: AtomicBool::new(false),
        };
        fix.set_nonblocking(true)?;
        let text = instruments_csv(&options.scenario, options.seed);
        let result = thread::scope(|scope| {
            if let Some(listener) = &reference {
                scope.spawn(|| serve_reference(listener, &text, &shared));
            }
            scope.spawn(|| accept(scope, &fix, &shared));
            let result = match &options.scenario.market.replay {
                Some(replay) => play(&shared, replay),
                None => publish(&shared, start),
            };
            shared.over.store(true, Ordering::Relaxed);
            result
        });
        result.map(|()| shared.core().summary)
    }
}

fn at(address: &SocketAddr, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{address}: {error}"))
}

/// Takes connections in until the run is over.
fn accept<'scope, 'env: 'scope>(
    scope: &'scope thread::Scope<'scope, 'env>,
    listener: &'env TcpListener,
    shared: &'env Shared<'env>,
) {
    while !shared.is_over() {
        match listener.accept() {
            Ok((stream, _)) => {
                shared.core().summary.connections += 1;
                scope.spawn(move || connection::serve(&stream, shared));
            }
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Hands everybody who connects the table of instruments, and hangs up.
fn serve_reference(listener: &TcpListener, text: &str, shared: &Shared<'_>) {
    if listener.set_nonblocking(true).is_err() {
        return;
    }
    while !shared.is_over() {
        match listener.accept() {
            Ok((stream, _)) => send_all(stream, text),
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// A reader that does not read is given up after a second: it must not hold up the next one.
fn send_all(mut stream: TcpStream, text: &str) {
    let patient = stream.set_nonblocking(false).and_then(|()| stream.set_write_timeout(Some(Duration::from_secs(1))));
    if patient.is_ok() {
        // Whoever hangs up early does not want the rest.
        let _ = stream.write_all(text.as_bytes());
    }
}

/// Recorded datagrams go out on the first line, with the time between them divided by the speed, or as fast as the
/// consumers on this machine keep up.
fn play(shared: &Shared<'_>, replay: &Replay) -> io::Result<()> {
    let mut recording = Recording::open(Path::new(&replay.file))?;
    let port = shared.core().publisher.first_port();
    let mut consumers = port.filter(|_| replay.keep_up).map(Consumers::new);
    let begun = Instant::now();
    let is_over = || shared.is_over() || begun.elapsed() >= Duration::from_nanos(shared.options.scenario.duration.0);
    while let Some(recorded) = recording.next_frame()? {
        let due = match &mut consumers {
            Some(consumers) => {
                consumers.wait(is_over)?;
                Duration::ZERO
            }
            None => Duration::from_nanos(to_count(to_float(recorded.after) / (replay.speed * shared.options.speed))),
        };
        loop {
            let elapsed = begun.elapsed();
            if is_over() {
                return Ok(());
            }
            match due.checked_sub(elapsed) {
                // Long waits are cut, so that a stop is noticed; short ones are spun, for sleeping is coarser.
                Some(wait) if wait > Duration::from_micros(200) => {
                    thread::sleep(wait.saturating_sub(Duration::from_micros(100)).min(Duration::from_millis(20)));
                }
                Some(wait) if !wait.is_zero() => thread::yield_now(),
                _ => break,
            }
        }
        let payload = recorded.frame.get(recorded.payload).unwrap_or_default();
        let mut core = shared.core();
        core.publisher.send_recorded(payload)?;
        core.summary.packets = core.publisher.packets();
    }
    Ok(())
}

/// The crowd acts by the clock, and what it does is published.
fn publish(shared: &Shared<'_>, start: u64) -> io::Result<()> {
    let begun = Instant::now();
    let scenario = &shared.options.scenario;
    let mut drops: Vec<u64> = scenario.orders.drops.iter().map(|drop| drop.0).collect();
    drops.sort_unstable_by(|a, b| b.cmp(a));
    let mut changes = Vec::new();
    while !shared.is_over() {
        let real = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        if real >= scenario.duration.0 {
            break;
        }
        if drops.last().is_some_and(|&drop| real >= drop) {
            drops.pop();
            shared.drops.fetch_add(1, Ordering::Relaxed);
        }
        // The crowd's own time runs faster or slower than the clock; the stamps in the messages are the clock's.
        let virtual_now = start + crate::random::to_count(crate::random::to_float(real) * shared.options.speed);
        let mut core = shared.core();
        let mut steps = 0;
        while core.market.next_time() <= virtual_now && steps < 1_000 {
            core.market.step(&mut changes);
            core.crowd_acted(&mut changes)?;
            steps += 1;
        }
        let limit = scenario.market.messages;
        let done = limit > 0 && core.publisher.messages() >= limit;
        core.publisher.tick(now())?;
        let next = core.market.next_time();
        (core.summary.messages, core.summary.packets) = (core.publisher.messages(), core.publisher.packets());
        drop(core);
        if done {
            break;
        }
        let wait = next.saturating_sub(virtual_now).min(1_000_000);
        if wait > 60_000 {
            thread::sleep(Duration::from_nanos(wait - 50_000));
        } else {
            thread::yield_now();
        }
    }
    let mut core = shared.core();
    core.publisher.close_market(now())?;
    (core.summary.messages, core.summary.packets) = (core.publisher.messages(), core.publisher.packets());
    Ok(())
}

impl Core {
    /// The number of a client's session, and the session itself if nobody else is using it.
    fn session(&mut self, sender: &str, target: &str, make: impl FnOnce() -> Session) -> Option<(usize, Session)> {
        let next = self.mailboxes.len();
        let key = (sender.to_owned(), target.to_owned());
        let entry = self.sessions.entry(key).or_insert_with(|| (next, Some(make())));
        if entry.0 == next {
            self.mailboxes.push(Vec::new());
        }
        entry.1.take().map(|session| (entry.0, session))
    }

    /// The connection of a session is gone. What was on its way is numbered and kept, for when the client asks again.
    fn leave(&mut self, mut session: Session) {
        let key = (session.target.clone(), session.sender.clone());
        if let Some(entry) = self.sessions.get_mut(&key) {
            for (due, report) in self.mailboxes.get_mut(entry.0).map(std::mem::take).unwrap_or_default() {
                session.send(due, report.kind, report.body);
            }
            entry.1 = Some(session);
        }
    }

    fn crowd_acted(&mut self, changes: &mut Vec<crate::book::Change>) -> io::Result<()> {
        let time = now();
        self.publisher.publish(changes, &self.market, time)?;
        changes.clear();
        if !self.market.struck.is_empty() {
            let outcome = self.exchange.struck(time, &mut self.market);
            self.deliver(outcome.reports, time, 0);
        }
        Ok(())
    }

    /// Puts reports into their mailboxes, one `gap` after the other.
    fn deliver(&mut self, reports: Vec<Report>, time: u64, gap: u64) {
        let mut due = time;
        for report in reports {
            let absent = self.sessions.values_mut().find(|(at, session)| *at == report.session && session.is_some());
            if let Some((_, Some(session))) = absent {
                session.send(due, report.kind, report.body);
            } else if let Some(mailbox) = self.mailboxes.get_mut(report.session) {
                mailbox.push((due, report));
            }
            due += gap;
        }
    }
}
