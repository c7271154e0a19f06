//! VSS Monitoring and APCON: `seconds (4) | clock (2 bits) and nanoseconds (30 bits) | port (0, 1 or 2 bytes)`, big endian,
//! then the FCS where it was captured. Nothing marks it, so it counts only where it fills what lies behind the packet.
//! Layout as in Wireshark's packet-vssmonitoring.c and ntop's `PF_RING`.

use super::view::{View, seconds_and_nanoseconds, u32_at};
use super::{Edge, Format, Mark, Place, Reading, Stamp};

pub(super) static FORMAT: Format = Format {
    name: "vss",
    title: "VSS Monitoring or APCON trailer",
    edge: Edge::Unknown,
    is_proven: false,
    place: Place::Behind,
    read,
};

fn read(view: &View<'_>) -> Option<Mark> {
    let rest = view.rest()?;
    if !(8..=10).contains(&rest.len()) {
        return None;
    }
    let time = seconds_and_nanoseconds(u32_at(rest, 0)?, u32_at(rest, 4)? & 0x3fff_ffff)?;
    let length = view.bytes.len() - rest.len();
    Some(Mark::Stamp(Stamp { reading: Reading::Full(time), is_sure: false, length, says_tai: None }))
}

#[cfg(test)]
mod tests {
    use super::super::vote::tests::{stamp_of, udp};

    #[test]
    fn a_trailer_of_its_layout() {
        let stamp = [0x5b, 0x0c, 0x9a, 0x4d, 0x8a, 0x28, 0x2a, 0x5a, 3];
        let frame = udp(40);
        for port in 0..=1 {
            let whole = [&frame, &stamp[..8 + port]].concat();
            assert_eq!(stamp_of("vss", &whole, 0), Some(1_527_552_589_170_404_442));
            assert_eq!(stamp_of("vss", &[&whole[..], &[9; 4]].concat(), 4), Some(1_527_552_589_170_404_442));
        }
        assert_eq!(stamp_of("vss", &[&frame[..], &stamp, &stamp].concat(), 0), None, "too long");
        assert_eq!(stamp_of("vss", &[&frame[..], &[0; 8]].concat(), 0), None, "zeros are no time");
    }
}
