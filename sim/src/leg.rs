//! Legs: the FIX conversations over TCP between trader, gateway and exchange, as the world runs them.

use std::collections::HashMap;
use std::io::Write;
use std::rc::Rc;

use crate::encode::fix::{Fields, Framer, Received};
use crate::exchange::{Answer, Report};
use crate::random::Random;
use crate::scenario::Scenario;
use crate::scenario_check::parse_address;
use crate::session::{Happened, Outgoing, Session};
use crate::tap::{Carries, Link, OnWire};
use crate::tcp::{End, Segment, Todo};
use crate::time::MILLI;
use crate::trader::Order;
use crate::truth::{Cause, Meaning, Request};
use crate::wire::{Node, flag};
use crate::world::{Event, World};

/// What a message means for the truth, kept beside the session that sent it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Meta {
    Request(usize),
    Answer(usize, Answer),
}

/// A connection that exists.
#[derive(Debug)]
struct Connection {
    ends: [End; 2],
    stream: usize,
}

/// One FIX session and its connection; side 0 is the client's.
#[derive(Debug)]
pub(crate) struct Leg {
    pub(crate) sessions: [Session; 2],
    pub(crate) name: String,
    is_for_client: bool,
    framers: [Framer; 2],
    connection: Option<Connection>,
    generation: u32,
    nodes: [Node; 2],
    busy: [u64; 2],
    waiting: [Vec<Outgoing>; 2],
    metas: HashMap<(usize, u64), Meta>,
    /// `ClOrdID` to request.
    pub(crate) requests: HashMap<String, usize>,
    random: Random,
    ticking: [u64; 2],
}

impl Leg {
    /// The legs of a scenario: one a session, or two with a gateway, the client's first.
    pub(crate) fn all(scenario: &Scenario, seed: u64) -> Vec<Leg> {
        let orders = &scenario.orders;
        let node =
            |text: &str| parse_address(text).map(|(ip, port)| Node::host(ip, port)).expect("checked by the scenario");
        let mut legs = Vec::new();
        for number in 0..orders.sessions {
            let numbered =
                |name: &str| if orders.sessions > 1 { format!("{name}{}", number + 1) } else { name.to_owned() };
            let sender = numbered(&orders.sender);
            let client = Node { port: node(&orders.client).port + number, ..node(&orders.client) };
            let server = node(&orders.server);
            let mut add = |sender: &str, target: &str, nodes: [Node; 2], is_for_client: bool| {
                let digits = scenario.trader.digits;
                let sessions = [
                    Session::initiator(orders.version, sender, target, orders.heartbeat.0, digits),
                    Session::acceptor(orders.version, target, sender, digits),
                ];
                let random = Random::new(seed, &format!("leg {sender} {target}"));
                legs.push(Leg::new(sessions, nodes, is_for_client, random));
            };
            match &scenario.gateway {
                None => add(&sender, &orders.target, [client, server], false),
                Some(gateway) => {
                    let name = numbered(&gateway.name);
                    let entry = node(&gateway.address);
                    let exit = Node { port: client.port + 1_000, ..entry };
                    add(&sender, &gateway.name, [client, entry], true);
                    add(&name, &orders.target, [exit, server], false);
                }
            }
        }
        legs
    }

    fn new(sessions: [Session; 2], nodes: [Node; 2], is_for_client: bool, random: Random) -> Leg {
        Leg {
            name: format!("{}->{}", sessions[0].sender, sessions[0].target),
            sessions,
            is_for_client,
            framers: Default::default(),
            connection: None,
            generation: 0,
            nodes,
            busy: [0; 2],
            waiting: Default::default(),
            metas: HashMap::new(),
            requests: HashMap::new(),
            random,
            ticking: [0; 2],
        }
    }
}

impl<W: Write> World<W> {
    /// The leg on which the trader talks, by session.
    fn trader_leg(&self, session: usize) -> usize {
        if self.scenario.gateway.is_some() { session * 2 } else { session }
    }

    /// The leg at the exchange, by session.
    fn exchange_leg(&self, session: usize) -> usize {
        if self.scenario.gateway.is_some() { session * 2 + 1 } else { session }
    }

    fn session_of(&self, leg: usize) -> usize {
        if self.scenario.gateway.is_some() { leg / 2 } else { leg }
    }

    // ── connections ──

    pub(crate) fn connect(&mut self, leg: usize) {
        let stream = self.recorder.new_connection();
        let mss = self.scenario.network.mss;
        let Leg { nodes, random, generation, framers, .. } = &mut self.legs[leg];
        *generation += 1;
        if *generation > 1 {
            nodes[0].port = nodes[0].port.wrapping_add(37);
        }
        *framers = Default::default();
        let mut first = || u32::try_from(random.bits() >> 32).expect("32 bits");
        let ends = [End::new(nodes[0], first(), mss), End::new(nodes[1], first(), mss)];
        self.legs[leg].connection = Some(Connection { ends, stream });
        let now = self.now;
        if let Some(connection) = &mut self.legs[leg].connection {
            let todo = connection.ends[0].connect(now);
            self.transmit(leg, 0, todo);
        }
    }

    pub(crate) fn drop_connections(&mut self) {
        for leg in 0..self.legs.len() {
            let Some(connection) = &self.legs[leg].connection else { continue };
            let reset = connection.ends[1].reset(self.now);
            self.transmit(leg, 1, Todo { send: vec![reset], ..Todo::default() });
            self.legs[leg].connection = None;
            for side in 0..2 {
                self.legs[leg].sessions[side].disconnected();
                self.legs[leg].waiting[side].clear();
            }
            self.at(self.now + self.scenario.orders.back_after.0.max(MILLI), Event::Connect { leg });
        }
    }

    /// Sends segments: each becomes a frame, passes the taps, and arrives unless it is lost.
    fn transmit(&mut self, leg: usize, side: usize, todo: Todo) {
        let now = self.now;
        let Some(connection) = &mut self.legs[leg].connection else { return };
        let stream = connection.stream + side;
        let generation = self.legs[leg].generation;
        for segment in todo.send {
            let Some(connection) = &mut self.legs[leg].connection else { return };
            let [client, server] = &mut connection.ends;
            let (from, to) = if side == 0 { (client, &*server) } else { (server, &*client) };
            let (frame, payload_at) = from.frame(to, &segment);
            let mut sent = now.max(self.legs[leg].busy[side]);
            self.legs[leg].busy[side] = sent + frame.len() as u64 * 4 / 5;
            let network = &self.scenario.network;
            if self.network_random.chance(network.reorder) {
                sent += self.network_random.between(1_000, 12_000);
            }
            let delay = network.delay.0;
            let lost = self.network_random.chance(network.loss);
            if lost && self.network_random.chance(0.5) {
                continue;
            }
            let ack = (segment.flags & flag::ACK != 0).then_some(segment.ack);
            let carries = Carries::Segment { stream, start: segment.start, ack };
            let payload = segment.payload.len();
            let on_wire = OnWire { frame: Rc::new(frame), payload_at, payload, carries };
            let way = side == 0;
            let link = if self.legs[leg].is_for_client { Link::Client(way) } else { Link::Orders(way) };
            self.taps.pass(link, sent, delay, &on_wire);
            if !lost {
                self.at(sent + delay, Event::Segment { leg, generation, side: 1 - side, segment });
            }
        }
        if todo.arm {
            self.arm(leg, side);
        }
    }

    fn arm(&mut self, leg: usize, side: usize) {
        let wait = self.scenario.network.resend_after.0.max(MILLI);
        let generation = self.legs[leg].generation;
        let Some(connection) = &mut self.legs[leg].connection else { return };
        let end = &mut connection.ends[side];
        end.timer += 1;
        let (timer, tries) = (end.timer, end.tries.min(6));
        self.at(self.now + (wait << tries), Event::Resend { leg, generation, side, timer });
    }

    fn end(&mut self, leg: usize, generation: u32, side: usize) -> Option<&mut End> {
        let leg = &mut self.legs[leg];
        if leg.generation != generation {
            return None;
        }
        leg.connection.as_mut().map(|connection| &mut connection.ends[side])
    }

    pub(crate) fn resend(&mut self, leg: usize, generation: u32, side: usize, timer: u64) {
        let now = self.now;
        let Some(end) = self.end(leg, generation, side).filter(|end| end.timer == timer) else { return };
        let todo = end.repeat(now);
        self.transmit(leg, side, todo);
    }

    pub(crate) fn ack_now(&mut self, leg: usize, generation: u32, side: usize, timer: u64) {
        let now = self.now;
        let due = |end: &&mut End| end.ack_pending && end.ack_timer == timer;
        let Some(end) = self.end(leg, generation, side).filter(due) else { return };
        let segment = end.acknowledge(now);
        self.transmit(leg, side, Todo { send: vec![segment], ..Todo::default() });
    }

    pub(crate) fn segment_arrives(&mut self, leg: usize, generation: u32, side: usize, segment: &Segment) {
        let now = self.now;
        let Some(end) = self.end(leg, generation, side) else { return };
        let todo = end.arrive(now, segment);
        if todo.ack_later && !end.ack_pending {
            end.ack_pending = true;
            end.ack_timer += 1;
            let timer = end.ack_timer;
            let wait = self.scenario.network.ack.draw(&mut self.network_random, now - self.scenario.start.0);
            self.at(now + wait, Event::AckNow { leg, generation, side, timer });
        }
        let (connected, finished, deliver) = (todo.connected, todo.finished, todo.deliver.clone());
        let got_fin = segment.flags & flag::FIN != 0;
        self.transmit(leg, side, todo);
        if connected {
            self.legs[leg].sessions[1].connected(now);
            self.legs[leg].sessions[0].connected(now);
            self.pump(leg, 0);
        }
        if !deliver.is_empty() {
            self.legs[leg].framers[side].push(&deliver);
            while let Some(message) = self.legs[leg].framers[side].pop() {
                self.message_arrives(leg, side, message);
            }
        }
        if got_fin {
            self.finish(leg, side);
        }
        if finished && side == 0 {
            self.legs[leg].connection = None;
        }
    }

    fn finish(&mut self, leg: usize, side: usize) {
        let now = self.now;
        if let Some(connection) = &mut self.legs[leg].connection {
            let todo = connection.ends[side].finish(now);
            self.transmit(leg, side, todo);
        }
    }

    // ── sessions ──

    fn message_arrives(&mut self, leg: usize, side: usize, message: Received) {
        let from = self.legs[leg].metas.get(&(1 - side, message.sequence())).copied();
        let happened = self.legs[leg].sessions[side].receive(self.now, message);
        self.pump(leg, side);
        match happened {
            Some(Happened::Application(message)) => self.application(leg, side, message, from),
            // The client closes the connection; the server answers with its own FIN.
            Some(Happened::Down) if side == 0 => self.finish(leg, 0),
            Some(Happened::Up | Happened::Down) | None => {}
        }
    }

    /// A message for the application at one side of a leg.
    fn application(&mut self, leg: usize, side: usize, message: Received, from: Option<Meta>) {
        let session = self.session_of(leg);
        let has_gateway = self.scenario.gateway.is_some();
        if side == 1 && leg == self.exchange_leg(session) {
            self.request_arrives(session, message);
            return;
        }
        if side == 0 && leg == self.trader_leg(session) {
            let rejected = match from {
                Some(Meta::Answer(request, Answer::Reject)) => Some(self.recorder.requests[request].clordid.clone()),
                _ => None,
            };
            if let Some(id) = &rejected {
                let orig = self.recorder.requests[self.legs[leg].requests[id]].orig_clordid.clone();
                self.trader.settle(&orig);
            }
            self.trader.report(&message, rejected.as_deref());
            return;
        }
        if has_gateway {
            let elapsed = self.now - self.scenario.start.0;
            let gateway = self.scenario.gateway.as_ref().expect("just seen");
            let latency = gateway.latency.draw(&mut self.latency_random, elapsed);
            let (to, out_side) = if side == 1 { (leg + 1, 0) } else { (leg - 1, 1) };
            let (kind, body) = (message.kind().to_owned(), message.body());
            self.at(self.now + latency, Event::GatewayForwards { leg: to, side: out_side, kind, body, from });
        }
    }

    /// The gateway sends on one leg what it got on the other.
    pub(crate) fn gateway_forwards(&mut self, leg: usize, side: usize, kind: &str, body: Fields, from: Option<Meta>) {
        let meta = match from {
            Some(Meta::Request(request)) => {
                let original = &self.recorder.requests[request];
                let copy =
                    Request { session: self.legs[leg].name.clone(), passed_on: Some(request), ..original.pass_on() };
                let id = copy.clordid.clone();
                let passed = self.recorder.new_request(copy);
                self.legs[leg].requests.insert(id, passed);
                Some(Meta::Request(passed))
            }
            Some(Meta::Answer(request, answer)) => {
                self.recorder.requests[request].passed_on.map(|original| Meta::Answer(original, answer))
            }
            None => None,
        };
        let body = match meta {
            Some(Meta::Answer(request, _)) if ["3", "j"].contains(&kind) => self.renumbered(leg, body, request),
            _ => body,
        };
        self.send(leg, side, kind, body, meta);
    }

    /// A reject names the rejected message by its number (45), which is another one on each leg.
    fn renumbered(&self, leg: usize, body: Fields, request: usize) -> Fields {
        let is_it = |(&(side, number), meta): (&(usize, u64), &Meta)| match meta {
            Meta::Request(other) if side == 0 && *other == request => Some(number),
            _ => None,
        };
        let Some(number) = self.legs[leg].metas.iter().find_map(is_it) else { return body };
        let mut out = Fields::new();
        for field in body.0.split_inclusive(|&byte| byte == b'\x01') {
            if field.starts_with(b"45=") {
                out = out.number(45, number);
            } else {
                out.0.extend_from_slice(field);
            }
        }
        out
    }

    /// Sends an application message through a session.
    fn send(&mut self, leg: usize, side: usize, kind: &str, body: Fields, meta: Option<Meta>) {
        let sequence = self.legs[leg].sessions[side].send(self.now, kind, body);
        if let Some(meta) = meta {
            self.legs[leg].metas.insert((side, sequence), meta);
        }
        self.pump(leg, side);
    }

    /// Writes what a session has ready, and sees to it that it is asked again in time.
    fn pump(&mut self, leg: usize, side: usize) {
        for outgoing in std::mem::take(&mut self.legs[leg].sessions[side].out) {
            self.write(leg, side, outgoing);
        }
        let deadline = self.legs[leg].sessions[side].deadline();
        if deadline < u64::MAX && self.legs[leg].ticking[side] <= self.now {
            self.legs[leg].ticking[side] = deadline;
            self.at(deadline, Event::SessionTick { leg, side });
        }
    }

    pub(crate) fn session_tick(&mut self, leg: usize, side: usize) {
        self.legs[leg].ticking[side] = 0;
        let now = self.now;
        let session = &mut self.legs[leg].sessions[side];
        let happened = if now >= session.deadline() { session.tick(now) } else { None };
        self.pump(leg, side);
        if matches!(happened, Some(Happened::Down)) {
            self.finish(leg, side);
        }
    }

    /// Writes a message, or lets it wait for the next one so that both share a segment.
    fn write(&mut self, leg: usize, side: usize, outgoing: Outgoing) {
        let network = &self.scenario.network;
        let wait = network.coalesce_wait.0;
        let was_waiting = !self.legs[leg].waiting[side].is_empty();
        self.legs[leg].waiting[side].push(outgoing);
        if !was_waiting && self.network_random.chance(network.coalesce) {
            let generation = self.legs[leg].generation;
            self.at(self.now + wait, Event::WriteWaiting { leg, generation, side });
            return;
        }
        let generation = self.legs[leg].generation;
        self.write_waiting(leg, generation, side);
    }

    pub(crate) fn write_waiting(&mut self, leg: usize, generation: u32, side: usize) {
        let now = self.now;
        if self.legs[leg].generation != generation || self.legs[leg].waiting[side].is_empty() {
            return;
        }
        let waiting = std::mem::take(&mut self.legs[leg].waiting[side]);
        let bytes: Vec<u8> = waiting.iter().flat_map(|one| one.bytes.iter().copied()).collect();
        let cut = self.network_random.chance(self.scenario.network.cut);
        let cut = cut.then(|| 1 + self.network_random.index(bytes.len().max(2) - 1));
        let Some(connection) = &mut self.legs[leg].connection else { return };
        let stream = connection.stream + side;
        let (range, todo) = connection.ends[side].write(now, &bytes, cut);
        let mut start = range.start;
        for one in &waiting {
            let end = start + one.bytes.len() as u64;
            let meta = self.legs[leg].metas.get(&(side, one.sequence));
            let meaning = match meta {
                Some(Meta::Request(request)) if one.is_new => Meaning::Request(*request),
                // A session-level reject is an administrative message, and yet an answer.
                Some(Meta::Answer(request, answer)) if one.is_new || is_kind(one, b"3") => {
                    Meaning::Answer(*request, *answer)
                }
                // A gap fill has the number of a message that does not come again.
                Some(Meta::Answer(request, answer)) if !is_kind(one, b"4") => Meaning::AnswerAgain(*request, *answer),
                _ => Meaning::Other,
            };
            self.recorder.written(stream, start, end, meaning);
            start = end;
        }
        self.transmit(leg, side, todo);
    }

    // ── trader and exchange ──

    /// The trader's order is ready to go.
    pub(crate) fn trader_sends(&mut self, order: Order, cause: Option<Box<Cause>>, decided: u64) {
        let session = usize::from(order.symbol) % usize::from(self.scenario.orders.sessions);
        let leg = self.trader_leg(session);
        if self.is_closing || !self.legs[leg].sessions[0].is_up() {
            self.trader.forget(&order);
            return;
        }
        let digits = self.scenario.trader.digits;
        let fields = order.fields(self.instruments(), self.now, digits);
        let request = Request {
            session: self.legs[leg].name.clone(),
            clordid: order.clordid.clone(),
            orig_clordid: order.orig_clordid.clone(),
            chain: order.chain.clone(),
            kind: order.request_name(),
            symbol: self.instruments()[usize::from(order.symbol)].symbol.clone(),
            side: if order.side == crate::book::Side::Buy { "B" } else { "S" },
            price: order.price_text(),
            quantity: order.quantity,
            internal_ns: cause.as_ref().map(|_| self.now - decided),
            cause: cause.map(|cause| *cause),
            ..Request::default()
        };
        let request = self.recorder.new_request(request);
        self.legs[leg].requests.insert(order.clordid, request);
        self.send(leg, 0, order.kind, fields, Some(Meta::Request(request)));
    }

    /// A report of the exchange goes out; `arrived` is when its request came.
    pub(crate) fn report_leaves(&mut self, report: Report, arrived: u64, refused: Option<&Received>) {
        if let Some((id, answer)) = &report.answers {
            let leg = self.exchange_leg(report.session);
            let is_first = !matches!(answer, Answer::Fill { .. });
            if let Some(&request) = self.legs[leg].requests.get(id).filter(|_| is_first) {
                self.recorder.requests[request].exchange_ns.get_or_insert(self.now - arrived);
            }
        }
        self.send_report(report, refused);
    }

    pub(crate) fn send_report(&mut self, report: Report, refused: Option<&Received>) {
        let leg = self.exchange_leg(report.session);
        let meta = report
            .answers
            .as_ref()
            .and_then(|(id, answer)| self.legs[leg].requests.get(id).map(|request| Meta::Answer(*request, *answer)));
        if let (Some((tag, reason)), Some(message)) = (report.session_reject, refused) {
            let session = &mut self.legs[leg].sessions[1];
            let sequence = session.reject(self.now, message, tag, reason, "rejected by the scenario");
            if let Some(meta) = meta {
                self.legs[leg].metas.insert((1, sequence), meta);
            }
            self.pump(leg, 1);
            return;
        }
        self.send(leg, 1, report.kind, report.body, meta);
    }

    pub(crate) fn log_out(&mut self) {
        self.is_closing = true;
        for leg in 0..self.legs.len() {
            self.legs[leg].sessions[0].logout(self.now, "");
            self.pump(leg, 0);
        }
    }
}

fn is_kind(outgoing: &Outgoing, kind: &[u8]) -> bool {
    let field = [b"\x0135=", kind, b"\x01"].concat();
    outgoing.bytes.windows(field.len()).any(|window| window == field)
}
