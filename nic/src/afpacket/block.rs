//! Reading a block of a TPACKET_V3 ring: headers as the kernel wrote them, and never trusted. Layout: `tpacket_block_desc`,
//! `tpacket3_hdr` and `sockaddr_ll` of Linux `if_packet.h`; Documentation/networking/packet_mmap.rst.

use std::ops::Range;

/// Whose block it is; the first word of `tpacket_hdr_v1`.
pub(super) const STATUS: usize = 8;
const PACKETS: usize = 12;
const FIRST_PACKET: usize = 16;
const BLOCK_LENGTH: usize = 20;
const BLOCK_HEADER: usize = 48;

/// `tpacket3_hdr` is 48 bytes, the `sockaddr_ll` behind it 20.
const ADDRESS: usize = 48;
const HEADER: usize = 68;
/// Destination and source address, before which a VLAN tag is not.
const ADDRESSES: usize = 12;
/// Bytes of a tag.
pub(super) const TAG: usize = 4;

pub(super) const STATUS_CHECKSUM_NOT_READY: u32 = libc::TP_STATUS_CSUMNOTREADY;
const STATUS_VLAN: u32 = libc::TP_STATUS_VLAN_VALID;
const STATUS_VLAN_PROTOCOL: u32 = libc::TP_STATUS_VLAN_TPID_VALID;
/// Segments put together by GRO; since Linux 6.1.
pub(super) const STATUS_GSO: u32 = 1 << 8;
pub(super) const STATUS_HARDWARE: u32 = libc::TP_STATUS_TS_RAW_HARDWARE;

const ETHERNET_VLAN: u16 = 0x8100;

/// How far a block has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cursor {
    offset: usize,
    end: usize,
    left: u32,
}

/// A frame's place in the block and what its header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) bytes: Range<usize>,
    pub(super) wire_len: u32,
    pub(super) stamp_ns: u64,
    pub(super) status: u32,
    pub(super) is_outgoing: bool,
    pub(super) has_tag_put_back: bool,
}

fn u16_at(block: &[u8], at: usize) -> Option<u16> {
    block.get(at..at.checked_add(2)?)?.try_into().ok().map(u16::from_ne_bytes)
}

fn u32_at(block: &[u8], at: usize) -> Option<u32> {
    block.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_ne_bytes)
}

fn usize_at(block: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32_at(block, at)?).ok()
}

impl Cursor {
    /// The begin of a block. Where its own header points outside it, there is no frame in it: the first one is lost.
    pub(super) fn open(block: &[u8]) -> Cursor {
        let word = |at| usize_at(block, at).unwrap_or(0);
        let possible = u32::try_from(block.len() / HEADER).unwrap_or(u32::MAX);
        let left = u32_at(block, PACKETS).unwrap_or(0).min(possible);
        let (offset, end) = (word(FIRST_PACKET), word(BLOCK_LENGTH).min(block.len()));
        Cursor { offset, end: if offset < BLOCK_HEADER { 0 } else { end }, left }
    }

    /// The next frame. `None` at the end; `Err` with how many frames are lost where a header points outside the block.
    pub(super) fn next(&mut self, block: &mut [u8]) -> Option<Result<Packet, u64>> {
        if self.left == 0 {
            return None;
        }
        let lost = u64::from(self.left);
        let packet = self.packet(block);
        if packet.is_none() {
            self.left = 0;
        }
        Some(packet.ok_or(lost))
    }

    fn packet(&mut self, block: &mut [u8]) -> Option<Packet> {
        let block = block.get_mut(..self.end)?;
        let header = self.offset;
        let step = usize_at(block, header)?;
        let (seconds, nanoseconds) = (u32_at(block, header + 4)?, u32_at(block, header + 8)?);
        let length = usize_at(block, header + 12)?;
        let wire_len = u32_at(block, header + 16)?;
        let status = u32_at(block, header + 20)?;
        let mac = usize::from(u16_at(block, header + 24)?);
        let packet_type = *block.get(header + ADDRESS + 10)?;
        let start = header + mac;
        let bytes = start..start.checked_add(length)?;
        if mac < HEADER || bytes.end > block.len() {
            return None;
        }
        let mut packet = Packet {
            bytes,
            wire_len: wire_len.max(u32::try_from(length).ok()?),
            stamp_ns: u64::from(seconds) * 1_000_000_000 + u64::from(nanoseconds),
            status,
            is_outgoing: packet_type == libc::PACKET_OUTGOING,
            has_tag_put_back: false,
        };
        put_tag_back(block, header, mac, &mut packet)?;
        self.left -= 1;
        if self.left > 0 {
            // Only forward, and past what belongs to this frame's header: a block ends in any case.
            if step < HEADER {
                return None;
            }
            self.offset = header.checked_add(step)?;
        }
        Some(packet)
    }
}

/// The kernel takes the outer tag out of a frame. The ring has room for it before the frame (PACKET_RESERVE).
fn put_tag_back(block: &mut [u8], header: usize, mac: usize, packet: &mut Packet) -> Option<()> {
    // The tag 0 without the bit is what kernels before 3.0 wrote for "none".
    if packet.status & STATUS_VLAN == 0 || packet.bytes.len() < ADDRESSES || mac < HEADER + TAG {
        return Some(());
    }
    let tag = u32_at(block, header + 32)?;
    let protocol = match u16_at(block, header + 36)? {
        protocol if packet.status & STATUS_VLAN_PROTOCOL != 0 => protocol,
        _ => ETHERNET_VLAN,
    };
    let start = packet.bytes.start;
    block.copy_within(start..start + ADDRESSES, start - TAG);
    let tag = u16::try_from(tag & 0xFFFF).ok()?;
    block.get_mut(start + ADDRESSES - TAG..start + ADDRESSES - TAG + 2)?.copy_from_slice(&protocol.to_be_bytes());
    block.get_mut(start + ADDRESSES - TAG + 2..start + ADDRESSES)?.copy_from_slice(&tag.to_be_bytes());
    packet.bytes.start -= TAG;
    packet.wire_len = packet.wire_len.saturating_add(4);
    packet.has_tag_put_back = true;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: usize = 82; // as the kernel places it with 4 bytes of reserve

    fn put32(block: &mut [u8], at: usize, value: u32) {
        block[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }

    fn put16(block: &mut [u8], at: usize, value: u16) {
        block[at..at + 2].copy_from_slice(&value.to_ne_bytes());
    }

    /// A block of frames of 60 bytes, each filled with its number.
    fn block(frames: u32) -> Vec<u8> {
        const STEP: u32 = 144;
        let mut block = vec![0; 4096];
        put32(&mut block, PACKETS, frames);
        put32(&mut block, FIRST_PACKET, 48);
        put32(&mut block, BLOCK_LENGTH, 48 + frames * STEP);
        for frame in 0..frames {
            let header = (48 + frame * STEP) as usize;
            put32(&mut block, header, if frame + 1 == frames { 0 } else { STEP });
            put32(&mut block, header + 4, 1_700_000_000);
            put32(&mut block, header + 8, frame);
            put32(&mut block, header + 12, 60);
            put32(&mut block, header + 16, 60);
            put16(&mut block, header + 24, u16::try_from(MAC).unwrap());
            block[header + ADDRESS + 10] = if frame % 2 == 1 { libc::PACKET_OUTGOING } else { 0 };
            block[header + MAC..header + MAC + 60].fill(u8::try_from(frame).unwrap());
        }
        block
    }

    fn read(block: &mut [u8]) -> Vec<Result<Packet, u64>> {
        let mut cursor = Cursor::open(block);
        std::iter::from_fn(|| cursor.next(block)).collect()
    }

    #[test]
    fn frames_of_a_block_come_in_order_with_time_and_direction() {
        let mut block = block(3);
        let packets = read(&mut block);
        assert_eq!(packets.len(), 3);
        for (number, packet) in packets.into_iter().enumerate() {
            let packet = packet.unwrap();
            assert_eq!(packet.stamp_ns, 1_700_000_000_000_000_000 + number as u64);
            assert_eq!(packet.is_outgoing, number % 2 == 1);
            assert!(block[packet.bytes].iter().all(|byte| usize::from(*byte) == number));
        }
    }

    #[test]
    fn the_tag_is_put_back_as_it_was_on_the_wire() {
        for (status, protocol, expected) in [
            (STATUS_VLAN | STATUS_VLAN_PROTOCOL, 0x88A8, [0x88, 0xA8, 0x60, 0x64]),
            (STATUS_VLAN, 0x1234, [0x81, 0x00, 0x60, 0x64]),
        ] {
            let mut block = block(1);
            for (place, byte) in block[48 + MAC..48 + MAC + 60].iter_mut().zip(0u8..) {
                *place = byte;
            }
            put32(&mut block, 48 + 20, status);
            put32(&mut block, 48 + 32, 0x6064);
            put16(&mut block, 48 + 36, protocol);
            let packet = read(&mut block).remove(0).unwrap();
            let bytes = &block[packet.bytes];
            assert_eq!((bytes.len(), packet.wire_len, packet.has_tag_put_back), (64, 64, true));
            assert_eq!(bytes[..12], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
            assert_eq!(bytes[12..16], expected);
            assert_eq!(bytes[16..18], [12, 13]);
        }
    }

    #[test]
    fn headers_that_point_outside_cost_their_frames_and_nothing_else() {
        // Field, value, how many good frames come before the end, how many are counted as lost.
        for (at, value, good, lost) in [
            (PACKETS, u32::MAX, 2, 4096 / 68 - 2), // the third says that none follows, so it cannot be right
            (PACKETS, 0, 0, 0),
            (FIRST_PACKET, 0, 0, 3),
            (FIRST_PACKET, u32::MAX, 0, 3),
            (BLOCK_LENGTH, 47, 0, 3),
            (BLOCK_LENGTH, 48, 0, 3),
            (BLOCK_LENGTH, 48 + 143, 1, 2), // cut where the second frame would begin
            (BLOCK_LENGTH, u32::MAX, 3, 0),
            (48, 0, 0, 3), // steps: none, less than a header, beyond the end
            (48, 67, 0, 3),
            (48, u32::MAX, 1, 2),
            (48 + 12, 4000, 0, 3), // lengths
            (48 + 12, u32::MAX, 0, 3),
        ] {
            let mut block = block(3);
            put32(&mut block, at, value);
            let packets = read(&mut block);
            let count = packets.iter().filter(|packet| packet.is_ok()).count();
            let counted: u64 = packets.iter().filter_map(|packet| packet.as_ref().err()).sum();
            assert_eq!((count, counted), (good, lost), "{at} = {value}");
        }
    }

    #[test]
    fn any_bytes_are_read_without_panic_and_come_to_an_end() {
        let mut state = 1u64;
        for _ in 0..20_000 {
            let mut block = block(3);
            for _ in 0..4 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let at = usize::try_from(state >> 40).unwrap() % 500;
                block[at] = state.to_le_bytes()[3];
            }
            assert!(read(&mut block).len() <= 4096 / HEADER + 1);
        }
    }
}
