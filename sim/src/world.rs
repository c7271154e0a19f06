//! The run: a virtual clock, a queue of events, and what every event does. Hosts are the exchange (books, feed, mock
//! exchange), the trader, and perhaps a gateway; legs are the TCP conversations between them.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::{self, Write};
use std::path::Path;
use std::rc::Rc;

use crate::book::Change;
use crate::encode::feed::{Feed, Packet};
use crate::encode::fix::{Fields, Received};
use crate::exchange::{Exchange, Outcome, Report};
use crate::leg::{Leg, Meta};
use crate::market::Market;
use crate::random::{Random, to_count, to_float};
use crate::replay::{Recorded, Recording};
use crate::scenario::{During, Kind, Public, Scenario, Tap};
use crate::scenario_check::parse_address;
use crate::tap::Taps;
use crate::tcp::Segment;
use crate::time::{MICRO, MILLI, SECOND};
use crate::trader::{Order, Trader};
use crate::truth::{Cause, Recorder};
use crate::wire::Node;

/// What happens at a point in time.
#[derive(Debug)]
pub(crate) enum Event {
    /// The messages collected so far go out.
    FlushFeed,
    FeedHeartbeat,
    /// A recorded frame goes out.
    Replay {
        recorded: Box<Recorded>,
    },
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
    /// There is a `tickscope.toml`.
    pub has_config: bool,
}

/// Packets that the exchange can send again.
pub(crate) const KEPT_PACKETS: usize = 10_000;

/// From the directory to the first trade there is time for it, and for the sessions to log on.
pub(crate) const PREAMBLE: u64 = 50 * MILLI;

/// How long after the last trade everybody logs out, and how long that may take.
pub(crate) const CLOSING: u64 = 500 * MILLI;

pub(crate) struct World<W: Write> {
    pub(crate) scenario: Scenario,
    pub(crate) now: u64,
    queue: BinaryHeap<Reverse<Queued>>,
    pub(crate) order: u64,
    pub(crate) taps: Taps<W>,
    pub(crate) recorder: Recorder,
    pub(crate) network_random: Random,
    pub(crate) latency_random: Random,
    pub(crate) market: Market,
    pub(crate) feed: Feed,
    pub(crate) changes: Vec<Change>,
    pub(crate) held: Vec<Change>,
    /// Own orders whose next change will be published, and the requests that did it.
    pub(crate) own_changes: Vec<(u64, usize)>,
    pub(crate) hold_until: u64,
    pub(crate) flush_due: bool,
    pub(crate) last_packet: u64,
    pub(crate) feed_ip_id: u16,
    pub(crate) feed_source: Node,
    pub(crate) line_groups: Vec<Node>,
    pub(crate) line_busy: Vec<u64>,
    pub(crate) packets: u64,
    pub(crate) kept: VecDeque<(u64, Rc<Packet>)>,
    pub(crate) exchange: Exchange,
    pub(crate) exchange_busy: Vec<u64>,
    pub(crate) report_busy: Vec<u64>,
    pub(crate) trader: Trader,
    /// One bit a packet.
    pub(crate) seen_packets: Vec<u64>,
    pub(crate) next_expected: u64,
    pub(crate) legs: Vec<Leg>,
    pub(crate) end: u64,
    pub(crate) is_closing: bool,
    pub(crate) messages: u64,
    pub(crate) recording: Option<Recording>,
}

impl<W: Write> World<W> {
    pub(crate) fn new(
        scenario: &Scenario,
        seed: u64,
        open: &mut dyn FnMut(&Tap) -> io::Result<W>,
    ) -> io::Result<World<W>> {
        let start = scenario.start.0;
        let replay = scenario.market.replay.as_ref();
        let recording = replay.map(|replay| Recording::open(Path::new(&replay.file))).transpose()?;
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
            own_changes: Vec::new(),
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
            seen_packets: Vec::new(),
            next_expected: 1,
            legs: Leg::all(scenario, seed),
            end: start + PREAMBLE + scenario.duration.0,
            is_closing: false,
            messages: 0,
            recording,
            market,
            scenario: scenario.clone(),
        })
    }

    /// Runs to the end.
    pub(crate) fn run(mut self) -> io::Result<(Summary, Recorder)> {
        if self.recording.is_some() {
            self.next_recorded()?;
        } else {
            self.open_market()?;
            self.at(self.now + self.scenario.market.heartbeat.0.max(MILLI), Event::FeedHeartbeat);
        }
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
        self.at(self.end + CLOSING, Event::LogOut);
        self.trade()?;
        if self.recording.is_none() {
            self.close()?;
        }
        self.taps.flush(u64::MAX, &mut self.recorder)?;
        let requests = self.recorder.requests.len() as u64;
        let captures = self.taps.finish()?;
        let summary = Summary { messages: self.messages, packets: self.packets, requests, captures, has_config: false };
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
            Event::Replay { recorded } => self.replay(*recorded)?,
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
                self.gateway_forwards(leg, side, &kind, body, from);
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

    // ── the trader ──

    fn timer(&mut self, strategy: usize) {
        if self.now >= self.end {
            return;
        }
        let acts = match self.scenario.strategy[strategy].during {
            During::Always => true,
            During::Burst => self.market.is_burst(self.now),
            During::Quiet => !self.market.is_burst(self.now),
        };
        if acts && let Some(order) = self.trader.timer(strategy) {
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
        self.expect_public(session, message, &outcome.changes);
        if message.kind() == "D" && self.exchange.will_cancel(session, message.text(11)) {
            let wait = MILLI + to_count(to_float(200 * MILLI) * self.latency_random.exponential());
            let clordid = message.text(11).to_owned();
            self.at(self.now + wait, Event::CancelUnasked { session, clordid });
        }
        let refused = outcome.reports.iter().any(|report| report.session_reject.is_some());
        let refused = refused.then_some(message);
        self.settle_outcome(outcome, arrived, refused)
    }

    /// Remembers which change of the book is the public message about a request.
    fn expect_public(&mut self, session: usize, message: &Received, changes: &[Change]) {
        let reference = self.exchange.public_reference(session, message);
        let leg = self.exchange_leg(session);
        let Some(&request) = self.legs[leg].requests.get(message.text(11)).filter(|_| reference > 0) else { return };
        if changes.iter().any(|change| change.is_of(reference)) {
            self.own_changes.push((reference, request));
        }
    }

    /// Reports go to their sessions, changes to the feed, in the order that the scenario wants.
    fn settle_outcome(&mut self, outcome: Outcome, arrived: u64, refused: Option<&Received>) -> io::Result<()> {
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

    pub(crate) fn schedule_reports(&mut self, reports: Vec<Report>, arrived: u64, refused: Option<&Received>) {
        let elapsed = self.now - self.scenario.start.0;
        for (at, report) in reports.into_iter().enumerate() {
            let gap = self.scenario.exchange.report_gap.draw(&mut self.latency_random, elapsed);
            let busy = &mut self.report_busy[report.session];
            let after = if at == 0 { *busy } else { *busy + gap };
            let time = self.now.max(after);
            *busy = time;
            let refused = refused.map(|message| Box::new(message.clone()));
            self.at(time, Event::Report { report: Box::new(report), arrived, refused });
        }
    }

    fn cancel_unasked(&mut self, session: usize, clordid: &str) -> io::Result<()> {
        let outcome = self.exchange.cancel_unasked(self.now, clordid, session, &mut self.market);
        self.settle_outcome(outcome, self.now, None)
    }
}
