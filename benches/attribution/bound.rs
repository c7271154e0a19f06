//! What a model that knows the truth about the trader could reach on the same candidates: the scenario's own latency
//! law, reaction shares, price shares and timers, applied to each request by Bayes' rule. Nothing is learned here.

use tickscope::book::{Price, Touch, price_of};
use tickscope::pair::OrderRow;
use tickscope::pair::attribution::{Candidate, Case, Origin};
use tickscope_model::{MarketKind, OrderKind, Side};
use tickscope_sim::{During, Kind, Latency, On, Scenario, Strategy, Style};

/// The simulator's smallest price step: a cent.
const CENT: Price = 1_000_000;
/// Points of the table of the latency's density, between these.
const POINTS: usize = 4000;
const FROM_NS: f64 = 500.0;
const TO_NS: f64 = 2e7;

pub(crate) struct Bound<'a> {
    scenario: &'a Scenario,
    density: Vec<f64>,
}

impl<'a> Bound<'a> {
    pub(crate) fn new(scenario: &'a Scenario) -> Bound<'a> {
        let density = (0..POINTS).map(|at| density(&scenario.trader.latency, point(at))).collect();
        Bound { scenario, density }
    }

    /// The probability of each candidate, and of nothing.
    pub(crate) fn weigh(&self, row: &OrderRow, case: &Case) -> (Vec<f64>, f64) {
        let mut weights: Vec<f64> = case
            .candidates
            .iter()
            .enumerate()
            .map(|(at, candidate)| {
                let lag = row.t_out.since(candidate.tick.time).0;
                let rules = self.scenario.strategy.iter().filter(|rule| rule.kind == Kind::React);
                let reaction: f64 = rules.map(|rule| reaction(rule, row, case, at, candidate)).sum();
                reaction * self.latency(lag)
            })
            .collect();
        let timers = self.scenario.strategy.iter().filter(|rule| rule.kind == Kind::Timer);
        let nothing: f64 = timers.map(|rule| self.timer(rule, row, case)).sum();
        let sum: f64 = weights.iter().sum::<f64>() + nothing;
        if sum > 0.0 {
            for weight in &mut weights {
                *weight /= sum;
            }
            (weights, nothing / sum)
        } else {
            (weights, 1.0)
        }
    }

    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a table")]
    fn latency(&self, lag_ns: i64) -> f64 {
        let at = ((lag_ns as f64 / FROM_NS).ln() / (TO_NS / FROM_NS).ln() * (POINTS - 1) as f64).round();
        if at < 0.0 { 0.0 } else { self.density.get(at as usize).copied().unwrap_or(0.0) }
    }

    /// Orders of a timer at this price on this symbol, for each nanosecond.
    fn timer(&self, rule: &Strategy, row: &OrderRow, case: &Case) -> f64 {
        let during = match rule.during {
            During::Always => true,
            During::Burst => self.is_burst(case),
            During::Quiet => !self.is_burst(case),
        };
        if !during || row.request != OrderKind::New {
            return 0.0;
        }
        let best = case.best.unwrap_or_default();
        let Some(is_buy) = is_buy(row) else { return 0.0 };
        let reference = if rule.style == Style::Join { best.own(is_buy) } else { best.opposite(is_buy) };
        let symbols = f64::from(self.scenario.market.symbols);
        #[allow(clippy::cast_precision_loss, reason = "a duration")]
        let every_ns = rule.every.0 as f64;
        0.5 * priced(rule, row, reference) / every_ns / symbols
    }

    /// Whether a microburst runs, by the local rate: above the geometric mean of the two rates.
    fn is_burst(&self, case: &Case) -> bool {
        let Some(burst) = &self.scenario.market.burst else { return false };
        let market = &self.scenario.market;
        let each = 1.0 / (1.0 - market.branching) / f64::from(market.symbols);
        let middle = (market.rate * each).max(1.0) * (burst.rate * each);
        let span_ns = 8e9 / middle.sqrt();
        f64::from(case.rate()) < span_ns.log2()
    }
}

fn is_buy(row: &OrderRow) -> Option<bool> {
    row.side.map(|side| side == Side::Buy)
}

/// Orders like this one that a message brings by one rule.
fn reaction(rule: &Strategy, row: &OrderRow, case: &Case, at: usize, candidate: &Candidate) -> f64 {
    if candidate.origin != Origin::Symbol || !matches(rule, candidate) {
        return 0.0;
    }
    // Newest first: what stands behind in the list came before.
    let packet = |one: &Candidate| (one.tick.frame, one.tick.line);
    let mut earlier = case.candidates[at + 1..].iter().take_while(|one| packet(one) == packet(candidate));
    if rule.first && earlier.any(|one| matches(rule, one)) {
        return 0.0;
    }
    if row.request == OrderKind::Cancel {
        return rule.share * rule.cancel;
    }
    let effect = case.effects.as_ref().and_then(|effects| effects.get(at)).copied().unwrap_or_default();
    let (Some(is_buy), Some(side)) = (is_buy(row), effect.side) else { return 0.0 };
    let wanted = if rule.seen.is_some() && rule.style == Style::Join { side } else { !side };
    if is_buy != wanted {
        return 0.0;
    }
    let best = effect.after;
    let reference = match (rule.seen, rule.on, rule.style) {
        (Some(_), On::Best, _) => best.own(side),
        (Some(_), ..) => effect.price,
        (None, _, Style::Join) => best.own(is_buy),
        (None, ..) => best.opposite(is_buy),
    };
    f64::from(rule.orders) * rule.share * (1.0 - rule.cancel) * priced(rule, row, reference)
}

fn matches(rule: &Strategy, candidate: &Candidate) -> bool {
    match rule.on {
        On::Trade => candidate.tick.kind == MarketKind::Trade,
        On::Best => candidate.touch != Touch::Same,
        On::Any => true,
    }
}

/// How likely a rule's order stands at this price, if its reference is that one.
fn priced(rule: &Strategy, row: &OrderRow, reference: Price) -> f64 {
    let Some(price) = row.price.and_then(price_of) else { return 0.0 };
    let Some(seen) = rule.seen else { return f64::from(u8::from(price == reference)) };
    let steps = (price - reference).abs() / CENT;
    match steps {
        0 => seen,
        steps if steps <= i64::from(rule.away) => (1.0 - seen) / 2.0 / f64::from(rule.away),
        _ => 0.0,
    }
}

#[allow(clippy::cast_precision_loss, reason = "a small number")]
fn point(at: usize) -> f64 {
    FROM_NS * ((TO_NS / FROM_NS).ln() * at as f64 / (POINTS - 1) as f64).exp()
}

/// Density for each nanosecond: lognormal, and with a small share an exponential time more.
#[allow(clippy::cast_precision_loss, reason = "latencies")]
fn density(law: &Latency, ns: f64) -> f64 {
    let (median, tail) = (law.median as f64, law.tail.max(1) as f64);
    let sigma = law.sigma.max(1e-3);
    let body = |ns: f64| {
        let z = (ns / median).ln() / sigma;
        (-z * z / 2.0).exp() / (ns * sigma * (2.0 * std::f64::consts::PI).sqrt())
    };
    let steps = 400;
    let longer: f64 = (0..steps)
        .map(|step| {
            // The body's own values, in equal shares of its logarithm between -5 and 5 deviations.
            let z = -5.0 + 10.0 * (f64::from(step) + 0.5) / f64::from(steps);
            let own = median * (sigma * z).exp();
            let share = (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt() * 10.0 / f64::from(steps);
            if own < ns { share * (-(ns - own) / tail).exp() / tail } else { 0.0 }
        })
        .sum();
    (1.0 - law.tail_share) * body(ns) + law.tail_share * longer
}
