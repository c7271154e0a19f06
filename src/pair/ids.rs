//! Requests that carry the market data's own id: a configured rule says in which FIX tag it stands, and what of the
//! message it is. Where it names a message this is no inference.

use regex_lite::Regex;
use tickscope_model::{SymbolId, Timestamp};

use crate::book::{Entry, Tape};

/// A `[[trigger.id]]`.
#[derive(Clone, Debug)]
pub struct IdRule {
    /// The FIX tag, in the request.
    pub tag: u32,
    /// Which part of its text; the first group, or all that matches. `None`: all of it.
    pub regex: Option<Regex>,
    /// 2 to 36.
    pub base: u32,
    pub names: Named,
}

/// What of a market-data message an id is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// Its own number in its feed.
    Sequence,
    /// The number of the first message of its packet.
    PacketSequence,
    /// Match number or trade id.
    MatchNumber,
    /// The reference of the order or quote that it is about.
    QuoteEntryId,
}

impl Named {
    /// The names in the configuration.
    pub const NAMES: [(&'static str, Named); 4] = [
        ("sequence", Named::Sequence),
        ("packet_sequence", Named::PacketSequence),
        ("match_number", Named::MatchNumber),
        ("quote_entry_id", Named::QuoteEntryId),
    ];

    fn of(self, entry: &Entry) -> u64 {
        match self {
            Named::Sequence => entry.tick.sequence,
            Named::PacketSequence => entry.packet_sequence,
            Named::MatchNumber | Named::QuoteEntryId => entry.reference,
        }
    }
}

/// An id in a request, and what of a message it is.
pub(super) type Id = (Named, u64);

/// The id that a request carries by the first rule that finds one.
pub(super) fn in_request(rules: &[IdRule], message: &[u8]) -> Option<Id> {
    rules.iter().find_map(|rule| {
        let text = std::str::from_utf8(field(message, rule.tag)?).ok()?;
        let part = match &rule.regex {
            None => text,
            Some(regex) => {
                let found = regex.captures(text)?;
                found.get(1).or_else(|| found.get(0))?.as_str()
            }
        };
        let digits = if rule.base == 16 { part.strip_prefix("0x").unwrap_or(part) } else { part };
        Some((rule.names, u64::from_str_radix(digits, rule.base).ok()?))
    })
}

/// The value of the first field with this tag.
fn field(message: &[u8], tag: u32) -> Option<&[u8]> {
    let tag = tag.to_string();
    message.split(|&byte| byte == 1).find_map(|field| field.strip_prefix(tag.as_bytes())?.strip_prefix(b"="))
}

/// The earliest message that an id names, of those from `from` to `to`: first among those about the request's symbol,
/// then among all others that are kept.
pub(super) fn find(
    tape: &Tape,
    (named, id): Id,
    (point, symbol): (u16, Option<SymbolId>),
    (from, to): (Timestamp, Timestamp),
) -> Option<(SymbolId, Entry)> {
    // A sender with 32 bits for it keeps the lower ones.
    let is_it = |entry: &&Entry| named.of(entry) == id || id != 0 && named.of(entry) & 0xFFFF_FFFF == id;
    let own = symbol.and_then(|symbol| tape.between(point, symbol, from, to).find(is_it).map(|entry| (symbol, *entry)));
    own.or_else(|| {
        let others = tape.symbols(point).filter(|other| Some(*other) != symbol);
        let found = others.filter_map(|other| Some((other, *tape.between(point, other, from, to).find(is_it)?)));
        found.min_by_key(|(other, entry)| (entry.tick.time, *other))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &[u8] = b"8=FIX.4.4\x0135=D\x0111=A7-1f4\x019717=4711\x0144=11.5\x0110=000\x01";

    fn check(tag: u32, regex: Option<&str>, base: u32, expected: Option<u64>) {
        let regex = regex.map(|text| Regex::new(text).unwrap());
        let rule = IdRule { tag, regex, base, names: Named::Sequence };
        assert_eq!(in_request(&[rule], MESSAGE).map(|(_, id)| id), expected, "{tag}");
    }

    #[test]
    fn an_id_is_a_tag_or_a_part_of_it() {
        check(9717, None, 10, Some(4711));
        check(11, Some("-([0-9a-f]+)$"), 16, Some(0x1f4));
        check(11, Some("[A-Z]\\d"), 36, Some(10 * 36 + 7));
        check(11, None, 10, None);
        check(1, None, 10, None);
        check(4, None, 10, None);
    }
}
