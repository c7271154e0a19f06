//! What this machine and its interfaces are like, as far as it matters to capturing: read from /proc, /sys, netlink(7) and
//! ioctl(2), some of it tried out. Nothing is changed, and nothing here judges. What cannot be read says why.

mod chrony;
mod ethtool;
mod interface;
mod machine;
mod time;

use std::fmt;
use std::fs;
use std::io;

pub use chrony::Tracking;
pub use ethtool::{Channels, Coalescing, Feature, RxRing, Stamping};
pub(crate) use interface::ability;
pub use interface::{Interface, State, XdpAbility, interface, interface_names};
pub use machine::{Machine, Processors, machine, processors_in};
pub use time::{ClockState, Daemons, NicClock};

pub use crate::xdp::{Needs, needs};

/// One thing that was looked up: what was found, or why it is not known, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact<T> {
    /// A path, or the request that asked the kernel.
    pub from: String,
    pub found: Result<T, String>,
}

impl<T> Fact<T> {
    pub fn new<E: fmt::Display>(from: &str, found: Result<T, E>) -> Fact<T> {
        Fact { from: from.to_owned(), found: found.map_err(|error| error.to_string()) }
    }

    pub fn known(&self) -> Option<&T> {
        self.found.as_ref().ok()
    }

    pub fn map<U>(self, to: impl FnOnce(T) -> U) -> Fact<U> {
        Fact { from: self.from, found: self.found.map(to) }
    }
}

/// A file of one or few lines, without the white space around them.
fn text(path: &str) -> Fact<String> {
    Fact::new(path, fs::read_to_string(path).map(|text| text.trim().to_owned()))
}

/// A file that holds a number.
fn number(path: &str) -> Fact<u64> {
    let text = text(path);
    let found = text.found.and_then(|text| text.parse().map_err(|_| format!("\"{text}\" is no number")));
    Fact { from: text.from, found }
}

/// The error of a request that a driver or a kernel does not know, in words.
fn refusal(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EOPNOTSUPP) => "the driver does not say".to_owned(),
        _ => error.to_string(),
    }
}
