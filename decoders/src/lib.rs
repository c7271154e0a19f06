//! Bytes to events: one file per protocol, and the list [`PROTOCOLS`] that everything else reads.
//! A decoder gets the payload of one UDP datagram or the next bytes of one direction of a TCP stream,
//! and says through [`Output`] what is in it. It never fails: trouble is counted.
#![warn(missing_docs)]
#![warn(clippy::indexing_slicing)]

pub mod framing;
mod glances;
pub mod market;
pub mod orders;

use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::Arc;

pub use glances::{Glance, Marks, PacketMarks};
use tickscope_model::{Decimal, Loss, MarketEvent, OrderEvent, Side, SymbolId, Timestamp};

/// Everything the rest of the program knows about a protocol. Help, man page and configuration values are made from it.
pub struct Protocol {
    /// The name in the configuration and in `decode` (`itch50`).
    pub name: &'static str,
    /// For people: `Nasdaq TotalView-ITCH 5.0 over MoldUDP64`.
    pub title: &'static str,
    /// The public specification and its version.
    pub spec: &'static str,
    /// What carries it.
    pub carrier: Carrier,
    /// Which half of the question it answers.
    pub role: Role,
    /// Which clock `MarketEvent::exchange_ns` is on.
    pub clock: ExchangeClock,
    /// Whether its market data shows single orders by their numbers: what traded at once is then not among them.
    pub shows_orders: bool,
    /// Looks at a payload (UDP) or at the first bytes of a stream (TCP).
    pub probe: fn(&[u8]) -> Guess,
    /// A decoder for one flow (UDP) or one direction of a conversation (TCP).
    pub open: fn() -> Box<dyn Decoder>,
    /// The specification's name for a `MarketEvent::code`; empty for protocols of orders.
    pub message_name: fn(u8) -> &'static str,
}

/// What carries a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// Datagrams.
    Udp,
    /// A byte stream.
    Tcp,
}

/// Which half of the question a protocol answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// What made us act.
    MarketData,
    /// What we did, and what the exchange said.
    OrderEntry,
}

/// The clock of the exchange's own stamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExchangeClock {
    /// Nanoseconds since the Unix epoch.
    Epoch,
    /// Nanoseconds since midnight in New York.
    NewYorkMidnight,
    /// The protocol carries none.
    None,
}

/// What a probe thinks of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guess {
    /// It is this protocol.
    Yes,
    /// It could be (a heartbeat, too few bytes): show me more.
    Maybe,
    /// It is not.
    No,
}

/// Every protocol that tickscope reads.
pub static PROTOCOLS: &[&Protocol] =
    &[&market::itch50::PROTOCOL, &market::iex_tops::PROTOCOL, &market::iex_deep::PROTOCOL, &orders::fix::PROTOCOL];

/// Decodes one UDP flow, or one direction of a TCP conversation. Never fails: trouble is counted through `out`.
pub trait Decoder: Send {
    /// Reads whole messages from the front of `input` and returns how many bytes were used.
    /// A datagram is always used up; of a stream the unused tail comes back, in front of more bytes, with the next call.
    fn decode(&mut self, input: &[u8], out: &mut dyn Output) -> usize;

    /// Bytes of the stream are missing here: forget half-read state and find the next message.
    fn gap(&mut self);

    /// A reader of packets that hold no surprise, with what this decoder knows now, where the protocol has one.
    fn skimmer(&self) -> Option<Arc<dyn Skim>> {
        None
    }

    /// What this decoder has learned so far; a skimmer that knows less, or something that was corrected, is out of date.
    fn lessons(&self) -> Lessons {
        Lessons::default()
    }
}

/// How often a decoder has learned something that later packets are read by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lessons {
    /// Something new: an earlier skimmer leaves more packets to the decoder than it would have to.
    pub learned: u32,
    /// Something else than before: what an earlier skimmer says is no longer true.
    pub corrected: u32,
}

/// What skimming says of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SkimmedPacket {
    /// The number of its first message.
    pub first: NonZeroU64,
    /// How many messages it has.
    pub count: u64,
    /// What they are about.
    pub marks: PacketMarks,
}

/// Reads market-data packets ahead of their decoder, from another thread, for what a tick is made of and no more. What it
/// says of a packet is what the decoder would say, or nothing: any packet that is damaged, rare or teaches something is
/// left to the decoder.
pub trait Skim: Send + Sync {
    /// Where in a packet its session stands.
    fn session(&self) -> Range<usize>;

    /// Marks what the messages of a packet are about, and says what else is seen of it. The packet is the first `length` bytes
    /// of `input`; what stands behind says nothing, but loads may reach into it, and without any such bytes (at the end of a
    /// file) nothing may be said. `None` where only the decoder can read it; `marks` may then have got some for nothing.
    fn skim(&self, input: &[u8], length: usize, marks: &mut Marks) -> Option<SkimmedPacket>;

    /// Itself, where it is that of ITCH: who calls it for each packet of a capture need not find out each time whom to call.
    fn as_itch50(&self) -> Option<&market::itch50::Skimmer> {
        None
    }

    /// What is marked for a message about this symbol; `None` where this skimmer does not know the symbol.
    fn mark_of(&self, symbol: SymbolId) -> Option<u16>;

    /// Gives a glance at each message of a packet that was skimmed, in order. `None` where it no longer is what it was:
    /// somebody else has written into the file; what was given then means nothing.
    fn glances(&self, input: &[u8], each: &mut dyn FnMut(Glance)) -> Option<()>;
}

/// Where a decoder puts what it found. `span` is where a message lies in `input`, its own length field included:
/// it decides the timestamps, also when TCP split the message.
pub trait Output {
    /// Whether whole messages are wanted through [`Output::described`] (the `decode` command).
    fn wants_fields(&self) -> bool;

    /// The time of the frame at hand, to complete stamps that count from midnight.
    fn now(&self) -> Timestamp;

    /// The number of a symbol; called once for each name, not once for each message. Padding is stripped here.
    fn symbol(&mut self, name: &[u8]) -> SymbolId;

    /// A sequenced unit of a feed begins: says which of its messages are new. Called once a packet.
    fn sequenced(&mut self, unit: &Sequenced<'_>) -> Fresh;

    /// A market-data message about one symbol.
    fn market(&mut self, event: &MarketEvent);

    /// A market-data message that is about no symbol (system events): counted, never a trigger.
    fn market_other(&mut self);

    /// An order-entry message; for lists, one call an order with the span of the whole message.
    fn order(&mut self, span: Range<usize>, event: &OrderEvent<'_>);

    /// The whole of a message, for `decode`.
    fn described(&mut self, span: Range<usize>, message: Described);

    /// Something that could not be used.
    fn loss(&mut self, loss: Loss);

    /// Several of them: bytes passed over, messages of a block that is cut.
    fn loss_many(&mut self, loss: Loss, count: u64);

    /// Messages that nothing else tells of, neither [`Output::sequenced`] nor [`Output::order`]: an envelope that cannot
    /// be read, bytes behind the last message. They count as messages that came in, and as lost.
    fn stray(&mut self, loss: Loss, count: u64) {
        self.loss_many(loss, count);
    }
}

/// A packet of a sequenced feed.
#[derive(Clone, Copy, Debug)]
pub struct Sequenced<'a> {
    /// What tells this stream of numbers from others: MoldUDP64's session, IEX-TP's protocol, channel and session.
    pub session: &'a [u8],
    /// Number of the first message; of a heartbeat, of the message that will come next. 0: the feed has no numbers.
    pub first: u64,
    /// How many messages.
    pub count: u64,
    /// What kind of packet.
    pub kind: UnitKind,
}

impl Sequenced<'_> {
    /// Whether it belongs to this session. Asked for each packet, and names have 8 to 16 bytes, so two words decide.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "measured: called for each packet")]
    pub fn is_of(&self, session: &[u8]) -> bool {
        let (one, other) = (self.session, session);
        match (one.first_chunk::<8>(), other.first_chunk::<8>(), one.last_chunk::<8>(), other.last_chunk::<8>()) {
            (Some(a), Some(b), Some(c), Some(d)) if one.len() == other.len() && one.len() <= 16 => {
                u64::from_ne_bytes(*a) == u64::from_ne_bytes(*b) && u64::from_ne_bytes(*c) == u64::from_ne_bytes(*d)
            }
            _ => one == other,
        }
    }
}

/// What kind of packet of a sequenced feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitKind {
    /// Messages.
    Data,
    /// Nothing but the number that will come next.
    Heartbeat,
    /// The session is over.
    End,
    /// A receiver asks for messages again; it travels towards the exchange.
    Request,
}

/// Which messages of a packet are seen for the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fresh {
    /// All of them.
    All,
    /// None: another line brought them before.
    None,
    /// Those at these positions in the packet.
    Some(Vec<Range<u64>>),
}

impl Fresh {
    /// Whether the message at this position in the packet is new.
    pub fn holds(&self, position: u64) -> bool {
        match self {
            Fresh::All => true,
            Fresh::None => false,
            Fresh::Some(ranges) => ranges.iter().any(|range| range.contains(&position)),
        }
    }
}

/// A whole message as `decode` prints it; the keys are those of `tickscope-decode(1)`.
#[derive(Clone, Debug, Default)]
pub struct Described {
    /// The protocol's own name of the message.
    pub msg: String,
    /// Its number in its feed or session.
    pub seq: Option<u64>,
    /// Its symbol.
    pub symbol: Option<String>,
    /// The exchange's id of the instrument.
    pub security_id: Option<String>,
    /// Its side.
    pub side: Option<Side>,
    /// Its price.
    pub price: Option<Decimal>,
    /// Its quantity.
    pub qty: Option<Decimal>,
    /// The exchange's order reference or OrderID.
    pub order_id: Option<String>,
    /// The exchange's own time, nanoseconds since the Unix epoch.
    pub exch_t_ns: Option<u64>,
    /// ClOrdID or its nearest equal.
    pub clordid: Option<String>,
    /// The whole message under the protocol's own field names, repeating groups as arrays.
    pub fields: serde_json::Map<String, serde_json::Value>,
}
