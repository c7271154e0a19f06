//! One captured frame, as a receiver shows it: borrowed from the ring for one call, with its time in UTC and where that time
//! was taken.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// A frame as it was on the wire, without its checksum (FCS).
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// From the destination address on, with its VLAN tags. Valid during the call only.
    pub bytes: &'a [u8],
    /// Bytes that were on the wire; more than `bytes` where the frame was cut ([`Flags::TRUNCATED`]).
    pub wire_len: u32,
    /// Nanoseconds since 1970-01-01 UTC; 0 where there is no stamp ([`Source::None`]).
    pub time_ns: u64,
    pub source: Source,
    pub direction: Direction,
    pub flags: Flags,
    pub queue: u32,
}

/// Who read which clock where, for a frame's time. User-space time is never one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// The NIC's own clock, as the frame passed its port; brought to UTC by comparing the two clocks every second.
    HardwareNic,
    /// `CLOCK_TAI`, read by the XDP program when the driver has taken the frame from the NIC's ring.
    KernelXdpTai,
    /// `CLOCK_MONOTONIC`, read at the same place; before Linux 6.1, where XDP programs cannot read `CLOCK_TAI`.
    KernelXdpMonotonic,
    /// `CLOCK_REALTIME`, read by the network stack.
    KernelSoftware,
    /// Neither the kernel nor the NIC left a stamp: the frame has no time.
    None,
}

impl Source {
    /// A short name for outputs.
    pub fn name(self) -> &'static str {
        match self {
            Source::HardwareNic => "hardware",
            Source::KernelXdpTai => "kernel-xdp-tai",
            Source::KernelXdpMonotonic => "kernel-xdp-monotonic",
            Source::KernelSoftware => "kernel-software",
            Source::None => "none",
        }
    }

    /// Where the stamp is taken and which way it is off, in a sentence for users.
    pub fn describe(self, direction: Direction) -> &'static str {
        match (self, direction) {
            (Source::HardwareNic, _) => "taken by the NIC at its port; off by what is not known of its clock (±)",
            (Source::KernelXdpTai, _) => {
                "taken by the XDP program in the driver: after the NIC and its interrupt, so late"
            }
            (Source::KernelXdpMonotonic, _) => {
                "taken by the XDP program in the driver, on a clock that is compared with UTC every second: late"
            }
            (Source::KernelSoftware, Direction::In) => {
                "taken by the network stack after the NIC and its interrupt, so late"
            }
            (Source::KernelSoftware, Direction::Out) => {
                "taken by the network stack before the NIC has the frame, so early"
            }
            (Source::None, _) => "no stamp",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Seen from this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    In,
    Out,
}

/// What a reader should know of a frame beside its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Flags(u32);

impl Flags {
    /// The ring holds fewer bytes than were on the wire.
    pub const TRUNCATED: Flags = Flags(1);
    /// Larger than the interface's MTU allows: segments put together by the NIC or the kernel (GRO), or not yet divided (TSO,
    /// GSO). No such frame was on the wire, and its time is that of one of its parts.
    pub const SUPER_FRAME: Flags = Flags(1 << 1);
    /// A VLAN tag that the kernel had taken out was put back.
    pub const VLAN_PUT_BACK: Flags = Flags(1 << 2);
    /// Frames were lost shortly before this one.
    pub const LOSS_BEFORE: Flags = Flags(1 << 3);
    /// The checksum of its transport header is left to the NIC (frames on their way out): a wrong one means nothing.
    pub const CHECKSUM_NOT_READY: Flags = Flags(1 << 4);

    const NAMES: [(Flags, &'static str); 5] = [
        (Flags::TRUNCATED, "truncated"),
        (Flags::SUPER_FRAME, "super-frame"),
        (Flags::VLAN_PUT_BACK, "vlan-put-back"),
        (Flags::LOSS_BEFORE, "loss-before"),
        (Flags::CHECKSUM_NOT_READY, "checksum-not-ready"),
    ];

    pub fn contains(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Flags::NAMES.iter().filter(move |(flag, _)| self.contains(*flag)).map(|(_, name)| *name)
    }
}

impl BitOr for Flags {
    type Output = Flags;
    fn bitor(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

impl BitOrAssign for Flags {
    fn bitor_assign(&mut self, other: Flags) {
        self.0 |= other.0;
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.names()).finish()
    }
}

/// Whether a frame of this many bytes is larger than a link with this MTU carries: 14 bytes of Ethernet and two VLAN tags.
pub(crate) fn is_super_frame(wire_len: u32, mtu: u32) -> bool {
    wire_len > mtu.saturating_add(22)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_with_two_tags_is_no_super_frame() {
        for (length, expected) in [(1514, false), (1522, false), (1523, true), (65_000, true)] {
            assert_eq!(is_super_frame(length, 1500), expected, "{length}");
        }
        assert!(!is_super_frame(u32::MAX, u32::MAX));
    }

    #[test]
    fn flags_are_shown_by_name() {
        assert_eq!(format!("{:?}", Flags::TRUNCATED | Flags::LOSS_BEFORE), r#"{"truncated", "loss-before"}"#);
    }
}
