//! The requests that are still open: found by ClOrdID, by OrderID or by the number of their message.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tickscope_model::{Decimal, Side, SymbolId, TapId, Timestamp};

use super::attribution::Case;
use super::ids::Id;
use super::measured::Measured;
use super::parts::{Private, Units};
use super::row::OrderRow;

use crate::hash::HashMap;

/// At most this many requests are open at a time; beyond that the oldest is closed and flagged.
const OPEN_LIMIT: usize = 100_000;
/// The names of so many more requests than are open may be remembered.
const FEW: usize = 4096;
/// So many messages back, a session-level reject still finds its request.
const RECENT_MESSAGES: usize = 4096;

/// Names a request for as long as it is open; never given twice.
pub(super) type RequestId = u64;

/// A request with what is needed until it is written.
#[allow(clippy::struct_excessive_bools, reason = "four independent facts, not the states of one machine")]
pub(super) struct Open {
    pub row: Box<OrderRow>,
    pub session: usize,
    pub point: u16,
    pub symbol: Option<SymbolId>,
    /// Of the order that it cancels or replaces.
    pub original: Original,
    /// The market data's own id, where a rule found one in it.
    pub id: Option<Id>,
    /// Its candidates, while there is no model to judge them.
    pub case: Option<Box<Case>>,
    pub sequence: u64,
    /// Nothing more can come: since when.
    pub done: Option<Timestamp>,
    pub trail: Trail,
    /// The trigger has been looked up.
    pub looked_up: bool,
    /// Place of its last byte in its stream, for retransmissions and ACKs.
    pub conversation: u32,
    pub from_source: bool,
    pub end: u64,
    pub length: u64,
    /// The first reports about it.
    pub private: Private,
    /// OrderID under which the session's table knows it.
    pub order_id: Option<Box<[u8]>>,
    /// Its row was put out already, with these latencies.
    pub written: Option<Measured>,
}

/// Where a request and what was said of it were seen: what its row needs beside itself.
#[derive(Default)]
pub(super) struct Trail {
    pub answered: bool,
    /// The frame that acknowledged it.
    pub ack_frame: Option<(TapId, u64)>,
    /// Frames of the reports about it, first and last byte.
    pub report_frames: Vec<(TapId, u64)>,
    /// The same request was seen first at another tap, which gives the row.
    pub echo: bool,
    /// Where the same request was seen in another session or at another tap, and where public market data shows it.
    pub other_tap: Option<TapId>,
    pub public_tap: Option<TapId>,
}

/// What a cancel does not say itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Original {
    pub side: Option<Side>,
    pub price: Option<Decimal>,
}

/// The first bytes of a message's type, as the protocol writes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageType([u8; 4]);

impl MessageType {
    pub(super) fn new(text: &[u8]) -> MessageType {
        let mut bytes = [0; 4];
        bytes.iter_mut().zip(text).for_each(|(to, from)| *to = *from);
        MessageType(bytes)
    }

    /// `None` before the first message.
    pub fn text(self) -> Option<String> {
        let text: String = self.0.iter().take_while(|byte| **byte != 0).map(|byte| char::from(*byte)).collect();
        (!text.is_empty()).then_some(text)
    }
}

/// One session: a pair of CompIDs at one observation point.
pub(super) struct Session {
    pub name: Arc<str>,
    pub point: u16,
    pub by_clordid: HashMap<Box<[u8]>, RequestId>,
    pub by_order_id: HashMap<Box<[u8]>, RequestId>,
    recent: VecDeque<(u64, RequestId)>,
    /// Which numbers of the exchange's messages have been seen.
    pub numbers: Numbers,
    pub requests: u64,
    pub answers: u64,
    pub logons: u64,
    pub copies: u64,
    pub heartbeats: u64,
    /// Times that bytes of its conversations were sent again by TCP, and that some are missing.
    pub retransmissions: u64,
    pub gaps: u64,
    /// Type of the newest message.
    pub last_type: MessageType,
    /// What the exchange's stamps are cut to.
    pub units: Units,
    /// Requests that were looked for in market data, and found there.
    pub public_tries: u64,
    pub public_hits: u64,
    /// … by the exchange's number of the order.
    pub public_references: u64,
    pub first: Timestamp,
    pub last: Timestamp,
    pub client: String,
    pub server: String,
    pub protocol: &'static str,
}

impl Session {
    pub(super) fn new(name: Arc<str>, point: u16, time: Timestamp, protocol: &'static str) -> Session {
        Session {
            name,
            point,
            by_clordid: HashMap::default(),
            by_order_id: HashMap::default(),
            recent: VecDeque::new(),
            numbers: Numbers::default(),
            requests: 0,
            answers: 0,
            logons: 0,
            copies: 0,
            heartbeats: 0,
            retransmissions: 0,
            gaps: 0,
            last_type: MessageType::default(),
            units: Units::default(),
            public_tries: 0,
            public_hits: 0,
            public_references: 0,
            first: time,
            last: time,
            client: String::new(),
            server: String::new(),
            protocol,
        }
    }

    pub(super) fn remember(&mut self, sequence: u64, id: RequestId) {
        if self.recent.len() == RECENT_MESSAGES {
            self.recent.pop_front();
        }
        self.recent.push_back((sequence, id));
    }

    /// The request that the message with this number was; the newest one, since numbers start anew after a logon.
    pub(super) fn by_sequence(&self, sequence: u64) -> Option<RequestId> {
        self.recent.iter().rev().find(|(number, _)| *number == sequence).map(|&(_, id)| id)
    }

    /// After a logon that resets the numbers, old numbers mean nothing.
    pub(super) fn reset_sequences(&mut self) {
        self.recent.clear();
        self.numbers = Numbers::default();
    }
}

/// The message numbers of one direction of a session that have been seen, to tell the copy of a message from a
/// message whose first sending was never captured.
#[derive(Default)]
pub(super) struct Numbers {
    next: u64,
    /// Start and end of each hole.
    missing: BTreeMap<u64, u64>,
}

/// Holes in the numbers that are remembered, the newest ones.
const HOLES: usize = 4096;

impl Numbers {
    /// A message was captured: is it the first time that its number was?
    pub(super) fn is_first_sighting(&mut self, number: u64) -> bool {
        if self.next <= number {
            self.add(self.next, number);
            self.next = number.saturating_add(1);
            return true;
        }
        let hole = self.missing.range(..=number).next_back().filter(|(_, end)| number < **end);
        let Some((&start, &end)) = hole else { return false };
        self.missing.remove(&start);
        self.add(start, number);
        self.add(number + 1, end);
        true
    }

    fn add(&mut self, start: u64, end: u64) {
        if start < end {
            self.missing.insert(start, end);
        }
        if self.missing.len() > HOLES {
            self.missing.pop_first();
        }
    }
}

/// All open requests.
#[derive(Default)]
pub(super) struct Requests {
    open: HashMap<RequestId, Box<Open>>,
    order: VecDeque<RequestId>,
    next: RequestId,
}

impl Requests {
    pub(super) fn add(&mut self, open: Open) -> RequestId {
        self.next += 1;
        self.open.insert(self.next, Box::new(open));
        self.order.push_back(self.next);
        self.next
    }

    pub(super) fn get(&self, id: RequestId) -> Option<&Open> {
        self.open.get(&id).map(Box::as_ref)
    }

    pub(super) fn get_mut(&mut self, id: RequestId) -> Option<&mut Open> {
        self.open.get_mut(&id).map(Box::as_mut)
    }

    pub(super) fn remove(&mut self, id: RequestId) -> Option<Box<Open>> {
        let open = self.open.remove(&id);
        while self.order.front().is_some_and(|front| !self.open.contains_key(front)) {
            self.order.pop_front();
        }
        // One that is never closed must not keep the names of all that came behind it.
        if self.order.len() > 2 * self.open.len() + FEW {
            self.order.retain(|id| self.open.contains_key(id));
        }
        open
    }

    /// Takes a request out for a moment; it keeps its place.
    pub(super) fn take(&mut self, id: RequestId) -> Option<Box<Open>> {
        self.open.remove(&id)
    }

    pub(super) fn put_back(&mut self, id: RequestId, open: Box<Open>) {
        self.open.insert(id, open);
    }

    /// The longest open one, where there are too many.
    pub(super) fn overflow(&self) -> Option<RequestId> {
        if self.open.len() > OPEN_LIMIT { self.order.front().copied() } else { None }
    }

    /// The newest requests, newest first.
    pub(super) fn newest(&mut self, count: usize, mut each: impl FnMut(&mut Open)) {
        for id in self.order.iter().rev().take(count) {
            if let Some(open) = self.open.get_mut(id) {
                each(open);
            }
        }
    }

    /// The oldest ones, up to so many.
    pub(super) fn oldest(&self, count: usize) -> Vec<RequestId> {
        self.order.iter().copied().filter(|id| self.open.contains_key(id)).take(count).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// All open requests, in no order.
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Open> {
        self.open.values_mut().map(Box::as_mut)
    }

    /// All open requests, oldest first.
    pub(super) fn in_order(&self) -> impl Iterator<Item = &Open> {
        self.order.iter().filter_map(|id| self.get(*id))
    }
}
