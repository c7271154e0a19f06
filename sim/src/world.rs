//! The run: a virtual clock, a queue of events, and what every event does. Hosts are the exchange (books, feed, mock
//! exchange), the trader, and perhaps a gateway; legs are the TCP conversations between them.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet, VecDeque};
use std::io::{self, Write};
use std::rc::Rc;

use crate::book::Change;
use crate::encode::feed::{Feed, Packet};
use crate::encode::fix::{Fields, Received, price_text};
use crate::exchange::{Exchange, Outcome, Report};
use crate::leg::{Leg, Meta};
use crate::market::Market;
use crate::random::{Random, to_count, to_float};
use crate::scenario::{Kind, Public, Scenario, Tap, parse_address};
use crate::tap::{Carries, Link, OnWire, Taps};
use crate::tcp::Segment;
use crate::time::{MICRO, MILLI, SECOND};
use crate::trader::{Order, Trader};
use crate::truth::{Cause, Recorder};
use crate::wire::{Node, UDP_HEADERS, udp_begin, udp_finish, udp_frame};

/// What happens at a point in time.
#[derive(Debug)]
pub(crate) enum Event {
    /// The messages collected so far go out.
    FlushFeed,
    FeedHeartbeat,
    Packet {
        number: u64,
        packet: Rc<Packet>,
    },
    /// A request for lost market data reaches the exchange; and its answer the trader.
    Recover {
        number: u64,
    },
    Timer {
        strategy: usize,
    },
    TraderSends {
        order: Box<Order>,
        cause: Option<Box<Cause>>,
        decided: u64,
    },
    Segment {
        leg: usize,
        generation: u32,
        side: usize,
        segment: Segment,
    },
    Resend {
        leg: usize,
        generation: u32,
        side: usize,
        timer: u64,
    },
    AckNow {
        leg: usize,
        generation: u32,
        side: usize,
        timer: u64,
    },
    WriteWaiting {
        leg: usize,
        generation: u32,
        side: usize,
    },
    SessionTick {
        leg: usize,
        side: usize,
    },
    Connect {
        leg: usize,
    },
    Drop,
    GatewayForwards {
        leg: usize,
        side: usize,
        kind: String,
        body: Fields,
        from: Option<Meta>,
    },
    Match {
        session: usize,
        message: Box<Received>,
        arrived: u64,
    },
    Pending {
        report: Box<Report>,
    },
    Report {
        report: Box<Report>,
        arrived: u64,
        refused: Option<Box<Received>>,
    },
    /// Changes that were held back become public.
    Publish,
    CancelUnasked {
        session: usize,
        clordid: String,
    },
    LogOut,
}

struct Queued {
    time: u64,
    order: u64,
    event: Event,
}

impl PartialEq for Queued {
    fn eq(&self, other: &Queued) -> bool {
        (self.time, self.order) == (other.time, other.order)
    }
}
impl Eq for Queued {}
impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Queued) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Queued {
    fn cmp(&self, other: &Queued) -> std::cmp::Ordering {
        (self.time, self.order).cmp(&(other.time, other.order))
    }
}

/// How much a run produced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub messages: u64,
    pub packets: u64,
    pub requests: u64,
    /// Name, frames and bytes of each capture.
    pub captures: Vec<(String, u64, u64)>,
}

/// Packets that the exchange can send again.
const KEPT_PACKETS: usize = 10_000;

/// From the directory to the first trade there is time for it, and for the sessions to log on.
const PREAMBLE: u64 = 50 * MILLI;

/// How long after the last trade everybody logs out, and how long that may take.
const CLOSING: u64 = 500 * MILLI;

pub(crate) struct World<W: Write> {
    pub(crate) scenario: Scenario,
    pub(crate) now: u64,
    queue: BinaryHeap<Reverse<Queued>>,
    order: u64,
    pub(crate) taps: Taps<W>,
    pub(crate) recorder: Recorder,
    pub(crate) network_random: Random,
    pub(crate) latency_random: Random,
    market: Market,
    feed: Feed,
    changes: Vec<Change>,
    held: Vec<Change>,
    hold_until: u64,
    flush_due: bool,
    last_packet: u64,
    feed_ip_id: u16,
    feed_source: Node,
    line_groups: Vec<Node>,
    line_busy: Vec<u64>,
    packets: u64,
    kept: VecDeque<(u64, Rc<Packet>)>,
    pub(crate) exchange: Exchange,
    exchange_busy: Vec<u64>,
    report_busy: Vec<u64>,
    pub(crate) trader: Trader,
    seen_packets: HashSet<u64>,
    next_expected: u64,
    pub(crate) legs: Vec<Leg>,
    end: u64,
    pub(crate) is_closing: bool,
    messages: u64,
}

impl<W: Write> World<W> {
    pub(crate) fn new(
        scenario: &Scenario,
        seed: u64,
        open: &mut dyn FnMut(&Tap) -> io::Result<W>,
    ) -> io::Result<World<W>> {
        let start = scenario.start.0;
        let market = Market::new(&scenario.market, seed, start + PREAMBLE);
        let exchange = Exchange::new(&scenario.exchange, seed, &market);
        let trader = Trader::new(scenario, seed, &market.instruments);
        let sessions = usize::from(scenario.orders.sessions);
        let (server, _) = parse_address(&scenario.orders.server).expect("checked by the scenario");
        let group = |line: &crate::scenario::Line| {
            let (ip, port) = parse_address(&line.group).expect("checked by the scenario");
            Node::group(ip, port)
        };
        Ok(World {
            now: start,
            queue: BinaryHeap::new(),
            order: 0,
            taps: Taps::new(scenario, seed, open)?,
            recorder: Recorder::new(scenario),
            network_random: Random::new(seed, "network"),
            latency_random: Random::new(seed, "latency"),
            feed: Feed::new(scenario.market.protocol, start, scenario.market.west.0),
            changes: Vec::new(),
            held: Vec::new(),
            hold_until: 0,
            flush_due: false,
            last_packet: start,
            feed_ip_id: 0,
            feed_source: Node::host([server[0], server[1], server[2], 200], 31_337),
            line_groups: scenario.line.iter().map(group).collect(),
            line_busy: vec![0; scenario.line.len()],
            packets: 0,
            kept: VecDeque::new(),
            exchange,
            exchange_busy: vec![0; sessions],
            report_busy: vec![0; sessions],
            trader,
            seen_packets: HashSet::new(),
            next_expected: 1,
            legs: Leg::all(scenario, seed),
            end: start + PREAMBLE + scenario.duration.0,
            is_closing: false,
            messages: 0,
            market,
            scenario: scenario.clone(),
        })
    }

    /// Runs to the end.
    pub(crate) fn run(mut self) -> io::Result<(Summary, Recorder)> {
        self.open_market()?;
        for leg in 0..self.legs.len() {
            self.at(self.scenario.start.0 + MILLI + leg as u64 * 100 * MICRO, Event::Connect { leg });
        }
        for drop in self.scenario.orders.drops.clone() {
            self.at(self.scenario.start.0 + PREAMBLE + drop.0, Event::Drop);
        }
        for strategy in 0..self.scenario.strategy.len() {
            if self.scenario.strategy[strategy].kind == Kind::Timer {
                let wait = self.trader.wait(strategy);
                self.at(self.scenario.start.0 + PREAMBLE + wait, Event::Timer { strategy });
            }
        }
        self.at(self.now + self.scenario.market.heartbeat.0.max(MILLI), Event::FeedHeartbeat);
        self.at(self.end + CLOSING, Event::LogOut);
        self.trade()?;
        self.close()?;
        self.taps.flush(u64::MAX, &mut self.recorder)?;
        let requests = self.recorder.requests.len() as u64;
        let captures = self.taps.finish()?;
        let summary = Summary { messages: self.messages, packets: self.packets, requests, captures };
        Ok((summary, self.recorder))
    }

    fn trade(&mut self) -> io::Result<()> {
        loop {
            let limit = self.scenario.market.messages;
            if limit > 0 && self.messages >= limit && self.end > self.now {
                self.end = self.now;
                self.at(self.now + CLOSING, Event::LogOut);
            }
            let queued = self.queue.peek().map_or(u64::MAX, |Reverse(first)| first.time);
            let crowd = self.market.next_time();
            if crowd <= queued && crowd < self.end {
                self.now = crowd;
                self.crowd_acts()?;
                continue;
            }
            let Some(Reverse(next)) = self.queue.pop() else { return Ok(()) };
            if next.time > self.end + CLOSING + SECOND {
                return Ok(());
            }
            self.now = next.time;
            self.taps.flush(self.now, &mut self.recorder)?;
            self.handle(next.event)?;
        }
    }

    pub(crate) fn at(&mut self, time: u64, event: Event) {
        self.order += 1;
        self.queue.push(Reverse(Queued { time, order: self.order, event }));
    }

    fn handle(&mut self, event: Event) -> io::Result<()> {
        match event {
            Event::FlushFeed => self.send_packet()?,
            Event::FeedHeartbeat => self.feed_heartbeat()?,
            Event::Packet { number, packet } => self.packet_arrives(number, &packet),
            Event::Recover { number } => self.recover(number),
            Event::Timer { strategy } => self.timer(strategy),
            Event::TraderSends { order, cause, decided } => self.trader_sends(*order, cause, decided),
            Event::Segment { leg, generation, side, segment } => self.segment_arrives(leg, generation, side, &segment),
            Event::Resend { leg, generation, side, timer } => self.resend(leg, generation, side, timer),
            Event::AckNow { leg, generation, side, timer } => self.ack_now(leg, generation, side, timer),
            Event::WriteWaiting { leg, generation, side } => self.write_waiting(leg, generation, side),
            Event::SessionTick { leg, side } => self.session_tick(leg, side),
            Event::Connect { leg } => self.connect(leg),
            Event::Drop => self.drop_connections(),
            Event::GatewayForwards { leg, side, kind, body, from } => {
                self.gateway_forwards(leg, side, &kind, body, from)
            }
            Event::Match { session, message, arrived } => self.match_request(session, &message, arrived)?,
            Event::Pending { report } => self.send_report(*report, None),
            Event::Report { report, arrived, refused } => self.report_leaves(*report, arrived, refused.as_deref()),
            Event::Publish => self.publish()?,
            Event::CancelUnasked { session, clordid } => self.cancel_unasked(session, &clordid)?,
            Event::LogOut => self.log_out(),
        }
        Ok(())
    }

    // ── market data ──

    fn open_market(&mut self) -> io::Result<()> {
        self.feed.system_event(self.now, b'O');
        for symbol in 0..self.scenario.market.symbols {
            let instrument = &self.market.instruments[usize::from(symbol)];
            self.feed.introduce(self.now, symbol, instrument);
            if self.feed.is_full() {
                self.send_packet()?;
                self.now += 2 * MICRO;
            }
        }
        self.feed.system_event(self.now, b'S');
        self.feed.system_event(self.now, b'Q');
        for symbol in 0..self.scenario.market.symbols {
            let mut changes = Vec::new();
            self.market.open(symbol, &mut changes);
            for change in changes {
                self.feed.change(self.now, &change, &self.market.instruments[usize::from(symbol)]);
                if self.feed.is_full() {
                    self.send_packet()?;
                    self.now += 2 * MICRO;
                }
            }
        }
        if !self.feed.is_empty() {
            self.send_packet()?;
        }
        self.now = self.scenario.start.0;
        Ok(())
    }

    fn close(&mut self) -> io::Result<()> {
        self.now = self.end + CLOSING + SECOND;
        self.feed.system_event(self.now, b'M');
        self.feed.system_event(self.now, b'E');
        self.feed.system_event(self.now, b'C');
        self.send_packet()?;
        self.now += MILLI;
        let packet = self.feed.end_of_session(self.now);
        self.distribute(packet, self.now)
    }

    fn crowd_acts(&mut self) -> io::Result<()> {
        let mut changes = std::mem::take(&mut self.changes);
        changes.clear();
        self.market.step(&mut changes);
        if self.now < self.hold_until {
            self.held.append(&mut changes);
        } else {
            self.publish_changes(&changes)?;
        }
        self.changes = changes;
        if !self.market.struck.is_empty() {
            let outcome = self.exchange.struck(self.now, &mut self.market);
            self.schedule_reports(outcome.reports, self.now, None);
        }
        Ok(())
    }

    fn publish_changes(&mut self, changes: &[Change]) -> io::Result<()> {
        for change in changes {
            if self.feed.is_full() {
                self.send_packet()?;
            }
            let instrument = &self.market.instruments[usize::from(change.symbol)];
            self.feed.change(self.now, change, instrument);
        }
        if self.feed.is_empty() {
            return Ok(());
        }
        if self.scenario.market.collect.0 == 0 {
            return self.send_packet();
        }
        if !self.flush_due {
            self.flush_due = true;
            self.at(self.now + self.scenario.market.collect.0, Event::FlushFeed);
        }
        Ok(())
    }

    fn publish(&mut self) -> io::Result<()> {
        let held = std::mem::take(&mut self.held);
        self.publish_changes(&held)
    }

    fn send_packet(&mut self) -> io::Result<()> {
        self.flush_due = false;
        if self.feed.is_empty() {
            return Ok(());
        }
        let packet = self.feed.packet(self.now);
        self.messages += u64::from(packet.count);
        self.distribute(packet, self.now)
    }

    /// Sends a packet on every line.
    fn distribute(&mut self, packet: Packet, now: u64) -> io::Result<()> {
        let number = self.packets;
        self.packets += 1;
        self.last_packet = now;
        self.feed_ip_id = self.feed_ip_id.wrapping_add(1);
        let trades = !self.scenario.strategy.is_empty() && packet.count > 0 && packet.count < u16::MAX;
        let mut arrivals = Vec::with_capacity(self.scenario.line.len());
        for at in 0..self.scenario.line.len() {
            let line = &self.scenario.line[at];
            if self.network_random.chance(line.loss) {
                continue;
            }
            let jitter = if line.jitter.0 > 0 { self.network_random.below(line.jitter.0) } else { 0 };
            let mut frame = Vec::with_capacity(UDP_HEADERS + packet.payload.len());
            udp_begin(&mut frame, &self.feed_source, &self.line_groups[at], self.feed_ip_id);
            frame.extend_from_slice(&packet.payload);
            udp_finish(&mut frame);
            // One packet after the other: 10 Gb/s are 0.8 ns a byte.
            let sent = (now + jitter).max(self.line_busy[at]);
            self.line_busy[at] = sent + frame.len() as u64 * 4 / 5;
            let carries = Carries::Packet { number, line: at };
            let payload = packet.payload.len();
            let on_wire = OnWire { frame: Rc::new(frame), payload_at: UDP_HEADERS, payload, carries };
            self.taps.pass(Link::Line(at), sent, line.delay.0, &on_wire);
            arrivals.push(sent + line.delay.0);
        }
        if trades {
            let packet = Rc::new(packet);
            for time in arrivals {
                self.at(time, Event::Packet { number, packet: Rc::clone(&packet) });
            }
            if self.scenario.market.recover.is_some() {
                if self.kept.len() == KEPT_PACKETS {
                    self.kept.pop_front();
                }
                self.kept.push_back((number, packet));
            }
        }
        self.taps.flush(now, &mut self.recorder)
    }

    fn feed_heartbeat(&mut self) -> io::Result<()> {
        let every = self.scenario.market.heartbeat.0.max(MILLI);
        if self.now >= self.last_packet + every {
            let packet = self.feed.heartbeat(self.now);
            self.distribute(packet, self.now)?;
        }
        if !self.is_closing {
            self.at((self.last_packet + every).max(self.now + MILLI), Event::FeedHeartbeat);
        }
        Ok(())
    }

    fn packet_arrives(&mut self, number: u64, packet: &Packet) {
        if !self.seen_packets.insert(number) {
            return;
        }
        self.ask_for_missing(packet);
        for tick in &packet.ticks {
            for order in self.trader.tick(self.now, tick) {
                self.recorder.pin(number);
                let instrument = &self.market.instruments[usize::from(tick.symbol)];
                let price = price_text(tick.price);
                let side = if tick.side == crate::book::Side::Buy { "B" } else { "S" };
                let cause = Cause {
                    packet: number,
                    end: tick.end,
                    sequence: tick.sequence,
                    name: tick.name,
                    symbol: instrument.symbol.clone(),
                    text: format!("{} {} {side} {} @ {price}", tick.name, instrument.symbol, tick.quantity),
                };
                let elapsed = self.now - self.scenario.start.0;
                let latency = self.scenario.trader.latency.draw(&mut self.latency_random, elapsed);
                let (cause, decided) = (Some(Box::new(cause)), self.now);
                self.at(self.now + latency, Event::TraderSends { order: Box::new(order), cause, decided });
            }
        }
    }

    /// Where messages are missing on every line so far, MoldUDP64's request server is asked for them.
    fn ask_for_missing(&mut self, packet: &Packet) {
        let expected = self.next_expected;
        self.next_expected = expected.max(packet.first + u64::from(packet.count));
        let Some(latency) = &self.scenario.market.recover else { return };
        if packet.first <= expected {
            return;
        }
        let latency = latency.draw(&mut self.latency_random, self.now - self.scenario.start.0);
        let missing: Vec<u64> = (self.kept.iter())
            .filter(|(number, kept)| {
                kept.first >= expected && kept.first < packet.first && !self.seen_packets.contains(number)
            })
            .map(|(number, _)| *number)
            .collect();
        let count = u16::try_from(packet.first - expected).unwrap_or(u16::MAX - 1);
        let request = self.feed.request(expected, count);
        self.send_recovery(false, &request, Carries::Nothing);
        for number in missing {
            self.at(self.now + latency, Event::Recover { number });
        }
    }

    /// The request server sends a packet again.
    fn recover(&mut self, number: u64) {
        let Some((_, packet)) = self.kept.iter().find(|(kept, _)| *kept == number).cloned() else { return };
        self.send_recovery(true, &packet.payload, Carries::Packet { number, line: 0 });
        self.at(self.now + self.scenario.line[0].delay.0, Event::Packet { number, packet });
    }

    fn send_recovery(&mut self, to_trader: bool, payload: &[u8], carries: Carries) {
        let (client, _) = parse_address(&self.scenario.orders.client).expect("checked by the scenario");
        let (host, server) = (Node::host(client, 40_001), Node { port: 26_400, ..self.feed_source });
        let (from, to) = if to_trader { (server, host) } else { (host, server) };
        self.feed_ip_id = self.feed_ip_id.wrapping_add(1);
        let frame = udp_frame(&from, &to, self.feed_ip_id, payload);
        let on_wire = OnWire { frame: Rc::new(frame), payload_at: UDP_HEADERS, payload: payload.len(), carries };
        self.taps.pass(Link::Recovery, self.now, self.scenario.line[0].delay.0, &on_wire);
    }

    // ── the trader ──

    fn timer(&mut self, strategy: usize) {
        if self.now >= self.end {
            return;
        }
        if let Some(order) = self.trader.timer(strategy) {
            self.trader_sends(order, None, self.now);
        }
        let wait = self.trader.wait(strategy);
        self.at(self.now + wait, Event::Timer { strategy });
    }

    pub(crate) fn instruments(&self) -> &[crate::market::Instrument] {
        &self.market.instruments
    }

    // ── the exchange ──

    /// A request reached the exchange's session.
    pub(crate) fn request_arrives(&mut self, session: usize, message: Received) {
        let elapsed = self.now - self.scenario.start.0;
        let latency = self.scenario.exchange.latency.draw(&mut self.latency_random, elapsed);
        let version = self.scenario.orders.version;
        let busy = &mut self.exchange_busy[session];
        // Requests of one session are worked on in turn.
        let time = (self.now + latency).max(*busy + 1_000);
        *busy = time;
        if let Some(report) = self.exchange.pending(self.now, session, version, &message) {
            self.at(self.now + (time - self.now) / 2, Event::Pending { report: Box::new(report) });
        }
        let (message, arrived) = (Box::new(message), self.now);
        self.at(time, Event::Match { session, message, arrived });
    }

    fn match_request(&mut self, session: usize, message: &Received, arrived: u64) -> io::Result<()> {
        let version = self.scenario.orders.version;
        let outcome = self.exchange.request(self.now, session, version, message, &mut self.market);
        if message.kind() == "D" && self.exchange.will_cancel(session, message.text(11)) {
            let wait = MILLI + to_count(to_float(200 * MILLI) * self.latency_random.exponential());
            let clordid = message.text(11).to_owned();
            self.at(self.now + wait, Event::CancelUnasked { session, clordid });
        }
        let refused = outcome.reports.iter().any(|report| report.session_reject.is_some());
        let refused = refused.then(|| Box::new(message.clone()));
        self.settle_outcome(outcome, arrived, refused)
    }

    /// Reports go to their sessions, changes to the feed, in the order that the scenario wants.
    fn settle_outcome(&mut self, outcome: Outcome, arrived: u64, refused: Option<Box<Received>>) -> io::Result<()> {
        let gap = self.scenario.exchange.public_gap.0;
        if outcome.changes.is_empty() {
            self.schedule_reports(outcome.reports, arrived, refused);
            return Ok(());
        }
        if self.scenario.exchange.public == Public::Before {
            let held = std::mem::take(&mut self.held);
            self.publish_changes(&held)?;
            self.publish_changes(&outcome.changes)?;
            for busy in &mut self.report_busy {
                *busy = (*busy).max(self.now + gap);
            }
            self.schedule_reports(outcome.reports, arrived, refused);
        } else {
            self.schedule_reports(outcome.reports, arrived, refused);
            self.held.extend(outcome.changes);
            self.hold_until = self.hold_until.max(self.now + gap);
            self.at(self.hold_until, Event::Publish);
        }
        Ok(())
    }

    fn schedule_reports(&mut self, reports: Vec<Report>, arrived: u64, refused: Option<Box<Received>>) {
        let elapsed = self.now - self.scenario.start.0;
        for (at, report) in reports.into_iter().enumerate() {
            let gap = self.scenario.exchange.report_gap.draw(&mut self.latency_random, elapsed);
            let busy = &mut self.report_busy[report.session];
            let after = if at == 0 { *busy } else { *busy + gap };
            let time = self.now.max(after);
            *busy = time;
            let refused = refused.clone();
            self.at(time, Event::Report { report: Box::new(report), arrived, refused });
        }
    }

    fn cancel_unasked(&mut self, session: usize, clordid: &str) -> io::Result<()> {
        let outcome = self.exchange.cancel_unasked(self.now, clordid, session, &mut self.market);
        self.settle_outcome(outcome, self.now, None)
    }
}
