//! How well the clocks are kept: what adjtimex(2) says of the system's, the NIC's beside it, and who keeps them.

use std::fs;
use std::io;

use super::{Fact, chrony};
use crate::clock::{HardwareClock, kernel_state};

/// Programs that keep clocks or move interrupts, as /proc names them: at most 15 letters.
const WATCHED: [&str; 8] =
    ["ptp4l", "phc2sys", "timemaster", "chronyd", "ntpd", "systemd-timesyn", "sfptpd", "irqbalance"];

/// What the kernel knows of CLOCK_REALTIME. Its figures are its time daemon's, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClockState {
    /// A time daemon keeps the clock, and has said so in the last hours.
    pub is_synchronised: bool,
    pub estimated_error_us: i64,
    /// Grows by 500 a second where nobody keeps the clock, up to 16 s.
    pub maximum_error_us: i64,
    /// TAI − UTC; 0 where nobody has told the kernel.
    pub tai_offset_s: i64,
}

pub(super) fn clock_state() -> Fact<ClockState> {
    let found = kernel_state().map(|(result, state)| ClockState {
        is_synchronised: result != libc::TIME_ERROR && state.status & libc::STA_UNSYNC == 0,
        estimated_error_us: state.esterror,
        maximum_error_us: state.maxerror,
        tai_offset_s: i64::from(state.tai),
    });
    Fact::new("adjtimex(2)", found)
}

/// The NIC's clock beside the system's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NicClock {
    /// `/dev/ptp0` is 0.
    pub number: u32,
    /// NIC − UTC. 37 s where it counts TAI, as PTP does.
    pub offset_ns: i64,
    pub plus_minus_ns: i64,
}

pub(super) fn nic_clock(number: u32) -> Fact<NicClock> {
    let found = HardwareClock::open(number).and_then(|mut clock| clock.compare()).map(|(mapping, _)| NicClock {
        number,
        offset_ns: mapping.offset_ns,
        plus_minus_ns: mapping.plus_minus_ns,
    });
    Fact::new(&format!("/dev/ptp{number}"), found)
}

/// Which of the programs that keep clocks (and of irqbalance) are running.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Daemons {
    pub running: Vec<String>,
    /// What chrony says of itself, where it runs.
    pub chrony: Option<Fact<chrony::Tracking>>,
}

impl Daemons {
    pub fn has(&self, name: &str) -> bool {
        self.running.iter().any(|running| running == name)
    }
}

pub(super) fn daemons() -> Fact<Daemons> {
    let found = running().map(|running| {
        let chrony = running.iter().any(|name| name == "chronyd").then(chrony::tracking);
        Daemons { running, chrony }
    });
    Fact::new("/proc/*/comm", found)
}

fn running() -> io::Result<Vec<String>> {
    // Where processes of others are hidden, not even the first one is seen.
    fs::read_to_string("/proc/1/comm")?;
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let is_process = entry.file_name().to_str().is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
        // One that has just ended is none.
        let Some(name) = is_process.then(|| fs::read_to_string(entry.path().join("comm")).ok()).flatten() else {
            continue;
        };
        let name = name.trim_end();
        if WATCHED.contains(&name) && !found.iter().any(|known| known == name) {
            found.push(name.to_owned());
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_of_its_clock() {
        let state = clock_state().found.unwrap();
        assert!((0..100).contains(&state.tai_offset_s) && state.maximum_error_us >= 0, "{state:?}");
    }

    #[test]
    fn names_fit_into_what_proc_shows() {
        assert!(WATCHED.iter().all(|name| name.len() <= 15));
    }
}
