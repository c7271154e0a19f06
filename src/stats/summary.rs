//! The report in memory: fed row by row, then read by everything in `write`.
//! `figures` counts requests, fills the histograms and keeps the slowest; the other stages set the facts.
//!
//! What is expected of `pair`: each request comes once through `figures`, and once through `Evidence::order`. A `tcp_ack` that rode on the answer
//! (`ack_with_answer`) stays out of the network figures: it is none of the row's segments. A request without an answer carries
//! `Flag::Unanswered` and is counted as `Loss::Unanswered`, also when it was closed early. A second sighting at another tap
//! is no row; its `hop` comes through `echo`.

use std::collections::BTreeMap;

use tickscope_model::{Losses, Nanos, SegmentKind, TapId, Timestamp};

use super::explain::Rates;
use super::{
    Attribution, ClockRelation, Evidence, Feed, Groups, Histogram, Hops, Latencies, Recorded, Session, Slowest, Tap,
    Timeline, Totals, TriggerRule, first_answer,
};
use crate::pair::{Across, Flag, OrderRow, TapClocks};

/// How many of the slowest orders are kept.
const SLOWEST: usize = 10;

/// See the head of this file.
#[derive(Clone, Debug)]
pub struct Summary {
    /// By [`tickscope_model::TapId`].
    pub taps: Vec<Tap>,
    pub feeds: Vec<Feed>,
    pub sessions: Vec<Session>,
    pub losses: Losses,
    pub totals: Totals,
    pub trigger: TriggerRule,
    /// Clocks beside the first, where there are several.
    pub clocks: Vec<ClockRelation>,
    pub tap_clocks: TapClocks,
    /// Packets at two taps.
    pub hops: Hops,
    /// How sure the pairs are.
    pub attribution: Attribution,
    /// The run goes on: what is open, or on its way, stands in no account yet.
    pub is_running: bool,
    /// Sentences that the run wants to say: `both files share a clock`, …
    pub notes: Vec<String>,
    /// Live: what was recorded, if that was asked for.
    pub recorded: Option<Recorded>,
    /// The whole run.
    pub overall: Latencies,
    pub by_session: Groups,
    pub by_symbol: Groups,
    pub by_outcome: Groups,
    /// By what decided on the trigger; only where somebody may ask for it.
    pub by_method: Option<Groups>,
    pub timeline: Timeline,
    pub slowest_internal: Slowest,
    /// By the exchange's first answer.
    pub slowest_external: Slowest,
    /// What is found out at the end is found out from this.
    pub evidence: Evidence,
    pub(super) rates: Rates,
    pub(super) rows: Rows,
}

/// What the rows themselves say, to compare with the counters.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    pub(super) requests: u64,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    pub(super) unanswered: u64,
    pub(super) triggered: u64,
    pub(super) ack_with_answer: u64,
    pub(super) negative: u64,
    /// Latencies in order rows, by segment, those that ride on the answer left out.
    pub(super) latencies: [u64; SegmentKind::ALL.len()],
    /// The same from the segments that were kept out of the histograms.
    pub(super) negatives: [u64; SegmentKind::ALL.len()],
    /// What the segments span, at worst.
    across: [Across; SegmentKind::ALL.len()],
    methods: BTreeMap<&'static str, u64>,
    requests_by_kind: BTreeMap<&'static str, u64>,
}

impl Default for Summary {
    fn default() -> Self {
        Summary {
            taps: Vec::new(),
            feeds: Vec::new(),
            sessions: Vec::new(),
            losses: Losses::default(),
            totals: Totals::default(),
            trigger: TriggerRule::default(),
            clocks: Vec::new(),
            tap_clocks: TapClocks::default(),
            hops: Hops::default(),
            attribution: Attribution::default(),
            is_running: false,
            notes: Vec::new(),
            recorded: None,
            overall: Latencies::default(),
            by_session: Groups::default(),
            by_symbol: Groups::default(),
            by_outcome: Groups::default(),
            by_method: None,
            timeline: Timeline::default(),
            slowest_internal: Slowest::new(SLOWEST),
            slowest_external: Slowest::new(SLOWEST),
            evidence: Evidence::default(),
            rates: Rates::default(),
            rows: Rows::default(),
        }
    }
}

impl Summary {
    /// All that is done for one request.
    #[cfg(test)]
    pub(crate) fn order(&mut self, row: &OrderRow) {
        self.figures(row);
        self.evidence.order(row);
    }

    /// One request, when it is closed. What is found out at the end is fed by itself, see [`Evidence`].
    pub fn figures(&mut self, row: &OrderRow) {
        self.attribution.count(row);
        let cause = self.attribution.cause(row);
        let rows = &mut self.rows;
        rows.requests += 1;
        rows.first = Some(rows.first.map_or(row.t_out, |first| first.min(row.t_out)));
        rows.last = rows.last.max(Some(row.t_out));
        rows.unanswered += u64::from(row.flags.has(Flag::Unanswered));
        rows.ack_with_answer += u64::from(row.flags.has(Flag::AckWithAnswer));
        *rows.requests_by_kind.entry(row.request.request_name()).or_default() += 1;
        if let Some(trigger) = &row.trigger {
            rows.triggered += 1;
            *rows.methods.entry(trigger.method.name()).or_default() += 1;
        }
        self.by_session.entry(&row.session).count(cause);
        self.by_symbol.entry(&row.symbol).count(cause);
        let outcome = self.by_outcome.entry_named(row.outcome);
        outcome.count(cause);
        let name = row.trigger.as_ref().map_or("none", |trigger| trigger.method.name());
        let mut method = self.by_method.as_mut().map(|methods| methods.entry_named(name));
        if let Some(method) = &mut method {
            method.count(cause);
        }
        for (kind, latency) in row.segments().filter(|(kind, _)| *kind != SegmentKind::Hop) {
            self.rows.latencies[kind.index()] += 1;
            if let Ok(value) = u64::try_from(latency.0) {
                outcome.latencies.record_pair(kind, value, cause.is_sure());
                if let Some(method) = &mut method {
                    method.latencies.record_pair(kind, value, cause.is_sure());
                }
            }
        }
        self.segments(row);
        if let Some(latency) = row.latency(SegmentKind::TickToTrade).filter(|latency| latency.0 >= 0) {
            self.slowest_internal.offer(latency, row);
        }
        if let Some((_, latency)) = first_answer(row) {
            self.slowest_external.offer(latency, row);
        }
    }

    /// Everything was added. Symbols are left as they are: few of them are looked at.
    pub fn settle(&mut self) {
        self.overall.settle();
        self.by_session.settle();
        self.by_outcome.settle();
        self.by_method.iter_mut().for_each(Groups::settle);
    }

    /// A request that another tap saw before, when it is closed; or what was measured of a request behind its row.
    pub fn echo(&mut self, row: &OrderRow) {
        for (kind, _) in row.segments().filter(|(kind, _)| *kind != SegmentKind::Hop) {
            self.rows.latencies[kind.index()] += 1;
        }
        self.segments(row);
    }

    /// The measured latencies of a row. Negative ones are counted and kept out of the histograms.
    fn segments(&mut self, row: &OrderRow) {
        let is_sure = self.attribution.cause(row).is_sure();
        let (session, symbol) = (self.by_session.entry(&row.session), self.by_symbol.entry(&row.symbol));
        for (kind, latency) in row.segments() {
            let across = &mut self.rows.across[kind.index()];
            *across = row.across_of(kind).max(*across);
            let Ok(value) = u64::try_from(latency.0) else {
                self.rows.negative += 1;
                self.rows.negatives[kind.index()] += 1;
                continue;
            };
            self.overall.record_pair(kind, value, is_sure);
            session.latencies.record_pair(kind, value, is_sure);
            // Parts of a latency stand in no table by symbol or time.
            if !kind.is_part() {
                symbol.latencies.record_pair(kind, value, is_sure);
            }
        }
        let whole = row.segments().filter(|(kind, _)| !kind.is_part());
        let whole = whole.filter_map(|(kind, latency)| Some((kind, u64::try_from(latency.0).ok()?)));
        self.timeline.record(row.t_out, whole, is_sure);
    }

    /// The name of a tap, by its number.
    pub fn tap_name(&self, tap: TapId) -> Option<&str> {
        self.taps.get(usize::from(tap.0)).map(|tap| tap.name.as_str())
    }

    /// Those of all taps.
    pub fn tap_names(&self) -> Vec<String> {
        self.taps.iter().map(|tap| tap.name.clone()).collect()
    }

    /// A copy without what grows with the run or has many groups: the time table, the evidence, the groups.
    #[must_use]
    pub fn figures_so_far(&self) -> Summary {
        Summary {
            taps: self.taps.clone(),
            feeds: self.feeds.clone(),
            sessions: self.sessions.clone(),
            losses: self.losses.clone(),
            totals: self.totals,
            trigger: self.trigger.clone(),
            clocks: self.clocks.clone(),
            tap_clocks: self.tap_clocks.clone(),
            hops: self.hops.clone(),
            attribution: self.attribution.clone(),
            is_running: self.is_running,
            overall: self.overall.clone(),
            slowest_internal: self.slowest_internal.clone(),
            slowest_external: self.slowest_external.clone(),
            rows: self.rows.clone(),
            ..Summary::default()
        }
    }

    /// What the verdict is made of, with this evidence: a copy for another thread.
    #[must_use]
    pub fn for_verdict(&self, evidence: Evidence) -> Summary {
        Summary { evidence, timeline: self.timeline.clone(), rates: self.rates.clone(), ..self.figures_so_far() }
    }

    /// Market-data messages, for the time table.
    pub fn market(&mut self, time: Timestamp, count: u64) {
        self.timeline.market(time, count);
        self.rates.add(time, count);
    }

    /// The time between two requests, on average.
    pub(super) fn mean_gap(&self) -> Option<u64> {
        let (first, last) = (self.rows.first?, self.rows.last?);
        (last.0 - first.0).checked_div(self.rows.requests.checked_sub(1)?)
    }

    /// Requests that were reported.
    pub fn requests(&self) -> u64 {
        self.rows.requests
    }

    /// Requests whose TCP ACK rode on the answer.
    pub fn ack_with_answer(&self) -> u64 {
        self.rows.ack_with_answer
    }

    /// Requests for which a trigger was found.
    pub fn triggered(&self) -> u64 {
        self.rows.triggered
    }

    /// Requests with nothing that answers them.
    pub fn unanswered(&self) -> u64 {
        self.rows.unanswered
    }

    /// Triggers by the rule that found them.
    pub fn methods(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.rows.methods.iter().map(|(&name, &count)| (name, count))
    }

    /// Requests by kind: `new`, `cancel`, …
    pub fn requests_by_kind(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.rows.requests_by_kind.iter().map(|(&name, &count)| (name, count))
    }

    /// Latencies of that kind below zero.
    pub fn negatives(&self, kind: SegmentKind) -> u64 {
        self.rows.negatives[kind.index()]
    }

    /// Segments that came in, those below zero included.
    pub(super) fn segments_of(&self, kind: SegmentKind) -> u64 {
        self.overall.of(kind).map_or(0, Histogram::n) + self.negatives(kind)
    }

    /// How many tick-to-trade values lie above ten times their median: pairs that another message may explain.
    pub fn far_tail(&self) -> Option<(u64, u64)> {
        let t2t = self.overall.of(SegmentKind::TickToTrade)?;
        Some((t2t.count_above(t2t.median().saturating_mul(10)), t2t.n()))
    }

    /// The letters of a segment, for people: `G→K (at the capture point)`, `D→K`, `K→K'`.
    pub fn letters(&self, kind: SegmentKind) -> String {
        let market = letters(self.taps.iter().filter(|tap| tap.has_market).filter_map(|tap| tap.point));
        let orders = letters(self.taps.iter().filter(|tap| tap.has_orders).filter_map(|tap| tap.point));
        let is_default = market.is_none() && orders.is_none();
        let (market, orders) = (market.unwrap_or_else(|| "G".into()), orders.unwrap_or_else(|| "K".into()));
        match kind {
            SegmentKind::TickToTrade if is_default => "G→K (at the capture point)".into(),
            SegmentKind::TickToTrade => format!("{market}→{orders}"),
            SegmentKind::WallToWall => format!("{orders}→{orders} (from one session to the next)"),
            SegmentKind::Hop => "from tap to tap".into(),
            SegmentKind::FillToRequest => format!("fill→{orders}"),
            _ => format!("{orders}→{orders}'"),
        }
    }

    /// How far a figure between two taps may be wrong: nothing where their clock is one, `None` where nobody knows.
    pub fn error_between(&self, one: TapId, other: TapId) -> Option<Nanos> {
        match self.tap_clocks.between_taps(one, other)? {
            Across::One => Some(Nanos(0)),
            across => across.error(),
        }
    }

    /// What latencies of a kind span, at worst.
    pub fn across(&self, kind: SegmentKind) -> Across {
        self.rows.across[kind.index()]
    }

    /// The time that the captures span.
    pub fn span(&self) -> Option<(Timestamp, Timestamp)> {
        let first = self.taps.iter().filter_map(|tap| tap.first).min()?;
        let last = self.taps.iter().filter_map(|tap| tap.last).max()?;
        Some((first, last))
    }
}

/// Different letters of the taps concerned, `D/E`; `None` where none was given.
fn letters(points: impl Iterator<Item = char>) -> Option<String> {
    let mut all: Vec<char> = points.collect();
    all.sort_unstable();
    all.dedup();
    let texts: Vec<String> = all.iter().map(char::to_string).collect();
    (!texts.is_empty()).then(|| texts.join("/"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::sync::Arc;

    use crate::pair::{Flags, Measured, Parts};
    use tickscope_model::{Loss, OrderKind, TapId};

    /// An answered order with an ack of 1 µs.
    pub(crate) fn row(clordid: &str, time_ns: u64) -> OrderRow {
        let mut latency = Measured::default();
        latency.set(SegmentKind::Ack, Nanos(1000));
        OrderRow {
            tap: TapId(0),
            frame: 1,
            session: Arc::from("TRADER->EXCH"),
            clordid: clordid.into(),
            orig_clordid: "".into(),
            chain: clordid.into(),
            request: OrderKind::New,
            symbol: Arc::from("ABC"),
            side: None,
            price: None,
            quantity: None,
            t_out: Timestamp(time_ns),
            trigger: None,
            latency,
            flags: Flags::default(),
            t2t_min: None,
            t2t_max: None,
            weighed: None,
            bbo: None,
            case: None,
            error: None,
            across: None,
            outcome: "accepted",
            parts: Parts::default(),
            timeline: Vec::new(),
        }
    }

    #[test]
    fn an_ack_that_rides_on_the_answer_stays_out_of_the_figures() {
        let mut summary = Summary::default();
        let mut row = row("1", 0);
        row.latency.set(SegmentKind::TcpAck, Nanos(1000));
        row.flags.set(Flag::AckWithAnswer);
        summary.order(&row);
        assert_eq!(summary.ack_with_answer(), 1);
        assert!(summary.overall.of(SegmentKind::TcpAck).is_none());
        let outcome = summary.by_outcome.by_requests();
        assert!(outcome[0].latencies.of(SegmentKind::TcpAck).is_none());
    }

    #[test]
    fn a_negative_latency_is_counted_and_in_no_histogram() {
        let mut summary = Summary::default();
        let mut row = row("1", 0);
        row.latency.set(SegmentKind::TickToTrade, Nanos(-7));
        summary.order(&row);
        assert!(summary.overall.of(SegmentKind::TickToTrade).is_none());
        assert!(summary.slowest_internal.is_empty());
        assert_eq!(summary.negatives(SegmentKind::TickToTrade), 1);
    }

    #[test]
    fn what_does_not_add_up_is_said() {
        let mut summary = Summary::default();
        summary.order(&row("1", 0));
        summary.totals = Totals { requests: 1, answers: 1, answers_matched: 1, ..Totals::default() };
        summary.losses.add(Loss::Untriggered);
        assert_eq!(summary.accounting(), []);
        summary.totals.frames_read = 3;
        summary.totals.frames_used = 1;
        summary.losses.add(Loss::NotIp);
        summary.overall.record(SegmentKind::Ack, 5);
        let what: Vec<String> = summary.accounting().into_iter().map(|found| found.what).collect();
        assert_eq!(what, ["frames: sum over taps = read", "frames: read = used + lost", "ack: rows = segments"]);
    }

    #[test]
    fn letters_come_from_the_taps() {
        let mut summary = Summary::default();
        summary.taps.push(Tap { has_market: true, has_orders: true, ..Tap::default() });
        assert_eq!(summary.letters(SegmentKind::TickToTrade), "G→K (at the capture point)");
        assert_eq!(summary.letters(SegmentKind::Ack), "K→K'");
        summary.taps = vec![
            Tap { has_market: true, point: Some('D'), ..Tap::default() },
            Tap { has_orders: true, ..Tap::default() },
        ];
        assert_eq!(summary.letters(SegmentKind::TickToTrade), "D→K");
        summary.taps[1].point = Some('J');
        assert_eq!(summary.letters(SegmentKind::TickToTrade), "D→J");
        assert_eq!(summary.letters(SegmentKind::Ack), "J→J'");
    }
}
