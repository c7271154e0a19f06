//! The private encoding of rows in the sorter's temporary file: LEB128 numbers, texts with their length, and names that
//! many rows share (sessions, symbols, feeds) as numbers in a table that stays in memory.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use tickscope_model::{Decimal, Nanos, OrderKind, SegmentKind, Side, TapId, Timestamp};

use super::Spill;
use crate::pair::{Across, Flag, Flags, Measured, Method, OrderRow, Parts, SegmentRow, Trigger};

/// Texts that rows share, each kept once.
#[derive(Default)]
pub struct Names {
    shared: Table<Arc<str>>,
    fixed: Table<&'static str>,
}

struct Table<T> {
    numbers: HashMap<T, u64>,
    names: Vec<T>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table { numbers: HashMap::new(), names: Vec::new() }
    }
}

impl<T: Clone + Eq + std::hash::Hash> Table<T> {
    fn number(&mut self, name: &T) -> u64 {
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        let number = self.names.len() as u64;
        self.names.push(name.clone());
        self.numbers.insert(name.clone(), number);
        number
    }

    fn name(&self, number: u64) -> Option<T> {
        self.names.get(usize::try_from(number).ok()?).cloned()
    }
}

const KINDS: [OrderKind; 16] = [
    OrderKind::New,
    OrderKind::Replace,
    OrderKind::Cancel,
    OrderKind::MassCancel,
    OrderKind::Quote,
    OrderKind::MassQuote,
    OrderKind::Ack,
    OrderKind::Pending,
    OrderKind::Reject,
    OrderKind::Fill,
    OrderKind::Canceled,
    OrderKind::Replaced,
    OrderKind::Logon,
    OrderKind::Logout,
    OrderKind::SessionReject,
    OrderKind::Other,
];
const SIDES: [Side; 4] = [Side::Buy, Side::Sell, Side::SellShort, Side::SellShortExempt];
const METHODS: [Method; 5] = [Method::Id, Method::Price, Method::Latest, Method::Link, Method::Fill];

impl Spill for OrderRow {
    /// Time, then tap, then frame; orders of one list stand by their `ClOrdID`.
    fn compare(&self, other: &Self) -> Ordering {
        let key = |row: &OrderRow| (row.t_out, row.tap, row.frame);
        key(self).cmp(&key(other)).then_with(|| self.clordid.cmp(&other.clordid))
    }

    fn lighten(&mut self) {
        self.timeline = Vec::new();
        (self.weighed, self.bbo, self.case) = (None, None, None);
        self.across = None;
    }

    fn encode(&self, names: &mut Names, bytes: &mut Vec<u8>) {
        let mut put = Put { names, bytes };
        put.number(u64::from(self.tap.0));
        put.number(self.frame);
        put.shared(&self.session);
        put.text(&self.clordid);
        put.text(&self.orig_clordid);
        put.text(&self.chain);
        put.one_of(&KINDS, self.request);
        put.shared(&self.symbol);
        put.option(self.side, |put, side| put.one_of(&SIDES, side));
        put.option(self.price, Put::decimal);
        put.option(self.quantity, Put::decimal);
        put.number(self.t_out.0);
        put.option(self.trigger.as_ref(), Put::trigger);
        for kind in SegmentKind::ALL {
            put.option(self.latency.get(kind), Put::nanos);
        }
        let bits = Flag::ALL.iter().enumerate().filter(|(_, flag)| self.flags.has(**flag));
        put.number(bits.fold(0, |bits, (index, _)| bits | 1 << index));
        put.option(self.t2t_min, Put::nanos);
        put.option(self.t2t_max, Put::nanos);
        put.option(self.error, Put::nanos);
        put.fixed(self.outcome);
    }

    fn decode(bytes: &[u8], names: &Names) -> Option<Self> {
        let mut take = Take { names, bytes };
        let row = OrderRow {
            tap: take.tap()?,
            frame: take.number()?,
            session: take.shared()?,
            clordid: take.text()?.into(),
            orig_clordid: take.text()?,
            chain: take.text()?.into(),
            request: take.one_of(&KINDS)?,
            symbol: take.shared()?,
            side: take.option(|take| take.one_of(&SIDES))?,
            price: take.option(Take::decimal)?,
            quantity: take.option(Take::decimal)?,
            t_out: Timestamp(take.number()?),
            trigger: take.option(Take::trigger)?,
            latency: take.latencies()?,
            flags: take.flags()?,
            t2t_min: take.option(Take::nanos)?,
            t2t_max: take.option(Take::nanos)?,
            weighed: None,
            bbo: None,
            case: None,
            error: take.option(Take::nanos)?,
            across: None,
            outcome: take.fixed()?,
            parts: Parts::default(),
            timeline: Vec::new(),
        };
        take.bytes.is_empty().then_some(row)
    }
}

/// A row as figures are made of it, for those who add all rows up once more.
pub struct Replayed {
    pub row: OrderRow,
    pub is_echo: bool,
}

impl Spill for Replayed {
    fn compare(&self, other: &Self) -> Ordering {
        self.row.compare(&other.row)
    }

    fn lighten(&mut self) {
        let across = self.row.across.take();
        self.row.lighten();
        self.row.across = across;
    }

    fn encode(&self, names: &mut Names, bytes: &mut Vec<u8>) {
        let mut put = Put { names, bytes };
        put.number(u64::from(self.is_echo));
        put.option(self.row.across.as_ref(), |put, all| {
            for across in all.iter() {
                put.number(match across {
                    Across::One => 0,
                    Across::Within(_) => 1,
                    Across::Unknown => 2,
                });
                if let Across::Within(error) = across {
                    put.nanos(*error);
                }
            }
        });
        self.row.encode(names, bytes);
    }

    fn decode(bytes: &[u8], names: &Names) -> Option<Self> {
        let mut take = Take { names, bytes };
        let is_echo = take.number()? != 0;
        let across = take.option(|take| {
            let mut all = Box::new([Across::One; SegmentKind::ALL.len()]);
            for across in all.iter_mut() {
                *across = match take.number()? {
                    0 => Across::One,
                    1 => Across::Within(take.nanos()?),
                    _ => Across::Unknown,
                };
            }
            Some(all)
        })?;
        let row = OrderRow { across, ..OrderRow::decode(take.bytes, names)? };
        Some(Replayed { row, is_echo })
    }
}

impl Spill for SegmentRow {
    fn compare(&self, other: &Self) -> Ordering {
        let key = |row: &SegmentRow| (row.time, row.tap);
        key(self)
            .cmp(&key(other))
            .then_with(|| self.clordid.cmp(&other.clordid))
            .then_with(|| self.segment.cmp(&other.segment))
            .then_with(|| self.latency.cmp(&other.latency))
    }

    fn lighten(&mut self) {}

    fn encode(&self, names: &mut Names, bytes: &mut Vec<u8>) {
        let mut put = Put { names, bytes };
        put.one_of(&SegmentKind::ALL, self.segment);
        put.number(self.time.0);
        put.nanos(self.latency);
        put.number(u64::from(self.tap.0));
        put.shared(&self.session);
        put.shared(&self.symbol);
        put.text(&self.clordid);
        put.one_of(&KINDS, self.request);
        put.option(self.across.error(), Put::nanos);
    }

    fn decode(bytes: &[u8], names: &Names) -> Option<Self> {
        let mut take = Take { names, bytes };
        let row = SegmentRow {
            segment: take.one_of(&SegmentKind::ALL)?,
            time: Timestamp(take.number()?),
            latency: take.nanos()?,
            tap: take.tap()?,
            session: take.shared()?,
            symbol: take.shared()?,
            clordid: take.text()?.into(),
            request: take.one_of(&KINDS)?,
            // The table tells those two apart no more.
            across: take.option(Take::nanos)?.map_or(Across::One, Across::Within),
        };
        take.bytes.is_empty().then_some(row)
    }
}

struct Put<'a> {
    names: &'a mut Names,
    bytes: &'a mut Vec<u8>,
}

impl Put<'_> {
    fn number(&mut self, mut value: u64) {
        loop {
            let low = u8::try_from(value & 0x7F).expect("7 bits");
            value >>= 7;
            if value == 0 {
                return self.bytes.push(low);
            }
            self.bytes.push(low | 0x80);
        }
    }

    /// Zigzag: small numbers of either sign stay short.
    fn signed(&mut self, value: i64) {
        self.number((value << 1 ^ value >> 63).cast_unsigned());
    }

    fn nanos(&mut self, value: Nanos) {
        self.signed(value.0);
    }

    fn text(&mut self, value: &str) {
        self.number(value.len() as u64);
        self.bytes.extend_from_slice(value.as_bytes());
    }

    fn shared(&mut self, value: &Arc<str>) {
        let number = self.names.shared.number(value);
        self.number(number);
    }

    fn fixed(&mut self, value: &'static str) {
        let number = self.names.fixed.number(&value);
        self.number(number);
    }

    fn one_of<T: PartialEq + Copy>(&mut self, all: &[T], value: T) {
        let at = all.iter().position(|known| *known == value).expect("the list names every variant");
        self.number(at as u64);
    }

    fn decimal(&mut self, value: Decimal) {
        self.signed(value.mantissa);
        self.bytes.push(value.scale);
    }

    fn option<T>(&mut self, value: Option<T>, put: impl FnOnce(&mut Self, T)) {
        self.bytes.push(u8::from(value.is_some()));
        if let Some(value) = value {
            put(self, value);
        }
    }

    fn trigger(&mut self, trigger: &Trigger) {
        self.number(u64::from(trigger.tap.0));
        self.number(trigger.frame);
        self.number(trigger.time.0);
        self.shared(&trigger.feed);
        self.number(trigger.sequence);
        self.fixed(trigger.msg);
        self.shared(&trigger.symbol);
        self.one_of(&METHODS, trigger.method);
        self.number(u64::from(trigger.confidence.to_bits()));
    }
}

struct Take<'a> {
    names: &'a Names,
    bytes: &'a [u8],
}

impl Take<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(first)
    }

    fn number(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn signed(&mut self) -> Option<i64> {
        let value = self.number()?;
        Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    fn nanos(&mut self) -> Option<Nanos> {
        self.signed().map(Nanos)
    }

    fn tap(&mut self) -> Option<TapId> {
        self.number().and_then(|number| u16::try_from(number).ok()).map(TapId)
    }

    fn text(&mut self) -> Option<Box<str>> {
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        std::str::from_utf8(text).ok().map(Box::from)
    }

    fn shared(&mut self) -> Option<Arc<str>> {
        let number = self.number()?;
        self.names.shared.name(number)
    }

    fn fixed(&mut self) -> Option<&'static str> {
        let number = self.number()?;
        self.names.fixed.name(number)
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> Option<T> {
        all.get(usize::try_from(self.number()?).ok()?).copied()
    }

    fn decimal(&mut self) -> Option<Decimal> {
        Some(Decimal { mantissa: self.signed()?, scale: self.byte()? })
    }

    /// The outer `None` says that the bytes are wrong.
    #[allow(clippy::option_option, reason = "absent and damaged are two things")]
    fn option<T>(&mut self, take: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.byte()? {
            0 => Some(None),
            _ => take(self).map(Some),
        }
    }

    fn latencies(&mut self) -> Option<Measured> {
        let mut latencies = Measured::default();
        for kind in SegmentKind::ALL {
            if let Some(latency) = self.option(Take::nanos)? {
                latencies.set(kind, latency);
            }
        }
        Some(latencies)
    }

    fn flags(&mut self) -> Option<Flags> {
        let bits = self.number()?;
        let mut flags = Flags::default();
        for (index, flag) in Flag::ALL.iter().enumerate() {
            if bits & 1 << index != 0 {
                flags.set(*flag);
            }
        }
        Some(flags)
    }

    fn trigger(&mut self) -> Option<Trigger> {
        Some(Trigger {
            tap: self.tap()?,
            frame: self.number()?,
            time: Timestamp(self.number()?),
            feed: self.shared()?,
            sequence: self.number()?,
            msg: self.fixed()?,
            symbol: self.shared()?,
            method: self.one_of(&METHODS)?,
            confidence: f32::from_bits(u32::try_from(self.number()?).ok()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::tests::full_row;
    use super::super::table::{Cell, TableRow};
    use super::*;
    use crate::stats::summary_tests::row;

    fn back<R: Spill>(row: &R) -> R {
        let (mut names, mut bytes) = (Names::default(), Vec::new());
        row.encode(&mut names, &mut bytes);
        for cut in 0..bytes.len() {
            assert!(R::decode(&bytes[..cut], &names).is_none(), "cut at {cut}");
        }
        R::decode(&bytes, &names).expect("what was written")
    }

    #[test]
    fn rows_come_back_as_they_were() {
        let taps = ["md".to_owned()];
        for row in [full_row(), row("", u64::MAX)] {
            let read = back(&row);
            assert_eq!(read.cells(&taps), row.cells(&taps));
            assert_eq!((read.frame, read.outcome, read.tap), (row.frame, row.outcome, row.tap));
            for segment in row.segment_rows() {
                assert_eq!(back(&segment).cells(&taps), segment.cells(&taps));
            }
        }
    }

    #[test]
    fn what_figures_are_made_of_comes_back() {
        let mut spanning = full_row();
        let mut across = [Across::One; SegmentKind::ALL.len()];
        (across[0], across[3]) = (Across::Within(Nanos(7)), Across::Unknown);
        spanning.across = Some(Box::new(across));
        for (row, is_echo) in [(spanning, false), (full_row(), true), (row("", u64::MAX), false)] {
            let read = back(&Replayed { row: row.clone(), is_echo });
            assert_eq!((&read.row.across, read.is_echo), (&row.across, is_echo));
            assert_eq!(read.row.cells(&[]), row.cells(&[]));
        }
    }

    #[test]
    fn every_flag_and_extreme_numbers_survive() {
        let mut row = full_row();
        for flag in Flag::ALL {
            row.flags.set(*flag);
        }
        row.latency.set(SegmentKind::TickToTrade, Nanos(i64::MIN));
        row.latency.set(SegmentKind::TcpAck, Nanos(i64::MAX));
        row.price = Some(Decimal::new(i64::MIN, 18));
        let read = back(&row);
        assert_eq!(read.flags, row.flags);
        assert_eq!(read.latency, row.latency);
        assert_eq!(read.cells(&[])[8], Cell::Decimal(Decimal::new(i64::MIN, 18)));
    }
}
