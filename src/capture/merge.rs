//! Several captures as one run of frames in time order. A tap is a file, or an interface where a pcapng has several.
//! Files are merged by the time of their next frame; each file's own order is kept (interfaces of one file may lie
//! slightly out of order in it), and at equal time the file that was named first comes first.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tickscope_model::{Frame, LinkType, Nanos, TapId, Timestamp};

use super::block::{Block, Part};
use super::error::{Cut, SourceError};
use super::file::{CaptureFile, Interface};
use super::map::prefetch;
use super::names::names;
use super::open::{BLOCK, open_bytes, open_with};
use super::packets::{Packets, Place};
use super::span::Span;
use super::stamp::{self, Stampers, Stamps, TapTime};

/// A capture as the user names it: `NAME=FILE`, or a file alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    pub name: Option<String>,
    /// `-` for standard input.
    pub path: PathBuf,
}

/// One observation point of the run.
#[derive(Clone, Debug)]
pub struct Tap {
    /// The user's name or the file's, followed by `:INTERFACE` where the file has several.
    pub name: String,
    /// Which of [`Merged::files`] it is in.
    pub file: usize,
    /// The interface's own name; empty for classic captures.
    pub interface: String,
    pub link: LinkType,
    /// How long a tick of its clock is, for people.
    pub resolution: String,
    /// In nanoseconds, rounded up: the file's, or the steps in which its stamps really go where those are longer.
    pub tick_ns: u64,
    pub is_coarser: bool,
    /// Frames dropped by interface and system, where the capture says so.
    pub dropped: Option<u64>,
    /// Added to each of its times.
    pub offset: Nanos,
    /// Bits per second, where the capture says so.
    pub speed: Option<u64>,
}

/// A frame of the run.
#[derive(Clone, Copy, Debug)]
pub struct Captured<'a> {
    pub frame: Frame<'a>,
    /// Whether the capture says when. If not (Simple Packet Block), `frame.time` is that of the frame before it in its
    /// file, so that it keeps its place, and the frame is to be counted as `NoTimestamp`.
    pub has_time: bool,
    /// Which of [`Merged::files`] it is from.
    pub file: usize,
}

/// What comes next in the captures.
pub enum Step<'a> {
    Frame(Captured<'a>),
    /// Market-data packets that were read ahead, all of them before any other frame.
    Packets(Packets<'a>),
    /// There are no more.
    End,
}

/// Reads a file ahead, on other threads.
pub trait Ahead {
    /// The block that begins at this place of the file; `None` where the frames must be read one by one.
    fn block(&mut self, place: usize) -> Option<Block>;

    /// The file.
    fn span(&self) -> &Span;
}

/// The merged captures.
pub struct Merged {
    files: Vec<Lane>,
    taps: Vec<Tap>,
    rules: Vec<TapTime>,
    /// Where the next frame comes from.
    current: usize,
    /// That frame was reached already, in order to know its time.
    is_reached: bool,
    /// The other files that are not at their end, by the time of their next frame.
    waiting: BinaryHeap<Reverse<(Timestamp, usize)>>,
}

/// A file and the taps of its interfaces.
struct Lane {
    file: CaptureFile,
    /// Its name without an interface.
    name: String,
    taps: Vec<TapId>,
    known: HashMap<Identity, TapId>,
    identities: Identities,
    /// Its taps are named after their interfaces.
    is_several: bool,
    /// Tap and offset of the interface that was seen last, so that a frame needs no look-up.
    interface: u32,
    tap: TapId,
    offset: Nanos,
    stampers: Stampers,
    /// Time of the current frame, with its tap's offset.
    time: Timestamp,
    /// Where blocks that were read ahead come from, and the one at hand.
    ahead: Option<Box<dyn Ahead>>,
    block: Option<Reading>,
}

/// How many parts ahead the bytes of a frame are asked for, and how many cache lines of them.
const FRAMES_AHEAD: usize = 4;
const LINES_AHEAD: usize = 6;

/// A block on its way through the merge.
struct Reading {
    block: Arc<Block>,
    /// The bytes of its frames.
    bytes: Vec<u8>,
    /// The part at hand, and the first packet of it that was not handed out.
    part: usize,
    packet: u32,
    /// Number of the block's first frame.
    first_frame: u64,
}

impl Reading {
    /// Time of what is at hand; `None` at the end of the block.
    fn time(&self) -> Option<Timestamp> {
        match self.block.parts.get(self.part)? {
            Part::Frame(frame) => Some(frame.time),
            Part::Run(run) if self.packet == run.packets.start => Some(*run.times.start()),
            Part::Run(_) => self.block.packets.get(self.packet as usize).map(|packet| packet.time),
        }
    }

    /// Goes to a part, if there is another.
    fn enter(&mut self, part: usize) -> Option<Timestamp> {
        self.part = part;
        self.ask_for_frames();
        if let Some(Part::Run(run)) = self.block.parts.get(part) {
            self.packet = run.packets.start;
        }
        self.time()
    }

    /// Asks for the bytes of a frame that comes soon: another thread has written them.
    fn ask_for_frames(&self) {
        if let Some(Part::Frame(frame)) = self.block.parts.get(self.part + FRAMES_AHEAD) {
            let bytes = frame.place();
            bytes.step_by(64).take(LINES_AHEAD).for_each(|at| prefetch(&self.bytes, at));
        }
    }

    fn is_at_frame(&self) -> bool {
        matches!(self.block.parts.get(self.part), Some(Part::Frame(_)))
    }

    /// The frame at hand, where it is one.
    fn frame(&self, tap: TapId) -> Option<Frame<'_>> {
        let Part::Frame(kept) = self.block.parts.get(self.part)? else { return None };
        Some(kept.frame(&self.bytes, tap, self.first_frame))
    }

    /// Hands out the packets of the run at hand that come before `until`.
    fn packets(&mut self, file: usize, tap: TapId, until: Option<(Timestamp, usize)>) -> Step<'_> {
        let Reading { block, part, packet, first_frame, .. } = self;
        let part = u32::try_from(*part).unwrap_or(u32::MAX);
        let Some(run) = block.run(part) else { return Step::End };
        let (range, first_frame) = (*packet..run.packets.end, *first_frame);
        let all = Packets { block, run, part, range, first_frame, file, tap };
        let count = until.map_or(all.range.len(), |until| {
            all.packets().partition_point(|packet| (packet.time, file) < until).max(1)
        });
        let some = all.first(count);
        *packet = some.range.end;
        Step::Packets(some)
    }

    /// Goes on behind what was handed out.
    fn advance(&mut self) -> Option<Timestamp> {
        match self.block.parts.get(self.part)? {
            Part::Run(run) if self.packet < run.packets.end => self.time(),
            _ => self.enter(self.part + 1),
        }
    }
}

enum Advance {
    Frame,
    OtherInterface,
    End,
}

impl Lane {
    fn new(mut file: CaptureFile, name: String) -> Lane {
        let stampers = Stampers::new(&mut file);
        Lane {
            file,
            name,
            taps: Vec::new(),
            known: HashMap::new(),
            identities: Identities::default(),
            is_several: false,
            interface: u32::MAX,
            tap: TapId(0),
            offset: Nanos(0),
            stampers,
            time: Timestamp::MIN,
            ahead: None,
            block: None,
        }
    }

    #[inline]
    fn advance(&mut self) -> Advance {
        if self.ahead.is_some() && self.advance_block() {
            return Advance::Frame;
        }
        if !self.file.advance() {
            return Advance::End;
        }
        if self.file.interface() != self.interface {
            return Advance::OtherInterface;
        }
        self.take_time();
        Advance::Frame
    }

    /// Goes on in what was read ahead; false where the file itself must be read.
    fn advance_block(&mut self) -> bool {
        loop {
            let next = match &mut self.block {
                Some(reading) => reading.advance(),
                None => match self.next_block() {
                    Some(reading) => self.block.insert(reading).enter(0),
                    None => return false,
                },
            };
            if let Some(time) = next {
                self.time = time;
                return true;
            }
            if let Some(reading) = self.block.take() {
                self.file.jump(reading.block.end, u64::from(reading.block.frames));
                reading.block.return_bytes(reading.bytes);
            }
        }
    }

    fn next_block(&mut self) -> Option<Reading> {
        let mut block = self.ahead.as_mut()?.block(self.file.place()?)?;
        let bytes = block.take_bytes();
        Some(Reading { block: Arc::new(block), bytes, part: 0, packet: 0, first_frame: self.file.frames() + 1 })
    }

    /// A frame without a time keeps that of the frame before it.
    #[inline]
    fn take_time(&mut self) {
        if let Some(time) = self.file.time() {
            let is_stamped = self.stampers.is_stamped();
            let time = if is_stamped { self.stampers.take(&self.file.frame(self.tap), time) } else { time };
            self.time = time.shifted(self.offset);
        }
    }

    /// What is at hand. Of a run, the packets up to `until`, which is another file's next time and that file.
    #[inline]
    fn step(&mut self, file: usize, until: Option<(Timestamp, usize)>) -> Step<'_> {
        let tap = self.tap;
        if self.block.as_ref().is_some_and(|reading| !reading.is_at_frame()) {
            return self.block.as_mut().map_or(Step::End, |reading| reading.packets(file, tap, until));
        }
        match self.block.as_ref().and_then(|reading| reading.frame(tap)) {
            Some(frame) => Step::Frame(Captured { frame, has_time: true, file }),
            None => Step::Frame(self.captured(file)),
        }
    }

    /// A frame by its place in the file.
    fn reread(&self, file: usize, place: usize, number: u64) -> Captured<'_> {
        let span = self.ahead.as_ref().map(|ahead| ahead.span());
        let found = span.and_then(|span| span.frame_at(place, number));
        let nothing =
            Frame { tap: self.tap, link: LinkType::Ethernet, time: self.time, number, wire_len: 0, bytes: &[] };
        Captured { frame: found.unwrap_or(nothing), has_time: true, file }
    }

    #[inline]
    fn captured(&self, file: usize) -> Captured<'_> {
        let mut frame = stamp::unwrap_erf(self.file.frame(self.tap));
        frame.time = self.time;
        Captured { frame, has_time: self.file.time().is_some(), file }
    }
}

/// Memory for blocks of decompressed data, all files together.
const BLOCKS: usize = 128 << 20;

impl Merged {
    /// Opens all of them. A rule is about the tap of its name, or all taps of the file of this name.
    pub fn open(inputs: &[Input], rules: &[TapTime]) -> Result<Merged, SourceError> {
        // Each compressed file has up to five blocks in memory.
        let block_bytes = (BLOCKS / 5 / inputs.len().max(1)).clamp(64 << 10, BLOCK);
        let open = |(input, name): (&Input, String)| Ok((open_with(&input.path, block_bytes)?, name));
        let files: Result<Vec<_>, SourceError> = inputs.iter().zip(names(inputs)).map(open).collect();
        Ok(Merged::of(files?, rules))
    }

    /// A capture in memory, under a name.
    pub fn of_bytes(name: &str, bytes: Vec<u8>, rules: &[TapTime]) -> Result<Merged, SourceError> {
        Ok(Merged::of(vec![(open_bytes(Path::new(name), bytes)?, name.to_owned())], rules))
    }

    fn of(files: Vec<(CaptureFile, String)>, rules: &[TapTime]) -> Merged {
        let mut merged = Merged {
            files: files.into_iter().map(|(file, name)| Lane::new(file, name)).collect(),
            taps: Vec::new(),
            rules: rules.to_vec(),
            current: 0,
            is_reached: false,
            waiting: BinaryHeap::new(),
        };
        merged.start();
        merged
    }

    /// Goes to each file's first frame. A single file has none to be compared with, but its interfaces become known.
    fn start(&mut self) {
        for index in 0..self.files.len() {
            let found = self.advance(index);
            // Those described in front of the first frame exist even if they never say anything.
            self.learn(index);
            if let (true, Some(lane)) = (found, self.files.get(index)) {
                self.waiting.push(Reverse((lane.time, index)));
            }
        }
        if let Some(Reverse((_, index))) = self.waiting.pop() {
            self.current = index;
            self.is_reached = true;
        }
    }

    /// All files as several threads may read them at once, with a time of each; `None` unless each can be.
    pub fn spans(&self) -> Option<Vec<(Span, Timestamp)>> {
        let is_begun = |lane: &&Lane| lane.file.frames() > 0;
        self.files
            .iter()
            .filter(is_begun)
            .map(|lane| Some((lane.file.span(lane.tap, lane.offset)?, lane.time)))
            .collect()
    }

    /// Lets files be read ahead from where they are, those that allow it: `make` is asked for the reader of each, with a
    /// time of the file and how many files there are.
    pub fn read_ahead(&mut self, mut make: impl FnMut(Span, Timestamp, usize) -> Box<dyn Ahead>) {
        let files = self.files.len();
        for lane in &mut self.files {
            // Whoever reads ahead knows the capture's own times only.
            let is_plain =
                !lane.stampers.is_stamped() && lane.file.interfaces().iter().all(|one| one.link != stamp::ERF);
            if lane.file.frames() > 0 && is_plain {
                lane.ahead = lane.file.span(lane.tap, lane.offset).map(|span| make(span, lane.time, files));
            }
        }
    }

    /// A frame that was read ahead once more.
    pub fn reread(&self, frame: &Place) -> Option<Captured<'_>> {
        Some(self.files.get(frame.file)?.reread(frame.file, frame.place, frame.number))
    }

    /// The next frame in time order, where nothing is read ahead. (No `Iterator`: a frame lives only until the next call.)
    #[inline]
    #[allow(clippy::should_implement_trait, reason = "an iterator cannot lend what it owns")]
    pub fn next(&mut self) -> Option<Captured<'_>> {
        debug_assert!(
            self.files.iter().all(|lane| lane.ahead.is_none()),
            "packets that were read ahead come by `step`"
        );
        self.go_on()?;
        let file = self.current;
        self.files.get(file).map(|lane| lane.captured(file))
    }

    /// The next frame, or packets that were read ahead, in time order.
    #[inline]
    pub fn step(&mut self) -> Step<'_> {
        if self.go_on().is_none() {
            return Step::End;
        }
        let until = self.waiting.peek().map(|first| first.0);
        let file = self.current;
        self.files.get_mut(file).map_or(Step::End, |lane| lane.step(file, until))
    }

    /// Makes the file whose frame is next the current one.
    #[inline]
    fn go_on(&mut self) -> Option<()> {
        if self.is_reached {
            self.is_reached = false;
        } else if !self.advance(self.current) {
            self.current = self.waiting.pop()?.0.1;
        } else if !self.waiting.is_empty() {
            self.change_over();
        }
        Some(())
    }

    /// Goes over to another file where its next frame is earlier.
    #[inline]
    fn change_over(&mut self) {
        let Some(lane) = self.files.get(self.current) else { return };
        let mine = (lane.time, self.current);
        if let Some(mut first) = self.waiting.peek_mut()
            && first.0 < mine
        {
            self.current = first.0.1;
            *first = Reverse(mine);
        }
    }

    #[inline]
    fn advance(&mut self, index: usize) -> bool {
        let Some(lane) = self.files.get_mut(index) else { return false };
        match lane.advance() {
            Advance::Frame => true,
            Advance::OtherInterface => {
                self.change_interface(index);
                true
            }
            Advance::End => false,
        }
    }

    #[cold]
    fn change_interface(&mut self, index: usize) {
        self.learn(index);
        let Some(lane) = self.files.get_mut(index) else { return };
        lane.interface = lane.file.interface();
        let place = usize::try_from(lane.interface).unwrap_or(usize::MAX);
        if let Some(&tap) = lane.taps.get(place) {
            lane.tap = tap;
            if let Some(tap) = self.taps.get(usize::from(tap.0)) {
                lane.offset = tap.offset;
                lane.stampers.choose(lane.interface, &self.rules, (&tap.name, &lane.name), tap.speed);
            }
        }
        lane.take_time();
    }

    /// Makes taps of the interfaces that appeared since the last time.
    fn learn(&mut self, index: usize) {
        let Some(lane) = self.files.get_mut(index) else { return };
        let first_new = self.taps.len();
        for (place, interface) in lane.file.interfaces().iter().enumerate().skip(lane.taps.len()) {
            let identity = lane.identities.of(interface);
            let tap = lane.known.get(&identity).copied().unwrap_or_else(|| {
                self.taps.push(Tap {
                    name: lane.name.clone(),
                    file: index,
                    interface: label(interface),
                    link: interface.link,
                    resolution: interface.resolution.clone(),
                    tick_ns: lane.stampers.tick_ns(place, interface.tick_ns),
                    is_coarser: interface.tick_ns < lane.stampers.tick_ns(place, interface.tick_ns),
                    dropped: interface.dropped,
                    offset: Nanos(0),
                    speed: interface.speed,
                });
                // The reader stops at as many interfaces as there are numbers; several such files share the last.
                TapId(u16::try_from(self.taps.len() - 1).unwrap_or(u16::MAX))
            });
            lane.known.insert(identity, tap);
            lane.taps.push(tap);
        }
        // A file's taps are called after their interfaces as soon as there are two.
        let several = lane.known.len() > 1;
        let from = if several && !lane.is_several { 0 } else { first_new };
        for tap in self.taps.iter_mut().skip(from).filter(|tap| tap.file == index) {
            if several {
                tap.name = format!("{}:{}", lane.name, tap.interface);
            }
            let rule = stamp::rule_of(&self.rules, &tap.name, &lane.name);
            tap.offset = rule.map_or(Nanos(0), |rule| rule.offset);
        }
        lane.is_several = several;
    }

    /// Who stamped the frames of a tap, where not the capture itself, and how that went.
    pub fn stamps(&self, tap: TapId) -> Option<Stamps> {
        let lane = self.files.get(self.taps.get(usize::from(tap.0))?.file)?;
        lane.stampers.report((0..lane.taps.len()).filter(|at| lane.taps.get(*at) == Some(&tap)))
    }

    /// All taps so far, by [`TapId`]. A pcapng may describe another interface later.
    pub fn taps(&self) -> &[Tap] {
        &self.taps
    }

    /// The captures, in the order of the command line.
    pub fn files(&self) -> impl ExactSizeIterator<Item = &CaptureFile> {
        self.files.iter().map(|lane| &lane.file)
    }

    /// Where captures ended early.
    pub fn cuts(&self) -> impl Iterator<Item = (&Path, &Cut)> {
        self.files().filter_map(|file| Some((file.path(), file.cut()?)))
    }

    /// Takes the drop counters, which stand at the end of a capture, over into the taps.
    pub fn finish(&mut self) {
        for lane in &self.files {
            for (interface, tap) in lane.file.interfaces().iter().zip(&lane.taps) {
                if let (Some(tap), Some(dropped)) = (self.taps.get_mut(usize::from(tap.0)), interface.dropped) {
                    tap.dropped = Some(dropped);
                }
            }
        }
    }

    /// Bytes read of all files, as they lie on disk.
    pub fn position(&self) -> u64 {
        self.files().map(CaptureFile::position).sum()
    }

    /// Bytes of all files; `None` where one is a pipe.
    pub fn size(&self) -> Option<u64> {
        self.files().map(CaptureFile::size).sum()
    }
}

/// By what an interface is known again in another section of its file, for captures that were joined describe their
/// interfaces in each: link and name (or number), and the how-manieth of that name it is in its section.
type Identity = (String, u32);

#[derive(Default)]
struct Identities {
    section: u32,
    seen: HashMap<String, u32>,
}

impl Identities {
    fn of(&mut self, interface: &Interface) -> Identity {
        if interface.section != self.section {
            self.section = interface.section;
            self.seen.clear();
        }
        let name = interface.name.clone().unwrap_or_else(|| format!("#{}", interface.number));
        let name = format!("{:?} {name}", interface.link);
        let count = self.seen.entry(name.clone()).or_default();
        *count += 1;
        (name, *count)
    }
}

fn label(interface: &Interface) -> String {
    interface.name.clone().unwrap_or_else(|| interface.number.to_string())
}
