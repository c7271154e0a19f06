//! A frame as those see it who look for stamps: where its packet ends by the lengths of its own headers. What lies behind
//! may be padding, the frame's check sequence, a stamp, and a new check sequence.

use tickscope_model::{Frame, LinkType, Timestamp};

/// The shortest Ethernet frame without its check sequence (IEEE 802.3): a packet that ends before is padded to it.
pub(super) const SHORTEST: usize = 60;
/// The same behind a VLAN tag that was taken off.
const SHORTEST_UNTAGGED: usize = 56;

/// See the head of this file.
pub(super) struct View<'a> {
    /// The captured bytes, from the Ethernet header on, without the check sequence that was captured behind the stamp.
    pub(super) bytes: &'a [u8],
    /// That check sequence: 0 or 4 bytes.
    pub(super) behind: usize,
    /// The bytes with it.
    pub(super) whole: &'a [u8],
    /// Captured from the first to the last byte.
    pub(super) is_whole: bool,
    pub(super) is_ethernet: bool,
    /// The first type that is no VLAN tag, and where what it announces begins.
    pub(super) kind: u16,
    pub(super) at: usize,
    /// Where the packet ends, if its headers say so.
    pub(super) end: Option<usize>,
    /// The capture's own time, where it has any.
    pub(super) time: Timestamp,
    /// Checksums are to be computed, to be sure.
    pub(super) verify: bool,
}

impl<'a> View<'a> {
    pub(super) fn new(frame: &Frame<'a>, time: Timestamp, behind: usize, verify: bool) -> View<'a> {
        let whole = frame.bytes;
        let captured = u32::try_from(whole.len()).unwrap_or(u32::MAX);
        let mut view = View {
            bytes: whole.get(..whole.len().saturating_sub(behind)).unwrap_or(&[]),
            behind,
            whole,
            is_whole: captured >= frame.wire_len,
            is_ethernet: frame.link == LinkType::Ethernet,
            kind: 0,
            at: 0,
            end: None,
            time,
            verify,
        };
        if view.is_ethernet {
            (view.kind, view.at) = behind_tags(whole);
            view.end = packet_end(whole, view.kind, view.at);
        }
        view
    }

    /// The last `size` bytes, where they can be a stamp: behind the packet, and behind what an Ethernet frame has at least.
    pub(super) fn tail(&self, size: usize) -> Option<&'a [u8]> {
        let start = self.bytes.len().checked_sub(size)?;
        let first = self.end.unwrap_or(0).max(SHORTEST_UNTAGGED);
        (self.is_ethernet && self.is_whole && start >= first).then(|| self.bytes.get(start..)).flatten()
    }

    /// What lies behind the packet and its padding, where the packet's end is known.
    pub(super) fn rest(&self) -> Option<&'a [u8]> {
        let end = self.end.filter(|_| self.is_ethernet && self.is_whole)?;
        self.bytes.get(end.max(SHORTEST)..)
    }

    /// Whether these four bytes are the check sequence of what lies in front of them.
    pub(super) fn is_check(&self, at: usize) -> bool {
        let (Some(front), Some(check)) = (self.bytes.get(..at), self.bytes.get(at..at + 4)) else { return false };
        super::check::frame_check(front) == check
    }
}

/// The type behind VLAN tags and a 7280's header, and where what it announces begins.
fn behind_tags(bytes: &[u8]) -> (u16, usize) {
    let mut at = 12;
    // Two tags and a header are the most that is seen; a loop without end must not be possible.
    for _ in 0..5 {
        let step = match u16_at(bytes, at) {
            Some(0x8100 | 0x88a8 | 0x9100 | 0x9200 | 0x9300) => 4,
            Some(super::arista_7280::ETHERTYPE) => match super::arista_7280::length(bytes.get(at..).unwrap_or(&[])) {
                Some(length) => length,
                None => break,
            },
            _ => break,
        };
        at += step;
    }
    (u16_at(bytes, at).unwrap_or(0), at + 2)
}

/// Where the packet of this type, which begins at `at`, ends by its own account.
fn packet_end(bytes: &[u8], kind: u16, at: usize) -> Option<usize> {
    match kind {
        0x0800 | 0x86dd => ip_end(bytes, at),
        0x0806 => Some(at + 28),
        // MPLS: labels up to the one with the bottom bit, then IP as its first digit says.
        0x8847 | 0x8848 => {
            let labels = bytes.get(at..)?.as_chunks::<4>().0;
            let bottom = labels.iter().take(8).position(|label| label[2] & 1 == 1)?;
            ip_end(bytes, at + (bottom + 1) * 4)
        }
        0..=1500 => Some(at + usize::from(kind)),
        _ => None,
    }
}

fn ip_end(bytes: &[u8], at: usize) -> Option<usize> {
    let length = match bytes.get(at)? >> 4 {
        // A total length of 0 is that of a super-frame, which says nothing.
        4 => usize::from(u16_at(bytes, at + 2)?).checked_sub(20)? + 20,
        6 => usize::from(u16_at(bytes, at + 4)?) + 40,
        _ => return None,
    };
    Some(at + length)
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Seconds and nanoseconds as a time, where the nanoseconds can be.
pub(super) fn seconds_and_nanoseconds(seconds: u32, nanoseconds: u32) -> Option<u64> {
    (nanoseconds < 1_000_000_000 && seconds > 0).then(|| u64::from(seconds) * 1_000_000_000 + u64::from(nanoseconds))
}
