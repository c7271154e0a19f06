//! Several captures as one run of frames in time order. A tap is a file, or an interface where a pcapng has several.
//! Files are merged by the time of their next frame; each file's own order is kept (interfaces of one file may lie
//! slightly out of order in it), and at equal time the file that was named first comes first.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::path::{Path, PathBuf};

use tickscope_model::{Frame, LinkType, Nanos, TapId, Timestamp};

use super::error::{Cut, SourceError};
use super::file::{CaptureFile, Interface};
use super::open::{BLOCK, open_with};

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
    /// The same in nanoseconds, rounded up.
    pub tick_ns: u64,
    /// Frames dropped by interface and system, where the capture says so.
    pub dropped: Option<u64>,
    /// Added to each of its times.
    pub offset: Nanos,
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

/// The merged captures.
pub struct Merged {
    files: Vec<Lane>,
    taps: Vec<Tap>,
    offsets: Vec<(String, Nanos)>,
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
    /// Time of the current frame, with its tap's offset.
    time: Timestamp,
}

enum Step {
    Frame,
    OtherInterface,
    End,
}

impl Lane {
    #[inline]
    fn advance(&mut self) -> Step {
        if !self.file.advance() {
            return Step::End;
        }
        if self.file.interface() != self.interface {
            return Step::OtherInterface;
        }
        self.take_time();
        Step::Frame
    }

    /// A frame without a time keeps that of the frame before it.
    #[inline]
    fn take_time(&mut self) {
        if let Some(time) = self.file.time() {
            self.time = time.shifted(self.offset);
        }
    }

    #[inline]
    fn captured(&self, file: usize) -> Captured<'_> {
        let mut frame = self.file.frame(self.tap);
        frame.time = self.time;
        Captured { frame, has_time: self.file.time().is_some(), file }
    }
}

/// Memory for blocks of decompressed data, all files together.
const BLOCKS: usize = 128 << 20;

impl Merged {
    /// Opens all of them. An offset is added to the times of the taps of this name, or of the file of this name.
    pub fn open(inputs: &[Input], offsets: &[(String, Nanos)]) -> Result<Merged, SourceError> {
        // Each compressed file has up to five blocks in memory.
        let block_bytes = (BLOCKS / 5 / inputs.len().max(1)).clamp(64 << 10, BLOCK);
        let mut files = Vec::with_capacity(inputs.len());
        for (input, name) in inputs.iter().zip(names(inputs)) {
            let file = open_with(&input.path, block_bytes)?;
            files.push(Lane {
                file,
                name,
                taps: Vec::new(),
                known: HashMap::new(),
                identities: Identities::default(),
                is_several: false,
                interface: u32::MAX,
                tap: TapId(0),
                offset: Nanos(0),
                time: Timestamp::MIN,
            });
        }
        let mut merged = Merged {
            files,
            taps: Vec::new(),
            offsets: offsets.to_vec(),
            current: 0,
            is_reached: false,
            waiting: BinaryHeap::new(),
        };
        merged.start();
        Ok(merged)
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

    /// The next frame in time order. (No `Iterator`: a frame lives only until the next call.)
    #[inline]
    #[allow(clippy::should_implement_trait, reason = "an iterator cannot lend what it owns")]
    pub fn next(&mut self) -> Option<Captured<'_>> {
        if self.is_reached {
            self.is_reached = false;
        } else if !self.advance(self.current) {
            self.current = self.waiting.pop()?.0.1;
        } else if !self.waiting.is_empty() {
            self.change_over();
        }
        let file = self.current;
        self.files.get(file).map(|lane| lane.captured(file))
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
            Step::Frame => true,
            Step::OtherInterface => {
                self.change_interface(index);
                true
            }
            Step::End => false,
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
            lane.offset = self.taps.get(usize::from(tap.0)).map_or(Nanos(0), |tap| tap.offset);
        }
        lane.take_time();
    }

    /// Makes taps of the interfaces that appeared since the last time.
    fn learn(&mut self, index: usize) {
        let Some(lane) = self.files.get_mut(index) else { return };
        let first_new = self.taps.len();
        for interface in lane.file.interfaces().iter().skip(lane.taps.len()) {
            let identity = lane.identities.of(interface);
            let tap = lane.known.get(&identity).copied().unwrap_or_else(|| {
                self.taps.push(Tap {
                    name: lane.name.clone(),
                    file: index,
                    interface: label(interface),
                    link: interface.link,
                    resolution: interface.resolution.clone(),
                    tick_ns: interface.tick_ns,
                    dropped: interface.dropped,
                    offset: Nanos(0),
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
            let offset = self.offsets.iter().find(|(name, _)| *name == tap.name || *name == lane.name);
            tap.offset = offset.map_or(Nanos(0), |(_, offset)| *offset);
        }
        lane.is_several = several;
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

/// What the user said, else the file's name; the whole path where two files have the same name.
fn names(inputs: &[Input]) -> Vec<String> {
    let short = |input: &Input| {
        let last = input.path.file_name().unwrap_or(input.path.as_os_str());
        input.name.clone().unwrap_or_else(|| last.to_string_lossy().into_owned())
    };
    let mut names: Vec<String> = Vec::with_capacity(inputs.len());
    for input in inputs {
        let mut name = short(input);
        if inputs.iter().filter(|other| short(other) == name).count() > 1 && input.name.is_none() {
            name = input.path.to_string_lossy().into_owned();
        }
        let base = name.clone();
        let mut number = 1;
        while names.contains(&name) {
            number += 1;
            name = format!("{base}#{number}");
        }
        names.push(name);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_different() {
        let inputs = [
            (None, "a/x.pcap"),
            (None, "b/x.pcap"),
            (None, "c/y.pcap"),
            (Some("n"), "z.pcap"),
            (None, "c/y.pcap"),
            (Some("n"), "w.pcap"),
        ]
        .map(|(name, path)| Input { name: name.map(str::to_owned), path: path.into() });
        assert_eq!(names(&inputs), ["a/x.pcap", "b/x.pcap", "c/y.pcap", "n", "c/y.pcap#2", "n#2"]);
    }
}
