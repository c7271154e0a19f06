//! Which packets of a run are looked at for being the same as others. To hash every packet of a busy feed costs as much as to
//! decode it, and most flows come by one tap only. So the first packets of each flow at each tap are looked at, and then one
//! in some dozens, chosen by its bytes so that every tap chooses the same ones. As soon as one is found at another tap, the
//! flow is shared: from then on all of it is looked at, at both.

use std::net::IpAddr;

use tickscope_model::TapId;

use crate::dissect::{Packet, Transport};
use crate::flow::FlowKey;

/// So many packets of a flow are looked at without a reason.
const FIRST: u32 = 512;
/// Then those of which so many low bits of a hash of a few of their bytes are zero: one in 64.
const SAMPLE: u64 = 63;
/// Flows of a tap that are told apart; others share the fate of the one with the same number.
const FLOWS: usize = 4096;

#[derive(Clone, Copy, Default)]
struct Flow {
    /// Packets so far.
    seen: u32,
    is_shared: bool,
}

/// See the head of this file.
pub(super) struct Sparing {
    /// By tap and flow.
    flows: Vec<Flow>,
    /// See [`super::Hops::overlooked`].
    pub(super) overlooked: u64,
}

impl Sparing {
    pub(super) fn new(taps: usize) -> Sparing {
        Sparing { flows: vec![Flow::default(); taps * FLOWS], overlooked: 0 }
    }

    /// Whether this packet is looked at.
    #[inline]
    pub(super) fn looks_at(&mut self, tap: TapId, packet: &Packet<'_>) -> bool {
        if matches!(packet.transport, Transport::Udp { payload: [] } | Transport::Tcp { payload: [], .. }) {
            return false;
        }
        let ports = (packet.source_port, packet.target_port);
        let Some(flow) = self.flow(tap, number((packet.source, packet.target), ports)) else { return true };
        flow.seen = flow.seen.saturating_add(1);
        flow.is_shared || flow.seen <= FIRST || is_sampled(packet)
    }

    /// The same packet was found at two taps.
    pub(super) fn share(&mut self, one: (TapId, &FlowKey), other: (TapId, &FlowKey)) {
        let mut sides = [one, other].map(|(tap, key)| {
            let flow = number((key.source.address, key.target.address), (key.source.port, key.target.port));
            self.flow(tap, flow).map_or(Flow { seen: 0, is_shared: true }, |flow| {
                std::mem::replace(flow, Flow { is_shared: true, ..*flow })
            })
        });
        sides.sort_unstable_by_key(|flow| flow.seen);
        let [fewer, more] = sides;
        // This one is no loss, nor what came while all were looked at.
        if more.seen > FIRST && !(fewer.is_shared && more.is_shared) {
            self.overlooked += u64::from(fewer.seen.saturating_sub(1));
        }
    }

    fn flow(&mut self, tap: TapId, flow: usize) -> Option<&mut Flow> {
        self.flows.get_mut(usize::from(tap.0) * FLOWS + flow)
    }
}

/// Number of a flow at its tap, below [`FLOWS`].
#[inline]
fn number((source, target): (IpAddr, IpAddr), (source_port, target_port): (u16, u16)) -> usize {
    let word = |address: IpAddr| match address {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            u64::try_from(bits >> 64).unwrap_or(0) ^ u64::try_from(bits & u128::from(u64::MAX)).unwrap_or(0)
        }
    };
    let ports = u64::from(source_port) << 16 | u64::from(target_port);
    let hash = mixed(mixed(word(source)) ^ word(target) ^ ports << 32);
    usize::try_from(hash).unwrap_or(0) % FLOWS
}

/// By what the taps' copies of a packet have in common: a few of the bytes that change from packet to packet.
#[inline]
fn is_sampled(packet: &Packet<'_>) -> bool {
    let hash = match packet.transport {
        Transport::Tcp { sequence, .. } => mixed(u64::from(sequence)),
        // Most feeds number their packets near the beginning; the end belongs to the newest message.
        Transport::Udp { payload } => {
            let word =
                |bytes: Option<&[u8]>| bytes.and_then(<[u8]>::first_chunk).map_or(0, |it| u64::from_le_bytes(*it));
            let last = word(payload.len().checked_sub(8).and_then(|at| payload.get(at..)));
            mixed(mixed(word(payload.get(10..)) ^ payload.len() as u64) ^ last)
        }
    };
    hash & SAMPLE == 0
}

#[inline]
fn mixed(word: u64) -> u64 {
    let product = word.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    product ^ product >> 32
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tickscope_model::Timestamp;

    use super::super::Hops;
    use super::*;

    /// A packet with this number in it, from a source port.
    fn with<T>(number: u64, port: u16, run: impl FnOnce(&Packet<'_>) -> T) -> T {
        let payload: Vec<u8> = [0; 10].into_iter().chain(number.to_be_bytes()).chain([7; 12]).collect();
        let address = |last| IpAddr::V4(Ipv4Addr::new(10, 0, 0, last));
        run(&Packet {
            source: address(1),
            target: address(2),
            source_port: port,
            target_port: 26477,
            ip_id: 0,
            vlan: 0,
            transport: Transport::Udp { payload: &payload },
            missing: 0,
        })
    }

    fn see(hops: &mut Hops, tap: u16, port: u16, number: u64) {
        let time = Timestamp(number % 1_000_000 * 1000 + u64::from(tap));
        with(number, port, |packet| hops.see(TapId(tap), time, packet));
    }

    fn joined(mut hops: Hops) -> (u64, u64) {
        hops.finish();
        (hops.ways().iter().map(|(_, crossing)| crossing.n()).sum(), hops.overlooked())
    }

    #[test]
    fn a_flow_that_taps_share_from_the_start_is_joined_whole() {
        let mut hops = Hops::sparing(2);
        for number in 0..10_000 {
            see(&mut hops, 0, 5, number);
            see(&mut hops, 0, 6, number + 50_000_000);
            see(&mut hops, 1, 5, number);
        }
        assert_eq!(joined(hops), (10_000, 0));
    }

    #[test]
    fn a_flow_that_is_shared_later_is_found_and_what_was_missed_is_bounded() {
        let mut hops = Hops::sparing(2);
        for number in 0..20_000 {
            see(&mut hops, 0, 5, number);
            if number >= 10_000 {
                see(&mut hops, 1, 5, number);
            }
        }
        let (joined, overlooked) = joined(hops);
        // One in 64 is looked at.
        assert!((9_000..10_000).contains(&joined) && joined + overlooked >= 10_000, "{joined} {overlooked}");
        assert!(joined + overlooked <= 10_001, "{joined} {overlooked}");
    }

    #[test]
    fn one_in_some_dozens_is_looked_at_of_what_no_other_tap_sees() {
        let mut sparing = Sparing::new(1);
        let looked = (0..640_512_u64).filter(|number| with(*number, 5, |packet| sparing.looks_at(TapId(0), packet)));
        let looked = looked.count();
        assert!((9_500..11_500).contains(&looked), "{looked}");
    }
}
