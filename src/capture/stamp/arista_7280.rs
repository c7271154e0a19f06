//! Arista 7280 and 7500: a header between the MAC addresses and the frame's type: `0xD28B | subtype (2) | version (2) |
//! stamp | type …`, big endian. Subtype 1 is a timestamp; the version's first byte says TAI (0) or UTC (1), its second the
//! form: 1 seconds (4) and nanoseconds (4), 2 seconds modulo 65,536 (2) and nanoseconds (4).
//! Layout as in tcpdump's print-arista.c, whose sample also shows that the word TAI is not to be believed.

use super::view::{View, seconds_and_nanoseconds, u16_at, u32_at};
use super::{Edge, Format, Mark, Place, Reading, Stamp};

pub(super) static FORMAT: Format = Format {
    name: "arista-7280",
    title: "Arista 7280/7500 header (type 0xD28B)",
    edge: Edge::Unknown,
    is_proven: true,
    place: Place::Before,
    read,
};

pub(super) const ETHERTYPE: u16 = 0xd28b;
/// Behind the MAC addresses.
const AT: usize = 12;

/// How long a header is that begins with its own type and holds a timestamp.
pub(super) fn length(header: &[u8]) -> Option<usize> {
    match (u16_at(header, 2)?, header.get(5)? >> 4) {
        (1, 1) => Some(14),
        (1, 2) => Some(12),
        _ => None,
    }
}

fn read(view: &View<'_>) -> Option<Mark> {
    if !view.is_ethernet || u16_at(view.whole, AT)? != ETHERTYPE {
        return None;
    }
    let header = view.whole.get(AT..)?;
    let length = length(header)?;
    let reading = if length == 14 {
        Reading::Full(seconds_and_nanoseconds(u32_at(header, 6)?, u32_at(header, 10)?)?)
    } else {
        let (seconds, nanoseconds) = (u16_at(header, 6)?, u32_at(header, 8)?);
        if nanoseconds >= 1_000_000_000 {
            return None;
        }
        let ns = u64::from(seconds) * 1_000_000_000 + u64::from(nanoseconds);
        Reading::Modulo { ns, period_ns: 65_536_000_000_000 }
    };
    let says_tai = match header.get(4)? {
        0 => Some(true),
        1 => Some(false),
        _ => None,
    };
    let length = view.whole.len() - length;
    Some(Mark::Stamp(Stamp { reading, is_sure: true, length, says_tai }))
}

#[cfg(test)]
mod tests {
    use super::super::vote::tests::stamp_at;

    /// tcpdump's `tests/arista_ether.out`: time of the capture, version, seconds and nanoseconds of the stamp.
    const SAMPLE: [(&str, u16, u64, u32); 16] = [
        ("36:40.091512", 0x0010, 1_559_162_199, 944_724_424),
        ("36:40.579036", 0x0010, 1_559_162_200, 432_245_804),
        ("36:41.063992", 0x0010, 1_559_162_200, 917_204_604),
        ("36:42.247930", 0x0010, 1_559_162_202, 101_121_660),
        ("37:16.595961", 0x0110, 1_559_162_236, 448_931_747),
        ("37:17.083084", 0x0110, 1_559_162_236, 936_057_586),
        ("37:17.567747", 0x0110, 1_559_162_237, 420_710_691),
        ("37:18.749419", 0x0110, 1_559_162_238, 602_381_189),
        ("37:41.551225", 0x0020, 60_821, 404_038_772),
        ("37:42.040995", 0x0020, 60_821, 893_796_872),
        ("37:42.525213", 0x0020, 60_822, 378_011_624),
        ("37:43.556891", 0x0020, 60_823, 409_682_672),
        ("37:53.102297", 0x0120, 60_832, 954_995_144),
        ("37:53.590942", 0x0120, 60_833, 443_648_960),
        ("37:54.077234", 0x0120, 60_833, 929_943_729),
        ("37:55.188367", 0x0120, 60_835, 41_072_639),
    ];

    #[test]
    fn the_stamps_of_tcpdumps_sample() {
        for (capture, version, seconds, nanoseconds) in SAMPLE {
            let (minute, second) = capture.split_once(':').unwrap();
            let micros: u64 = second.replace('.', "").parse().unwrap();
            // 2019-05-29 20:00 UTC.
            let time = 1_559_160_000_000_000_000 + minute.parse::<u64>().unwrap() * 60_000_000_000 + micros * 1000;
            let form = version & 0xf0;
            let stamp = if form == 0x10 {
                [u32::try_from(seconds).unwrap().to_be_bytes(), nanoseconds.to_be_bytes()].concat()
            } else {
                [&u16::try_from(seconds).unwrap().to_be_bytes()[..], &nanoseconds.to_be_bytes()].concat()
            };
            let frame = [&[2; 12][..], &[0xd2, 0x8b, 0, 1], &version.to_be_bytes(), &stamp, &[8, 0], &[0; 60]].concat();
            // Wherever the 48 bits leave it open, the capture's time decides: 20:37:41 is second 60,821 of its period.
            let whole = if seconds < 65_536 { 1_559_162_261 - 60_821 + seconds } else { seconds };
            let expected = whole * 1_000_000_000 + u64::from(nanoseconds);
            assert_eq!(stamp_at("arista-7280", &frame, 0, time), Some(expected), "{capture}");
            assert!(expected.abs_diff(time) < 150_000_000, "{capture}: the clocks of the sample are 0.147 s apart");
        }
    }
}
