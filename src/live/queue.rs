//! From a receiver's thread to the engine's: a bounded queue of batches of frames, one writer and one reader. All memory is
//! there from the start and goes round: full batches one way, empty ones back, of which the last one is filled first, since it is
//! still in the caches. Writing takes no lock, allocates nothing and waits for nobody; where no empty batch is left the newest
//! frames are dropped and counted.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::Thread;

/// Bytes of frames in a batch, and how many frames.
pub(super) const BATCH_BYTES: usize = 128 << 10;
const BATCH_FRAMES: usize = 1024;
/// So many batches go round at least.
const FEWEST: usize = 2;
/// The engine looks at its queues by itself, often enough; it is woken once this part of the batches waits.
const WAKING_PART: u64 = 8;
/// A batch that is not full is handed over after so long. Many small ones would need more room in the caches than few: all begin at
/// like addresses.
const FILLING_NS: u64 = 20_000_000;

/// Frames that are brought into the cache together, and how much of each: headers and first message.
const TOUCHED_FRAMES: usize = 16;
const TOUCHED_BYTES: usize = 192;
const CACHE_LINE: usize = 64;

/// What is known of a frame beside its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    /// Nanoseconds since the epoch, UTC; 0 where nobody stamped it.
    pub time_ns: u64,
    pub wire_len: u32,
    length: u32,
    /// Frames were lost between the one before and this one.
    pub lost_before: bool,
    /// By this host, not received.
    pub is_sent: bool,
}

impl Head {
    #[inline]
    pub(super) fn new(time_ns: u64, wire_len: u32, lost_before: bool) -> Head {
        Head { time_ns, wire_len, length: 0, lost_before, is_sent: false }
    }
}

/// Frames on their way.
pub(super) struct Batch {
    heads: Vec<Head>,
    bytes: Vec<u8>,
}

impl Batch {
    fn new() -> Batch {
        Batch { heads: Vec::with_capacity(BATCH_FRAMES), bytes: Vec::with_capacity(BATCH_BYTES) }
    }

    /// Reads the first bytes of some frames from this one on, which begins here, so that they are waited for all at once: another
    /// processor wrote them. Returns the frame behind them.
    fn touch(&self, frame: usize, byte: usize) -> usize {
        let (mut from, mut sum) = (byte, 0_u8);
        let some = self.heads.iter().skip(frame).take(TOUCHED_FRAMES);
        for head in some {
            for at in (0..(head.length as usize).min(TOUCHED_BYTES)).step_by(CACHE_LINE) {
                sum = sum.wrapping_add(self.bytes[from + at]);
            }
            from += head.length as usize;
        }
        std::hint::black_box(sum);
        frame + TOUCHED_FRAMES
    }

    fn has_room(&self, length: usize) -> bool {
        self.heads.len() < BATCH_FRAMES && self.bytes.len() + length <= BATCH_BYTES
    }
}

/// What both ends count. Each number is written by one thread.
#[derive(Default)]
pub(super) struct Tally {
    /// Frames that went into the queue.
    pub copied: AtomicU64,
    /// Frames for which there was no room.
    pub dropped: AtomicU64,
    /// Frames that the engine has taken out.
    pub taken: AtomicU64,
    /// Batches that wait for the engine.
    waiting: AtomicU64,
    /// No frame that comes from now on is older than this.
    promised_ns: AtomicU64,
    is_ended: AtomicBool,
}

/// The receiver's end.
pub(super) struct Writer {
    batch: Option<Box<Batch>>,
    /// When it was first looked at whether this one is to be handed over; 0 where it was not yet.
    since_ns: u64,
    full: SyncSender<Box<Batch>>,
    empty: Receiver<Box<Batch>>,
    /// Those that came back, the last one last.
    #[allow(clippy::vec_box, reason = "the same boxes go through the channels")]
    spare: Vec<Box<Batch>>,
    tally: Arc<Tally>,
    engine: Thread,
    /// It is woken where so many batches wait.
    waking: u64,
    /// Frames were dropped, and none went in since.
    has_dropped: bool,
}

/// The engine's end.
pub(super) struct Reader {
    batch: Option<Box<Batch>>,
    frame: usize,
    byte: usize,
    /// Frames before this one were touched.
    touched: usize,
    full: Receiver<Box<Batch>>,
    empty: SyncSender<Box<Batch>>,
    /// Batches that were looked at already, and wait to be read.
    seen: VecDeque<Box<Batch>>,
    /// So many go round.
    count: usize,
    pub tally: Arc<Tally>,
}

/// A queue of about so many bytes; `engine` is woken when there is much to read.
pub(super) fn queue(bytes: usize, engine: Thread) -> (Writer, Reader) {
    let count = (bytes / BATCH_BYTES).max(FEWEST);
    let (full, from_full) = sync_channel(count);
    let (empty, from_empty) = sync_channel(count);
    let spare = (0..count).map(|_| Box::new(Batch::new())).collect();
    let tally = Arc::new(Tally::default());
    let writer = Writer {
        batch: None,
        since_ns: 0,
        full,
        empty: from_empty,
        spare,
        tally: Arc::clone(&tally),
        engine,
        waking: (count as u64 / WAKING_PART).max(1),
        has_dropped: false,
    };
    let seen = VecDeque::with_capacity(count);
    (writer, Reader { batch: None, frame: 0, byte: 0, touched: 0, full: from_full, empty, seen, count, tally })
}

impl Writer {
    /// Copies a frame, or counts it as dropped. One that is longer than any batch is cut.
    #[inline]
    pub(super) fn push(&mut self, mut head: Head, bytes: &[u8]) {
        let bytes = &bytes[..bytes.len().min(BATCH_BYTES)];
        if self.batch.as_ref().is_some_and(|batch| !batch.has_room(bytes.len())) {
            self.flush();
        }
        if self.batch.is_none() {
            self.spare.extend(self.empty.try_iter());
            self.batch = self.spare.pop();
        }
        let Some(batch) = &mut self.batch else {
            add(&self.tally.dropped, 1);
            self.has_dropped = true;
            return;
        };
        head.length = u32::try_from(bytes.len()).expect("no longer than a batch");
        head.lost_before |= std::mem::take(&mut self.has_dropped);
        batch.heads.push(head);
        batch.bytes.extend_from_slice(bytes);
    }

    /// Frames of one look at the ring were pushed, at this time: the engine gets them soon, unless much waits for it. Then batches
    /// are filled first.
    #[inline]
    pub(super) fn pause(&mut self, now_ns: u64) {
        if self.since_ns == 0 {
            self.since_ns = now_ns;
        }
        // The clock may be set back.
        let is_due = now_ns.abs_diff(self.since_ns) >= FILLING_NS;
        if is_due && self.tally.waiting.load(Ordering::Relaxed) < self.waking {
            self.flush();
        }
    }

    /// Hands over what there is.
    pub(super) fn flush(&mut self) {
        let Some(batch) = self.batch.take_if(|batch| !batch.heads.is_empty()) else { return };
        self.since_ns = 0;
        add(&self.tally.copied, batch.heads.len() as u64);
        let waiting = self.tally.waiting.fetch_add(1, Ordering::Relaxed) + 1;
        // There is room for all batches; without an engine nobody wants them.
        let _ = self.full.try_send(batch);
        if waiting >= self.waking {
            self.engine.unpark();
        }
    }

    /// All frames older than this were flushed.
    pub(super) fn promise(&self, time_ns: u64) {
        self.tally.promised_ns.store(time_ns, Ordering::Release);
    }

    /// No more frames come.
    pub(super) fn end(mut self) {
        self.flush();
        self.tally.is_ended.store(true, Ordering::Release);
        self.engine.unpark();
    }
}

/// Only one thread writes this number, so it needs no atomic addition.
#[inline]
pub(super) fn add(number: &AtomicU64, more: u64) {
    number.store(number.load(Ordering::Relaxed) + more, Ordering::Relaxed);
}

impl Reader {
    /// The next frame's head; `None` where nothing is there now.
    #[inline]
    pub(super) fn head(&mut self) -> Option<Head> {
        loop {
            if let Some(batch) = &self.batch {
                if let Some(head) = batch.heads.get(self.frame) {
                    if self.frame >= self.touched {
                        self.touched = batch.touch(self.frame, self.byte);
                    }
                    return Some(*head);
                }
                self.give_back();
            }
            let next = self.seen.pop_front().map_or_else(|| self.receive(), Ok);
            match next {
                Ok(batch) => (self.batch, self.frame, self.byte, self.touched) = (Some(batch), 0, 0, 0),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return None,
            }
        }
    }

    /// The bytes of the frame whose head was shown last; it stays where it is.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        let Some((batch, head)) = self.batch.as_ref().and_then(|batch| Some((batch, batch.heads.get(self.frame)?)))
        else {
            return &[];
        };
        &batch.bytes[self.byte..self.byte + head.length as usize]
    }

    /// Shows the frames that have come since this was called last, and leaves them to be read. Nothing may have been read
    /// of them before.
    pub(super) fn look_ahead(&mut self, mut show: impl FnMut(&Head, &[u8])) {
        while let Ok(batch) = self.receive() {
            let mut from = 0;
            for head in &batch.heads {
                let length = head.length as usize;
                show(head, &batch.bytes[from..from + length]);
                from += length;
            }
            self.seen.push_back(batch);
        }
    }

    #[inline]
    fn receive(&mut self) -> Result<Box<Batch>, TryRecvError> {
        self.full.try_recv().inspect(|_| {
            self.tally.waiting.fetch_sub(1, Ordering::Relaxed);
        })
    }

    /// How much of what the queue can hold waits to be read, thousandths.
    pub(super) fn fill_permille(&self) -> u16 {
        let waiting = usize::try_from(self.tally.waiting.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        let share = waiting.saturating_add(self.seen.len()).saturating_mul(1000) / self.count.max(1);
        u16::try_from(share.min(1000)).unwrap_or(1000)
    }

    /// Whether half of what the queue can hold waits to be read.
    pub(super) fn is_half_full(&self) -> bool {
        self.fill_permille() >= 500
    }

    fn give_back(&mut self) {
        if let Some(mut batch) = self.batch.take() {
            batch.heads.clear();
            batch.bytes.clear();
            // There is room for all batches; without a receiver nobody wants them.
            let _ = self.empty.try_send(batch);
        }
    }

    /// The bytes of the frame whose head was shown last; it is taken with this.
    #[inline]
    pub(super) fn take(&mut self) -> &[u8] {
        let Some(batch) = &self.batch else { return &[] };
        let Some(head) = batch.heads.get(self.frame) else { return &[] };
        let from = self.byte;
        self.frame += 1;
        self.byte += head.length as usize;
        add(&self.tally.taken, 1);
        &batch.bytes[from..self.byte]
    }

    /// No frame that comes from now on is older than this. To be asked before [`Reader::head`] is.
    pub(super) fn promised_ns(&self) -> u64 {
        self.tally.promised_ns.load(Ordering::Acquire)
    }

    /// Likewise: whether frames that are not there yet will never be.
    pub(super) fn is_ended(&self) -> bool {
        self.tally.is_ended.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(time_ns: u64) -> Head {
        Head::new(time_ns, 60, false)
    }

    fn read(reader: &mut Reader) -> Vec<(u64, bool, usize)> {
        let mut all = Vec::new();
        while let Some(head) = reader.head() {
            all.push((head.time_ns, head.lost_before, reader.take().len()));
        }
        all
    }

    #[test]
    fn a_full_queue_drops_the_newest_frames_counts_them_and_marks_the_next() {
        let (mut writer, mut reader) = queue(0, std::thread::current());
        let frame = vec![7; BATCH_BYTES / 2];
        (1..=6).for_each(|time| writer.push(head(time), &frame));
        writer.flush();
        assert_eq!(writer.tally.dropped.load(Ordering::Relaxed), 2);
        let seen = read(&mut reader);
        assert_eq!(seen, [1, 2, 3, 4].map(|time| (time, false, frame.len())));
        (7..=8).for_each(|time| writer.push(head(time), &frame[..60]));
        writer.flush();
        assert_eq!(read(&mut reader), [(7, true, 60), (8, false, 60)]);
        let (copied, taken) = (writer.tally.copied.load(Ordering::Relaxed), reader.tally.taken.load(Ordering::Relaxed));
        assert_eq!((copied, taken), (6, 6));
    }

    #[test]
    fn a_frame_longer_than_a_batch_is_cut() {
        let (mut writer, mut reader) = queue(0, std::thread::current());
        writer.push(head(1), &vec![1; BATCH_BYTES + 1]);
        writer.push(head(2), &[1; 60]);
        writer.end();
        assert_eq!(read(&mut reader), [(1, false, BATCH_BYTES), (2, false, 60)]);
        assert!(reader.is_ended());
    }

    #[test]
    fn batches_are_filled_while_the_engine_is_busy() {
        let (mut writer, mut reader) = queue(1 << 20, std::thread::current());
        let copied = |writer: &Writer| writer.tally.copied.load(Ordering::Relaxed);
        for time in 1..=100 {
            writer.push(head(time), &[1; 60]);
            writer.pause(time * FILLING_NS / 10);
        }
        assert_eq!(copied(&writer), 11, "the first are there when they have gathered, the others wait for the engine");
        assert_eq!(read(&mut reader).len(), 11);
        writer.pause(100 * FILLING_NS / 10);
        assert_eq!(read(&mut reader).len(), 89);
    }
}
