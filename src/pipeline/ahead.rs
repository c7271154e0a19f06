//! Reading a mapped capture ahead of the stages. Other threads take blocks of the file apart with what the stages knew a
//! moment ago ([`Known`]): packets of known market-data flows that hold no surprise become ticks at once, and all other
//! frames are left to the stages, in their places. So it does not matter how many threads there are, or how far ahead they
//! are: what they leave undone is done by the stages, with the same result. Where a block begins is guessed, and the guess
//! is good only if the file's own reader comes to exactly that place.

use std::panic::{self, AssertUnwindSafe};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tickscope_model::{Frame, SymbolId, Timestamp};

use crate::capture::{Ahead, BLOCK_BYTES, Block, Shelf, Skimmed, Span};
use crate::dissect::datagram;
use crate::flow::{SkimmedFlow, packed_key};
use crate::merge::HIGHEST_SEQUENCE;

/// Blocks beyond one for each thread that are read, or waiting to be used: some 10 MB.
const BLOCKS_WAITING: usize = 16;

/// What is known of the market-data flows at one moment.
#[derive(Default)]
pub struct Known {
    flows: Vec<SkimmedFlow>,
    /// 1 + places in `flows`, by a hash of the packed key: a power of two of them, at least half of them empty.
    slots: Vec<u16>,
    /// Symbols whose messages the stages must see one by one.
    watched: Vec<bool>,
}

impl Known {
    pub fn new(mut flows: Vec<SkimmedFlow>, watched: &[bool]) -> Known {
        flows.truncate(usize::from(u16::MAX));
        let mut slots = vec![0; (flows.len() * 2).next_power_of_two()];
        for (number, flow) in (1..=u16::MAX).zip(&flows) {
            let mut at = slot(flow.key, slots.len());
            while slots[at] != 0 {
                at = (at + 1) % slots.len();
            }
            slots[at] = number;
        }
        Known { flows, slots, watched: watched.to_vec() }
    }

    #[inline]
    fn find(&self, key: u128) -> Option<&SkimmedFlow> {
        if let [only] = self.flows.as_slice() {
            return (only.key == key).then_some(only);
        }
        let mut at = slot(key, self.slots.len());
        loop {
            let flow = self.flows.get(usize::from(self.slots.get(at)?.checked_sub(1)?))?;
            if flow.key == key {
                return Some(flow);
            }
            at = (at + 1) % self.slots.len();
        }
    }
}

/// Where a key belongs, of a power of two of places.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "a hash keeps some of the bits")]
fn slot(key: u128, places: usize) -> usize {
    let mixed = (key as u64 ^ (key >> 64) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 40) as usize & places.wrapping_sub(1)
}

/// Where the stages put what they know, for those who read ahead.
#[derive(Clone, Default)]
pub struct Board(Arc<Mutex<Arc<Known>>>);

impl Board {
    pub fn put(&self, known: Known) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(known);
    }

    fn get(&self) -> Arc<Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Reads one file ahead.
pub struct ReadAhead {
    source: Arc<Source>,
    helpers: Option<Helpers>,
    /// The first piece of the file that was not asked for.
    next: usize,
}

/// What all threads share.
struct Source {
    span: Span,
    /// The observation point of the file's tap.
    point: u16,
    board: Board,
    /// A time of this file.
    near: Timestamp,
    /// Bytes of a piece of the file.
    piece: usize,
    shelf: Shelf,
}

/// The other threads: numbers of pieces go in, blocks come out in any order.
struct Helpers {
    jobs: Sender<usize>,
    blocks: Receiver<(usize, Option<Block>)>,
    /// The first piece that was not given out.
    next: usize,
    /// Blocks that are not wanted yet.
    ready: Vec<(usize, Option<Block>)>,
    /// So many pieces are given out in advance.
    depth: usize,
}

impl ReadAhead {
    /// Without threads, a block is read when it is asked for.
    pub fn new(span: Span, near: Timestamp, point: u16, board: Board, (threads, piece): (usize, usize)) -> ReadAhead {
        let piece = piece.clamp(1, BLOCK_BYTES);
        let source = Arc::new(Source { span, point, board, near, piece, shelf: Shelf::default() });
        let helpers = (threads > 0).then(|| Helpers::start(&source, threads));
        ReadAhead { source, helpers, next: 0 }
    }
}

impl Ahead for ReadAhead {
    fn block(&mut self, place: usize) -> Option<Block> {
        let piece = place / self.source.piece;
        if piece < self.next {
            return None;
        }
        self.next = piece + 1;
        let known = self.source.board.get();
        if known.flows.is_empty() {
            return None;
        }
        let guessed = self.helpers.as_mut().and_then(|helpers| helpers.take(piece, self.source.pieces()));
        let block = guessed
            .filter(|block| block.start == place)
            .unwrap_or_else(|| self.source.read(place, (piece + 1) * self.source.piece, &known));
        (block.frames > 0).then_some(block)
    }

    fn span(&self) -> &Span {
        &self.source.span
    }
}

impl Helpers {
    fn start(source: &Arc<Source>, threads: usize) -> Helpers {
        let (jobs, queue) = channel();
        let (done, blocks) = channel();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..threads {
            let (source, queue, done) = (source.clone(), queue.clone(), done.clone());
            let helper = thread::Builder::new().name("read ahead".to_owned());
            // Without a helper the others do its work, and without any the blocks are read when they are asked for.
            if helper.spawn(move || help(&source, &queue, &done)).is_err() {
                break;
            }
        }
        Helpers { jobs, blocks, next: 0, ready: Vec::new(), depth: BLOCKS_WAITING + threads }
    }

    /// The block of this piece, if one could be read; gives out pieces further on.
    fn take(&mut self, piece: usize, pieces: usize) -> Option<Block> {
        self.next = self.next.max(piece);
        while self.next < (piece + self.depth).min(pieces) {
            self.jobs.send(self.next).ok()?;
            self.next += 1;
        }
        if piece >= self.next {
            return None; // the end of the file
        }
        self.ready.retain(|(number, _)| *number >= piece);
        if let Some(at) = self.ready.iter().position(|(number, _)| *number == piece) {
            return self.ready.swap_remove(at).1;
        }
        loop {
            match self.blocks.recv().ok()? {
                (number, block) if number == piece => return block,
                later if later.0 > piece => self.ready.push(later),
                _ => {} // of a piece that was passed over
            }
        }
    }
}

/// What a helper does until nobody wants anything any more.
fn help(source: &Source, queue: &Mutex<Receiver<usize>>, done: &Sender<(usize, Option<Block>)>) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(piece) = job else { return };
        let (from, until) = (piece * source.piece, (piece + 1) * source.piece);
        // A mistake of ours in here must not leave the stages waiting: what is not read is read by them.
        let read = panic::catch_unwind(AssertUnwindSafe(|| {
            let start = source.span.guess(from, until, source.near)?;
            Some(source.read(start, until, &source.board.get()))
        }));
        let block = read.unwrap_or_default();
        if done.send((piece, block)).is_err() {
            return;
        }
    }
}

impl Source {
    /// How many pieces the file has.
    fn pieces(&self) -> usize {
        self.span.length().div_ceil(self.piece)
    }

    /// Reads the records that begin between `start` and `until`; ends early where a record is not an ordinary one.
    fn read(&self, start: usize, until: usize, known: &Known) -> Block {
        let mut block = Block::begin(start, &self.shelf);
        let mut latest = Timestamp::MIN;
        while block.end < until
            && let Ok(number) = u16::try_from(block.frames)
            && let Some((record, frame)) = self.span.read(block.end)
        {
            let at = u32::try_from(block.end - start).unwrap_or(u32::MAX);
            let ticks = block.ticks.count();
            // A frame that steps back in time is left to the stages, so that ticks of a block are in order.
            if record.time < latest || self.skim(&frame, (at, number), known, &mut block).is_none() {
                block.ticks.cut(ticks);
                block.add_frame(number, &frame);
            }
            latest = latest.max(record.time);
            block.frames += 1;
            block.end = record.next;
        }
        block
    }

    /// Adds a frame as a packet of market data, if it is one without surprises.
    #[inline]
    fn skim(&self, frame: &Frame<'_>, (at, number): (u32, u16), known: &Known, block: &mut Block) -> Option<()> {
        let datagram = datagram(frame)?;
        let flow = known.find(packed_key(self.point, datagram.addresses, datagram.ports))?;
        let tick = block.ticks.count();
        block.ticks.begin_packet(u16::try_from(block.packets.len()).ok()?);
        let unit = flow.skim.skim(datagram.payload, &mut block.ticks)?;
        if !known.watched.is_empty() {
            let is_watched = |symbol: SymbolId| known.watched.get(symbol.0 as usize).copied().unwrap_or(false);
            let glances = block.ticks.between(tick + 1, block.ticks.count() + 1);
            if glances.iter().any(|glance| is_watched(glance.symbol)) {
                return None;
            }
        }
        if unit.first == 0 || unit.first > HIGHEST_SEQUENCE {
            return None;
        }
        let bytes = block.packet_bytes() + u32::try_from(frame.bytes.len()).ok()?;
        let (time, first, ip_id) = (frame.time, unit.first, datagram.ip_id);
        block.add(flow.mark, &unit, Skimmed { time, first, at, tick, bytes, frame: number, ip_id }).then_some(())
    }
}
