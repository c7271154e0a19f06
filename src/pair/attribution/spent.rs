//! A message makes a session send requests at once, or not at all: what it has caused a request by already causes no other
//! one later. Such a later request follows its predecessor (a timer, a step of the strategy), and nothing in the market.

use tickscope_model::{SymbolId, Timestamp};

use super::Verdict;
use super::candidates::{Candidate, Case, Origin};
use crate::hash::HashMap;

/// How much rarer a request is that comes later, against one that comes at once. Believed, not learned: the few such
/// requests would teach that their own lag is a usual latency.
pub(super) const AGAIN: f64 = 0.005;
/// Messages that are remembered of a session and symbol.
const REMEMBERED: usize = 4;
/// Sessions and symbols that are remembered.
const MOST: usize = 1 << 16;

/// A message, and the request that it probably caused first.
#[derive(Clone, Copy)]
struct Cause {
    message: (Timestamp, u64),
    request: Timestamp,
}

/// The newest causes of each session and symbol.
#[derive(Default)]
pub(crate) struct Spent(HashMap<(usize, SymbolId), [Option<Cause>; REMEMBERED]>);

impl Spent {
    /// Marks the candidates of a request that are spent.
    pub(crate) fn mark(&self, session: usize, time: Timestamp, case: &mut Case) {
        let all = case.candidates.iter().zip(&mut case.observed.candidates);
        for (candidate, seen) in all.filter(|(candidate, _)| candidate.origin == Origin::Symbol) {
            let Some(causes) = self.0.get(&(session, candidate.symbol)) else { return };
            let cause = causes.iter().flatten().find(|cause| cause.message == message(candidate));
            // Several requests of one decision leave together, and those of several strategies after like latencies.
            seen.is_spent = cause.is_some_and(|cause| {
                let (first, later) = (cause.request.since(cause.message.0).0, time.since(cause.request).0);
                later > first.saturating_mul(2)
            });
        }
    }

    /// A request was judged, for now.
    pub(crate) fn remember(&mut self, session: usize, time: Timestamp, case: &Case, verdict: &Verdict) {
        let chosen = verdict.chosen.and_then(|(at, _)| case.candidates.get(at));
        let Some(candidate) = chosen.filter(|candidate| candidate.origin == Origin::Symbol) else { return };
        if self.0.len() >= MOST {
            self.0.clear();
        }
        let causes = self.0.entry((session, candidate.symbol)).or_default();
        if !causes.iter().flatten().any(|cause| cause.message == message(candidate)) {
            causes.rotate_right(1);
            causes[0] = Some(Cause { message: message(candidate), request: time });
        }
    }
}

fn message(candidate: &Candidate) -> (Timestamp, u64) {
    (candidate.tick.time, candidate.tick.sequence)
}
