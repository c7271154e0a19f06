//! What ethtool(8) shows, asked as it asks: by SIOCETHTOOL (Linux `ethtool.h`). Reading needs no privileges.

use std::io;

use super::{Fact, refusal};
use crate::sys::{self, Plain};

const SIOCETHTOOL: libc::c_ulong = 0x8946;
const GDRVINFO: u32 = 0x03;
const GCOALESCE: u32 = 0x0E;
const GRINGPARAM: u32 = 0x10;
const GSTRINGS: u32 = 0x1B;
const GSSET_INFO: u32 = 0x37;
const GFEATURES: u32 = 0x3A;
const GCHANNELS: u32 = 0x3C;
const GET_TS_INFO: u32 = 0x41;
/// The set of strings that names features.
const FEATURE_NAMES: u32 = 4;
const NAME_BYTES: usize = 32;
/// Four times as many as there are today.
const FEATURES_MAX: usize = 256;
/// SOF_TIMESTAMPING_RX_HARDWARE and SOF_TIMESTAMPING_RAW_HARDWARE: the NIC stamps, and the stamp comes out as it is.
const RX_HARDWARE: u32 = 1 << 2 | 1 << 6;
/// HWTSTAMP_FILTER_ALL: every received frame, not only PTP's own.
const FILTER_ALL: u32 = 1 << 1;

/// Queues in use, and how many there could be. Drivers have queues for receiving, or such for both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Channels {
    pub rx: u32,
    pub rx_max: u32,
    pub combined: u32,
    pub combined_max: u32,
}

/// Frames that the NIC can hold for a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RxRing {
    pub frames: u32,
    pub frames_max: u32,
}

/// How long the NIC waits with the interrupt for received frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Coalescing {
    pub rx_us: u32,
    pub rx_frames: u32,
    pub is_adaptive: bool,
}

/// What the NIC can do about received frames' times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamping {
    pub has_hardware: bool,
    /// Every frame, where false those of PTP only.
    pub stamps_all: bool,
    /// The number of its clock: `/dev/ptp0` is 0.
    pub clock: Option<u32>,
}

/// An offload by the name that ethtool(8) shows, such as `rx-gro`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feature {
    pub name: String,
    pub is_on: bool,
    /// Nobody can change it.
    pub is_fixed: bool,
}

fn ask<const N: usize>(interface: &str, mut words: [u32; N]) -> io::Result<[u32; N]> {
    sys::interface_ioctl(interface, SIOCETHTOOL, &mut words).map(|()| words)
}

fn command<const N: usize>(number: u32) -> [u32; N] {
    let mut words = <[u32; N]>::zero();
    words[0] = number;
    words
}

fn fact<T>(request: &str, found: io::Result<T>) -> Fact<T> {
    Fact::new(request, found.map_err(|error| refusal(&error)))
}

/// Text of `length` bytes at the byte `at`, up to its first zero.
fn text(words: &[u32], at: usize, length: usize) -> String {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).skip(at).take(length).collect();
    String::from_utf8_lossy(bytes.split(|byte| *byte == 0).next().unwrap_or(&[])).into_owned()
}

/// The driver's name, and the device's place on its bus, which is empty where no device is behind the interface.
pub(super) fn driver(interface: &str) -> Fact<(String, String)> {
    // struct ethtool_drvinfo: command, then five texts of 32 bytes: driver, version, firmware, bus, expansion ROM.
    let answer = ask::<49>(interface, command(GDRVINFO));
    fact("ETHTOOL_GDRVINFO", answer.map(|words| (text(&words, 4, 32), text(&words, 4 + 3 * 32, 32))))
}

pub(super) fn channels(interface: &str) -> Fact<Channels> {
    // struct ethtool_channels: command, maxima of rx, tx, other, combined, then the same now.
    let answer = ask::<9>(interface, command(GCHANNELS));
    fact(
        "ETHTOOL_GCHANNELS",
        answer.map(|words| Channels { rx: words[5], rx_max: words[1], combined: words[8], combined_max: words[4] }),
    )
}

pub(super) fn rx_ring(interface: &str) -> Fact<RxRing> {
    // struct ethtool_ringparam: command, maxima of rx, mini, jumbo, tx, then the same now.
    let answer = ask::<9>(interface, command(GRINGPARAM));
    fact("ETHTOOL_GRINGPARAM", answer.map(|words| RxRing { frames: words[5], frames_max: words[1] }))
}

pub(super) fn coalescing(interface: &str) -> Fact<Coalescing> {
    // struct ethtool_coalesce: command, rx_coalesce_usecs, rx_max_coalesced_frames, …, use_adaptive_rx_coalesce at 10.
    let answer = ask::<23>(interface, command(GCOALESCE));
    fact(
        "ETHTOOL_GCOALESCE",
        answer.map(|words| Coalescing { rx_us: words[1], rx_frames: words[2], is_adaptive: words[10] != 0 }),
    )
}

pub(super) fn stamping(interface: &str) -> Fact<Stamping> {
    // struct ethtool_ts_info: command, so_timestamping, phc_index, tx_types and 3 words, rx_filters and 3 words.
    let answer = ask::<14>(interface, command(GET_TS_INFO));
    fact(
        "ETHTOOL_GET_TS_INFO",
        answer.map(|words| Stamping {
            has_hardware: words[1] & RX_HARDWARE == RX_HARDWARE,
            stamps_all: words[7] & FILTER_ALL != 0,
            clock: u32::try_from(words[2].cast_signed()).ok(),
        }),
    )
}

pub(super) fn features(interface: &str) -> Fact<Vec<Feature>> {
    fact("ETHTOOL_GFEATURES", read_features(interface))
}

fn read_features(interface: &str) -> io::Result<Vec<Feature>> {
    // struct ethtool_sset_info: command, reserved, a mask of 64 bits, then a number for each bit.
    let mut sets = command::<5>(GSSET_INFO);
    sets[2] = 1 << FEATURE_NAMES;
    let count = ask(interface, sets)?[4] as usize;
    // The kernel writes all names, however many were asked for.
    if !(1..=FEATURES_MAX).contains(&count) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    // struct ethtool_gstrings: command, set, number of strings, then 32 bytes each.
    let mut names = command::<{ 3 + FEATURES_MAX * NAME_BYTES / 4 }>(GSTRINGS);
    names[1] = FEATURE_NAMES;
    names[2] = u32::try_from(count).expect("at most 256");
    let names = ask(interface, names)?;
    // struct ethtool_gfeatures: command, number of blocks; a block is available, requested, active and never changed.
    let mut blocks = command::<{ 2 + FEATURES_MAX / 32 * 4 }>(GFEATURES);
    blocks[1] = u32::try_from(FEATURES_MAX / 32).expect("8");
    let blocks = ask(interface, blocks)?;
    Ok((0..count)
        .filter_map(|bit| feature(bit, &text(&names, 12 + bit * NAME_BYTES, NAME_BYTES), &blocks[2..]))
        .collect())
}

/// Bits that have no name are none.
fn feature(bit: usize, name: &str, blocks: &[u32]) -> Option<Feature> {
    let block: &[u32] = blocks.get(bit / 32 * 4..bit / 32 * 4 + 4)?;
    let has = |word: usize| block[word] & 1 << (bit % 32) != 0;
    let (available, active, never_changed) = (has(0), has(2), has(3));
    (!name.is_empty()).then(|| Feature { name: name.to_owned(), is_on: active, is_fixed: !available || never_changed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_is_found_in_its_block() {
        // Bit 33: available and active; bit 34: active, and not to be changed.
        let blocks = [0, 0, 0, 0, 0b010, 0, 0b110, 0b100];
        let expected = |name: &str, is_on, is_fixed| Some(Feature { name: name.to_owned(), is_on, is_fixed });
        assert_eq!(feature(33, "rx-gro", &blocks), expected("rx-gro", true, false));
        assert_eq!(feature(34, "rx-lro", &blocks), expected("rx-lro", true, true));
        assert_eq!(feature(1, "tx", &blocks), expected("tx", false, true));
        assert_eq!(feature(2, "", &blocks), None);
        assert_eq!(feature(64, "beyond", &blocks), None);
    }

    #[test]
    fn texts_end_at_their_zero() {
        let words: Vec<u32> =
            b"....veth\0xxx".chunks(4).map(|four| u32::from_ne_bytes(four.try_into().unwrap())).collect();
        assert_eq!(
            (text(&words, 4, 8), text(&words, 4, 3), text(&words, 99, 4)),
            ("veth".into(), "vet".into(), String::new())
        );
    }

    /// Loopback is everywhere, and has features, whose names are the kernel's.
    #[test]
    fn the_features_of_loopback_are_read() {
        let features = features("lo").found.unwrap();
        assert!(
            features.iter().any(|feature| feature.name == "loopback" && feature.is_on && feature.is_fixed),
            "{features:?}"
        );
        assert!(features.iter().any(|feature| feature.name == "rx-gro"), "{features:?}");
        assert!(super::features("no-such-if").found.is_err());
    }
}
