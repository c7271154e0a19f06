//! Reading a mapped capture ahead of the stages. Other threads take blocks of the file apart with what the stages knew a
//! moment ago ([`Known`]): packets of known market-data flows that hold no surprise become ticks at once, and all other
//! frames are left to the stages, in their places. So it does not matter how many threads there are, or how far ahead they
//! are: what they leave undone is done by the stages, with the same result. Where a block begins is guessed, and the guess
//! is good only if the file's own reader comes to exactly that place.

use std::ops::Range;
use std::panic::{self, AssertUnwindSafe};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use tickscope_decoders::{Skim, SkimmedPacket};
use tickscope_model::{Frame, Timestamp};

use crate::capture::{Ahead, Arriving, BLOCK_BYTES, Block, Record, Shelf, Span};
use crate::dissect::{Alike, Datagram, HEADERS, alike, datagram};
use crate::flow::{SkimmedFlow, packed_key};
use crate::merge::HIGHEST_SEQUENCE;

/// Blocks beyond one for each thread that are read, or waiting to be used: few enough to be in the caches still.
const BLOCKS_WAITING: usize = 8;

/// What is known of the market-data flows at one moment.
#[derive(Default)]
pub struct Known {
    flows: Vec<SkimmedFlow>,
    /// 1 + places in `flows`, by a hash of the packed key: a power of two of them, at least half of them empty.
    slots: Vec<u16>,
}

impl Known {
    pub fn new(mut flows: Vec<SkimmedFlow>) -> Known {
        flows.truncate(usize::from(u16::MAX));
        let mut slots = vec![0; (flows.len() * 2).next_power_of_two()];
        for (number, flow) in (1..=u16::MAX).zip(&flows) {
            let mut at = slot(flow.key, slots.len());
            while slots[at] != 0 {
                at = (at + 1) % slots.len();
            }
            slots[at] = number;
        }
        Known { flows, slots }
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
    span: Arc<Span>,
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
    jobs: Arc<Jobs>,
    blocks: Receiver<(usize, Option<Block>)>,
    /// Blocks that are not wanted yet.
    ready: Vec<(usize, Option<Block>)>,
    /// So many pieces are given out in advance.
    depth: usize,
}

/// The pieces that may be read and were not begun.
#[derive(Default)]
struct Jobs {
    pieces: Mutex<Pieces>,
    more: Condvar,
}

#[derive(Default)]
struct Pieces {
    range: Range<usize>,
    /// Nobody wants anything any more.
    is_over: bool,
}

impl Jobs {
    fn pieces(&self) -> MutexGuard<'_, Pieces> {
        self.pieces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next piece; waits until there is one, `None` at the end.
    fn wait(&self) -> Option<usize> {
        let is_idle = |pieces: &mut Pieces| pieces.range.is_empty() && !pieces.is_over;
        let mut pieces = self.more.wait_while(self.pieces(), is_idle).unwrap_or_else(PoisonError::into_inner);
        if pieces.is_over { None } else { pieces.range.next() }
    }

    /// The next piece, if there is one.
    fn take(&self) -> Option<usize> {
        self.pieces().range.next()
    }

    /// Nothing before `piece` is wanted, and everything before `until` will be. Those who wait are woken for several pieces
    /// at once, since waking a thread takes as long as a good part of one.
    fn want(&self, piece: usize, until: usize, depth: usize) {
        let mut pieces = self.pieces();
        pieces.range.start = pieces.range.start.max(piece);
        if pieces.range.end < until && pieces.range.end <= piece + depth / 2 {
            pieces.range.end = until.max(pieces.range.start);
            drop(pieces);
            self.more.notify_all();
        }
    }
}

impl Drop for Helpers {
    fn drop(&mut self) {
        self.jobs.pieces().is_over = true;
        self.jobs.more.notify_all();
    }
}

impl ReadAhead {
    /// Without threads, a block is read when it is asked for.
    pub fn new(span: Span, near: Timestamp, point: u16, board: Board, (threads, piece): (usize, usize)) -> ReadAhead {
        let piece = piece.clamp(1, BLOCK_BYTES);
        let source = Arc::new(Source { span: Arc::new(span), point, board, near, piece, shelf: Shelf::default() });
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
        let guessed = self.helpers.as_mut().and_then(|helpers| helpers.take(piece, &self.source));
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
        let (done, blocks) = channel();
        let jobs = Arc::new(Jobs::default());
        for _ in 0..threads {
            let (source, jobs, done) = (source.clone(), jobs.clone(), done.clone());
            let helper = thread::Builder::new().name("read ahead".to_owned());
            // Without a helper the others do its work, and without any the blocks are read when they are asked for.
            if helper.spawn(move || help(&source, &jobs, &done)).is_err() {
                break;
            }
        }
        Helpers { jobs, blocks, ready: Vec::new(), depth: BLOCKS_WAITING + threads }
    }

    /// The block of this piece, if one could be read; gives out pieces further on. Who has to wait for a block reads
    /// another one meanwhile.
    fn take(&mut self, piece: usize, source: &Source) -> Option<Block> {
        if piece >= source.pieces() {
            return None;
        }
        self.jobs.want(piece, (piece + self.depth).min(source.pieces()), self.depth);
        self.ready.retain(|(number, _)| *number >= piece);
        if let Some(at) = self.ready.iter().position(|(number, _)| *number == piece) {
            return self.ready.swap_remove(at).1;
        }
        loop {
            let done = match self.blocks.try_recv() {
                Ok(done) => done,
                Err(_) => match self.jobs.take() {
                    Some(next) => (next, source.guess(next)),
                    None => self.blocks.recv().ok()?,
                },
            };
            match done {
                (number, block) if number == piece => return block,
                later if later.0 > piece => self.ready.push(later),
                _ => {} // of a piece that was passed over
            }
        }
    }
}

/// What a helper does until nobody wants anything any more.
fn help(source: &Source, jobs: &Jobs, done: &Sender<(usize, Option<Block>)>) {
    while let Some(piece) = jobs.wait() {
        let block = source.guess(piece);
        source.span.give_back();
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

    /// The block of a piece, if it can be told where it begins.
    fn guess(&self, piece: usize) -> Option<Block> {
        let (from, until) = (piece * self.piece, (piece + 1) * self.piece);
        // A mistake of ours in here must not leave the stages waiting: what is not read is read by them.
        let read = panic::catch_unwind(AssertUnwindSafe(|| {
            let start = self.span.guess(from, until, self.near)?;
            Some(self.read(start, until, &self.board.get()))
        }));
        read.unwrap_or_default()
    }

    /// Reads the records that begin between `start` and `until`; ends early where a record is not an ordinary one.
    fn read(&self, start: usize, until: usize, known: &Known) -> Block {
        let mut block = Block::begin(start, &self.span, &self.shelf);
        let mut latest = Timestamp::MIN;
        let bytes = self.span.bytes();
        while block.end < until
            && !block.is_full()
            && let Some(rest) = bytes.get(block.end..)
            && let Some(record) = self.span.record_in(rest)
        {
            let (frame, from_frame) = (self.span.frame_of(&record, record.frame(rest)), record.from_frame(rest));
            // A frame that steps back in time is left to the stages, so that packets of a block are in order.
            let is_late = record.time < latest;
            let found = if is_late { None } else { self.skim(&frame, from_frame, known, &mut block) };
            if found.is_none() {
                block.add_frame(&frame);
            }
            latest = record.time.max(latest);
            block.frames += 1;
            block.end += record.length;
            if let Some(next) = found.and_then(|(flow, payload)| Next::new(&frame, flow, payload)) {
                let to = (until, latest);
                latest = match (self.span.common(), next.skim.as_itch50()) {
                    (Some(common), Some(itch)) => {
                        self.follow(|bytes| common.record(bytes), (&next, itch), to, &mut block)
                    }
                    _ => self.follow(|bytes| self.span.record_in(bytes), (&next, next.skim), to, &mut block),
                };
            }
        }
        block.close();
        block
    }

    /// Adds the packets that continue the run at hand, up to the first frame that is not one. Nearly all frames of nearly all
    /// captures go through here, and through nothing else before somebody asks for them.
    #[inline(never)]
    fn follow<S: Skim + ?Sized>(
        &self,
        record_in: impl Fn(&[u8]) -> Option<Record>,
        (next, skimmer): (&Next<'_>, &S),
        (until, mut latest): (usize, Timestamp),
        block: &mut Block,
    ) -> Timestamp {
        let mut rest = self.span.bytes().get(block.end..).unwrap_or(&[]);
        while block.end < until
            && !block.is_full()
            && let Some(record) = record_in(rest)
            && record.time >= latest
            && let Some((headers, behind)) = record.from_frame(rest).split_first_chunk::<HEADERS>()
            && let Some((ip_id, length)) = next.alike.payload(headers, record.captured)
            && next.session.stands_in(behind)
            && let Some(SkimmedPacket { first, count, marks }) = skimmer.skim(behind, length, block.marks())
        {
            let (first, time, bytes) = (first.get(), record.time, record.captured);
            if first > HIGHEST_SEQUENCE || !block.go_on(&Arriving { first, count, time, bytes, ip_id, marks }) {
                break;
            }
            latest = time;
            block.frames += 1;
            block.end += record.length;
            rest = rest.get(record.length..).unwrap_or(&[]);
        }
        latest
    }

    /// Adds a frame, which these bytes begin with, as a packet of market data, if it is one without surprises, and returns its
    /// flow and what UDP carries.
    #[inline(never)]
    fn skim<'a, 'b>(
        &self,
        frame: &Frame<'b>,
        from_frame: &[u8],
        known: &'a Known,
        block: &mut Block,
    ) -> Option<(&'a SkimmedFlow, &'b [u8])> {
        let Datagram { addresses, ports, ip_id, payload } = datagram(frame)?;
        let flow = known.find(packed_key(self.point, addresses, ports))?;
        block.close_other(&flow.mark);
        let at = payload.as_ptr().addr() - frame.bytes.as_ptr().addr();
        let SkimmedPacket { first, count, marks } =
            flow.skim.skim(from_frame.get(at..)?, payload.len(), block.marks())?;
        let (first, time, bytes) = (first.get(), frame.time, frame.bytes.len());
        if first > HIGHEST_SEQUENCE {
            return None;
        }
        let session = payload.get(flow.session.clone())?;
        let packet = Arriving { first, count, time, bytes, ip_id, marks };
        block.add(session, (flow.mark, &flow.skim), &packet).then_some((flow, payload))
    }
}

/// By which a packet that continues a run is known, and what reads it.
struct Next<'a> {
    alike: Alike,
    session: SessionWords,
    skim: &'a dyn Skim,
}

impl<'a> Next<'a> {
    /// Of the run that this frame was just added to. `None` where it is not of the most common kind.
    fn new(frame: &Frame<'_>, flow: &'a SkimmedFlow, payload: &[u8]) -> Option<Next<'a>> {
        Some(Next {
            alike: alike(frame)?,
            session: SessionWords::new(payload, &flow.session)?,
            skim: flow.skim.as_ref(),
        })
    }
}

/// A session, and where in a packet it stands. All have eight to sixteen bytes: the first and the last eight are all of it.
struct SessionWords([(usize, [u8; 8]); 2]);

impl SessionWords {
    fn new(payload: &[u8], session: &Range<usize>) -> Option<SessionWords> {
        let last = session.end.checked_sub(8).filter(|_| (8..=16).contains(&session.len()))?;
        let word = |at: usize| Some((at, *payload.get(at..)?.first_chunk()?));
        Some(SessionWords([word(session.start)?, word(last)?]))
    }

    /// Whether a packet is of this session.
    #[inline]
    fn stands_in(&self, payload: &[u8]) -> bool {
        let SessionWords([first, last]) = self;
        let stands =
            |(at, word): &(usize, [u8; 8])| payload.get(*at..).and_then(|rest| rest.first_chunk()) == Some(word);
        stands(first) && stands(last)
    }
}
