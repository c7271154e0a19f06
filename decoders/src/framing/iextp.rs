//! IEX-TP 1.25 (Investors Exchange Transport Specification): the sequenced datagrams that carry TOPS and DEEP. Little
//! endian; the header names the protocol of its messages, the number of the first one and where it lies in the stream.

use serde_json::{Map, Value};
use tickscope_model::Loss;
use zerocopy::byteorder::little_endian::{I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Blocks, ByteOrder, Sent, announce, walk};
use crate::{Output, Sequenced, UnitKind};

/// What tells one stream of sequence numbers from another.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Stream {
    protocol: U16,
    channel: U32,
    session: U32,
}

/// The header of an Outbound Segment.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Header {
    version: u8,
    reserved: u8,
    stream: Stream,
    payload_length: U16,
    message_count: U16,
    stream_offset: I64,
    /// Of the first message; in a heartbeat, of the message that comes next.
    first_message_sequence_number: U64,
    send_time: I64,
}
const _: () = assert!(size_of::<Header>() == 40);

impl Header {
    /// The header, the blocks inside its payload, and whether bytes follow the payload. `None`: not IEX-TP version 1.
    pub(crate) fn read(input: &[u8]) -> Option<(&Header, Blocks<'_>, bool)> {
        let (header, rest) = Header::ref_from_prefix(input).ok()?;
        if header.version != 1 {
            return None;
        }
        // A payload length beyond the datagram is a cut capture: what is there is read, the rest counted by `walk`.
        let (payload, excess) = rest.split_at_checked(usize::from(header.payload_length.get())).unwrap_or((rest, &[]));
        let blocks = Blocks::new(payload, size_of::<Header>(), ByteOrder::Little);
        Some((header, blocks, !excess.is_empty()))
    }

    pub(crate) fn protocol(&self) -> u16 {
        self.stream.protocol.get()
    }

    pub(crate) fn count(&self) -> u16 {
        self.message_count.get()
    }

    pub(crate) fn payload_length(&self) -> u16 {
        self.payload_length.get()
    }

    /// Whether the header promises more than `input`, the whole datagram, has.
    pub(crate) fn is_cut(&self, input: &[u8]) -> bool {
        input.len() < size_of::<Header>() + usize::from(self.payload_length())
    }

    fn put_fields(&self, fields: &mut Map<String, Value>) {
        let mut put = |title: &str, value: Value| fields.insert(title.to_owned(), value);
        put("Version", self.version.into());
        put("Reserved", self.reserved.into());
        put("Message Protocol ID", self.protocol().into());
        put("Channel ID", self.stream.channel.get().into());
        put("Session ID", self.stream.session.get().into());
        put("Payload Length", self.payload_length.get().into());
        put("Message Count", self.message_count.get().into());
        put("Stream Offset", self.stream_offset.get().into());
        put("First Message Sequence Number", self.first_message_sequence_number.get().into());
        put("Send Time", self.send_time.get().into());
    }
}

/// Reads one datagram of one of `protocols` and gives each message to `each`.
#[inline]
pub(crate) fn decode(
    input: &[u8],
    protocols: &[u16],
    out: &mut dyn Output,
    each: impl FnMut(Sent<'_>, &mut dyn Output),
) {
    let Some((header, blocks, has_excess)) = Header::read(input) else {
        return out.stray(Loss::Malformed, 1);
    };
    if !protocols.contains(&header.protocol()) {
        return out.stray(Loss::UnknownMessage, u64::from(header.count().max(1)));
    }
    let kind = if header.count() == 0 { UnitKind::Heartbeat } else { UnitKind::Data };
    let unit = Sequenced {
        session: header.stream.as_bytes(),
        first: header.first_message_sequence_number.get(),
        count: u64::from(header.count()),
        kind,
    };
    if kind == UnitKind::Data {
        walk(&unit, blocks, out, each);
    } else {
        let sent_ns = u64::try_from(header.send_time.get()).ok();
        announce(&unit, 0..input.len(), sent_ns, out, |fields| header.put_fields(fields));
        if !blocks.is_empty() {
            out.stray(Loss::Malformed, 1);
        }
    }
    if has_excess {
        out.stray(Loss::Malformed, 1);
    }
}
