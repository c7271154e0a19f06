//! A glance at ITCH messages: type, length and stock locate, nothing else. Whatever is not entirely ordinary (another
//! length than its table's, a stock that is not known or is named differently, a message about no stock) is left to the
//! decoder. A test holds every message type against it.

use std::sync::Arc;

use tickscope_model::MarketKind;

use super::KnownStock;
use crate::framing::moldudp64;
use crate::{Glance, Sequenced, Skim, UnitKind};

/// See [`Skim`].
pub(super) struct Skimmer {
    stocks: Arc<Vec<KnownStock>>,
}

impl Skimmer {
    pub(super) fn new(stocks: Arc<Vec<KnownStock>>) -> Skimmer {
        Skimmer { stocks }
    }
}

/// What a glance needs to know of a message type.
#[derive(Clone, Copy)]
struct Shape {
    /// Its length; 0 for what is left to the decoder.
    length: usize,
    kind: MarketKind,
    /// Where the stock's name stands, where the message has one.
    stock: Option<usize>,
}

impl Shape {
    const fn new(length: usize, kind: MarketKind, stock: Option<usize>) -> Shape {
        Shape { length, kind, stock }
    }
}

/// By type byte. The quoting period update (`K`) has locate 0 although it names a stock, and `S`, `V`, `W` have none.
static SHAPES: [Shape; 256] = {
    use MarketKind::{Auction, Book, Status, Trade};
    let mut shapes = [Shape::new(0, Status, None); 256];
    shapes[b'A' as usize] = Shape::new(36, Book, Some(24));
    shapes[b'D' as usize] = Shape::new(19, Book, None);
    shapes[b'U' as usize] = Shape::new(35, Book, None);
    shapes[b'E' as usize] = Shape::new(31, Trade, None);
    shapes[b'X' as usize] = Shape::new(23, Book, None);
    shapes[b'P' as usize] = Shape::new(44, Trade, Some(24));
    shapes[b'F' as usize] = Shape::new(40, Book, Some(24));
    shapes[b'C' as usize] = Shape::new(36, Trade, None);
    shapes[b'Q' as usize] = Shape::new(40, Trade, Some(19));
    shapes[b'B' as usize] = Shape::new(19, Trade, None);
    shapes[b'I' as usize] = Shape::new(50, Auction, Some(28));
    shapes[b'R' as usize] = Shape::new(39, Status, Some(11));
    shapes[b'H' as usize] = Shape::new(25, Status, Some(11));
    shapes[b'Y' as usize] = Shape::new(20, Status, Some(11));
    shapes[b'L' as usize] = Shape::new(26, Status, Some(15));
    shapes[b'J' as usize] = Shape::new(35, Status, Some(11));
    shapes[b'h' as usize] = Shape::new(21, Status, Some(11));
    shapes[b'N' as usize] = Shape::new(20, Status, Some(11));
    shapes[b'O' as usize] = Shape::new(48, Status, Some(11));
    shapes
};

/// Where an execution with a price (`C`) says whether it is printed.
const PRINTABLE: usize = 31;

impl Skim for Skimmer {
    fn skim<'a>(&self, input: &'a [u8], glances: &mut Vec<Glance>) -> Option<Sequenced<'a>> {
        let (header, mut blocks) = moldudp64::Header::read(input)?;
        let unit = header.unit(UnitKind::Data);
        if header.kind(!blocks.is_empty()) != UnitKind::Data {
            return None;
        }
        for _ in 0..unit.count {
            let bytes = blocks.take_block()?.bytes;
            let (&[code, high, low], _) = bytes.split_first_chunk::<3>()?;
            let shape = SHAPES.get(usize::from(code))?;
            let locate = u16::from_be_bytes([high, low]);
            let known = self.stocks.get(usize::from(locate))?;
            let is_named_alike = match shape.stock {
                Some(at) => bytes.get(at..at + 8)?.first_chunk() == Some(&known.key.to_le_bytes()),
                None => true,
            };
            if shape.length != bytes.len() || locate == 0 || known.key == 0 || !is_named_alike {
                return None;
            }
            let is_hidden = code == b'C' && bytes.get(PRINTABLE) == Some(&b'N');
            let kind = if is_hidden { MarketKind::Book } else { shape.kind };
            glances.push(Glance { symbol: known.symbol, kind, code });
        }
        blocks.is_empty().then_some(unit)
    }
}
