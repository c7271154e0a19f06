//! A stretch of a capture that was read ahead, on another thread: the ordinary market-data packets of it as runs, ready to
//! be used, and everything else as frames that still have to be read. In the order of the file.

use std::fmt;
use std::mem;
use std::ops::{Range, RangeInclusive};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tickscope_decoders::{Marks, PacketMarks, Skim};
use tickscope_model::{Frame, LinkType, SymbolId, TapId, Timestamp};

use super::span::Span;

/// About so many bytes of the file are one block. Small enough for the second cache, large enough that handing one over
/// costs nothing; a frame's number within its block fits into 16 bits.
pub const BLOCK_BYTES: usize = 1 << 20;

/// So many packets share a set of marks.
const GROUP: usize = 64;

/// See the head of this file.
#[derive(Default)]
pub struct Block {
    /// Where in the file it begins and ends: in front of a record, and behind one.
    pub start: usize,
    pub end: usize,
    pub frames: u32,
    pub parts: Vec<Part>,
    /// The packets of all runs.
    pub packets: Vec<Skimmed>,
    /// Messages and captured bytes of all packets.
    pub messages: u16,
    pub(super) packet_bytes: u32,
    /// Which symbols each [`GROUP`] of packets is about. Nothing else is kept of a message: few are ever asked for, and
    /// those are read from the file once more.
    marks: Vec<Marks>,
    /// What read the packets, by flow.
    skims: Vec<(FlowMark, Arc<dyn Skim>)>,
    /// The file.
    span: Option<Arc<Span>>,
    /// What the next packet has to be in order to continue the last part.
    open: Option<Open>,
    /// The marks of the packets that do not make a whole group yet.
    marked: Marks,
    /// The bytes of all frames that the stages must read; taken away with [`Block::take_bytes`], since a block's packets
    /// are needed for much longer.
    bytes: Vec<u8>,
    /// Where its memory goes.
    shelf: Option<Shelf>,
}

/// The run at hand: its ends are written into it when it is closed.
#[derive(Clone, Copy)]
struct Open {
    flow: FlowMark,
    session: Session,
    /// The number of the message that continues it.
    next: u64,
}

/// Where the memory of blocks that nobody needs any more waits for new ones.
#[derive(Clone, Default)]
pub struct Shelf(Arc<Mutex<Spares>>);

#[derive(Default)]
struct Spares {
    blocks: Vec<Block>,
    /// [`Block::bytes`] of blocks whose frames have all been read.
    bytes: Vec<Vec<u8>>,
}

impl Shelf {
    fn spares(&self) -> MutexGuard<'_, Spares> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Block {
        let (block, bytes) = {
            let mut spares = self.spares();
            (spares.blocks.pop(), spares.bytes.pop())
        };
        let mut block = block.unwrap_or_else(Block::with_room);
        block.bytes = bytes.unwrap_or_else(|| Vec::with_capacity(BLOCK_BYTES / 32));
        block.shelf = Some(self.clone());
        block
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let Some(shelf) = self.shelf.take() else { return };
        let mut spare = mem::take(self);
        spare.parts.clear();
        spare.packets.clear();
        spare.marks.clear();
        spare.skims.clear();
        spare.span = None;
        spare.open = None;
        spare.marked = Marks::default();
        spare.bytes.clear();
        shelf.spares().blocks.push(spare);
    }
}

/// What comes next in a block.
#[derive(Clone, Debug)]
pub enum Part {
    /// A frame that the stages must read.
    Frame(Unread),
    Run(Run),
}

/// A frame that the stages must read.
#[derive(Clone, Debug)]
pub struct Unread {
    /// Which frame of the block it is, from 0.
    pub frame: u16,
    pub time: Timestamp,
    link: LinkType,
    wire_len: u32,
    bytes: Range<usize>,
}

impl Unread {
    /// Where its bytes lie among those of the block.
    pub(super) fn place(&self) -> Range<usize> {
        self.bytes.clone()
    }

    /// The frame, of a block with these bytes whose first frame has number `first`.
    pub fn frame<'a>(&self, bytes: &'a [u8], tap: TapId, first: u64) -> Frame<'a> {
        Frame {
            tap,
            link: self.link,
            time: self.time,
            number: first + u64::from(self.frame),
            wire_len: self.wire_len,
            bytes: bytes.get(self.bytes.clone()).unwrap_or(&[]),
        }
    }
}

/// Packets of one flow whose sequence numbers follow each other without a gap, with no other frame in between.
#[derive(Clone, Debug)]
pub struct Run {
    /// Places in [`Block::packets`].
    pub packets: Range<u32>,
    /// Number of the first message, and the one behind the last.
    pub sequence: Range<u64>,
    /// Of the first and of the last packet.
    pub times: RangeInclusive<Timestamp>,
    /// Captured bytes of all its packets.
    pub(super) bytes: u32,
    pub flow: FlowMark,
    pub session: Session,
    /// Messages of the block before the first one.
    message: u16,
    /// Which frame of the block the first packet is, from 0.
    frame: u16,
    /// Which of the block's skimmers read it.
    skim: u16,
}

impl Run {
    /// Sequence number of the first message of one of its packets.
    #[inline]
    pub fn first_of(&self, packet: &Skimmed) -> u64 {
        self.sequence.start + u64::from(packet.message - self.message)
    }

    /// Which frame of the block a packet is, by its place in [`Block::packets`].
    #[inline]
    pub fn frame_of(&self, packet: u32) -> u32 {
        u32::from(self.frame) + (packet - self.packets.start)
    }
}

/// Which flow, and which corrections its decoder had seen when the packets were read; see [`crate::flow::UdpFlows`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowMark {
    pub place: u32,
    pub number: u32,
    pub corrected: u32,
}

/// The session of a run; no envelope has a longer one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Session {
    length: u8,
    bytes: [u8; 16],
}

impl Session {
    pub fn new(session: &[u8]) -> Option<Session> {
        let mut bytes = [0; 16];
        bytes.get_mut(..session.len())?.copy_from_slice(session);
        Some(Session { length: u8::try_from(session.len()).ok()?, bytes })
    }

    #[inline]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or(&[])
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.bytes().escape_ascii())
    }
}

/// An ordinary market-data packet: all of its messages are whole and about symbols that are known.
#[derive(Clone, Copy, Debug)]
pub struct Skimmed {
    pub time: Timestamp,
    /// Where its record begins, behind the start of the block.
    pub(super) at: u32,
    /// Captured bytes of the block's packets before this one.
    pub(super) bytes: u32,
    /// Which symbols it is about.
    marks: PacketMarks,
    /// Messages of the block before its own.
    pub(super) message: u16,
    pub ip_id: u16,
}
const _: () = assert!(size_of::<Skimmed>() == 24);

/// A packet on its way into a block.
pub struct Arriving {
    /// Number of its first message, and how many it has.
    pub first: u64,
    pub count: u64,
    pub time: Timestamp,
    /// Captured bytes of its frame.
    pub bytes: usize,
    pub ip_id: u16,
    /// What its messages are about.
    pub marks: PacketMarks,
}

impl Block {
    /// With room for what is usual in a block.
    fn with_room() -> Block {
        let mut block = Block::default();
        block.packets.reserve_exact(BLOCK_BYTES / 128);
        block.marks.reserve_exact(BLOCK_BYTES / 128 / GROUP + 1);
        block.parts.reserve_exact(BLOCK_BYTES / 8192);
        block
    }

    /// An empty one.
    pub fn begin(start: usize, span: &Arc<Span>, shelf: &Shelf) -> Block {
        let mut block = shelf.take();
        (block.start, block.end, block.frames) = (start, start, 0);
        (block.messages, block.packet_bytes) = (0, 0);
        block.span = Some(span.clone());
        block
    }

    /// Where the next packet is marked; what is left there of one that was not added goes to the next.
    #[inline]
    pub fn marks(&mut self) -> &mut Marks {
        &mut self.marked
    }

    /// Whether no more frames can be numbered.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.frames > u32::from(u16::MAX)
    }

    /// Adds the frame that comes next as a packet, which is marked already and of the flow of the run at hand if there is
    /// one, to that run if it continues it, else to a new one. False where there is no room for it.
    pub fn add(&mut self, session: &[u8], (flow, skim): (FlowMark, &Arc<dyn Skim>), packet: &Arriving) -> bool {
        let continues = |open: &Open| open.session.bytes() == session && open.next == packet.first;
        let needs_run = !self.open.as_ref().is_some_and(continues);
        if needs_run && (self.has_no_room(packet) || self.open_run(session, (flow, skim), packet).is_none()) {
            return false;
        }
        self.go_on(packet)
    }

    /// Adds the frame that comes next as a packet, which is marked already and of the flow and the session of the run at
    /// hand, if its messages are those that come next there, and there is room for it.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "measured: a packet is put together in registers, not in memory")]
    #[allow(
        clippy::cast_possible_truncation,
        reason = "a block has a MiB, at most 65,536 packets, and one longer record"
    )]
    pub fn go_on(&mut self, packet: &Arriving) -> bool {
        if self.has_no_room(packet) {
            return false;
        }
        match &mut self.open {
            Some(open) if open.next == packet.first => open.next += packet.count,
            _ => return false,
        }
        self.packets.push(Skimmed {
            time: packet.time,
            at: (self.end - self.start) as u32,
            bytes: self.packet_bytes,
            marks: packet.marks,
            message: self.messages,
            ip_id: packet.ip_id,
        });
        self.messages += packet.count as u16;
        self.packet_bytes += packet.bytes as u32;
        if self.packets.len().is_multiple_of(GROUP) {
            self.marks.push(mem::take(&mut self.marked));
        }
        true
    }

    /// Whether the messages of a packet can no longer be numbered.
    #[inline]
    fn has_no_room(&self, packet: &Arriving) -> bool {
        u64::from(self.messages) + packet.count > u64::from(u16::MAX)
    }

    /// Ends the run at hand if it is of another flow than this.
    pub fn close_other(&mut self, flow: &FlowMark) {
        if self.open.as_ref().is_some_and(|open| open.flow != *flow) {
            self.close();
        }
    }

    /// Begins a run that this packet goes on.
    #[cold]
    fn open_run(&mut self, session: &[u8], (flow, skim): (FlowMark, &Arc<dyn Skim>), packet: &Arriving) -> Option<()> {
        self.close();
        let number = u32::try_from(self.packets.len()).ok()?;
        let Arriving { first, time, .. } = *packet;
        let session = Session::new(session)?;
        let known = self.skims.iter().position(|(of, _)| *of == flow).unwrap_or_else(|| {
            self.skims.push((flow, Arc::clone(skim)));
            self.skims.len() - 1
        });
        self.parts.push(Part::Run(Run {
            packets: number..number,
            sequence: first..first,
            times: time..=time,
            bytes: self.packet_bytes,
            flow,
            session,
            message: self.messages,
            frame: u16::try_from(self.frames).ok()?,
            skim: u16::try_from(known).ok()?,
        }));
        self.open = Some(Open { flow, session, next: first });
        Some(())
    }

    /// Ends the run at hand: what comes next does not continue it.
    pub fn close(&mut self) {
        let (Some(open), Some(Part::Run(run)), Some(last)) =
            (self.open.take(), self.parts.last_mut(), self.packets.last())
        else {
            return;
        };
        run.packets.end = u32::try_from(self.packets.len()).unwrap_or(u32::MAX);
        run.sequence.end = open.next;
        run.times = *run.times.start()..=last.time;
        run.bytes = self.packet_bytes - run.bytes;
    }

    /// Adds a frame that the stages must read.
    pub fn add_frame(&mut self, frame: &Frame<'_>) {
        self.close();
        let number = u16::try_from(self.frames).expect("nothing is added to a full block");
        let (time, link, wire_len, from) = (frame.time, frame.link, frame.wire_len, self.bytes.len());
        self.bytes.extend_from_slice(frame.bytes);
        self.parts.push(Part::Frame(Unread { frame: number, time, link, wire_len, bytes: from..self.bytes.len() }));
    }

    /// The bytes that `Unread::frame` needs; they are given back with [`Block::return_bytes`].
    pub fn take_bytes(&mut self) -> Vec<u8> {
        mem::take(&mut self.bytes)
    }

    pub fn return_bytes(&self, mut bytes: Vec<u8>) {
        bytes.clear();
        if let Some(shelf) = &self.shelf {
            shelf.spares().bytes.push(bytes);
        }
    }

    /// Where the record of a packet begins in the file.
    pub fn place_of(&self, packet: &Skimmed) -> usize {
        self.start + packet.at as usize
    }

    /// The first packet that is later than `time`. Looked for from where it would stand if packets came at an even pace,
    /// since each step of a search costs a look into memory that nobody has looked at for long.
    pub fn behind(&self, time: Timestamp) -> u32 {
        let is_behind = |at: usize| self.packets.get(at).is_some_and(|packet| packet.time <= time);
        let (mut low, mut high) = (0, self.packets.len());
        if let (Some(first), Some(last)) = (self.packets.first(), self.packets.last())
            && (first.time..last.time).contains(&time)
        {
            let share = u128::from(time.0 - first.time.0) * high as u128 / u128::from(last.time.0 - first.time.0);
            let guess = usize::try_from(share).unwrap_or(0).min(high - 1);
            let mut step = 8;
            if is_behind(guess) {
                low = guess;
                while low + step < high && is_behind(low + step) {
                    low += step;
                    step *= 2;
                }
                high = high.min(low + step);
            } else {
                high = guess;
                while step < high && !is_behind(high - step) {
                    high -= step;
                    step *= 2;
                }
                low = high.saturating_sub(step);
            }
        }
        let between = self.packets.get(low..high).unwrap_or(&[]);
        u32::try_from(low + between.partition_point(|packet| packet.time <= time)).unwrap_or(u32::MAX)
    }

    /// Messages of the block up to and with those of a packet.
    pub fn messages_behind(&self, packet: u32) -> u16 {
        self.packets.get(packet as usize + 1).map_or(self.messages, |next| next.message)
    }

    /// Messages of the block before those of a packet.
    pub fn messages_before(&self, packet: u32) -> u16 {
        self.packets.get(packet as usize).map_or(self.messages, |packet| packet.message)
    }

    /// The run that is this part of it.
    #[inline]
    pub fn run(&self, part: u32) -> Option<&Run> {
        match self.parts.get(part as usize) {
            Some(Part::Run(run)) => Some(run),
            _ => None,
        }
    }

    /// What is marked for a message about this symbol: one mark for each flow that has it.
    pub fn marks_of(&self, symbol: SymbolId) -> impl Iterator<Item = u16> + '_ {
        self.skims.iter().filter_map(move |(_, skim)| skim.mark_of(symbol))
    }

    /// The last packet before packet `behind`, and not earlier than `since`, that may have a message with this mark.
    pub fn newest(&self, mark: u16, behind: u32, since: Timestamp) -> Option<u32> {
        let mut behind = behind as usize;
        let of_packet = PacketMarks::of(mark);
        // Packets of a block are in order of time. Their times are looked at first: mostly few groups are asked for.
        while let Some(last) = behind.checked_sub(1) {
            let group = last / GROUP;
            if self.packets.get(last)?.time < since {
                return None;
            }
            if self.marks.get(group).unwrap_or(&self.marked).may_hold(mark) {
                let packets = self.packets.get(group * GROUP..behind)?;
                if let Some(at) = packets.iter().rposition(|packet| packet.marks.may_hold(of_packet)) {
                    let found = packets.get(at).filter(|packet| since <= packet.time);
                    return found.and(u32::try_from(group * GROUP + at).ok());
                }
            }
            behind = group * GROUP;
        }
        None
    }

    /// A packet of a run as a frame, read from the file once more, and what skimmed it. `None` where the file is no longer
    /// what it was.
    pub fn reread(&self, run: &Run, packet: u32) -> Option<(Frame<'_>, &dyn Skim)> {
        let (span, (_, skim)) = (self.span.as_deref()?, self.skims.get(usize::from(run.skim))?);
        let skimmed = self.packets.get(packet as usize)?;
        let frame = span.frame_at(self.start + skimmed.at as usize, 0)?;
        (frame.time == skimmed.time).then(|| (frame, skim.as_ref()))
    }
}

#[cfg(test)]
pub(crate) mod test {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_first_packet_behind_a_time_is_found(
            steps in prop::collection::vec(prop_oneof![Just(0), 0..9_u64, Just(1000)], 1..300),
            at in 0..3000_u64,
        ) {
            let times: Vec<u64> = steps.iter().scan(100, |time, step| { *time += step; Some(*time) }).collect();
            let count = u32::try_from(times.len()).expect("few");
            let (block, _) = run(count, |number| Timestamp(times[usize::try_from(number).expect("few")]), 0);
            for time in [at, 100 + at % (times[times.len() - 1] - 90)] {
                let expected = times.iter().filter(|other| **other <= time).count();
                prop_assert_eq!(block.behind(Timestamp(time)) as usize, expected);
            }
        }
    }

    /// A block with one run of packets of one message each, numbered from 0, and that run.
    pub(crate) fn run(count: u32, time: impl Fn(u64) -> Timestamp, ip_id: u16) -> (Block, Run) {
        let packet = |number: u32| Skimmed {
            time: time(number.into()),
            at: 0,
            bytes: 0,
            marks: PacketMarks::default(),
            message: u16::try_from(number).expect("few"),
            ip_id,
        };
        let mut block = Block::default();
        block.packets = (0..count).map(packet).collect();
        block.messages = u16::try_from(count).expect("few");
        let run = Run {
            packets: 0..count,
            sequence: 0..count.into(),
            times: time(0)..=time(u64::from(count) - 1),
            bytes: 0,
            flow: FlowMark { place: 0, number: 0, corrected: 0 },
            session: Session::new(b"").expect("short"),
            message: 0,
            frame: 0,
            skim: 0,
        };
        block.parts.push(Part::Run(run.clone()));
        (block, run)
    }
}
