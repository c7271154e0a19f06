//! The bytes of a capture behind one interface: all of them at once (mapped), or a window that slides (streamed).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::map::{Mapping, prefetch};
use super::stream::Stream;

/// Where the bytes come from.
pub(super) enum Origin {
    Mapped(Arc<Mapping>),
    Streamed(Stream),
    /// A copy of the beginning of another.
    Memory(Vec<u8>),
}

/// The bytes, and how far they were read.
pub(super) struct Bytes {
    origin: Origin,
    /// Next unread byte in the window.
    at: usize,
    /// Where in the (decompressed) input the window begins.
    base: u64,
    /// Where the mapping wants to be told.
    next_window: usize,
    /// The mapping's note of bytes that were gone.
    fault: &'static AtomicUsize,
}

/// A stream has nothing to be told, and loses nothing.
static NO_FAULT: AtomicUsize = AtomicUsize::new(usize::MAX);

/// How far ahead lines are asked for: about the time that memory needs, at a few nanoseconds a frame.
const AHEAD: usize = 1024;

impl Bytes {
    pub(super) fn new(origin: Origin) -> Bytes {
        let (next_window, fault) = match &origin {
            Origin::Mapped(mapping) => (0, mapping.fault()),
            Origin::Streamed(_) | Origin::Memory(_) => (usize::MAX, &NO_FAULT),
        };
        Bytes { origin, at: 0, base: 0, next_window, fault }
    }

    #[inline]
    pub(super) fn window(&self) -> &[u8] {
        match &self.origin {
            Origin::Mapped(mapping) => mapping.bytes(),
            Origin::Streamed(stream) => stream.window(),
            Origin::Memory(bytes) => bytes,
        }
    }

    /// The whole file, where it is mapped.
    pub(super) fn mapping(&self) -> Option<&Arc<Mapping>> {
        match &self.origin {
            Origin::Mapped(mapping) => Some(mapping),
            Origin::Streamed(_) | Origin::Memory(_) => None,
        }
    }

    /// What is unread and in memory.
    #[inline]
    pub(super) fn rest(&self) -> &[u8] {
        self.window().get(self.at..).unwrap_or(&[])
    }

    /// The same, and asks for the lines that will be read soon.
    #[inline]
    pub(super) fn rest_with_look_ahead(&self) -> &[u8] {
        let rest = self.rest();
        prefetch(rest, AHEAD);
        prefetch(rest, AHEAD + 64);
        rest
    }

    /// The place of [`Bytes::rest`] in the window; good until the next call that takes `&mut self`.
    #[inline]
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The same place in the whole (decompressed) input.
    pub(super) fn offset(&self) -> u64 {
        self.base.saturating_add(u64::try_from(self.at).unwrap_or(u64::MAX))
    }

    /// Makes sure that `count` unread bytes are in memory. False where the input ends before.
    #[inline]
    pub(super) fn need(&mut self, count: usize) -> bool {
        self.rest().len() >= count || self.fetch(count)
    }

    #[cold]
    fn fetch(&mut self, count: usize) -> bool {
        let Origin::Streamed(stream) = &mut self.origin else { return false };
        while stream.window().len().saturating_sub(self.at) < count {
            let more = stream.refill(self.at);
            self.base = self.base.saturating_add(u64::try_from(self.at).unwrap_or(u64::MAX));
            self.at = 0;
            if !more {
                return false;
            }
        }
        true
    }

    /// Goes on by `count` bytes that are in memory.
    #[inline]
    pub(super) fn step(&mut self, count: usize) {
        self.at = self.at.saturating_add(count);
        if self.at >= self.next_window {
            self.tell();
        }
    }

    #[cold]
    fn tell(&mut self) {
        if let Origin::Mapped(mapping) = &self.origin {
            self.next_window = mapping.reached(self.at);
        }
    }

    /// Goes on by `count` bytes, whether they are in memory or not. False where the input ends before.
    pub(super) fn skip(&mut self, mut count: usize) -> bool {
        loop {
            let here = self.rest().len();
            if here >= count {
                self.step(count);
                return true;
            }
            count -= here;
            self.at += here;
            if !self.need(1) {
                return false;
            }
        }
    }

    /// Whether bytes of a mapped file were gone when they were read.
    #[inline]
    pub(super) fn has_shrunk(&self) -> bool {
        self.fault.load(Ordering::Relaxed) != usize::MAX
    }

    /// Where a mapped file ends now, if it was longer once.
    pub(super) fn shrunk_to(&self) -> Option<u64> {
        match &self.origin {
            Origin::Mapped(mapping) => mapping.shrunk_to().and_then(|at| u64::try_from(at).ok()),
            Origin::Streamed(_) | Origin::Memory(_) => None,
        }
    }

    /// Why a streamed input ended early.
    pub(super) fn trouble(&self) -> Option<&str> {
        match &self.origin {
            Origin::Mapped(_) | Origin::Memory(_) => None,
            Origin::Streamed(stream) => stream.trouble(),
        }
    }

    /// Bytes of the file as it lies on disk that were read.
    pub(super) fn consumed(&self) -> u64 {
        match &self.origin {
            Origin::Mapped(_) | Origin::Memory(_) => self.offset(),
            Origin::Streamed(stream) => stream.consumed(),
        }
    }
}
