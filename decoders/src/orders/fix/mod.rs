//! FIX 4.0 to 5.0 SP2 over FIXT 1.1, tag=value encoding, one direction of a TCP stream: `frame` finds the messages,
//! `scan` their fields, `event` what they do to an order, `describe` writes them out with the names of `dictionary`.
//! Specification: <https://www.fixtrading.org/standards/tagvalue-online/> and the data dictionaries in `data/fix`.

mod describe;
mod dictionary;
mod digits;
mod event;
mod frame;
mod scan;
mod time;

use tickscope_model::Loss;

use self::dictionary::Version;
use self::event::Values;
use self::frame::Frame;
use crate::{Carrier, Decoder, ExchangeClock, Guess, Output, Protocol, Role};

/// FIX, tag=value.
pub static PROTOCOL: Protocol = Protocol {
    name: "fix",
    title: "FIX 4.0 to 5.0 SP2 and FIXT 1.1, tag=value",
    spec: "FIX Trading Community, https://www.fixtrading.org/standards/ (FIX 4.0 … 5.0 SP2 EP, FIXT 1.1)",
    carrier: Carrier::Tcp,
    role: Role::OrderEntry,
    clock: ExchangeClock::Epoch,
    shows_orders: false,
    probe,
    open,
    message_name: |_| "",
};

fn open() -> Box<dyn Decoder> {
    Box::new(Fix { application: Version::NEWEST })
}

/// One direction of a session.
struct Fix {
    /// The version that the last FIXT logon named for messages that do not say their own.
    application: Version,
}

impl Decoder for Fix {
    fn decode(&mut self, input: &[u8], out: &mut dyn Output) -> usize {
        let mut at = 0;
        let mut skipped = 0;
        while let Some(rest) = input.get(at..) {
            at += match frame::next(rest) {
                Frame::Partial => break,
                Frame::Noise { length } => {
                    skipped += length;
                    length
                }
                Frame::Broken { length } => {
                    out.stray(Loss::BadChecksum, 1);
                    skipped += length;
                    length
                }
                Frame::Message { length, damaged } => {
                    self.message(rest.get(..length).unwrap_or(rest), at, damaged, out);
                    length
                }
            };
        }
        if skipped > 0 {
            out.loss_many(Loss::StreamSkipped, skipped as u64);
        }
        at
    }

    /// Nothing of the stream is held here: what was not used lies with the caller, who drops it at a hole. The next call
    /// may begin in the middle of a message, and passes over bytes to the next "8=FIX" as at the start of a capture.
    fn gap(&mut self) {}
}

impl Fix {
    fn message(&mut self, message: &[u8], at: usize, damaged: bool, out: &mut dyn Output) {
        let values = Values::of(message);
        // Without a MsgType it is no message to anybody, and is counted once, where that is found out.
        if damaged && !values.text::<35>().is_empty() {
            out.loss(Loss::BadChecksum);
        }
        if values.text::<35>() == b"A" {
            self.application = Version::of_application(values.text::<1137>()).unwrap_or(self.application);
        }
        let span = at..at + message.len();
        event::order(message, span.clone(), damaged, &values, out);
        if out.wants_fields() {
            out.described(span, describe::describe(message, &values, self.application));
        }
    }
}

/// A capture may begin in the middle of a message, so the first bytes alone do not decide.
fn probe(payload: &[u8]) -> Guess {
    const START: &[u8] = b"8=FIX";
    if payload.starts_with(START) || memchr::memmem::find_iter(payload, START).any(|at| starts_at(payload, at)) {
        return Guess::Yes;
    }
    let mut fields = payload.split(|&byte| byte == 1);
    let cut_field = fields.next().unwrap_or_default();
    if payload.len() < 16 {
        let is_text = payload.iter().all(|&byte| byte == 1 || matches!(byte, b' '..=b'~'));
        return if is_text { Guess::Maybe } else { Guess::No };
    }
    if cut_field.len() == payload.len() {
        // Not one SOH: text of a long field, or something else.
        return Guess::No;
    }
    let looks_like = |field: &[u8]| {
        let digits = field.iter().take_while(|byte| byte.is_ascii_digit()).count();
        (1..=5).contains(&digits) && field.get(digits) == Some(&b'=')
    };
    let whole: Vec<_> = fields.take(8).collect();
    // The last may be cut off too.
    let (_, whole) = whole.split_last().unwrap_or((&cut_field, &[]));
    if !whole.is_empty() && whole.iter().all(|field| looks_like(field)) { Guess::Maybe } else { Guess::No }
}

fn starts_at(payload: &[u8], at: usize) -> bool {
    let follows_soh = at.checked_sub(1).and_then(|before| payload.get(before)) == Some(&1);
    follows_soh && payload.get(at + 5).is_some_and(|&byte| byte == b'.' || byte == b'T')
}
