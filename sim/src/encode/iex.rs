//! IEX TOPS 1.6 and DEEP 1.0 messages (IEX's specifications of the same names). Little endian; times in nanoseconds
//! since the Unix epoch; prices have four decimals.

use crate::book::{Action, Change, Side};
use crate::market::Instrument;

fn head(out: &mut Vec<u8>, kind: u8, flags: u8, now: u64) {
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&now.to_le_bytes());
}

fn price(out: &mut Vec<u8>, price: u32) {
    out.extend_from_slice(&u64::from(price).to_le_bytes());
}

/// System Event: `O` start of messages, `S` start of system hours, `R` start of regular hours, `M` `E` `C` their ends.
pub(super) fn system_event(out: &mut Vec<u8>, now: u64, code: u8) -> &'static str {
    head(out, b'S', code, now);
    "System Event Message"
}

pub(super) fn directory(out: &mut Vec<u8>, now: u64, instrument: &Instrument) -> &'static str {
    head(out, b'D', 0, now);
    out.extend_from_slice(&instrument.padded);
    out.extend_from_slice(&instrument.lot.to_le_bytes());
    price(out, instrument.price);
    out.push(1); // LULD tier 1
    "Security Directory Message"
}

pub(super) fn trading(out: &mut Vec<u8>, now: u64, instrument: &Instrument) -> &'static str {
    head(out, b'H', b'T', now);
    out.extend_from_slice(&instrument.padded);
    out.extend_from_slice(b"    ");
    "Trading Status Message"
}

pub(super) fn quote(out: &mut Vec<u8>, now: u64, change: &Change, instrument: &Instrument) -> &'static str {
    head(out, b'Q', 0, now);
    out.extend_from_slice(&instrument.padded);
    out.extend_from_slice(&change.after.bid_quantity.to_le_bytes());
    price(out, change.after.bid);
    price(out, change.after.ask);
    out.extend_from_slice(&change.after.ask_quantity.to_le_bytes());
    "Quote Update Message"
}

pub(super) fn trade(out: &mut Vec<u8>, now: u64, change: &Change, instrument: &Instrument) -> &'static str {
    let matched = match change.action {
        Action::Execute { matched } | Action::Hidden { matched } => matched,
        _ => 0,
    };
    // Sale condition: an odd lot is smaller than a round lot.
    let flags = if change.quantity < instrument.lot { 0x20 } else { 0 };
    head(out, b'T', flags, now);
    out.extend_from_slice(&instrument.padded);
    out.extend_from_slice(&change.quantity.to_le_bytes());
    price(out, change.price);
    out.extend_from_slice(&matched.to_le_bytes());
    "Trade Report Message"
}

/// Price Level Update; `complete` ends the event (flag 0x01), so that the book is consistent again.
pub(super) fn level(
    out: &mut Vec<u8>,
    now: u64,
    (side, at, shares): (Side, u32, u32),
    complete: bool,
    instrument: &Instrument,
) -> &'static str {
    head(out, if side == Side::Buy { b'8' } else { b'5' }, u8::from(complete), now);
    out.extend_from_slice(&instrument.padded);
    out.extend_from_slice(&shares.to_le_bytes());
    price(out, at);
    "Price Level Update Message"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::{Book, CROWD, Resting};

    #[test]
    fn lengths_are_those_of_the_specification() {
        let instrument = Instrument::new(0, "ZIEXT", 990_500);
        let add = Book::new(0).add(Side::Buy, 990_500, Resting { id: 1, quantity: 9700, owner: CROWD });
        let mut all = Vec::new();
        let mut measure = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            write(&mut out);
            all.push((char::from(out[0]), out.len()));
        };
        measure(&|out| _ = system_event(out, 1, b'O'));
        measure(&|out| _ = directory(out, 1, &instrument));
        measure(&|out| _ = trading(out, 1, &instrument));
        measure(&|out| _ = quote(out, 1, &add, &instrument));
        measure(&|out| _ = trade(out, 1, &add, &instrument));
        measure(&|out| _ = level(out, 1, (Side::Sell, 5, 6), true, &instrument));
        assert_eq!(all, [('S', 10), ('D', 31), ('H', 22), ('Q', 42), ('T', 38), ('5', 30)]);
    }

    #[test]
    fn price_level_update_of_the_specification() {
        // The example in DEEP 1.0, "Price Level Update Message": buy side, ZIEXT, 9700 shares at 99.05.
        let instrument = Instrument::new(0, "ZIEXT", 990_500);
        let mut out = Vec::new();
        level(&mut out, 0x1493_7BC8_C0A1_2BD1, (Side::Buy, 990_500, 9700), true, &instrument);
        assert_eq!(out[10..18], *b"ZIEXT   ");
        assert_eq!(out[18..], [0xE4, 0x25, 0, 0, 0x24, 0x1D, 0x0F, 0, 0, 0, 0, 0]);
    }
}
