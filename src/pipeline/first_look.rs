//! A first look at the order flow of captures that can be read twice: which symbols do its requests name? Only those need
//! books, from the first message on, so this must be known before the captures are read for good.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{panic, thread};

use tickscope_decoders::{Described, Fresh, Sequenced};
use tickscope_model::{Frame, LinkType, Loss, MarketEvent, OrderEvent, SymbolId, Timestamp};

use super::{Configured, Pipeline};
use crate::capture::{Captured, Merged, Span};
use crate::dissect::{Packet, Transport, dissect};
use crate::flow::{Arrival, Datagram, Direction, Lane, Seen};

/// Names that are remembered; more than any venue lists.
const MOST_NAMES: usize = 1 << 16;

/// The names of symbols and instruments in the requests of these captures, read to their end.
pub fn symbols(mut captures: Merged, configured: Configured, points: Vec<u16>) -> BTreeSet<Box<[u8]>> {
    let mut pipeline = Pipeline::new(configured, None, points);
    pipeline.skip_datagrams();
    let mut names = Names::default();
    while let Some(captured) = captures.next() {
        pipeline.frame(&captured, &mut names);
    }
    pipeline.finish(&captures, &mut names);
    names.0
}

/// Bytes of a file that a thread looks through at a time.
const PIECE: usize = 16 << 20;

/// The same of files that several threads can read at once. They look for the fields of FIX (55, 48) in whatever TCP carries,
/// message or not, so some names may be of no request; and one that TCP has cut in two is missed: its symbol has a book from its
/// first request on. Which names are found does not depend on the number of threads.
pub fn quick(spans: &[(Span, Timestamp)], threads: usize) -> BTreeSet<Box<[u8]>> {
    let pieces: Vec<(&Span, Timestamp, usize)> = spans
        .iter()
        .flat_map(|(span, near)| (0..span.length().div_ceil(PIECE)).map(move |piece| (span, *near, piece * PIECE)))
        .collect();
    let next = AtomicUsize::new(0);
    let some = || {
        let mut names = Names::default();
        while let Some(&(span, near, from)) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
            look_through(span, near, from..(from + PIECE).min(span.length()), &mut names);
        }
        names.0
    };
    thread::scope(|scope| {
        // Where there is no thread to be had, the others do its work.
        let others: Vec<_> =
            (0..threads).filter_map(|_| thread::Builder::new().spawn_scoped(scope, some).ok()).collect();
        let mut names = some();
        for other in others {
            names.extend(other.join().unwrap_or_else(|panicked| panic::resume_unwind(panicked)));
        }
        names
    })
}

/// The records that begin in this range of a file.
fn look_through(span: &Span, near: Timestamp, range: Range<usize>, names: &mut Names) {
    let bytes = span.bytes();
    let mut at = range.start;
    while let Some(start) = span.guess(at, range.end, near) {
        at = start;
        while at < range.end
            && let Some(rest) = bytes.get(at..)
            && let Some(record) = span.record_in(rest)
        {
            let frame = span.frame_of(&record, record.frame(rest));
            if !is_plain_datagram(&frame)
                && let Ok(Packet { transport: Transport::Tcp { payload, .. }, .. }) = dissect(&frame)
            {
                payload.split(|&byte| byte == SOH).for_each(|field| names.field(field));
            }
            at += record.length;
        }
        if range.end <= at {
            break;
        }
        // Something that is no ordinary record.
        at += 1;
    }
}

/// The end of a field in FIX.
const SOH: u8 = 1;

/// Whether a frame is Ethernet, IPv4 and UDP, with nothing in between, as nearly all market data is.
#[inline]
fn is_plain_datagram(frame: &Frame<'_>) -> bool {
    let is_ipv4 = frame.bytes.get(12..14) == Some(&[0x08, 0x00]);
    is_ipv4 && frame.link == LinkType::Ethernet && frame.bytes.get(23) == Some(&17)
}

/// A lane that keeps nothing but names.
#[derive(Default)]
struct Names(BTreeSet<Box<[u8]>>);

impl Names {
    fn add(&mut self, name: &[u8]) {
        if !name.is_empty() && self.0.len() < MOST_NAMES && !self.0.contains(name) {
            self.0.insert(name.into());
        }
    }

    fn field(&mut self, field: &[u8]) {
        if let Some(name) = field.strip_prefix(b"55=").or(field.strip_prefix(b"48=")) {
            self.add(name);
        }
    }
}

impl Lane for Names {
    fn frame(&mut self, _captured: &Captured<'_>) {}

    fn wants_fields(&self) -> bool {
        false
    }

    fn symbol(&mut self, _name: &[u8]) -> SymbolId {
        SymbolId::default()
    }

    fn sequenced(&mut self, _at: &Datagram<'_>, _unit: &Sequenced<'_>) -> Option<Fresh> {
        None
    }

    fn market(&mut self, _at: &Datagram<'_>, _event: &MarketEvent) {}

    fn market_other(&mut self, _at: &Datagram<'_>) {}

    fn datagram_described(&mut self, _at: &Datagram<'_>, _message: Described) {}

    fn order(&mut self, _direction: &Direction<'_>, _seen: &Seen, event: &OrderEvent<'_>) {
        if !event.kind.is_request() {
            return;
        }
        self.add(event.symbol);
        self.add(event.security_id);
    }

    fn order_described(&mut self, _direction: &Direction<'_>, _seen: &Seen, _message: Described) {}

    fn acknowledged(&mut self, _direction: &Direction<'_>, _place: u64, _arrival: Arrival) {}

    fn stream_gap(&mut self, _direction: &Direction<'_>) {}

    fn retransmitted(&mut self, _direction: &Direction<'_>, _places: Range<u64>) {}

    fn loss(&mut self, _loss: Loss, _count: u64) {}

    fn stray(&mut self, _loss: Loss, _count: u64) {}
}
