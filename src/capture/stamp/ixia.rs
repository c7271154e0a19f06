//! Ixia (Anue, NTO): `source (1) | 8 | seconds (4) | nanoseconds (4) | 10 | AF 12 | checksum (2)`, big endian, in place of the
//! original FCS, then the new one where it was captured. The checksum is the Internet's (RFC 1071) over the 13 bytes in
//! front of it. Layout as in Wireshark's packet-ixiatrailer.c.

use super::view::{View, seconds_and_nanoseconds, u16_at, u32_at};
use super::{Edge, Format, Mark, Place, Reading, Stamp};

pub(super) static FORMAT: Format =
    Format { name: "ixia", title: "Ixia trailer", edge: Edge::Unknown, is_proven: false, place: Place::Behind, read };

const TRAILER: usize = 15;

fn read(view: &View<'_>) -> Option<Mark> {
    let trailer = view.tail(TRAILER)?;
    let (summed, _) = trailer.split_at_checked(13)?;
    let [3..=7, 8, .., 10, 0xaf, 0x12] = summed else { return None };
    if u16_at(trailer, 13)? != checksum(summed) {
        return None;
    }
    let time = seconds_and_nanoseconds(u32_at(trailer, 2)?, u32_at(trailer, 6)?)?;
    let length = view.bytes.len() - TRAILER;
    Some(Mark::Stamp(Stamp { reading: Reading::Full(time), is_sure: true, length, says_tai: None }))
}

fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|two| u32::from(two[0]) << 8 | u32::from(two.get(1).copied().unwrap_or(0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::vote::tests::stamp_of;
    use super::*;

    #[test]
    fn a_trailer_of_its_layout() {
        let mut trailer = vec![6, 8, 0x5b, 0x0c, 0x9a, 0x4d, 0x0a, 0x28, 0x2a, 0x5a, 10, 0xaf, 0x12];
        trailer.extend_from_slice(&checksum(&trailer).to_be_bytes());
        let mut frame = [vec![0xee; 80], trailer].concat();
        assert_eq!(stamp_of("ixia", &frame, 0), Some(1_527_552_589_170_404_442));
        frame[90] ^= 1;
        assert_eq!(stamp_of("ixia", &frame, 0), None, "the checksum is wrong");
    }
}
