//! The lane of `decode`: every message that a decoder read becomes one line of JSON, with the keys of
//! tickscope-decode(1). Messages that another line or a retransmission brought before are printed like any other.

use std::io::{self, Write};
use std::ops::Range;

use serde_json::{Map, Value};
use tickscope_decoders::{Described, Fresh, Protocol, Sequenced};
use tickscope_model::{Loss, Losses, MarketEvent, OrderEvent, SymbolId, TapId, Timestamp};

use crate::capture::Captured;
use crate::flow::{Arrival, Datagram, Direction, FlowKey, Lane, Seen};
use crate::merge::Symbols;

/// Which messages are wanted.
#[derive(Default)]
pub struct Wanted {
    pub from: Timestamp,
    pub to: Timestamp,
    /// Names; empty: all.
    pub protocols: Vec<String>,
    pub symbols: Vec<String>,
    pub sessions: Vec<String>,
}

/// See the head of this file.
pub struct Printer<W: Write> {
    out: W,
    wanted: Wanted,
    /// The captures' names, as they are printed, and which of them each tap is in.
    files: Vec<String>,
    file_of: Vec<usize>,
    symbols: Symbols,
    pub losses: Losses,
    pub printed: u64,
    /// The first error of the output; nothing is written after it.
    pub error: Option<io::Error>,
}

struct Place<'a> {
    tap: TapId,
    frame: u64,
    time: Timestamp,
    key: &'a FlowKey,
    protocol: &'static Protocol,
}

impl<W: Write> Printer<W> {
    pub fn new(out: W, files: Vec<String>, wanted: Wanted) -> Printer<W> {
        Printer {
            out,
            wanted,
            files,
            file_of: Vec::new(),
            symbols: Symbols::default(),
            losses: Losses::default(),
            printed: 0,
            error: None,
        }
    }

    /// Writes what is still buffered.
    pub fn flush(&mut self) -> io::Result<()> {
        match self.error.take() {
            Some(error) => Err(error),
            None => self.out.flush(),
        }
    }

    fn print(&mut self, place: &Place<'_>, message: &Described) {
        if self.error.is_some() || !self.is_wanted(place, message) {
            return;
        }
        let file = self.file_of.get(usize::from(place.tap.0)).and_then(|&file| self.files.get(file));
        let file = file.expect("a message comes after a frame of its tap");
        match write_line(&mut self.out, file, place, message) {
            Ok(()) => self.printed += 1,
            Err(error) => self.error = Some(error),
        }
    }

    fn is_wanted(&self, place: &Place<'_>, message: &Described) -> bool {
        let listed = |list: &[String], value: &str| list.is_empty() || list.iter().any(|item| item == value);
        let symbol = message.symbol.as_deref().unwrap_or("");
        self.wanted.from <= place.time
            && place.time < self.wanted.to
            && listed(&self.wanted.protocols, place.protocol.name)
            && listed(&self.wanted.symbols, symbol)
            && (self.wanted.sessions.is_empty() || self.is_of_session(&message.fields))
    }

    fn is_of_session(&self, fields: &Map<String, Value>) -> bool {
        let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or("");
        let (sender, target) = (text("SenderCompID"), text("TargetCompID"));
        let (out, back) = (format!("{sender}->{target}"), format!("{target}->{sender}"));
        self.wanted.sessions.iter().any(|session| *session == out || *session == back)
    }
}

fn write_line(out: &mut impl Write, file: &str, place: &Place<'_>, message: &Described) -> io::Result<()> {
    let quoted = |text: &str| Value::from(text).to_string();
    write!(
        out,
        "{{\"frame\":{},\"file\":{},\"t_ns\":{},\"t\":\"{}\",\"flow\":\"{}\",\"protocol\":\"{}\",\"msg\":{}",
        place.frame,
        quoted(file),
        place.time.0,
        place.time,
        place.key,
        place.protocol.name,
        quoted(&message.msg)
    )?;
    if let Some(seq) = message.seq {
        write!(out, ",\"seq\":{seq}")?;
    }
    for (name, value) in [("symbol", &message.symbol), ("security_id", &message.security_id)] {
        if let Some(value) = value {
            write!(out, ",\"{name}\":{}", quoted(value))?;
        }
    }
    if let Some(side) = message.side {
        write!(out, ",\"side\":\"{}\"", side.text())?;
    }
    if let Some(price) = message.price {
        write!(out, ",\"price\":\"{price}\"")?;
    }
    if let Some(qty) = message.qty {
        write!(out, ",\"qty\":{qty}")?;
    }
    if let Some(order_id) = &message.order_id {
        write!(out, ",\"order_id\":{}", quoted(order_id))?;
    }
    if let Some(time) = message.exch_t_ns {
        write!(out, ",\"exch_t_ns\":{time},\"exch_t\":\"{}\"", Timestamp(time))?;
    }
    if let Some(clordid) = &message.clordid {
        write!(out, ",\"clordid\":{}", quoted(clordid))?;
    }
    write!(out, ",\"fields\":")?;
    serde_json::to_writer(&mut *out, &message.fields)?;
    writeln!(out, "}}")
}

impl<W: Write> Lane for Printer<W> {
    fn frame(&mut self, captured: &Captured<'_>) {
        let tap = usize::from(captured.frame.tap.0);
        if self.file_of.len() <= tap {
            self.file_of.resize(tap + 1, 0);
        }
        self.file_of[tap] = captured.file;
    }
    fn wants_fields(&self) -> bool {
        true
    }
    fn symbol(&mut self, name: &[u8]) -> SymbolId {
        self.symbols.number(name)
    }
    fn sequenced(&mut self, _at: &Datagram<'_>, _unit: &Sequenced<'_>) -> Option<Fresh> {
        Some(Fresh::All)
    }
    fn market(&mut self, _at: &Datagram<'_>, _event: &MarketEvent) {}
    fn market_other(&mut self, _at: &Datagram<'_>) {}
    fn datagram_described(&mut self, at: &Datagram<'_>, message: Described) {
        let place = Place { tap: at.tap, frame: at.frame, time: at.time, key: at.key, protocol: at.protocol };
        self.print(&place, &message);
    }
    fn order(&mut self, _direction: &Direction<'_>, _seen: &Seen, _event: &OrderEvent<'_>) {}
    fn order_described(&mut self, direction: &Direction<'_>, seen: &Seen, message: Described) {
        let Direction { key, protocol, .. } = *direction;
        self.print(&Place { tap: seen.tap, frame: seen.frame, time: seen.time, key, protocol }, &message);
    }
    fn acknowledged(&mut self, _direction: &Direction<'_>, _place: u64, _arrival: Arrival) {}
    fn stream_gap(&mut self, _direction: &Direction<'_>) {}
    fn retransmitted(&mut self, _direction: &Direction<'_>, _places: Range<u64>) {}
    fn loss(&mut self, loss: Loss, count: u64) {
        self.losses.add_many(loss, count);
    }
}
