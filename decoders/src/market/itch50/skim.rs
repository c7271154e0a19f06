//! A glance at ITCH messages: type, length and stock locate, nothing else. Whatever is not entirely ordinary (another
//! length than its table's, a stock that is not known or is named differently, a message about no stock) is left to the
//! decoder. A test holds every message type against it.

use std::num::NonZeroU64;
use std::ops::Range;

use tickscope_model::{MarketKind, SymbolId};

use super::KnownStock;
use crate::framing::moldudp64;
use crate::{Glance, Marks, Sequenced, Skim, UnitKind};

/// See [`Skim`]. What is looked at for each message of a capture is small: it should fit into the first cache.
pub(super) struct Skimmer {
    /// The name of the stock as [`Stock::key`], by stock locate; 0 where nothing is known, or nothing certain.
    keys: Vec<u64>,
    symbols: Vec<SymbolId>,
    /// By symbol; 0 where there is none.
    locates: Vec<u16>,
}

impl Skimmer {
    pub(super) fn new(stocks: &[KnownStock]) -> Skimmer {
        let mut keys: Vec<u64> = stocks.iter().map(|stock| stock.key).collect();
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

impl Shape {
    const fn new(length: u8, kind: MarketKind, stock: u8) -> Shape {
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

/// Where an execution with a price (`C`) says whether it is printed.
const PRINTABLE: usize = 31;

impl Skimmer {
    /// Gives each message's stock locate, shape, and bytes with its length in front, to `each`; `None` where only the decoder can read the packet.
    #[inline(always)]
    #[allow(
        clippy::inline_always,
        reason = "measured: `each` is a few instructions, done for each message of a capture"
    )]
    #[allow(clippy::cast_possible_truncation, reason = "no more bits than that are left")]
    fn read(&self, input: &[u8], mut each: impl FnMut(u16, &Shape, &[u8])) -> Option<(NonZeroU64, u64)> {
        let (header, blocks) = moldudp64::Header::read(input)?;
        let Sequenced { first, count, .. } = header.unit(UnitKind::Data);
        if header.kind(!blocks.is_empty()) != UnitKind::Data {
            return None;
        }
        // Message types come in no order that a processor could foresee, so what can be wrong is collected and looked at
        // once: branches are left where they always go the same way.
        let mut wrong = 0;
        let mut rest = blocks.rest();
        for _ in 0..count {
            // The length, the type and the locate are in the first eight bytes; no message is shorter.
            let start = u64::from_be_bytes(*rest.first_chunk()?);
            let [length, code, locate] = [start >> 48, start >> 40 & 0xff, start >> 24 & 0xffff];
            let shape = SHAPES.get(code as usize)?;
            let key = *self.keys.get(locate as usize)?;
            let name = u64::from_le_bytes(*rest.get(usize::from(shape.stock)..)?.first_chunk()?);
            wrong |= length ^ u64::from(shape.length);
            wrong |= u64::from(key == 0);
            wrong |= (name ^ key) & shape.compared;
            each(locate as u16, shape, rest);
            rest = rest.get(2 + length as usize..)?;
        }
        if wrong != 0 || !rest.is_empty() {
            return None;
        }
        Some((NonZeroU64::new(first)?, count))
    }
}

impl Skim for Skimmer {
    fn session(&self) -> Range<usize> {
        moldudp64::Header::SESSION
    }

    fn skim(&self, input: &[u8], marks: &mut Marks) -> Option<(NonZeroU64, u64)> {
        self.read(input, |locate, _, _| marks.mark(locate))
    }

    fn mark_of(&self, symbol: SymbolId) -> Option<u16> {
        self.locates.get(symbol.0 as usize).copied().filter(|&locate| locate != 0)
    }

    fn glances(&self, input: &[u8], glances: &mut Vec<Glance>) -> Option<()> {
        self.read(input, |locate, shape, message| {
            let code = message.get(2).copied().unwrap_or(0);
            let is_hidden = code == b'C' && message.get(2 + PRINTABLE) == Some(&b'N');
            let kind = if is_hidden { MarketKind::Book } else { shape.kind };
            let symbol = self.symbols.get(usize::from(locate)).copied().unwrap_or_default();
            glances.push(Glance { symbol, code, kind });
        })
        .map(|_| ())
    }
}
