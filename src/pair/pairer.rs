//! Requests come in, answers find them, and rows go out: the correlator's memory of everything that is open.

use std::collections::VecDeque;
use std::sync::Arc;

use tickscope_model::{Loss, Losses, Nanos, OrderEvent, OrderKind, SegmentKind, Timestamp};

use super::attribution::spent::Spent;
use super::attribution::suggest::Suggest;
use super::attribution::{Aggregate, Judge};
use super::clocks::TapClocks;
use super::early::EarlyAnswers;
use super::ids;
use super::links::Links;
use super::measured::Measured;
use super::moved::Moves;
use super::parts::{Parts, Private, Segmented};
use super::public::Public;
use super::requests::{MessageType, Open, Original, RequestId, Requests, Session, Trail};
use super::row::{Detail, Flag, Flags, Moment, OrderRow};
use super::timely::Timely;
use super::trigger::{Held, Reports, TriggerRule};
use super::walls::{Relation, Walls};
use crate::book::{Exposure, Tape};
use crate::flow::{Acked, Direction, Seen};
use crate::hash::HashMap;
use crate::merge::{Feeds, Recent, Symbols, Ticks};

/// At the end so many requests are closed before their rows are taken away.
const FINISHED_AT_ONCE: usize = 256;
/// So many conversations' last sessions are remembered, to save a look-up by name.
pub(super) const MOST_CONVERSATIONS: usize = 1 << 12;

/// So many sessions are told apart; all that come later share one, for each point.
const MOST_SESSIONS: usize = 1 << 16;
const OTHERS: &[u8] = b"(all others)";

/// What pairing goes by.
pub struct Rules {
    pub trigger: TriggerRule,
    /// Only requests of this time range become rows.
    pub from: Timestamp,
    pub to: Timestamp,
    /// Only these symbols and sessions, where any are named.
    pub symbols: Vec<String>,
    pub sessions: Vec<String>,
    /// The clock of each point by name; points whose names are equal agree.
    pub clocks: Vec<String>,
    /// What figures between two taps span.
    pub tap_clocks: TapClocks,
    /// A row is put out when its request is this old at the latest, and what comes later goes to the segments alone. `None`:
    /// rows wait for their answers until nothing more comes.
    pub answer_timeout: Option<Nanos>,
}

impl Default for Rules {
    /// As without a configuration: everything counts, and all taps share a clock.
    fn default() -> Rules {
        Rules {
            trigger: TriggerRule::default(),
            from: Timestamp::MIN,
            to: Timestamp::MAX,
            symbols: Vec::new(),
            sessions: Vec::new(),
            clocks: Vec::new(),
            tap_clocks: TapClocks::default(),
            answer_timeout: None,
        }
    }
}

/// What pairing looks things up in.
pub struct View<'a> {
    pub ticks: &'a Ticks,
    pub tape: &'a Tape,
    pub recent: &'a Recent,
    pub links: &'a Links,
    pub feeds: &'a Feeds,
    pub symbols: &'a Symbols,
    /// For each point the points that its orders take market data from, nearest first.
    pub points: &'a [Vec<u16>],
}

impl View<'_> {
    /// The points that orders of this point take market data from, nearest first; mostly only this one.
    pub(super) fn points_of<'a>(&'a self, point: &'a u16) -> &'a [u16] {
        self.points.get(usize::from(*point)).map_or(std::slice::from_ref(point), Vec::as_slice)
    }

    /// The nearest of them that has market data: one without passes the question on.
    pub(super) fn nearest_market(&self, point: u16) -> Option<u16> {
        self.points_of(&point).iter().copied().find(|point| self.ticks.has_point(*point))
    }
}

/// What comes out: a request that is closed.
pub struct Paired {
    pub row: Box<OrderRow>,
    /// A second sighting at another tap: no row of the report, only its `hop`.
    pub is_echo: bool,
}

/// The correlator of requests and answers.
pub struct Pairer {
    pub(super) rules: Rules,
    pub(super) requests: Requests,
    pub(super) sessions: Vec<Session>,
    by_name: HashMap<(u16, Box<[u8]>), usize>,
    /// The session of the last message of a conversation.
    pub(super) last_session: HashMap<u32, usize>,
    pub(super) walls: Walls,
    pub(super) early: EarlyAnswers,
    /// Requests whose last byte the other side has not acknowledged yet, by conversation and direction.
    pub(super) unacknowledged: HashMap<(u32, bool), VecDeque<(u64, RequestId)>>,
    /// So many of them were worth keeping when that was last looked at.
    pub(super) unacknowledged_kept: usize,
    /// Requests whose trigger has not been looked up, and how many market-data messages had come when they came.
    pub(super) waiting: VecDeque<(Timestamp, u32, RequestId)>,
    /// Requests that are done, by the time when that was noticed.
    pub(super) closing: VecDeque<(Timestamp, RequestId)>,
    pub(super) timely: Timely,
    pub(super) moves: Moves,
    pub(super) losses: Losses,
    pub answers_matched: u64,
    pub answers: u64,
    pub requests_seen: u64,
    /// Those that carry an id by a rule.
    pub named: u64,
    /// Second sightings of requests, which give a hop and no row.
    pub hops: u64,
    pub(super) segmented: Segmented,
    pub(super) public: Public,
    /// Room for what [`Pairer::acknowledged`] finds, and for the name of a session.
    pub(super) acknowledged: Vec<RequestId>,
    pub(super) judge: Judge,
    pub(super) spent: Spent,
    pub(super) suggest: Suggest,
    /// What requests could have reacted to, where no books are kept: a sample.
    pub(super) sampled: Exposure,
    pub(super) reports: Reports,
    /// Requests that are done and wait for the two-pass model, oldest first.
    pub(super) held: VecDeque<Held>,
    /// Requests that wait for it, done or not, and their candidates.
    pub(super) undecided: (usize, usize),
    scratch: Vec<u8>,
    pub(super) out: Vec<Paired>,
}

impl Pairer {
    pub fn new(rules: Rules) -> Pairer {
        let window_ns = u64::try_from(rules.trigger.window.0).unwrap_or(0);
        let judge = Judge::new(rules.trigger.learning, window_ns);
        let timeout = rules.answer_timeout;
        Pairer {
            rules,
            requests: Requests::default(),
            sessions: Vec::new(),
            by_name: HashMap::default(),
            last_session: HashMap::default(),
            walls: Walls::default(),
            early: EarlyAnswers::default(),
            unacknowledged: HashMap::default(),
            unacknowledged_kept: 0,
            waiting: VecDeque::new(),
            closing: VecDeque::new(),
            timely: Timely::new(timeout),
            moves: Moves::default(),
            losses: Losses::default(),
            answers_matched: 0,
            answers: 0,
            requests_seen: 0,
            named: 0,
            hops: 0,
            segmented: Segmented::default(),
            public: Public::default(),
            acknowledged: Vec::new(),
            judge,
            spent: Spent::default(),
            suggest: Suggest::default(),
            sampled: Exposure::default(),
            reports: Reports::default(),
            held: VecDeque::new(),
            undecided: (0, 0),
            scratch: Vec::new(),
            out: Vec::new(),
        }
    }

    /// Latency and number of triggered requests without claiming any pair.
    pub fn aggregate(&self) -> Option<Aggregate> {
        self.judge.aggregate()
    }

    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// More is known of the clocks: for points, and for taps. It counts for what is settled from now on.
    pub fn set_clocks(&mut self, clocks: Vec<String>, tap_clocks: TapClocks) {
        (self.rules.clocks, self.rules.tap_clocks) = (clocks, tap_clocks);
    }

    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    /// Name, ends and counts of each session.
    pub fn sessions(&self) -> impl Iterator<Item = SessionFacts<'_>> {
        self.sessions.iter().map(|session| SessionFacts {
            name: &session.name,
            point: session.point,
            client: &session.client,
            server: &session.server,
            protocol: session.protocol,
            requests: session.requests,
            answers: session.answers,
            logons: session.logons,
            copies: session.copies,
            heartbeats: session.heartbeats,
            retransmissions: session.retransmissions,
            gaps: session.gaps,
            last_type: session.last_type,
            first: session.first,
            last: session.last,
        })
    }

    /// An order-entry message. `messages` is the count of market-data messages so far.
    pub fn order(
        &mut self,
        direction: &Direction<'_>,
        seen: &Seen,
        event: &OrderEvent<'_>,
        symbols: &Symbols,
        messages: u32,
    ) {
        let from_client = direction.from_client != Some(false);
        let quote = matches!(event.kind, OrderKind::Quote | OrderKind::MassQuote);
        let is_request = event.kind.is_request() && (from_client || !quote);
        let session = self.session(direction, seen, event, is_request);
        // The two sides count their messages apart; a client's gap fill has the number of another message.
        let is_answer = !is_request && direction.from_client != Some(true);
        if is_request && !event.is_copy {
            self.request(session, direction, seen, event, symbols, messages);
            return;
        }
        let is_first = is_answer && self.sessions[session].numbers.is_first_sighting(event.sequence);
        self.sessions[session].copies += u64::from(event.is_copy);
        // An answer whose first sending was never captured counts from its copy; a request is never new.
        if !event.is_copy || is_first || is_answer && self.is_answered_by_copy(session, event) {
            self.answer(session, seen, event);
        }
    }

    /// The session that a message belongs to: `client->server`, whichever way this message goes.
    fn session(&mut self, direction: &Direction<'_>, seen: &Seen, event: &OrderEvent<'_>, is_request: bool) -> usize {
        let to_venue = is_request
            || match direction.from_client {
                Some(from_client) => from_client,
                None => event.kind == OrderKind::Logon || is_request,
            };
        let (from, to) = if to_venue { (event.sender, event.target) } else { (event.target, event.sender) };
        self.scratch.clear();
        self.scratch.extend_from_slice(from);
        self.scratch.extend_from_slice(b"->");
        self.scratch.extend_from_slice(to);
        let point = direction.key.point;
        // Nearly always it is that of the message before in the same conversation.
        let is_it = |at: &usize| {
            self.sessions
                .get(*at)
                .is_some_and(|session| session.point == point && session.name.as_bytes() == self.scratch.as_slice())
        };
        let last = self.last_session.get(&direction.conversation).copied().filter(is_it);
        let mut known = last.or_else(|| self.by_name.get(&(point, self.scratch.as_slice().into())).copied());
        if known.is_none() && self.sessions.len() >= MOST_SESSIONS {
            self.scratch.clear();
            self.scratch.extend_from_slice(OTHERS);
            known = self.by_name.get(&(point, self.scratch.as_slice().into())).copied();
        }
        let at = known.unwrap_or_else(|| {
            let name: Arc<str> = String::from_utf8_lossy(&self.scratch).into();
            let mut session = Session::new(name, point, seen.time, direction.protocol.name);
            let (client, server) = if to_venue {
                (direction.key.source, direction.key.target)
            } else {
                (direction.key.target, direction.key.source)
            };
            (session.client, session.server) = (client.to_string(), server.to_string());
            self.sessions.push(session);
            self.by_name.insert((point, self.scratch.as_slice().into()), self.sessions.len() - 1);
            self.sessions.len() - 1
        });
        if last.is_none() {
            if self.last_session.len() >= MOST_CONVERSATIONS {
                self.last_session.clear();
            }
            self.last_session.insert(direction.conversation, at);
        }
        let session = &mut self.sessions[at];
        if session.last <= seen.time {
            (session.last, session.last_type) = (seen.time, MessageType::new(event.message));
        }
        // FIX: MsgType 0. Others have theirs in the framing, below what is told here.
        session.heartbeats += u64::from(event.message == b"0");
        at
    }

    fn request(
        &mut self,
        session: usize,
        direction: &Direction<'_>,
        seen: &Seen,
        event: &OrderEvent<'_>,
        symbols: &Symbols,
        messages: u32,
    ) {
        self.requests_seen += 1;
        let mut open = self.opened(session, direction, seen, event, symbols);
        self.named += u64::from(open.id.is_some());
        if self.sessions[session].by_clordid.contains_key(event.clordid) {
            open.row.flags.set(Flag::Reused);
        }
        let chain = self.find(session, event.orig_clordid).map(|first| first.row.chain.clone());
        if let Some(chain) = chain {
            open.row.chain = chain;
        }
        let (time, end, clordid) = (open.row.t_out, open.end, event.clordid);
        let id = self.requests.add(open);
        let state = &mut self.sessions[session];
        state.requests += 1;
        if !clordid.is_empty() {
            state.by_clordid.insert(clordid.into(), id);
        }
        state.remember(event.sequence, id);
        self.relate(id);
        self.place_in_segment(id);
        self.watch(id);
        self.waiting.push_back((time, messages, id));
        self.timely.sent(time, id);
        match seen.acked {
            Acked::By(ack) => self.acknowledge(id, ack),
            Acked::NotYet => {
                let key = (direction.conversation, direction.key.source < direction.key.target);
                self.await_acknowledgement(key, end, id);
            }
            Acked::Unseen => {}
        }
        self.late_request(session, id, (clordid, event.sequence), time);
        if let Some(oldest) = self.requests.overflow() {
            self.losses.add(Loss::OrderEvicted);
            if let Some(open) = self.requests.get_mut(oldest) {
                open.row.flags.set(Flag::Evicted);
            }
            self.close(oldest);
        }
    }

    fn opened(
        &self,
        session: usize,
        direction: &Direction<'_>,
        seen: &Seen,
        event: &OrderEvent<'_>,
        symbols: &Symbols,
    ) -> Open {
        let placeholder = event.symbol.is_empty() || event.symbol == b"[N/A]";
        let orig = self.find(session, event.orig_clordid);
        let original = orig.map(|orig| Original {
            side: orig.row.side.or(orig.original.side),
            price: orig.row.price.or(orig.original.price),
        });
        let original = original.unwrap_or_default();
        let known = (!placeholder).then(|| symbols.known(event.symbol)).flatten();
        let by_id = || if event.security_id.is_empty() { None } else { symbols.known(event.security_id) };
        let symbol = known.or_else(by_id).or_else(|| orig.and_then(|orig| orig.symbol));
        // Mostly the market data's own name, which is there already.
        let shared = known.map(|number| symbols.name(number)).filter(|name| name.as_bytes() == event.symbol);
        let name: Arc<str> = if let Some(name) = shared {
            name
        } else if !placeholder {
            String::from_utf8_lossy(event.symbol).into()
        } else if let Some(number) = symbol {
            symbols.name(number)
        } else if let Some(orig) = orig.filter(|_| event.security_id.is_empty()) {
            orig.row.symbol.clone()
        } else {
            String::from_utf8_lossy(event.security_id).into()
        };
        let mut flags = Flags::default();
        for (is_set, flag) in
            [(seen.early, Flag::OutOfOrder), (seen.cut, Flag::Truncated), (event.is_damaged, Flag::BadChecksum)]
        {
            if is_set {
                flags.set(flag);
            }
        }
        // Mostly an acknowledgement by TCP, an answer and another message follow.
        let mut timeline = Vec::with_capacity(4);
        timeline.push(Moment {
            time: seen.time,
            tap: seen.tap,
            frame: seen.frame,
            what: "request",
            detail: Detail::of_request(event),
        });
        let clordid: Arc<str> = String::from_utf8_lossy(event.clordid).into();
        let orig_clordid: Box<str> = String::from_utf8_lossy(event.orig_clordid).into();
        let chain = if orig_clordid.is_empty() { Arc::clone(&clordid) } else { Arc::from(&*orig_clordid) };
        let row = Box::new(OrderRow {
            tap: seen.tap,
            frame: seen.frame,
            session: self.sessions[session].name.clone(),
            clordid,
            orig_clordid,
            chain,
            request: event.kind,
            symbol: name,
            side: event.side,
            price: event.price,
            quantity: event.quantity,
            t_out: seen.time,
            trigger: None,
            latency: Measured::default(),
            flags,
            t2t_min: None,
            t2t_max: None,
            weighed: None,
            bbo: None,
            case: None,
            error: None,
            across: None,
            outcome: "unanswered",
            parts: Parts { is_immediate: event.is_immediate, ..Parts::default() },
            timeline,
        });
        Open {
            row,
            session,
            point: direction.key.point,
            symbol,
            original,
            id: ids::in_request(&self.rules.trigger.ids, event.raw),
            case: None,
            sequence: event.sequence,
            done: None,
            trail: Trail::default(),
            looked_up: false,
            conversation: direction.conversation,
            from_source: direction.key.source < direction.key.target,
            end: seen.end,
            length: seen.length,
            private: Private::default(),
            order_id: None,
            written: None,
        }
    }

    /// Hop and wall-to-wall.
    fn relate(&mut self, id: RequestId) {
        let Some(open) = self.requests.get(id) else { return };
        let relation = self.walls.relate(id, open, &self.requests);
        let (time, tap) = (open.row.t_out, open.row.tap);
        match relation {
            Relation::Alone => {}
            Relation::Hop(other, other_tap, other_time) => {
                let (echo, latency) =
                    if tap < other_tap { (other, other_time.since(time)) } else { (id, time.since(other_time)) };
                if let Some(open) = self.requests.get_mut(echo) {
                    open.trail.echo = true;
                    open.trail.other_tap = Some(if echo == id { other_tap } else { tap });
                    open.row.latency.set(SegmentKind::Hop, latency);
                }
            }
            Relation::Wall(other, other_tap, other_time) => {
                // A request that waited behind a hole of its stream is read after the one it was passed on as.
                let (later, latency) =
                    if time < other_time { (other, other_time.since(time)) } else { (id, time.since(other_time)) };
                if let Some(open) = self.requests.get_mut(later) {
                    open.trail.other_tap = Some(if later == id { other_tap } else { tap });
                    open.row.latency.set(SegmentKind::WallToWall, latency);
                }
            }
            Relation::Ambiguous => {
                self.losses.add(Loss::AmbiguousWall);
                if let Some(open) = self.requests.get_mut(id) {
                    open.row.flags.set(Flag::WallAmbiguous);
                }
            }
        }
    }

    pub(super) fn find(&self, session: usize, clordid: &[u8]) -> Option<&Open> {
        let id = self.sessions.get(session)?.by_clordid.get(clordid)?;
        self.requests.get(*id)
    }

    /// Time has come to `now`: looks up triggers and closes what is done.
    pub fn advance(&mut self, now: Timestamp, view: &View<'_>) {
        while self.must_look_up(now, view.ticks)
            && let Some((_, count, id)) = self.waiting.pop_front()
        {
            self.look_up(id, count, view);
        }
        self.look_at_market(now, view);
        // A request that waits for packets to be read once more is closed only behind that.
        if self.has_wants() {
            return;
        }
        while self.must_close(now)
            && let Some((_, id)) = self.closing.pop_front()
        {
            self.close(id);
        }
        while let Some(id) = self.timely.due(now) {
            self.write_early(id);
        }
        self.fit(false, view);
        self.release(usize::MAX, view);
    }

    /// Whether there is anything to do for [`Pairer::advance`], for callers that come by for each frame.
    #[inline]
    pub fn must_advance(&self, now: Timestamp, ticks: &Ticks) -> bool {
        self.must_look_up(now, ticks)
            || self.must_close(now)
            || self.must_look_at_market(now)
            || self.timely.has_due(now)
            || self.must_judge()
    }

    /// The end of the capture: everything is looked up and closed, some at a time, so that what is ready can be taken away
    /// in between. False when that was all.
    pub fn finish_some(&mut self, view: &View<'_>) -> bool {
        while let Some((_, count, id)) = self.waiting.pop_front() {
            self.look_up(id, count, view);
        }
        self.look_at_market(Timestamp::MAX, view);
        self.compare_with_market();
        self.fit(true, view);
        for id in self.requests.oldest(FINISHED_AT_ONCE) {
            self.close(id);
        }
        self.release(FINISHED_AT_ONCE, view);
        if !self.requests.is_empty() || !self.held.is_empty() {
            return true;
        }
        self.losses.add_many(Loss::Orphan, self.early.finish());
        false
    }

    /// Rows that are ready.
    pub fn take(&mut self) -> Vec<Paired> {
        std::mem::take(&mut self.out)
    }

    /// How many there are.
    pub fn ready(&self) -> usize {
        self.out.len()
    }

    pub(super) fn close_later(&mut self, id: RequestId, now: Timestamp) {
        self.closing.push_back((now, id));
        self.timely.done(now, id);
    }
}

/// What the report says of a session.
#[derive(Clone, Copy, Debug)]
pub struct SessionFacts<'a> {
    pub name: &'a str,
    pub point: u16,
    pub client: &'a str,
    pub server: &'a str,
    pub protocol: &'static str,
    pub requests: u64,
    pub answers: u64,
    pub logons: u64,
    pub copies: u64,
    pub heartbeats: u64,
    pub retransmissions: u64,
    pub gaps: u64,
    pub last_type: MessageType,
    pub first: Timestamp,
    pub last: Timestamp,
}
