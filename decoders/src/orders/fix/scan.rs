//! The fields of one FIX message, found in place: `tag=value␁`, no copy and no allocation.
//! Data fields, which may hold SOH, are read by the length field in front of them;
//! which fields those are comes from the public data dictionaries (`data/fix/data_fields.txt`).

/// One field. Bytes that are no `tag=value` come as tag 0 with all of them as the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field<'a> {
    pub(super) tag: u32,
    pub(super) value: &'a [u8],
}

/// Reads the fields of a message from its first byte to its last. SOH is looked for in 64 bytes at a time, and what was found
/// waits as bits: so the search for one field's end does not have to wait for the reading of the field before.
pub(super) struct Fields<'a> {
    bytes: &'a [u8],
    /// Where the next field begins.
    at: usize,
    /// Where the 64 bytes begin that `found` is about.
    base: usize,
    /// A bit for each SOH that is still ahead.
    found: u64,
}

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Fields<'a> {
        Fields { bytes, at: 0, base: 0, found: block(bytes, 0) }
    }

    /// The position of the next SOH; the length of the message where none is left.
    #[inline]
    fn end(&mut self) -> usize {
        while self.found == 0 {
            self.base += 64;
            if self.base >= self.bytes.len() {
                return self.bytes.len();
            }
            self.found = block(self.bytes, self.base);
        }
        let end = self.base + self.found.trailing_zeros() as usize;
        self.found &= self.found - 1;
        end
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a third faster: the state of the scan stays in registers")]
    fn next(&mut self) -> Option<Field<'a>> {
        let at = self.at;
        let end = self.end();
        // A message ends with SOH; of one that does not, the rest is a field too.
        let segment = self.bytes.get(at..end).filter(|_| at < self.bytes.len())?;
        self.at = end + 1;
        let (tag, value) = tag(segment);
        if is_length(tag)
            && let Some(data_tag) = data_tag(tag)
            && let Some(end) = end_of_data(self.bytes, self.at, data_tag, value)
        {
            self.base = end & !63;
            self.found = block(self.bytes, self.base) & (u64::MAX << (end % 64));
        }
        Some(Field { tag, value })
    }
}

const SOH: u8 = 1;

/// Where the data field that a length field announced ends: it has to come next, and to end with SOH.
/// (Everything by value: with a reference to it the state of the scan would live in memory.)
#[cold]
fn end_of_data(bytes: &[u8], at: usize, data_tag: u32, length: &[u8]) -> Option<usize> {
    let rest = bytes.get(at..)?;
    let head = rest.get(..rest.len().min(10))?;
    let (_, value) = long_tag(head).filter(|found| found.0 == data_tag)?;
    let end = (at + head.len() - value.len()).checked_add(number(length)?)?;
    (bytes.get(end) == Some(&SOH)).then_some(end)
}

/// A bit for each of the 64 bytes at `base` that is SOH.
#[inline]
fn block(bytes: &[u8], base: usize) -> u64 {
    match bytes.get(base..).and_then(<[u8]>::first_chunk) {
        Some(chunk) => matches(chunk),
        None => last_block(bytes, base),
    }
}

/// The same where fewer are left.
#[inline(never)]
fn last_block(bytes: &[u8], base: usize) -> u64 {
    let rest = bytes.get(base..).unwrap_or_default();
    if let Some(chunk) = bytes.last_chunk() {
        // The last 64 bytes of the message hold the rest of it and some that were looked at before.
        return matches(chunk).unbounded_shr(64 - u32::try_from(rest.len()).unwrap_or(0));
    }
    let mut short = [0; 64];
    for (to, from) in short.iter_mut().zip(rest) {
        *to = *from;
    }
    matches(&short)
}

#[inline]
fn matches(chunk: &[u8; 64]) -> u64 {
    // The compiler makes vector operations of this loop.
    let mut is_soh = [0_u8; 64];
    for (to, from) in is_soh.iter_mut().zip(chunk) {
        *to = u8::from(*from == SOH);
    }
    let (words, _) = is_soh.as_chunks::<8>();
    let mut bits = 0;
    for (position, word) in words.iter().enumerate() {
        // The eight low bits, gathered into one byte.
        bits |= (u64::from_le_bytes(*word).wrapping_mul(0x0102_0408_1020_4080) >> 56) << (position * 8);
    }
    bits
}

/// Tag and value of a field; tag 0 and everything where it is none.
#[inline]
fn tag(segment: &[u8]) -> (u32, &[u8]) {
    let digit = |byte: u8| u32::from(byte.wrapping_sub(b'0'));
    let (tag, highest, value) = match *segment {
        [a, b, b'=', ref value @ ..] => (digit(a) * 10 + digit(b), digit(a).max(digit(b)), value),
        [a, b, c, b'=', ref value @ ..] => {
            (digit(a) * 100 + digit(b) * 10 + digit(c), digit(a).max(digit(b)).max(digit(c)), value)
        }
        [a, b'=', ref value @ ..] => (digit(a), digit(a), value),
        _ => return long_tag(segment).unwrap_or((0, segment)),
    };
    if highest < 10 && tag > 0 { (tag, value) } else { (0, segment) }
}

/// Any tag of up to nine digits.
#[cold]
fn long_tag(segment: &[u8]) -> Option<(u32, &[u8])> {
    let digits = segment.iter().take(10).position(|&byte| byte == b'=')?;
    let add = |tag: u32, byte: &u8| byte.is_ascii_digit().then(|| tag * 10 + u32::from(byte - b'0'));
    let tag = segment.get(..digits)?.iter().try_fold(0, add)?;
    (tag > 0).then(|| (tag, segment.get(digits + 1..).unwrap_or_default()))
}

fn number(value: &[u8]) -> Option<usize> {
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
pub(super) static DATA_FIELDS: [(u32, u32); COUNT] = data_fields();

const COUNT: usize = pairs(&mut [(0, 0); 256]);

#[expect(clippy::indexing_slicing, reason = "runs in the compiler, on a checked-in file")]
const fn data_fields() -> [(u32, u32); COUNT] {
    let mut all = [(0, 0); 256];
    let mut exact = [(0, 0); COUNT];
    let mut at = pairs(&mut all);
    while at > 0 {
        at -= 1;
        exact[at] = all[at];
    }
    exact
}

/// A bit for each tag below 65 536: set for length fields.
static IS_LENGTH: [u64; 1024] = length_bits();

#[expect(clippy::indexing_slicing, reason = "runs in the compiler, on a checked-in file")]
const fn length_bits() -> [u64; 1024] {
    let pairs = data_fields();
    let mut bits = [0; 1024];
    let mut at = 0;
    while at < COUNT {
        bits[(pairs[at].0 / 64) as usize] |= 1 << (pairs[at].0 % 64);
        at += 1;
    }
    bits
}

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

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a test may panic")]
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
                let mut fields = Fields::new(&bytes);
                assert_eq!((fields.end(), fields.end()), (at, length));
            }
        }
    }
}
