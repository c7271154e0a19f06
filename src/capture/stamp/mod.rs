//! Stamps that switches and capture devices write into the frames themselves: behind the packet (trailers), in front of it
//! (headers), or as a counter whose meaning special frames tell (keyframes). Each format is one file that reads one frame;
//! `stamper` turns what it read into times, `vote` finds out which format a tap has.
//! Layouts: the public sources that each file names.

mod arista_7150;
mod arista_7280;
mod check;
mod cisco;
mod erf;
mod exablaze;
mod exalink;
mod expcap;
mod file;
mod ixia;
mod metamako;
mod online;
mod stamper;
mod view;
mod vote;
mod vss;

use std::fmt;

use tickscope_model::{Nanos, Timestamp};

pub(super) use self::erf::{LINK as ERF, unwrap as unwrap_erf};
pub(super) use self::file::{Stampers, rule_of};
pub use self::online::Online;
use self::stamper::Stamper;
pub use self::stamper::{Counts, Stamps};
use self::view::View;
pub use self::vote::Undecided;

/// One way in which a device writes times into frames.
pub struct Format {
    /// As in `trailer = "…"`.
    pub name: &'static str,
    /// For people.
    pub title: &'static str,
    /// Which edge of a frame the device stamps, as its maker says.
    pub edge: Edge,
    /// Somebody else's capture or a published vector shows that it is read right.
    pub is_proven: bool,
    /// Where the device writes its stamp.
    place: Place,
    /// Reads a frame; `None` where it carries nothing of this kind.
    read: fn(&View<'_>) -> Option<Mark>,
}

/// A format is its name.
impl PartialEq for Format {
    fn eq(&self, other: &Format) -> bool {
        self.name == other.name
    }
}

impl Eq for Format {}

impl fmt::Debug for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// All formats, those with the stronger marks first: where two fit equally well, the first is taken.
pub static FORMATS: &[&Format] = &[
    &metamako::FORMAT,
    &exablaze::FORMAT,
    &exalink::FORMAT,
    &arista_7150::FORMAT,
    &arista_7280::FORMAT,
    &ixia::FORMAT,
    &metamako::CPACKET,
    &vss::FORMAT,
    &cisco::TTAG,
    &cisco::BROADCOM,
    &expcap::FORMAT,
    &erf::FORMAT,
];

/// What `trailer` may say.
pub static TRAILERS: &[&str] = &[
    "auto",
    "none",
    "metamako",
    "exablaze-hpt",
    "exalink",
    "arista-7150",
    "arista-7280",
    "ixia",
    "cpacket",
    "vss",
    "ttag",
    "broadcom",
    "expcap",
    "erf",
];

/// Which stamps of a tap count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trailer {
    /// Those that most of its frames carry, if they carry any.
    #[default]
    Auto,
    /// The capture file's own.
    None,
    Format(&'static Format),
}

impl Trailer {
    /// From a word of [`TRAILERS`].
    pub fn named(name: &str) -> Option<Trailer> {
        match name {
            "auto" => Some(Trailer::Auto),
            "none" => Some(Trailer::None),
            name => FORMATS.iter().find(|format| format.name == name).map(|format| Trailer::Format(format)),
        }
    }
}

/// Which moment of a frame a stamp means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// The first bit behind the start delimiter.
    Start,
    /// The last bit of the frame check sequence.
    End,
    /// The first bit of the frame check sequence.
    CheckSequence,
    /// Its maker does not say; taken for the start.
    Unknown,
}

impl Edge {
    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            Edge::Start => "start of frame",
            Edge::End => "end of frame",
            Edge::CheckSequence => "start of the FCS",
            Edge::Unknown => "edge not documented",
        }
    }

    /// In JSON.
    pub fn name(self) -> &'static str {
        match self {
            Edge::Start => "sof",
            Edge::End => "eof",
            Edge::CheckSequence => "fcs",
            Edge::Unknown => "unknown",
        }
    }
}

/// Where a stamp stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Behind the packet; lost where the capture cut the frame.
    Behind,
    /// In front of it.
    Before,
}

/// What a frame says.
enum Mark {
    Stamp(Stamp),
    Keyframe(Keyframe),
}

/// A stamp as it stands in a frame.
struct Stamp {
    reading: Reading,
    /// A checksum or a number that means nothing else says that this is a stamp.
    is_sure: bool,
    /// Length of the frame before the device added to it, without its check sequence.
    length: usize,
    /// The frame says that its clock counts TAI (`Some(true)`) or UTC.
    says_tai: Option<bool>,
}

/// What a stamp's clock shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// Nanoseconds since 1970.
    Full(u64),
    /// The same modulo a period.
    Modulo { ns: u64, period_ns: u64 },
    /// A counter of so many bits that a keyframe explains.
    Ticks { count: u32, bits: u32 },
}

/// What a keyframe says: at this count it was that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Keyframe {
    utc_ns: u64,
    count: u64,
    per_second: u64,
    /// It explains counts for so long.
    valid_ns: u64,
}

/// What the user says of a tap's times.
#[derive(Clone, Debug, Default)]
pub struct TapTime {
    /// The tap's name, or that of the file it is in; empty for every tap that has no rule of its own.
    pub name: String,
    /// Added to each of its times.
    pub offset: Nanos,
    pub trailer: Trailer,
    /// Overrules the format's, or says it of the capture's own times.
    pub edge: Option<Edge>,
    /// Bits per second of the link.
    pub speed: Option<u64>,
    /// How far its clock is ahead of the one that counts, over time; taken off.
    pub leads: Vec<Lead>,
}

/// A clock is ahead of another by this much from one time of its own to another, and in between as a line goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lead {
    pub from: Timestamp,
    pub to: Timestamp,
    pub at_from: Nanos,
    pub at_to: Nanos,
}

impl Lead {
    /// By how much at a time; the line goes on in front and behind.
    fn at(&self, time: Timestamp) -> Nanos {
        let (from, to) = (i128::from(self.at_from.0), i128::from(self.at_to.0));
        let length = i128::from(self.to.since(self.from).0);
        let at = i128::from(time.since(self.from).0);
        let ns = if length == 0 { from } else { from + (to - from) * at / length };
        Nanos(i64::try_from(ns).unwrap_or(self.at_from.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_configuration_are_the_formats() {
        let names: Vec<&str> = FORMATS.iter().map(|format| format.name).collect();
        assert_eq!(TRAILERS[2..], names);
        assert!(TRAILERS.iter().all(|name| Trailer::named(name).is_some()));
        assert!(Trailer::named("other").is_none());
    }
}
