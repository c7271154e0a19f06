//! Which market-data message, or private report, made us send a request: what could have done it is collected here, and
//! judged by the model of [`super::attribution`]. This is an inference; the method and its confidence stand on every row.

use std::collections::VecDeque;
use std::sync::Arc;

use tickscope_model::{Loss, MarketKind, Nanos, OrderKind, SegmentKind, Side, SymbolId, Timestamp};

use super::attribution::candidates::{self, ALWAYS, ALWAYS_WITHOUT_BOOKS, Candidate, Case, Cause, MOST, Report, Wish};
use super::attribution::suggest::Moment;
use super::attribution::{Judge, Learning, Origin, Suggestion, Verdict};
use super::ids::{self, IdRule};
use super::links::LinkRule;
use super::pairer::{Pairer, View};
use super::requests::{Open, RequestId, Trail};
use super::row::{Flag, Method, OrderRow, Trigger, Weighed};
use crate::book::{self, Exposure, RATE_CLASSES};
use crate::merge::{Recent, Symbols, Tick, Ticks};

/// At most so many messages are looked at for one request.
const STEPS: usize = 4096;
/// Private reports that are remembered, and how many of them are candidates of one request.
const REPORTS: usize = 64;
const REPORT_CANDIDATES: usize = 8;
/// Causes by a link that are candidates of one request.
const LINK_CANDIDATES: usize = 16;

/// What may be a trigger.
#[derive(Clone, Debug)]
pub struct TriggerRule {
    /// At most this old …
    pub window: Nanos,
    /// … and at least this.
    pub min: Nanos,
    /// Kinds of messages that may be triggers.
    pub kinds: Vec<MarketKind>,
    /// How the model that weighs them is learned.
    pub learning: Learning,
    /// Where requests carry the market data's own id.
    pub ids: Vec<IdRule>,
    /// Orders in one instrument caused by another.
    pub links: Vec<LinkRule>,
    /// Whether the symbols of requests have books.
    pub keeps_books: bool,
    /// Whether rows keep their candidates.
    pub keeps_cases: bool,
}

impl Default for TriggerRule {
    fn default() -> Self {
        TriggerRule {
            window: Nanos(1_000_000_000),
            min: Nanos(0),
            kinds: vec![MarketKind::Trade, MarketKind::Quote, MarketKind::Book],
            learning: Learning::default(),
            ids: Vec::new(),
            links: Vec::new(),
            keeps_books: true,
            keeps_cases: false,
        }
    }
}

impl TriggerRule {
    /// One sentence for the report.
    pub fn text(&self) -> String {
        if self.learning == Learning::None {
            return "none is looked for".to_owned();
        }
        let kinds: Vec<&str> = self.kinds.iter().map(|kind| kind.name()).collect();
        let mut text = format!(
            "{} messages on the symbol and private fills, weighed by a {} model of the order stream {} books",
            kinds.join("/"),
            self.learning.name(),
            if self.keeps_books { "with" } else { "without" }
        );
        let links: Vec<String> = self.links.iter().map(ToString::to_string).collect();
        if !links.is_empty() {
            text.push_str("; links: ");
            text.push_str(&links.join(", "));
        }
        if !self.ids.is_empty() {
            text.insert_str(0, "the id that the request carries, else ");
        }
        text
    }
}

/// The newest private reports.
#[derive(Default)]
pub(super) struct Reports {
    newest: VecDeque<Arc<Report>>,
    /// So many came.
    pub count: u64,
}

impl Reports {
    pub(super) fn push(&mut self, report: Report) {
        self.count += 1;
        if self.newest.len() == REPORTS {
            self.newest.pop_front();
        }
        self.newest.push_back(Arc::new(report));
    }

    /// None of them causes what comes from now on.
    pub(super) fn forget(&mut self) {
        self.newest.clear();
    }
}

/// A look-up of a trigger waits this long, since frames of other taps and queues may be a little late.
const LOOKUP_DELAY: Nanos = Nanos(5_000_000);
/// The class of the local rate where there is no market data.
#[allow(clippy::cast_possible_truncation, reason = "40")]
const NO_RATE: u8 = RATE_CLASSES as u8 - 1;

/// The market data that a request may have reacted to: the nearest point that has any, and what it calls the request's symbol.
#[derive(Clone, Copy)]
struct Market {
    point: u16,
    symbol: Option<SymbolId>,
}

impl Market {
    fn of(open: &Open, view: &View<'_>) -> Option<Market> {
        let point = view.nearest_market(open.point)?;
        Some(Market { point, symbol: open.symbol.or_else(|| view.symbols.known(open.row.symbol.as_bytes())) })
    }
}

/// What the order stream could have reacted to: as the books' tape counts it, else a sample.
fn exposure<'a>(rule: &TriggerRule, view: &'a View<'_>, sampled: &'a Exposure) -> &'a Exposure {
    if rule.keeps_books { &view.tape.exposure } else { sampled }
}

/// Messages about a request's symbol, newest first.
struct Walked {
    point: u16,
    symbol: SymbolId,
    ticks: Vec<Tick>,
    /// There are no others since then; `None` where there may be.
    since: Option<Timestamp>,
    /// Those that may have been there are forgotten.
    is_evicted: bool,
}

/// A request that is done, and waits for the model.
pub(super) struct Held {
    pub row: Box<OrderRow>,
    pub trail: Trail,
    pub case: Box<Case>,
}

impl Pairer {
    /// Whether it is time to look up the first request that waits for that.
    #[inline]
    pub(super) fn must_look_up(&self, now: Timestamp, ticks: &Ticks) -> bool {
        let is_due = |(time, count, _): &(Timestamp, u32, RequestId)| {
            now.since(*time).0 > LOOKUP_DELAY.0 || ticks.is_urgent(*count)
        };
        self.waiting.front().is_some_and(is_due)
    }

    /// Looks up what may have made us send a request that came after so many market-data messages.
    pub(super) fn look_up(&mut self, id: RequestId, messages: u32, view: &View<'_>) {
        if self.judge.learning() == Learning::None {
            if let Some(open) = self.requests.get_mut(id) {
                open.looked_up = true;
            }
            return;
        }
        let Some(open) = self.requests.get(id) else { return };
        let role = candidates::role(open.row.request, open.row.parts.is_immediate);
        let mut case = Case::default();
        (case.observed.role, case.observed.rate) = (role, NO_RATE);
        case.effects = self.rules.trigger.keeps_cases.then(Vec::new);
        let (is_echo, has_id) = (open.trail.echo, open.id.is_some());
        let market = Market::of(open, view);
        let walked = market.and_then(|market| self.walk(open, market, messages, view));
        let is_evicted = walked.as_ref().is_some_and(|walked| walked.is_evicted);
        if let (Some(walked), false) = (&walked, self.rules.trigger.keeps_books || is_echo) {
            case.observed.rate = self.sampled.sample(open.row.t_out, walked.since, &walked.ticks);
        }
        if let Some(market) = market {
            self.collect_named(open, market, view, &mut case);
        }
        if let Some(walked) = &walked {
            self.collect_market(open, walked, view, &mut case);
        }
        self.collect_reports(open, &mut case);
        candidates::place(&mut case);
        let (session, time) = (open.session, open.row.t_out);
        self.spent.mark(session, time, &mut case);
        if !is_echo {
            let exposure = exposure(&self.rules.trigger, view, &self.sampled);
            self.judge.learn(&case, time, exposure, (self.reports.count, view.links.count));
        }
        let verdict = self.judge.judge(&case);
        let weights = if self.rules.trigger.keeps_cases { self.judge.weights() } else { Vec::new() };
        if !is_echo {
            self.spent.remember(session, time, &case, &verdict);
        }
        if let Some(market) = market {
            self.look_for_links(id, market, &case, view);
        }
        let verdict = (self.judge.learning() == Learning::Causal).then_some(verdict);
        let Some(open) = self.requests.get_mut(id) else { return };
        open.looked_up = true;
        open.row.bbo = case.best;
        if has_id && case.by_id.is_none() {
            open.row.flags.set(Flag::IdConflict);
        }
        if case.is_partial {
            open.row.flags.set(Flag::BookPartial);
        }
        if is_evicted {
            open.row.flags.set(Flag::TickEvicted);
            self.losses.add(Loss::TickEvicted);
        }
        if let Some(verdict) = verdict {
            settle(&mut open.row, &case, &verdict, self.rules.trigger.window, view);
            if self.rules.trigger.keeps_cases {
                case.weights = weights;
                open.row.case = Some(Box::new(case));
            }
        } else {
            self.undecided = (self.undecided.0 + 1, self.undecided.1 + case.count());
            open.case = Some(Box::new(case));
        }
    }

    /// The messages about a request's symbol that may have caused it, of the nearest point with market data.
    fn walk(&self, open: &Open, market: Market, messages: u32, view: &View<'_>) -> Option<Walked> {
        let (point, symbol) = (market.point, market.symbol?);
        let (rule, time) = (&self.rules.trigger, open.row.t_out);
        let reaches_back = time.shifted(Nanos(-rule.window.0));
        let reach = Nanos(i64::try_from(self.judge.reach_ns()).unwrap_or(i64::MAX));
        let mut walk = view.ticks.newest_first(point, symbol, (reaches_back, time), messages);
        let always = if rule.keeps_books { ALWAYS } else { ALWAYS_WITHOUT_BOOKS };
        let mut walked = Walked { point, symbol, ticks: Vec::new(), since: None, is_evicted: false };
        for _ in 0..STEPS {
            let count = walked.ticks.len();
            if count == always {
                walk.only_since(time.shifted(Nanos(-reach.0)));
            }
            // Older ones come or not, depending on where they are kept.
            let next = walk.next().filter(|tick| time.since(tick.time).0 <= rule.window.0);
            let Some(tick) = next else {
                let is_forgotten = reaches_back < view.ticks.horizon(messages);
                walked.since = (count < always && !is_forgotten).then_some(reaches_back);
                walked.is_evicted = count == 0 && is_forgotten;
                break;
            };
            let age = time.since(tick.time);
            if count >= MOST || count >= always && age.0 > reach.0 {
                break;
            }
            if age.0 >= rule.min.0.max(0) && rule.kinds.contains(&tick.kind) {
                walked.ticks.push(tick);
            }
        }
        Some(walked)
    }

    /// Candidates that the request's id, or a link, names.
    fn collect_named(&self, open: &Open, Market { point, symbol }: Market, view: &View<'_>, case: &mut Case) {
        let (rule, time) = (&self.rules.trigger, open.row.t_out);
        let reaches_back = time.shifted(Nanos(-rule.window.0));
        if let Some(id) = open.id {
            let found = ids::find(view.tape, id, (point, symbol), (reaches_back, time));
            let candidate = |(symbol, entry): (SymbolId, book::Entry)| {
                let of = (entry.tick, symbol);
                Box::new(candidates::of_market(of, Some(&entry.effect), Wish::default(), time, &view.tape.exposure).0)
            };
            case.by_id = found.map(candidate);
        }
        let causes = view.links.newest_first(&open.row.symbol, time).filter(|caused| caused.point == point);
        for caused in causes.take(LINK_CANDIDATES) {
            let age = time.since(caused.tick.time).0;
            if rule.min.0.max(0) <= age && age <= rule.window.0 {
                let candidate = candidates::of_link((caused.tick, caused.symbol), &caused.effect, time);
                case.push(candidate, Some(&caused.effect));
            }
        }
    }

    /// Candidates among the market data about the request's symbol.
    fn collect_market(&self, open: &Open, walked: &Walked, view: &View<'_>, case: &mut Case) {
        let Walked { point, symbol, ref ticks, .. } = *walked;
        let time = open.row.t_out;
        let is_buy = open.row.side.or(open.original.side).map(|side| side == Side::Buy);
        let price = open.row.price.or(open.original.price).and_then(book::price_of);
        let wish = Wish { is_buy, price };
        let exposure = exposure(&self.rules.trigger, view, &self.sampled);
        case.reserve((ticks.len(), self.reports.newest.len().min(REPORT_CANDIDATES)));
        for tick in ticks {
            let effect = view.tape.find(point, symbol, tick);
            case.push(candidates::of_market((*tick, symbol), effect, wish, time, exposure), effect);
        }
        if self.rules.trigger.keeps_books {
            case.observed.rate = view.tape.rate_class(point, symbol, time);
        }
        let newest = view.tape.newest(point, symbol, time);
        case.observed.stance = newest.map_or(0, |entry| candidates::stance(&entry.effect, wish));
        case.best = newest.map(|entry| entry.effect.after);
        case.is_partial = newest.is_some_and(|entry| entry.effect.is_partial);
        let clock = |point: u16| self.rules.clocks.get(usize::from(point));
        case.is_cross_clock = clock(point) != clock(open.point);
        let gaps = view.feeds.feeds.iter().filter(|feed| feed.point == point).filter_map(|feed| feed.last_gap);
        case.gap = gaps.filter(|gap| *gap <= time).max();
    }

    /// Candidates among the private reports.
    fn collect_reports(&self, open: &Open, case: &mut Case) {
        let (time, rule) = (open.row.t_out, &self.rules.trigger);
        let mut taken = 0;
        for report in self.reports.newest.iter().rev() {
            let age = time.since(report.tick.time);
            if age.0 < rule.min.0.max(0) || age.0 > rule.window.0 || taken >= REPORT_CANDIDATES {
                continue;
            }
            taken += 1;
            case.push_report(report, report.symbol == open.row.symbol, time);
        }
    }

    /// Whether a new order follows messages about another symbol: only where all of them are seen one by one.
    fn look_for_links(&mut self, id: RequestId, Market { point, symbol }: Market, case: &Case, view: &View<'_>) {
        let Some(open) = self.requests.get(id) else { return };
        let is_wanted = self.rules.trigger.keeps_books && open.row.request == OrderKind::New && case.by_id.is_none();
        if !is_wanted || open.trail.echo {
            return;
        }
        let time = open.row.t_out;
        let since = |report: &Arc<Report>| u64::try_from(time.since(report.tick.time).0).ok();
        let fill_ns = self.reports.newest.iter().rev().find_map(since).unwrap_or(u64::MAX);
        self.suggest.look(&Moment { orders: &open.row.symbol, symbol, point, time, fill_ns }, view.recent);
    }

    /// Links that the data suggests, and whether some of it could not be looked at.
    pub fn suggestions(&self, symbols: &Symbols, recent: &Recent) -> (Vec<Suggestion>, bool) {
        let links = &self.rules.trigger.links;
        let is_configured = |orders: &str, symbol: &str| {
            links.iter().any(|link| link.orders == orders && link.symbols().any(|other| other == symbol))
        };
        (self.suggest.suggestions(symbols, recent, is_configured), self.suggest.is_cut)
    }

    /// Makes the two-pass model, if so much is held that it must be made now, or at the end.
    pub(super) fn fit(&mut self, is_end: bool, view: &View<'_>) {
        if self.judge.learning() != Learning::TwoPass {
            return;
        }
        if is_end || Judge::is_full(self.undecided) {
            let open = self.requests.in_order().filter(|open| !open.trail.echo).filter_map(|open| open.case.as_deref());
            let held = self.held.iter().filter(|held| !held.trail.echo).map(|held| held.case.as_ref());
            let cases: Vec<&Case> = held.chain(open).collect();
            let exposure = exposure(&self.rules.trigger, view, &self.sampled);
            self.judge.fit(cases.into_iter(), (exposure, (self.reports.count, view.links.count)));
        }
    }

    /// Whether held requests can be judged, or the model must be made for that.
    #[inline]
    pub(super) fn must_judge(&self) -> bool {
        match self.judge.learning() {
            Learning::TwoPass => Judge::is_full(self.undecided),
            Learning::Causal | Learning::None => !self.held.is_empty(),
        }
    }

    /// Judges held requests, up to so many, and writes their rows.
    pub(super) fn release(&mut self, most: usize, view: &View<'_>) {
        if self.judge.learning() == Learning::TwoPass {
            return;
        }
        for _ in 0..most {
            let Some(Held { mut row, trail, mut case }) = self.held.pop_front() else { return };
            let verdict = self.judge.judge(&case);
            settle(&mut row, &case, &verdict, self.rules.trigger.window, view);
            if self.rules.trigger.keeps_cases {
                case.weights = self.judge.weights();
                row.case = Some(case);
            }
            self.write(row, &trail);
        }
    }
}

/// Writes what was decided into the row.
fn settle(row: &mut OrderRow, case: &Case, verdict: &Verdict, window: Nanos, view: &View<'_>) {
    let count = u16::try_from(case.count()).unwrap_or(u16::MAX);
    row.weighed = Some(Weighed { candidates: count, rate: case.rate(), untriggered: rounded(verdict.untriggered) });
    let found = verdict.chosen.and_then(|(at, weight)| Some((case.cause(at)?, weight)));
    let gap_since = case
        .by_id
        .as_deref()
        .map(Cause::Market)
        .or(found.map(|(cause, _)| cause))
        .map_or(row.t_out.shifted(Nanos(-window.0)), |cause| cause.tick().time);
    if case.gap.is_some_and(|gap| gap_since <= gap) {
        row.flags.set(Flag::MdGap);
    }
    let by_id = case.by_id.as_deref().map(|candidate| (Cause::Market(candidate), 1.0));
    let Some((cause, weight)) = by_id.or(found) else { return };
    let Some(trigger) = trigger(case, cause, rounded(weight), view) else { return };
    // Between clocks that nothing relates there is a cause, and no latency.
    let is_related = !case.is_cross_clock || trigger.method == Method::Fill;
    if is_related {
        let kind = if trigger.method == Method::Fill { SegmentKind::FillToRequest } else { SegmentKind::TickToTrade };
        row.latency.set(kind, row.t_out.since(cause.tick().time));
        (row.t2t_min, row.t2t_max) = bracket(case, verdict, trigger.method, row.t_out);
    } else {
        row.flags.set(Flag::CrossClock);
    }
    row.trigger = Some(trigger);
}

/// The bracket of t2t between the newest and the oldest plausible candidate, where these are two; a request that a fill
/// caused has no t2t.
fn bracket(case: &Case, verdict: &Verdict, method: Method, time: Timestamp) -> (Option<Nanos>, Option<Nanos>) {
    if matches!(method, Method::Id | Method::Fill) || verdict.newest == verdict.oldest {
        return (None, None);
    }
    let since = |at: usize| case.cause(at).map(|cause| time.since(cause.tick().time));
    let (one, other) = (since(verdict.newest), since(verdict.oldest));
    (one.min(other), one.max(other))
}

/// More digits than it is worth.
#[allow(clippy::cast_possible_truncation, reason = "a probability with three digits")]
fn rounded(probability: f64) -> f32 {
    ((probability * 1000.0).round() / 1000.0) as f32
}

fn trigger(case: &Case, cause: Cause<'_>, confidence: f32, view: &View<'_>) -> Option<Trigger> {
    let tick = cause.tick();
    let (frame, time, sequence) = (tick.frame, tick.time, tick.sequence);
    match cause {
        Cause::Report(report) => Some(Trigger {
            tap: report.tap,
            frame,
            time,
            feed: Arc::clone(&report.session),
            sequence,
            msg: "ExecutionReport",
            symbol: Arc::clone(&report.symbol),
            method: Method::Fill,
            confidence,
        }),
        Cause::Market(candidate) => {
            let line = view.feeds.lines.get(usize::from(tick.line))?;
            let protocol = view.feeds.feeds[line.feed].protocol;
            Some(Trigger {
                tap: line.tap,
                frame,
                time,
                feed: line.label(),
                sequence,
                msg: (protocol.message_name)(tick.code),
                symbol: view.symbols.name(candidate.symbol),
                method: if case.by_id.is_some() { Method::Id } else { method(candidate) },
                confidence,
            })
        }
    }
}

/// The candidates of a request under their own names, newest first, each with how likely it is; behind them the message that an
/// id names, where it is none of them.
pub fn candidates(case: &Case, view: &View<'_>) -> Vec<Trigger> {
    let weight = |at: usize| case.weights.get(at).map_or(0.0, |weight| rounded(*weight));
    let key = |tick: &Tick| (tick.line, tick.sequence, tick.frame);
    let is_it =
        |candidate: &Candidate| case.by_id.as_ref().is_some_and(|named| key(&named.tick) == key(&candidate.tick));
    let mut all: Vec<Trigger> = Vec::with_capacity(case.count());
    for at in 0..case.count() {
        let Some(cause) = case.cause(at) else { continue };
        let Some(mut named) = trigger(case, cause, weight(at), view) else { continue };
        match cause {
            Cause::Market(candidate) if is_it(candidate) => named.confidence = 1.0,
            Cause::Market(candidate) if named.method == Method::Id => named.method = method(candidate),
            _ => {}
        }
        all.push(named);
    }
    let by_id = case.by_id.as_deref().filter(|_| !case.candidates.iter().any(is_it));
    all.extend(by_id.and_then(|candidate| trigger(case, Cause::Market(candidate), 1.0, view)));
    all
}

fn method(candidate: &Candidate) -> Method {
    match candidate.origin {
        Origin::Link => Method::Link,
        Origin::Symbol if candidate.explains_price() => Method::Price,
        Origin::Symbol => Method::Latest,
    }
}

/// When a report came, as a tick that no feed brought.
pub(super) fn report_tick(time: Timestamp, frame: u64, sequence: u64) -> Tick {
    Tick { time, sequence, frame, line: u16::MAX, code: b'8', kind: MarketKind::Status, place: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_t2t_has_a_bracket() {
        let candidate = |age: i64| {
            let time = Timestamp(1_000_000);
            let tick = report_tick(time.shifted(Nanos(-age)), 1, 1);
            candidates::of_market((tick, SymbolId(1)), None, Wish::default(), time, &Exposure::default()).0
        };
        let candidates = vec![candidate(70), candidate(900)];
        let case = Case { candidates, ..Case::default() };
        let verdict = |oldest| Verdict { chosen: Some((1, 0.7)), newest: 0, oldest, untriggered: 0.1 };
        let of = |oldest, method| bracket(&case, &verdict(oldest), method, Timestamp(1_000_000));
        let both = (Some(Nanos(70)), Some(Nanos(900)));
        for (oldest, method, expected) in [
            (1, Method::Price, both),
            (1, Method::Link, both),
            (0, Method::Price, (None, None)),
            (1, Method::Id, (None, None)),
            (1, Method::Fill, (None, None)),
        ] {
            assert_eq!(of(oldest, method), expected, "{oldest} {method:?}");
        }
    }
}
