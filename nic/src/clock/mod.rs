//! Bringing stamps to UTC: TAI by its whole seconds, CLOCK_MONOTONIC and a NIC's own clock by comparing them with
//! CLOCK_REALTIME every second. Steps of CLOCK_REALTIME are noticed here.

mod hardware;
mod phc;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering, fence};

pub(crate) use hardware::{Restore, is_on, phc_index, rx_stamps, switch_on};
pub use phc::{Comparison, HardwareClock};

use crate::events::Event;
use crate::sys::{self, Plain};

const SECOND_NS: i64 = 1_000_000_000;
/// Changes of REALTIME − MONOTONIC below this are the reading, not somebody who sets the clock. (Slewing moves both.)
const STEP_NS: i64 = 2_000;

/// How a device's clock is brought to UTC: `utc = device − offset − drift × (device − at)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mapping {
    /// The device's time at which the clocks were compared.
    pub at_ns: i64,
    /// Device − UTC at that moment.
    pub offset_ns: i64,
    /// How much faster the device's clock runs, in 10⁻⁹.
    pub drift_ppb: i64,
    /// How far off a time may be because of the comparison.
    pub plus_minus_ns: i64,
}

impl Mapping {
    /// A stamp of the device in UTC.
    pub fn utc_ns(&self, device_ns: u64) -> u64 {
        self.utc_ns_soon(device_ns).unwrap_or_else(|| {
            let device = i128::from(device_ns);
            let drifted = (device - i128::from(self.at_ns)) * i128::from(self.drift_ppb) / i128::from(SECOND_NS);
            u64::try_from(device - i128::from(self.offset_ns) - drifted).unwrap_or(0)
        })
    }

    /// The same in 64 bits, which take a tenth of the time, where they suffice: for every frame, as clocks are compared every second.
    #[inline]
    fn utc_ns_soon(&self, device_ns: u64) -> Option<u64> {
        let device = i64::try_from(device_ns).ok()?;
        let drifted = device.checked_sub(self.at_ns)?.checked_mul(self.drift_ppb)? / SECOND_NS;
        let utc = device.checked_sub(self.offset_ns)?.checked_sub(drifted)?;
        u64::try_from(utc).ok()
    }
}

/// A mapping that one thread writes and others read, without a lock: a reader tries again where it changed meanwhile.
#[derive(Default)]
pub(crate) struct Shared {
    version: AtomicU32,
    fields: [AtomicI64; 4],
}

impl Shared {
    pub(crate) fn write(&self, mapping: &Mapping) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version.wrapping_add(1), Ordering::Relaxed); // odd: being written
        fence(Ordering::Release);
        let values = [mapping.at_ns, mapping.offset_ns, mapping.drift_ppb, mapping.plus_minus_ns];
        for (field, value) in self.fields.iter().zip(values) {
            field.store(value, Ordering::Relaxed);
        }
        self.version.store(version.wrapping_add(2), Ordering::Release);
    }

    /// `None` before the first comparison.
    pub(crate) fn read(&self) -> Option<Mapping> {
        loop {
            let before = self.version.load(Ordering::Acquire);
            if before == 0 {
                return None;
            }
            let [at_ns, offset_ns, drift_ppb, plus_minus_ns] =
                [0, 1, 2, 3].map(|index: usize| self.fields[index].load(Ordering::Relaxed));
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == before {
                return Some(Mapping { at_ns, offset_ns, drift_ppb, plus_minus_ns });
            }
            std::hint::spin_loop();
        }
    }
}

/// What receivers need to know of clocks.
#[derive(Default)]
pub(crate) struct Board {
    pub(crate) tai: Shared,
    pub(crate) monotonic: Shared,
    pub(crate) hardware: Shared,
}

/// What the kernel knows of its clock, and in which state it is (TIME_OK to TIME_ERROR).
pub(crate) fn kernel_state() -> io::Result<(i32, libc::timex)> {
    let mut state = libc::timex::zero();
    // SAFETY: the kernel reads and writes one timex; modes 0 changes nothing.
    #[allow(unsafe_code, reason = "adjtimex(2) has no safe interface")]
    let result = sys::checked(unsafe { libc::adjtimex(&raw mut state) })?;
    Ok((result, state))
}

/// TAI − UTC in whole seconds, as the kernel was told by a time daemon; 0 where nobody told it.
fn tai_offset_s() -> i64 {
    kernel_state().map_or(0, |(_, state)| i64::from(state.tai))
}

/// One reading of REALTIME − MONOTONIC: the difference, when (MONOTONIC), and its ±.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::struct_field_names, reason = "the unit is last in a name")]
struct Reading {
    monotonic_ns: i64,
    difference_ns: i64,
    plus_minus_ns: i64,
}

/// The narrowest of a few, since any may be interrupted.
fn read_clocks() -> Reading {
    let one = || {
        let before = sys::clock_ns(libc::CLOCK_MONOTONIC);
        let real = sys::clock_ns(libc::CLOCK_REALTIME);
        let after = sys::clock_ns(libc::CLOCK_MONOTONIC);
        let middle = before + (after - before) / 2;
        Reading { monotonic_ns: middle, difference_ns: real - middle, plus_minus_ns: (after - before) / 2 + 1 }
    };
    (0..7).map(|_| one()).min_by_key(|reading| reading.plus_minus_ns).expect("seven readings")
}

/// Now in UTC, for whoever has to compare something with a stamp. Never a frame's time.
pub fn now_utc_ns() -> u64 {
    u64::try_from(sys::clock_ns(libc::CLOCK_REALTIME)).unwrap_or(0)
}

/// The clocks of a capture: asked once a second or so, they keep the [`Board`] true.
pub(crate) struct Clocks {
    board: Arc<Board>,
    last: Reading,
    tai_s: i64,
    hardware: Option<HardwareClock>,
    is_hardware_lost: bool,
    /// The last comparison found that the NIC's clock had been set.
    was_hardware_set: bool,
}

impl Clocks {
    pub(crate) fn new(hardware: Option<HardwareClock>) -> Clocks {
        let board = Arc::new(Board::default());
        let mut clocks = Clocks {
            board,
            last: read_clocks(),
            tai_s: tai_offset_s(),
            hardware,
            is_hardware_lost: false,
            was_hardware_set: false,
        };
        clocks.publish();
        clocks.compare_hardware(&mut |_| {});
        clocks
    }

    pub(crate) fn board(&self) -> Arc<Board> {
        Arc::clone(&self.board)
    }

    pub(crate) fn tai_offset_s(&self) -> i64 {
        self.tai_s
    }

    pub(crate) fn hardware_mapping(&self) -> Option<Mapping> {
        self.board.hardware.read()
    }

    fn publish(&self) {
        self.board.tai.write(&Mapping { offset_ns: self.tai_s * SECOND_NS, ..Mapping::default() });
        self.board.monotonic.write(&Mapping {
            at_ns: self.last.monotonic_ns,
            offset_ns: -self.last.difference_ns,
            drift_ppb: 0, // both run at the same rate, also while they are slewed
            plus_minus_ns: self.last.plus_minus_ns,
        });
    }

    /// Compares all clocks again, and tells what is not as it was.
    pub(crate) fn advance(&mut self, tell: &mut dyn FnMut(Event)) {
        self.observe(read_clocks(), tai_offset_s(), tell);
        self.compare_hardware(tell);
    }

    fn observe(&mut self, now: Reading, tai_s: i64, tell: &mut dyn FnMut(Event)) {
        let by_ns = now.difference_ns - self.last.difference_ns;
        let is_step = by_ns.abs() > STEP_NS + now.plus_minus_ns + self.last.plus_minus_ns;
        if is_step {
            tell(Event::ClockStepped { by_ns });
            if let Some(hardware) = &mut self.hardware {
                hardware.forget();
            }
        }
        if tai_s != self.tai_s {
            tell(Event::TaiOffsetChanged { from_s: self.tai_s, to_s: tai_s });
            self.tai_s = tai_s;
        }
        // A worse reading of the same thing is not kept: it would let a small step hide behind its own ±.
        if is_step || now.plus_minus_ns <= self.last.plus_minus_ns {
            self.last = now;
        }
        self.publish();
    }

    fn compare_hardware(&mut self, tell: &mut dyn FnMut(Event)) {
        let Some(hardware) = &mut self.hardware else { return };
        match hardware.compare() {
            Ok((mapping, set_by_ns)) => {
                self.board.hardware.write(&mapping);
                // Once, where it runs at no rate at all and looks as if it were set again and again.
                if let Some(by_ns) = set_by_ns.filter(|_| !self.was_hardware_set) {
                    tell(Event::HardwareClockSet { by_ns });
                }
                self.was_hardware_set = set_by_ns.is_some();
                self.is_hardware_lost = false;
            }
            // Said once; the last mapping goes on, with its drift.
            Err(error) if !self.is_hardware_lost => {
                self.is_hardware_lost = true;
                tell(Event::HardwareClockLost { reason: error.to_string() });
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_follows_offset_and_drift() {
        let mapping =
            Mapping { at_ns: 1_000_000_000_000, offset_ns: 37_000_000_000, drift_ppb: 500, plus_minus_ns: 10 };
        for (device, expected) in [
            (1_000_000_000_000, 963_000_000_000),
            (1_001_000_000_000, 963_999_999_500), // a second later, 500 ns too fast
            (999_000_000_000, 962_000_000_500),
            (0, 0), // before the epoch
        ] {
            assert_eq!(mapping.utc_ns(device), expected, "{device}");
        }
        // A century and more after the comparison, which takes more than 64 bits.
        let fast = Mapping { drift_ppb: 1_000_000, ..Mapping::default() };
        assert_eq!(fast.utc_ns(9_000_000_000_000_000_000), 8_991_000_000_000_000_000);
        assert_eq!(fast.utc_ns(u64::MAX), u64::MAX - u64::MAX / 1000);
    }

    #[test]
    fn readers_see_whole_mappings_only() {
        let shared = Shared::default();
        assert_eq!(shared.read(), None);
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for value in 1..20_000 {
                    shared.write(&Mapping { at_ns: value, offset_ns: value, drift_ppb: value, plus_minus_ns: value });
                }
            });
            while !writer.is_finished() {
                if let Some(seen) = shared.read() {
                    let same = [seen.offset_ns, seen.drift_ppb, seen.plus_minus_ns];
                    assert!(same.iter().all(|value| *value == seen.at_ns), "{seen:?}");
                }
            }
        });
    }

    #[test]
    fn a_clock_that_is_set_is_noticed_and_one_that_is_slewed_is_not() {
        let mut clocks = Clocks::new(None);
        let reading = |difference_ns| Reading { monotonic_ns: 0, difference_ns, plus_minus_ns: 50 };
        let start = 1_700_000_000 * SECOND_NS;
        clocks.last = reading(start);
        let tai = clocks.tai_s;
        let mut events = Vec::new();
        for (difference, tai_s) in [
            (start + 90, tai),
            (start - 90, tai),
            (start + 5_000, tai),
            (start + 5_000, tai),
            (start - SECOND_NS, tai),
            (start - SECOND_NS, tai + 37),
        ] {
            clocks.observe(reading(difference), tai_s, &mut |event| events.push(event));
        }
        assert_eq!(events.len(), 3, "{events:?}");
        assert!(matches!(events[0], Event::ClockStepped { by_ns: 4_900..=5_100 }), "{events:?}");
        assert!(matches!(events[1], Event::ClockStepped { by_ns: -1_000_005_100..=-1_000_004_900 }), "{events:?}");
        assert_eq!(events[2], Event::TaiOffsetChanged { from_s: tai, to_s: tai + 37 });
        assert_eq!(clocks.board.tai.read().unwrap().offset_ns, (tai + 37) * SECOND_NS);
    }

    #[test]
    fn monotonic_time_comes_to_utc() {
        let clocks = Clocks::new(None);
        let mapping = clocks.board.monotonic.read().unwrap();
        let before = now_utc_ns();
        let mapped = mapping.utc_ns(u64::try_from(sys::clock_ns(libc::CLOCK_MONOTONIC)).unwrap());
        let after = now_utc_ns();
        let slack = mapping.plus_minus_ns.unsigned_abs();
        assert!(before - slack <= mapped && mapped <= after + slack, "{before} {mapped} {after}");
    }
}
