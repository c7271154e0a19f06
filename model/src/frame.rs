//! A captured frame, borrowed from its source, and the tap that it came from.

use crate::Timestamp;

/// Which observation tap (capture file, interface of a pcapng, NIC): an index in the run's list of taps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TapId(pub u16);

/// The first header of a frame, from the LINKTYPE registry of tcpdump.org.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkType {
    /// 1: Ethernet.
    Ethernet,
    /// 113: Linux cooked capture v1.
    LinuxSll,
    /// 276: Linux cooked capture v2.
    LinuxSll2,
    /// 12, 14, 101: the frame begins with an IP header; 228 and 229 fix its version.
    RawIp,
    /// 0 and 108: BSD loopback, a 4-byte address family before the IP header.
    Loopback,
    /// Any other number: counted, not read.
    Other(u16),
}

impl LinkType {
    /// From the number that a capture file carries.
    pub fn from_number(number: u16) -> LinkType {
        match number {
            1 => LinkType::Ethernet,
            113 => LinkType::LinuxSll,
            276 => LinkType::LinuxSll2,
            12 | 14 | 101 | 228 | 229 => LinkType::RawIp,
            0 | 108 => LinkType::Loopback,
            other => LinkType::Other(other),
        }
    }

    /// The number that stands for it in a capture file.
    pub fn number(self) -> u16 {
        match self {
            LinkType::Ethernet => 1,
            LinkType::LinuxSll => 113,
            LinkType::LinuxSll2 => 276,
            LinkType::RawIp => 101,
            LinkType::Loopback => 0,
            LinkType::Other(number) => number,
        }
    }
}

/// One captured frame, borrowed from the source until it returns.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Where it was seen.
    pub tap: TapId,
    /// Which header it starts with.
    pub link: LinkType,
    /// When, by the tap's clock with the tap's offset applied.
    pub time: Timestamp,
    /// Its number in its file, starting at 1, as Wireshark counts.
    pub number: u64,
    /// Length on the wire in bytes; `bytes` is shorter when the capture was cut (snaplen).
    pub wire_len: u32,
    /// What was captured.
    pub bytes: &'a [u8],
}
