//! ERF records of Endace cards as frames of a capture (`LINKTYPE_ERF`): `stamp (8, little endian, 32.32 bits of seconds) | type
//! (1) | flags (1) | record length (2) | lost or colour (2) | length on the wire (2)`, big endian; extension headers of 8
//! bytes while bit 7 of the type is set; Ethernet then begins behind 2 bytes. Header as in Wireshark's erf.c.

use tickscope_model::{Frame, LinkType};

use super::view::{View, u16_at};
use super::{Edge, Format, Mark, Place, Reading, Stamp};

pub(super) static FORMAT: Format = Format {
    name: "erf",
    title: "ERF record of an Endace card",
    edge: Edge::Unknown,
    is_proven: false,
    place: Place::Before,
    read,
};

/// `LINKTYPE_ERF` of tcpdump.org.
pub(in crate::capture) const LINK: LinkType = LinkType::Other(197);
const HEADER: usize = 16;
const ETHERNET: u8 = 2;

fn read(view: &View<'_>) -> Option<Mark> {
    let ticks = u64::from_le_bytes(*view.whole.first_chunk()?);
    let (seconds, fraction) = (ticks >> 32, ticks & 0xffff_ffff);
    if view.is_ethernet || seconds == 0 {
        return None;
    }
    let time = seconds * 1_000_000_000 + ((fraction * 1_000_000_000) >> 32);
    let length = usize::from(u16_at(view.whole, 14)?);
    Some(Mark::Stamp(Stamp { reading: Reading::Full(time), is_sure: true, length, says_tai: None }))
}

/// The Ethernet frame within a record; anything else stays what it is.
pub(in crate::capture) fn unwrap(frame: Frame<'_>) -> Frame<'_> {
    inner(&frame).filter(|_| frame.link == LINK).unwrap_or(frame)
}

fn inner<'a>(frame: &Frame<'a>) -> Option<Frame<'a>> {
    let mut kind = *frame.bytes.get(8)?;
    let mut at = HEADER;
    if kind & 0x7f != ETHERNET {
        return None;
    }
    // Each extension header takes its 8 bytes, so this ends with the record.
    while kind & 0x80 != 0 {
        kind = *frame.bytes.get(at)?;
        at += 8;
    }
    let wire_len = u32::from(u16_at(frame.bytes, 14)?);
    let bytes = frame.bytes.get(at + 2..)?;
    // The record is padded to a multiple of 8 behind the frame.
    let bytes = bytes.get(..usize::try_from(wire_len).ok()?.min(bytes.len()))?;
    Some(Frame { link: LinkType::Ethernet, wire_len, bytes, ..*frame })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tickscope_model::{TapId, Timestamp};

    fn record(kind: u8, extensions: &[u8]) -> Vec<u8> {
        let ticks = (1_527_552_589_u64 << 32 | 0x8000_0001).to_le_bytes();
        let head = [kind, 4, 0, 88, 0, 0, 0, 60];
        [&ticks[..], &head, extensions, &[0, 0], &[0xee; 60], &[0; 6]].concat()
    }

    #[test]
    fn the_frame_within_and_its_time() {
        for (kind, extensions) in
            [(2, &[][..]), (0x82, &[3; 8]), (0x82, &[0x83, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1])]
        {
            let bytes = record(kind, extensions);
            let frame = Frame { tap: TapId(0), link: LINK, time: Timestamp(1), number: 1, wire_len: 88, bytes: &bytes };
            let found = unwrap(frame);
            assert_eq!((found.link, found.wire_len, found.bytes), (LinkType::Ethernet, 60, &[0xee; 60][..]));
            let Some(Mark::Stamp(stamp)) = read(&View::new(&frame, Timestamp(0), 0, false)) else { panic!("a stamp") };
            // Half a second and 2^-32 of one, which is less than a nanosecond.
            assert_eq!(stamp.reading, Reading::Full(1_527_552_589_500_000_000));
        }
        let meta = record(27, &[]);
        let frame = Frame { tap: TapId(0), link: LINK, time: Timestamp(1), number: 1, wire_len: 88, bytes: &meta };
        assert_eq!(unwrap(frame).link, LINK);
    }
}
