//! `MoldUDP64` 1.00 (Nasdaq, 7 July 2009): the sequenced datagrams that carry ITCH. A datagram goes in; its messages come
//! out one by one, with heartbeats, the end of a session and requests for retransmission told apart from data.

use std::ops::Range;

use serde_json::{Map, Value};
use tickscope_model::Loss;
use zerocopy::byteorder::big_endian::{U16, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::{Blocks, ByteOrder, Sent, announce, walk};
use crate::{Output, Sequenced, UnitKind};

/// The Downstream Packet header; a Request Packet is the same 20 bytes and nothing else.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Header {
    session: [u8; 10],
    /// Of the first message; in a heartbeat, of the message that comes next.
    sequence_number: U64,
    message_count: U16,
}
const _: () = assert!(size_of::<Header>() == 20);

/// A message count of 0xFFFF means that the session is over; it is no number of messages.
const END_OF_SESSION: u16 = 0xFFFF;

impl Header {
    /// Where the session stands.
    pub(crate) const SESSION: Range<usize> = 0..10;

    /// The header and what follows it; `None` for fewer than 20 bytes.
    pub(crate) fn read(input: &[u8]) -> Option<(&Header, Blocks<'_>)> {
        let (header, rest) = Header::ref_from_prefix(input).ok()?;
        Some((header, Blocks::new(rest, size_of::<Header>(), ByteOrder::Big)))
    }

    pub(crate) fn kind(&self, has_blocks: bool) -> UnitKind {
        match self.message_count.get() {
            0 => UnitKind::Heartbeat,
            END_OF_SESSION => UnitKind::End,
            _ if !has_blocks => UnitKind::Request,
            _ => UnitKind::Data,
        }
    }

    /// What the header says, of a packet of this kind.
    pub(crate) fn unit(&self, kind: UnitKind) -> Sequenced<'_> {
        let count = if kind == UnitKind::End { 0 } else { u64::from(self.message_count.get()) };
        Sequenced { session: &self.session, first: self.sequence_number.get(), count, kind }
    }

    pub(crate) fn count(&self) -> u16 {
        self.message_count.get()
    }

    /// A session is ten characters; captures that were made anonymous have zeros.
    pub(crate) fn has_plausible_session(&self) -> bool {
        self.session == [0; 10] || self.session.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b' ')
    }

    fn put_fields(&self, kind: UnitKind, fields: &mut Map<String, Value>) {
        let count = if kind == UnitKind::Request { "Requested Message Count" } else { "Message Count" };
        let session: String = self.session.iter().map(|&byte| char::from(byte)).collect();
        fields.insert("Session".to_owned(), session.trim_matches([' ', '\0']).into());
        fields.insert("Sequence Number".to_owned(), self.sequence_number.get().into());
        fields.insert(count.to_owned(), self.message_count.get().into());
    }
}

/// Reads one datagram and gives each message to `each`.
#[inline]
pub(crate) fn decode(input: &[u8], out: &mut dyn Output, each: impl FnMut(Sent<'_>, &mut dyn Output)) {
    let Some((header, blocks)) = Header::read(input) else {
        return out.stray(Loss::Malformed, 1);
    };
    let kind = header.kind(!blocks.is_empty());
    let unit = header.unit(kind);
    if kind == UnitKind::Data {
        return walk(&unit, blocks, out, each);
    }
    announce(&unit, 0..input.len(), None, out, |fields| header.put_fields(kind, fields));
    if !blocks.is_empty() {
        out.stray(Loss::Malformed, 1);
    }
}
