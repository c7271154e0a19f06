//! FIX tag=value messages (FIX 4.2, 4.4, 5.0 SP2 over FIXT 1.1; fixtrading.org): writing them, and reading them back
//! where the mock exchange, the gateway and the trader receive some.

use std::ops::Range;

use serde::Deserialize;

use crate::time::fix_time;

/// The byte between fields.
pub(crate) const SOH: u8 = 1;

/// Longer messages than this are taken for garbage.
const LONGEST: usize = 1 << 20;

/// Which FIX a session speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Version {
    #[serde(rename = "4.2")]
    Fix42,
    #[serde(rename = "4.4")]
    Fix44,
    #[serde(rename = "5.0sp2")]
    Fix50Sp2,
}

impl Version {
    /// Field 8.
    pub fn begin_string(self) -> &'static str {
        match self {
            Version::Fix42 => "FIX.4.2",
            Version::Fix44 => "FIX.4.4",
            Version::Fix50Sp2 => "FIXT.1.1",
        }
    }

    /// From field 8 of a message that came in.
    pub fn from_begin_string(text: &[u8]) -> Option<Version> {
        [Version::Fix42, Version::Fix44, Version::Fix50Sp2]
            .into_iter()
            .find(|version| version.begin_string().as_bytes() == text)
    }
}

/// The fields of a message behind its header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields(pub Vec<u8>);

impl Fields {
    pub(crate) fn new() -> Fields {
        Fields::default()
    }

    #[must_use]
    pub(crate) fn text(mut self, tag: u32, value: &str) -> Fields {
        put(&mut self.0, tag, value.as_bytes());
        self
    }

    #[must_use]
    pub(crate) fn number(self, tag: u32, value: u64) -> Fields {
        self.text(tag, &value.to_string())
    }

    /// A price in 1/10000, written with two digits, or four where they are needed.
    #[must_use]
    pub(crate) fn price(self, tag: u32, value: u32) -> Fields {
        self.text(tag, &price_text(value))
    }

    #[must_use]
    pub(crate) fn time(mut self, tag: u32, ns: u64, digits: u8) -> Fields {
        self.0.extend_from_slice(format!("{tag}=").as_bytes());
        fix_time(&mut self.0, ns, usize::from(digits));
        self.0.push(SOH);
        self
    }
}

/// A price in 1/10000 as decimal text.
pub(crate) fn price_text(value: u32) -> String {
    let (whole, part) = (value / 10_000, value % 10_000);
    if part % 100 == 0 { format!("{whole}.{:02}", part / 100) } else { format!("{whole}.{part:04}") }
}

/// Decimal text as a price in 1/10000; `None` where it is none, or does not fit.
pub(crate) fn parse_price(text: &str) -> Option<u32> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let part = part.trim_end_matches('0');
    if part.len() > 4 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part: u32 = format!("{part:0<4}").parse().ok()?;
    whole.parse::<u32>().ok()?.checked_mul(10_000)?.checked_add(part)
}

fn put(out: &mut Vec<u8>, tag: u32, value: &[u8]) {
    out.extend_from_slice(tag.to_string().as_bytes());
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(SOH);
}

/// What stands in a message's header beside its length.
#[derive(Clone, Debug)]
pub(crate) struct Header<'a> {
    pub version: Version,
    /// `MsgType` (35).
    pub kind: &'a str,
    pub sender: &'a str,
    pub target: &'a str,
    pub sequence: u64,
    pub sending: u64,
    /// `PossDupFlag`, with the time at which it was first sent.
    pub first_sent: Option<u64>,
    pub digits: u8,
}

/// A whole message with `BodyLength` and `CheckSum`.
pub(crate) fn encode(header: &Header<'_>, body: &[u8]) -> Vec<u8> {
    let mut inner = Vec::with_capacity(128 + body.len());
    put(&mut inner, 35, header.kind.as_bytes());
    put(&mut inner, 49, header.sender.as_bytes());
    put(&mut inner, 56, header.target.as_bytes());
    put(&mut inner, 34, header.sequence.to_string().as_bytes());
    if header.first_sent.is_some() {
        put(&mut inner, 43, b"Y");
    }
    let mut fields = Fields(inner).time(52, header.sending, header.digits);
    if let Some(first) = header.first_sent {
        fields = fields.time(122, first, header.digits);
    }
    let mut out = Vec::with_capacity(fields.0.len() + body.len() + 32);
    put(&mut out, 8, header.version.begin_string().as_bytes());
    put(&mut out, 9, (fields.0.len() + body.len()).to_string().as_bytes());
    out.extend_from_slice(&fields.0);
    out.extend_from_slice(body);
    let sum = checksum(&out);
    out.extend_from_slice(format!("10={sum:03}\u{1}").as_bytes());
    out
}

fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum: u8, &byte| sum.wrapping_add(byte))
}

/// A message that was received.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    bytes: Vec<u8>,
    fields: Vec<(u32, Range<usize>)>,
}

impl Received {
    fn new(bytes: Vec<u8>) -> Received {
        let mut fields = Vec::with_capacity(24);
        let mut at = 0;
        while let Some(length) = bytes[at..].iter().position(|&byte| byte == SOH) {
            let field = &bytes[at..at + length];
            if let Some(equals) = field.iter().position(|&byte| byte == b'=') {
                let tag = std::str::from_utf8(&field[..equals]).ok().and_then(|tag| tag.parse().ok());
                fields.extend(tag.map(|tag| (tag, at + equals + 1..at + length)));
            }
            at += length + 1;
        }
        Received { bytes, fields }
    }

    /// The first value of a tag; empty where it is absent or no text.
    pub(crate) fn text(&self, tag: u32) -> &str {
        self.find(tag).unwrap_or("")
    }

    /// The first value of a tag.
    pub(crate) fn find(&self, tag: u32) -> Option<&str> {
        let (_, range) = self.fields.iter().find(|(known, _)| *known == tag)?;
        std::str::from_utf8(&self.bytes[range.clone()]).ok()
    }

    pub(crate) fn number(&self, tag: u32) -> Option<u64> {
        self.find(tag)?.parse().ok()
    }

    /// `MsgType` (35).
    pub(crate) fn kind(&self) -> &str {
        self.text(35)
    }

    /// `MsgSeqNum` (34); 0 where it is absent.
    pub(crate) fn sequence(&self) -> u64 {
        self.number(34).unwrap_or(0)
    }

    /// The fields that a gateway passes on: all but header and trailer.
    pub(crate) fn body(&self) -> Fields {
        let mut out = Vec::with_capacity(self.bytes.len());
        for (tag, range) in &self.fields {
            if ![8, 9, 10, 34, 35, 43, 49, 52, 56, 97, 122].contains(tag) {
                put(&mut out, *tag, &self.bytes[range.clone()]);
            }
        }
        Fields(out)
    }
}

/// Cuts a stream of bytes into messages; garbled ones are passed over, as the session protocol asks.
#[derive(Debug, Default)]
pub(crate) struct Framer {
    buffer: Vec<u8>,
    /// Messages that were passed over.
    pub garbled: u64,
}

impl Framer {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message.
    pub(crate) fn pop(&mut self) -> Option<Received> {
        loop {
            let start = find(&self.buffer, b"8=FIX")?;
            self.buffer.drain(..start);
            let Some(end) = self.end()? else {
                // No length where it should be: look for the next message behind this one's first byte.
                self.garbled += 1;
                self.buffer.drain(..1);
                continue;
            };
            let rest = self.buffer.split_off(end);
            let message = std::mem::replace(&mut self.buffer, rest);
            let (content, trailer) = message.split_at(end - 7);
            if trailer == format!("10={:03}\u{1}", checksum(content)).as_bytes() {
                return Some(Received::new(message));
            }
            self.garbled += 1;
        }
    }

    /// Where the message at the front ends; `None` while bytes are missing, `Some(None)` if it is no message.
    #[allow(clippy::option_option, reason = "missing bytes and wrong bytes are two different things")]
    fn end(&self) -> Option<Option<usize>> {
        let head = find(&self.buffer, &[SOH])?;
        let length = find(&self.buffer[head + 1..], &[SOH]);
        let Some(length) = length else { return (self.buffer.len() > head + 20).then_some(None) };
        let field = &self.buffer[head + 1..head + 1 + length];
        let number = field.strip_prefix(b"9=").and_then(|text| std::str::from_utf8(text).ok()?.parse::<usize>().ok());
        match number {
            Some(number) if number <= LONGEST => {
                let end = head + 1 + length + 1 + number + 7;
                (self.buffer.len() >= end).then_some(Some(end))
            }
            _ => Some(None),
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(kind: &str) -> Header<'_> {
        Header {
            version: Version::Fix42,
            kind,
            sender: "SENDER",
            target: "TARGET",
            sequence: 7,
            sending: 1_767_623_400_123_456_789,
            first_sent: None,
            digits: 3,
        }
    }

    #[test]
    fn length_and_checksum_are_counted_as_the_specification_says() {
        let message = encode(&header("0"), b"");
        let text = String::from_utf8(message).unwrap().replace('\u{1}', "|");
        // 9: the bytes behind its own field up to and with the separator before 10.
        assert_eq!(text, "8=FIX.4.2|9=55|35=0|49=SENDER|56=TARGET|34=7|52=20260105-14:30:00.123|10=080|");
    }

    #[test]
    fn prices_are_text_both_ways() {
        for (value, text) in [(10_000, "1.00"), (123_456, "12.3456"), (123_400, "12.34"), (50, "0.0050")] {
            assert_eq!(price_text(value), text);
            assert_eq!(parse_price(text), Some(value));
        }
        assert_eq!(parse_price("12"), Some(120_000));
        for wrong in ["", "-1", "1.23456", "x", "1.2.3", "999999999"] {
            assert_eq!(parse_price(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn garbled_messages_are_passed_over() {
        let good = encode(&header("0"), b"112=x\x01");
        let mut bad = good.clone();
        bad[30] ^= 1;
        let mut framer = Framer::default();
        framer.push(b"noise 8=FIX\x01nonsense\x01");
        framer.push(&bad);
        framer.push(&good);
        assert_eq!(framer.pop().unwrap().text(112), "x");
        assert!(framer.pop().is_none());
        assert!(framer.garbled >= 2);
    }

    proptest! {
        #[test]
        fn any_cutting_of_the_stream_gives_the_same_messages(cuts in proptest::collection::vec(1_usize..40, 1..40)) {
            let mut stream = Vec::new();
            for number in 0..5 {
                stream.extend(encode(&header("D"), format!("11=ID{number}\u{1}58=8=FIX 9=3\u{1}").as_bytes()));
            }
            let mut framer = Framer::default();
            let mut ids = Vec::new();
            let mut cuts = cuts.iter().cycle();
            while !stream.is_empty() {
                let rest = stream.split_off((*cuts.next().unwrap()).min(stream.len()));
                framer.push(&std::mem::replace(&mut stream, rest));
                while let Some(message) = framer.pop() {
                    ids.push(message.text(11).to_owned());
                }
            }
            prop_assert_eq!(ids, ["ID0", "ID1", "ID2", "ID3", "ID4"]);
        }
    }
}
