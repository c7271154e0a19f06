//! What carries other frames or packets: LLC/SNAP, `PPPoE`, MPLS, GRE with ERSPAN and NVGRE, VXLAN, Geneve, MPLS in UDP.
//! RFC 1042, 2516, 3032, 4448, 2784, 2890, 7637, 7348, 8926, 7510; ERSPAN: draft-foschiano-erspan-03.

use tickscope_model::Loss;

use super::slow::{Found, Layer, Walk, follow};

/// Behind an 802.3 length: IP stands behind a SNAP header, seldom behind its own service access point.
pub(super) fn llc(walk: &mut Walk<'_>) -> Result<Layer, Loss> {
    match walk.rest.take::<3>()? {
        [0xaa, 0xaa, 0x03] => match walk.rest.take::<5>()? {
            // RFC 1042, and 802.1H's bridge tunnel.
            [0, 0, 0 | 0xf8, kind @ ..] if u16::from_be_bytes(*kind) >= 0x0600 => {
                Ok(Layer::Type(u16::from_be_bytes(*kind)))
            }
            _ => Err(Loss::NotIp),
        },
        [0x06, 0x06, 0x03] => Ok(Layer::Ip),
        _ => Err(Loss::NotIp),
    }
}

/// A `PPPoE` session: version 1, type 1, code 0; a PPP protocol number of two bytes, or of one that is odd.
pub(super) fn pppoe(walk: &mut Walk<'_>) -> Result<Layer, Loss> {
    let [0x11, 0, _, _, length @ ..] = walk.rest.take::<6>()? else { return Err(Loss::NotIp) };
    walk.rest.limit(usize::from(u16::from_be_bytes(*length)));
    let [first] = *walk.rest.take::<1>()?;
    let protocol = if first & 1 == 1 { first } else { walk.rest.take::<1>()?[0] };
    match (first & 1 == 1 || first == 0, protocol) {
        (true, 0x21 | 0x57) => Ok(Layer::Ip),
        _ if (first, protocol) == (0x02, 0x81) => Ok(Layer::Mpls),
        _ => Err(Loss::NotIp),
    }
}

/// Labels until the bottom of the stack; then IP by its version, or a pseudo-wire's control word and Ethernet.
pub(super) fn mpls(walk: &mut Walk<'_>) -> Result<Layer, Loss> {
    while walk.rest.take::<4>()?[2] & 1 == 0 {}
    match walk.rest.bytes.first().map(|first| first >> 4) {
        Some(4 | 6) => Ok(Layer::Ip),
        Some(0) => {
            walk.rest.skip(4)?;
            Ok(Layer::Ethernet)
        }
        Some(_) => Ok(Layer::Ethernet),
        None => Err(walk.rest.too_short(20)),
    }
}

/// Cisco's security group tag (`EtherType` 0x8909): version, length in words, one option, the type that follows.
pub(super) fn cisco_metadata(walk: &mut Walk<'_>) -> Result<Layer, Loss> {
    match walk.rest.take::<8>()? {
        [1, 1, _, _, _, _, kind @ ..] => Ok(Layer::Type(u16::from_be_bytes(*kind))),
        _ => Err(Loss::NotIp),
    }
}

/// GRE, version 0.
pub(super) fn gre(walk: &mut Walk<'_>) -> Result<Layer, Loss> {
    let [first, second, kind @ ..] = *walk.rest.take::<4>()?;
    // Version 1 is PPTP's; a routing field (RFC 1701) has long been out of use.
    if second & 0x07 != 0 || first & 0x40 != 0 {
        return Err(Loss::NotUdpTcp);
    }
    walk.enter_tunnel()?;
    let has_sequence = first & 0x10 != 0;
    let options = [first & 0x80 != 0, first & 0x20 != 0, has_sequence];
    walk.rest.skip(options.iter().filter(|&&there| there).count() * 4)?;
    match u16::from_be_bytes(kind) {
        0x6558 => Ok(Layer::Ethernet),
        // Type I has no sequence number and no header of its own.
        0x88be if !has_sequence => Ok(Layer::Ethernet),
        0x88be | 0x22eb => erspan(walk),
        kind @ (0x0800 | 0x86dd | 0x8100 | 0x8847 | 0x8848 | 0x8864 | 0x8909) => Ok(Layer::Type(kind)),
        _ => Err(Loss::NotUdpTcp),
    }
}

/// ERSPAN II has 8 bytes; III has 12, and 8 more where its last bit says so.
fn erspan(walk: &mut Walk<'_>) -> Result<Layer, Loss> {
    const IP_FRAMES: u8 = 2;
    let head = walk.rest.take::<8>()?;
    match head[0] >> 4 {
        1 => Ok(Layer::Ethernet),
        2 => {
            let tail = walk.rest.take::<4>()?;
            if tail[3] & 1 != 0 {
                walk.rest.skip(8)?;
            }
            // SGT (16 bits), P, frame type (5 bits), …
            if (tail[2] >> 2) & 0x1f == IP_FRAMES { Ok(Layer::Ip) } else { Ok(Layer::Ethernet) }
        }
        _ => Err(Loss::FrameMalformed),
    }
}

/// What a datagram to a tunnel's port carries, if it is one.
pub(super) fn udp(mut walk: Walk<'_>, port: u16) -> Result<Found<'_>, Loss> {
    walk.enter_tunnel()?;
    let layer = match port {
        6635 => Layer::Mpls,
        6081 => geneve(&mut walk)?,
        _ => vxlan(&mut walk)?,
    };
    follow(walk, layer)
}

fn vxlan(walk: &mut Walk<'_>) -> Result<Layer, Loss> {
    // The flag that the network identifier is valid, and the last reserved byte, which is zero.
    match walk.rest.take::<8>()? {
        [flags, _, _, _, _, _, _, 0] if flags & 0x08 != 0 => Ok(Layer::Ethernet),
        _ => Err(Loss::NotUdpTcp),
    }
}

fn geneve(walk: &mut Walk<'_>) -> Result<Layer, Loss> {
    let [first, _, kind_first, kind_second, ..] = *walk.rest.take::<8>()?;
    if first >> 6 != 0 {
        return Err(Loss::NotUdpTcp);
    }
    walk.rest.skip(usize::from(first & 0x3f) * 4)?;
    match u16::from_be_bytes([kind_first, kind_second]) {
        0x6558 => Ok(Layer::Ethernet),
        kind => Ok(Layer::Type(kind)),
    }
}
