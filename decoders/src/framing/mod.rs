//! Envelopes that several protocols share. A sequenced datagram is a header and then message blocks, each a 2-byte length
//! and that many bytes; `walk` goes through them once, for every such envelope, so that no message is lost uncounted.

pub(crate) mod iextp;
pub(crate) mod moldudp64;

use std::ops::Range;

use serde_json::{Map, Value};
use tickscope_model::Loss;

use crate::{Described, Fresh, Output, Sequenced, UnitKind};

/// How a length field is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ByteOrder {
    Big,
    Little,
}

/// One message of a datagram, without its length field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block<'a> {
    pub(crate) bytes: &'a [u8],
    /// Where it lies in the datagram, length field included.
    pub(crate) span: Range<usize>,
}

/// What follows the header of a datagram.
#[derive(Clone, Debug)]
pub(crate) struct Blocks<'a> {
    rest: &'a [u8],
    offset: usize,
    order: ByteOrder,
}

impl<'a> Blocks<'a> {
    /// `offset` is where `rest` begins in the datagram.
    pub(crate) fn new(rest: &'a [u8], offset: usize, order: ByteOrder) -> Blocks<'a> {
        Blocks { rest, offset, order }
    }

    /// The next block, if all of it is there.
    #[inline]
    pub(crate) fn take_block(&mut self) -> Option<Block<'a>> {
        let (length, rest) = self.rest.split_first_chunk()?;
        let length = match self.order {
            ByteOrder::Big => u16::from_be_bytes(*length),
            ByteOrder::Little => u16::from_le_bytes(*length),
        };
        let (bytes, rest) = rest.split_at_checked(usize::from(length))?;
        let end = self.offset + 2 + bytes.len();
        let span = self.offset..end;
        self.rest = rest;
        self.offset = end;
        Some(Block { bytes, span })
    }

    /// Whether every byte was used.
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

/// One message on its way to a decoder.
pub(crate) struct Sent<'a> {
    pub(crate) block: Block<'a>,
    /// Its number in the feed; 0 where the feed has none.
    pub(crate) sequence: u64,
    /// Whether it is seen for the first time. Other messages only teach symbols.
    pub(crate) is_new: bool,
}

/// Announces a packet of messages and hands over each of them. Messages that the header promises and that are not there
/// (a capture that was cut) are counted as malformed, and so are bytes after the last message.
#[inline]
pub(crate) fn walk(
    unit: &Sequenced<'_>,
    mut blocks: Blocks<'_>,
    out: &mut dyn Output,
    mut each: impl FnMut(Sent<'_>, &mut dyn Output),
) {
    let fresh = out.sequenced(unit);
    for position in 0..unit.count {
        let Some(block) = blocks.take_block() else {
            let missing = match &fresh {
                Fresh::All => unit.count - position,
                Fresh::None => 0,
                Fresh::Some(_) => (position..unit.count).map(|position| u64::from(fresh.holds(position))).sum(),
            };
            return out.loss_many(Loss::Malformed, missing);
        };
        let sequence = if unit.first == 0 { 0 } else { unit.first.wrapping_add(position) };
        each(Sent { block, sequence, is_new: fresh.holds(position) }, out);
    }
    if !blocks.is_empty() {
        out.stray(Loss::Malformed, 1);
    }
}

/// Announces a packet without messages, and describes it for `decode`.
pub(crate) fn announce(
    unit: &Sequenced<'_>,
    span: Range<usize>,
    sent_ns: Option<u64>,
    out: &mut dyn Output,
    fields: impl FnOnce(&mut Map<String, Value>),
) {
    out.sequenced(unit);
    if !out.wants_fields() {
        return;
    }
    let msg = match unit.kind {
        UnitKind::Heartbeat | UnitKind::Data => "Heartbeat",
        UnitKind::End => "End of Session",
        UnitKind::Request => "Retransmission Request",
    };
    let mut message = Described { msg: msg.to_owned(), exch_t_ns: sent_ns, ..Described::default() };
    fields(&mut message.fields);
    out.described(span, message);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_compared_with_what_is_there() {
        let check = |bytes: &[u8], order, expected: &[&[u8]], left: bool| {
            let mut blocks = Blocks::new(bytes, 20, order);
            let mut found = Vec::new();
            while let Some(block) = blocks.take_block() {
                assert_eq!(block.span.len(), block.bytes.len() + 2);
                found.push(block.bytes);
            }
            assert_eq!(found, expected);
            assert_eq!(!blocks.is_empty(), left);
        };
        check(b"\x00\x02ab\x00\x01c", ByteOrder::Big, &[b"ab", b"c"], false);
        check(b"\x02\x00ab\x01\x00c", ByteOrder::Little, &[b"ab", b"c"], false);
        check(b"\x00\x02ab\x00\x02c", ByteOrder::Big, &[b"ab"], true);
        check(b"\x00\x00\x00", ByteOrder::Big, &[b""], true);
        check(b"\xff\xff", ByteOrder::Big, &[], true);
        check(b"", ByteOrder::Big, &[], false);
    }
}
