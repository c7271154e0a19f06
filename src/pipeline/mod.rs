//! The whole of the offline program in one place: frames are taken apart, put into their flows, decoded, and handed to
//! a lane. Read this first; `analyze` and `decode` differ only in the lane.

pub mod ahead;
mod bookkeeper;
pub mod clocks;
pub mod correlator;
pub mod exchange_clock;
pub mod first_look;
pub mod hops;
pub mod points;
pub mod printer;

use tickscope_decoders::Protocol;
use tickscope_model::{Loss, TapId, Timestamp};

use self::ahead::{Board, Known, ReadAhead};
use self::hops::Hops;
use crate::capture::{Captured, Merged, Packets, Place, Step};
use crate::dissect::{Dissector, Filter, Transport, dissect};
use crate::flow::{Arrival, Conversations, Endpoint, FlowKey, Lane, NamedSession, Peer, StreamBytes, UdpFlows};
use crate::pair::TapClocks;

/// So many conversations are looked at for directions that come apart.
const NEWEST: usize = 4096;

/// What the user has said about flows.
#[derive(Default)]
pub struct Configured {
    pub feeds: Vec<(Endpoint, &'static Protocol)>,
    pub sessions: Vec<NamedSession>,
}

/// The stages from frames to decoded messages.
pub struct Pipeline {
    dissector: Dissector,
    filter: Option<Filter>,
    udp: UdpFlows,
    tcp: Conversations,
    /// Whether market data is left out, for a look at the order flow alone.
    skips_datagrams: bool,
    /// Observation point of each tap.
    points: Vec<u16>,
    /// By number of the tap.
    pub taps: Vec<TapCounts>,
    /// Where those who read ahead find what is known, and how much of it they were told.
    board: Board,
    told: u64,
    /// Packets that several taps see, where there may be any.
    pub hops: Option<Hops>,
}

/// What came from a tap.
#[derive(Clone, Copy, Debug, Default)]
pub struct TapCounts {
    pub frames: u64,
    /// Captured bytes.
    pub bytes: u64,
    pub first: Option<Timestamp>,
    pub last: Option<Timestamp>,
}

impl Pipeline {
    pub fn new(configured: Configured, filter: Option<Filter>, points: Vec<u16>) -> Pipeline {
        Pipeline {
            dissector: Dissector::new(),
            filter,
            udp: UdpFlows::new(configured.feeds),
            tcp: Conversations::new(configured.sessions),
            skips_datagrams: false,
            points,
            taps: Vec::new(),
            board: Board::default(),
            told: 0,
            hops: None,
        }
    }

    /// From now on only TCP is decoded.
    pub fn skip_datagrams(&mut self) {
        self.skips_datagrams = true;
    }

    /// Has captures read ahead by so many threads, as far as that is possible: files that are mapped, read without a
    /// filter. Packets that were read ahead go to [`Lane::packets`]. `block` is about how many bytes are one block.
    pub fn read_ahead(&self, captures: &mut Merged, threads: usize, block: usize) {
        // Packets that are looked for at other taps are needed with their bytes.
        if self.filter.is_some() || self.hops.is_some() {
            return;
        }
        captures.read_ahead(|span, near, files| {
            let point = self.point(span.tap());
            // The threads are divided among the files; where there are more files, each is read when its turn comes.
            Box::new(ReadAhead::new(span, near, point, self.board.clone(), (threads / files.max(1), block)))
        });
    }

    /// The next frame of the captures, or the next packets that were read ahead, through all stages. `each` is called
    /// with the time of what comes, wherever something may have to be done before. False at the end.
    #[inline]
    pub fn step<L: Lane, E>(
        &mut self,
        captures: &mut Merged,
        lane: &mut L,
        mut each: impl FnMut(&mut L, Timestamp) -> Result<(), E>,
    ) -> Result<bool, E> {
        let unread = match captures.step() {
            Step::Frame(captured) => {
                each(lane, captured.frame.time)?;
                self.frame(&captured, lane);
                Vec::new()
            }
            Step::Packets(packets) => self.packets(&packets, lane, &mut each)?,
            Step::End => return Ok(false),
        };
        for frame in unread {
            if let Some(captured) = captures.reread(&frame) {
                each(lane, captured.frame.time)?;
                self.frame(&captured, lane);
            }
        }
        self.tell();
        if lane.has_wants() {
            self.read_again(captures, lane);
        }
        Ok(true)
    }

    /// Reads once more what the lane wants to know better.
    fn read_again<L: Lane>(&mut self, captures: &Merged, lane: &mut L) {
        for place in lane.wants_again() {
            let Some(captured) = captures.reread(&place) else { continue };
            let frame = &captured.frame;
            let Ok(packet) = dissect(frame) else { continue };
            if let Transport::Udp { payload } = packet.transport {
                let key = FlowKey::of(self.point(frame.tap), &packet);
                self.udp.again(&key, payload, (frame.tap, frame.number, frame.time, packet.ip_id), lane);
            }
        }
        lane.seen_again();
    }

    /// Tells those who read ahead what has been learned since the last time.
    fn tell(&mut self) {
        if self.told != self.udp.edition() {
            self.told = self.udp.edition();
            self.board.put(Known::new(self.udp.skimmed()));
        }
    }

    /// How the clocks of taps are related from now on: packets that several of them see are joined by that.
    pub fn relate_taps(&mut self, clocks: &TapClocks) {
        if let Some(hops) = &mut self.hops {
            hops.clocks.clone_from(clocks);
        }
    }

    /// Time has come to `now`, whether or not frames say so: packets that waited long enough are joined.
    pub fn advance(&mut self, now: Timestamp) {
        if let Some(hops) = &mut self.hops {
            hops.advance(now);
        }
    }

    fn point(&self, tap: TapId) -> u16 {
        self.points.get(usize::from(tap.0)).copied().unwrap_or(tap.0)
    }

    /// Packets that were read ahead. `each` is called in front of the first, with its time: nothing that comes due while they
    /// last can depend on them. Returns those that must be read as frames after all.
    fn packets<L: Lane, E>(
        &mut self,
        packets: &Packets<'_>,
        lane: &mut L,
        mut each: impl FnMut(&mut L, Timestamp) -> Result<(), E>,
    ) -> Result<Vec<Place>, E> {
        if let Some(times) = packets.times() {
            each(lane, *times.start())?;
            if !self.udp.packets(packets, lane) {
                return Ok(packets.places());
            }
            self.count_packets(packets);
        }
        Ok(Vec::new())
    }

    fn count_packets(&mut self, packets: &Packets<'_>) {
        let counts = self.counts(packets.tap);
        counts.frames += packets.range.len() as u64;
        counts.bytes += packets.bytes();
        if let Some(times) = packets.times() {
            counts.first.get_or_insert(*times.start());
            counts.last = counts.last.max(Some(*times.end()));
        }
    }

    fn counts(&mut self, tap: TapId) -> &mut TapCounts {
        let tap = usize::from(tap.0);
        if self.taps.len() <= tap {
            self.taps.resize_with(tap + 1, TapCounts::default);
        }
        &mut self.taps[tap]
    }

    /// Frames that became part of a decoded flow.
    pub fn frames_used(&self) -> u64 {
        self.udp.used_frames() + self.tcp.used_frames()
    }

    /// Bytes of the TCP streams that were followed; complete after [`Pipeline::finish`].
    pub fn stream_bytes(&self) -> StreamBytes {
        self.tcp.bytes()
    }

    /// Points at which the two directions of some TCP conversation come apart, among the newest conversations: pairs, with
    /// such a conversation.
    pub fn split_points(&self) -> Vec<(u16, u16, FlowKey)> {
        points::split(self.tcp.newest(NEWEST))
    }

    /// One frame, through all stages.
    #[inline]
    pub fn frame<L: Lane>(&mut self, captured: &Captured<'_>, lane: &mut L) {
        let frame = &captured.frame;
        self.count(captured);
        lane.frame(captured);
        if !captured.has_time {
            lane.loss(Loss::NoTimestamp, 1);
            return;
        }
        let point = self.point(frame.tap);
        let packet = match self.dissector.dissect(frame) {
            Ok(packet) => packet,
            // Pieces of datagrams are counted at the end, when it is known what became of them.
            Err(Loss::FragmentHeld) => return,
            Err(loss) => {
                lane.loss(loss, 1);
                return;
            }
        };
        if let Some(filter) = &self.filter
            && !filter.matches(&packet, frame.wire_len)
        {
            lane.loss(Loss::Filtered, 1);
            return;
        }
        if let Some(hops) = &mut self.hops {
            hops.see(frame.tap, frame.time, &packet);
        }
        match packet.transport {
            Transport::Udp { .. } if self.skips_datagrams => {}
            Transport::Udp { payload } => {
                self.udp.datagram(point, &packet, payload, (frame.tap, frame.number, frame.time), lane);
            }
            Transport::Tcp { sequence, acknowledgement, flags, payload } => {
                let peer =
                    Peer { sequence, acknowledgement, flags, payload, missing: packet.missing, ip_id: packet.ip_id };
                let arrival = Arrival {
                    tap: frame.tap,
                    frame: frame.number,
                    time: frame.time,
                    early: false,
                    cut: packet.missing > 0,
                };
                self.tcp.segment(&FlowKey::of(point, &packet), &peer, arrival, lane);
            }
        }
    }

    #[inline]
    fn count(&mut self, captured: &Captured<'_>) {
        let frame = &captured.frame;
        let counts = self.counts(frame.tap);
        counts.frames += 1;
        counts.bytes += frame.bytes.len() as u64;
        if captured.has_time {
            counts.first.get_or_insert(frame.time);
            counts.last = counts.last.max(Some(frame.time));
        }
    }

    /// Frames of all taps.
    pub fn frames_read(&self) -> u64 {
        self.taps.iter().map(|tap| tap.frames).sum()
    }

    /// The end of the captures: what waits is read or given up, and counted.
    pub fn finish<L: Lane>(&mut self, captures: &Merged, lane: &mut L) {
        self.end(lane);
        self.read_again(captures, lane);
    }

    /// The end, where nothing can be read once more.
    pub fn end<L: Lane>(&mut self, lane: &mut L) {
        if let Some(hops) = &mut self.hops {
            hops.finish();
        }
        self.udp.finish(lane);
        self.tcp.finish(lane);
        self.dissector.give_up();
        let fragments = self.dissector.fragments();
        lane.loss(Loss::FragmentHeld, fragments.used);
        lane.loss(Loss::FragmentLost, fragments.lost);
        lane.ended();
    }
}
