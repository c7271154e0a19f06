//! One capture, frame by frame: pcap or pcapng, mapped or streamed. Broken input ends the file with a [`Cut`];
//! everything before it has been handed out.

use std::path::{Path, PathBuf};

use tickscope_model::{Frame, LinkType, Nanos, TapId, Timestamp};

use super::bytes::{Bytes, Origin};
use super::clock::Clock;
use super::error::{Cut, SourceError};
use super::pcap::{self, Record, Records};
use super::pcapng::{self, Description, Order, PacketBlock};
use super::span::{Span, SpanRecords};

/// An interface as the capture describes it. Classic captures have one.
#[derive(Clone, Debug)]
pub struct Interface {
    /// `if_name`, else `if_description`, else nothing.
    pub name: Option<String>,
    pub link: LinkType,
    /// How long a tick of its clock is, for people: `1 ns`, `2^-32 s`.
    pub resolution: String,
    /// The same in nanoseconds, rounded up.
    pub tick_ns: u64,
    /// Length of the check sequence at the end of each frame, where the capture says so.
    pub fcs_bytes: Option<u8>,
    /// Frames that the interface and the system dropped, where the capture says so.
    pub dropped: Option<u64>,
    /// Bits per second of the link, where the capture says so.
    pub speed: Option<u64>,
    /// The section of a pcapng that describes it, from 0, and its number there.
    pub section: u32,
    pub number: u32,
    clock: Clock,
    snaplen: u32,
}

/// A capture that is being read.
pub struct CaptureFile {
    path: PathBuf,
    bytes: Bytes,
    size: Option<u64>,
    format: Format,
    interfaces: Vec<Interface>,
    current: Current,
    /// Frames so far, those included that only Wireshark counts.
    count: u64,
    done: bool,
    cut: Option<Cut>,
}

enum Format {
    Pcap(Records),
    PcapNg(Section),
}

/// The section of a pcapng that is being read.
#[derive(Clone, Copy)]
struct Section {
    order: Order,
    /// Its place among the sections.
    index: u32,
    /// Number of its first interface among all of the file.
    first_interface: usize,
}

/// The frame that `advance` went to.
#[derive(Clone, Copy)]
struct Current {
    start: usize,
    length: usize,
    wire_len: u32,
    interface: u32,
    link: LinkType,
    time: Timestamp,
    timed: bool,
}

/// A packet's block may be this long; other blocks may be longer, and only their beginning is looked at.
pub(super) const LONGEST_BLOCK: usize = 2 << 20;

/// How much of a description with its options is looked at.
const DESCRIPTION: usize = 64 << 10;

/// Taps are numbered in 16 bits.
const MOST_INTERFACES: usize = 65_535;

/// Why reading stopped before the end: the clause that goes into a [`Cut`].
type Reason = String;

impl CaptureFile {
    /// Takes over the bytes of an input that was recognised as a capture.
    pub(super) fn new(path: &Path, mut bytes: Bytes, size: Option<u64>) -> Result<CaptureFile, SourceError> {
        let broken = |offset: u64, reason: &str| SourceError::Broken {
            file: path.to_owned(),
            offset,
            reason: reason.to_owned(),
        };
        let is_pcap = bytes.need(4) && pcap::is_pcap(bytes.rest());
        let head = if is_pcap { pcap::HEADER } else { 28 };
        if !bytes.need(head) {
            let reason = bytes.trouble().map_or("the capture ends inside its file header".to_owned(), str::to_owned);
            return Err(broken(u64::try_from(bytes.rest().len()).unwrap_or(0), &reason));
        }
        let mut interfaces = Vec::new();
        let format = if is_pcap {
            let Some(start) = bytes.rest().first_chunk() else { return Err(broken(0, "header cut short")) };
            let header = pcap::header(start).map_err(|reason| broken(0, &reason))?;
            interfaces.push(Interface::of_pcap(&header));
            bytes.step(pcap::HEADER);
            Format::Pcap(header.records)
        } else {
            let order = bytes.rest().get(8..12).and_then(|_| Order::of_section(bytes.rest().first_chunk()?));
            let order = order.ok_or_else(|| broken(8, "neither byte order in the section header"))?;
            // The first section's header is walked over like any later one.
            Format::PcapNg(Section { order, index: u32::MAX, first_interface: 0 })
        };
        // A classic capture has one interface for all frames, so link and kind of time are set here, once.
        let nothing = Current {
            start: 0,
            length: 0,
            wire_len: 0,
            interface: 0,
            link: interfaces.first().map_or(LinkType::Ethernet, |first: &Interface| first.link),
            time: Timestamp::MIN,
            timed: is_pcap,
        };
        let path = path.to_owned();
        Ok(CaptureFile { path, bytes, size, format, interfaces, current: nothing, count: 0, done: false, cut: None })
    }

    /// A reader of the first bytes of this file that goes its own way, and whether those are all of it. To be asked for
    /// in front of the first frame.
    pub(super) fn first_bytes(&mut self, length: usize) -> Option<(CaptureFile, bool)> {
        let is_all = !self.bytes.need(length);
        let rest = self.bytes.rest();
        let copy = rest.get(..length.min(rest.len()))?.to_vec();
        let is_all = is_all && copy.len() == rest.len();
        let format = match &self.format {
            Format::Pcap(records) => Format::Pcap(*records),
            Format::PcapNg(section) => Format::PcapNg(*section),
        };
        let file = CaptureFile {
            path: self.path.clone(),
            bytes: Bytes::new(Origin::Memory(copy)),
            size: None,
            format,
            interfaces: self.interfaces.clone(),
            current: self.current,
            count: 0,
            done: false,
            cut: None,
        };
        Some((file, is_all))
    }

    /// The file's name, `-` for standard input.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Goes to the next frame; false at the end, and then [`CaptureFile::cut`] tells whether it is the true one.
    #[inline]
    pub fn advance(&mut self) -> bool {
        let records = match &self.format {
            Format::Pcap(records) => records,
            Format::PcapNg(section) => {
                let section = *section;
                return self.advance_enhanced(section) || self.advance_blocks();
            }
        };
        let rest = self.bytes.rest_with_look_ahead();
        if let Some(record) = records.record(rest)
            && 0 < record.captured
            && record.captured <= records.limit
            && let Ok(captured) = usize::try_from(record.captured)
            && records.header + captured <= rest.len()
            && !self.bytes.has_shrunk()
        {
            let header = records.header;
            self.take_record(&record, header, captured);
            return true;
        }
        self.advance_pcap(*records)
    }

    #[inline]
    fn take_record(&mut self, record: &Record, header: usize, captured: usize) {
        self.current.start = self.bytes.at() + header;
        self.current.length = captured;
        self.current.wire_len = record.wire_len;
        self.current.time = record.time;
        self.current.timed = true;
        self.count += 1;
        self.bytes.step(header + captured);
    }

    /// The next frame where it is not in memory, or empty; or the end.
    #[cold]
    fn advance_pcap(&mut self, records: Records) -> bool {
        if self.done || self.bytes.has_shrunk() || !self.bytes.need(records.header) {
            return self.end_pcap();
        }
        let Some(record) = records.record(self.bytes.rest()) else { return self.end_pcap() };
        let Ok(captured) = usize::try_from(record.captured) else { return self.end_pcap() };
        if record.captured > records.limit || !self.bytes.need(records.header + captured) {
            return self.end_pcap();
        }
        // An empty frame is legal, but it is also what a file that shrank within its last page reads as.
        if captured == 0 && self.bytes.shrunk_to().is_some() {
            return self.end_pcap();
        }
        self.take_record(&record, records.header, captured);
        true
    }

    /// Says why a classic capture ends here.
    #[cold]
    fn end_pcap(&mut self) -> bool {
        if let Format::Pcap(records) = self.format
            && !self.done
        {
            let rest = self.bytes.rest();
            let reason = match records.record(rest) {
                None if rest.is_empty() => None,
                None => Some(format!("{} bytes are left where a record needs {}", rest.len(), records.header)),
                Some(record) if record.captured > records.limit => {
                    Some(format!("a record says it has {} bytes, which is no frame", record.captured))
                }
                Some(record) => Some(format!("the last frame is cut: it has {} bytes", record.captured)),
            };
            self.finish(reason);
        }
        false
    }

    /// Ends the file. What happened to the input as a whole explains more than what the last bytes look like.
    fn finish(&mut self, reason: Option<Reason>) {
        let shrunk = self.bytes.shrunk_to();
        let trouble = self.bytes.trouble().map(str::to_owned);
        let offset = shrunk.unwrap_or_else(|| self.bytes.offset());
        let reason = match shrunk {
            Some(at) => Some(format!("the file shrank while it was being read, at byte {at}")),
            None => trouble.or(reason),
        };
        let frame = self.count + 1;
        let unread = match (&self.size, self.bytes.consumed() == self.bytes.offset()) {
            (Some(size), true) => Some(size.saturating_sub(offset)),
            _ => None,
        };
        self.done = true;
        self.cut = reason.map(|reason| Cut { offset, frame, reason, unread });
        self.current.length = 0;
    }

    /// The next frame where it is an Enhanced Packet Block that is in memory, as nearly all are. Any doubt is left to
    /// [`CaptureFile::advance_blocks`], which knows the reasons.
    #[inline]
    fn advance_enhanced(&mut self, section: Section) -> bool {
        let order = section.order;
        let rest = self.bytes.rest_with_look_ahead();
        let Some((kind, length, packet)) = pcapng::enhanced_head(order, rest) else { return false };
        let (Ok(total), Ok(captured)) = (usize::try_from(length), usize::try_from(packet.captured)) else {
            return false;
        };
        let fits = total % 4 == 0 && total <= LONGEST_BLOCK && captured.saturating_add(32) <= total;
        if kind != pcapng::ENHANCED_PACKET || !fits || order.word(rest, total - 4) != Some(length) {
            return false;
        }
        let Some((number, interface)) = self.interface_of(section, packet.interface) else { return false };
        if self.bytes.has_shrunk() {
            return false;
        }
        let time = interface.clock.time(packet.ticks.unwrap_or(0));
        let (link, wire_len) = (interface.link, packet.wire_len);
        let start = self.bytes.at() + packet.start;
        self.current = Current { start, length: captured, wire_len, interface: number, link, time, timed: true };
        self.count += 1;
        self.bytes.step(total);
        true
    }

    fn advance_blocks(&mut self) -> bool {
        loop {
            if self.done {
                return false;
            }
            if self.bytes.has_shrunk() {
                self.finish(None);
                return false;
            }
            match self.next_block() {
                Ok(Walk::Frame) => return true,
                Ok(Walk::Other) => {}
                Ok(Walk::End) => {
                    self.finish(None);
                    return false;
                }
                Err(reason) => {
                    self.finish(Some(reason));
                    return false;
                }
            }
        }
    }

    /// Walks over one block. Where it is bad, the place stays in front of it.
    #[inline]
    fn next_block(&mut self) -> Result<Walk, Reason> {
        let Format::PcapNg(section) = self.format else { return Ok(Walk::End) };
        if !self.bytes.need(12) {
            return match self.bytes.rest().len() {
                0 => Ok(Walk::End),
                left => Err(format!("{left} bytes are left where a block needs 12")),
            };
        }
        let rest = self.bytes.rest_with_look_ahead();
        let (Some(kind), Some(length)) = (section.order.word(rest, 0), section.order.word(rest, 4)) else {
            return Ok(Walk::End);
        };
        match kind {
            pcapng::SECTION => self.section_block(),
            pcapng::ENHANCED_PACKET | pcapng::OLD_PACKET | pcapng::SIMPLE_PACKET => {
                self.packet_block(section, kind, length)
            }
            _ => self.other_block(section, kind, length),
        }
    }

    /// Checks a block's two lengths and makes sure that it is in memory.
    #[inline]
    fn whole_block(&mut self, order: Order, length: u32, least: usize) -> Result<usize, Reason> {
        let total = checked_length(length, least)?;
        if total > LONGEST_BLOCK {
            return Err(format!("a packet's block says it has {length} bytes, which is no packet"));
        }
        if !self.bytes.need(total) {
            return Err(format!("the last block is cut: {} of its {total} bytes are there", self.bytes.rest().len()));
        }
        let again = order.word(self.bytes.rest(), total - 4);
        if again == Some(length) {
            Ok(total)
        } else {
            Err(format!("a block's two lengths differ: {length}, {again:?}"))
        }
    }

    #[inline]
    fn packet_block(&mut self, section: Section, kind: u32, length: u32) -> Result<Walk, Reason> {
        let order = section.order;
        let total = self.whole_block(order, length, 16)?;
        let block = self.bytes.rest().get(..total).unwrap_or(&[]);
        let packet = match kind {
            pcapng::ENHANCED_PACKET => pcapng::enhanced(order, block),
            pcapng::OLD_PACKET => pcapng::old_packet(order, block),
            _ => {
                let snaplen = self.interfaces.get(section.first_interface).map_or(0, |first| first.snaplen);
                pcapng::simple(order, block, length, snaplen)
            }
        };
        let packet = packet.ok_or_else(|| format!("a packet's block of {length} bytes is too short for its head"))?;
        let Some((number, interface)) = self.interface_of(section, packet.interface) else {
            return Err(format!("a packet of interface {}, which was not described", packet.interface));
        };
        let PacketBlock { start, captured, wire_len, .. } = packet;
        let length = usize::try_from(captured).unwrap_or(usize::MAX);
        if start.saturating_add(length).saturating_add(4) > total {
            return Err(format!("a packet of {captured} bytes in a block of {total}"));
        }
        let (time, timed) = match packet.ticks {
            Some(ticks) => (interface.clock.time(ticks), true),
            None => (Timestamp::MIN, false),
        };
        let link = interface.link;
        let start = self.bytes.at() + start;
        self.current = Current { start, length, wire_len, interface: number, link, time, timed };
        self.count += 1;
        self.bytes.step(total);
        Ok(Walk::Frame)
    }

    #[inline]
    fn interface_of(&self, section: Section, number: u32) -> Option<(u32, &Interface)> {
        let index = section.first_interface.checked_add(usize::try_from(number).ok()?)?;
        Some((u32::try_from(index).ok()?, self.interfaces.get(index)?))
    }

    fn section_block(&mut self) -> Result<Walk, Reason> {
        let rest = self.bytes.rest();
        let Some(order) = rest.first_chunk().and_then(Order::of_section) else {
            return Err("a section header in neither byte order".to_owned());
        };
        let total = checked_length(order.word(rest, 4).unwrap_or(0), 28)?;
        if !self.bytes.need(16) {
            return Err("the last block is cut: a section header".to_owned());
        }
        let version = self.bytes.rest().get(12..14).and_then(|bytes| bytes.first_chunk()).map(|&two| order.u16(two));
        if version != Some(1) {
            return Err(format!("a section of pcapng version {}; only 1.x is known", version.unwrap_or(0)));
        }
        let Format::PcapNg(section) = &mut self.format else { return Ok(Walk::End) };
        *section = Section { order, index: section.index.wrapping_add(1), first_interface: self.interfaces.len() };
        self.skip_block(total)
    }

    /// Everything that is neither section nor packet.
    fn other_block(&mut self, section: Section, kind: u32, length: u32) -> Result<Walk, Reason> {
        let total = checked_length(length, 12)?;
        match kind {
            pcapng::INTERFACE => {
                let head = self.beginning(total);
                let described = head.and_then(|head| pcapng::interface(section.order, head));
                let described = described.ok_or("an interface's description is cut short")?;
                self.add_interface(section, described)?;
            }
            pcapng::STATISTICS => {
                let read = self.beginning(total).and_then(|head| pcapng::statistics(section.order, head));
                if let Some((number, Some(dropped))) = read {
                    let index = section.first_interface.saturating_add(usize::try_from(number).unwrap_or(usize::MAX));
                    if let Some(interface) = self.interfaces.get_mut(index) {
                        interface.dropped = Some(dropped);
                    }
                }
            }
            _ if pcapng::is_numbered(kind) => self.count += 1,
            _ => {}
        }
        self.skip_block(total)
    }

    /// The block that begins here, without its second length, or as much of it as is looked at.
    fn beginning(&mut self, total: usize) -> Option<&[u8]> {
        let look = (total - 4).min(DESCRIPTION);
        if self.bytes.need(look) { self.bytes.rest().get(..look) } else { None }
    }

    fn add_interface(&mut self, section: Section, described: Description) -> Result<(), Reason> {
        if self.interfaces.len() >= MOST_INTERFACES {
            return Err(format!("more than {MOST_INTERFACES} interfaces"));
        }
        let number = u32::try_from(self.interfaces.len() - section.first_interface).unwrap_or(u32::MAX);
        let Description { link, snaplen, name, clock, fcs_bytes, speed } = described;
        let resolution = clock.to_string();
        let section = section.index;
        self.interfaces.push(Interface {
            name,
            link,
            resolution,
            tick_ns: clock.tick_ns(),
            fcs_bytes,
            dropped: None,
            speed,
            section,
            number,
            clock,
            snaplen,
        });
        Ok(())
    }

    fn skip_block(&mut self, total: usize) -> Result<Walk, Reason> {
        if self.bytes.skip(total) { Ok(Walk::Other) } else { Err("the last block is cut".to_owned()) }
    }

    /// The interface of the current frame, as an index of [`CaptureFile::interfaces`].
    #[inline]
    pub fn interface(&self) -> u32 {
        self.current.interface
    }

    /// When the current frame was captured; `None` for a Simple Packet Block.
    #[inline]
    pub fn time(&self) -> Option<Timestamp> {
        self.current.timed.then_some(self.current.time)
    }

    /// The current frame. One without a time has [`Timestamp::MIN`].
    #[inline]
    pub fn frame(&self, tap: TapId) -> Frame<'_> {
        let Current { start, length, wire_len, link, time, .. } = self.current;
        let bytes = self.bytes.window().get(start..start + length).unwrap_or(&[]);
        Frame { tap, link, time, number: self.count, wire_len, bytes }
    }

    /// The file as other threads may read it: mapped, and of one interface so far.
    pub(super) fn span(&self, tap: TapId, offset: Nanos) -> Option<Span> {
        let (mapping, interface) = (self.bytes.mapping()?.clone(), self.only_interface()?);
        let records = match &self.format {
            Format::Pcap(records) => SpanRecords::Pcap(*records),
            Format::PcapNg(section) => SpanRecords::PcapNg { order: section.order, clock: interface.clock },
        };
        Some(Span::new(mapping, records, interface.link, tap, offset))
    }

    fn only_interface(&self) -> Option<&Interface> {
        match self.interfaces.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// Where the next frame is looked for, if frames that were read ahead from there would be those of this file.
    #[inline]
    pub(super) fn place(&self) -> Option<usize> {
        (!self.done && self.interfaces.len() == 1 && !self.bytes.has_shrunk()).then_some(self.bytes.at())
    }

    /// Frames so far.
    pub(super) fn frames(&self) -> u64 {
        self.count
    }

    /// Goes on to a place behind frames that were read ahead.
    pub(super) fn jump(&mut self, place: usize, frames: u64) {
        self.count += frames;
        self.bytes.step(place.saturating_sub(self.bytes.at()));
    }

    /// Every interface described so far. More may come while the capture is read.
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// How far the file was read, in bytes as they lie on disk.
    pub fn position(&self) -> u64 {
        self.bytes.consumed()
    }

    /// The file's length on disk; `None` for a pipe.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// Where and why the file ended early; `None` while it has not, and where it ended well.
    pub fn cut(&self) -> Option<&Cut> {
        self.cut.as_ref()
    }
}

enum Walk {
    Frame,
    Other,
    End,
}

/// A block's length, where it can be one.
#[inline]
fn checked_length(length: u32, least: usize) -> Result<usize, Reason> {
    match usize::try_from(length) {
        Ok(total) if total >= least && total % 4 == 0 => Ok(total),
        _ => Err(format!("a block says it has {length} bytes, which no such block has")),
    }
}

impl Interface {
    fn of_pcap(header: &pcap::Header) -> Interface {
        let clock = Clock::new(header.records.resolution(), 0);
        Interface {
            name: None,
            link: header.link,
            resolution: clock.to_string(),
            tick_ns: clock.tick_ns(),
            fcs_bytes: header.fcs_bytes,
            dropped: None,
            speed: None,
            section: 0,
            number: 0,
            clock,
            snaplen: 0,
        }
    }
}
