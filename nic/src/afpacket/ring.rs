//! One ring: an AF_PACKET socket with its memory, read block by block.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::block::{self, Cursor};
use crate::clock::Mapping;
use crate::counters::{Counters, Shown, Tally};
use crate::frame::{Direction, Flags, Frame, Source, is_super_frame};
use crate::receiver::View;
use crate::sys::{self, Mapping as Memory};

const OWNED_BY_US: u32 = libc::TP_STATUS_USER;
const OWNED_BY_KERNEL: u32 = libc::TP_STATUS_KERNEL;

pub(crate) struct Ring {
    socket: Arc<OwnedFd>,
    memory: Memory,
    block_bytes: usize,
    blocks: usize,
    /// The block that is read, or that is waited for.
    at: usize,
    /// Where in it, while it is ours.
    cursor: Option<Cursor>,
    /// Frames were lost before the first one that this block will hold next.
    loss_at: Option<usize>,
    /// Frames lost when that was last asked.
    dropped: u64,
    queue: u32,
}

impl Ring {
    pub(super) fn new(socket: Arc<OwnedFd>, block_bytes: usize, blocks: usize, queue: u32) -> io::Result<Ring> {
        let memory = Memory::of(&socket, block_bytes * blocks, 0)?;
        Ok(Ring { socket, memory, block_bytes, blocks, at: 0, cursor: None, loss_at: None, dropped: 0, queue })
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.cursor.is_some() || self.is_ours(self.at)
    }

    fn is_ours(&self, block: usize) -> bool {
        self.memory.word(block * self.block_bytes + block::STATUS).load(Ordering::Acquire) & OWNED_BY_US != 0
    }

    /// Waits for a block. What happened to the interface comes as an error of the socket.
    pub(crate) fn wait(&self, timeout_ms: u32) -> io::Result<()> {
        let events = sys::poll(&self.socket, libc::POLLIN, timeout_ms)?;
        if events & libc::POLLERR != 0
            && let Some(error) = sys::take_error(&self.socket)?
        {
            return Err(error);
        }
        Ok(())
    }

    /// Shows at most `budget` frames.
    pub(crate) fn each(&mut self, view: &View<'_>, shown: &mut Shown, tell: &mut dyn FnMut(Frame<'_>)) {
        let hardware = view.board.hardware.read();
        while shown.total < view.budget && self.is_ready() {
            let start = self.at * self.block_bytes;
            let has_loss = self.cursor.is_none() && self.loss_at.take_if(|block| *block == self.at).is_some();
            // SAFETY: the status says that the block is ours, and it is given back below, when the slice is gone.
            #[allow(unsafe_code, reason = "memory shared with the kernel")]
            let block = unsafe { self.memory.bytes_mut(start, self.block_bytes) };
            let mut cursor = self.cursor.unwrap_or_else(|| Cursor::open(block));
            let mut flags = if has_loss { Flags::LOSS_BEFORE } else { Flags::default() };
            let mut is_finished = false;
            while shown.total < view.budget {
                match cursor.next(block) {
                    Some(Ok(packet)) => {
                        let mut frame = frame(block, &packet, hardware.as_ref(), view.mtu, self.queue);
                        frame.flags |= std::mem::take(&mut flags);
                        shown.count(&frame);
                        tell(frame);
                    }
                    Some(Err(lost)) => shown.malformed += lost,
                    None => {
                        is_finished = true;
                        break;
                    }
                }
            }
            self.cursor = Some(cursor);
            if is_finished {
                shown.publish(view.tally);
                self.release(view.tally);
            }
        }
    }

    /// Gives the block back to the kernel. Where all blocks were full, the kernel was waiting for just this one, so what it
    /// dropped meanwhile belongs before the next frame that it puts here.
    fn release(&mut self, tally: &Tally) {
        let before = if self.at == 0 { self.blocks - 1 } else { self.at - 1 };
        let was_full = self.is_ours(before);
        self.cursor = None;
        self.memory.word(self.at * self.block_bytes + block::STATUS).store(OWNED_BY_KERNEL, Ordering::Release);
        if was_full && let Ok(counters) = tally.counters() {
            if counters.ring_full > self.dropped {
                self.loss_at = Some(self.at);
            }
            self.dropped = counters.ring_full;
        }
        self.at = (self.at + 1) % self.blocks;
    }

    /// Everything that entered the ring has been read.
    pub(crate) fn is_empty(&self, tally: &Tally) -> bool {
        !self.is_ready() && tally.counters().as_ref().ok().and_then(Counters::waiting) == Some(0)
    }
}

fn frame<'a>(block: &'a [u8], packet: &block::Packet, hardware: Option<&Mapping>, mtu: u32, queue: u32) -> Frame<'a> {
    let bytes = block.get(packet.bytes.clone()).unwrap_or(&[]);
    let is_hardware = packet.status & block::STATUS_HARDWARE != 0;
    let (time_ns, source) = match hardware {
        Some(mapping) if is_hardware => (mapping.utc_ns(packet.stamp_ns), Source::HardwareNic),
        // A stamp of a clock that was never compared with UTC is no time.
        None if is_hardware => (0, Source::None),
        _ => (packet.stamp_ns, Source::KernelSoftware),
    };
    let mut flags = Flags::default();
    let is_cut = (bytes.len() as u64) < u64::from(packet.wire_len);
    let is_super = packet.status & block::STATUS_GSO != 0 || is_super_frame(packet.wire_len, mtu);
    for (is_set, flag) in [
        (is_cut, Flags::TRUNCATED),
        (is_super, Flags::SUPER_FRAME),
        (packet.has_tag_put_back, Flags::VLAN_PUT_BACK),
        (packet.status & block::STATUS_CHECKSUM_NOT_READY != 0, Flags::CHECKSUM_NOT_READY),
    ] {
        if is_set {
            flags |= flag;
        }
    }
    let direction = if packet.is_outgoing { Direction::Out } else { Direction::In };
    Frame { bytes, wire_len: packet.wire_len, time_ns, source, direction, flags, queue }
}
