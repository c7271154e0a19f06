//! The gateway on real sockets: clients connect to it, it has a session of its own with the exchange for each of them,
//! and passes on what comes from either side with the same `ClOrdID`, after the latency that the scenario gives.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::agenda::Agenda;
use super::link::{self, Link};
use super::{Shared, now};
use crate::encode::fix::{Fields, Received, Version};
use crate::random::Random;
use crate::session::{Happened, Session};

/// A client that sends no logon for so long is hung up on.
const PATIENCE: u64 = 10_000_000_000;

/// The two ends of the gateway for one client, the client's first, and which number a request has on either side.
struct Pair {
    links: [Link; 2],
    /// The client's number of a request by the number that it got towards the exchange.
    numbers: HashMap<u64, u64>,
}

/// A message on its way through.
struct Passing {
    to: usize,
    kind: String,
    body: Fields,
    number: u64,
}

/// All clients that were ever here, by name: their sessions outlive connections.
#[derive(Default)]
pub(super) struct Gateway {
    pairs: Mutex<HashMap<String, Option<Pair>>>,
}

/// One client's connection.
struct Client<'a> {
    shared: &'a Shared<'a>,
    pair: Mutex<Option<Pair>>,
    agenda: Agenda<Passing>,
    random: Mutex<Random>,
    over: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes clients in until the run is over.
pub(super) fn accept<'scope, 'env: 'scope>(
    scope: &'scope thread::Scope<'scope, 'env>,
    gateway: &'env Gateway,
    listener: &'env TcpListener,
    exchange: SocketAddr,
    shared: &'env Shared<'env>,
) {
    while !shared.is_over() {
        match listener.accept() {
            Ok((stream, _)) => {
                scope.spawn(move || gateway.serve(&stream, exchange, shared));
            }
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    }
}

impl Gateway {
    fn serve(&self, stream: &TcpStream, exchange: SocketAddr, shared: &Shared<'_>) {
        let client = Client {
            shared,
            pair: Mutex::new(None),
            agenda: Agenda::new(),
            random: Mutex::new(Random::new(shared.options.seed, "live gateway")),
            over: AtomicBool::new(false),
        };
        // An error is a side's hanging up: the sessions wait for the client to come back.
        let _ = client.run(self, stream, exchange);
        let pair = lock(&client.pair).take();
        if let Some(mut pair) = pair {
            pair.links.iter_mut().for_each(Link::disconnected);
            let name = pair.links[0].session.target.clone();
            lock(&self.pairs).insert(name, Some(pair));
        }
    }

    /// The sessions of the client that sent this logon; `None` where somebody else uses them or it is none.
    fn pair(&self, logon: &Received, shared: &Shared<'_>) -> Option<Pair> {
        let scenario = &shared.options.scenario;
        let gateway = scenario.gateway.as_ref()?;
        let version = Version::from_begin_string(logon.text(8).as_bytes())?;
        if logon.kind() != "A" || logon.text(56) != gateway.name {
            return None;
        }
        let client = logon.text(49);
        let digits = shared.digits(version);
        let mut pairs = lock(&self.pairs);
        if let Some(known) = pairs.get_mut(client) {
            return known.take();
        }
        let number = pairs.len() + 1;
        let name =
            if scenario.orders.sessions > 1 { format!("{}{number}", gateway.name) } else { gateway.name.clone() };
        pairs.insert(client.to_owned(), None);
        let inside = Session::acceptor(version, &gateway.name, client, digits);
        let outside = Session::initiator(version, &name, &scenario.orders.target, scenario.orders.heartbeat.0, digits);
        Some(Pair { links: [Link::new(inside), Link::new(outside)], numbers: HashMap::new() })
    }
}

impl Client<'_> {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed) || self.shared.is_over()
    }

    fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(pair) = &*lock(&self.pair) {
            pair.links.iter().for_each(Link::cut);
        }
    }

    fn run(&self, gateway: &Gateway, inside: &TcpStream, exchange: SocketAddr) -> io::Result<()> {
        let begun = now();
        let mut is_known = false;
        thread::scope(|scope| {
            let read = link::read(inside, |message| match message {
                _ if is_known => self.take(0, message),
                None => !self.is_over() && now() < begun + PATIENCE,
                Some(logon) => {
                    let Ok(Some(outside)) = self.begin(gateway, inside, exchange, &logon) else { return false };
                    is_known = true;
                    scope.spawn(|| self.pass_on());
                    scope.spawn(move || {
                        // An error is the exchange's hanging up.
                        let _ = link::read(&outside, |message| self.take(1, message));
                        self.finish(0);
                    });
                    self.take(0, Some(logon))
                }
            });
            self.finish(1);
            read
        })
    }

    /// The first message names the client, whose sessions are taken up; the connection to the exchange.
    fn begin(
        &self,
        gateway: &Gateway,
        inside: &TcpStream,
        exchange: SocketAddr,
        logon: &Received,
    ) -> io::Result<Option<TcpStream>> {
        let Some(pair) = gateway.pair(logon, self.shared) else { return Ok(None) };
        let mut guard = lock(&self.pair);
        let pair = guard.insert(pair);
        let outside = TcpStream::connect_timeout(&exchange, Duration::from_secs(5))?;
        pair.links[1].connected(&outside)?;
        pair.links[0].connected(inside)?;
        Ok(Some(outside))
    }

    /// One side is done: the other one has a moment to say goodbye.
    fn finish(&self, other: usize) {
        let until = now() + 1_000_000_000;
        while now() < until && lock(&self.pair).as_ref().is_some_and(|pair| pair.links[other].is_saying_goodbye()) {
            thread::sleep(Duration::from_millis(5));
        }
        self.end();
    }

    /// A message of one side, or a moment without one; false when the connections are to end.
    fn take(&self, side: usize, message: Option<Received>) -> bool {
        let mut guard = lock(&self.pair);
        let Some(pair) = &mut *guard else { return false };
        let number = message.as_ref().map_or(0, Received::sequence);
        let happened = match message {
            Some(message) => pair.links[side].receive(message),
            None => pair.links[side].tick(),
        };
        match happened {
            Some(Happened::Application(message)) => {
                let settings = self.shared.options.scenario.gateway.as_ref().expect("there is a gateway");
                let elapsed = now().saturating_sub(self.shared.start);
                let latency = settings.latency.draw(&mut lock(&self.random), elapsed);
                let passing = Passing { to: 1 - side, kind: message.kind().to_owned(), body: message.body(), number };
                self.agenda.push(now() + latency, passing)
            }
            // The other side is to say goodbye, too.
            Some(Happened::Down) => {
                pair.links[1 - side].log_out();
                false
            }
            Some(Happened::Up) => true,
            None => !self.is_over(),
        }
    }

    /// Passes on what is due.
    fn pass_on(&self) {
        while let Some((_, passing)) = self.agenda.next(|| self.is_over()) {
            let mut guard = lock(&self.pair);
            let Some(pair) = &mut *guard else { return };
            let is_request = passing.to == 1 && ["D", "F", "G"].contains(&passing.kind.as_str());
            let body = match passing.kind.as_str() {
                "3" | "j" if passing.to == 0 => renumbered(&passing.body, &pair.numbers),
                _ => passing.body,
            };
            if is_request && let Some(record) = &self.shared.record {
                let name = |link: &Link| (link.session.sender.clone(), link.session.target.clone());
                let ((gateway, client), (sender, target)) = (name(&pair.links[0]), name(&pair.links[1]));
                let id = value_of(&body, 11);
                record.passed_on(&format!("{client}->{gateway}"), &format!("{sender}->{target}"), &id);
            }
            let sent = pair.links[passing.to].send(&passing.kind, body);
            if is_request {
                pair.numbers.insert(sent, passing.number);
            }
        }
    }
}

fn value_of(body: &Fields, tag: u32) -> String {
    let name = format!("{tag}=");
    let mut fields = body.0.split(|&byte| byte == b'\x01');
    let value = fields.find_map(|field| field.strip_prefix(name.as_bytes()));
    value.map_or(String::new(), |value| String::from_utf8_lossy(value).into_owned())
}

/// A reject names the rejected message by its number (45), which is another one on each side.
fn renumbered(body: &Fields, numbers: &HashMap<u64, u64>) -> Fields {
    let Some(number) = value_of(body, 45).parse().ok().and_then(|number: u64| numbers.get(&number)) else {
        return body.clone();
    };
    let mut out = Fields::new();
    for field in body.0.split_inclusive(|&byte| byte == b'\x01') {
        if field.starts_with(b"45=") {
            out = out.number(45, *number);
        } else {
            out.0.extend_from_slice(field);
        }
    }
    out
}
