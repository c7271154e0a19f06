//! Several captures as one sequence of frames: taps get their numbers, clocks their offsets, and the frame with the
//! smallest time comes next. Each capture keeps its own order; at equal time the one named first goes first.

use std::path::PathBuf;

use tickscope_model::{Frame, Nanos, TapId, Timestamp};

use crate::capture::{CaptureFile, Interface};

/// A tap as the run knows it.
#[derive(Clone, Debug)]
pub struct Tap {
    pub name: String,
    pub file: PathBuf,
    /// Which of the inputs it comes from, and which interface of it.
    pub input: usize,
    pub interface: u32,
    pub frames: u64,
    pub bytes: u64,
    pub first: Option<Timestamp>,
    pub last: Option<Timestamp>,
    pub offset: Nanos,
}

/// A capture and the name that the user gave it.
pub struct Input {
    pub name: String,
    pub file: CaptureFile,
}

struct Reading {
    input: Input,
    /// Tap of each interface, once it has been seen.
    taps: Vec<Option<TapId>>,
    offset: Nanos,
    /// Time of the current frame with the offset; `None` at the end.
    time: Option<Timestamp>,
    /// Time of the last frame, for frames that carry none.
    before: Timestamp,
}

/// All captures of a run.
pub struct Inputs {
    readings: Vec<Reading>,
    taps: Vec<Tap>,
    current: usize,
    started: bool,
    /// The offset of a tap by its name.
    offsets: Vec<(String, Nanos)>,
}

impl Inputs {
    pub fn new(inputs: Vec<Input>, offsets: Vec<(String, Nanos)>) -> Inputs {
        let readings = inputs
            .into_iter()
            .map(|input| Reading {
                input,
                taps: Vec::new(),
                offset: Nanos(0),
                time: None,
                before: Timestamp::MIN,
            })
            .collect();
        Inputs { readings, taps: Vec::new(), current: 0, started: false, offsets }
    }

    pub fn taps(&self) -> &[Tap] {
        &self.taps
    }

    /// The captures in the order in which they were named.
    pub fn files(&self) -> impl Iterator<Item = &CaptureFile> {
        self.readings.iter().map(|reading| &reading.input.file)
    }

    /// Bytes read so far and, where all sizes are known, in all.
    pub fn progress(&self) -> (u64, Option<u64>) {
        let read = self.files().map(CaptureFile::position).sum();
        (read, self.files().map(CaptureFile::size).sum())
    }

    /// Goes to the next frame of all captures; false at the end of all.
    #[inline]
    pub fn advance(&mut self) -> bool {
        if self.started {
            self.step(self.current);
        } else {
            self.started = true;
            (0..self.readings.len()).for_each(|at| self.step(at));
        }
        if self.readings.len() > 1 {
            let earliest = self.readings.iter().enumerate().filter_map(|(at, reading)| Some((reading.time?, at))).min();
            let Some((_, at)) = earliest else { return false };
            self.current = at;
        }
        self.readings.get(self.current).is_some_and(|reading| reading.time.is_some())
    }

    /// The current frame, and whether it carries a time.
    #[inline]
    pub fn frame(&mut self) -> Option<(Frame<'_>, bool)> {
        let reading = self.readings.get(self.current)?;
        let interface = reading.input.file.interface() as usize;
        let id = match reading.taps.get(interface) {
            Some(&Some(id)) => id,
            _ => self.add_tap(interface),
        };
        let reading = self.readings.get(self.current)?;
        let time = reading.time?;
        let frame = Frame { time, ..reading.input.file.frame(id) };
        let timed = reading.input.file.time().is_some();
        if let Some(tap) = self.taps.get_mut(usize::from(id.0)) {
            tap.frames += 1;
            tap.bytes += frame.bytes.len() as u64;
            if timed {
                tap.first.get_or_insert(time);
                tap.last = Some(time);
            }
        }
        Some((frame, timed))
    }

    #[inline]
    fn step(&mut self, at: usize) {
        let Some(reading) = self.readings.get_mut(at) else { return };
        reading.time = None;
        if !reading.input.file.advance() {
            return;
        }
        let Some(time) = reading.input.file.time() else {
            reading.time = Some(reading.before);
            return;
        };
        let offset = if reading.taps.len() > 1 || reading.taps.is_empty() {
            let interface = reading.input.file.interface() as usize;
            let id = match reading.taps.get(interface) {
                Some(&Some(id)) => id,
                _ => {
                    self.current = at;
                    self.add_tap(interface)
                }
            };
            self.taps.get(usize::from(id.0)).map_or(Nanos(0), |tap| tap.offset)
        } else {
            reading.offset
        };
        let Some(reading) = self.readings.get_mut(at) else { return };
        reading.offset = offset;
        let time = time.shifted(offset);
        (reading.time, reading.before) = (Some(time), time);
    }

    #[cold]
    fn add_tap(&mut self, interface: usize) -> TapId {
        let at = self.current;
        let Some(reading) = self.readings.get_mut(at) else { return TapId(0) };
        if reading.taps.len() <= interface {
            reading.taps.resize(interface + 1, None);
        }
        let described = reading.input.file.interfaces();
        let base = reading.input.name.clone();
        let name = match described.get(interface) {
            _ if described.len() <= 1 => base,
            Some(Interface { name: Some(name), .. }) => format!("{base}:{name}"),
            _ => format!("{base}:{interface}"),
        };
        let offset = |name: &str| self.offsets.iter().find(|(tap, _)| tap == name).map(|&(_, offset)| offset);
        let number = u16::try_from(self.taps.len()).unwrap_or(u16::MAX);
        self.taps.push(Tap {
            file: reading.input.file.path().to_owned(),
            input: at,
            interface: u32::try_from(interface).unwrap_or(u32::MAX),
            frames: 0,
            bytes: 0,
            first: None,
            last: None,
            offset: offset(&name).or_else(|| offset(&reading.input.name)).unwrap_or(Nanos(0)),
            name,
        });
        if let Some(slot) = reading.taps.get_mut(interface) {
            *slot = Some(TapId(number));
        }
        TapId(number)
    }
}
