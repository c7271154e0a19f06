//! Which message made us send a request. The candidates of each request are collected when it is looked up; a model of
//! the order stream (`model.rs`) weighs them against each other and against "nothing". Two ways of learning it: *causal*,
//! from what came before only, the same rows live and offline; and *two-pass*, offline, where the rows wait until the
//! model has seen the requests of the whole capture.

mod aggregate;
pub(crate) mod candidates;
mod density;
mod lag;
pub(crate) mod model;
mod smooth;
pub(crate) mod spent;
pub(crate) mod suggest;
mod windows;

pub use aggregate::Aggregate;
pub use candidates::{Candidate, Case, Cause, Origin, Relation};
use model::{Chances, Model, Observed};
pub use suggest::Suggestion;

use tickscope_model::Timestamp;

use crate::book::Exposure;

/// How the model is learned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Learning {
    /// From what came before.
    Causal,
    /// From the whole capture, or the first [`MOST_HELD`] requests of it.
    #[default]
    TwoPass,
    /// Not at all: no triggers are looked for.
    None,
}

impl Learning {
    pub fn name(self) -> &'static str {
        match self {
            Learning::Causal => "causal",
            Learning::TwoPass => "two-pass",
            Learning::None => "none",
        }
    }
}

/// Requests that wait for the two-pass model, at most …
pub const MOST_HELD: usize = 1 << 16;
/// … and their candidates.
const MOST_HELD_CANDIDATES: usize = 1 << 20;
/// Requests that a model is learned from.
const SAMPLE: usize = 1 << 12;
/// … where it only has to say which messages are too old to be looked at.
const ROUGH_SAMPLE: usize = 1 << 9;
/// A candidate that is less likely than this is not part of the bracket.
const PLAUSIBLE: f64 = 0.02;
/// A request that is as likely as this to have come by itself, or likelier to have than to have the likeliest cause, gets
/// no trigger: a wrong cause costs its reader more than none.
const DOUBT: f64 = 0.4;
/// The first requests that a causal model is learned from, and the most that pass until it is learned anew.
const FIRST_LESSON: usize = 32;
const LESSON: usize = 2048;

/// What the model says of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// Place of the likeliest candidate, and its probability; `None` where it may well have come by itself.
    pub chosen: Option<(usize, f64)>,
    /// Places of the newest and the oldest plausible candidate.
    pub newest: usize,
    pub oldest: usize,
    /// How likely it is that nothing caused it.
    pub untriggered: f64,
}

/// Collects requests, learns, and judges.
pub(crate) struct Judge {
    learning: Learning,
    window_ns: u64,
    model: Model,
    /// Of the newest requests, for learning.
    recent: Vec<Observed>,
    place: usize,
    seen: usize,
    /// Times of the first and of the last request.
    span: Option<(Timestamp, Timestamp)>,
    next_lesson: usize,
    /// Messages this much older than the request are not looked at where there are many younger ones.
    reach_ns: u64,
    /// Of the request that was judged last.
    weights: Vec<f64>,
}

impl Judge {
    pub(crate) fn new(learning: Learning, window_ns: u64) -> Judge {
        Judge {
            learning,
            window_ns,
            model: Model::believed(&Chances::new(&Exposure::default(), (0, 0), 0), 1.0, window_ns),
            recent: Vec::new(),
            place: 0,
            seen: 0,
            span: None,
            next_lesson: FIRST_LESSON,
            reach_ns: window_ns,
            weights: Vec::new(),
        }
    }

    pub(crate) fn learning(&self) -> Learning {
        self.learning
    }

    pub(crate) fn reach_ns(&self) -> u64 {
        self.reach_ns
    }

    /// A request was looked up: what it teaches. In a causal model it is judged afterwards, with what it taught if the
    /// next lesson was due, as every request live is.
    pub(crate) fn learn(&mut self, case: &Case, time: Timestamp, exposure: &Exposure, others: (u64, u64)) {
        self.seen += 1;
        let (first, last) = self.span.unwrap_or((time, time));
        self.span = Some((first.min(time), last.max(time)));
        let most = if self.learning == Learning::Causal { SAMPLE } else { ROUGH_SAMPLE };
        if self.recent.len() < most {
            self.recent.push(case.observed.clone());
        } else {
            self.recent[self.place].clone_from(&case.observed);
            self.place = (self.place + 1) % most;
        }
        if self.seen == 1 && self.learning == Learning::Causal {
            self.believe(exposure, others);
        }
        if self.seen >= self.next_lesson {
            self.lesson(exposure, others);
            let factor = if self.learning == Learning::Causal { 6 } else { 16 };
            self.next_lesson = (self.seen * factor / 4).clamp(self.seen + FIRST_LESSON, self.seen + LESSON * factor);
        }
    }

    fn span_ns(&self) -> u64 {
        self.span.map_or(0, |(first, last)| last.0 - first.0)
    }

    fn believe(&mut self, exposure: &Exposure, others: (u64, u64)) {
        self.model = Model::believed(&Chances::new(exposure, others, self.span_ns()), 1.0, self.window_ns);
    }

    fn lesson(&mut self, exposure: &Exposure, others: (u64, u64)) {
        let chances = Chances::new(exposure, others, self.span_ns());
        let is_thorough = self.learning == Learning::Causal;
        self.model = Model::learn(&self.recent, self.seen, &chances, (self.window_ns, is_thorough));
        self.reach_ns = self.window_ns.min((self.model.quantile(0.9) * 20).max(2_000_000));
    }

    /// Whether so much is held that the two-pass model must be made of it.
    pub(crate) fn is_full((requests, candidates): (usize, usize)) -> bool {
        requests >= MOST_HELD || candidates >= MOST_HELD_CANDIDATES
    }

    /// Makes the two-pass model. From now on requests are judged as they come.
    pub(crate) fn fit<'a>(&mut self, cases: impl ExactSizeIterator<Item = &'a Case>, chances: (&Exposure, (u64, u64))) {
        let all = cases.len();
        let every = all.div_ceil(SAMPLE).max(1);
        let sample: Vec<Observed> = cases.step_by(every).map(|case| case.observed.clone()).collect();
        let chances = Chances::new(chances.0, chances.1, self.span_ns());
        self.model = Model::learn(&sample, all, &chances, (self.window_ns, true));
        self.learning = Learning::Causal;
        (self.recent, self.place) = (sample, 0);
    }

    /// What can be said without claiming any pair, of the requests that were learned from.
    pub(crate) fn aggregate(&self) -> Option<Aggregate> {
        aggregate::aggregate(&self.recent, self.model.quantile(0.98))
    }

    pub(crate) fn judge(&mut self, case: &Case) -> Verdict {
        let (untriggered, _) = self.model.weigh(&case.observed, &mut self.weights);
        verdict(&self.weights, untriggered)
    }

    /// How likely each candidate of the case that was judged last is its cause.
    pub(crate) fn weights(&self) -> Vec<f64> {
        self.weights.clone()
    }
}

/// The decision that follows from probabilities.
pub fn verdict(weights: &[f64], untriggered: f64) -> Verdict {
    let (mut chosen, mut newest, mut oldest) = (None, usize::MAX, 0);
    for (at, &weight) in weights.iter().enumerate() {
        // Of equal ones the newest.
        if chosen.is_none_or(|(_, most)| weight > most) {
            chosen = Some((at, weight));
        }
        if weight >= PLAUSIBLE {
            newest = newest.min(at);
            oldest = at;
        }
    }
    let chosen = chosen.filter(|(_, weight)| untriggered < DOUBT && untriggered < *weight);
    if let Some((at, _)) = chosen {
        (newest, oldest) = (newest.min(at), oldest.max(at));
    }
    Verdict { chosen, newest, oldest, untriggered }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tickscope_model::TapId;

    use super::candidates::Report;
    use super::*;
    use crate::pair::trigger::report_tick;

    /// Requests a second apart, each 12 µs behind a fill, where there is no market data.
    #[test]
    fn fills_are_causes_also_without_market_data() {
        let mut judge = Judge::new(Learning::Causal, 1_000_000_000);
        let exposure = Exposure::default();
        let (mut given, mut confidence) = (0, 0.0);
        for at in 1..=300_u64 {
            let time = Timestamp(at * 1_000_000_000 + (at * 7919) % 1000);
            let fill = report_tick(Timestamp(time.0 - 12_000 - (at * 104_729) % 3000), at, at);
            let mut case = Case::default();
            let (session, symbol) = (Arc::from("A->B"), Arc::from("X"));
            case.push_report(&Arc::new(Report { tick: fill, tap: TapId(0), session, symbol }), true, time);
            case.observed.rate = 39;
            judge.learn(&case, time, &exposure, (at, 0));
            if let (Some((0, weight)), true) = (judge.judge(&case).chosen, at > 100) {
                (given, confidence) = (given + 1, weight);
            }
        }
        assert!(given == 200 && confidence > 0.9, "{given} {confidence}");
    }
}
