//! Blocks of pcapng (draft-ietf-opsawg-pcapng) for recordings and for parts of the flight recorder: little endian, times in
//! nanoseconds, interfaces called as the taps, each frame with the way it went. Files of single frames (the answer of the query
//! `packets`) also say of each, as its comment, where it stood.

use tickscope_model::{LinkType, Timestamp};

/// A block's type and its two lengths.
const FRAME: usize = 12;
/// Of an Enhanced Packet Block, everything but the frame, its padding and comments.
const PACKET: usize = FRAME + 20 + FLAGS;
/// `epb_flags`, and the end of options.
const FLAGS: usize = 12;

const COMMENT: u16 = 1;
/// Nothing is cut on purpose.
const SNAPLEN: u32 = 0;

/// A frame to be written.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// By the order of the interfaces.
    pub interface: u16,
    pub time: Timestamp,
    pub wire_len: u32,
    /// By this host, not received; `None` where nobody knows.
    pub is_sent: Option<bool>,
    pub bytes: &'a [u8],
}

/// What became of an interface's frames up to a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Matched, counted by the kernel before anything can be lost.
    pub seen: u64,
    /// Lost in NIC, ring or queue.
    pub dropped: u64,
    /// Given to the stages.
    pub used: u64,
}

/// Section Header Block: begins a file.
pub fn section(out: &mut Vec<u8>, comment: &str) {
    block(out, 0x0A0D_0D0A, |out| {
        out.extend_from_slice(&0x1A2B_3C4D_u32.to_le_bytes());
        out.extend_from_slice(&[1, 0, 0, 0]);
        out.extend_from_slice(&u64::MAX.to_le_bytes());
        option(out, COMMENT, comment.as_bytes());
        option(out, 4, concat!("tickscope ", env!("CARGO_PKG_VERSION")).as_bytes());
        end_of_options(out);
    });
}

/// Interface Description Block.
pub fn interface(out: &mut Vec<u8>, link: LinkType, name: &str, comment: &str) {
    block(out, 1, |out| {
        out.extend_from_slice(&link.number().to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&SNAPLEN.to_le_bytes());
        option(out, COMMENT, comment.as_bytes());
        option(out, 2, name.as_bytes());
        // if_tsresol: times are in 10^-9 seconds.
        option(out, 9, &[9]);
        end_of_options(out);
    });
}

/// Bytes that [`packet`] adds without comments.
pub(super) fn packet_len(bytes: usize) -> usize {
    PACKET + bytes.next_multiple_of(4)
}

/// Enhanced Packet Block.
#[inline]
pub fn packet(out: &mut Vec<u8>, packet: &Packet<'_>, comment: &str) {
    block(out, 6, |out| {
        out.extend_from_slice(&u32::from(packet.interface).to_le_bytes());
        time(out, packet.time);
        out.extend_from_slice(&length(packet.bytes).to_le_bytes());
        out.extend_from_slice(&packet.wire_len.max(length(packet.bytes)).to_le_bytes());
        out.extend_from_slice(packet.bytes);
        pad(out, packet.bytes.len());
        option(out, COMMENT, comment.as_bytes());
        // epb_flags: inbound, outbound, or unknown.
        option(out, 2, &packet.is_sent.map_or(0, |is_sent| 1 + u32::from(is_sent)).to_le_bytes());
        end_of_options(out);
    });
}

/// Interface Statistics Block.
pub(super) fn statistics(out: &mut Vec<u8>, interface: u16, at: Timestamp, counts: &Counts) {
    block(out, 5, |out| {
        out.extend_from_slice(&u32::from(interface).to_le_bytes());
        time(out, at);
        // isb_ifrecv, isb_ifdrop, isb_usrdeliv.
        for (code, value) in [(4, counts.seen), (5, counts.dropped), (8, counts.used)] {
            option(out, code, &value.to_le_bytes());
        }
        end_of_options(out);
    });
}

/// Its two lengths are put around what `fill` adds.
#[inline]
fn block(out: &mut Vec<u8>, kind: u32, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    fill(out);
    let total = u32::try_from(out.len() - start + 4).expect("no frame is that long");
    out[start + 4..start + 8].copy_from_slice(&total.to_le_bytes());
    out.extend_from_slice(&total.to_le_bytes());
}

/// Options without a value are left out; a longer text than pcapng knows is cut.
#[inline]
fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    let value = &value[..value.len().min(usize::from(u16::MAX))];
    if value.is_empty() {
        return;
    }
    out.extend_from_slice(&code.to_le_bytes());
    out.extend_from_slice(&u16::try_from(value.len()).expect("cut to it").to_le_bytes());
    out.extend_from_slice(value);
    pad(out, value.len());
}

fn end_of_options(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0; 4]);
}

#[inline]
fn pad(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(&[0; 3][..length.next_multiple_of(4) - length]);
}

/// The upper half first.
#[inline]
fn time(out: &mut Vec<u8>, time: Timestamp) {
    out.extend_from_slice(&time.0.rotate_left(32).to_le_bytes());
}

#[inline]
fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("no frame is that long")
}

/// The first comment of each packet of a file that was written here, where it has one.
pub fn comments(pcapng: &[u8]) -> Vec<Option<String>> {
    let number = |bytes: &[u8], at: usize| bytes.get(at..)?.first_chunk().map(|four| u32::from_le_bytes(*four));
    let (mut rest, mut found) = (pcapng, Vec::new());
    while let (Some(kind), Some(length)) = (number(rest, 0), number(rest, 4)) {
        let Some((block, behind)) = rest.split_at_checked(length as usize).filter(|_| length as usize >= FRAME) else {
            break;
        };
        if kind == 6 {
            let captured = number(block, 20).unwrap_or(0) as usize;
            found.push(comment(block.get(28 + captured.next_multiple_of(4)..).unwrap_or_default()));
        }
        rest = behind;
    }
    found
}

fn comment(mut options: &[u8]) -> Option<String> {
    loop {
        let (&[code, high, low, rest], value) = options.split_first_chunk()?;
        let (code, length) = (u16::from_le_bytes([code, high]), usize::from(u16::from_le_bytes([low, rest])));
        match code {
            0 => return None,
            COMMENT => return Some(String::from_utf8_lossy(value.get(..length)?).into_owned()),
            _ => options = value.get(length.next_multiple_of(4)..)?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_found_again() {
        let mut out = Vec::new();
        section(&mut out, "a file");
        interface(&mut out, LinkType::Ethernet, "md", "");
        let time = Timestamp(1);
        for (length, comment) in [(0, "one"), (61, ""), (1514, "another")] {
            let bytes = vec![7; length];
            packet(&mut out, &Packet { interface: 0, time, wire_len: 60, is_sent: None, bytes: &bytes }, comment);
        }
        let expected = [Some("one".to_owned()), None, Some("another".to_owned())];
        assert_eq!(comments(&out), expected);
        for cut in 0..out.len() {
            assert!(comments(&out[..cut]).len() <= 3);
        }
    }

    #[test]
    fn a_packet_is_as_long_as_was_said() {
        for length in [0, 1, 59, 60, 1514] {
            let mut out = Vec::new();
            let bytes = vec![7; length];
            let time = Timestamp(1);
            packet(&mut out, &Packet { interface: 0, time, wire_len: 60, is_sent: None, bytes: &bytes }, "");
            assert_eq!(out.len(), packet_len(length));
        }
    }
}
