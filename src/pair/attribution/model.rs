//! The model of the order stream, as pure functions: orders come by themselves at a background rate, and each message
//! brings further ones after a latency. For a request this gives each candidate, and "nothing", a probability.
//!
//! `intensity of the request = background(rate) + Σ over candidates q(message) · f(lag) · likelihood ratios`
//!
//! `q` is how many requests a message of that kind brings, by what it did to the book and on which side it stands; `f` the
//! density of the latency; the ratios say how much more often a request that the message caused stands at its price
//! than one that it did not cause. All of it is learned from the requests by expectation and maximisation.

use super::lag::{self, BINS};
use crate::book::{Exposure, Moved, RATE_CLASSES, Touch};

/// Requests are told apart as: new orders and quotes, replaces, cancels.
pub(crate) const ROLES: usize = 3;
/// Message cells: sixteen types, three touches, three sides; behind them private reports about the same symbol, and
/// about another one.
pub(crate) const CELLS: usize = 16 * 9 + 2;
/// How the request's price relates to the message: see [`super::Relation`].
pub(crate) const RELATIONS: usize = 7;
/// What the relations depend on: trade or not, touch, side.
const CONTEXTS: usize = 2 * 9;
/// Place among messages of the packet about the symbol: alone, first, in between, last.
pub(crate) const PLACES: usize = 4;

/// A candidate as the model sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub bin: u16,
    pub cell: u16,
    /// Context times [`RELATIONS`], plus the relation.
    pub relation: u16,
    /// Trade or not times [`PLACES`], plus the place.
    pub place: u8,
}

/// A request as the model sees it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observed {
    pub role: u8,
    /// Class of the local rate of messages.
    pub rate: u8,
    pub candidates: Vec<Seen>,
}

/// The cell of a message about a symbol. `side`: 0 the request's own, 1 the other, 2 not known.
pub(crate) fn cell(class: u8, touch: Touch, side: u8) -> u16 {
    u16::from(class.min(15)) * 9 + touch as u16 * 3 + u16::from(side)
}

/// The cell of a private report.
pub(crate) fn report_cell(is_same_symbol: bool) -> u16 {
    16 * 9 + u16::from(!is_same_symbol)
}

/// The place of a relation in the model's table.
pub(crate) fn relation_cell(is_trade: bool, touch: Touch, side: u8, relation: u8) -> u16 {
    let context = u16::from(is_trade) * 9 + touch as u16 * 3 + u16::from(side);
    context * 7 + u16::from(relation)
}

/// What is learned, for one run.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    /// Density of the latency, by bin, for each nanosecond.
    pub density: Vec<f64>,
    /// Requests that a message brings, by role and cell.
    pub reaction: Vec<f64>,
    /// Requests that come by themselves on a symbol in a nanosecond, by role and class of rate.
    pub background: Vec<f64>,
    /// Likelihood ratios, by role.
    pub relation: Vec<f64>,
    pub place: Vec<f64>,
    /// So many requests were learned from.
    pub learned_from: usize,
}

/// How often each cell was there to react to.
#[derive(Clone, Debug)]
pub(crate) struct Chances {
    messages: Vec<f64>,
    time: [f64; RATE_CLASSES],
    trade: [bool; 16],
}

impl Chances {
    /// `reports`: private reports so far.
    #[allow(clippy::cast_precision_loss, reason = "counts far below 2^53")]
    pub(crate) fn new(exposure: &Exposure, reports: u64) -> Chances {
        let mut messages = vec![0.0; CELLS];
        let mut trade = [false; 16];
        for class in 0..16_u8 {
            trade[usize::from(class)] = exposure.is_trade(class);
            for touch in [Touch::Same, Touch::Quantity, Touch::Price] {
                let count = |has_side| exposure.messages(Moved { class, touch, has_side }) as f64;
                // A message with a side is a chance for requests of either side.
                for side in 0..2 {
                    messages[usize::from(cell(class, touch, side))] = count(true);
                }
                messages[usize::from(cell(class, touch, 2))] = count(false) + count(true) * 0.01;
            }
        }
        messages[usize::from(report_cell(true))] = reports as f64;
        messages[usize::from(report_cell(false))] = reports as f64;
        Chances { messages, time: exposure.time.map(|ns| ns as f64), trade }
    }

    /// What is believed of a cell before anything is known: trades and new best prices are acted upon, what happens
    /// deep in the book is not.
    fn belief(&self, cell: usize) -> f64 {
        if cell >= 16 * 9 {
            return 0.05;
        }
        match (self.trade[cell / 9], cell % 9 / 3) {
            (true, _) => 2.0,
            (false, 2) => 1.0,
            (false, 1) => 0.3,
            _ => 0.05,
        }
    }
}

/// Requests' worth of belief that is mixed into what is learned: about the reaction to each cell …
const REACTION_BELIEF: f64 = 1.0;
/// … the background rate at each local rate …
const BACKGROUND_BELIEF: f64 = 0.5;
/// … the latency …
const LATENCY_BELIEF: f64 = 2.0;
/// … and the relations, in a context from those of all contexts, and in all contexts from the table below.
const CONTEXT_BELIEF: f64 = 30.0;
const RELATION_BELIEF: f64 = 10.0;
/// Before anything is known: no price, the message's price, opposite best, own best, near, further, far.
const CAUSED: [f64; RELATIONS] = [0.0, 0.40, 0.20, 0.15, 0.13, 0.07, 0.05];
const NOT_CAUSED: [f64; RELATIONS] = [0.0, 0.25, 0.20, 0.15, 0.20, 0.12, 0.08];
/// One request in five is believed to come by itself.
const UNTRIGGERED: f64 = 0.2;

/// Rounds of learning at most, and the gain for each request that is worth another one.
const ROUNDS: usize = 60;
const GAIN: f64 = 1e-4;

impl Model {
    /// What is believed before the first request; `window_ns` is the longest latency.
    pub(crate) fn believed(chances: &Chances, requests: f64, window_ns: u64) -> Model {
        let mut model = Model {
            density: believed_density(window_ns),
            reaction: vec![0.0; ROLES * CELLS],
            background: vec![0.0; ROLES * RATE_CLASSES],
            relation: vec![1.0; ROLES * CONTEXTS * RELATIONS],
            place: vec![1.0; ROLES * 2 * PLACES],
            learned_from: 0,
        };
        let requests = requests.max(1.0);
        let weighted: f64 = (0..CELLS).map(|cell| chances.messages[cell] * chances.belief(cell)).sum();
        let time: f64 = chances.time.iter().sum();
        for role in 0..ROLES {
            for cell in 0..CELLS {
                let share = (1.0 - UNTRIGGERED) * requests * chances.belief(cell) / weighted.max(1.0);
                model.reaction[role * CELLS + cell] = share;
            }
            for rate in 0..RATE_CLASSES {
                model.background[role * RATE_CLASSES + rate] = UNTRIGGERED * requests / time.max(1e6);
            }
            for at in 0..CONTEXTS * RELATIONS {
                let relation = at % RELATIONS;
                let ratio = if relation == 0 { 1.0 } else { CAUSED[relation] / NOT_CAUSED[relation] };
                model.relation[role * CONTEXTS * RELATIONS + at] = ratio;
            }
        }
        model
    }

    /// The probability of each candidate, into `out`; returns that of none of them.
    #[inline]
    pub(crate) fn weigh(&self, request: &Observed, out: &mut Vec<f64>) -> f64 {
        out.clear();
        let role = usize::from(request.role);
        let nothing = self.background[role * RATE_CLASSES + usize::from(request.rate)];
        let reaction = &self.reaction[role * CELLS..][..CELLS];
        let relation = &self.relation[role * CONTEXTS * RELATIONS..][..CONTEXTS * RELATIONS];
        let place = &self.place[role * 2 * PLACES..][..2 * PLACES];
        let mut sum = nothing;
        for seen in &request.candidates {
            let weight = reaction[usize::from(seen.cell)]
                * self.density[usize::from(seen.bin)]
                * relation[usize::from(seen.relation)]
                * place[usize::from(seen.place)];
            sum += weight;
            out.push(weight);
        }
        let scale = if sum > 0.0 { 1.0 / sum } else { 0.0 };
        out.iter_mut().for_each(|weight| *weight *= scale);
        if sum > 0.0 { nothing * scale } else { 1.0 }
    }

    /// Learns from requests, which are a sample of `requests` in all.
    pub(crate) fn learn(sample: &[Observed], requests: usize, chances: &Chances, window_ns: u64) -> Model {
        #[allow(clippy::cast_precision_loss, reason = "counts far below 2^53")]
        let (all, taken) = (requests as f64, sample.len() as f64);
        let mut model = Model::believed(chances, all, window_ns);
        if sample.is_empty() {
            return model;
        }
        let mut before = f64::NEG_INFINITY;
        for _ in 0..ROUNDS {
            let sums = Sums::of(&model, sample);
            model = sums.model(&model, chances, all / taken, window_ns);
            model.learned_from = sample.len();
            if sums.likelihood - before < GAIN * taken {
                break;
            }
            before = sums.likelihood;
        }
        model
    }

    /// The latency below which this share of the density lies.
    pub(crate) fn quantile(&self, share: f64) -> u64 {
        let mut below = 0.0;
        for (bin, density) in self.density.iter().enumerate() {
            below += density * lag::width(bin);
            if below >= share {
                return lag::start(bin + 1);
            }
        }
        lag::start(BINS)
    }
}

/// The same for each tenth more, up to the window.
fn believed_density(window_ns: u64) -> Vec<f64> {
    let last = usize::from(lag::bin(window_ns));
    let mut density = vec![0.0; BINS];
    let share = 1.0 / f64::from(u16::try_from(last + 1).unwrap_or(u16::MAX));
    for (bin, density) in density.iter_mut().enumerate().take(last + 1) {
        *density = share / lag::width(bin);
    }
    density
}

/// What one look at the requests gives.
struct Sums {
    likelihood: f64,
    /// Requests caused by a message, by bin, and by role and cell.
    bins: Vec<f64>,
    cells: Vec<f64>,
    /// Requests that came by themselves, by role and class of rate.
    alone: Vec<f64>,
    caused: Tables,
    not_caused: Tables,
}

/// Relations and places, by role.
struct Tables {
    relation: Vec<f64>,
    place: Vec<f64>,
}

impl Tables {
    fn new() -> Tables {
        Tables { relation: vec![0.0; ROLES * CONTEXTS * RELATIONS], place: vec![0.0; ROLES * 2 * PLACES] }
    }

    fn add(&mut self, role: usize, seen: &Seen, weight: f64) {
        self.relation[role * CONTEXTS * RELATIONS + usize::from(seen.relation)] += weight;
        self.place[role * 2 * PLACES + usize::from(seen.place)] += weight;
    }
}

impl Sums {
    fn of(model: &Model, sample: &[Observed]) -> Sums {
        let mut sums = Sums {
            likelihood: 0.0,
            bins: vec![0.0; BINS],
            cells: vec![0.0; ROLES * CELLS],
            alone: vec![0.0; ROLES * RATE_CLASSES],
            caused: Tables::new(),
            not_caused: Tables::new(),
        };
        let highest = model.density.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        let mut weights = Vec::new();
        for request in sample {
            let role = usize::from(request.role);
            let nothing = model.weigh(request, &mut weights);
            let background = model.background[role * RATE_CLASSES + usize::from(request.rate)];
            sums.likelihood += (background / nothing.max(1e-300)).max(1e-300).ln();
            sums.alone[role * RATE_CLASSES + usize::from(request.rate)] += nothing;
            for (seen, &weight) in request.candidates.iter().zip(&weights) {
                let bin = usize::from(seen.bin);
                sums.bins[bin] += weight;
                sums.cells[role * CELLS + usize::from(seen.cell)] += weight;
                sums.caused.add(role, seen, weight);
                // What did not cause it counts as far as it might have.
                let plausible = model.density[bin] / highest;
                sums.not_caused.add(role, seen, (1.0 - weight) * (plausible + 1e-3));
            }
        }
        sums
    }

    fn model(&self, before: &Model, chances: &Chances, scale: f64, window_ns: u64) -> Model {
        Model {
            density: self.density(window_ns),
            reaction: self.reaction(chances, scale),
            background: self.background(chances, scale),
            relation: self.relations(),
            place: self.places(),
            learned_from: before.learned_from,
        }
    }

    /// Smoothed over neighbouring bins, more often where there is less to learn from.
    fn density(&self, window_ns: u64) -> Vec<f64> {
        let total: f64 = self.bins.iter().sum();
        let rounds = if total < 200.0 { 12 } else if total < 1000.0 { 5 } else { 2 };
        let mut masses = self.bins.clone();
        for _ in 0..rounds {
            let old = masses.clone();
            for (bin, mass) in masses.iter_mut().enumerate() {
                let near = |at: Option<usize>| at.and_then(|at| old.get(at)).copied().unwrap_or(old[bin]);
                *mass = 0.25 * near(bin.checked_sub(1)) + 0.5 * old[bin] + 0.25 * near(Some(bin + 1));
            }
        }
        let smoothed: f64 = masses.iter().sum();
        let believed = believed_density(window_ns);
        let kept = total / (total + LATENCY_BELIEF) / smoothed.max(1e-12);
        let share = LATENCY_BELIEF / (total + LATENCY_BELIEF);
        masses.iter().enumerate().map(|(bin, mass)| mass * kept / lag::width(bin) + believed[bin] * share).collect()
    }

    fn reaction(&self, chances: &Chances, scale: f64) -> Vec<f64> {
        let weighted: f64 = (0..CELLS).map(|cell| chances.messages[cell] * chances.belief(cell)).sum();
        let mut reaction = vec![0.0; ROLES * CELLS];
        for role in 0..ROLES {
            let cells = &self.cells[role * CELLS..][..CELLS];
            let average = (cells.iter().sum::<f64>() * scale).max(1e-3) / weighted.max(1.0);
            for (cell, count) in cells.iter().enumerate() {
                let believed = (average * chances.belief(cell)).max(1e-12);
                // The belief is worth so many messages that it would have brought so many requests.
                let worth = REACTION_BELIEF / believed;
                let brought = count * scale + REACTION_BELIEF;
                reaction[role * CELLS + cell] = brought / (chances.messages[cell] + worth);
            }
        }
        reaction
    }

    fn background(&self, chances: &Chances, scale: f64) -> Vec<f64> {
        let time: f64 = chances.time.iter().sum::<f64>().max(1e6);
        let mut background = vec![0.0; ROLES * RATE_CLASSES];
        for role in 0..ROLES {
            let alone = &self.alone[role * RATE_CLASSES..][..RATE_CLASSES];
            let average = (alone.iter().sum::<f64>() * scale + BACKGROUND_BELIEF) / time;
            for (rate, count) in alone.iter().enumerate() {
                let worth = BACKGROUND_BELIEF / average;
                let rate_of = (count * scale + BACKGROUND_BELIEF) / (chances.time[rate] + worth);
                background[role * RATE_CLASSES + rate] = rate_of;
            }
        }
        background
    }

    fn relations(&self) -> Vec<f64> {
        let mut ratios = vec![1.0; ROLES * CONTEXTS * RELATIONS];
        for role in 0..ROLES {
            let of = |tables: &Tables, belief: &[f64; RELATIONS]| {
                shares(&tables.relation[role * CONTEXTS * RELATIONS..][..CONTEXTS * RELATIONS], belief)
            };
            let (caused, not_caused) = (of(&self.caused, &CAUSED), of(&self.not_caused, &NOT_CAUSED));
            for at in (0..CONTEXTS * RELATIONS).filter(|at| at % RELATIONS != 0) {
                ratios[role * CONTEXTS * RELATIONS + at] = caused[at] / not_caused[at];
            }
        }
        ratios
    }

    fn places(&self) -> Vec<f64> {
        let mut ratios = vec![1.0; ROLES * 2 * PLACES];
        for (group, ratios) in ratios.chunks_mut(PLACES).enumerate() {
            let of = |tables: &Tables| {
                let counts = &tables.place[group * PLACES..][..PLACES];
                let total: f64 = counts.iter().sum();
                counts.iter().map(|count| (count + 5.0) / (total + 20.0)).collect::<Vec<f64>>()
            };
            let (caused, not_caused) = (of(&self.caused), of(&self.not_caused));
            for (ratio, (caused, not_caused)) in ratios.iter_mut().zip(caused.iter().zip(&not_caused)) {
                *ratio = caused / not_caused;
            }
        }
        ratios
    }
}

/// The share of each relation in its context, drawn towards that in all contexts, which is drawn towards the belief.
/// Relation 0, no price, is left out.
fn shares(counts: &[f64], belief: &[f64; RELATIONS]) -> Vec<f64> {
    let mut all = [0.0; RELATIONS];
    for (at, count) in counts.iter().enumerate().filter(|(at, _)| at % RELATIONS != 0) {
        all[at % RELATIONS] += count;
    }
    let total: f64 = all.iter().sum();
    for (share, belief) in all.iter_mut().zip(belief) {
        *share = (*share + RELATION_BELIEF * belief) / (total + RELATION_BELIEF);
    }
    let mut shares = Vec::with_capacity(counts.len());
    for context in counts.chunks(RELATIONS) {
        let total: f64 = context.iter().skip(1).sum();
        for (count, share) in context.iter().zip(&all) {
            shares.push((count + CONTEXT_BELIEF * share) / (total + CONTEXT_BELIEF));
        }
    }
    shares
}
