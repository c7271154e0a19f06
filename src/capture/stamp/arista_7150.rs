//! Arista 7150, and `ExaLINK` Fusion in its compatible modes: a counter of 31 bits at 350 MHz in place of the FCS or in front
//! of it (`mac timestamp replace-fcs`, `before-fcs`; bit 7 of the word is left out), and keyframes to the broadcast
//! address as IPv4 protocol 253: `ASIC time (8) | UTC ns (8) | last sync (8) | [skew (8) / skew (8)] | time of the
//! keyframe (8) | drops (8) | device (2) | port (2) | FCS mode (1) | reserved (1)`, big endian; the skew is there or not by
//! the packet's length. Layouts as in CiscoDevNet/n3550-timestamp-decoder and ntop's `PF_RING`.

use super::exalink::{counter, is_keyframe_packet, keyframe_body, stamp};
use super::view::{View, u64_at};
use super::{Edge, Format, Keyframe, Mark, Place, Reading, Stamp};

pub(super) static FORMAT: Format = Format {
    name: "arista-7150",
    title: "Arista 7150 31-bit counter with keyframes, also ExaLINK Fusion's compatible modes",
    // "The hardware timestamper matches on the first bit of the FCS of an incoming packet".
    edge: Edge::CheckSequence,
    is_proven: false,
    place: Place::Behind,
    read,
};

const PER_SECOND: u64 = 350_000_000;
const WITH_SKEW: usize = 62;
const WITHOUT_SKEW: usize = 46;

fn read(view: &View<'_>) -> Option<Mark> {
    if let Some(keyframe) = keyframe_body(view).and_then(keyframe) {
        return Some(Mark::Keyframe(keyframe));
    }
    if is_keyframe_packet(view) {
        return None;
    }
    let word = counter(view)?;
    let count = (word & !0xff) >> 1 | word & 0x7f;
    Some(Mark::Stamp(Stamp { reading: Reading::Ticks { count, bits: 31 }, ..stamp(view) }))
}

fn keyframe(body: &[u8]) -> Option<Keyframe> {
    let is_plain = match body.len() {
        // A clock that is being slewed says so here; how, nobody has published.
        WITH_SKEW => u64_at(body, 24)? == 1 && u64_at(body, 32)? == 1,
        WITHOUT_SKEW => true,
        _ => false,
    };
    let (count, utc_ns) = (u64_at(body, 0)?, u64_at(body, 8)?);
    // The counter runs round in 6.1 s, and keyframes may be some 6 s apart.
    let valid_ns = 15_000_000_000;
    (is_plain && utc_ns > 0).then_some(Keyframe { utc_ns, count, per_second: PER_SECOND, valid_ns })
}

#[cfg(test)]
mod tests {
    use super::super::Trailer;
    use super::super::vote::tests::run;

    fn keyframe(count: u64, utc_ns: u64, has_skew: bool) -> Vec<u8> {
        let skew: &[u64] = if has_skew { &[1, 1] } else { &[] };
        let words = [&[count, utc_ns, 0][..], skew, &[0, 0]].concat();
        let body: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).chain([0, 1, 0, 2, 1, 0]).collect();
        let total = u16::try_from(body.len() + 20).unwrap().to_be_bytes();
        let ip = [0x45, 0, total[0], total[1], 0, 0, 0, 0, 64, 253, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255];
        [&[255; 6][..], &[2, 0, 0, 0, 0, 1, 8, 0], &ip, &body, &[0; 4]].concat()
    }

    fn data(count: u32) -> Vec<u8> {
        let word = count << 1 & !0xff | count & 0x7f | 0x80;
        [&[2; 12][..], &[8, 0], &[0xee; 50], &word.to_be_bytes()].concat()
    }

    #[test]
    fn a_tick_is_twenty_sevenths_of_a_nanosecond_and_the_counter_runs_round() {
        let utc = 1_456_284_651_000_000_000;
        for has_skew in [true, false] {
            let frames = [
                (utc + 5, keyframe(0x7fff_fff0, utc, has_skew)),
                (utc + 300_000_000, data(0x10)),
                (utc + 300_000_100, data(0x7fff_fff0 - 7)),
            ];
            // 0x20 ticks are 91.4 ns; but the capture says 300 ms, so that a whole number of ms is not believed.
            let (stamper, times) = run(Trailer::named("arista-7150").unwrap(), &frames);
            assert_eq!(stamper.counts.keyframes, 1);
            assert_eq!(times[1], utc + 300_000_000 - 5 + 5, "{has_skew}");
            assert_eq!(stamper.counts.doubtful, 2);
            let frames = [
                (utc + 5, keyframe(0x7fff_fff0, utc, has_skew)),
                (utc + 100, data(0x10)),
                (utc + 1_000_000_100, data((0x7fff_fff0_u32 + 350_000_007) & 0x7fff_ffff)),
                // Round once more: 2^31 ticks are 6.135667565714… s.
                (utc + 6_135_667_700, data(0x10)),
            ];
            let (stamper, times) = run(Trailer::named("arista-7150").unwrap(), &frames);
            assert_eq!(times[1..], [utc + 91, utc + 1_000_000_020, utc + 6_135_667_657]);
            assert_eq!(stamper.counts.stamped, 3);
        }
    }
}
