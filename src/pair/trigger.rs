//! Which market-data message made us send a request: the newest one on the request's symbol within the window,
//! messages of the preferred kinds before others. This is an inference; the rule is named on every row.

use tickscope_model::{MarketKind, Nanos, Timestamp};

use super::row::Method;
use crate::merge::{Tick, Walk};

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

/// The newest qualifying one of the ticks before a request at `time`, newest first. `typical` is the tick-to-trade latency that is usual so far: messages
/// that came within twice that time before the request could have caused it as well, and each of them makes the
/// choice less certain.
pub(super) fn look_up(ticks: Walk<'_>, time: Timestamp, rule: &TriggerRule, typical: Option<Nanos>) -> Lookup {
    let mut best: Option<Tick> = None;
    let mut other: Option<Tick> = None;
    let mut is_old = false;
    let (mut candidates, mut oldest) = (0_u16, None);
    for tick in ticks.take(STEPS) {
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
        confidence: 1.0 / f32::from(candidates.max(1)),
        oldest: oldest.filter(|_| several),
    });
    Lookup { found, is_settled }
}
