//! What tells conversations apart: observation point, addresses and ports.

use std::fmt;
use std::net::IpAddr;

use crate::dissect::Packet;

/// One end of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    pub address: IpAddr,
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            IpAddr::V4(address) => write!(f, "{address}:{}", self.port),
            IpAddr::V6(address) => write!(f, "[{address}]:{}", self.port),
        }
    }
}

/// An end as a user names it: an address, of one port or of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedEnd {
    pub address: IpAddr,
    pub port: Option<u16>,
}

impl NamedEnd {
    pub fn holds(&self, endpoint: Endpoint) -> bool {
        self.address == endpoint.address && self.port.is_none_or(|port| port == endpoint.port)
    }
}

/// A direction of a conversation at one observation point. Two VLANs that use the same addresses stay apart only
/// by their points: mirror ports change tags, so tags do not belong to the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowKey {
    pub point: u16,
    pub source: Endpoint,
    pub target: Endpoint,
}

impl FlowKey {
    pub fn of(point: u16, packet: &Packet<'_>) -> FlowKey {
        FlowKey {
            point,
            source: Endpoint { address: packet.source, port: packet.source_port },
            target: Endpoint { address: packet.target, port: packet.target_port },
        }
    }

    /// The whole key in one word where it fits (IPv4), so that comparing it is one comparison.
    #[inline]
    pub fn packed(point: u16, packet: &Packet<'_>) -> Option<u128> {
        let (IpAddr::V4(source), IpAddr::V4(target)) = (packet.source, packet.target) else { return None };
        let addresses = u64::from(source.to_bits()) << 32 | u64::from(target.to_bits());
        let ports = u32::from(packet.source_port) << 16 | u32::from(packet.target_port);
        Some(packed_key(point, addresses, ports))
    }

    /// The same conversation whichever way the packet went, and whether the ends were swapped to get it.
    pub fn conversation(self) -> (FlowKey, bool) {
        if self.source <= self.target {
            (self, false)
        } else {
            (FlowKey { point: self.point, source: self.target, target: self.source }, true)
        }
    }
}

/// [`FlowKey::packed`] of source before target in both.
#[inline]
pub fn packed_key(point: u16, addresses: u64, ports: u32) -> u128 {
    u128::from(addresses) << 64 | u128::from(point) << 32 | u128::from(ports)
}

/// `src:port>dst:port`, the `flow` of `tickscope decode`.
impl fmt::Display for FlowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}>{}", self.source, self.target)
    }
}
