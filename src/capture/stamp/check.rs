//! The frame check sequence of IEEE 802.3, eight bytes at a step.

/// Tables for a byte in each of eight places.
static TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        #[allow(clippy::cast_possible_truncation, reason = "below 256")]
        let mut rest = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            rest = if rest & 1 == 1 { rest >> 1 ^ 0xEDB8_8320 } else { rest >> 1 };
            bit += 1;
        }
        tables[0][byte] = rest;
        byte += 1;
    }
    let mut place = 1;
    while place < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[place - 1][byte];
            tables[place][byte] = before >> 8 ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        place += 1;
    }
    tables
}

/// The four bytes as they stand behind a frame.
pub(super) fn frame_check(bytes: &[u8]) -> [u8; 4] {
    let (eights, rest) = bytes.as_chunks::<8>();
    let mut sum = u32::MAX;
    for eight in eights {
        let mixed = u64::from_le_bytes(*eight) ^ u64::from(sum);
        sum = TABLES.iter().rev().zip(mixed.to_le_bytes()).fold(0, |sum, (table, byte)| sum ^ table[usize::from(byte)]);
    }
    for byte in rest {
        sum = sum >> 8 ^ TABLES[0][usize::from(byte ^ sum.to_le_bytes()[0])];
    }
    (!sum).to_le_bytes()
}

/// Whether a frame's last four bytes are its check sequence.
pub(super) fn is_checked(frame: &[u8]) -> bool {
    frame.split_last_chunk::<4>().is_some_and(|(front, check)| frame_check(front) == *check)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_test_string() {
        // The check value of CRC-32/ISO-HDLC in every catalogue of checksums.
        assert_eq!(frame_check(b"123456789"), 0xCBF4_3926_u32.to_le_bytes());
        assert_eq!(frame_check(b""), [0; 4]);
        assert!(is_checked(&[b"123456789".as_slice(), &0xCBF4_3926_u32.to_le_bytes()].concat()));
        assert!(!is_checked(b"123456789"));
        assert!(!is_checked(b"12"));
    }
}
