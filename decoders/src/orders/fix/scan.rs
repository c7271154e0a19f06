//! The fields of one FIX message, found in place: `tag=value␁`, no copy and no allocation.
//! Data fields, which may hold SOH, are read by the length field in front of them;
//! which fields those are comes from the public data dictionaries (`data/fix/data_fields.txt`).

use super::digits;

/// One field. Bytes that are no `tag=value` come as tag 0 with all of them as the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field<'a> {
    pub(super) tag: u32,
    pub(super) value: &'a [u8],
}

/// Reads the fields of a message from its first byte to its last.
pub(super) struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
    ends: Ends<'a>,
    /// Tag and length of the data field that has to follow.
    data: Option<(u32, usize)>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Fields<'a> {
        Fields { bytes, at: 0, ends: Ends::new(bytes), data: None }
    }

    /// The end of the field at hand, if it is the announced data field and lies within the message.
    fn end_of_data(&self, tag: u32, value_at: usize) -> Option<usize> {
        let (data_tag, length) = self.data?;
        let end = value_at.checked_add(length)?;
        (data_tag == tag && self.bytes.get(end) == Some(&SOH)).then_some(end)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a third faster: the state of the scan stays in registers")]
    fn next(&mut self) -> Option<Field<'a>> {
        let at = self.at;
        let mut end = match self.ends.next() {
            Some(end) => end,
            // A message ends with SOH; of one that does not, the rest is a field too.
            None if at < self.bytes.len() => self.bytes.len(),
            None => return None,
        };
        let rest = self.bytes.get(at..).unwrap_or_default();
        let Some((tag, value_at)) = tag(rest, end - at) else {
            self.at = end + 1;
            self.data = None;
            return Some(Field { tag: 0, value: rest.get(..end - at).unwrap_or_default() });
        };
        if self.data.is_some() {
            if let Some(data_end) = self.end_of_data(tag, at + value_at) {
                end = data_end;
                self.ends.seek(end + 1);
            }
            self.data = None;
        }
        let value = rest.get(value_at..end - at).unwrap_or_default();
        if is_length(tag) {
            self.data = data_tag(tag).zip(length(value));
        }
        self.at = end + 1;
        Some(Field { tag, value })
    }
}

const SOH: u8 = 1;

/// The tag of the `tag=value` that ends at `end`, at most nine digits, and where its value begins.
#[inline]
fn tag(rest: &[u8], end: usize) -> Option<(u32, usize)> {
    if let Some(&word) = rest.first_chunk::<8>() {
        // Eight bytes at once: the position of '=' gives the number of digits.
        let equals = zero_bytes(u64::from_le_bytes(word) ^ 0x3d3d_3d3d_3d3d_3d3d);
        let digits = (equals.trailing_zeros() / 8) as usize;
        if 0 < digits && digits < end.min(8) {
            let tag = digits::short(word, digits)?;
            return (tag > 0).then_some((tag, digits + 1));
        }
    }
    slow_tag(rest.get(..end)?)
}

/// Near the end of a message, and for tags of eight and nine digits.
#[cold]
fn slow_tag(segment: &[u8]) -> Option<(u32, usize)> {
    let digits = segment.iter().take(10).position(|&byte| byte == b'=')?;
    let number = |tag: u32, byte: &u8| byte.is_ascii_digit().then(|| tag * 10 + u32::from(byte - b'0'));
    let tag = segment.get(..digits)?.iter().try_fold(0, number)?;
    (tag > 0).then_some((tag, digits + 1))
}

fn length(value: &[u8]) -> Option<usize> {
    if value.is_empty() || value.len() > 7 {
        return None;
    }
    value.iter().try_fold(0, |length, byte| byte.is_ascii_digit().then(|| length * 10 + usize::from(byte - b'0')))
}

/// Whether a data field may follow.
#[inline]
fn is_length(tag: u32) -> bool {
    IS_LENGTH.get((tag / 64) as usize).is_some_and(|bits| bits >> (tag % 64) & 1 == 1)
}

/// The data field that a length field announces.
pub(super) fn data_tag(tag: u32) -> Option<u32> {
    DATA_FIELDS.iter().find(|pair| pair.0 == tag).map(|pair| pair.1)
}

const TEXT: &[u8] = include_bytes!("../../../data/fix/data_fields.txt");

/// Pairs of length field and data field.
pub(super) const DATA_FIELDS: [(u32, u32); pairs(&mut [(0, 0); 256])] = {
    let mut all = [(0, 0); 256];
    let count = pairs(&mut all);
    let mut exact = [(0, 0); pairs(&mut [(0, 0); 256])];
    let mut at = 0;
    while at < count {
        exact[at] = all[at];
        at += 1;
    }
    exact
};

/// A bit for each tag below 65 536: set for length fields.
static IS_LENGTH: [u64; 1024] = {
    let mut bits = [0; 1024];
    let mut at = 0;
    while at < DATA_FIELDS.len() {
        bits[(DATA_FIELDS[at].0 / 64) as usize] |= 1 << (DATA_FIELDS[at].0 % 64);
        at += 1;
    }
    bits
};

/// Reads the lines `length data` of the dictionary's list while compiling; lines with `#` are comments.
#[expect(clippy::indexing_slicing, reason = "runs in the compiler, on a checked-in file")]
const fn pairs(into: &mut [(u32, u32); 256]) -> usize {
    let (mut at, mut count) = (0, 0);
    while at < TEXT.len() {
        let is_comment = TEXT[at] == b'#';
        let (mut first, mut second, mut column) = (0, 0, 0);
        while TEXT[at] != b'\n' {
            if !is_comment {
                match TEXT[at] {
                    b' ' => column += 1,
                    digit if column == 0 => first = first * 10 + (digit - b'0') as u32,
                    digit => second = second * 10 + (digit - b'0') as u32,
                }
            }
            at += 1;
        }
        at += 1;
        if !is_comment {
            into[count] = (first, second);
            count += 1;
        }
    }
    count
}

/// The positions of SOH, in order: 64 bytes are compared at a time, and what was found waits as bits.
struct Ends<'a> {
    bytes: &'a [u8],
    base: usize,
    found: u64,
}

impl<'a> Ends<'a> {
    fn new(bytes: &'a [u8]) -> Ends<'a> {
        Ends { bytes, base: 0, found: block(bytes, 0) }
    }

    #[inline]
    fn next(&mut self) -> Option<usize> {
        while self.found == 0 {
            self.base += 64;
            if self.base >= self.bytes.len() {
                return None;
            }
            self.found = block(self.bytes, self.base);
        }
        let position = self.base + self.found.trailing_zeros() as usize;
        self.found &= self.found - 1;
        Some(position)
    }

    /// Leaves out what lies in front of `position`.
    fn seek(&mut self, position: usize) {
        self.base = position & !63;
        self.found = block(self.bytes, self.base) & (u64::MAX << (position % 64));
    }
}

/// A bit for each of the 64 bytes at `base` that is SOH.
#[inline]
fn block(bytes: &[u8], base: usize) -> u64 {
    let rest = bytes.get(base..).unwrap_or_default();
    if let Some(chunk) = rest.first_chunk::<64>() {
        return matches(chunk);
    }
    let mut last = [0; 64];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    matches(&last)
}

#[inline]
fn matches(chunk: &[u8; 64]) -> u64 {
    // The compiler makes vector operations of this line.
    let is_soh = chunk.map(|byte| u8::from(byte == SOH));
    let (words, _) = is_soh.as_chunks::<8>();
    let mut bits = 0;
    for (position, word) in words.iter().enumerate() {
        // The eight low bits, gathered into one byte.
        bits |= (u64::from_le_bytes(*word).wrapping_mul(0x0102_0408_1020_4080) >> 56) << (position * 8);
    }
    bits
}

/// The top bit of every byte that is zero: where neither the byte nor its low seven bits plus 127 have that bit.
#[inline]
fn zero_bytes(word: u64) -> u64 {
    let low = 0x7f7f_7f7f_7f7f_7f7f;
    !(((word & low) + low) | word | low)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(message: &[u8], expected: &[(u32, &[u8])]) {
        let found: Vec<_> = Fields::new(message).map(|field| (field.tag, field.value)).collect();
        assert_eq!(found, expected, "{}", String::from_utf8_lossy(message));
    }

    #[test]
    fn fields_are_found_in_place() {
        check(b"8=FIX.4.2\x0135=D\x0155=\x01", &[(8, b"FIX.4.2"), (35, b"D"), (55, b"")]);
        check(b"58=a=b\x019717=x", &[(58, b"a=b"), (9717, b"x")]);
        check(b"x=1\x01=2\x010=3\x01\x01-5=1\x01", &[(0, b"x=1"), (0, b"=2"), (0, b"0=3"), (0, b""), (0, b"-5=1")]);
        check(b"1234567890=1\x01999999999=1\x01", &[(0, b"1234567890=1"), (999_999_999, b"1")]);
        check(
            b"1\x012=345678\x013a=4567\x0112345678=1\x01",
            &[(0, b"1"), (2, b"345678"), (0, b"3a=4567"), (12_345_678, b"1")],
        );
        check(b"", &[]);
    }

    #[test]
    fn data_fields_may_hold_soh() {
        check(b"95=5\x0196=a\x01b\x01c\x0155=X\x01", &[(95, b"5"), (96, b"a\x01b\x01c"), (55, b"X")]);
        check(b"93=1\x0189=\x01\x0110=000\x01", &[(93, b"1"), (89, b"\x01"), (10, b"000")]);
        // A length that does not end at SOH, reaches out of the message, or stands in front of another field is not believed.
        check(b"95=2\x0196=a\x01b\x01", &[(95, b"2"), (96, b"a"), (0, b"b")]);
        check(b"95=900\x0196=a\x0158=b\x01", &[(95, b"900"), (96, b"a"), (58, b"b")]);
        check(b"95=3\x0158=b\x0196=a\x01b\x01", &[(95, b"3"), (58, b"b"), (96, b"a"), (0, b"b")]);
        check(b"95=0\x0196=\x0158=b\x01", &[(95, b"0"), (96, b""), (58, b"b")]);
        let mut long = b"212=200\x01213=".to_vec();
        long.extend([SOH; 200]);
        long.extend(b"\x0155=X\x01");
        check(&long, &[(212, b"200"), (213, &[SOH; 200]), (55, b"X")]);
    }

    #[test]
    fn the_pairs_are_those_of_the_dictionaries() {
        assert_eq!(DATA_FIELDS.len(), 83);
        for pair in [(90, 91), (93, 89), (95, 96), (212, 213), (354, 355), (618, 619), (1525, 1527), (43111, 42982)] {
            assert_eq!(data_tag(pair.0), Some(pair.1));
        }
        assert_eq!([data_tag(9), data_tag(383), data_tag(96), data_tag(70_000)], [None; 4]);
    }

    #[test]
    fn every_position_of_soh_is_found() {
        for length in 0..200 {
            for at in 0..length {
                let mut bytes = vec![b'x'; length];
                bytes[at] = SOH;
                // 0x81 and 0x00 differ from SOH by one bit each.
                if at > 0 {
                    bytes[at - 1] = 0x81;
                }
                if at + 1 < length {
                    bytes[at + 1] = 0;
                }
                let mut ends = Ends::new(&bytes);
                assert_eq!((ends.next(), ends.next()), (Some(at), None));
            }
        }
    }
}
