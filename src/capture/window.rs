//! A piece of a capture copied into memory that one thread reads through. Measured: two threads that read through a file
//! like this take two thirds of the time that they take through the map, since nobody makes and takes away page tables, and
//! what was just copied still lies in the second cache.

use super::span::Span;

/// Bytes that are copied at once: they fit into the second cache.
const LONGEST: usize = 256 << 10;
/// Copied beyond what was asked for, since the last record reaches over the end.
const BEYOND: usize = 2048;
/// Bytes begin at a multiple of this in memory and in the file. Measured: some processors copy three times slower where
/// only one of them does.
const PAGE: usize = 4096;

/// See the head of this file.
#[derive(Default)]
pub struct Window {
    memory: Vec<u8>,
    /// Where in `memory` the bytes begin.
    shift: usize,
}

impl Window {
    /// The file's bytes from this place on, up to about `until`: not empty before the end of the file.
    pub fn from(&mut self, span: &Span, at: usize, until: usize) -> &[u8] {
        self.copy(span, at, until.saturating_sub(at).saturating_add(BEYOND))
    }

    /// As many of them as there is room for: for a record that is longer than usual.
    pub fn longest_from(&mut self, span: &Span, at: usize) -> &[u8] {
        self.copy(span, at, LONGEST)
    }

    fn copy(&mut self, span: &Span, at: usize, length: usize) -> &[u8] {
        if self.memory.is_empty() {
            self.memory = vec![0; LONGEST + PAGE];
            self.shift = self.memory.as_ptr().align_offset(PAGE) % PAGE;
        }
        let before = at % PAGE;
        let end = self.shift + (before + length).min(LONGEST);
        let room = self.memory.get_mut(self.shift..end).unwrap_or(&mut []);
        let copied = span.copy(at - before, room);
        room.get(before..copied).unwrap_or(&[])
    }
}
