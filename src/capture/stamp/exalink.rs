//! `ExaLINK` Fusion: 32 bits of a counter in each frame, in place of its FCS (`fcs`) or in front of it (`append`), and once a
//! second a keyframe that says what the counter means: type 0x88B5, or IPv4 protocol 253 from 0.0.0.0 to 255.255.255.255,
//! with `"EXKF" | version (1) | reserved (3) | UTC ns (8) | counter (8) | ticks a second (8) | last sync (8)`, big endian.
//! Layout as in CiscoDevNet/n3550-timestamp-decoder. The two compatible modes are those of an Arista 7150.

use super::check::is_checked;
use super::view::{View, u32_at, u64_at};
use super::{Edge, Format, Keyframe, Mark, Place, Reading, Stamp};

pub(super) static FORMAT: Format = Format {
    name: "exalink",
    title: "ExaLINK Fusion 32-bit counter with keyframes",
    edge: Edge::Unknown,
    is_proven: true,
    place: Place::Behind,
    read,
};

/// The type of keyframes (IEEE: local experiments).
pub(super) const ETHERTYPE: u16 = 0x88b5;
const BODY: usize = 40;

fn read(view: &View<'_>) -> Option<Mark> {
    if let Some(keyframe) = keyframe(view) {
        return Some(Mark::Keyframe(keyframe));
    }
    if is_keyframe_packet(view) {
        return None;
    }
    counter(view).map(|count| Mark::Stamp(Stamp { reading: Reading::Ticks { count, bits: 32 }, ..stamp(view) }))
}

/// The counter of a frame, for both families of modes.
pub(super) fn counter(view: &View<'_>) -> Option<u32> {
    // Where the whole frame's check sequence is right, the counter stands in front of it; else it took its place.
    if view.verify && is_checked(view.whole) != (view.behind == 4) {
        return None;
    }
    u32_at(view.tail(4)?, 0)
}

/// What is true of such a stamp beside its counter.
pub(super) fn stamp(view: &View<'_>) -> Stamp {
    let length = view.bytes.len().saturating_sub(4);
    Stamp { reading: Reading::Ticks { count: 0, bits: 32 }, is_sure: view.verify, length, says_tai: None }
}

fn keyframe(view: &View<'_>) -> Option<Keyframe> {
    let body = match view.kind {
        ETHERTYPE => view.whole.get(view.at..view.at + BODY)?,
        _ => keyframe_body(view).filter(|body| body.len() == BODY)?,
    };
    // Version 0 of the same vendor has the number 1 in place of the letters.
    if body.get(..5)? != b"EXKF\x01" && body.get(..5)? != [1, 0, 0, 0, 0] {
        return None;
    }
    let (utc_ns, count, per_second) = (u64_at(body, 8)?, u64_at(body, 16)?, u64_at(body, 24)?);
    // A counter of 32 bits that ran round within 5 s could not be told apart.
    let is_possible = (1_000_000..800_000_000).contains(&per_second) && utc_ns > 0;
    is_possible.then_some(Keyframe { utc_ns, count, per_second, valid_ns: 5_000_000_000 })
}

/// What an IPv4 packet of protocol 253 from 0.0.0.0 to 255.255.255.255 carries.
pub(super) fn keyframe_body<'a>(view: &View<'a>) -> Option<&'a [u8]> {
    if view.kind != 0x0800 {
        return None;
    }
    let ip = view.whole.get(view.at..view.end?)?;
    let is_keyframe = *ip.first()? == 0x45 && *ip.get(9)? == 253 && ip.get(12..20)? == [0, 0, 0, 0, 255, 255, 255, 255];
    if is_keyframe { ip.get(20..) } else { None }
}

/// A keyframe, be it one that is understood or not.
pub(super) fn is_keyframe_packet(view: &View<'_>) -> bool {
    view.kind == ETHERTYPE || keyframe_body(view).is_some()
}
