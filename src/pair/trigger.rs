//! Which market-data message made us send a request: the newest one on the request's symbol within the window,
//! messages of the preferred kinds before others. This is an inference; the rule is named on every row.

use tickscope_model::{Loss, MarketKind, Nanos, SegmentKind, SymbolId, Timestamp};

use super::pairer::{Pairer, View};
use super::requests::RequestId;
use super::row::{Flag, Method, Trigger};
use crate::merge::{Tick, Walk};
use crate::stats::Histogram;

/// At most so many candidates are looked at for one request.
const STEPS: usize = 4096;

/// What may be a trigger.
#[derive(Clone, Debug)]
pub struct TriggerRule {
    /// At most this old …
    pub window: Nanos,
    /// … and at least this.
    pub min: Nanos,
    /// Kinds of messages that are taken before others.
    pub preferred: Vec<MarketKind>,
}

impl TriggerRule {
    /// One sentence for the report.
    pub fn text(&self) -> String {
        let kinds: Vec<&str> = self.preferred.iter().map(|kind| kind.name()).collect();
        format!("newest message on the symbol, {} before others", kinds.join("/"))
    }
}

/// What the look-up found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub tick: Tick,
    pub method: Method,
    pub confidence: f32,
    /// The oldest candidate, where there are several.
    pub oldest: Option<Timestamp>,
}

/// The answer to a look-up.
pub(super) struct Lookup {
    pub found: Option<Found>,
    /// No older message could change the answer.
    pub is_settled: bool,
}

/// What is typical of tick-to-trade so far.
#[derive(Default)]
pub(super) struct Typical {
    all: Histogram,
    median: Option<Nanos>,
}

/// It is looked up anew after so many values.
const TYPICAL_EVERY: u64 = 64;

impl Typical {
    /// `None` until there are enough to say.
    fn t2t(&self) -> Option<Nanos> {
        self.median
    }

    fn learn(&mut self, t2t: Nanos) {
        let Ok(value) = u64::try_from(t2t.0) else { return };
        self.all.record(value);
        if self.all.n().is_multiple_of(TYPICAL_EVERY) {
            self.median = i64::try_from(self.all.median()).ok().map(Nanos);
        }
    }
}

impl Pairer {
    /// Looks up what made us send a request that came after so many market-data messages.
    pub(super) fn look_up(&mut self, id: RequestId, messages: u32, view: &View<'_>) {
        let Some(open) = self.requests.get_mut(id) else { return };
        open.looked_up = true;
        let time = open.row.t_out;
        let symbol: Option<SymbolId> = open.symbol.or_else(|| view.symbols.known(open.row.symbol.as_bytes()));
        let Some(symbol) = symbol else { return };
        let mut evicted = false;
        let own_point = open.point;
        for &point in view.points_of(&own_point) {
            if !view.ticks.has_point(point) {
                continue; // a point without market data passes the question on to the next nearest
            }
            let reaches_back = time.shifted(Nanos(-self.rules.trigger.window.0));
            let mut candidates = view.ticks.newest_first(point, symbol, (reaches_back, time), messages);
            let lookup = look_up(&mut candidates, time, &self.rules.trigger, self.typical.t2t());
            evicted |= !lookup.is_settled && reaches_back < view.ticks.horizon(messages);
            let gap_since = lookup.found.map_or(reaches_back, |found| found.tick.time);
            let gap = view
                .feeds
                .feeds
                .iter()
                .filter(|feed| feed.point == point)
                .any(|feed| feed.last_gap.is_some_and(|gap| gap_since <= gap && gap <= time));
            if gap {
                open.row.flags.set(Flag::MdGap);
            }
            if let Some(found) = lookup.found {
                let clock = |point: u16| self.rules.clocks.get(usize::from(point));
                let is_related = clock(point) == clock(open.point);
                if !is_related && !open.echo {
                    open.row.flags.set(Flag::CrossClock);
                    self.losses.add(Loss::CrossClock);
                }
                let Some(line) = view.feeds.lines.get(usize::from(found.tick.line)) else { continue };
                let protocol = view.feeds.feeds[line.feed].protocol;
                let t2t = time.since(found.tick.time);
                if is_related {
                    open.row.latency.set(SegmentKind::TickToTrade, t2t);
                }
                if !open.echo {
                    self.typical.learn(t2t);
                }
                if let Some(oldest) = found.oldest.filter(|_| is_related) {
                    (open.row.t2t_min, open.row.t2t_max) = (Some(t2t), Some(time.since(oldest)));
                }
                open.row.trigger = Some(Trigger {
                    tap: line.tap,
                    frame: found.tick.frame,
                    time: found.tick.time,
                    feed: line.label(),
                    sequence: found.tick.sequence,
                    msg: (protocol.message_name)(found.tick.code),
                    symbol: view.symbols.name(symbol),
                    method: found.method,
                    confidence: found.confidence,
                });
            }
            break;
        }
        if evicted {
            open.row.flags.set(Flag::TickEvicted);
            self.losses.add(Loss::TickEvicted);
        }
    }
}

/// The newest qualifying one of the ticks before a request at `time`, newest first. `typical` is the tick-to-trade latency that is usual so far: messages
/// that came within twice that time before the request could have caused it as well, and each of them makes the
/// choice less certain.
pub(super) fn look_up(ticks: &mut Walk<'_>, time: Timestamp, rule: &TriggerRule, typical: Option<Nanos>) -> Lookup {
    let mut best: Option<Tick> = None;
    let mut other: Option<Tick> = None;
    let mut is_old = false;
    let (mut candidates, mut oldest) = (0_u16, None);
    for _ in 0..STEPS {
        let Some(tick) = ticks.next() else { break };
        let age = time.since(tick.time);
        if age.0 < rule.min.0.max(0) {
            continue; // too close before the request to have caused it
        }
        if age.0 > rule.window.0 {
            is_old = true;
            break;
        }
        if !rule.preferred.contains(&tick.kind) {
            other.get_or_insert(tick);
            continue;
        }
        let newest = *best.get_or_insert(tick);
        let reach = typical.map_or(time.since(newest.time).0, |typical| typical.0.saturating_mul(2));
        ticks.only_since(time.shifted(Nanos(-reach)));
        if age.0 > reach && candidates > 0 {
            break;
        }
        candidates = candidates.saturating_add(1);
        oldest = Some(tick.time);
    }
    let is_settled = best.is_some() || is_old;
    let tick = best.or(other);
    let several = candidates > 1;
    let found = tick.map(|tick| Found {
        tick,
        method: Method::Latest,
        confidence: (1000.0 / f32::from(candidates.max(1))).round() / 1000.0, // more digits than it is worth

        oldest: oldest.filter(|_| several),
    });
    Lookup { found, is_settled }
}
