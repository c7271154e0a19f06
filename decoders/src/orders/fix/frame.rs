//! Where one FIX message ends and the next begins in a TCP stream: BeginString (8), BodyLength (9) and CheckSum (10),
//! as in "FIX Session Layer", section "Message format" (<https://www.fixtrading.org/standards/tagvalue-online/>).
//! Every decision rests only on bytes in front of where it is made, so cutting the stream elsewhere changes nothing.

use memchr::memmem;

/// A message that claims a longer body than this has a wrong BodyLength, and is looked at as damaged at once.
pub(super) const BODY_LIMIT: usize = 1 << 20;

/// How far from its start the end of a message with a wrong BodyLength is searched.
pub(super) const RESYNC_LIMIT: usize = 64 * 1024;

const START: &[u8] = b"8=FIX";
/// `8=FIX…` to its SOH; the longest real one is `8=FIX.5.0SP2`, long out of use.
const BEGIN_LIMIT: usize = 24;
/// More digits than any length below the limit has, also with zeros in front.
const LENGTH_DIGITS: usize = 10;
/// `10=nnn␁`
const TRAILER: usize = 7;
const SOH: u8 = 1;

/// What stands at the front of the bytes at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// A message of `length` bytes. Damaged: BodyLength or CheckSum did not hold.
    Message { length: usize, damaged: bool },
    /// The beginning of a message without an end: it was cut, or its end cannot be found.
    Broken { length: usize },
    /// Bytes in front of the next message.
    Noise { length: usize },
    /// More bytes are needed to say.
    Partial,
}

/// Looks at the front of `input`.
pub(super) fn next(input: &[u8]) -> Frame {
    match header(input) {
        Header::Good { body, length: Some(length) } => whole(input, body, length),
        Header::Good { body, length: None } => resync(input, body),
        Header::Short => Frame::Partial,
        Header::Bad if input.is_empty() => Frame::Partial,
        Header::Bad => match find_start(input, 0) {
            0 => Frame::Partial,
            length => Frame::Noise { length },
        },
    }
}

/// Whether `input` holds the beginning of a message, by its first two fields.
pub(super) fn begins_message(input: &[u8]) -> bool {
    matches!(header(input), Header::Good { .. })
}

fn whole(input: &[u8], body: usize, length: usize) -> Frame {
    let trailer_at = body + length;
    let end = trailer_at + TRAILER;
    let (Some(message), Some(trailer)) = (input.get(..trailer_at), input.get(trailer_at..end)) else {
        return Frame::Partial;
    };
    match stated_checksum(trailer) {
        Some(stated) if message.last() == Some(&SOH) => {
            Frame::Message { length: end, damaged: u32::from(checksum(message)) != stated }
        }
        _ => resync(input, body),
    }
}

/// The sum of all bytes in front of the trailer, modulo 256.
fn checksum(message: &[u8]) -> u8 {
    message.iter().fold(0, |sum, &byte| sum.wrapping_add(byte))
}

/// The value of `10=nnn␁`; `None` where that is not what stands there.
fn stated_checksum(trailer: &[u8]) -> Option<u32> {
    let &[b'1', b'0', b'=', a, b, c, SOH] = trailer else { return None };
    let digit = |byte: u8| byte.is_ascii_digit().then(|| u32::from(byte - b'0'));
    Some(digit(a)? * 100 + digit(b)? * 10 + digit(c)?)
}

/// BodyLength cannot be used: the message ends with the first thing that looks like a trailer,
/// or is lost where the next message begins before that.
fn resync(input: &[u8], body: usize) -> Frame {
    let window = input.get(..RESYNC_LIMIT).unwrap_or(input);
    let next = find_start(window, START.len());
    let next_is_known = window.get(next..).is_some_and(begins_message);
    let searched = window.get(..next).unwrap_or(window);
    // The SOH before the trailer may be the one that ends BodyLength.
    let from = body.saturating_sub(1);
    for at in memmem::find_iter(searched.get(from..).unwrap_or_default(), b"\x0110=") {
        let trailer_at = from + at + 1;
        let end = trailer_at + TRAILER;
        if searched.get(trailer_at..end).and_then(stated_checksum).is_some() {
            return Frame::Message { length: end, damaged: true };
        }
    }
    if next_is_known {
        Frame::Broken { length: next }
    } else if input.len() < RESYNC_LIMIT {
        Frame::Partial
    } else {
        // Only what was recognised is given up; the search for the next message does the rest.
        Frame::Broken { length: START.len() }
    }
}

/// Where, at or after `from`, a message begins or may begin once more bytes are there; the length where it does not.
fn find_start(input: &[u8], from: usize) -> usize {
    let rest = input.get(from..).unwrap_or_default();
    for at in memmem::find_iter(rest, START) {
        if !matches!(header(rest.get(at..).unwrap_or_default()), Header::Bad) {
            return from + at;
        }
    }
    // The last bytes may be the beginning of "8=FIX".
    for kept in (1..START.len()).rev() {
        if rest.len() >= kept && rest.ends_with(START.get(..kept).unwrap_or_default()) {
            return input.len() - kept;
        }
    }
    input.len()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Header {
    /// Two good fields; `body` is where the third begins. Length: `None` where it is no number or beyond the limit.
    Good {
        body: usize,
        length: Option<usize>,
    },
    /// It may become a header with more bytes.
    Short,
    Bad,
}

fn header(input: &[u8]) -> Header {
    if !input.starts_with(START) {
        return if !input.is_empty() && START.starts_with(input) { Header::Short } else { Header::Bad };
    }
    let begin = input.get(START.len()..input.len().min(BEGIN_LIMIT)).unwrap_or_default();
    let name = begin.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'.').count();
    match begin.get(name) {
        Some(&SOH) => length_field(input, START.len() + name + 1),
        None if input.len() < BEGIN_LIMIT => Header::Short,
        _ => Header::Bad,
    }
}

fn length_field(input: &[u8], at: usize) -> Header {
    let rest = input.get(at..).unwrap_or_default();
    if rest.len() < 2 {
        return if b"9=".starts_with(rest) { Header::Short } else { Header::Bad };
    }
    let Some(value) = rest.strip_prefix(b"9=") else { return Header::Bad };
    let mut length: usize = 0;
    for (position, &byte) in value.iter().enumerate() {
        match byte {
            b'0'..=b'9' if position < LENGTH_DIGITS => {
                length = length.saturating_mul(10).saturating_add(usize::from(byte - b'0'));
            }
            SOH if position > 0 && length <= BODY_LIMIT => {
                return Header::Good { body: at + 2 + position + 1, length: Some(length) };
            }
            _ => return Header::Good { body: at + 2, length: None },
        }
    }
    Header::Short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body: &str) -> Vec<u8> {
        let mut bytes = format!("8=FIX.4.2\x019={}\x01{body}", body.len()).into_bytes();
        let sum = checksum(&bytes);
        bytes.extend_from_slice(format!("10={sum:03}\x01").as_bytes());
        bytes
    }

    #[test]
    fn length_and_checksum_decide() {
        // The example of the FIX 4.2 specification's checksum appendix has this shape.
        let good = message("35=0\x0134=2\x01");
        assert_eq!(next(&good), Frame::Message { length: good.len(), damaged: false });
        for cut in 0..good.len() {
            assert_eq!(next(&good[..cut]), Frame::Partial, "cut at {cut}");
        }
        let mut wrong_sum = good.clone();
        let at = wrong_sum.len() - 2;
        wrong_sum[at] ^= 1;
        assert_eq!(next(&wrong_sum), Frame::Message { length: good.len(), damaged: true });
    }

    #[test]
    fn wrong_lengths_end_at_the_trailer() {
        for length in ["9=5", "9=11", "9=0", "9=99999999", "9=", "9=abc", "9=-3", "9=99999999999999999999999"] {
            let bytes = format!("8=FIX.4.2\x01{length}\x0135=0\x0134=2\x0110=123\x01");
            let mut two = bytes.clone().into_bytes();
            two.extend_from_slice(bytes.as_bytes());
            assert_eq!(next(&two), Frame::Message { length: bytes.len(), damaged: true }, "{length}");
        }
    }

    #[test]
    fn a_message_without_end_stops_at_the_next() {
        let cut = b"8=FIX.4.2\x019=9999999\x0135=0\x0134=2\x01";
        let mut bytes = cut.to_vec();
        bytes.extend_from_slice(&message("35=0\x01"));
        assert_eq!(next(&bytes), Frame::Broken { length: cut.len() });
        let mut endless = cut.to_vec();
        endless.resize(RESYNC_LIMIT - 1, b'x');
        assert_eq!(next(&endless), Frame::Partial);
        endless.push(b'x');
        assert_eq!(next(&endless), Frame::Broken { length: 5 });
    }

    #[test]
    fn noise_ends_where_a_message_may_begin() {
        assert_eq!(next(b"55=A\x0158=FIX down\x0110=001\x018=FI"), Frame::Noise { length: 24 });
        assert_eq!(next(b"8=FIXED"), Frame::Partial);
        assert_eq!(next(b"8=FIX ED"), Frame::Noise { length: 8 });
        assert_eq!(next(b"\x01\x018=FIX.4.2\x019=5"), Frame::Noise { length: 2 });
        assert_eq!(next(b"zz"), Frame::Noise { length: 2 });
    }
}
