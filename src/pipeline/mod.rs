//! The whole of the offline program in one place: frames are taken apart, put into their flows, decoded, and handed to
//! a lane. Read this first; `analyze` and `decode` differ only in the lane.

pub mod correlator;
pub mod points;
pub mod printer;

use tickscope_decoders::Protocol;
use tickscope_model::{Loss, Timestamp};

use crate::capture::Captured;
use crate::dissect::{Dissector, Filter, Transport};
use crate::flow::{Arrival, Conversations, Endpoint, FlowKey, Lane, NamedSession, Peer, StreamBytes, UdpFlows};

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
    /// Observation point of each tap.
    points: Vec<u16>,
    /// By number of the tap.
    pub taps: Vec<TapCounts>,
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
            points,
            taps: Vec::new(),
        }
    }

    /// Frames that became part of a decoded flow.
    pub fn frames_used(&self) -> u64 {
        self.udp.used_frames() + self.tcp.used_frames()
    }

    /// Bytes of the TCP streams that were followed; complete after [`Pipeline::finish`].
    pub fn stream_bytes(&self) -> StreamBytes {
        self.tcp.bytes()
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
        let point = self.points.get(usize::from(frame.tap.0)).copied().unwrap_or(frame.tap.0);
        match packet.transport {
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
        let tap = usize::from(frame.tap.0);
        if self.taps.len() <= tap {
            self.taps.resize_with(tap + 1, TapCounts::default);
        }
        let counts = &mut self.taps[tap];
        counts.frames += 1;
        counts.bytes += frame.bytes.len() as u64;
        if captured.has_time {
            counts.first.get_or_insert(frame.time);
            counts.last = Some(counts.last.map_or(frame.time, |last| last.max(frame.time)));
        }
    }

    /// Frames of all taps.
    pub fn frames_read(&self) -> u64 {
        self.taps.iter().map(|tap| tap.frames).sum()
    }

    /// The end of the captures: what waits is read or given up, and counted.
    pub fn finish<L: Lane>(&mut self, lane: &mut L) {
        self.udp.finish(lane);
        self.tcp.finish(lane);
        self.dissector.give_up();
        let fragments = self.dissector.fragments();
        lane.loss(Loss::FragmentHeld, fragments.used);
        lane.loss(Loss::FragmentLost, fragments.lost);
    }
}
