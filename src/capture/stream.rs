//! Input that cannot be mapped: pipes, and everything compressed. A thread of its own reads and decompresses into
//! blocks of about 1 MiB and hands them over, a bounded number of them; the reader sees a window that slides along.
//! A block has room in front of its data, where the unfinished rest of the block before it is put: records that
//! lie across the border become contiguous without copying the block.

use std::io::Read;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, channel, sync_channel};
use std::thread;

use super::inflate::{Inflater, Source};

/// Room in front of a block; longer rests are joined by copying.
const HEADROOM: usize = 64 << 10;

/// Blocks that may wait for the reader. One more is being read and one being filled.
const WAITING: usize = 2;

/// A piece of the (decompressed) input.
struct Block {
    /// Data lies at `start..end`.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes of the compressed input that were used up to here, for the progress bar.
    consumed: u64,
}

enum Handover {
    Block(Block),
    End(End),
}

/// What the other thread said last.
enum End {
    NotYet,
    Whole,
    Broken(String),
}

/// The reader's end.
pub(super) struct Stream {
    blocks: Receiver<Handover>,
    empties: std::sync::mpsc::Sender<Vec<u8>>,
    current: Block,
    end: End,
}

impl Stream {
    /// Starts the thread. `block_bytes` is how much is handed over at once.
    pub(super) fn start(source: Source, block_bytes: usize) -> std::io::Result<Stream> {
        let (full, blocks) = sync_channel(WAITING);
        let (empties, returned) = channel();
        thread::Builder::new()
            .name("decompress".to_owned())
            .spawn(move || produce(source, block_bytes, &full, &returned))?;
        let current = Block { buffer: Vec::new(), start: 0, end: 0, consumed: 0 };
        Ok(Stream { blocks, empties, current, end: End::NotYet })
    }

    /// What is in memory and not released by [`Stream::refill`].
    #[inline]
    pub(super) fn window(&self) -> &[u8] {
        self.current.buffer.get(self.current.start..self.current.end).unwrap_or(&[])
    }

    /// Forgets the first `used` bytes of the window and gets more behind the rest. False at the end of the input.
    pub(super) fn refill(&mut self, used: usize) -> bool {
        self.current.start = self.current.end.min(self.current.start.saturating_add(used));
        if !matches!(self.end, End::NotYet) {
            return false;
        }
        match self.blocks.recv() {
            Ok(Handover::Block(block)) => {
                self.append(block);
                true
            }
            Ok(Handover::End(end)) => {
                self.end = end;
                false
            }
            Err(_) => {
                self.end = End::Broken("the decompressor stopped".to_owned());
                false
            }
        }
    }

    fn append(&mut self, mut block: Block) {
        let rest = self.current.buffer.get(self.current.start..self.current.end).unwrap_or(&[]);
        if let Some(start) = block.start.checked_sub(rest.len()) {
            if let Some(room) = block.buffer.get_mut(start..block.start) {
                room.copy_from_slice(rest);
                block.start = start;
            }
        } else {
            let data = block.buffer.get(block.start..block.end).unwrap_or(&[]);
            let joined = [rest, data].concat();
            block = Block { start: 0, end: joined.len(), buffer: joined, consumed: block.consumed };
        }
        let old = std::mem::replace(&mut self.current, block);
        // The other thread may be gone; then nobody needs the buffer.
        let _ = self.empties.send(old.buffer);
    }

    /// Why the input ended early; `None` while it has not, or where it ended well.
    pub(super) fn trouble(&self) -> Option<&str> {
        match &self.end {
            End::NotYet | End::Whole => None,
            End::Broken(reason) => Some(reason),
        }
    }

    /// Bytes of the input as it lies on disk that were used up to the current block.
    pub(super) fn consumed(&self) -> u64 {
        self.current.consumed
    }
}

fn produce(source: Source, block_bytes: usize, full: &SyncSender<Handover>, empties: &Receiver<Vec<u8>>) {
    let mut input = match Inflater::new(source) {
        Ok(input) => input,
        Err(error) => {
            let _ = full.send(Handover::End(End::Broken(error.to_string())));
            return;
        }
    };
    // A pipe is handed on as it comes, so that a slow writer is followed; a decompressor fills the block.
    let least = if input.is_plain() { 1 } else { block_bytes };
    loop {
        let mut block = match empties.try_recv() {
            Ok(used) if used.len() == HEADROOM + block_bytes => used,
            Ok(_) | Err(TryRecvError::Empty | TryRecvError::Disconnected) => vec![0; HEADROOM + block_bytes],
        };
        let mut end = HEADROOM;
        let mut ending = End::NotYet;
        while end < HEADROOM + least {
            let Some(behind) = block.get_mut(end..) else { break };
            match input.read(behind) {
                Ok(0) => {
                    ending = End::Whole;
                    break;
                }
                Ok(count) => end += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    ending = End::Broken(input.explain(&error));
                    break;
                }
            }
        }
        let handover = Block { buffer: block, start: HEADROOM, end, consumed: input.consumed() };
        // A closed channel: the reader has gone away, nobody waits for the rest.
        if end > HEADROOM && full.send(Handover::Block(handover)).is_err() {
            return;
        }
        if !matches!(ending, End::NotYet) {
            let _ = full.send(Handover::End(ending));
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(bytes: &[u8], block_bytes: usize, take: usize, keep: usize) -> Vec<u8> {
        let source = Source::new(Box::new(std::io::Cursor::new(bytes.to_vec())));
        let mut stream = Stream::start(source, block_bytes).unwrap();
        let mut seen = Vec::new();
        loop {
            let window = stream.window();
            let used = if window.len() > keep { take.min(window.len() - keep) } else { 0 };
            seen.extend_from_slice(&window[..used]);
            if used == 0 || window.len() - used <= keep {
                if !stream.refill(used) {
                    seen.extend_from_slice(stream.window());
                    break;
                }
            } else {
                // Nothing is lost when a refill comes before the window is empty.
                stream.refill(used);
            }
        }
        assert_eq!(stream.trouble(), None);
        seen
    }

    #[test]
    fn a_rest_in_front_of_the_next_block_changes_nothing() {
        let bytes: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
        for (block, take, keep) in [(1000, 700, 299), (1 << 20, 1 << 19, 100), (100_000, 50_000, 90_000), (64, 7, 5)] {
            assert!(pieces(&bytes, block, take, keep) == bytes, "{block} {take} {keep}");
        }
    }

    #[test]
    fn an_empty_input_is_a_whole_input() {
        assert!(pieces(&[], 1000, 10, 0).is_empty());
    }
}
