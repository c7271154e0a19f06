//! The model of the order stream, as pure functions: orders come by themselves at a background rate, and each message
//! brings further ones after a latency. For a request this gives each candidate, and "nothing", a probability.
//!
//! `intensity of the request = background(rate) + Σ over candidates q(message) · f(lag) · likelihood ratios`
//!
//! `q` is how many requests a message of that kind brings, by what it did to the book and on which side it stands; `f` the
//! density of the latency; the ratios say how much more often a request that the message caused stands at its price
//! than one that it did not cause. All of it is learned from the requests by expectation and maximisation.

use std::ops::Range;

use super::density;
use super::lag::{self, BINS};
use super::smooth::Smoother;
use crate::book::{Exposure, Moved, RATE_CLASSES, Touch};

/// Requests are told apart as: new orders and quotes, replaces, cancels, and new orders that trade when they come or not
/// at all. Those are another strategy's than orders that wait in the book.
pub(crate) const ROLES: usize = 4;
/// Message cells: sixteen types, three touches, three sides; behind them private reports about the same symbol, and
/// about another one, and messages that made a configured condition true.
pub(crate) const CELLS: usize = 16 * 9 + 3;
pub(crate) const LINK_CELL: u16 = 16 * 9 + 2;
/// How the request's price relates to the message: see [`super::Relation`].
pub(crate) const RELATIONS: usize = 7;
/// What the relations depend on: trade or not, touch, side.
const CONTEXTS: usize = 2 * 9;
/// Place among the messages of its packet about the symbol: alone; first; first trade, or first that changed the best
/// prices; any other.
pub(crate) const PLACES: usize = 4;
/// Messages whose places are told apart: those that change no best price, trades, and others that do.
const PLACE_GROUPS: usize = 3;

/// The place of a message that is alone in its packet, in the model's table; its other places follow.
pub(crate) fn place_cell(is_trade: bool, touch: Touch) -> u8 {
    match (is_trade, touch) {
        (true, _) => 4,
        (false, Touch::Same) => 0,
        (false, _) => 8,
    }
}

/// Where the request's price stands in the book when it is sent: unknown, opposite best, own best, between them, near,
/// further, far.
pub(crate) const STANCES: usize = 7;

/// A candidate as the model sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub bin: u16,
    pub cell: u16,
    /// Context times [`RELATIONS`], plus the relation.
    pub relation: u16,
    /// [`place_cell`], plus the place.
    pub place: u8,
    /// It has caused a request of the session already, and not just now: see [`super::spent`].
    pub is_spent: bool,
}

/// A request as the model sees it.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    pub role: u8,
    /// Class of the local rate of messages.
    pub rate: u8,
    /// Where its price stands in the book.
    pub stance: u8,
    pub candidates: Vec<Seen>,
}

impl Clone for Observed {
    fn clone(&self) -> Observed {
        Observed { candidates: self.candidates.clone(), ..*self }
    }

    /// Into the room that is there.
    fn clone_from(&mut self, other: &Observed) {
        (self.role, self.rate, self.stance) = (other.role, other.rate, other.stance);
        self.candidates.clone_from(&other.candidates);
    }
}

/// The cell of a message about a symbol. `side`: 0 the request's own, 1 the other, 2 not known.
pub(crate) fn cell(class: u8, touch: Touch, side: u8) -> u16 {
    u16::from(class.min(15)) * 9 + touch as u16 * 3 + u16::from(side)
}

/// The cell of a private report.
pub(crate) fn report_cell(is_same_symbol: bool) -> u16 {
    16 * 9 + u16::from(!is_same_symbol)
}

/// Whether a cell is one of private reports.
fn is_report(cell: usize) -> bool {
    cell == usize::from(report_cell(true)) || cell == usize::from(report_cell(false))
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
    /// How much more often requests that come by themselves stand there, by role.
    pub stance: Vec<f64>,
}

/// How often each cell was there to react to, with a request of one of the two sides: a message that has a side itself is
/// such a chance in either of its two cells, and all other things count twice in their one.
#[derive(Clone, Debug)]
pub(crate) struct Chances {
    messages: Vec<f64>,
    time: [f64; RATE_CLASSES],
    trade: [bool; 16],
}

impl Chances {
    /// Private reports and causes by links, so far; and for how long there have been requests, which counts where there is
    /// no market data.
    #[allow(clippy::cast_precision_loss, reason = "counts far below 2^53")]
    pub(crate) fn new(exposure: &Exposure, (reports, links): (u64, u64), span_ns: u64) -> Chances {
        let mut messages = vec![0.0; CELLS];
        let mut trade = [false; 16];
        for class in 0..16_u8 {
            trade[usize::from(class)] = exposure.is_trade(class);
            for touch in [Touch::Same, Touch::Quantity, Touch::Price] {
                let count = |has_side| exposure.messages(Moved { class, touch, has_side }) as f64;
                for side in 0..2 {
                    messages[usize::from(cell(class, touch, side))] = count(true);
                }
                messages[usize::from(cell(class, touch, 2))] = 2.0 * count(false) + 0.02 * count(true);
            }
        }
        messages[usize::from(report_cell(true))] = 2.0 * reports as f64;
        messages[usize::from(report_cell(false))] = 2.0 * reports as f64;
        messages[usize::from(LINK_CELL)] = 2.0 * links as f64;
        let mut time = exposure.time;
        if time.iter().all(|ns| *ns == 0) {
            time[RATE_CLASSES - 1] = span_ns;
        }
        Chances { messages, time: time.map(|ns| 2.0 * ns as f64), trade }
    }

    /// What is believed of a cell before anything is known: trades and new best prices are acted upon, what happens
    /// deep in the book is not.
    fn belief(&self, cell: usize) -> f64 {
        if cell == usize::from(LINK_CELL) {
            return 10.0; // somebody said so
        }
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

/// Most traders do not act on private reports, and in a busy market some report stands before many a request: of so small
/// a share of the requests they are no cause.
const REPORTS_BY_CHANCE: f64 = 0.003;

/// Requests' worth of belief that is mixed into what is learned: about the reaction to each cell …
const REACTION_BELIEF: f64 = 1.0;
/// … the background rate at each local rate …
const BACKGROUND_BELIEF: f64 = 0.5;
/// … and the relations, in a context from those of all contexts, and in all contexts from the table below.
const CONTEXT_BELIEF: f64 = 8.0;
const RELATION_BELIEF: f64 = 10.0;
/// … and where requests stand that come by themselves.
const STANCE_BELIEF: f64 = 20.0;
/// Before anything is known: no price, the message's price, opposite best, own best, near, further, far.
const CAUSED: [f64; RELATIONS] = [0.0, 0.40, 0.20, 0.15, 0.13, 0.07, 0.05];
const NOT_CAUSED: [f64; RELATIONS] = [0.0, 0.25, 0.20, 0.15, 0.20, 0.12, 0.08];
/// Of several messages in a packet a trader acts on the first that concerns it: alone, first, first of its kind, other.
const CAUSED_PLACE: [f64; PLACES] = [10.0, 10.0, 6.0, 0.2];
const NOT_CAUSED_PLACE: [f64; PLACES] = [10.0, 4.0, 4.0, 8.0];
/// Whether messages behind others of their kind are causes, too, can hardly be told from the requests: of so small a share
/// of them, they are not.
const OTHERS_BY_CHANCE: f64 = 0.03;
/// One request in five is believed to come by itself.
const UNTRIGGERED: f64 = 0.2;

/// What stands beside a message by chance is learned from messages that are too old to have caused the request: so many
/// of those that are older than this share of latencies. (Learning it from what probably did not cause the request would
/// feed doubt on itself.)
const UNRELATED: usize = 3;
const USUAL: f64 = 0.98;

/// Rounds of learning at most, and the share of requests that must move for another one. (Four times as many were tried: in a
/// quiet market they teach too much of single requests.)
const ROUNDS: usize = 50;
/// One request in so many has to have a single possible cause, for the others to be learned behind these.
const LEAST_CLEAR: usize = 8;
/// What confirms itself is a little likelier than what is right: by fewer nats than these.
const BY_CHANCE: f64 = 20.0;
const MOVED: f64 = 1e-3;
/// Candidates that are less likely than this teach nothing.
const NEGLIGIBLE: f64 = 1e-9;

impl Model {
    /// What is believed before the first request; `window_ns` is the longest latency.
    pub(crate) fn believed(chances: &Chances, requests: f64, window_ns: u64) -> Model {
        let mut model = Model {
            density: density::believed(window_ns),
            reaction: vec![0.0; ROLES * CELLS],
            background: vec![0.0; ROLES * RATE_CLASSES],
            relation: vec![1.0; ROLES * CONTEXTS * RELATIONS],
            place: vec![1.0; ROLES * PLACE_GROUPS * PLACES],
            stance: vec![1.0; ROLES * STANCES],
        };
        let requests = requests.max(1.0);
        let weighted: f64 = (0..CELLS).map(|cell| chances.messages[cell] * chances.belief(cell)).sum();
        let time: f64 = chances.time.iter().sum();
        for role in 0..ROLES {
            for cell in 0..CELLS {
                let share = (1.0 - UNTRIGGERED) * requests * chances.belief(cell) / weighted.max(1.0);
                model.reaction[role * CELLS + cell] = share;
            }
            for place in 0..PLACE_GROUPS * PLACES {
                let at = place % PLACES;
                let shares = [CAUSED_PLACE, NOT_CAUSED_PLACE].map(|belief| belief[at] / belief.iter().sum::<f64>());
                model.place[role * PLACE_GROUPS * PLACES + place] = shares[0] / shares[1];
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

    /// The probability of each candidate, into `out`; returns that of none of them, and the request's intensity.
    #[inline]
    pub(crate) fn weigh(&self, request: &Observed, out: &mut Vec<f64>) -> (f64, f64) {
        out.clear();
        let role = usize::from(request.role);
        let nothing = self.background[role * RATE_CLASSES + usize::from(request.rate)]
            * self.stance[role * STANCES + usize::from(request.stance)];
        let reaction = &self.reaction[role * CELLS..][..CELLS];
        let relation = &self.relation[role * CONTEXTS * RELATIONS..][..CONTEXTS * RELATIONS];
        let place = &self.place[role * PLACE_GROUPS * PLACES..][..PLACE_GROUPS * PLACES];
        let mut sum = nothing;
        for seen in &request.candidates {
            let weight = reaction[usize::from(seen.cell)]
                * self.density[usize::from(seen.bin)]
                * relation[usize::from(seen.relation)]
                * place[usize::from(seen.place)]
                * if seen.is_spent { super::spent::AGAIN } else { 1.0 };
            sum += weight;
            out.push(weight);
        }
        let scale = if sum > 0.0 { 1.0 / sum } else { 0.0 };
        for weight in out.iter_mut() {
            *weight *= scale;
        }
        (if sum > 0.0 { nothing * scale } else { 1.0 }, sum)
    }

    /// Learns from requests, which are a sample of `requests` in all. Where several messages of one packet could be the
    /// cause, what is said of them at first confirms itself: so, if it is to be thorough, it is learned a second time,
    /// from the requests with one possible cause first, and that stands unless it is clearly less likely.
    pub(crate) fn learn(
        sample: &[Observed],
        requests: usize,
        chances: &Chances,
        (window_ns, is_thorough): (u64, bool),
    ) -> Model {
        #[allow(clippy::cast_precision_loss, reason = "counts far below 2^53")]
        let (all, taken) = (requests as f64, sample.len() as f64);
        let model = Model::believed(chances, all, window_ns);
        if sample.is_empty() {
            return model;
        }
        let smoother = Smoother::new(density::bins_of(window_ns));
        let mut lesson = Lesson { sample, chances, scale: all / taken, smoother };
        let one = lesson.from(model);
        if !is_thorough {
            return one;
        }
        let behind = lag::bin(one.quantile(USUAL));
        let is_clear = |request: &&Observed| request.candidates.iter().filter(|seen| seen.bin < behind).count() < 2;
        let clear: Vec<&Observed> = sample.iter().filter(is_clear).collect();
        if clear.len() == sample.len() || clear.len() * LEAST_CLEAR < sample.len() {
            return one;
        }
        #[allow(clippy::cast_precision_loss, reason = "counts far below 2^53")]
        let scale = all / clear.len() as f64;
        let behind_clear = Sums::of(&one, clear.iter().copied()).model(chances, scale, &mut lesson.smoother);
        let other = lesson.from(behind_clear);
        let likelihood = |model: &Model| Sums::of(model, sample).likelihood;
        if likelihood(&other) > likelihood(&one) - BY_CHANCE { other } else { one }
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

/// What is learned from.
struct Lesson<'a> {
    sample: &'a [Observed],
    chances: &'a Chances,
    /// Requests for each of the sample.
    scale: f64,
    smoother: Smoother,
}

impl Lesson<'_> {
    /// Learns, beginning with a model.
    fn from(&mut self, mut model: Model) -> Model {
        let mut before: Option<Sums> = None;
        for _ in 0..ROUNDS {
            let sums = Sums::of(&model, self.sample);
            model = sums.model(self.chances, self.scale, &mut self.smoother);
            if before.is_some_and(|before| sums.distance(&before) < MOVED * sums.requests) {
                break;
            }
            before = Some(sums);
        }
        model
    }
}

/// What one look at the requests gives.
struct Sums {
    /// Requests caused by a message, by bin, and by role and cell.
    bins: Vec<f64>,
    cells: Vec<f64>,
    /// Requests that came by themselves, by role and class of rate.
    alone: Vec<f64>,
    /// Where those stand, and where all stand.
    alone_stances: Vec<f64>,
    stances: Vec<f64>,
    caused: Tables,
    not_caused: Tables,
    /// Requests, and candidates of usual age.
    requests: f64,
    near: f64,
    /// The sum of the logarithms of the requests' intensities.
    likelihood: f64,
}

/// Relations and places, by role.
struct Tables {
    relation: Vec<f64>,
    place: Vec<f64>,
}

impl Tables {
    fn new() -> Tables {
        Tables { relation: vec![0.0; ROLES * CONTEXTS * RELATIONS], place: vec![0.0; ROLES * PLACE_GROUPS * PLACES] }
    }

    fn add(&mut self, role: usize, seen: Seen, weight: f64) {
        self.relation[role * CONTEXTS * RELATIONS + usize::from(seen.relation)] += weight;
        self.place[role * PLACE_GROUPS * PLACES + usize::from(seen.place)] += weight;
    }
}

impl Sums {
    fn of<'a>(model: &Model, sample: impl IntoIterator<Item = &'a Observed>) -> Sums {
        let mut sums = Sums {
            bins: vec![0.0; BINS],
            cells: vec![0.0; ROLES * CELLS],
            alone: vec![0.0; ROLES * RATE_CLASSES],
            alone_stances: vec![0.0; ROLES * STANCES],
            stances: vec![0.0; ROLES * STANCES],
            caused: Tables::new(),
            not_caused: Tables::new(),
            requests: 0.0,
            near: 0.0,
            likelihood: 0.0,
        };
        let behind = lag::bin(model.quantile(USUAL));
        let mut weights = Vec::new();
        for request in sample {
            let role = usize::from(request.role);
            let (nothing, intensity) = model.weigh(request, &mut weights);
            sums.likelihood += intensity.max(f64::MIN_POSITIVE).ln();
            sums.alone[role * RATE_CLASSES + usize::from(request.rate)] += nothing;
            sums.alone_stances[role * STANCES + usize::from(request.stance)] += nothing;
            sums.stances[role * STANCES + usize::from(request.stance)] += 1.0;
            let (mut near, mut unrelated) = (0_u32, 0);
            for (seen, &weight) in request.candidates.iter().zip(&weights) {
                if seen.bin < behind {
                    near += 1;
                } else if unrelated < UNRELATED {
                    unrelated += 1;
                    sums.not_caused.add(role, *seen, 1.0);
                }
                if weight > NEGLIGIBLE {
                    sums.bins[usize::from(seen.bin)] += weight;
                    sums.cells[role * CELLS + usize::from(seen.cell)] += weight;
                    sums.caused.add(role, *seen, weight);
                }
            }
            sums.requests += 1.0;
            sums.near += f64::from(near);
        }
        sums
    }

    /// How many requests are explained otherwise than before.
    fn distance(&self, before: &Sums) -> f64 {
        let apart =
            |one: &[f64], other: &[f64]| one.iter().zip(other).map(|(one, other)| (one - other).abs()).sum::<f64>();
        apart(&self.bins, &before.bins) + apart(&self.cells, &before.cells) + apart(&self.alone, &before.alone)
    }

    fn model(&self, chances: &Chances, scale: f64, smoother: &mut Smoother) -> Model {
        Model {
            density: density::learned(&self.bins, (self.near, self.requests), smoother),
            reaction: self.reaction(chances, scale),
            background: self.background(chances, scale),
            relation: self.relations(),
            place: self.places(),
            stance: self.stances(),
        }
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
                let by_chance = if is_report(cell) { REPORTS_BY_CHANCE * self.requests } else { 0.0 };
                let brought = (count - by_chance).max(0.0) * scale + REACTION_BELIEF;
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

    fn stances(&self) -> Vec<f64> {
        let mut ratios = vec![1.0; ROLES * STANCES];
        for role in 0..ROLES {
            let of = |counts: &[f64]| counts[role * STANCES..][..STANCES].to_vec();
            let (alone, all) = (of(&self.alone_stances), of(&self.stances));
            let (alone_sum, all_sum): (f64, f64) = (alone.iter().sum(), all.iter().sum());
            for stance in 0..STANCES {
                // Drawn towards where all requests stand.
                let usual = (all[stance] + 1.0) / (all_sum + 7.0);
                let share = (alone[stance] + STANCE_BELIEF * usual) / (alone_sum + STANCE_BELIEF);
                ratios[role * STANCES + stance] = share / usual;
            }
        }
        ratios
    }

    /// Whoever reads a message does not know yet what follows in its packet, so alone and first are one; and what is read
    /// later in a packet is no better a reason than what was read first.
    fn places(&self) -> Vec<f64> {
        let mut ratios = vec![1.0; ROLES * PLACE_GROUPS * PLACES];
        for (group, ratios) in ratios.chunks_mut(PLACES).enumerate() {
            let of = |tables: &Tables, belief: &[f64; PLACES]| {
                let mut counts = [0.0; PLACES];
                counts.copy_from_slice(&tables.place[group * PLACES..][..PLACES]);
                let by_chance = OTHERS_BY_CHANCE * counts.iter().sum::<f64>();
                counts[PLACES - 1] = (counts[PLACES - 1] - by_chance).max(0.0);
                let total: f64 = counts.iter().sum::<f64>() + belief.iter().sum::<f64>();
                counts.iter().zip(belief).map(|(count, belief)| (count + belief) / total).collect::<Vec<f64>>()
            };
            let (caused, not_caused) = (of(&self.caused, &CAUSED_PLACE), of(&self.not_caused, &NOT_CAUSED_PLACE));
            // Places from `from` on have one ratio; the others a higher one.
            let mut ratio_of = |places: Range<usize>| {
                let sum = |shares: &[f64]| shares[places.clone()].iter().sum::<f64>();
                let ratio = sum(&caused) / sum(&not_caused);
                ratios[places.clone()].fill(ratio);
                ratio
            };
            let first = ratio_of(0..2);
            let like = ratio_of(2..3);
            let other = ratio_of(3..4);
            match (like > first, other > like) {
                (true, _) if other > ratio_of(0..3) => _ = ratio_of(0..4),
                (false, true) if ratio_of(2..4) > first => _ = ratio_of(0..4),
                _ => {}
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
