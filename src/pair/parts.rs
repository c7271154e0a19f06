//! What an external latency consists of, as far as the exchange's private reports tell it: outcome, fills at once and
//! later, the exchange's own stamps, and the place of the request in its TCP segment.

use tickscope_model::{Decimal, Loss, Nanos, OrderEvent, OrderKind, SegmentKind, Side, Stations, TapId, Timestamp};

use super::pairer::Pairer;
use super::requests::{Open, RequestId};
use super::row::Flag;
use crate::book::{Best, price_of};
use crate::flow::Seen;

/// How the exchange answered first; fills are no answer in this sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    New,
    Replaced,
    Cancelled,
    Rejected,
    SessionRejected,
}

/// What the first fill of a request waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FillKind {
    #[default]
    None,
    /// The order could trade when it came, as this tells.
    AtOnce(Evidence),
    /// It rested first, and waited for other people's orders.
    Rested,
    /// Neither its price nor the stamps tell.
    Unknown,
}

/// What tells that an order was marketable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The order itself: it trades at once or not at all.
    Order,
    /// The fill came in the frame of the acknowledgement.
    Frame,
    /// The fill happened at the acknowledgement's `TransactTime`.
    Time,
    /// The book, when it was sent: it stood at the best price of the other side, or beyond.
    Book,
}

impl Evidence {
    pub const ALL: [Evidence; 4] = [Evidence::Order, Evidence::Frame, Evidence::Time, Evidence::Book];

    /// For people, behind a number of orders.
    pub fn text(self) -> &'static str {
        match self {
            Evidence::Order => "by the order (market, immediate-or-cancel, fill-or-kill)",
            Evidence::Frame => "filled in the frame of the acknowledgement",
            Evidence::Time => "filled at the TransactTime of the acknowledgement",
            Evidence::Book => "at the best price of the other side, or beyond, in the book when it was sent",
        }
    }

    /// In JSON.
    pub fn name(self) -> &'static str {
        match self {
            Evidence::Order => "order",
            Evidence::Frame => "frame",
            Evidence::Time => "transact_time",
            Evidence::Book => "book",
        }
    }
}

/// What became of the search for the request in public market data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PublicKind {
    /// Nobody looked: no answer, a rejection, an unknown symbol, or a session that is never found in this market data.
    #[default]
    NotLooked,
    /// Found by the exchange's own number of the order.
    ByReference,
    /// The only message with its price and quantity.
    Inferred,
    /// Several messages could be it.
    Ambiguous,
    NotSeen,
}

/// What the exchange's stamps say about the first answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Residual {
    /// The answer has no TransactTime or no SendingTime.
    #[default]
    NoStamps,
    /// The stamps' unit is longer than the latency.
    Coarse,
    /// Sent before it happened.
    Disorder,
    /// The exchange says that it took longer than the answer did.
    Negative,
    Known,
}

/// What the stamps of the exchange's stations say about the first answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Way {
    /// It has none.
    #[default]
    NoStamps,
    /// Their unit is longer than the latency of the answer.
    Coarse,
    /// A later station has an earlier stamp.
    Disorder,
    /// Those that it has are in order.
    Known,
}

/// The exchange's stamps of the first answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamps {
    pub transact_ns: u64,
    pub sending_ns: u64,
    /// Stamps are cut to these units.
    pub transact_unit_ns: u64,
    pub sending_unit_ns: u64,
}

/// What is known of a request besides its latencies.
#[derive(Clone, Copy, Debug, Default)]
pub struct Parts {
    /// Its place among the requests of its TCP segment, from 1; 0 where that is not known.
    pub batch: u16,
    /// There are other requests in its segment.
    pub shares_segment: bool,
    /// Since the request before, of whatever session.
    pub quiet: Option<Nanos>,
    pub answer: Option<(Answer, Nanos)>,
    pub fill: FillKind,
    pub public: PublicKind,
    pub residual: Residual,
    pub stamps: Option<Stamps>,
    pub way: Way,
    /// The request trades at once or not at all.
    pub is_immediate: bool,
}

/// A report about a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub time: Timestamp,
    frame: (TapId, u64),
    answer: Option<Answer>,
    transact_ns: u64,
    sending_ns: u64,
    stations: Stations,
    /// Of a fill.
    pub price: Option<Decimal>,
    pub quantity: Option<Decimal>,
}

/// The first reports about a request. Copies of a resent session are none: they tell nothing of when it was answered.
#[derive(Debug, Default)]
pub(super) struct Private {
    /// The first answer that is no fill.
    pub first: Option<Told>,
    pub fill: Option<Told>,
    /// Its symbol is being watched in market data …
    pub is_watched: bool,
    /// … and it will be looked for there.
    pub is_due: bool,
}

impl Private {
    /// What was rejected changes nothing in any book.
    pub(super) fn is_rejected(&self) -> bool {
        let answer = self.first.and_then(|first| first.answer);
        matches!(answer, Some(Answer::Rejected | Answer::SessionRejected))
    }

    /// Whether a fill came together with the acknowledgement.
    pub(super) fn is_at_once(&self, fill: &Told) -> bool {
        matches!(fill_kind(false, self.first.as_ref(), fill), FillKind::AtOnce(_))
    }

    /// A report came. True where it is the first answer or fill, after which it is time to look at market data.
    pub(super) fn tell(&mut self, request: OrderKind, seen: &Seen, event: &OrderEvent<'_>) -> bool {
        if event.is_copy {
            return false;
        }
        let answer = match event.kind {
            OrderKind::Ack => Some(Answer::New),
            OrderKind::Replaced if request == OrderKind::Replace => Some(Answer::Replaced),
            OrderKind::Canceled if matches!(request, OrderKind::Cancel | OrderKind::MassCancel) => {
                Some(Answer::Cancelled)
            }
            OrderKind::Reject => Some(Answer::Rejected),
            OrderKind::SessionReject => Some(Answer::SessionRejected),
            OrderKind::Fill => None,
            _ => return false,
        };
        let slot = if answer.is_some() { &mut self.first } else { &mut self.fill };
        let is_first = slot.is_none();
        if slot.is_none_or(|known| seen.time < known.time) {
            *slot = Some(Told {
                time: seen.time,
                frame: (seen.tap, seen.frame),
                answer,
                transact_ns: event.transact_ns,
                sending_ns: event.sending_ns,
                stations: event.stations,
                price: event.last_price,
                quantity: event.last_quantity,
            });
        }
        is_first
    }
}

/// The units in nanoseconds that the stamps of a session seem to be cut to: the finest that was seen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Units {
    transact: Option<u64>,
    sending: Option<u64>,
    stations: Option<u64>,
}

impl Units {
    pub(super) fn learn(&mut self, event: &OrderEvent<'_>) {
        let Stations { request_ns, in_ns, out_ns } = event.stations;
        for (unit, stamps) in [
            (&mut self.transact, [event.transact_ns, 0, 0]),
            (&mut self.sending, [event.sending_ns, 0, 0]),
            (&mut self.stations, [request_ns, in_ns, out_ns]),
        ] {
            for own in stamps.into_iter().filter(|stamp| *stamp != 0).map(unit_of) {
                *unit = Some(unit.map_or(own, |known| known.min(own)));
            }
        }
    }
}

/// The coarsest unit that a stamp could be cut to.
fn unit_of(stamp: u64) -> u64 {
    [1_000_000_000, 1_000_000, 1_000].into_iter().find(|unit| stamp.is_multiple_of(*unit)).unwrap_or(1)
}

/// Where requests stand in their TCP segments, and when the last one was sent.
#[derive(Default)]
pub(super) struct Segmented {
    last: Option<(TapId, u64, u32, RequestId)>,
    position: u16,
    latest: Option<Timestamp>,
}

impl Pairer {
    /// Places a new request in its segment.
    pub(super) fn place_in_segment(&mut self, id: RequestId) {
        let Some(open) = self.requests.get_mut(id) else { return };
        let segment = (open.row.tap, open.row.frame, open.conversation);
        let before =
            self.segmented.last.filter(|(tap, frame, conversation, _)| (*tap, *frame, *conversation) == segment);
        self.segmented.position = if before.is_some() { self.segmented.position.saturating_add(1) } else { 1 };
        open.row.parts.batch = self.segmented.position;
        open.row.parts.shares_segment = before.is_some();
        let time = open.row.t_out;
        open.row.parts.quiet = self.segmented.latest.map(|latest| time.since(latest)).filter(|quiet| quiet.0 >= 0);
        self.segmented.latest = self.segmented.latest.max(Some(time));
        self.segmented.last = Some((segment.0, segment.1, segment.2, id));
        if let Some((.., other)) = before
            && let Some(other) = self.requests.get_mut(other)
        {
            other.row.parts.shares_segment = true;
        }
    }
}

/// Whether an order could trade with the book as it was seen when it was sent; `None` where that is not known.
fn crosses(book: Option<Best>, side: Option<Side>, price: Option<Decimal>) -> Option<bool> {
    let is_buy = side? == Side::Buy;
    let (opposite, price) = (book?.opposite(is_buy), price_of(price?)?);
    (opposite != 0).then_some(if is_buy { price >= opposite } else { price <= opposite })
}

/// Measures the parts of a request that is being closed. A part below zero is none; the reason is counted.
pub(super) fn measure(open: &mut Open, units: Units) -> Option<Loss> {
    let (sent, private, row) = (open.row.t_out, &open.private, &mut open.row);
    let mut set = |kind: SegmentKind, latency: Nanos| {
        if latency.0 >= 0 {
            row.latency.set(kind, latency);
        }
    };
    if let Some(fill) = private.fill {
        let acknowledged = private.first.filter(|first| matches!(first.answer, Some(Answer::New | Answer::Replaced)));
        let book = row.bbo.filter(|_| !row.flags.has(Flag::BookPartial));
        let told = fill_kind(row.parts.is_immediate, acknowledged.as_ref(), &fill);
        row.parts.fill = match (told, crosses(book, row.side, row.price)) {
            (FillKind::Rested | FillKind::Unknown, Some(true)) => FillKind::AtOnce(Evidence::Book),
            (FillKind::Unknown, Some(false)) => FillKind::Rested,
            _ => told,
        };
        if matches!(row.parts.fill, FillKind::AtOnce(_)) {
            set(SegmentKind::OrderToFill, fill.time.since(sent));
            if let Some(acknowledged) = acknowledged {
                set(SegmentKind::AckToFill, fill.time.since(acknowledged.time));
            }
        }
    }
    let first = private.first?;
    let latency = first.time.since(sent);
    row.parts.answer = first.answer.map(|answer| (answer, latency));
    let (way, stations) = on_the_way(&first, latency, units);
    row.parts.way = way;
    for (kind, latency) in stations {
        set(kind, latency);
    }
    if first.transact_ns == 0 || first.sending_ns == 0 {
        return None;
    }
    let unit = |known: Option<u64>, stamp| known.unwrap_or_else(|| unit_of(stamp));
    let stamps = Stamps {
        transact_ns: first.transact_ns,
        sending_ns: first.sending_ns,
        transact_unit_ns: unit(units.transact, first.transact_ns),
        sending_unit_ns: unit(units.sending, first.sending_ns),
    };
    row.parts.stamps = Some(stamps);
    let inside = Timestamp(stamps.sending_ns).since(Timestamp(stamps.transact_ns));
    let nanos = |unit: u64| i64::try_from(unit).unwrap_or(i64::MAX);
    let (transact, sending) = (nanos(stamps.transact_unit_ns), nanos(stamps.sending_unit_ns));
    row.parts.residual = if transact.saturating_add(sending) > latency.0 {
        Residual::Coarse
    } else if inside.0 < 0 {
        // A stamp that is cut may seem to lie up to its unit before the other.
        if inside.0 <= -sending { Residual::Disorder } else { Residual::Coarse }
    } else if latency.0 - inside.0 + transact <= 0 {
        Residual::Negative
    } else {
        set(SegmentKind::InExchange, inside);
        set(SegmentKind::WireResidual, Nanos(latency.0 - inside.0));
        Residual::Known
    };
    (row.parts.residual == Residual::Negative).then_some(Loss::NegativeResidual)
}

/// From station to station, where the answer says when it passed both; all stamps are the exchange's.
fn on_the_way(first: &Told, latency: Nanos, units: Units) -> (Way, Vec<(SegmentKind, Nanos)>) {
    let Stations { request_ns, in_ns, out_ns } = first.stations;
    let stations = [
        (SegmentKind::GatewayIn, request_ns, in_ns),
        (SegmentKind::Matching, in_ns, out_ns),
        (SegmentKind::GatewayOut, out_ns, first.sending_ns),
    ];
    let steps: Vec<(SegmentKind, Nanos)> = stations
        .into_iter()
        .filter(|(_, from, to)| *from != 0 && *to != 0)
        .map(|(kind, from, to)| (kind, Timestamp(to).since(Timestamp(from))))
        .collect();
    let unit = units.stations.unwrap_or(1).max(units.sending.unwrap_or(1));
    if steps.is_empty() {
        (Way::NoStamps, steps)
    } else if i64::try_from(unit).is_ok_and(|unit| latency.0 < unit) {
        (Way::Coarse, Vec::new())
    } else if steps.iter().any(|(_, step)| step.0 < 0) {
        (Way::Disorder, Vec::new())
    } else {
        (Way::Known, steps)
    }
}

fn fill_kind(is_immediate: bool, acknowledged: Option<&Told>, fill: &Told) -> FillKind {
    match acknowledged {
        _ if is_immediate => FillKind::AtOnce(Evidence::Order),
        Some(told) if told.frame == fill.frame => FillKind::AtOnce(Evidence::Frame),
        Some(told) if told.transact_ns != 0 && fill.transact_ns != 0 => {
            if told.transact_ns == fill.transact_ns {
                FillKind::AtOnce(Evidence::Time)
            } else {
                FillKind::Rested
            }
        }
        _ => FillKind::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_show_their_unit() {
        let mut units = Units::default();
        for stamp in [1_769_000_000_000_000_000, 1_769_000_000_120_000_000, 1_769_000_000_120_001_000] {
            units.learn(&OrderEvent { transact_ns: stamp, ..OrderEvent::default() });
        }
        assert_eq!((units.transact, units.sending), (Some(1000), None));
    }

    #[test]
    fn a_fill_at_once_is_told_from_one_that_waited() {
        let told = |frame, transact_ns| Told {
            time: Timestamp(0),
            frame: (TapId(0), frame),
            answer: None,
            transact_ns,
            sending_ns: 0,
            stations: Stations::default(),
            price: None,
            quantity: None,
        };
        let ack = told(1, 500);
        for (is_immediate, ack, fill, expected) in [
            (false, Some(&ack), told(2, 500), FillKind::AtOnce(Evidence::Time)),
            (false, Some(&ack), told(2, 501), FillKind::Rested),
            (false, Some(&ack), told(1, 0), FillKind::AtOnce(Evidence::Frame)),
            (false, Some(&ack), told(2, 0), FillKind::Unknown),
            (false, None, told(2, 500), FillKind::Unknown),
            (true, None, told(2, 500), FillKind::AtOnce(Evidence::Order)),
        ] {
            assert_eq!(fill_kind(is_immediate, ack, &fill), expected);
        }
    }

    /// A response of an order on Eurex's T7, as its simulation wrote it (public capture of Open Markets Initiative,
    /// `Eurex/Eti.T7.v10.0/OrderExecResponse.pcap`): `RequestTime`, `TrdRegTSTimeIn`, `TrdRegTSTimeOut` and `SendingTime`.
    #[test]
    fn a_whole_book_tells_whether_an_order_could_trade() {
        let cents = |price| Some(Decimal::new(price, 2));
        let best = Best { bid: 1_000_000_000, ask: 1_002_000_000, bid_quantity: 1, ask_quantity: 1 };
        for (side, price, expected) in
            [(Side::Buy, 1002, true), (Side::Buy, 1001, false), (Side::Sell, 1000, true), (Side::Sell, 1001, false)]
        {
            assert_eq!(crosses(Some(best), Some(side), cents(price)), Some(expected), "{side:?} {price}");
        }
        assert_eq!(crosses(None, Some(Side::Buy), cents(1002)), None);
        assert_eq!(crosses(Some(Best::default()), Some(Side::Buy), cents(1002)), None);
    }

    #[test]
    fn the_way_through_a_real_exchange() {
        let told = |stations, sending_ns| Told {
            time: Timestamp(0),
            frame: (TapId(0), 1),
            answer: Some(Answer::New),
            transact_ns: 0,
            sending_ns,
            stations,
            price: None,
            quantity: None,
        };
        let (request_ns, in_ns, out_ns) =
            (1_675_981_044_705_104_472, 1_675_981_044_705_198_571, 1_675_981_044_705_465_177);
        let stations = Stations { request_ns, in_ns, out_ns };
        let latency = Nanos(59_725_636);
        let of = |told: Told| on_the_way(&told, latency, Units::default());
        let (way, steps) = of(told(stations, 1_675_981_044_705_511_364));
        let expected = [
            (SegmentKind::GatewayIn, Nanos(94_099)),
            (SegmentKind::Matching, Nanos(266_606)),
            (SegmentKind::GatewayOut, Nanos(428 + 45_759)),
        ];
        assert_eq!((way, steps.as_slice()), (Way::Known, expected.as_slice()));
        // FIX has no RequestTime of its own; two stamps in the wrong order say that one of them is something else.
        let without = Stations { request_ns: 0, ..stations };
        assert_eq!(of(told(without, 0)), (Way::Known, vec![expected[1]]));
        assert_eq!(of(told(Stations { request_ns: in_ns + 1, ..stations }, 0)).0, Way::Disorder);
        assert_eq!(of(told(Stations::default(), in_ns)).0, Way::NoStamps);
        let mut coarse = Units::default();
        coarse.learn(&OrderEvent { sending_ns: 1_675_981_044_000_000_000, ..OrderEvent::default() });
        assert_eq!(on_the_way(&told(stations, 0), latency, coarse).0, Way::Coarse);
    }
}
