//! Taps: where on a link each stands, what its clock says, and what it loses, cuts, repeats or adds (VLAN tags,
//! timestamp trailers) before a frame stands in its capture file.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Write};
use std::rc::Rc;

use crate::capture::Writer;
use crate::random::Random;
use crate::scenario::{Direction, Scenario, Tap, Trailer};
use crate::time::MICRO;
use crate::truth::{Recorder, Sight};
use crate::wire::{add_vlan, frame_check};

/// Which way a frame goes, and on which link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// Market data on the line with this index.
    Line(usize),
    /// Requests for lost market data, and what they bring.
    Recovery,
    /// The TCP leg at the exchange; `true` towards the exchange.
    Orders(bool),
    /// The TCP leg between a trader and a gateway.
    Client(bool),
}

/// What a frame carries, as far as the truth cares.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Carries {
    Nothing,
    Packet { number: u64, line: usize },
    Segment { stream: usize, start: u64, ack: Option<u64> },
}

/// A frame on a link.
#[derive(Clone, Debug)]
pub(crate) struct OnWire {
    pub(crate) frame: Rc<Vec<u8>>,
    /// Where its payload begins, and how long it is.
    pub(crate) payload_at: usize,
    pub(crate) payload: usize,
    pub(crate) carries: Carries,
}

struct Pending {
    time: u64,
    order: u64,
    tap: usize,
    on_wire: OnWire,
}

impl PartialEq for Pending {
    fn eq(&self, other: &Pending) -> bool {
        (self.time, self.order) == (other.time, other.order)
    }
}
impl Eq for Pending {}
impl PartialOrd for Pending {
    fn partial_cmp(&self, other: &Pending) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Pending {
    fn cmp(&self, other: &Pending) -> std::cmp::Ordering {
        (self.time, self.order).cmp(&(other.time, other.order))
    }
}

struct Station<W: Write> {
    settings: Tap,
    writer: Writer<W>,
    random: Random,
    frames: u64,
    last_file_time: u64,
    scratch: Vec<u8>,
}

/// All taps of a run.
pub(crate) struct Taps<W: Write> {
    start: u64,
    stations: Vec<Station<W>>,
    lines: Vec<String>,
    pending: BinaryHeap<Reverse<Pending>>,
    order: u64,
}

impl<W: Write> Taps<W> {
    pub(crate) fn new(
        scenario: &Scenario,
        seed: u64,
        open: &mut dyn FnMut(&Tap) -> io::Result<W>,
    ) -> io::Result<Taps<W>> {
        let mut taps = Vec::new();
        for settings in &scenario.tap {
            let writer = Writer::new(open(settings)?, settings.format, &settings.name, settings.snaplen)?;
            let random = Random::new(seed, &format!("tap {}", settings.name));
            let settings = settings.clone();
            taps.push(Station { settings, writer, random, frames: 0, last_file_time: 0, scratch: Vec::new() });
        }
        let lines = scenario.line.iter().map(|line| line.name.clone()).collect();
        Ok(Taps { start: scenario.start.0, stations: taps, lines, pending: BinaryHeap::new(), order: 0 })
    }

    /// A frame leaves at `sent` and takes `delay` for the whole way between exchange and trader.
    pub(crate) fn pass(&mut self, link: Link, sent: u64, delay: u64, on_wire: &OnWire) {
        for (at, tap) in self.stations.iter_mut().enumerate() {
            let towards_exchange = match link {
                Link::Line(_) | Link::Recovery => false,
                Link::Orders(way) | Link::Client(way) => way,
            };
            if !sees(&tap.settings, link, towards_exchange, &self.lines) {
                continue;
            }
            let share = if towards_exchange { 1.0 - tap.settings.place } else { tap.settings.place };
            let time = sent + crate::random::to_count(crate::random::to_float(delay) * share);
            if time < self.start + tap.settings.from.0 || tap.random.chance(tap.settings.loss) {
                continue;
            }
            let copies = if tap.random.chance(tap.settings.duplicate) { 2 } else { 1 };
            for copy in 0..copies {
                // A mirror port's second copy comes within microseconds.
                let time = time + copy * tap.random.between(200, 5 * MICRO);
                self.order += 1;
                let on_wire = on_wire.clone();
                self.pending.push(Reverse(Pending { time, order: self.order, tap: at, on_wire }));
            }
        }
    }

    /// Writes everything that passed a tap before `now`.
    pub(crate) fn flush(&mut self, now: u64, recorder: &mut Recorder) -> io::Result<()> {
        while self.pending.peek().is_some_and(|Reverse(first)| first.time < now) {
            let Some(Reverse(pending)) = self.pending.pop() else { break };
            self.stations[pending.tap].write(self.start, &pending, recorder)?;
        }
        Ok(())
    }

    /// Ends the captures: name, frames and bytes of each.
    pub(crate) fn finish(self) -> io::Result<Vec<(String, u64, u64)>> {
        let end = |tap: Station<W>| {
            let bytes = tap.writer.bytes();
            tap.writer.finish()?;
            Ok((tap.settings.name, tap.frames, bytes))
        };
        self.stations.into_iter().map(end).collect()
    }
}

fn sees(tap: &Tap, link: Link, towards_exchange: bool, lines: &[String]) -> bool {
    let any = |wanted: &str| tap.sees.iter().any(|seen| seen == wanted);
    let direction = match tap.direction {
        Direction::Both => true,
        Direction::Out => towards_exchange,
        Direction::In => !towards_exchange,
    };
    match link {
        Link::Line(at) => any("md") || lines.get(at).is_some_and(|name| any(name)),
        Link::Recovery => any("md"),
        Link::Orders(_) => direction && any("orders"),
        Link::Client(_) => direction && any("client"),
    }
}

impl<W: Write> Station<W> {
    /// What the tap's clock shows at a moment of true time.
    fn reading(&self, start: u64, time: u64) -> u64 {
        let elapsed = i128::from(time) - i128::from(start);
        let drift = elapsed * i128::from(self.settings.drift) / 1_000_000_000;
        let shown = i128::from(time) + i128::from(self.settings.offset.0) + drift;
        let shown = u64::try_from(shown).unwrap_or(0);
        shown - shown % self.settings.resolution.0.max(1)
    }

    fn write(&mut self, start: u64, pending: &Pending, recorder: &mut Recorder) -> io::Result<()> {
        let OnWire { frame, payload_at, payload, carries } = &pending.on_wire;
        let time = self.reading(start, pending.time);
        let changes = self.settings.vlan > 0 || self.settings.trailer != Trailer::None;
        let mut bytes: &[u8] = frame;
        let mut shift = 0;
        if changes {
            self.scratch.clear();
            self.scratch.extend_from_slice(frame);
            if self.settings.vlan > 0 {
                add_vlan(&mut self.scratch, self.settings.vlan, [0x81, 0x00]);
            }
            add_stamp(&mut self.scratch, self.settings.trailer, time);
            shift = if self.settings.vlan > 0 { 4 } else { 0 };
            shift += if self.settings.trailer == Trailer::Arista7280 { ARISTA_HEADER } else { 0 };
            bytes = &self.scratch;
        }
        let wire_length = bytes.len();
        if self.settings.snaplen > 0 {
            bytes = &bytes[..bytes.len().min(usize::try_from(self.settings.snaplen).expect("32 bits fit"))];
        }
        let file_time = (time + self.random.below(self.settings.lag.0.max(1))).max(self.last_file_time);
        self.last_file_time = file_time;
        self.writer.frame(file_time, bytes, wire_length)?;
        self.frames += 1;
        let Some(visible) = bytes.len().checked_sub(shift + payload_at) else { return Ok(()) };
        let visible = visible.min(*payload);
        match *carries {
            Carries::Nothing => {}
            Carries::Packet { number, line } => {
                recorder.packet(number, line, u32::try_from(visible).expect("one frame"), pending.tap, time);
            }
            Carries::Segment { stream, start, ack } => {
                let sight = Sight { time, tap: pending.tap, frame: self.frames };
                recorder.segment(stream, (start, start + visible as u64), ack, sight);
            }
        }
        Ok(())
    }
}

/// Ethertype, subtype, version and 64 bits of time.
const ARISTA_HEADER: usize = 14;

/// Adds the stamp of a capture device, as `facts/timestamp-formats.md` of this project's notes describes it from the
/// public sources: the device's own FCS behind it is stripped, as NICs do.
fn add_stamp(frame: &mut Vec<u8>, trailer: Trailer, ns: u64) {
    let second = u32::try_from(ns / 1_000_000_000).unwrap_or(u32::MAX).to_be_bytes();
    let nanos = ns % 1_000_000_000;
    let nanos_field = u32::try_from(nanos).expect("below a second").to_be_bytes();
    match trailer {
        Trailer::None => {}
        Trailer::Metamako => {
            let check = frame_check(frame);
            frame.extend_from_slice(&check);
            frame.extend_from_slice(&second);
            frame.extend_from_slice(&nanos_field);
            frame.extend_from_slice(&[0x01, 0x00, 0x2A, 0x07]); // the original FCS is valid; device 42, port 7
        }
        Trailer::ExablazeHpt => {
            let check = frame_check(frame);
            frame.extend_from_slice(&check);
            frame.extend_from_slice(&[0x01, 0x07]); // device, port
            frame.extend_from_slice(&second);
            // A 40-bit fraction of a second, rounded up, so that cutting it to nanoseconds gives them back.
            let fraction = (u128::from(nanos) << 40).div_ceil(1_000_000_000);
            let fraction = u64::try_from(fraction).expect("40 bits").to_be_bytes();
            frame.extend_from_slice(&fraction[3..]);
            frame.push(0);
        }
        Trailer::Arista7280 => {
            let mut header = vec![0xD2, 0x8B, 0x00, 0x01, 0x01, 0x10]; // timestamp; UTC, 64 bits
            header.extend_from_slice(&second);
            header.extend_from_slice(&nanos_field);
            frame.splice(12..12, header);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_have_the_published_layout() {
        let ns = 1_527_552_589_170_404_442;
        let stamped = |trailer| {
            let mut frame = vec![0xAA; 60];
            add_stamp(&mut frame, trailer, ns);
            frame
        };
        let exablaze = stamped(Trailer::ExablazeHpt);
        assert_eq!(exablaze.len(), 60 + 16);
        // The published vector 2b9fa023f4 stands for ….442575; cut to nanoseconds, the upper four bytes agree.
        assert_eq!(exablaze[66..74], [0x5B, 0x0C, 0x9A, 0x4D, 0x2B, 0x9F, 0xA0, 0x21]);
        let fraction = exablaze[70..75].iter().fold(0_u128, |sum, &byte| sum << 8 | u128::from(byte));
        assert_eq!((fraction * 1_000_000_000) >> 40, 170_404_442);
        let metamako = stamped(Trailer::Metamako);
        assert_eq!(metamako.len(), 60 + 16);
        assert_eq!(metamako[64..72], [0x5B, 0x0C, 0x9A, 0x4D, 0x0A, 0x28, 0x2A, 0x5A]);
        let arista = stamped(Trailer::Arista7280);
        assert_eq!(arista[12..18], [0xD2, 0x8B, 0, 1, 1, 0x10]);
        assert_eq!(arista.len(), 60 + ARISTA_HEADER);
    }
}
