//! Two trailers without any mark of their own: Cisco TTAG, 48 bits of nanoseconds at the end of the frame, and Broadcom's,
//! `seconds modulo 2^18 (18 bits) and nanoseconds (30 bits) | reserved (1) | origin (3)`; big endian, then the FCS where it
//! was captured. What they leave out of the time comes from the capture's clock.
//! Layouts as in Xilinx-CNS/onload, `ip_timestamp.h`.

use super::view::View;
use super::{Edge, Format, Mark, Place, Reading, Stamp};

pub(super) static TTAG: Format = Format {
    name: "ttag",
    title: "Cisco TTAG trailer",
    edge: Edge::Unknown,
    is_proven: false,
    place: Place::Behind,
    read: |view| read(view, 6, |bits| Some((bits, 1 << 48))),
};

pub(super) static BROADCOM: Format = Format {
    name: "broadcom",
    title: "Broadcom trailer",
    edge: Edge::Unknown,
    is_proven: false,
    place: Place::Behind,
    read: |view| read(view, 10, seconds_and_nanoseconds),
};

fn read(view: &View<'_>, size: usize, time: fn(u64) -> Option<(u64, u64)>) -> Option<Mark> {
    let rest = view.rest().filter(|rest| rest.len() == size)?;
    let bits = rest.get(..6)?.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
    let (ns, period_ns) = time(bits).filter(|(ns, _)| *ns != 0)?;
    let reading = Reading::Modulo { ns, period_ns };
    Some(Mark::Stamp(Stamp { reading, is_sure: false, length: view.bytes.len() - size, says_tai: None }))
}

fn seconds_and_nanoseconds(bits: u64) -> Option<(u64, u64)> {
    let (seconds, nanoseconds) = (bits >> 30, bits & 0x3fff_ffff);
    (nanoseconds < 1_000_000_000).then_some((seconds * 1_000_000_000 + nanoseconds, 1_000_000_000 << 18))
}

#[cfg(test)]
mod tests {
    use super::super::vote::tests::{stamp_at, udp};

    #[test]
    fn what_they_leave_out_comes_from_the_capture() {
        let time = 1_527_552_589_170_404_442_u64;
        let cut = (time & ((1 << 48) - 1)).to_be_bytes();
        let frame = [&udp(40)[..], &cut[2..]].concat();
        for capture in [time, time - 3_600_000_000_000, time + 86_400_000_000_000] {
            assert_eq!(stamp_at("ttag", &frame, 0, capture), Some(time));
        }
        let bits = ((time / 1_000_000_000 % (1 << 18)) << 30) | (time % 1_000_000_000);
        let frame = [&udp(40)[..], &bits.to_be_bytes()[2..], &[0, 1, 2, 3]].concat();
        assert_eq!(stamp_at("broadcom", &frame, 0, time + 5_000_000_000), Some(time));
    }
}
