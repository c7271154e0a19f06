//! Messages on their way into the books of watched symbols and onto their tape. Each would wait for memory several times, one time
//! after the other: its book, its order, its level, its place on the tape. So some are gathered, and what all of them need
//! is asked for at once before any of them is applied: book and tape's strip when a message comes, what these know of when all are
//! there. Whoever looks into books or tape settles them first.

use std::hint::black_box;

use tickscope_model::{MarketEvent, MarketKind};

use crate::book::{Books, Entry, Health, Tape};
use crate::merge::{Symbols, Tick};
use crate::pair::{LinkRule, Links};

/// So many are gathered.
pub(super) const GATHERED: usize = 64;

/// A message that its book does not know yet.
#[derive(Clone, Copy)]
pub(super) struct Message {
    pub point: u16,
    pub feed: usize,
    /// Of the feed, when the message came.
    pub health: Health,
    pub tick: Tick,
    /// The number of the first message of its packet.
    pub packet_sequence: u64,
    pub event: MarketEvent,
}

/// See the head of this file.
pub(super) struct Bookkeeper {
    books: Books,
    tape: Tape,
    links: Links,
    gathered: Vec<Message>,
    /// What the messages did, until the tape has it.
    entries: Vec<Entry>,
    /// Kinds of messages that may be triggers.
    kinds: Vec<MarketKind>,
}

impl Bookkeeper {
    pub(super) fn new(links: &[LinkRule], kinds: Vec<MarketKind>) -> Bookkeeper {
        Bookkeeper {
            books: Books::default(),
            tape: Tape::default(),
            links: Links::new(links),
            gathered: Vec::with_capacity(GATHERED),
            entries: Vec::with_capacity(GATHERED),
            kinds,
        }
    }

    /// Whether all messages are settled.
    pub(super) fn is_empty(&self) -> bool {
        self.gathered.is_empty()
    }

    #[inline]
    pub(super) fn take(&mut self, message: Message, symbols: &Symbols) {
        self.books.prefetch_book(&message.event);
        self.tape.prefetch_strip(message.point, message.event.symbol);
        self.gathered.push(message);
        // A link compares one symbol with another as they stand.
        if self.gathered.len() == GATHERED || !self.links.is_empty() {
            self.settle(symbols);
        }
    }

    /// A feed has ended.
    pub(super) fn forget(&mut self, feed: usize, symbols: &Symbols) {
        self.settle(symbols);
        self.books.forget(feed);
    }

    /// From here on books, tape and links know of every message. All go into the books first, then all onto the tape: writing there
    /// may still wait for memory, and then nothing else waits behind it.
    pub(super) fn settle(&mut self, symbols: &Symbols) {
        self.touch();
        for Message { point, feed, health, tick, packet_sequence, event } in &self.gathered {
            let effect = self.books.apply(*feed, *health, event);
            if !self.links.is_empty() {
                self.links.see(*point, tick, event, &effect, symbols);
            }
            let (tick, reference, packet_sequence) = (*tick, event.reference, *packet_sequence);
            self.entries.push(Entry { tick, effect, reference, packet_sequence });
        }
        for (Message { point, event, .. }, entry) in self.gathered.drain(..).zip(&self.entries) {
            let may_trigger = self.kinds.contains(&event.kind);
            self.tape.push(point, event.symbol, entry, may_trigger);
        }
        self.entries.clear();
    }

    /// Has everything brought that the messages will need. Each round asks for what the one before it has found; within a round no
    /// message waits for another.
    fn touch(&self) {
        for message in &self.gathered {
            self.books.prefetch_order(message.feed, &message.event);
            self.tape.prefetch_place(message.point, message.event.symbol);
        }
        for message in &self.gathered {
            black_box(self.books.touch_level(message.feed, &message.event));
        }
    }

    /// What tape and links know of messages so far means nothing for what comes from now on. The books go on.
    pub(super) fn forget_times(&mut self, symbols: &Symbols) {
        self.settle(symbols);
        self.tape.forget();
        self.links.forget_causes();
    }

    /// What is known of messages that were settled.
    pub(super) fn tape(&self) -> &Tape {
        &self.tape
    }

    pub(super) fn links(&self) -> &Links {
        &self.links
    }
}
