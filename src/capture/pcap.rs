//! The classic capture file (draft-ietf-opsawg-pcap): a header of 24 bytes, then records of 16 bytes and a frame.
//! Both byte orders, micro- and nanoseconds, and the variant of Alexey Kuznetzov whose records have 24 bytes.

use tickscope_model::{LinkType, Timestamp};

/// Length of the file header.
pub(super) const HEADER: usize = 24;

/// Bytes before a frame, in all files but those of the variant.
pub(super) const COMMON_HEADER: usize = 16;

/// How the records of this file are to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Records {
    big_endian: bool,
    /// Nanoseconds in a unit of the fraction: 1 or 1000.
    pub(super) unit_ns: u32,
    /// Bytes before the frame: 16 or 24.
    pub(super) header: usize,
    /// A captured length above this is damage.
    pub(super) limit: u32,
}

/// What the file header says of the file's only interface.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) records: Records,
    pub(super) link: LinkType,
    pub(super) fcs_bytes: Option<u8>,
}

/// The head of a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) time: Timestamp,
    pub(super) captured: u32,
    pub(super) wire_len: u32,
}

const MICRO: u32 = 0xa1b2_c3d4;
const NANO: u32 = 0xa1b2_3c4d;
const MODIFIED: u32 = 0xa1b2_cd34;

/// Longest frame that libpcap and Wireshark accept, too; files that announce more get up to four times as much.
const LONGEST_FRAME: u32 = 256 << 10;

/// Whether a file that begins like this is a classic capture.
pub(super) fn is_pcap(start: &[u8]) -> bool {
    let Some(&magic) = start.first_chunk::<4>() else { return false };
    [u32::from_le_bytes(magic), u32::from_be_bytes(magic)].iter().any(|magic| matches!(*magic, MICRO | NANO | MODIFIED))
}

/// Reads the file header, whose magic number was checked. `Err` says what is wrong with it.
pub(super) fn header(bytes: &[u8; HEADER]) -> Result<Header, String> {
    let words = bytes.as_chunks::<4>().0;
    let [magic, version, _zone, _accuracy, snaplen, link] = words else { return Err("header cut short".to_owned()) };
    let big_endian = matches!(u32::from_be_bytes(*magic), MICRO | NANO | MODIFIED);
    let word = |bytes: &[u8; 4]| if big_endian { u32::from_be_bytes(*bytes) } else { u32::from_le_bytes(*bytes) };
    let (unit_ns, header) = match word(magic) {
        NANO => (1, 16),
        MODIFIED => (1000, 24),
        _ => (1000, 16),
    };
    let (major, minor) = match (big_endian, word(version)) {
        (true, both) => (both >> 16, both & 0xffff),
        (false, both) => (both & 0xffff, both >> 16),
    };
    if major != 2 {
        return Err(format!("pcap version {major}.{minor}; only 2.x is known"));
    }
    let link = word(link);
    // Bit 26: frames carry a check sequence, of as many 16-bit words as bits 28 to 31 say.
    let fcs_bytes = (link & 0x0400_0000 != 0).then(|| u8::try_from(link >> 28).unwrap_or(0) * 2);
    let number = u16::try_from(link & 0xffff).unwrap_or(u16::MAX);
    let limit = word(snaplen).clamp(LONGEST_FRAME, 4 * LONGEST_FRAME);
    Ok(Header {
        records: Records { big_endian, unit_ns, header, limit },
        link: LinkType::from_number(number),
        fcs_bytes,
    })
}

impl Records {
    /// The head of a record; `None` where fewer than 16 bytes are left.
    #[inline]
    pub(super) fn record(&self, bytes: &[u8]) -> Option<Record> {
        let (head, _) = bytes.split_first_chunk::<16>()?;
        let words = if self.big_endian { words_be(head) } else { words_le(head) };
        let [seconds, fraction, captured, wire_len] = words;
        let time = u64::from(seconds) * 1_000_000_000 + u64::from(fraction) * u64::from(self.unit_ns);
        Some(Record { time: Timestamp(time), captured, wire_len })
    }

    /// Whether heads are of the kind that nearly all files have: little-endian and 16 bytes long.
    pub(super) fn is_common(&self) -> bool {
        !self.big_endian && self.header == COMMON_HEADER
    }

    /// The resolution byte that pcapng would use for this clock.
    pub(super) fn resolution(&self) -> u8 {
        if self.unit_ns == 1 { 9 } else { super::clock::MICROSECONDS }
    }
}

#[inline]
fn words_le(head: &[u8; 16]) -> [u32; 4] {
    let all = u128::from_le_bytes(*head);
    // Truncation is the point: four words of one load.
    #[allow(clippy::cast_possible_truncation, reason = "takes the low 32 bits on purpose")]
    [all as u32, (all >> 32) as u32, (all >> 64) as u32, (all >> 96) as u32]
}

#[inline]
fn words_be(head: &[u8; 16]) -> [u32; 4] {
    words_le(head).map(u32::swap_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_header(words: [u32; 6], swap: bool) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        for (place, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(words) {
            *place = if swap { word.to_be_bytes() } else { word.to_le_bytes() };
        }
        bytes
    }

    #[test]
    fn byte_order_and_unit_come_from_the_magic_number() {
        for (magic, unit_ns, length) in [(MICRO, 1000, 16), (NANO, 1, 16), (MODIFIED, 1000, 24)] {
            // draft-ietf-opsawg-pcap, figure 1: major version before minor version, each 16 bits.
            for (swap, version) in [(false, 0x0004_0002), (true, 0x0002_0004)] {
                let bytes = file_header([magic, version, 0, 0, 65535, 113], swap);
                assert!(is_pcap(&bytes));
                let header = header(&bytes).unwrap();
                assert_eq!(header.link, LinkType::LinuxSll);
                assert_eq!((header.records.unit_ns, header.records.header), (unit_ns, length));
                let head: Vec<u8> = [1_700_000_000_u32, 123_456, 60, 1514]
                    .iter()
                    .flat_map(|word| if swap { word.to_be_bytes() } else { word.to_le_bytes() })
                    .collect();
                let record = header.records.record(&head).unwrap();
                assert_eq!(record.time.0, 1_700_000_000_000_000_000 + 123_456 * u64::from(unit_ns));
                assert_eq!((record.captured, record.wire_len), (60, 1514));
                assert!(header.records.record(&head[..15]).is_none());
            }
        }
    }

    #[test]
    fn check_sequence_bits_are_no_link_type() {
        let plain = header(&file_header([NANO, 0x0004_0002, 0, 0, 0, 1], false)).unwrap();
        assert_eq!((plain.link, plain.fcs_bytes), (LinkType::Ethernet, None));
        let with_fcs = header(&file_header([NANO, 0x0004_0002, 0, 0, 0, 0x2400_0001], false)).unwrap();
        assert_eq!((with_fcs.link, with_fcs.fcs_bytes), (LinkType::Ethernet, Some(4)));
    }

    #[test]
    fn an_unknown_version_is_refused() {
        let wrong = header(&file_header([NANO, 0x0004_0003, 0, 0, 0, 1], false)).unwrap_err();
        assert_eq!(wrong, "pcap version 3.4; only 2.x is known");
    }
}
