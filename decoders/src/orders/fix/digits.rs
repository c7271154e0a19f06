//! Decimal digits of ASCII text, eight at a time in one word: the numbers of FIX are short, and a loop over their bytes
//! costs a mispredicted branch each.

/// Eight digits.
#[inline]
pub(super) fn eight(bytes: [u8; 8]) -> Option<u32> {
    let digits = u64::from_le_bytes(bytes) ^ 0x3030_3030_3030_3030;
    let beyond = (digits.wrapping_add(0x7676_7676_7676_7676) | digits) & 0x8080_8080_8080_8080;
    (beyond == 0).then(|| value(digits))
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
        for (text, expected) in [
            (b"99999999", Some(99_999_999)),
            (b"20261122", Some(20_261_122)),
            (b"00000007", Some(7)),
            (b"12:45678", None),
            (b"12/45678", None),
            (b"1234567\xb5", None),
        ] {
            assert_eq!(eight(*text), expected, "{}", String::from_utf8_lossy(text));
        }
    }
}
