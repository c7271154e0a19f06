//! The simulated market on a real network: market data as UDP datagrams, the mock exchange as a TCP server that speaks
//! FIX, reference data over TCP, the gateway where the scenario has one, and the reference trader, whose place a trader
//! or gateway of the user's own can take.
//! Plain threads with blocking sockets; this is the only place of the simulator that reads a clock.
#![allow(clippy::disallowed_methods, reason = "a live exchange runs by the clock of the machine")]

mod agenda;
mod connection;
mod consumer;
mod core;
mod desk;
mod gateway;
mod link;
mod publisher;
mod record;

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use self::core::Core;
use crate::encode::feed::FeedProtocol;
use crate::encode::fix::Version;
use crate::exchange::Exchange;
use crate::market::{Market, instruments_csv};
use crate::random::{to_count, to_float};
use crate::replay::Recording;
use crate::scenario::{Replay, Scenario};
use crate::scenario_check::parse_address;
use crate::time::SECOND;
use agenda::Agenda;
use consumer::Consumers;
use desk::{Desk, Ears};
use gateway::Gateway;
use publisher::Publisher;
use record::Record;

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
    /// The scenario's strategies trade; else a trader of the user's own does.
    pub reference_trader: bool,
    /// The gateway, where the scenario has one, listens here; absent: beside the exchange, at the scenario's port.
    pub gateway: Option<SocketAddr>,
    /// The reference trader connects here: a gateway of the user's own. Absent: to our gateway, or to the exchange.
    pub connect: Option<SocketAddr>,
    /// Lost messages are asked for here, where the scenario lets them be; absent: at any port beside the exchange.
    pub recovery: Option<SocketAddr>,
}

impl Options {
    /// What is most common: the reference trader trades, in real time, and everything listens beside the exchange.
    pub fn new(scenario: Scenario, market_data: MarketData, fix: SocketAddr) -> Options {
        Options {
            scenario,
            seed: 1,
            market_data,
            fix,
            reference: None,
            speed: 1.0,
            reference_trader: true,
            gateway: None,
            connect: None,
            recovery: None,
        }
    }

    /// An address beside the exchange; with a port of its own, where the exchange takes any.
    fn beside(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.fix.ip(), if self.fix.port() == 0 { 0 } else { port })
    }

    fn has_trader(&self) -> bool {
        self.reference_trader && !self.scenario.strategy.is_empty()
    }
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
    /// Sessions that were logged out of.
    pub logouts: u64,
    /// Requests for lost market data.
    pub asked_again: u64,
    /// Requests of the reference trader.
    pub orders: u64,
    /// By how much they left later than the drawn latency asked for: on average, and at most.
    pub late_mean_ns: u64,
    pub late_most_ns: u64,
}

/// A market that is ready to run.
pub struct Live {
    options: Options,
    fix: TcpListener,
    reference: Option<TcpListener>,
    gateway: Option<TcpListener>,
    recovery: Option<UdpSocket>,
    ears: Option<Ears>,
    publisher: Publisher,
}

/// What the threads of one run see of each other.
struct Shared<'a> {
    options: &'a Options,
    core: Mutex<Core>,
    stop: &'a AtomicBool,
    start: u64,
    record: Option<&'a Record>,
    /// Counts up when all connections are to be cut.
    drops: AtomicU64,
    /// The market is to end, because a thread could not go on.
    failed: AtomicBool,
    over: AtomicBool,
}

impl Shared<'_> {
    fn core(&self) -> MutexGuard<'_, Core> {
        // A thread that panicked leaves the books as they were after its last whole change.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everybody is to end.
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// The market is to end; the others follow in their turn.
    fn is_closing(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.failed.load(Ordering::Relaxed)
    }

    /// The crowd's own time, which runs faster or slower than the clock.
    fn market_time(&self) -> u64 {
        self.start + to_count(to_float(now().saturating_sub(self.start)) * self.options.speed)
    }

    /// Digits of the second in FIX times: FIX 4.2 knows three.
    fn digits(&self, version: Version) -> u8 {
        self.options.scenario.trader.digits.min(if version == Version::Fix42 { 3 } else { 6 })
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
        let gateway = match (&options.scenario.gateway, options.connect) {
            (Some(gateway), None) => {
                let (_, port) = parse_address(&gateway.address).expect("checked by the scenario");
                let address = options.gateway.unwrap_or_else(|| options.beside(port));
                let listener = TcpListener::bind(address).map_err(|error| at(&address, &error))?;
                listener.set_nonblocking(true)?;
                Some(listener)
            }
            _ => None,
        };
        let recovery = match &options.scenario.market.recover {
            Some(_) if options.scenario.market.protocol == FeedProtocol::Itch50 => {
                let address = options.recovery.unwrap_or_else(|| options.beside(0));
                Some(UdpSocket::bind(address).map_err(|error| at(&address, &error))?)
            }
            _ => None,
        };
        let ears = if options.has_trader() { Some(Ears::open(&options)?) } else { None };
        let publisher = Publisher::open(&options, now())?;
        Ok(Live { options, fix, reference, gateway, recovery, ears, publisher })
    }

    /// Where the exchange listens.
    pub fn fix_address(&self) -> io::Result<SocketAddr> {
        self.fix.local_addr()
    }

    /// Where reference data are served.
    pub fn reference_address(&self) -> Option<SocketAddr> {
        self.reference.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Where the gateway listens.
    pub fn gateway_address(&self) -> Option<SocketAddr> {
        self.gateway.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Where lost messages are asked for.
    pub fn recovery_address(&self) -> Option<SocketAddr> {
        self.recovery.as_ref().and_then(|socket| socket.local_addr().ok())
    }

    /// Runs until the scenario is over or `stop` is set.
    pub fn run(self, stop: &AtomicBool) -> io::Result<LiveSummary> {
        self.run_with(stop, None)
    }

    /// The same, and writes into a folder what is true of the reference trader's requests, and the instruments.
    pub fn run_and_write(self, stop: &AtomicBool, folder: &Path) -> io::Result<LiveSummary> {
        fs::create_dir_all(folder)?;
        let mut truth = BufWriter::new(File::create(folder.join("truth.csv"))?);
        fs::write(folder.join("instruments.csv"), instruments_csv(&self.options.scenario, self.options.seed))?;
        let record = Record::default();
        let summary = self.run_with(stop, Some(&record))?;
        record.write(&mut truth)?;
        truth.flush()?;
        Ok(summary)
    }

    fn run_with(mut self, stop: &AtomicBool, record: Option<&Record>) -> io::Result<LiveSummary> {
        let start = now();
        let options = self.options.clone();
        let mut market = Market::new(&options.scenario.market, options.seed, start);
        if options.scenario.market.replay.is_none() {
            self.publisher.open_market(&mut market, start)?;
        }
        let (fix, gateway_at) = (reachable(self.fix_address()?), self.gateway_address().map(reachable));
        let recovery_at = self.recovery_address().map(reachable);
        let Live { fix: listener, reference, gateway, recovery, ears, publisher, .. } = self;
        let (lines, delayed) = publisher.on_the_way();
        let exchange = Exchange::new(&options.scenario.exchange, options.seed, &market);
        let shared = Shared {
            options: &options,
            core: Mutex::new(Core::new(market, exchange, publisher, options.seed)),
            stop,
            start,
            record,
            drops: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            over: AtomicBool::new(false),
        };
        listener.set_nonblocking(true)?;
        let text = instruments_csv(&options.scenario, options.seed);
        let to = options.connect.or(gateway_at).unwrap_or(fix);
        let desk = ears.as_ref().map(|_| Desk::new(&shared, to, recovery_at));
        let parts = Parts { listener, reference, gateway, recovery, ears, lines, delayed };
        parts.play(&shared, desk.as_ref(), fix, &text)?;
        let mut summary = shared.core().summary;
        if let Some(desk) = &desk {
            (summary.orders, summary.late_mean_ns, summary.late_most_ns) = desk.sent();
        }
        Ok(summary)
    }
}

/// The sockets of a run.
struct Parts {
    listener: TcpListener,
    reference: Option<TcpListener>,
    gateway: Option<TcpListener>,
    recovery: Option<UdpSocket>,
    ears: Option<Ears>,
    lines: Arc<Vec<publisher::Line>>,
    delayed: Arc<Agenda<publisher::Datagram>>,
}

impl Parts {
    /// Starts everybody, and ends them in turn: the market, the trader, then the rest.
    fn play(&self, shared: &Shared<'_>, desk: Option<&Desk<'_>>, fix: SocketAddr, text: &str) -> io::Result<()> {
        let clients = Gateway::default();
        let again = self.recovery.as_ref();
        thread::scope(|scope| {
            if let Some(listener) = &self.reference {
                scope.spawn(|| serve_reference(listener, text, shared));
            }
            scope.spawn(|| accept(scope, &self.listener, shared));
            if let Some(listener) = &self.gateway {
                let clients = &clients;
                scope.spawn(move || gateway::accept(scope, clients, listener, fix, shared));
            }
            if let Some(socket) = &self.recovery {
                scope.spawn(|| shared.or_fail(publisher::serve_requests(socket, shared)));
            }
            let sender =
                scope.spawn(|| shared.or_fail(publisher::send_in_time(&self.lines, &self.delayed, again, shared)));
            if let (Some(desk), Some(ears)) = (desk, &self.ears) {
                desk.start(scope, ears);
            }
            let result = match &shared.options.scenario.market.replay {
                Some(replay) => play(shared, replay),
                None => publish(shared),
            };
            if let Some(desk) = desk {
                desk.close();
            }
            let closed = shared.close_market();
            let until = now() + SECOND;
            while !self.delayed.is_empty() && now() < until && !shared.failed.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(1));
            }
            shared.over.store(true, Ordering::Relaxed);
            let sent = sender.join().unwrap_or_else(|_| Err(io::Error::other("the thread of the lines panicked")));
            result.and(closed).and(sent)
        })
    }
}

/// An address of this machine that listens everywhere is reached by the loopback interface.
fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        let own = if address.is_ipv4() { IpAddr::from([127, 0, 0, 1]) } else { IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]) };
        return SocketAddr::new(own, address.port());
    }
    address
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
    let is_over = || shared.is_closing() || begun.elapsed() >= Duration::from_nanos(shared.options.scenario.duration.0);
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
        core.publisher.send_recorded(payload, replay.keep_up)?;
        core.summary.packets = core.publisher.packets();
    }
    Ok(())
}

/// The crowd acts by the clock, and what it does is published.
fn publish(shared: &Shared<'_>) -> io::Result<()> {
    let begun = Instant::now();
    let scenario = &shared.options.scenario;
    let mut drops: Vec<u64> = scenario.orders.drops.iter().map(|drop| drop.0).collect();
    drops.sort_unstable_by(|a, b| b.cmp(a));
    let mut changes = Vec::new();
    while !shared.is_closing() {
        let real = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        if real >= scenario.duration.0 {
            break;
        }
        if drops.last().is_some_and(|&drop| real >= drop) {
            drops.pop();
            shared.drops.fetch_add(1, Ordering::Relaxed);
        }
        // The stamps in the messages are the clock's, whatever the crowd's own time.
        let virtual_now = shared.market_time();
        let mut core = shared.core();
        let mut steps = 0;
        while core.market.next_time() <= virtual_now && steps < 1_000 {
            core.market.step(&mut changes);
            core.crowd_acted(&mut changes)?;
            steps += 1;
        }
        core.cancel_unasked();
        core.release()?;
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
    Ok(())
}

impl Shared<'_> {
    /// A thread that cannot go on ends the market.
    fn or_fail(&self, result: io::Result<()>) -> io::Result<()> {
        self.failed.fetch_or(result.is_err(), Ordering::Relaxed);
        result
    }

    fn close_market(&self) -> io::Result<()> {
        if self.options.scenario.market.replay.is_some() {
            return Ok(());
        }
        let mut guard = self.core();
        let core = &mut *guard;
        core.hold_until = 0;
        core.release()?;
        core.publisher.close_market(now())?;
        (core.summary.messages, core.summary.packets) = (core.publisher.messages(), core.publisher.packets());
        Ok(())
    }
}
