//! The frames that nearly every capture consists of: Ethernet II, at most two VLAN tags, IPv4 that is whole, UDP or TCP.
//! One pass, no loop; whatever looks unusual is left to `slow.rs`, which knows the reasons.
//! A packet is built in one place and returned from there: moving it about costs more than finding it, since the
//! processor stalls where bytes that were stored singly are loaded in one.

use std::net::{IpAddr, Ipv4Addr};

use tickscope_model::{Frame, LinkType};

use super::packet::{Packet, TcpFlags, Transport};
use super::slow::is_tunnel_port;

const IPV4: u16 = 0x0800;

/// A whole IPv4 packet that is no fragment.
struct Ip<'a> {
    header: &'a [u8; 20],
    /// What follows the header and its options.
    body: &'a [u8],
    /// Ports, and of UDP the length.
    ports: &'a [u8; 8],
    vlan: u16,
}

#[inline(always)]
#[allow(clippy::inline_always, reason = "measured: as below")]
fn ip<'a>(frame: &Frame<'a>) -> Option<Ip<'a>> {
    if frame.link != LinkType::Ethernet {
        return None;
    }
    let (ethernet, mut rest) = frame.bytes.split_first_chunk::<14>()?;
    let mut kind = u16::from_be_bytes([ethernet[12], ethernet[13]]);
    let mut vlan = 0;
    if kind != IPV4 {
        // 802.1Q and 802.1ad; a third tag is for the slow path.
        for _ in 0..2 {
            if !matches!(kind, 0x8100 | 0x88a8) {
                break;
            }
            let (tag, behind) = rest.split_first_chunk::<4>()?;
            vlan = u16::from_be_bytes([tag[0], tag[1]]) & 0x0fff;
            kind = u16::from_be_bytes([tag[2], tag[3]]);
            rest = behind;
        }
        if kind != IPV4 {
            return None;
        }
    }
    let (ip, _) = rest.split_first_chunk::<20>()?;
    let total = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
    let header = usize::from(ip[0] & 0x0f) * 4;
    // Version 4; no fragment: neither "more fragments" nor an offset.
    if ip[0] >> 4 != 4 || header < 20 || u16::from_be_bytes([ip[6], ip[7]]) & 0x3fff != 0 {
        return None;
    }
    let body = rest.get(header..total)?;
    let (ports, _) = body.split_first_chunk::<8>()?;
    Some(Ip { header: ip, body, ports, vlan })
}

/// What UDP carries.
#[inline(always)]
#[allow(clippy::inline_always, reason = "measured: as below")]
fn udp_payload<'a>(ip: &Ip<'a>) -> Option<&'a [u8]> {
    let length = usize::from(u16::from_be_bytes([ip.ports[4], ip.ports[5]]));
    if is_tunnel_port(u16::from_be_bytes([ip.ports[2], ip.ports[3]])) {
        return None;
    }
    ip.body.get(8..length)
}

/// A datagram with the least that is needed to find its flow.
pub struct Datagram<'a> {
    /// Source and target address, as they stand in the header.
    pub addresses: u64,
    /// Source and target port.
    pub ports: u32,
    pub ip_id: u16,
    pub payload: &'a [u8],
}

/// Bytes of the headers of Ethernet, IPv4 without options, and UDP.
pub const HEADERS: usize = 14 + 20 + 8;

/// Some bytes of the headers.
#[inline(always)]
#[allow(clippy::inline_always, reason = "measured: as below")]
fn part<const AT: usize, const N: usize>(headers: &[u8; HEADERS]) -> &[u8; N] {
    const { assert!(AT + N <= HEADERS) };
    headers.get(AT..).and_then(|bytes| bytes.first_chunk()).unwrap_or(&[0; N])
}

/// Eight bytes of the headers as one number.
#[inline(always)]
#[allow(clippy::inline_always, reason = "measured: as below")]
fn word<const AT: usize>(headers: &[u8; HEADERS]) -> u64 {
    u64::from_be_bytes(*part::<AT, 8>(headers))
}

/// The datagram, where the frame is of the common kind and carries one. Nearly all market data comes in Ethernet, IPv4
/// without options and UDP, whose headers are read here a word at a time.
#[inline(always)]
#[allow(clippy::inline_always, reason = "measured: as below")]
#[allow(clippy::cast_possible_truncation, reason = "takes the lower bits on purpose")]
pub(super) fn datagram<'a>(frame: &Frame<'a>) -> Option<Datagram<'a>> {
    let (headers, rest) = frame.bytes.split_first_chunk::<HEADERS>()?;
    // EtherType, version and header length, type of service, total length, identification.
    let start = word::<12>(headers);
    if start >> 40 != 0x08_0045 || frame.link != LinkType::Ethernet {
        return datagram_behind_tags(frame);
    }
    // Flags and fragment offset, time to live, protocol, checksum and half an address; ports, length, checksum.
    let (middle, end) = (word::<20>(headers), word::<34>(headers));
    let (total, length) = (usize::from((start >> 16) as u16), usize::from((end >> 16) as u16));
    let is_whole = 14 + total <= frame.bytes.len() && 20 + length <= total;
    let is_udp = middle >> 32 & 0x3fff_00ff == 17;
    if !is_udp || !is_whole || is_tunnel_port((end >> 32) as u16) {
        return None;
    }
    Some(Datagram {
        addresses: word::<26>(headers),
        ports: (end >> 32) as u32,
        ip_id: start as u16,
        payload: rest.get(..length.checked_sub(8)?)?,
    })
}

/// By which the next datagrams of a flow are known without taking them apart: source and target address, and both ports,
/// behind plain headers.
#[derive(Clone, Copy)]
pub struct Alike {
    addresses: [u8; 8],
    ports: [u8; 4],
}

impl Alike {
    /// Those like this one; `None` where its headers are not of the most common kind.
    pub(super) fn new(frame: &Frame<'_>) -> Option<Alike> {
        let headers = frame.bytes.first_chunk::<HEADERS>()?;
        let alike = Alike { addresses: *part::<26, 8>(headers), ports: *part::<34, 4>(headers) };
        (alike.is_of(headers) && frame.link == LinkType::Ethernet).then_some(alike)
    }

    /// Whether a frame that begins like this is of the flow, its headers plain, and it no fragment.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "measured: as below")]
    fn is_of(&self, headers: &[u8; HEADERS]) -> bool {
        // EtherType, version and header length; flags and fragment offset, protocol.
        let start = u32::from_be_bytes(*part::<12, 4>(headers)) & 0xffff_ff00;
        let middle = u32::from_be_bytes(*part::<20, 4>(headers)) & 0x3fff_00ff;
        start == 0x0800_4500
            && middle == 17
            && *part::<26, 8>(headers) == self.addresses
            && *part::<34, 4>(headers) == self.ports
    }

    /// The IP identification and how many bytes UDP carries behind these headers, where they are of the same flow, and the
    /// packet is whole, no fragment, and fits into a frame of so many bytes.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "measured: as below")]
    pub fn payload(&self, headers: &[u8; HEADERS], frame: usize) -> Option<(u16, usize)> {
        let number = |bytes: &[u8; 2]| u16::from_be_bytes(*bytes);
        let total = usize::from(number(part::<16, 2>(headers)));
        let length = usize::from(number(part::<38, 2>(headers)));
        let is_whole = 14 + total <= frame && 20 + length <= total;
        if !self.is_of(headers) || !is_whole {
            return None;
        }
        Some((number(part::<18, 2>(headers)), length.checked_sub(8)?))
    }
}

#[inline(never)]
fn datagram_behind_tags<'a>(frame: &Frame<'a>) -> Option<Datagram<'a>> {
    let found = ip(frame)?;
    let ip = found.header;
    if ip[9] != 17 {
        return None;
    }
    let payload = udp_payload(&found)?;
    let ports = found.ports;
    Some(Datagram {
        addresses: u64::from_be_bytes([ip[12], ip[13], ip[14], ip[15], ip[16], ip[17], ip[18], ip[19]]),
        ports: u32::from_be_bytes([ports[0], ports[1], ports[2], ports[3]]),
        ip_id: u16::from_be_bytes([ip[4], ip[5]]),
        payload,
    })
}

/// The packet, where the frame is of the common kind.
#[inline(always)]
#[allow(clippy::inline_always, reason = "measured: 15 ns a frame go into copies of the packet otherwise")]
pub(super) fn dissect<'a>(frame: &Frame<'a>) -> Option<Packet<'a>> {
    let found = ip(frame)?;
    let Ip { header: ip, body, ports, vlan } = found;
    let transport = match ip[9] {
        17 => Transport::Udp { payload: udp_payload(&found)? },
        6 => {
            let (tcp, _) = body.split_first_chunk::<20>()?;
            let header = usize::from(tcp[12] >> 4) * 4;
            if header < 20 {
                return None;
            }
            Transport::Tcp {
                sequence: u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]),
                acknowledgement: u32::from_be_bytes([tcp[8], tcp[9], tcp[10], tcp[11]]),
                flags: TcpFlags(tcp[13]),
                payload: body.get(header..)?,
            }
        }
        _ => return None,
    };
    Some(Packet {
        source: IpAddr::V4(Ipv4Addr::from_bits(u32::from_be_bytes([ip[12], ip[13], ip[14], ip[15]]))),
        target: IpAddr::V4(Ipv4Addr::from_bits(u32::from_be_bytes([ip[16], ip[17], ip[18], ip[19]]))),
        source_port: u16::from_be_bytes([ports[0], ports[1]]),
        target_port: u16::from_be_bytes([ports[2], ports[3]]),
        ip_id: u16::from_be_bytes([ip[4], ip[5]]),
        vlan,
        transport,
        missing: 0,
    })
}
