//! A NIC's own clock (`/dev/ptpN`, PTP hardware clock) compared with CLOCK_REALTIME: PTP_SYS_OFFSET_PRECISE where NIC and
//! processor latch both at once, else PTP_SYS_OFFSET_EXTENDED, which reads REALTIME before and after the NIC. Linux `ptp_clock.h`.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use super::{Mapping, SECOND_NS};
use crate::sys::{self, Plain};

const SAMPLES: usize = 9;
/// A drift beyond this is a clock that was set, not one that runs fast: no crystal is off by 1000 ppm.
const DRIFT_PPB_MAX: i64 = 1_000_000;

/// One comparison of the two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Comparison {
    pub device_ns: i64,
    pub utc_ns: i64,
    /// Half of the time in which the NIC's clock was read.
    pub plus_minus_ns: i64,
}

pub struct HardwareClock {
    device: OwnedFd,
    last: Option<Comparison>,
}

impl HardwareClock {
    /// `/dev/ptp0` is number 0.
    pub fn open(number: u32) -> io::Result<HardwareClock> {
        let device = File::open(format!("/dev/ptp{number}"))?;
        Ok(HardwareClock { device: device.into(), last: None })
    }

    /// Comparisons before a step of either clock say nothing of its drift.
    pub(crate) fn forget(&mut self) {
        self.last = None;
    }

    /// Compares now; the drift is that since the last comparison. And by how much the clock was set since then, if it was.
    pub(crate) fn compare(&mut self) -> io::Result<(Mapping, Option<i64>)> {
        let now = self.read()?;
        let compared = mapping(self.last, now);
        self.last = Some(now);
        Ok(compared)
    }

    fn read(&self) -> io::Result<Comparison> {
        let mut precise = libc::ptp_sys_offset_precise::zero();
        if sys::ioctl(&self.device, libc::PTP_SYS_OFFSET_PRECISE as _, &mut precise).is_ok() {
            let (device_ns, utc_ns) = (time_ns(precise.device), time_ns(precise.sys_realtime));
            return Ok(Comparison { device_ns, utc_ns, plus_minus_ns: 0 });
        }
        let mut extended = libc::ptp_sys_offset_extended::zero();
        extended.n_samples = u32::try_from(SAMPLES).expect("9");
        sys::ioctl(&self.device, libc::PTP_SYS_OFFSET_EXTENDED as _, &mut extended)?;
        let triples = extended.ts[..SAMPLES].iter().map(|triple| triple.map(time_ns));
        narrowest(triples).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

fn time_ns(time: libc::ptp_clock_time) -> i64 {
    time.sec.saturating_mul(SECOND_NS).saturating_add(i64::from(time.nsec))
}

/// Of [system, NIC, system] the one that took least; those that run backwards were disturbed by a step.
fn narrowest(triples: impl Iterator<Item = [i64; 3]>) -> Option<Comparison> {
    triples.filter(|[before, _, after]| before <= after).min_by_key(|[before, _, after]| after - before).map(
        |[before, device_ns, after]| Comparison {
            device_ns,
            utc_ns: before + (after - before) / 2,
            plus_minus_ns: (after - before) / 2 + 1,
        },
    )
}

/// The mapping from here on, and by how much the NIC's clock was set since the last comparison, if it was.
fn mapping(last: Option<Comparison>, now: Comparison) -> (Mapping, Option<i64>) {
    let offset_ns = now.device_ns - now.utc_ns;
    let mut mapping = Mapping { at_ns: now.device_ns, offset_ns, drift_ppb: 0, plus_minus_ns: now.plus_minus_ns };
    let Some(last) = last else { return (mapping, None) };
    // By UTC: a clock that was set back has no span of its own.
    let span = now.utc_ns - last.utc_ns;
    let change = offset_ns - (last.device_ns - last.utc_ns);
    if span < SECOND_NS / 10 {
        return (mapping, None); // too short to say anything of a rate
    }
    let drift = i64::try_from(i128::from(change) * i128::from(SECOND_NS) / i128::from(span)).unwrap_or(i64::MAX);
    if drift.unsigned_abs() > DRIFT_PPB_MAX.unsigned_abs() {
        return (mapping, Some(change));
    }
    mapping.drift_ppb = drift;
    // Until the next comparison the drift is as wrong as both readings together.
    mapping.plus_minus_ns += last.plus_minus_ns;
    (mapping, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrowest_reading_counts() {
        let triples = [[100, 5_000, 300], [400, 5_200, 450], [500, 5_300, 900], [990, 5_400, 980]];
        let expected = Comparison { device_ns: 5_200, utc_ns: 425, plus_minus_ns: 26 };
        assert_eq!(narrowest(triples.into_iter()), Some(expected));
        assert_eq!(narrowest([[2, 1, 1]].into_iter()), None);
    }

    #[test]
    fn the_drift_is_that_of_the_last_second() {
        let at = |device_ns, utc_ns| Comparison { device_ns, utc_ns, plus_minus_ns: 20 };
        let first = at(37 * SECOND_NS, 0);
        for (now, drift, plus_minus, set) in [
            (at(38 * SECOND_NS + 250, SECOND_NS), 250, 40, None), // 250 ns fast in a second
            (at(38 * SECOND_NS - 250, SECOND_NS), -250, 40, None),
            (at(37 * SECOND_NS + 50, 50), 0, 20, None), // too soon
            (at(90 * SECOND_NS, SECOND_NS), 0, 20, Some(52 * SECOND_NS)), // the NIC's clock was set
            (at(2 * SECOND_NS, SECOND_NS), 0, 20, Some(-36 * SECOND_NS)),
        ] {
            let (mapping, set_by) = mapping(Some(first), now);
            assert_eq!((mapping.drift_ppb, mapping.plus_minus_ns, set_by), (drift, plus_minus, set), "{now:?}");
            assert_eq!(mapping.utc_ns(now.device_ns.unsigned_abs()), now.utc_ns.unsigned_abs(), "{now:?}");
        }
    }
}
