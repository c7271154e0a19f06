//! Which conversation a packet belongs to, TCP bytes back in order, and which decoder reads them.
//! What comes out goes to a [`Lane`]: the correlator of `analyze`, or the printer of `decode`.

mod history;
mod key;
mod mend;
mod stream;
mod tcp;
mod udp;

use std::ops::Range;

use tickscope_decoders::{Described, Fresh, Output, Protocol, Sequenced};
use tickscope_model::{Loss, MarketEvent, OrderEvent, SymbolId, TapId, Timestamp};

use crate::capture::{Captured, Packets, Place};

pub use history::{Acked, Arrival, History};
pub use key::{Endpoint, FlowKey, NamedEnd, packed_key};
pub use stream::{Stream, StreamSink, Taken};
pub use tcp::{Conversations, NamedSession, Peer, StreamBytes};
pub use udp::{SkimmedFlow, UdpFlows};

/// A datagram that a decoder is reading.
#[derive(Clone, Copy)]
pub struct Datagram<'a> {
    pub protocol: &'static Protocol,
    pub key: &'a FlowKey,
    /// Number of the flow in this run, for state that the lane keeps a flow.
    pub flow: u32,
    pub tap: TapId,
    pub frame: u64,
    pub time: Timestamp,
    pub ip_id: u16,
}

/// A direction of a conversation that a decoder is reading.
#[derive(Clone, Copy)]
pub struct Direction<'a> {
    pub protocol: &'static Protocol,
    /// Source and target of this direction.
    pub key: &'a FlowKey,
    /// Number of the conversation in this run; a new connection with the same ports gets a new one.
    pub conversation: u32,
    /// Whether the source opened the connection, where that was seen or configured.
    pub from_client: Option<bool>,
}

/// Where and when a message was seen.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub tap: TapId,
    /// Frame that carried the last byte, the first time that it was seen …
    pub frame: u64,
    /// … and its time: the time of the message.
    pub time: Timestamp,
    /// Frame that carried the first byte, and its time.
    pub first_frame: u64,
    pub first: Timestamp,
    /// Place in the stream behind the last byte.
    pub end: u64,
    /// Bytes of the message.
    pub length: u64,
    /// The last byte was there before some earlier ones.
    pub early: bool,
    /// A frame of the message was cut by the capture.
    pub cut: bool,
    /// The first ACK that covers the last byte, as far as it is known when the message is read.
    pub acked: Acked,
}

/// What lies right of the flows.
pub trait Lane {
    /// A frame of a tap is about to be read.
    fn frame(&mut self, captured: &Captured<'_>);
    fn wants_fields(&self) -> bool;
    fn symbol(&mut self, name: &[u8]) -> SymbolId;
    /// `None`: the mirror port delivered this datagram twice, nothing of it counts.
    fn sequenced(&mut self, at: &Datagram<'_>, unit: &Sequenced<'_>) -> Option<Fresh>;
    fn market(&mut self, at: &Datagram<'_>, event: &MarketEvent);
    /// Packets of one flow that were read ahead, for lanes that have captures read ahead; `at` is of the first of them
    /// (but for the IP identification, which costs a look at the packet).
    /// Returns how many are copies that the mirror port made.
    fn packets(&mut self, _at: Datagram<'_>, _packets: &Packets<'_>) -> u64 {
        0
    }
    /// Packets that were read ahead and must be read once more for what their messages say.
    fn has_wants(&self) -> bool {
        false
    }
    fn wants_again(&mut self) -> Vec<Place> {
        Vec::new()
    }
    /// A message of such a packet …
    fn market_again(&mut self, _at: &Datagram<'_>, _event: &MarketEvent) {}
    /// … and that was all.
    fn seen_again(&mut self) {}
    /// All frames have come. What the lane wants to have read once more then is read after this.
    fn ended(&mut self) {}
    fn market_other(&mut self, at: &Datagram<'_>);
    fn datagram_described(&mut self, at: &Datagram<'_>, message: Described);
    fn order(&mut self, direction: &Direction<'_>, seen: &Seen, event: &OrderEvent<'_>);
    fn order_described(&mut self, direction: &Direction<'_>, seen: &Seen, message: Described);
    /// The peer acknowledged everything before `place` of this direction's stream.
    fn acknowledged(&mut self, direction: &Direction<'_>, place: u64, arrival: Arrival);
    fn stream_gap(&mut self, direction: &Direction<'_>);
    fn retransmitted(&mut self, direction: &Direction<'_>, places: Range<u64>);
    fn loss(&mut self, loss: Loss, count: u64);
    /// Messages that nothing else tells of; see [`Output::stray`].
    fn stray(&mut self, loss: Loss, count: u64) {
        self.loss(loss, count);
    }
}

/// [`Output`] of a decoder that reads a datagram.
struct DatagramOutput<'a, L: Lane> {
    lane: &'a mut L,
    at: Datagram<'a>,
    copy: bool,
}

impl<L: Lane> Output for DatagramOutput<'_, L> {
    fn wants_fields(&self) -> bool {
        self.lane.wants_fields()
    }
    fn now(&self) -> Timestamp {
        self.at.time
    }
    fn symbol(&mut self, name: &[u8]) -> SymbolId {
        self.lane.symbol(name)
    }
    fn sequenced(&mut self, unit: &Sequenced<'_>) -> Fresh {
        self.lane.sequenced(&self.at, unit).unwrap_or_else(|| {
            self.copy = true;
            Fresh::None
        })
    }
    fn market(&mut self, event: &MarketEvent) {
        self.lane.market(&self.at, event);
    }
    fn market_other(&mut self) {
        self.lane.market_other(&self.at);
    }
    fn order(&mut self, _span: Range<usize>, _event: &OrderEvent<'_>) {
        debug_assert!(false, "order entry over UDP is no protocol that we have");
    }
    fn described(&mut self, _span: Range<usize>, message: Described) {
        self.lane.datagram_described(&self.at, message);
    }
    fn loss(&mut self, loss: Loss) {
        self.loss_many(loss, 1);
    }
    fn loss_many(&mut self, loss: Loss, count: u64) {
        if !self.copy {
            self.lane.loss(loss, count);
        }
    }
    fn stray(&mut self, loss: Loss, count: u64) {
        if !self.copy {
            self.lane.stray(loss, count);
        }
    }
}

/// [`Output`] of a decoder that reads a datagram once more: nothing of it counts a second time.
struct AgainOutput<'a, L: Lane> {
    lane: &'a mut L,
    at: Datagram<'a>,
}

impl<L: Lane> Output for AgainOutput<'_, L> {
    fn wants_fields(&self) -> bool {
        false
    }
    fn now(&self) -> Timestamp {
        self.at.time
    }
    fn symbol(&mut self, name: &[u8]) -> SymbolId {
        self.lane.symbol(name)
    }
    fn sequenced(&mut self, _unit: &Sequenced<'_>) -> Fresh {
        Fresh::All
    }
    fn market(&mut self, event: &MarketEvent) {
        self.lane.market_again(&self.at, event);
    }
    fn market_other(&mut self) {}
    fn order(&mut self, _span: Range<usize>, _event: &OrderEvent<'_>) {}
    fn described(&mut self, _span: Range<usize>, _message: Described) {}
    fn loss(&mut self, _loss: Loss) {}
    fn loss_many(&mut self, _loss: Loss, _count: u64) {}
    fn stray(&mut self, _loss: Loss, _count: u64) {}
}
