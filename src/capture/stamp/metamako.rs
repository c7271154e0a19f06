//! `MetaWatch` of Arista 7130 (Metamako) and cPacket: `original FCS (4) | TLVs | seconds (4) | nanoseconds (4) | flags (1) |
//! device (2) | port (1) | new FCS (4, where it was captured)`, big endian. Walked backwards from the end; TLVs, of whole
//! words, lie in front of the seconds where flag 0x02 says so.
//! <https://seclists.org/tcpdump/2018/q3/att-74/MetamakoTrailer.txt>; the same body in cPacket's documents.

use super::view::{View, seconds_and_nanoseconds, u32_at};
use super::{Edge, Format, Mark, Place, Reading, Stamp};

pub(super) static FORMAT: Format = Format {
    name: "metamako",
    title: "MetaWatch (Metamako, Arista 7130) trailer",
    // "the middle of the first bit of the incoming Ethernet frame, immediately following the start frame delimiter".
    edge: Edge::Start,
    is_proven: true,
    place: Place::Behind,
    read,
};

pub(super) static CPACKET: Format =
    Format { name: "cpacket", title: "cPacket trailer", edge: Edge::Unknown, is_proven: false, ..FORMAT };

const BODY: usize = 12;
const HAS_TLV: u8 = 0x02;
/// More TLVs than these are none.
const MOST_TLVS: usize = 16;

fn read(view: &View<'_>) -> Option<Mark> {
    let body = view.tail(BODY + 4)?.get(4..)?;
    let flags = *body.get(8)?;
    let time = seconds_and_nanoseconds(u32_at(body, 0)?, u32_at(body, 4)?)?;
    let mut check = view.bytes.len() - BODY - 4;
    if flags & HAS_TLV != 0 {
        check = check.checked_sub(tlv_bytes(view.bytes.get(..view.bytes.len() - BODY)?)?)?;
    }
    if check < view.end.unwrap_or(0) {
        return None;
    }
    let is_sure = view.verify && view.is_check(check);
    Some(Mark::Stamp(Stamp { reading: Reading::Full(time), is_sure, length: check, says_tai: None }))
}

/// How long the TLVs at the end of these bytes are. A TLV ends with a word: 24 bits of data, 2 bits of length in further
/// words, "last", 5 bits of tag; tag 31 has a second part, with 10 bits of length.
fn tlv_bytes(bytes: &[u8]) -> Option<usize> {
    let mut length = 0;
    for _ in 0..MOST_TLVS {
        let word = u32_at(bytes, bytes.len().checked_sub(length + 4)?)?;
        let extra = if word & 0x1f == 0x1f { (word >> 6 & 0x3ff) + 1 } else { word >> 6 & 3 };
        length += 4 + usize::try_from(extra).ok()? * 4;
        if word & 0x20 != 0 {
            return (length <= bytes.len()).then_some(length);
        }
    }
    None
}
