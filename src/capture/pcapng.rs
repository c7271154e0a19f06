//! The blocks of a pcapng file (draft-ietf-opsawg-pcapng): sections, each in its own byte order, with interfaces,
//! packets in three kinds of block, and counters. What a block says is read here; `file.rs` walks from block to block.

use tickscope_model::LinkType;

use super::clock::{Clock, MICROSECONDS};

pub(super) const SECTION: u32 = 0x0a0d_0d0a;
pub(super) const INTERFACE: u32 = 1;
pub(super) const OLD_PACKET: u32 = 2;
pub(super) const SIMPLE_PACKET: u32 = 3;
pub(super) const STATISTICS: u32 = 5;
pub(super) const ENHANCED_PACKET: u32 = 6;

/// Wireshark gives a custom block a frame number of its own, so numbers only agree if we do the same.
pub(super) fn is_numbered(kind: u32) -> bool {
    matches!(kind, 0x0000_0bad | 0x4000_0bad)
}

/// Reads numbers in a section's byte order, from the front of a slice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    pub(super) big_endian: bool,
}

impl Order {
    /// Of the section whose first 12 bytes these are; `None` where the byte-order magic is neither.
    pub(super) fn of_section(head: &[u8; 12]) -> Option<Order> {
        match head {
            [.., 0x1a, 0x2b, 0x3c, 0x4d] => Some(Order { big_endian: true }),
            [.., 0x4d, 0x3c, 0x2b, 0x1a] => Some(Order { big_endian: false }),
            _ => None,
        }
    }

    #[inline]
    pub(super) fn u16(self, bytes: [u8; 2]) -> u16 {
        if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }

    #[inline]
    pub(super) fn u32(self, bytes: [u8; 4]) -> u32 {
        if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }

    fn u64(self, bytes: [u8; 8]) -> u64 {
        if self.big_endian { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) }
    }

    /// The word at `at`.
    #[inline]
    pub(super) fn word(self, bytes: &[u8], at: usize) -> Option<u32> {
        Some(self.u32(*bytes.get(at..)?.first_chunk::<4>()?))
    }
}

/// One packet as its block describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PacketBlock {
    /// Within its section.
    pub(super) interface: u32,
    pub(super) ticks: Option<u64>,
    /// Where in the block the frame begins.
    pub(super) start: usize,
    pub(super) captured: u32,
    pub(super) wire_len: u32,
}

/// Reads the head of an Enhanced Packet Block, which begins the slice.
#[inline]
pub(super) fn enhanced(order: Order, block: &[u8]) -> Option<PacketBlock> {
    enhanced_head(order, block).map(|(_, _, packet)| packet)
}

/// The same with the block's type and length, which may be another block's.
#[inline]
pub(super) fn enhanced_head(order: Order, block: &[u8]) -> Option<(u32, u32, PacketBlock)> {
    let (head, _) = block.split_first_chunk::<28>()?;
    let words: &[[u8; 4]] = head.as_chunks().0;
    let [kind, length, interface, high, low, captured, wire_len] = words else { return None };
    let ticks = u64::from(order.u32(*high)) << 32 | u64::from(order.u32(*low));
    let packet = PacketBlock {
        interface: order.u32(*interface),
        ticks: Some(ticks),
        start: 28,
        captured: order.u32(*captured),
        wire_len: order.u32(*wire_len),
    };
    Some((order.u32(*kind), order.u32(*length), packet))
}

/// The obsolete Packet Block: a 16-bit interface and a drop count where the newer one has 32 bits of interface.
pub(super) fn old_packet(order: Order, block: &[u8]) -> Option<PacketBlock> {
    let (head, _) = block.split_first_chunk::<12>()?;
    let [.., first, second, _, _] = *head;
    Some(PacketBlock { interface: u32::from(order.u16([first, second])), ..enhanced(order, block)? })
}

/// A Simple Packet Block: no time, and its captured length follows from the block's and the first interface's snaplen.
pub(super) fn simple(order: Order, block: &[u8], block_len: u32, snaplen: u32) -> Option<PacketBlock> {
    let wire_len = order.word(block, 8)?;
    let room = block_len.checked_sub(16)?;
    let snapped = if snaplen == 0 { wire_len } else { wire_len.min(snaplen) };
    Some(PacketBlock { interface: 0, ticks: None, start: 12, captured: snapped.min(room), wire_len })
}

/// What an Interface Description Block says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Description {
    pub(super) link: LinkType,
    pub(super) snaplen: u32,
    pub(super) name: Option<String>,
    pub(super) clock: Clock,
    pub(super) fcs_bytes: Option<u8>,
    /// Bits per second that the interface receives at.
    pub(super) speed: Option<u64>,
}

/// Names longer than this are cut: they only label a tap.
const NAME: usize = 128;

/// Reads an Interface Description Block; `block` may be cut behind some of its options.
pub(super) fn interface(order: Order, block: &[u8]) -> Option<Description> {
    let (head, options) = block.split_first_chunk::<16>()?;
    let [_, _, _, _, _, _, _, _, link_first, link_second, _, _, snaplen @ ..] = *head;
    let mut name = None;
    let mut description = None;
    let mut resolution = MICROSECONDS;
    let mut offset = 0;
    let mut fcs_bytes = None;
    let (mut speed, mut receive_speed) = (None, None);
    for (code, value) in (Options { order, rest: options }) {
        match (code, value) {
            (2, text) => name = Some(text_of(text)),
            (3, text) => description = Some(text_of(text)),
            (9, [value]) => resolution = *value,
            (8 | 17, value) => {
                // if_speed, and if_rxspeed, which is what counts for frames that were received.
                let bits = <[u8; 8]>::try_from(value).ok().map(|bytes| order.u64(bytes)).filter(|bits| *bits > 0);
                *if code == 17 { &mut receive_speed } else { &mut speed } = bits;
            }
            (13, [value]) => fcs_bytes = Some(*value),
            (14, value) => {
                if let Ok(bytes) = <[u8; 8]>::try_from(value) {
                    offset = order.u64(bytes).cast_signed();
                }
            }
            _ => {}
        }
    }
    Some(Description {
        link: LinkType::from_number(order.u16([link_first, link_second])),
        snaplen: order.u32(snaplen),
        name: name.filter(|name| !name.is_empty()).or(description.filter(|text| !text.is_empty())),
        clock: Clock::new(resolution, offset),
        fcs_bytes,
        speed: receive_speed.or(speed),
    })
}

fn text_of(bytes: &[u8]) -> String {
    let bytes = bytes.split(|&byte| byte == 0).next().unwrap_or(&[]);
    let text = String::from_utf8_lossy(bytes);
    text.chars().filter(|letter| !letter.is_control()).take(NAME).collect()
}

/// The interface of an Interface Statistics Block, and how many frames it and the system dropped together.
pub(super) fn statistics(order: Order, block: &[u8]) -> Option<(u32, Option<u64>)> {
    let interface = order.word(block, 8)?;
    let mut dropped = None;
    for (code, value) in (Options { order, rest: block.get(20..)? }) {
        // 5: isb_ifdrop, 7: isb_osdrop.
        if let (5 | 7, Ok(bytes)) = (code, <[u8; 8]>::try_from(value)) {
            dropped = Some(order.u64(bytes).saturating_add(dropped.unwrap_or(0)));
        }
    }
    Some((interface, dropped))
}

/// Code and value of each option, up to the end mark or the first that does not fit.
struct Options<'a> {
    order: Order,
    rest: &'a [u8],
}

impl<'a> Iterator for Options<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&[code_first, code_second, length_first, length_second], rest) = self.rest.split_first_chunk()?;
        let code = self.order.u16([code_first, code_second]);
        let length = usize::from(self.order.u16([length_first, length_second]));
        if code == 0 {
            return None;
        }
        let value = rest.get(..length)?;
        self.rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((code, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tickscope_model::Timestamp;

    const LITTLE: Order = Order { big_endian: false };

    /// An Interface Description Block with its options, without the length at its end.
    fn description(options: &[u8]) -> Vec<u8> {
        let mut block = vec![1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 4, 0];
        block.extend_from_slice(options);
        block
    }

    #[test]
    fn interface_options_are_read() {
        let block = description(&[
            2, 0, 4, 0, b'e', b't', b'h', b'0', // if_name
            9, 0, 1, 0, 9, 0, 0, 0, // if_tsresol: nanoseconds, padded
            14, 0, 8, 0, 1, 0, 0, 0, 0, 0, 0, 0, // if_tsoffset: one second
            13, 0, 1, 0, 4, 0, 0, 0, // if_fcslen
            8, 0, 8, 0, 0, 0xca, 0x9a, 0x3b, 0, 0, 0, 0, // if_speed: 1 Gb/s
            0, 0, 0, 0, 2, 0, 1, 0, b'x', 0, 0, 0, // nothing counts behind opt_endofopt
        ]);
        let interface = interface(LITTLE, &block).unwrap();
        assert_eq!(interface.name.as_deref(), Some("eth0"));
        assert_eq!((interface.link, interface.snaplen), (LinkType::Ethernet, 0x0004_0000));
        assert_eq!((interface.fcs_bytes, interface.speed), (Some(4), Some(1_000_000_000)));
        assert_eq!(interface.clock.time(5), Timestamp(1_000_000_005));
    }

    #[test]
    fn options_that_do_not_fit_end_the_list() {
        let block = description(&[2, 0, 200, 0, b'e']);
        assert_eq!(interface(LITTLE, &block).unwrap().name, None);
        assert!(interface(LITTLE, &block[..15]).is_none());
    }

    #[test]
    fn drops_of_interface_and_system_add_up() {
        let mut block = vec![5, 0, 0, 0, 60, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        block.extend_from_slice(&[4, 0, 8, 0, 99, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(statistics(LITTLE, &block), Some((3, None)));
        block.extend_from_slice(&[5, 0, 8, 0, 7, 0, 0, 0, 0, 0, 0, 0, 7, 0, 8, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(statistics(LITTLE, &block), Some((3, Some(9))));
    }

    #[test]
    fn three_kinds_of_packet() {
        let big = Order { big_endian: true };
        let mut block = vec![0; 28];
        block[8..28].copy_from_slice(&[0, 2, 0, 9, 0, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0, 60, 0, 0, 0, 64]);
        let packet = enhanced(big, &block).unwrap();
        assert_eq!((packet.interface, packet.ticks), (0x0002_0009, Some(0x1_0000_0005)));
        assert_eq!((packet.start, packet.captured, packet.wire_len), (28, 60, 64));
        assert_eq!(old_packet(big, &block).unwrap(), PacketBlock { interface: 2, ..packet });
        let packet = simple(big, &[0, 0, 0, 3, 0, 0, 0, 76, 0, 0, 0, 100], 76, 0).unwrap();
        assert_eq!((packet.ticks, packet.captured, packet.wire_len), (None, 60, 100));
        assert_eq!(simple(big, &[0, 0, 0, 3, 0, 0, 0, 76, 0, 0, 0, 100], 76, 40).unwrap().captured, 40);
        assert_eq!(simple(big, &[0, 0, 0, 3, 0, 0, 0, 12], 12, 0), None);
    }
}
