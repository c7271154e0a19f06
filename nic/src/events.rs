//! What can happen to a capture while it runs.

use std::fmt;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Switched off or without a carrier. Frames come again by themselves when it is back.
    LinkDown,
    LinkUp,
    MtuChanged {
        from: u32,
        to: u32,
    },
    Renamed {
        from: String,
        to: String,
    },
    /// The interface is gone for good; a new one of the same name has to be opened anew.
    Removed,
    /// `CLOCK_REALTIME` was set. Times before and after are not comparable.
    ClockStepped {
        by_ns: i64,
    },
    /// Somebody told the kernel another difference of TAI and UTC; within a second of it, times may be wrong by as much.
    TaiOffsetChanged {
        from_s: i64,
        to_s: i64,
    },
    /// The NIC's clock was set. Its stamps since then, of a second at most, are off by as much.
    HardwareClockSet {
        by_ns: i64,
    },
    /// The NIC's clock could not be compared with UTC.
    HardwareClockLost {
        reason: String,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::LinkDown => formatter.write_str("the link is down"),
            Event::LinkUp => formatter.write_str("the link is up"),
            Event::MtuChanged { from, to } => write!(formatter, "the MTU was {from} and is {to}"),
            Event::Renamed { from, to } => write!(formatter, "{from} is called {to} now"),
            Event::Removed => formatter.write_str("the interface is gone; open the capture again when it is back"),
            Event::ClockStepped { by_ns } => write!(formatter, "the system's clock was set by {by_ns} ns"),
            Event::TaiOffsetChanged { from_s, to_s } => {
                write!(formatter, "TAI was {from_s} s ahead of UTC and is {to_s} s ahead now")
            }
            Event::HardwareClockSet { by_ns } => {
                write!(
                    formatter,
                    "the NIC's clock was set by {by_ns} ns; times of up to a second before are off by as much"
                )
            }
            Event::HardwareClockLost { reason } => {
                write!(formatter, "the NIC's clock cannot be compared with UTC: {reason}")
            }
        }
    }
}
