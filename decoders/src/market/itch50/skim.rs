//! A glance at ITCH messages: type, length and stock locate, nothing else. Whatever is not entirely ordinary (another
//! length than its table's, a stock that is not known or is named differently, a message about no stock) is left to the
//! decoder. A test holds every message type against it.

use std::num::NonZeroU64;
use std::ops::Range;

use tickscope_model::{MarketKind, SymbolId};

use super::KnownStock;
use crate::framing::moldudp64;
use crate::market::layout::Stock;
use crate::{Glance, Marks, PacketMarks, Skim, SkimmedPacket, UnitKind};

/// See [`Skim`]. What is looked at for each message of a capture is small: it should fit into the first cache.
pub struct Skimmer {
    /// The name of the stock as [`Stock::key`], by stock locate; 0 where nothing is known, or nothing certain.
    keys: Vec<u64>,
    symbols: Vec<SymbolId>,
    /// By symbol; 0 where there is none.
    locates: Vec<u16>,
}

impl Skimmer {
    pub(super) fn new(stocks: &[KnownStock]) -> Skimmer {
        let certain = |key: u64| if key & NO_NAME == 0 { key } else { 0 };
        let mut keys: Vec<u64> = stocks.iter().map(|stock| certain(stock.key)).collect();
        // Locate 0 is shared by all stocks that have none of their own.
        if let Some(first) = keys.first_mut() {
            *first = 0;
        }
        let mut locates: Vec<u16> = Vec::new();
        for (locate, stock) in (0..=u16::MAX).zip(stocks).skip(1).filter(|(_, stock)| stock.key != 0) {
            let symbol = stock.symbol.0 as usize;
            if locates.len() <= symbol {
                locates.resize(symbol + 1, 0);
            }
            // A stock with two locates is left to the decoder, so that one mark is enough to find its messages.
            let before = locates.get_mut(symbol).map_or(0, |known| std::mem::replace(known, locate));
            if before != 0 {
                for locate in [before, locate] {
                    if let Some(key) = keys.get_mut(usize::from(locate)) {
                        *key = 0;
                    }
                }
            }
        }
        Skimmer { keys, symbols: stocks.iter().map(|stock| stock.symbol).collect(), locates }
    }
}

/// What a glance needs to know of a message type.
#[derive(Clone, Copy)]
struct Shape {
    /// Its length; 0 for what is left to the decoder.
    length: u8,
    /// Where the stock's name stands behind the start of the length field; 0 where the message has none.
    stock: u8,
    kind: MarketKind,
    /// All bits where there is a name.
    compared: u64,
}

/// No message is longer; all bits.
const LONGEST: u8 = 63;
/// So many bytes are looked at of each message, its length field included: more than any has.
const CHUNK: usize = 2 + LONGEST as usize + 1;
/// No name begins further behind.
const LAST_STOCK: u8 = 31;

impl Shape {
    const fn new(length: u8, kind: MarketKind, stock: u8) -> Shape {
        assert!(length <= LONGEST && stock + 2 <= LAST_STOCK);
        match stock {
            0 => Shape { length, stock, kind, compared: 0 },
            _ => Shape { length, stock: stock + 2, kind, compared: u64::MAX },
        }
    }
}

/// By type byte. The quoting period update (`K`) has locate 0 although it names a stock, and `S`, `V`, `W` have none.
#[allow(clippy::indexing_slicing, reason = "the compiler evaluates it")]
static SHAPES: [Shape; 256] = {
    use MarketKind::{Auction, Book, Status, Trade};
    let mut shapes = [Shape::new(0, Status, 0); 256];
    shapes[b'A' as usize] = Shape::new(36, Book, 24);
    shapes[b'D' as usize] = Shape::new(19, Book, 0);
    shapes[b'U' as usize] = Shape::new(35, Book, 0);
    shapes[b'E' as usize] = Shape::new(31, Trade, 0);
    shapes[b'X' as usize] = Shape::new(23, Book, 0);
    shapes[b'P' as usize] = Shape::new(44, Trade, 24);
    shapes[b'F' as usize] = Shape::new(40, Book, 24);
    shapes[b'C' as usize] = Shape::new(36, Trade, 0);
    shapes[b'Q' as usize] = Shape::new(40, Trade, 19);
    shapes[b'B' as usize] = Shape::new(19, Trade, 0);
    shapes[b'I' as usize] = Shape::new(50, Auction, 28);
    shapes[b'R' as usize] = Shape::new(39, Status, 11);
    shapes[b'H' as usize] = Shape::new(25, Status, 11);
    shapes[b'Y' as usize] = Shape::new(20, Status, 11);
    shapes[b'L' as usize] = Shape::new(26, Status, 15);
    shapes[b'J' as usize] = Shape::new(35, Status, 11);
    shapes[b'h' as usize] = Shape::new(21, Status, 11);
    shapes[b'N' as usize] = Shape::new(20, Status, 11);
    shapes[b'O' as usize] = Shape::new(48, Status, 11);
    shapes
};

/// The stock that a message names; `None` where its type names none, or only one without a locate, or it has another length.
#[inline]
pub(super) fn stock(message: &[u8]) -> Option<Stock> {
    let shape = SHAPES.get(usize::from(*message.first()?))?;
    let name = message.get(usize::from(shape.stock).checked_sub(2)?..)?.first_chunk()?;
    (message.len() == usize::from(shape.length)).then_some(Stock(*name))
}

/// A bit that no name has, since names are ASCII; 0, of what is not known, has it when one is taken away.
const NO_NAME: u64 = 1 << 63;

/// Where an execution with a price (`C`) says whether it is printed.
const PRINTABLE: usize = 31;

impl Skimmer {
    /// Gives each message's stock locate, shape, and first bytes with its length in front, to `each`; `None` where only the
    /// decoder can read the packet, which is the first `length` bytes of `input`. Behind it stand [`CHUNK`] more, or `IS_LAST`.
    #[inline(always)]
    #[allow(
        clippy::inline_always,
        reason = "measured: `each` is a few instructions, done for each message of a capture"
    )]
    fn read<const IS_LAST: bool>(
        &self,
        input: &[u8],
        length: usize,
        mut each: impl FnMut(u16, &Shape, &[u8; CHUNK]),
    ) -> Option<(NonZeroU64, u64)> {
        let (header, _) = moldudp64::Header::read(input)?;
        let unit = header.unit(header.kind(true));
        if unit.kind != UnitKind::Data {
            return None;
        }
        // Message types come in no order that a processor could foresee, so what can be wrong is collected and looked at
        // once: branches are left where they always go the same way. (Measured: counting messages is faster than looking
        // for the end of the packet, since the processor knows sooner where the loop ends.)
        let mut wrong = 0;
        let mut unknown = 0;
        let behind = if IS_LAST { 0 } else { CHUNK };
        let mut rest = input.get(size_of::<moldudp64::Header>()..length + behind)?;
        for _ in 0..unit.count {
            let mut padded = [0; CHUNK];
            let message = if IS_LAST {
                padded.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
                &padded
            } else {
                rest.first_chunk::<CHUNK>()?
            };
            let &[above, bytes, code, locate @ .., _, _, _] = message.first_chunk::<8>()?;
            let locate = u16::from_be_bytes(locate);
            let shape = SHAPES.get(usize::from(code))?;
            let key = *self.keys.get(usize::from(locate))?;
            let name = u64::from_le_bytes(*message.get(usize::from(shape.stock & LAST_STOCK)..)?.first_chunk()?);
            wrong |= u64::from(above) | u64::from(bytes ^ shape.length) | (name ^ key) & shape.compared;
            unknown |= key.wrapping_sub(1);
            each(locate, shape, message);
            rest = rest.get(2 + usize::from(bytes & LONGEST)..)?;
        }
        if wrong != 0 || unknown & NO_NAME != 0 || rest.len() != behind {
            return None;
        }
        Some((NonZeroU64::new(unit.first)?, unit.count))
    }
}

impl Skim for Skimmer {
    fn session(&self) -> Range<usize> {
        moldudp64::Header::SESSION
    }

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "measured: done for each packet of a capture")]
    fn skim(&self, input: &[u8], length: usize, marks: &mut Marks) -> Option<SkimmedPacket> {
        let mut of_packet = PacketMarks::default();
        let mark = |locate, _: &Shape, _: &[u8; CHUNK]| {
            marks.mark(locate);
            of_packet.mark(locate);
        };
        let (first, count) = self.read::<false>(input, length, mark)?;
        Some(SkimmedPacket { first, count, marks: of_packet })
    }

    fn as_itch50(&self) -> Option<&Skimmer> {
        Some(self)
    }

    fn mark_of(&self, symbol: SymbolId) -> Option<u16> {
        self.locates.get(symbol.0 as usize).copied().filter(|&locate| locate != 0)
    }

    fn glances(&self, input: &[u8], each: &mut dyn FnMut(Glance)) -> Option<()> {
        self.read::<true>(input, input.len(), |locate, shape, message| {
            let code = message.get(2).copied().unwrap_or(0);
            let is_hidden = code == b'C' && message.get(2 + PRINTABLE) == Some(&b'N');
            let kind = if is_hidden { MarketKind::Book } else { shape.kind };
            let symbol = self.symbols.get(usize::from(locate)).copied().unwrap_or_default();
            each(Glance { symbol, code, kind });
        })
        .map(|_| ())
    }
}
