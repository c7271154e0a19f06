//! The program's word to the receiver of a queue that much has come (a BPF ring buffer, Linux Documentation/bpf/ringbuf.rst). So a
//! receiver may sleep while frames gather, and is woken in time however fast they come: poll(2) on the socket itself would wake it
//! for every few of them.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;

use super::bpf;
use crate::sys::{self, Mapping as Memory};

/// There is a word each time this part of the ring has come. Where several processors bring a queue's frames, each counts its own.
const PART: u32 = 8;

/// After how many frames of a queue with such a ring there is a word; a power of two, as the ring.
pub(super) fn every(ring_frames: u32) -> u32 {
    (ring_frames / PART).max(1)
}

/// The receiver's end.
pub(super) struct Alarm {
    map: OwnedFd,
    /// How far words were taken, which is ours to say.
    taken: Memory,
    /// How far there are any.
    given: Memory,
}

impl Alarm {
    pub(super) fn new() -> io::Result<Alarm> {
        let page = sys::page_bytes();
        let map = bpf::create_map(bpf::MapKind::Words, 0, 0, page)?;
        let page = page as usize;
        let taken = Memory::of(&map, page, 0)?;
        let given = Memory::read_only(&map, page, i64::try_from(page).expect("a page"))?;
        Ok(Alarm { map, taken, given })
    }

    pub(super) fn map(&self) -> &OwnedFd {
        &self.map
    }

    /// What was said so far is known.
    pub(super) fn silence(&self) {
        self.taken.long(0).store(self.given.long(0).load(Ordering::Acquire), Ordering::Release);
    }

    /// Waits for a word, a signal, or so long.
    pub(super) fn wait(&self, timeout_ms: u32) -> io::Result<()> {
        sys::poll(&self.map, libc::POLLIN, timeout_ms).map(drop)
    }
}
