//! Nasdaq TotalView-ITCH 5.0 messages ("Nasdaq TotalView-ITCH 5.0", sections 1.1 to 1.6). Big endian; the time is in
//! nanoseconds since midnight in New York; prices have four decimals.

use crate::book::{Action, Change, Side};
use crate::market::Instrument;

struct Head {
    kind: u8,
    locate: u16,
    stamp: u64,
}

impl Head {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(self.kind);
        out.extend_from_slice(&self.locate.to_be_bytes());
        out.extend_from_slice(&[0, 0]); // tracking number: Nasdaq's own
        out.extend_from_slice(&self.stamp.to_be_bytes()[2..]);
    }
}

/// The stock locate code of the symbol with this index; code 0 belongs to system events.
fn locate(symbol: u16) -> u16 {
    symbol + 1
}

/// System Event: `O` start of messages, `S` start of system hours, `Q` start of market hours, `M` `E` `C` their ends.
pub(super) fn system_event(out: &mut Vec<u8>, stamp: u64, code: u8) -> &'static str {
    Head { kind: b'S', locate: 0, stamp }.put(out);
    out.push(code);
    "System Event Message"
}

pub(super) fn directory(out: &mut Vec<u8>, stamp: u64, symbol: u16, instrument: &Instrument) -> &'static str {
    Head { kind: b'R', locate: locate(symbol), stamp }.put(out);
    out.extend_from_slice(&instrument.padded);
    // Market category, financial status, then the lot, then: round lots only, class, subtype, production, no short sale
    // threshold, not released for quotation, LULD tier 1, no ETP.
    out.extend_from_slice(b"QN");
    out.extend_from_slice(&instrument.lot.to_be_bytes());
    out.extend_from_slice(b"NCZ PN 1N");
    out.extend_from_slice(&0_u32.to_be_bytes());
    out.push(b'N');
    "Stock Directory"
}

pub(super) fn trading(out: &mut Vec<u8>, stamp: u64, symbol: u16, instrument: &Instrument) -> &'static str {
    Head { kind: b'H', locate: locate(symbol), stamp }.put(out);
    out.extend_from_slice(&instrument.padded);
    out.extend_from_slice(b"T     "); // trading; reserved; no reason
    "Stock Trading Action"
}

/// The message of one change, and its name.
pub(super) fn change(out: &mut Vec<u8>, stamp: u64, change: &Change, instrument: &Instrument) -> &'static str {
    let head = |kind| Head { kind, locate: locate(change.symbol), stamp };
    let side = if change.side == Side::Buy { b'B' } else { b'S' };
    let id = change.id.to_be_bytes();
    let shares = change.quantity.to_be_bytes();
    match change.action {
        Action::Add => {
            head(b'A').put(out);
            out.extend_from_slice(&id);
            out.push(side);
            out.extend_from_slice(&shares);
            out.extend_from_slice(&instrument.padded);
            out.extend_from_slice(&change.price.to_be_bytes());
            "Add Order - No MPID Attribution"
        }
        Action::Execute { matched } => {
            head(b'E').put(out);
            out.extend_from_slice(&id);
            out.extend_from_slice(&shares);
            out.extend_from_slice(&matched.to_be_bytes());
            "Order Executed Message"
        }
        Action::Reduce => {
            head(b'X').put(out);
            out.extend_from_slice(&id);
            out.extend_from_slice(&shares);
            "Order Cancel Message"
        }
        Action::Delete => {
            head(b'D').put(out);
            out.extend_from_slice(&id);
            "Order Delete Message"
        }
        Action::Replace { new_id, .. } => {
            head(b'U').put(out);
            out.extend_from_slice(&id);
            out.extend_from_slice(&new_id.to_be_bytes());
            out.extend_from_slice(&shares);
            out.extend_from_slice(&change.price.to_be_bytes());
            "Order Replace Message"
        }
        Action::Hidden { matched } => {
            head(b'P').put(out);
            out.extend_from_slice(&0_u64.to_be_bytes()); // the reference of a non-displayed order is not told
            out.push(b'B'); // and its side is always B since 2014
            out.extend_from_slice(&shares);
            out.extend_from_slice(&instrument.padded);
            out.extend_from_slice(&change.price.to_be_bytes());
            out.extend_from_slice(&matched.to_be_bytes());
            "Trade Message (Non-Cross)"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::{Best, Book, CROWD, Resting};

    #[test]
    fn lengths_are_those_of_the_specification() {
        let instrument = Instrument::new(4, "ABCD", 10_000);
        let mut lengths = Vec::new();
        let mut measure = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            write(&mut out);
            lengths.push((char::from(out[0]), out.len()));
        };
        measure(&|out| _ = system_event(out, 1, b'O'));
        measure(&|out| _ = directory(out, 1, 4, &instrument));
        measure(&|out| _ = trading(out, 1, 4, &instrument));
        let base = Book::new(4).add(Side::Buy, 100, Resting { id: 1, quantity: 5, owner: CROWD });
        for action in [
            Action::Add,
            Action::Execute { matched: 1 },
            Action::Reduce,
            Action::Delete,
            Action::Replace { new_id: 2, old_price: 90 },
            Action::Hidden { matched: 3 },
        ] {
            measure(&|out| _ = change(out, 1, &Change { action, before: Best::default(), ..base }, &instrument));
        }
        let expected =
            [('S', 12), ('R', 39), ('H', 25), ('A', 36), ('E', 31), ('X', 23), ('D', 19), ('U', 35), ('P', 44)];
        assert_eq!(lengths, expected);
    }
}
