//! The result of pairing: a row for each request (`--orders`) and a row for each latency (`--segments`).

use std::fmt;
use std::sync::Arc;

use tickscope_model::{Decimal, Nanos, OrderEvent, OrderKind, SegmentKind, Side, TapId, Timestamp};

use super::attribution::Case;
use super::clocks::Across;
use super::measured::Measured;
use super::parts::Parts;
use crate::book::Best;

/// One request with everything that is known about it. Columns are those of `--orders` in INTERFACE.md.
#[derive(Clone, Debug)]
pub struct OrderRow {
    pub tap: TapId,
    /// Frame that carried the request's last byte, in the file of `tap`.
    pub frame: u64,
    pub session: Arc<str>,
    pub clordid: Arc<str>,
    pub orig_clordid: Box<str>,
    /// ClOrdID of the chain's first order.
    pub chain: Arc<str>,
    pub request: OrderKind,
    pub symbol: Arc<str>,
    pub side: Option<Side>,
    pub price: Option<Decimal>,
    pub quantity: Option<Decimal>,
    pub t_out: Timestamp,
    pub trigger: Option<Trigger>,
    /// Its latencies; `Hop` stays empty here.
    pub latency: Measured,
    pub flags: Flags,
    /// Bracket of t2t over all candidates, where there are several.
    pub t2t_min: Option<Nanos>,
    pub t2t_max: Option<Nanos>,
    /// How its trigger was weighed.
    pub weighed: Option<Weighed>,
    /// The best prices when it was sent, where the book is known.
    pub bbo: Option<Best>,
    /// Its candidates, where the rules want them kept.
    pub case: Option<Box<Case>>,
    /// How far those of its latencies that span two clocks may be wrong at most.
    pub error: Option<Nanos>,
    /// What each of them spans, by [`SegmentKind::index`]; `None`: one clock.
    pub across: Option<Box<[Across; SegmentKind::ALL.len()]>>,
    /// How it ended: `accepted`, `rejected`, `filled`, `canceled`, `replaced`, `unanswered`.
    pub outcome: &'static str,
    /// What else is known of it; in no table.
    pub parts: Parts,
    /// What happened to it, in time order; dropped once the row is neither open nor among the slowest.
    pub timeline: Vec<Moment>,
}

impl OrderRow {
    pub fn latency(&self, kind: SegmentKind) -> Option<Nanos> {
        self.latency.get(kind)
    }

    pub fn across_of(&self, kind: SegmentKind) -> Across {
        self.across.as_ref().and_then(|all| all.get(kind.index())).copied().unwrap_or_default()
    }

    /// The frames that tell of it, each once: its trigger's, its own, and those of what was said to it.
    pub fn frames(&self) -> Vec<(TapId, u64)> {
        let trigger = self.trigger.iter().map(|trigger| (trigger.tap, trigger.frame));
        let moments = self.timeline.iter().map(|moment| (moment.tap, moment.frame));
        let mut frames: Vec<(TapId, u64)> = trigger.chain([(self.tap, self.frame)]).chain(moments).collect();
        frames.sort_unstable();
        frames.dedup();
        frames
    }

    /// Its latencies in table order, but for a TCP ACK that rode on the answer, which stays out of the network figures.
    pub fn segments(&self) -> impl Iterator<Item = (SegmentKind, Nanos)> + '_ {
        let rides = self.flags.has(Flag::AckWithAnswer);
        self.latency.iter().filter(move |(kind, _)| *kind != SegmentKind::TcpAck || !rides)
    }

    /// The same as rows of their own.
    pub fn segment_rows(&self) -> impl Iterator<Item = SegmentRow> + '_ {
        self.segments().map(|(segment, latency)| SegmentRow {
            segment,
            time: self.t_out,
            latency,
            tap: self.tap,
            session: Arc::clone(&self.session),
            symbol: Arc::clone(&self.symbol),
            clordid: Arc::clone(&self.clordid),
            request: self.request,
            across: self.across_of(segment),
        })
    }
}

/// The market-data message that made us send a request, as far as it can be told.
#[derive(Clone, Debug)]
pub struct Trigger {
    pub tap: TapId,
    pub frame: u64,
    pub time: Timestamp,
    /// `group:port` of the line, and the line's letter.
    pub feed: Arc<str>,
    pub sequence: u64,
    /// The protocol's own name of the message.
    pub msg: &'static str,
    pub symbol: Arc<str>,
    pub method: Method,
    /// 0 to 1.
    pub confidence: f32,
}

/// What the choice of a trigger was made from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weighed {
    pub candidates: u16,
    /// Class of the local rate of messages: eight came in less than two to this power nanoseconds.
    pub rate: u8,
    /// How likely it is that nothing caused the request.
    pub untriggered: f32,
}

/// The rule that chose a trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Id,
    Price,
    Latest,
    Link,
    Fill,
}

impl Method {
    pub fn name(self) -> &'static str {
        match self {
            Method::Id => "id",
            Method::Price => "price",
            Method::Latest => "latest",
            Method::Link => "link",
            Method::Fill => "fill",
        }
    }
}

/// One point of an order's timeline.
#[derive(Clone, Debug)]
pub struct Moment {
    pub time: Timestamp,
    pub tap: TapId,
    pub frame: u64,
    /// `request`, `tcp_ack`, `ack`, `first_fill`, …, or what else arrived (`pending`, `fill`).
    pub what: &'static str,
    /// More for people.
    pub detail: Detail,
}

/// What a message said, kept as it stood there until somebody wants to read it: `8 150=F 39=2 100 @ 26.00`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Detail {
    /// The protocol's type of the message, as far as it fits.
    message: [u8; 6],
    exec_type: u8,
    order_status: u8,
    /// Of a fill, how much at what price.
    fill: Option<(Decimal, Decimal)>,
}

impl Detail {
    pub fn of(event: &OrderEvent<'_>) -> Detail {
        let mut message = [0; 6];
        message.iter_mut().zip(event.message).for_each(|(to, &from)| *to = from);
        let fill = event.last_quantity.zip(event.last_price).filter(|_| event.kind == OrderKind::Fill);
        let (exec_type, order_status) = (event.exec_type, event.order_status);
        Detail { message, exec_type, order_status, fill }
    }

    /// The same of a request.
    pub fn of_request(event: &OrderEvent<'_>) -> Detail {
        Detail { exec_type: 0, order_status: 0, fill: None, ..Detail::of(event) }
    }
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = self.message.iter().position(|&byte| byte == 0).unwrap_or(self.message.len());
        f.write_str(&String::from_utf8_lossy(self.message.get(..length).unwrap_or_default()))?;
        for (tag, value) in [(150, self.exec_type), (39, self.order_status)] {
            if value != 0 {
                write!(f, " {tag}={}", char::from(value))?;
            }
        }
        self.fill.map_or(Ok(()), |(quantity, price)| write!(f, " {quantity} @ {price}"))
    }
}

/// One measured latency. `time` is that of the request that it belongs to.
#[derive(Clone, Debug)]
pub struct SegmentRow {
    pub segment: SegmentKind,
    pub time: Timestamp,
    pub latency: Nanos,
    pub tap: TapId,
    pub session: Arc<str>,
    pub symbol: Arc<str>,
    pub clordid: Arc<str>,
    pub request: OrderKind,
    /// Whether its ends stand on different clocks.
    pub across: Across,
}

/// What makes a row doubtful: a set of [`Flag`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u32);

impl Flags {
    pub fn set(&mut self, flag: Flag) {
        self.0 |= 1 << flag as u32;
    }
    pub fn has(self, flag: Flag) -> bool {
        self.0 & (1 << flag as u32) != 0
    }
    /// The words, in the order of [`Flag::ALL`].
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Flag::ALL.iter().filter(move |&&flag| self.has(flag)).map(|flag| flag.name())
    }
}

macro_rules! flags {
    ($($variant:ident = $name:literal, $text:literal;)*) => {
        /// A word of the `flags` column.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Flag { $(#[doc = $text] $variant),* }
        impl Flag {
            pub const ALL: &'static [Flag] = &[$(Flag::$variant),*];
            pub fn name(self) -> &'static str { match self { $(Flag::$variant => $name),* } }
            /// What it means, for the manual.
            pub fn text(self) -> &'static str { match self { $(Flag::$variant => $text),* } }
        }
    };
}

flags! {
    Retransmitted = "retransmitted", "bytes of the request were sent again by TCP; the first copy counts";
    Resent = "resent", "an answer was first seen as a PossDup copy, sent after a reconnect";
    Gap = "gap", "bytes of its conversation are missing while it had no answer, which may have been among them";
    MdGap = "md_gap", "market data is missing at that point between the trigger, or the window's beginning, and the request";
    Truncated = "truncated", "a frame of the request was cut by the capture";
    BadChecksum = "bad_checksum", "BodyLength or CheckSum of the request or of an answer is wrong";
    AckWithAnswer = "ack_with_answer", "the TCP ACK rode on the answer; it stays out of the network figures";
    Negative = "negative", "a latency is below zero; it is kept out of the histogram";
    OutOfOrder = "out_of_order", "the message's last byte arrived before earlier bytes of its stream";
    Reused = "reused", "the ClOrdID was still in use by an earlier request of this session";
    Unanswered = "unanswered", "no answer in the capture";
    TickEvicted = "tick_evicted", "the trigger window reached beyond the ticks that are kept";
    IdConflict = "id_conflict", "the id in the request names no message before it within the window; decided without it";
    BookPartial = "book_partial", "the symbol's book began in mid-stream, or messages are missing since: prices were compared with what is known of it";
    Evicted = "evicted", "closed early because too many requests were open";
    WallAmbiguous = "w2w_ambiguous", "several requests could be the other side of the gateway";
    CaptureLoss = "capture_loss", "frames of a tap were lost by NIC, kernel or tickscope while it was under way (live)";
    CrossClock = "cross_clock", "a latency lies between two clocks that are not known to agree, and is left out: of two taps, or of one whose times became a device's (live)";
}
