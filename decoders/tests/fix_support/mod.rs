//! For the tests of the FIX decoder: an `Output` that remembers, and messages with right lengths and checksums.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::ops::Range;

use tickscope_decoders::{Decoder, Described, Fresh, Output, Sequenced, orders};
use tickscope_model::{Loss, Losses, MarketEvent, OrderEvent, OrderKind, SymbolId, Timestamp};

/// What an event said, owned; `start` counts from the beginning of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) kind: OrderKind,
    pub(crate) text: String,
    pub(crate) clordid: String,
    pub(crate) orig_clordid: String,
    pub(crate) symbol: String,
    pub(crate) side: &'static str,
    pub(crate) price: String,
    pub(crate) quantity: String,
    pub(crate) is_copy: bool,
    pub(crate) is_damaged: bool,
}

#[derive(Default)]
pub(crate) struct Memory {
    /// Bytes of the stream in front of the input at hand.
    pub(crate) base: usize,
    pub(crate) told: Vec<Told>,
    pub(crate) described: Vec<(Range<usize>, Described)>,
    pub(crate) losses: Losses,
    pub(crate) wants_fields: bool,
}

impl Output for Memory {
    fn wants_fields(&self) -> bool {
        self.wants_fields
    }
    fn now(&self) -> Timestamp {
        Timestamp(0)
    }
    fn symbol(&mut self, _name: &[u8]) -> SymbolId {
        SymbolId(0)
    }
    fn sequenced(&mut self, _unit: &Sequenced<'_>) -> Fresh {
        Fresh::All
    }
    fn market(&mut self, _event: &MarketEvent) {
        panic!("FIX order flow has no market data")
    }
    fn market_other(&mut self) {
        panic!("FIX order flow has no market data")
    }
    fn order(&mut self, span: Range<usize>, event: &OrderEvent<'_>) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        self.told.push(Told {
            start: self.base + span.start,
            end: self.base + span.end,
            kind: event.kind,
            text: format!("{event:?}"),
            clordid: text(event.clordid),
            orig_clordid: text(event.orig_clordid),
            symbol: text(event.symbol),
            side: event.side.map_or("", |side| side.text()),
            price: event.price.map_or(String::new(), |price| price.to_string()),
            quantity: event.quantity.map_or(String::new(), |quantity| quantity.to_string()),
            is_copy: event.is_copy,
            is_damaged: event.is_damaged,
        });
    }
    fn described(&mut self, span: Range<usize>, message: Described) {
        self.described.push((self.base + span.start..self.base + span.end, message));
    }
    fn loss(&mut self, loss: Loss) {
        self.losses.add(loss);
    }
    fn loss_many(&mut self, loss: Loss, count: u64) {
        self.losses.add_many(loss, count);
    }
}

/// Feeds a stream in pieces, as `flow` does: the unused tail comes back in front of more bytes.
pub(crate) fn feed(stream: &[u8], cuts: impl IntoIterator<Item = usize>, memory: &mut Memory) -> usize {
    let mut decoder = (orders::fix::PROTOCOL.open)();
    feed_to(decoder.as_mut(), stream, cuts, memory)
}

pub(crate) fn feed_to(
    decoder: &mut dyn Decoder,
    stream: &[u8],
    cuts: impl IntoIterator<Item = usize>,
    memory: &mut Memory,
) -> usize {
    let mut used = 0;
    for end in cuts.into_iter().chain([stream.len()]) {
        memory.base = used;
        let input = &stream[used..end];
        let now = decoder.decode(input, memory);
        assert!(now <= input.len(), "used {now} of {}", input.len());
        used += now;
    }
    used
}

/// Everything that a whole stream says.
pub(crate) fn read(stream: &[u8]) -> Memory {
    let mut memory = Memory { wants_fields: true, ..Memory::default() };
    feed(stream, [], &mut memory);
    memory
}

/// A message with BodyLength and CheckSum; `|` stands for SOH.
pub(crate) fn message(begin: &str, body: &str) -> Vec<u8> {
    message_of(begin, body.replace('|', "\x01").as_bytes())
}

pub(crate) fn message_of(begin: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("8={begin}\x019={}\x01", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    let sum: u32 = bytes.iter().map(|&byte| u32::from(byte)).sum();
    bytes.extend_from_slice(format!("10={:03}\x01", sum % 256).as_bytes());
    bytes
}

/// A generator of numbers that is the same everywhere (`SplitMix64`).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }
}
