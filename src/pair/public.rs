//! The request in public market data. Some milliseconds after the exchange's first answer the ticks of the symbol that came
//! since the request are looked through, a bounded number of them and those nearest to the answer first. What each says is
//! known where the stages read it themselves: while a request is open, the messages of its symbol are remembered for a
//! moment. Packets that were read ahead are read once more, in the file; that is what [`Pairer::wants_again`] asks for.
//! So no market-data message costs more because of this, unless it is one of these few.

use std::collections::VecDeque;

use tickscope_model::{Decimal, MarketEvent, MarketKind, Nanos, OrderKind, SegmentKind, Side, SymbolId, Timestamp};

use super::pairer::{Pairer, View};
use super::parts::{PublicKind, Told};
use super::requests::{Open, RequestId, Session};
use crate::capture::Place;

/// The public message comes at most so long after the answer.
const WINDOW: Nanos = Nanos(2_000_000);
/// So many ticks of the symbol are looked through …
const STEPS: usize = 512;
/// … and so many of them, the nearest, are read.
const READ: usize = 32;
/// Messages that are remembered.
const REMEMBERED: usize = 4096;
/// A session of which none of so many answers was found is not in this market data, and is looked for no more.
const PATIENCE: u64 = 512;
/// Where orders are called by numbers, so many answers are waited for one that market data has before anything is inferred.
const INFER_AFTER: u64 = 64;

/// A message about a symbol that is watched.
#[derive(Clone, Copy)]
struct Sighting {
    time: Timestamp,
    event: MarketEvent,
}

/// An answered request, and the messages that may be about it.
struct Asked {
    id: RequestId,
    /// The market data there shows single orders.
    shows_orders: bool,
    /// Time and sequence number.
    messages: Vec<(Timestamp, u64)>,
}

/// What is looked for in market data.
#[derive(Default)]
pub(super) struct Public {
    /// How many open requests each symbol has.
    watched: Vec<u32>,
    /// … and all together.
    watching: usize,
    recent: VecDeque<Sighting>,
    /// Requests that were answered, and when it is time to look.
    pub(super) due: VecDeque<(Timestamp, RequestId)>,
    asked: Vec<Asked>,
    again: Vec<Place>,
}

impl Public {
    fn watch(&mut self, symbol: SymbolId) {
        let at = symbol.0 as usize;
        if self.watched.len() <= at {
            self.watched.resize(at + 1, 0);
        }
        self.watched[at] += 1;
        self.watching += 1;
    }

    fn unwatch(&mut self, symbol: SymbolId) {
        if let Some(count) = self.watched.get_mut(symbol.0 as usize).filter(|count| **count > 0) {
            *count -= 1;
            self.watching -= 1;
        }
    }
}

impl Session {
    /// Its orders are not in this market data.
    fn is_hopeless(&self) -> bool {
        self.public_tries >= PATIENCE && self.public_hits == 0
    }
}

impl Pairer {
    /// A market-data message that was read by the stages, or once more.
    #[inline]
    pub fn market(&mut self, time: Timestamp, event: &MarketEvent) {
        if self.public.watched.get(event.symbol.0 as usize).is_some_and(|count| *count > 0) {
            self.remember(time, event);
        }
    }

    fn remember(&mut self, time: Timestamp, event: &MarketEvent) {
        if self.public.recent.len() == REMEMBERED {
            self.public.recent.pop_front();
        }
        self.public.recent.push_back(Sighting { time, event: *event });
    }

    /// A request was sent: its symbol is watched until it is answered and has been looked for, or is closed.
    pub(super) fn watch(&mut self, id: RequestId) {
        let Some(open) = self.requests.get_mut(id) else { return };
        let is_hopeless = self.sessions[open.session].is_hopeless();
        if let Some(symbol) = open.symbol.filter(|_| !is_hopeless) {
            open.private.is_watched = true;
            self.public.watch(symbol);
        }
    }

    /// The first answer came.
    pub(super) fn look_later(&mut self, id: RequestId, now: Timestamp) {
        let private = self.requests.get_mut(id).map(|open| &mut open.private);
        if private.is_some_and(|private| private.is_watched && !std::mem::replace(&mut private.is_due, true)) {
            self.public.due.push_back((now.shifted(WINDOW), id));
        }
    }

    pub(super) fn unwatch(&mut self, open: &mut Open) {
        if std::mem::take(&mut open.private.is_watched)
            && let Some(symbol) = open.symbol
        {
            self.public.unwatch(symbol);
        }
    }

    /// Whether there is anything to look for, or to forget.
    #[inline]
    pub(super) fn must_look_at_market(&self, now: Timestamp) -> bool {
        let public = &self.public;
        public.due.front().is_some_and(|(time, _)| *time <= now)
            || !public.asked.is_empty()
            || public.watching == 0 && !public.recent.is_empty()
    }

    /// Looks for the requests whose time has come: up to `now`.
    pub(super) fn look_at_market(&mut self, now: Timestamp, view: &View<'_>) {
        while let Some(&(time, id)) = self.public.due.front() {
            if now < time {
                break;
            }
            self.public.due.pop_front();
            self.choose(id, view);
        }
        if self.public.again.is_empty() {
            self.compare_with_market();
        }
    }

    /// The end of the captures: everything is looked for.
    pub fn ended(&mut self, view: &View<'_>) {
        self.look_at_market(Timestamp::MAX, view);
    }

    /// Chooses the messages that may be about a request.
    fn choose(&mut self, id: RequestId, view: &View<'_>) {
        let Some(open) = self.requests.get(id).filter(|open| open.private.is_watched) else { return };
        if open.private.is_rejected() {
            return;
        }
        let (Some(symbol), Some(told)) = (open.symbol, open.private.first.or(open.private.fill)) else { return };
        let (sent, answered) = (open.row.t_out, told.time);
        let Some(point) = view.nearest_market(open.point) else {
            return;
        };
        let shows_orders = view.feeds.shows_orders(point, answered.shifted(WINDOW));
        if shows_orders && reference(open).is_none() && !is_displayed(open) {
            self.public.asked.push(Asked { id, shows_orders, messages: Vec::new() });
            return;
        }
        let is_own = |kind| matches!(kind, MarketKind::Book | MarketKind::Trade);
        let times = (sent, answered.shifted(WINDOW));
        let ticks = view.ticks.newest_first(point, symbol, times, view.ticks.messages());
        let mut near: Vec<_> = ticks
            .take(STEPS)
            .take_while(|tick| sent <= tick.time)
            .filter(|tick| is_own(tick.kind) && tick.sequence != 0)
            .collect();
        near.sort_by_key(|tick| (tick.time.0.abs_diff(answered.0), tick.sequence));
        near.truncate(READ);
        let tap = near.first().and_then(|tick| view.feeds.lines.get(usize::from(tick.line))).map(|line| line.tap);
        if let Some(open) = self.requests.get_mut(id) {
            open.trail.public_tap = tap;
        }
        for place in near.iter().filter_map(|tick| view.ticks.place_of(tick)) {
            if !self.public.again.iter().any(|known| (known.file, known.place) == (place.file, place.place)) {
                self.public.again.push(place);
            }
        }
        let messages = near.iter().map(|tick| (tick.time, tick.sequence)).collect();
        self.public.asked.push(Asked { id, shows_orders, messages });
    }

    /// Packets that must be read once more before [`Pairer::compare_with_market`].
    pub fn wants_again(&mut self) -> Vec<Place> {
        std::mem::take(&mut self.public.again)
    }

    /// Whether there are any.
    pub fn has_wants(&self) -> bool {
        !self.public.again.is_empty()
    }

    /// All that was asked for has been read.
    pub fn compare_with_market(&mut self) {
        for Asked { id, shows_orders, messages } in std::mem::take(&mut self.public.asked) {
            let Some(mut open) = self.requests.take(id) else { continue };
            let of_symbol = |sighting: &&Sighting| {
                Some(sighting.event.symbol) == open.symbol
                    && messages.contains(&(sighting.time, sighting.event.sequence))
            };
            let recent = if messages.is_empty() { None } else { Some(self.public.recent.iter()) };
            let mut events: Vec<Sighting> = recent.into_iter().flatten().filter(of_symbol).copied().collect();
            events.sort_by_key(|sighting| (sighting.time, sighting.event.sequence));
            events.dedup_by_key(|sighting| (sighting.time, sighting.event.sequence));
            let session = &mut self.sessions[open.session];
            let is_number = reference(&open).is_some();
            let may_infer = session.public_references == 0 && (!is_number || session.public_tries >= INFER_AFTER);
            // Decided here, where requests come in one order however captures are read.
            if !session.is_hopeless() {
                compare(&mut open, &events, shows_orders, may_infer);
            }
            session.public_tries += 1;
            session.public_references += u64::from(open.row.parts.public == PublicKind::ByReference);
            session.public_hits +=
                u64::from(matches!(open.row.parts.public, PublicKind::ByReference | PublicKind::Inferred));
            self.unwatch(&mut open);
            self.requests.put_back(id, open);
        }
        if self.public.watching == 0 {
            self.public.recent.clear();
        }
    }
}

/// Finds the message that a request is about among those of its symbol, in time order. Where the exchange's numbers of
/// orders are those of market data, a request without one there is not shown, and nothing is inferred.
fn compare(open: &mut Open, events: &[Sighting], shows_orders: bool, may_infer: bool) {
    let reference = reference(open);
    let is_order = |sighting: &&Sighting| sighting.event.kind == MarketKind::Book;
    let by_reference = events.iter().filter(is_order).find(|it| Some(it.event.reference) == reference);
    if let Some(found) = by_reference {
        let answered = open.private.first.or(open.private.fill).map(|told| told.time);
        return set(open, PublicKind::ByReference, found.time, answered);
    }
    if !may_infer {
        open.row.parts.public = PublicKind::NotSeen;
        return;
    }
    let row = &open.row;
    let is_named = |sighting: &&Sighting| {
        is_order(sighting)
            && sighting.event.price.is_some()
            && sighting.event.price == row.price
            && same_quantity(row.quantity, sighting.event.quantity)
            && same_side(row.side, sighting.event.side)
    };
    let fill = fill(open);
    let is_fill = |sighting: &&Sighting| {
        sighting.event.kind == MarketKind::Trade
            && fill.is_some_and(|fill| {
                fill.price.is_some()
                    && sighting.event.price == fill.price
                    && same_quantity(fill.quantity, sighting.event.quantity)
            })
    };
    let is_displayed = is_displayed(open);
    let mut orders = events.iter().filter(is_named).filter(|_| is_displayed);
    // Feeds that show single orders show the other side's where something trades.
    let mut trades = events.iter().filter(is_fill).filter(|_| !shows_orders);
    let answered = open.private.first.map(|told| told.time);
    match (orders.next(), orders.next(), trades.next(), trades.next()) {
        (Some(_), Some(_), ..) | (None, _, Some(_), Some(_)) => open.row.parts.public = PublicKind::Ambiguous,
        (Some(found), None, ..) => set(open, PublicKind::Inferred, found.time, answered),
        (None, _, Some(found), None) => set(open, PublicKind::Inferred, found.time, fill.map(|fill| fill.time)),
        (None, _, None, _) => open.row.parts.public = PublicKind::NotSeen,
    }
}

/// The exchange's number of the order, where it is one.
fn reference(open: &Open) -> Option<u64> {
    open.order_id.as_deref().and_then(number)
}

/// The first fill. A later one than the window's end may be known or not, depending on how the capture is read.
fn fill(open: &Open) -> Option<Told> {
    let told = open.private.first.or(open.private.fill);
    open.private.fill.filter(|fill| told.is_some_and(|told| fill.time <= told.time.shifted(WINDOW)))
}

/// Whether market data can show the request as an order: what traded at once was never displayed.
fn is_displayed(open: &Open) -> bool {
    open.row.request == OrderKind::New && fill(open).is_none_or(|fill| !open.private.is_at_once(&fill))
}

fn set(open: &mut Open, kind: PublicKind, public: Timestamp, private: Option<Timestamp>) {
    let row = &mut open.row;
    row.parts.public = kind;
    row.latency.set(SegmentKind::OrderToMd, public.since(row.t_out));
    let Some(private) = private else { return };
    let ahead = public.since(private);
    let (kind, lead) =
        if ahead.0 >= 0 { (SegmentKind::PrivateFirst, ahead) } else { (SegmentKind::PublicFirst, Nanos(-ahead.0)) };
    row.latency.set(kind, lead);
}

/// An OrderID that is a number, as full-depth feeds write it.
fn number(order_id: &[u8]) -> Option<u64> {
    std::str::from_utf8(order_id).ok()?.parse().ok().filter(|&number| number != 0)
}

fn same_quantity(ours: Option<Decimal>, shown: u64) -> bool {
    shown > 0 && ours.is_some_and(|ours| i64::try_from(shown).is_ok_and(|shown| ours == Decimal::new(shown, 0)))
}

/// Market data knows no short sales, and price levels of some feeds have no side in a message.
fn same_side(ours: Option<Side>, shown: Option<Side>) -> bool {
    let is_buy = |side| side == Side::Buy;
    shown.is_some() && ours.map(is_buy) == shown.map(is_buy)
}
