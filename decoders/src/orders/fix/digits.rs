//! Decimal digits of ASCII text, eight at a time in one word: the numbers of FIX are short, and a loop over their bytes
//! costs a mispredicted branch each.

/// The first `count` of these bytes as a number; `None` where one of them is no digit. `count` is 1 to 8.
#[inline]
pub(super) fn short(bytes: [u8; 8], count: usize) -> Option<u32> {
    // Little-endian, so shifting up puts the digits last and zeros in front of them.
    let unused = 64 - 8 * (count as u64 & 15);
    let digits = (u64::from_le_bytes(bytes) ^ 0x3030_3030_3030_3030) << unused;
    // A byte above 9 gets its top bit from the sum, one above 127 has it.
    let beyond = (digits.wrapping_add(0x7676_7676_7676_7676) | digits) & 0x8080_8080_8080_8080;
    (beyond == 0).then(|| value(digits))
}

/// All eight.
#[inline]
pub(super) fn eight(bytes: [u8; 8]) -> Option<u32> {
    short(bytes, 8)
}

/// Eight digits 0 to 9, the most significant in the lowest byte: pairs, then fours, then all.
#[inline]
fn value(digits: u64) -> u32 {
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let high = (pairs & 0x0000_00ff_0000_00ff).wrapping_mul(0x000f_4240_0000_0064);
    let low = ((pairs >> 16) & 0x0000_00ff_0000_00ff).wrapping_mul(0x0000_2710_0000_0001);
    u32::try_from(high.wrapping_add(low) >> 32).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_read() {
        for (text, count, expected) in [
            (b"1=......", 1, Some(1)),
            (b"9717=xyz", 4, Some(9717)),
            (b"0012345=", 7, Some(12_345)),
            (b"99999999", 8, Some(99_999_999)),
            (b"20261122", 8, Some(20_261_122)),
            (b"1a=.....", 2, None),
            (b"12:45678", 8, None),
            (b"12/45678", 8, None),
            (b"1234567\xb5", 8, None),
        ] {
            assert_eq!(short(*text, count), expected, "{}", String::from_utf8_lossy(text));
        }
    }
}
