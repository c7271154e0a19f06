//! UDP flows: which protocol each carries, found out from its payloads unless the configuration says it.

use std::ops::Range;
use std::sync::Arc;

use tickscope_decoders::{Carrier, Decoder, Guess, Lessons, PROTOCOLS, Protocol, Skim};
use tickscope_model::{Loss, TapId, Timestamp};

use crate::capture::{FlowMark, Packets};
use crate::dissect::Packet;
use crate::hash::HashMap;

use super::{AgainOutput, Datagram, DatagramOutput, Endpoint, FlowKey, Lane};

/// So many payloads that no protocol recognises, and a flow is left alone.
const TRIES: u8 = 16;
/// At most this many flows are remembered; beyond that the unknown ones are forgotten.
const FLOW_LIMIT: usize = 1 << 16;
/// Slots of the table of recent flows; market data comes on few.
const RECENT: usize = 64;

enum State {
    /// Nobody is sure yet. `frames` wait for the decision.
    Probing {
        tries: u8,
        frames: u64,
    },
    Known {
        protocol: &'static Protocol,
        decoder: Box<dyn Decoder>,
    },
    Unknown,
}

struct UdpFlow {
    key: FlowKey,
    packed: Option<u128>,
    number: u32,
    state: State,
    /// What its decoder had learned when that was last looked at.
    lessons: Lessons,
}

/// A flow that can be read ahead.
pub struct SkimmedFlow {
    /// See [`FlowKey::packed`].
    pub key: u128,
    pub mark: FlowMark,
    pub skim: Arc<dyn Skim>,
    /// See [`Skim::session`].
    pub session: Range<usize>,
}

/// All UDP flows of a run.
pub struct UdpFlows {
    flows: Vec<UdpFlow>,
    index: HashMap<FlowKey, usize>,
    /// The flow that was last found at each slot: saves the hash of the whole key.
    recent: [usize; RECENT],
    configured: Vec<(Endpoint, &'static Protocol)>,
    next_number: u32,
    used_frames: u64,
    /// Changes whenever [`UdpFlows::skimmed`] has become better.
    edition: u64,
}

impl UdpFlows {
    /// `configured`: destinations whose protocol the user has named.
    pub fn new(configured: Vec<(Endpoint, &'static Protocol)>) -> UdpFlows {
        UdpFlows {
            flows: Vec::new(),
            index: HashMap::default(),
            recent: [usize::MAX; RECENT],
            configured,
            next_number: 0,
            used_frames: 0,
            edition: 0,
        }
    }

    /// Frames whose payload a decoder has read.
    pub fn used_frames(&self) -> u64 {
        self.used_frames
    }

    #[inline]
    pub fn datagram<L: Lane>(
        &mut self,
        point: u16,
        packet: &Packet<'_>,
        payload: &[u8],
        (tap, frame, time): (TapId, u64, Timestamp),
        lane: &mut L,
    ) {
        let at = self.find(point, packet, lane);
        let Some(flow) = self.flows.get_mut(at) else { return };
        if !matches!(flow.state, State::Known { .. }) {
            self.used_frames += probe(flow, payload, lane);
            self.edition += u64::from(matches!(flow.state, State::Known { .. }));
        }
        let UdpFlow { key, number, state, lessons, .. } = flow;
        if let State::Known { protocol, decoder } = state {
            let at = Datagram { protocol, key, flow: *number, tap, frame, time, ip_id: packet.ip_id };
            let mut output = DatagramOutput { lane, at, copy: false };
            decoder.decode(payload, &mut output);
            let copy = output.copy;
            match (copy, packet.missing > 0) {
                (true, _) => lane.loss(Loss::CaptureDuplicate, 1),
                (false, true) => lane.loss(Loss::FrameCut, 1),
                (false, false) => self.used_frames += 1,
            }
            let now = decoder.lessons();
            self.edition += u64::from(now != *lessons);
            *lessons = now;
        }
    }

    /// Reads a datagram once more, for [`Lane::market_again`]. Nothing is counted.
    pub fn again<L: Lane>(
        &mut self,
        key: &FlowKey,
        payload: &[u8],
        (tap, frame, time, ip_id): (TapId, u64, Timestamp, u16),
        lane: &mut L,
    ) {
        let Some(flow) = self.index.get(key).and_then(|&at| self.flows.get_mut(at)) else { return };
        let UdpFlow { key, number, state: State::Known { protocol, decoder }, .. } = flow else { return };
        let at = Datagram { protocol, key, flow: *number, tap, frame, time, ip_id };
        decoder.decode(payload, &mut AgainOutput { lane, at });
    }

    /// Packets that were read ahead. False where that was by a flow or by lessons that are no longer true: then nothing
    /// has happened, and they must be read as datagrams.
    pub fn packets<L: Lane>(&mut self, packets: &Packets<'_>, lane: &mut L) -> bool {
        let mark = packets.run.flow;
        let Some(UdpFlow { key, number, state: State::Known { protocol, .. }, lessons, .. }) =
            self.flows.get(mark.place as usize)
        else {
            return false;
        };
        if *number != mark.number || lessons.corrected != mark.corrected {
            return false;
        }
        let Some(times) = packets.times() else { return true };
        let (frame, time) = (packets.frame(packets.range.start), *times.start());
        let at = Datagram { protocol, key, flow: *number, tap: packets.tap, frame, time, ip_id: 0 };
        let copies = lane.packets(at, packets);
        if copies > 0 {
            lane.loss(Loss::CaptureDuplicate, copies);
        }
        self.used_frames += packets.range.len() as u64 - copies;
        true
    }

    /// Changes whenever there is more to read ahead by.
    pub fn edition(&self) -> u64 {
        self.edition
    }

    /// The flows that can be read ahead.
    pub fn skimmed(&self) -> Vec<SkimmedFlow> {
        let skimmed = |(place, flow): (usize, &UdpFlow)| {
            let State::Known { decoder, .. } = &flow.state else { return None };
            let mark =
                FlowMark { place: u32::try_from(place).ok()?, number: flow.number, corrected: flow.lessons.corrected };
            let skim = decoder.skimmer()?;
            Some(SkimmedFlow { key: flow.packed?, mark, session: skim.session(), skim })
        };
        self.flows.iter().enumerate().filter_map(skimmed).collect()
    }

    /// What is still undecided at the end: heartbeats alone are not enough to say what it was.
    pub fn finish<L: Lane>(&mut self, lane: &mut L) {
        for flow in &mut self.flows {
            if let State::Probing { frames, .. } = flow.state {
                lane.loss(Loss::UnknownUdp, frames);
                flow.state = State::Unknown;
            }
        }
    }

    #[inline]
    fn find<L: Lane>(&mut self, point: u16, packet: &Packet<'_>, lane: &mut L) -> usize {
        let slot = usize::from(packet.target_port ^ packet.source_port.rotate_left(5) ^ point) % RECENT;
        let packed = FlowKey::packed(point, packet);
        if let Some(&at) = self.recent.get(slot)
            && packed.is_some()
            && self.flows.get(at).is_some_and(|flow| flow.packed == packed)
        {
            return at;
        }
        let key = FlowKey::of(point, packet);
        let at = match self.index.get(&key) {
            Some(&at) => at,
            None => self.add(&key, packed, lane),
        };
        if let Some(recent) = self.recent.get_mut(slot) {
            *recent = at;
        }
        at
    }

    #[cold]
    fn add<L: Lane>(&mut self, key: &FlowKey, packed: Option<u128>, lane: &mut L) -> usize {
        if self.flows.len() >= FLOW_LIMIT {
            self.forget_unknown(lane);
        }
        let named = self.configured.iter().find(|(endpoint, _)| *endpoint == key.target).map(|&(_, protocol)| protocol);
        self.edition += u64::from(named.is_some());
        let state = match named {
            Some(protocol) => State::Known { protocol, decoder: (protocol.open)() },
            None => State::Probing { tries: 0, frames: 0 },
        };
        self.flows.push(UdpFlow { key: *key, packed, number: self.next_number, state, lessons: Lessons::default() });
        self.next_number += 1;
        self.index.insert(*key, self.flows.len() - 1);
        self.flows.len() - 1
    }

    /// A scan or garbage may open any number of flows; those that are market data stay.
    fn forget_unknown<L: Lane>(&mut self, lane: &mut L) {
        self.finish(lane);
        self.flows.retain(|flow| matches!(flow.state, State::Known { .. }));
        if self.flows.len() >= FLOW_LIMIT {
            self.flows.drain(..FLOW_LIMIT / 2);
        }
        self.index = self.flows.iter().enumerate().map(|(at, flow)| (flow.key, at)).collect();
        self.recent = [usize::MAX; RECENT];
    }
}

/// Tries every protocol on a payload. Returns how many earlier frames turn out to have been used.
fn probe<L: Lane>(flow: &mut UdpFlow, payload: &[u8], lane: &mut L) -> u64 {
    let State::Probing { tries, frames } = &mut flow.state else {
        lane.loss(Loss::UnknownUdp, 1);
        return 0;
    };
    *tries = tries.saturating_add(1);
    for protocol in PROTOCOLS.iter().filter(|protocol| protocol.carrier == Carrier::Udp) {
        match (protocol.probe)(payload) {
            Guess::Yes => {
                let waited = *frames;
                flow.state = State::Known { protocol, decoder: (protocol.open)() };
                return waited;
            }
            Guess::Maybe => {
                // A heartbeat does not use up a try: a quiet feed begins with many.
                *tries = 0;
            }
            Guess::No => {}
        }
    }
    *frames += 1;
    if *tries >= TRIES {
        lane.loss(Loss::UnknownUdp, *frames);
        flow.state = State::Unknown;
    }
    0
}
