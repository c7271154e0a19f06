//! Answers that were read before their request. Where the capture lost an earlier frame of the client's side, the
//! request waits behind the hole while the answer does not; so an answer without a request is kept for a while
//! before it is called an orphan.

use std::collections::VecDeque;

use tickscope_model::{Decimal, Nanos, OrderEvent, OrderKind, Stations, Timestamp};

use crate::flow::Seen;

/// Longer than a hole can wait in a stream.
const PATIENCE: Nanos = Nanos(10_000_000_000);
/// At most this many are kept.
const LIMIT: usize = 4096;

/// An answer with everything that a request needs of it.
pub(super) struct EarlyAnswer {
    session: usize,
    seen: Seen,
    kind: OrderKind,
    message: Box<[u8]>,
    clordid: Box<[u8]>,
    orig_clordid: Box<[u8]>,
    order_id: Box<[u8]>,
    ref_sequence: u64,
    sending_ns: u64,
    transact_ns: u64,
    stations: Stations,
    last_price: Option<Decimal>,
    last_quantity: Option<Decimal>,
    leaves: Option<Decimal>,
    order_status: u8,
    exec_type: u8,
    is_copy: bool,
    is_damaged: bool,
}

impl EarlyAnswer {
    fn new(session: usize, seen: &Seen, event: &OrderEvent<'_>) -> EarlyAnswer {
        EarlyAnswer {
            session,
            seen: *seen,
            kind: event.kind,
            message: event.message.into(),
            clordid: event.clordid.into(),
            orig_clordid: event.orig_clordid.into(),
            order_id: event.order_id.into(),
            ref_sequence: event.ref_sequence,
            sending_ns: event.sending_ns,
            transact_ns: event.transact_ns,
            stations: event.stations,
            last_price: event.last_price,
            last_quantity: event.last_quantity,
            leaves: event.leaves,
            order_status: event.order_status,
            exec_type: event.exec_type,
            is_copy: event.is_copy,
            is_damaged: event.is_damaged,
        }
    }

    pub(super) fn seen(&self) -> &Seen {
        &self.seen
    }

    pub(super) fn event(&self) -> OrderEvent<'_> {
        OrderEvent {
            kind: self.kind,
            message: &self.message,
            clordid: &self.clordid,
            orig_clordid: &self.orig_clordid,
            order_id: &self.order_id,
            ref_sequence: self.ref_sequence,
            sending_ns: self.sending_ns,
            transact_ns: self.transact_ns,
            stations: self.stations,
            last_price: self.last_price,
            last_quantity: self.last_quantity,
            leaves: self.leaves,
            order_status: self.order_status,
            exec_type: self.exec_type,
            is_copy: self.is_copy,
            is_damaged: self.is_damaged,
            ..OrderEvent::default()
        }
    }
}

/// Answers without a request, oldest first.
#[derive(Default)]
pub(super) struct EarlyAnswers(VecDeque<EarlyAnswer>);

impl EarlyAnswers {
    /// Keeps an answer that names a ClOrdID, or the number of the message that it rejects. Returns how many have become orphans.
    pub(super) fn keep(&mut self, session: usize, seen: &Seen, event: &OrderEvent<'_>) -> u64 {
        if event.clordid.is_empty() && event.ref_sequence == 0 {
            return 1;
        }
        self.0.push_back(EarlyAnswer::new(session, seen, event));
        let mut orphans = 0;
        while self.0.len() > LIMIT
            || self.0.front().is_some_and(|first| seen.time.since(first.seen.time).0 > PATIENCE.0)
        {
            self.0.pop_front();
            orphans += 1;
        }
        orphans
    }

    /// The answers to a request that came late, in the order in which they were read. Older ones answered another
    /// request of the same ClOrdID or number.
    pub(super) fn take(
        &mut self,
        session: usize,
        (clordid, sequence): (&[u8], u64),
        sent: Timestamp,
    ) -> VecDeque<EarlyAnswer> {
        if self.0.is_empty() {
            return VecDeque::new();
        }
        let is_it = |answer: &EarlyAnswer| {
            let is_named =
                if answer.clordid.is_empty() { answer.ref_sequence == sequence } else { *answer.clordid == *clordid };
            answer.session == session && is_named && sent <= answer.seen.time
        };
        let (found, rest): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut self.0).into_iter().partition(is_it);
        self.0 = rest;
        found
    }

    /// The end: whatever is left has no request.
    pub(super) fn finish(&mut self) -> u64 {
        let orphans = self.0.len() as u64;
        self.0.clear();
        orphans
    }
}
