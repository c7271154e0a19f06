//! A glance at ITCH messages: type, length and stock locate, nothing else. Whatever is not entirely ordinary (another
//! length than its table's, a stock that is not known or is named differently, a message about no stock) is left to the
//! decoder. A test holds every message type against it.

use tickscope_model::{MarketKind, SymbolId};

use super::KnownStock;
use crate::framing::moldudp64;
use crate::{Glances, Sequenced, Skim, UnitKind};

/// See [`Skim`]. Both lists are by stock locate; they are apart since most messages do not name their stock, and what is
/// looked at for each message should fit into the first cache.
pub(super) struct Skimmer {
    /// `u32::MAX` where nothing is known.
    symbols: Vec<SymbolId>,
    /// The name of the stock as [`Stock::key`].
    keys: Vec<u64>,
}

const UNKNOWN: SymbolId = SymbolId(u32::MAX);

impl Skimmer {
    pub(super) fn new(stocks: &[KnownStock]) -> Skimmer {
        let mut symbols: Vec<SymbolId> =
            stocks.iter().map(|stock| if stock.key == 0 { UNKNOWN } else { stock.symbol }).collect();
        // Locate 0 is shared by all stocks that have none of their own.
        if let Some(first) = symbols.first_mut() {
            *first = UNKNOWN;
        }
        Skimmer { symbols, keys: stocks.iter().map(|stock| stock.key).collect() }
    }
}

/// What a glance needs to know of a message type.
#[derive(Clone, Copy)]
struct Shape {
    /// Its length; 0 for what is left to the decoder.
    length: u8,
    kind: MarketKind,
    /// Where the stock's name stands; 0 where the message has none.
    stock: u8,
    /// All bits where there is one.
    compared: u64,
}

impl Shape {
    const fn new(length: u8, kind: MarketKind, stock: u8) -> Shape {
        Shape { length, kind, stock, compared: if stock == 0 { 0 } else { u64::MAX } }
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

impl Skim for Skimmer {
    fn skim<'a>(&self, input: &'a [u8], glances: &mut Glances) -> Option<Sequenced<'a>> {
        let (header, mut blocks) = moldudp64::Header::read(input)?;
        let unit = header.unit(UnitKind::Data);
        if header.kind(!blocks.is_empty()) != UnitKind::Data {
            return None;
        }
        // Message types come in no order that a processor could foresee, so what can be wrong is collected and looked at
        // once: branches are left where they always go the same way.
        let mut wrong = 0;
        for _ in 0..unit.count {
            let bytes = blocks.take_block()?.bytes;
            let (&[code, high, low], _) = bytes.split_first_chunk::<3>()?;
            let shape = SHAPES.get(usize::from(code))?;
            let locate = usize::from(u16::from_be_bytes([high, low]));
            let (symbol, key) = (*self.symbols.get(locate)?, *self.keys.get(locate)?);
            let name = u64::from_le_bytes(*bytes.get(usize::from(shape.stock)..)?.first_chunk()?);
            wrong |= u64::from(usize::from(shape.length) != bytes.len());
            wrong |= u64::from(symbol == UNKNOWN);
            wrong |= (name ^ key) & shape.compared;
            let is_hidden = code == b'C' && bytes.get(PRINTABLE) == Some(&b'N');
            let kind = if is_hidden { MarketKind::Book } else { shape.kind };
            glances.add(symbol, kind, code);
        }
        (wrong == 0 && blocks.is_empty()).then_some(unit)
    }
}
