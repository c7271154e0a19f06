//! expcap, the footer that exact-capture writes behind each frame: `seconds (4) | picoseconds (5) | flags (1) | device (1) |
//! port (1) | dropped frames and reserved, or a new FCS (4)`, little endian.
//! Layout as in exablaze-oss/exact-capture, `src/data_structs/expcap.h`.

use super::view::View;
use super::{Edge, Format, Mark, Place, Reading, Stamp};

pub(super) static FORMAT: Format = Format {
    name: "expcap",
    title: "expcap footer of exact-capture",
    edge: Edge::Unknown,
    is_proven: false,
    place: Place::Behind,
    read,
};

const FOOTER: usize = 16;

fn read(view: &View<'_>) -> Option<Mark> {
    // Its last four bytes are the place of a check sequence already.
    let footer = view.tail(FOOTER).filter(|_| view.behind == 0)?;
    let seconds = u64::from(u32::from_le_bytes(*footer.first_chunk()?));
    let picoseconds = footer.get(4..9)?.iter().rev().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
    let unknown_flags = footer.get(9)? & 0xc0;
    if seconds == 0 || picoseconds >= 1_000_000_000_000 || unknown_flags != 0 {
        return None;
    }
    let time = seconds * 1_000_000_000 + picoseconds / 1000;
    let length = view.bytes.len() - FOOTER;
    Some(Mark::Stamp(Stamp { reading: Reading::Full(time), is_sure: false, length, says_tai: None }))
}

#[cfg(test)]
mod tests {
    use super::super::vote::tests::stamp_of;

    #[test]
    fn a_footer_of_its_layout() {
        let picoseconds = 170_404_442_575_u64.to_le_bytes();
        let footer = [&1_527_552_589_u32.to_le_bytes()[..], &picoseconds[..5], &[0, 1, 2, 0, 0, 0, 0]].concat();
        let frame = [vec![0xee; 80], footer].concat();
        assert_eq!(stamp_of("expcap", &frame, 0), Some(1_527_552_589_170_404_442));
    }
}
