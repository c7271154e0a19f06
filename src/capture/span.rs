//! A mapped capture as several threads read it at once: any record by its place, and a guess where one begins. Only what
//! the reader of the whole file would take for an ordinary frame is a record here; at anything else these readers stop.

use std::sync::Arc;

use tickscope_model::{Frame, LinkType, Nanos, TapId, Timestamp};

use super::clock::Clock;
use super::file::LONGEST_BLOCK;
use super::map::Mapping;
use super::pcap::{self, Records};
use super::pcapng::{self, Order};

/// How records are read.
#[derive(Clone, Copy)]
pub(super) enum SpanRecords {
    Pcap(Records),
    /// Enhanced Packet Blocks of the first section's only interface.
    PcapNg {
        order: Order,
        clock: Clock,
    },
}

/// See the head of this file.
pub struct Span {
    mapping: Arc<Mapping>,
    records: SpanRecords,
    link: LinkType,
    tap: TapId,
    offset: Nanos,
}

/// A frame in a file.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// Behind the beginning of the record.
    start: usize,
    /// How many bytes of its frame were captured.
    pub captured: usize,
    wire_len: u32,
    /// With the tap's offset.
    pub time: Timestamp,
    /// Bytes of the record, its head and what may stand behind the frame included.
    pub length: usize,
}

impl Record {
    /// Its frame's bytes and all behind them, of the bytes that it begins with.
    #[inline]
    pub fn from_frame<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes.get(self.start..).unwrap_or(&[])
    }

    /// Its frame's bytes, of the bytes that it begins with.
    #[inline]
    pub fn frame<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        self.from_frame(bytes).get(..self.captured).unwrap_or(&[])
    }
}

/// Finds records in files of the most common kind, which are read in the shortest way.
#[derive(Clone, Copy)]
pub struct CommonRecords {
    unit_ns: u64,
    limit: u32,
}

impl CommonRecords {
    /// The record that begins with the first of these bytes, if it is an ordinary frame and all there.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "measured: as below")]
    pub fn record(&self, bytes: &[u8]) -> Option<Record> {
        let (head, _) = bytes.split_first_chunk::<{ pcap::COMMON_HEADER }>()?;
        let ([seconds, fraction, captured, wire_len], []) = head.as_chunks::<4>() else { return None };
        let captured = u32::from_le_bytes(*captured);
        let time = u64::from(u32::from_le_bytes(*seconds)) * 1_000_000_000
            + u64::from(u32::from_le_bytes(*fraction)) * self.unit_ns;
        let length = pcap::COMMON_HEADER + captured as usize;
        (captured.wrapping_sub(1) < self.limit && length <= bytes.len()).then_some(Record {
            start: pcap::COMMON_HEADER,
            captured: captured as usize,
            wire_len: u32::from_le_bytes(*wire_len),
            time: Timestamp(time),
            length,
        })
    }
}

/// So many records in a row must look like records for a guess to be made.
const CHAIN: usize = 8;
/// A capture lasts less than this; times further apart are no times.
const LONGEST_NS: u64 = 40 * 86_400 * 1_000_000_000;

impl Span {
    pub(super) fn new(mapping: Arc<Mapping>, records: SpanRecords, link: LinkType, tap: TapId, offset: Nanos) -> Span {
        Span { mapping, records, link, tap, offset }
    }

    /// Bytes of the file.
    pub fn length(&self) -> usize {
        self.mapping.bytes().len()
    }

    pub fn bytes(&self) -> &[u8] {
        self.mapping.bytes()
    }

    /// Gives back what lies behind the reader of the whole file.
    pub fn give_back(&self) {
        self.mapping.give_back();
    }

    pub fn tap(&self) -> TapId {
        self.tap
    }

    /// How records are found, where they are of the most common kind.
    pub fn common(&self) -> Option<CommonRecords> {
        match &self.records {
            SpanRecords::Pcap(records) if records.is_common() && self.offset.0 == 0 => {
                Some(CommonRecords { unit_ns: records.unit_ns.into(), limit: records.limit })
            }
            _ => None,
        }
    }

    /// The record that begins with the first of these bytes.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "measured: called once a frame, from a loop that nothing else is in")]
    pub fn record_in(&self, bytes: &[u8]) -> Option<Record> {
        match &self.records {
            SpanRecords::Pcap(records) => {
                let record = records.record(bytes)?;
                let captured = usize::try_from(record.captured).ok()?;
                let length = records.header + captured;
                if captured == 0 || record.captured > records.limit || length > bytes.len() {
                    return None;
                }
                let time = self.time(record.time);
                Some(Record { start: records.header, captured, wire_len: record.wire_len, time, length })
            }
            SpanRecords::PcapNg { order, clock } => {
                let (kind, length, packet) = pcapng::enhanced_head(*order, bytes)?;
                let (total, captured) = (usize::try_from(length).ok()?, usize::try_from(packet.captured).ok()?);
                let fits = total % 4 == 0 && total <= LONGEST_BLOCK && captured.saturating_add(32) <= total;
                let is_whole = fits && order.word(bytes, total - 4) == Some(length);
                if kind != pcapng::ENHANCED_PACKET || packet.interface != 0 || !is_whole {
                    return None;
                }
                let time = self.time(clock.time(packet.ticks?));
                Some(Record { start: packet.start, captured, wire_len: packet.wire_len, time, length: total })
            }
        }
    }

    #[inline]
    fn time(&self, time: Timestamp) -> Timestamp {
        if self.offset.0 == 0 { time } else { time.shifted(self.offset) }
    }

    /// The frame of the record that begins here, if it is an ordinary one and all there.
    #[inline]
    pub fn frame_at(&self, at: usize, number: u64) -> Option<Frame<'_>> {
        let bytes = self.mapping.bytes().get(at..)?;
        let record = self.record_in(bytes)?;
        Some(Frame { number, ..self.frame_of(&record, record.frame(bytes)) })
    }

    /// The frame of a record whose bytes are these, without a number.
    #[inline]
    pub fn frame_of<'a>(&self, record: &Record, bytes: &'a [u8]) -> Frame<'a> {
        Frame { tap: self.tap, link: self.link, time: record.time, number: 0, wire_len: record.wire_len, bytes }
    }

    /// The first place of this range where records seem to begin. `near` is a time of this capture.
    pub fn guess(&self, from: usize, until: usize, near: Timestamp) -> Option<usize> {
        let step = match self.records {
            SpanRecords::Pcap(_) => 1,
            // Every block's length is a multiple of 4.
            SpanRecords::PcapNg { .. } => 4,
        };
        (from.next_multiple_of(step)..until.min(self.length())).step_by(step).find(|&at| self.is_chain(at, near))
    }

    fn is_chain(&self, mut at: usize, near: Timestamp) -> bool {
        for _ in 0..CHAIN {
            let record = self.bytes().get(at..).and_then(|bytes| self.record_in(bytes));
            let Some(record) = record else { return at == self.length() };
            let is_cut_right = usize::try_from(record.wire_len).is_ok_and(|length| length >= record.captured);
            if !is_cut_right || record.time.0.abs_diff(near.0) > LONGEST_NS {
                return false;
            }
            at += record.length;
        }
        true
    }
}
