//! The reference trader on real sockets: listens to the datagrams that the publisher sends, trades by the scenario's
//! strategies through FIX sessions of its own, and really waits for the latency that it draws.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::agenda::Agenda;
use super::link::{self, Link};
use super::publisher::destination;
use super::{MarketData, Options, Shared, now};
use crate::book::Side;
use crate::encode::feed::{Feed, Tick};
use crate::encode::fix::{Received, price_text};
use crate::follow::Follower;
use crate::market::{Instrument, instruments};
use crate::random::Random;
use crate::scenario::{During, Kind, Scenario};
use crate::session::{Happened, Session};
use crate::time::MILLI;
use crate::trader::{Order, Trader};
use crate::truth::Row;

/// How long answers to the last orders may take before the trader logs out, and the logout itself.
const GOODBYE: Duration = Duration::from_millis(500);

/// So many requests of a session are remembered.
const REMEMBERED: u64 = 10_000;

/// Sockets that listen to the market, opened before anything is sent.
pub(super) struct Ears {
    lines: Vec<(UdpSocket, String)>,
    /// Asks for lost messages, and hears the answers.
    asking: UdpSocket,
}

/// What the trader is to do at a time.
enum Due {
    Send { order: Box<Order>, cause: Option<Box<Cause>>, internal: u64 },
    Timer(usize),
}

/// The message that made it act.
struct Cause {
    feed: String,
    tick: Tick,
}

struct State {
    trader: Trader,
    follower: Follower,
    feed: Feed,
    random: Random,
    links: Vec<Link>,
    /// By session: the last requests and what they were to change, by number; a reject names them by it.
    requests: Vec<HashMap<u64, (String, String)>>,
}

/// The trader.
pub(super) struct Desk<'a> {
    shared: &'a Shared<'a>,
    instruments: Vec<Instrument>,
    to: SocketAddr,
    recovery: Option<SocketAddr>,
    state: Mutex<State>,
    agenda: Agenda<Due>,
    /// No order any more.
    closing: AtomicBool,
    over: AtomicBool,
    orders: AtomicU64,
    late_total: AtomicU64,
    late_most: AtomicU64,
}

impl Ears {
    pub(super) fn open(options: &Options) -> io::Result<Ears> {
        let mut lines = Vec::new();
        // Recorded messages are not read: only timers trade then.
        let heard = if options.scenario.market.replay.is_none() { &options.scenario.line[..] } else { &[] };
        for (line, at) in heard.iter().zip(0_u16..) {
            let to = destination(options, at, &line.group);
            let socket = listen(&options.market_data, to).map_err(|error| {
                let text =
                    format!("the reference trader cannot listen at {to}: {error} (--trader own: it is not needed)");
                io::Error::new(error.kind(), text)
            })?;
            lines.push((socket, format!("{to} {}", line.name)));
        }
        Ok(Ears { lines, asking: UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))? })
    }
}

/// Joins a group on the interface that the market data leave by, or takes the unicast address.
fn listen(market_data: &MarketData, to: SocketAddrV4) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    // Bursts come faster than a thread reads; the system gives as much as it allows.
    socket.set_recv_buffer_size(8 << 20)?;
    if !to.ip().is_multicast() {
        socket.bind(&to.into())?;
        return Ok(socket.into());
    }
    socket.set_reuse_address(true)?;
    socket.bind(&to.into())?;
    match market_data {
        MarketData::From(own) => socket.join_multicast_v4(to.ip(), own)?,
        MarketData::Interface(name) => {
            let index = interface_index(name)?;
            socket.join_multicast_v4_n(to.ip(), &socket2::InterfaceIndexOrAddress::Index(index))?;
        }
        MarketData::To(_) => socket.join_multicast_v4(to.ip(), &Ipv4Addr::UNSPECIFIED)?,
    }
    Ok(socket.into())
}

fn interface_index(name: &str) -> io::Result<u32> {
    let path = format!("/sys/class/net/{name}/ifindex");
    let text =
        std::fs::read_to_string(&path).map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))?;
    text.trim().parse().map_err(|_| io::Error::other(format!("{path}: no number")))
}

/// How long a packet waits for one before it: as long as another line may be behind, or a lost message takes to come.
fn patience(scenario: &Scenario) -> u64 {
    if scenario.market.recover.is_some() {
        return 50 * MILLI;
    }
    let slowest = scenario.line.iter().map(|line| line.delay.0 + line.jitter.0).max().unwrap_or(0);
    if scenario.line.len() > 1 { slowest + 2 * MILLI } else { 0 }
}

impl<'a> Desk<'a> {
    /// A trader that connects to `to`, and asks for lost messages at `recovery`.
    pub(super) fn new(shared: &'a Shared<'a>, to: SocketAddr, recovery: Option<SocketAddr>) -> Desk<'a> {
        let Options { scenario, seed, .. } = shared.options;
        let instruments = instruments(&scenario.market, &mut Random::new(*seed, "market"));
        let orders = &scenario.orders;
        let target = scenario.gateway.as_ref().map_or(&orders.target, |gateway| &gateway.name);
        let links = (0..orders.sessions).map(|number| {
            let sender =
                if orders.sessions > 1 { format!("{}{}", orders.sender, number + 1) } else { orders.sender.clone() };
            let digits = shared.digits(orders.version);
            Link::new(Session::initiator(orders.version, &sender, target, orders.heartbeat.0, digits))
        });
        let state = State {
            trader: Trader::new(scenario, *seed, &instruments),
            follower: Follower::new(scenario.market.protocol, &instruments, patience(scenario)),
            feed: Feed::new(scenario.market.protocol, shared.start, scenario.market.west.0),
            random: Random::new(*seed, "live trader"),
            links: links.collect(),
            requests: vec![HashMap::new(); orders.sessions.into()],
        };
        Desk {
            shared,
            instruments,
            to,
            recovery,
            state: Mutex::new(state),
            agenda: Agenda::new(),
            closing: AtomicBool::new(false),
            over: AtomicBool::new(false),
            orders: AtomicU64::new(0),
            late_total: AtomicU64::new(0),
            late_most: AtomicU64::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed) || self.shared.is_over()
    }

    /// Orders sent, and how late they were on average and at most: what a wait adds to the drawn latency.
    pub(super) fn sent(&self) -> (u64, u64, u64) {
        let orders = self.orders.load(Ordering::Relaxed);
        let mean = self.late_total.load(Ordering::Relaxed).checked_div(orders).unwrap_or(0);
        (orders, mean, self.late_most.load(Ordering::Relaxed))
    }

    /// Starts its threads.
    pub(super) fn start<'scope, 'env: 'scope>(
        &'env self,
        scope: &'scope thread::Scope<'scope, 'env>,
        ears: &'env Ears,
    ) {
        for (socket, feed) in &ears.lines {
            scope.spawn(move || self.hear(socket, feed, &ears.asking));
        }
        scope.spawn(move || self.hear(&ears.asking, "recovery", &ears.asking));
        for session in 0..usize::from(self.shared.options.scenario.orders.sessions) {
            scope.spawn(move || self.talk(session));
        }
        for (at, strategy) in self.shared.options.scenario.strategy.iter().enumerate() {
            if strategy.kind == Kind::Timer {
                let wait = self.state().trader.wait(at);
                self.agenda.push(now() + wait, Due::Timer(at));
            }
        }
        scope.spawn(|| {
            while let Some((due, what)) = self.agenda.next(|| self.is_over()) {
                self.act(due, what);
            }
        });
    }

    /// Stops trading, waits for the last answers, logs out.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
        thread::sleep(GOODBYE);
        for link in &mut self.state().links {
            link.log_out();
        }
        let until = now() + u64::try_from(GOODBYE.as_nanos()).unwrap_or(0);
        while now() < until && self.state().links.iter().any(Link::is_saying_goodbye) {
            thread::sleep(Duration::from_millis(5));
        }
        self.over.store(true, Ordering::Relaxed);
        self.state().links.iter().for_each(Link::cut);
    }

    // ── the market ──

    fn hear(&self, socket: &UdpSocket, feed: &str, asking: &UdpSocket) {
        if socket.set_read_timeout(Some(Duration::from_millis(5))).is_err() {
            return;
        }
        let mut buffer = [0; 2048];
        while !self.is_over() {
            let got = socket.recv(&mut buffer);
            let time = now();
            let mut state = self.state();
            let taken = match got {
                Ok(length) => state.follower.take(time, buffer.get(..length).unwrap_or_default()),
                Err(_) if state.follower.is_waiting() => state.follower.look_again(time),
                Err(_) => continue,
            };
            for ticks in &taken.packets {
                state.trader.packet();
                for tick in ticks {
                    for order in state.trader.tick(time, tick) {
                        self.decide(&mut state, time, order, Some(Cause { feed: feed.to_owned(), tick: *tick }));
                    }
                }
            }
            if let (Some((first, count)), Some(server)) = (taken.missing, self.recovery) {
                let request = state.feed.request(first, count);
                // If it is lost, so are the messages.
                let _ = asking.send_to(&request, server);
            }
        }
    }

    /// The order leaves when the drawn latency is over.
    fn decide(&self, state: &mut State, time: u64, order: Order, cause: Option<Cause>) {
        let elapsed = time.saturating_sub(self.shared.start);
        let internal = self.shared.options.scenario.trader.latency.draw(&mut state.random, elapsed);
        let kept = order.clone();
        let due = Due::Send { order: Box::new(order), cause: cause.map(Box::new), internal };
        if !self.agenda.push(time + internal, due) {
            state.trader.forget(&kept);
        }
    }

    // ── orders ──

    fn act(&self, due: u64, what: Due) {
        match what {
            Due::Timer(strategy) => {
                let is_burst = self.shared.core().market.is_burst(self.shared.market_time());
                let mut state = self.state();
                let acts = match self.shared.options.scenario.strategy[strategy].during {
                    During::Always => true,
                    During::Burst => is_burst,
                    During::Quiet => !is_burst,
                };
                let order = if acts { state.trader.timer(strategy) } else { None };
                if let Some(order) = order {
                    self.send(&mut state, due, order, None, 0);
                }
                let wait = state.trader.wait(strategy);
                self.agenda.push(due + wait, Due::Timer(strategy));
            }
            Due::Send { order, cause, internal } => {
                let mut state = self.state();
                self.send(&mut state, due, *order, cause.as_deref(), internal);
            }
        }
    }

    fn send(&self, state: &mut State, due: u64, order: Order, cause: Option<&Cause>, internal: u64) {
        let at = usize::from(order.symbol) % state.links.len();
        if self.closing.load(Ordering::Relaxed) || !state.links[at].is_up() {
            state.trader.forget(&order);
            return;
        }
        let scenario = &self.shared.options.scenario;
        let session = format!("{}->{}", state.links[at].session.sender, state.links[at].session.target);
        if let Some(record) = &self.shared.record {
            record.sent(&session, &order.clordid, self.row(&session, &order, cause, internal));
        }
        let time = now();
        let body = order.fields(&self.instruments, time, self.shared.digits(scenario.orders.version));
        let number = state.links[at].send(order.kind, body);
        let late = time.saturating_sub(due);
        self.orders.fetch_add(1, Ordering::Relaxed);
        self.late_total.fetch_add(late, Ordering::Relaxed);
        self.late_most.fetch_max(late, Ordering::Relaxed);
        state.requests[at].insert(number, (order.clordid, order.orig_clordid));
        state.requests[at].remove(&number.saturating_sub(REMEMBERED));
    }

    /// What is true of a request, as far as it is known here.
    fn row(&self, session: &str, order: &Order, cause: Option<&Cause>, internal: u64) -> Row {
        let mut row = Row::default();
        row.set("session", session);
        row.set("clordid", &order.clordid);
        row.set("orig_clordid", &order.orig_clordid);
        row.set("chain", &order.chain);
        row.set("request", order.request_name());
        row.set("symbol", &self.instruments[usize::from(order.symbol)].symbol);
        row.set("side", if order.side == Side::Buy { "B" } else { "S" });
        row.set("price", &order.price_text());
        row.set("qty", &order.quantity.to_string());
        row.set("cause", if cause.is_some() { "market_data" } else { "none" });
        if let Some(Cause { feed, tick }) = cause {
            let symbol = &self.instruments[usize::from(tick.symbol)].symbol;
            let side = if tick.side == Side::Buy { "B" } else { "S" };
            row.set("trigger_feed", feed);
            row.set("trigger_seq", &tick.sequence.to_string());
            row.set("trigger_msg", tick.name);
            row.set("trigger_symbol", symbol);
            let text = format!("{} {symbol} {side} {} @ {}", tick.name, tick.quantity, price_text(tick.price));
            row.set("trigger_message", &text);
            row.set("internal_ns", &internal.to_string());
        }
        row
    }

    // ── sessions ──

    /// Keeps a session connected until all is over.
    fn talk(&self, session: usize) {
        let back_after = self.shared.options.scenario.orders.back_after.0.max(MILLI);
        // Whoever logged out at the end does not come back.
        while !self.is_over() && !self.closing.load(Ordering::Relaxed) {
            if let Ok(stream) = TcpStream::connect_timeout(&self.to, Duration::from_secs(1)) {
                let connected = self.state().links[session].connected(&stream);
                // An error is the other side's hanging up; the session waits for the next connection.
                let _ = connected.and_then(|()| link::read(&stream, |message| self.hear_report(session, message)));
                self.state().links[session].disconnected();
            }
            let until = now() + back_after;
            while now() < until && !self.is_over() {
                thread::sleep(Duration::from_nanos(back_after.min(5 * MILLI)));
            }
        }
    }

    /// A message of a session, or a moment without one; false when the connection is to end.
    fn hear_report(&self, at: usize, message: Option<Received>) -> bool {
        let mut guard = self.state();
        let state = &mut *guard;
        let happened = match message {
            Some(message) => state.links[at].receive(message),
            None => state.links[at].tick(),
        };
        match happened {
            Some(Happened::Application(message)) => {
                let is_reject = ["3", "j"].contains(&message.kind());
                let number = message.number(45).filter(|_| is_reject);
                let rejected = number.and_then(|number| state.requests[at].get(&number).cloned());
                if let Some((_, orig)) = &rejected {
                    state.trader.settle(orig);
                }
                state.trader.report(&message, rejected.as_ref().map(|(id, _)| id.as_str()));
                true
            }
            Some(Happened::Down) => false,
            Some(Happened::Up) => true,
            None => !self.is_over(),
        }
    }
}
