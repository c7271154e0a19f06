//! Exablaze `ExaLINK` Fusion HPT and Cisco Nexus 3550-T/F HPT: `original FCS (4) | device (1) | port (1) | seconds (4) |
//! fraction of a second (5, in 2^-40) | reserved (1)`, big endian, then the new FCS where it was captured.
//! Layout as in exablaze-oss/exact-capture and Wireshark's packet-exablaze.c; the fraction stays an integer here.

use super::view::{View, u32_at};
use super::{Edge, Format, Mark, Place, Reading, Stamp};

pub(super) static FORMAT: Format = Format {
    name: "exablaze-hpt",
    title: "Exablaze/Nexus 3550 HPT trailer",
    edge: Edge::Unknown,
    is_proven: true,
    place: Place::Behind,
    read,
};

const TRAILER: usize = 16;

fn read(view: &View<'_>) -> Option<Mark> {
    let trailer = view.tail(TRAILER)?;
    let [_, _, fraction @ .., reserved] = trailer.get(8..)? else { return None };
    let seconds = u32_at(trailer, 6)?;
    let fraction = fraction.iter().fold(0_u64, |sum, &byte| sum << 8 | u64::from(byte));
    if *reserved != 0 || seconds == 0 {
        return None;
    }
    let check = view.bytes.len() - TRAILER;
    let time = u64::from(seconds) * 1_000_000_000 + nanoseconds(fraction);
    let is_sure = view.verify && view.is_check(check);
    Some(Mark::Stamp(Stamp { reading: Reading::Full(time), is_sure, length: check, says_tai: None }))
}

/// Of 2^-40 s, rounded down.
fn nanoseconds(fraction: u64) -> u64 {
    u64::try_from((u128::from(fraction) * 1_000_000_000) >> 40).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::vote::tests::stamp_of;

    #[test]
    fn the_published_vector() {
        // 0a56d03e 00 2f 5b0c9a4d 2b9fa023f4 00: device 0, port 47, 1527552589.170404442575 s.
        let trailer = [0x0a, 0x56, 0xd0, 0x3e, 0, 0x2f, 0x5b, 0x0c, 0x9a, 0x4d, 0x2b, 0x9f, 0xa0, 0x23, 0xf4, 0];
        let frame = [vec![0xee; 100], trailer.to_vec()].concat();
        assert_eq!(stamp_of("exablaze-hpt", &frame, 0), Some(1_527_552_589_170_404_442));
        assert_eq!(stamp_of("exablaze-hpt", &[frame, vec![1, 2, 3, 4]].concat(), 4), Some(1_527_552_589_170_404_442));
        assert_eq!(stamp_of("exablaze-hpt", &trailer, 0), None, "no frame in front of it");
    }
}
