//! Every header that is read, one behind the other, with the reason where it ends: link types, VLAN tags,
//! IPv4 and IPv6 with their options and extension headers, UDP and TCP. Tunnels are in `tunnel.rs`.
//! IEEE 802.1Q and 802.3, RFC 791, RFC 8200, RFC 768, RFC 9293, `LINKTYPE_LINUX_SLL` and `_SLL2` of tcpdump.org.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tickscope_model::{Frame, LinkType, Loss};

use super::packet::{Packet, TcpFlags, Transport};
use super::reader::Reader;
use super::tunnel;

/// What a walk ends with, where it does not end with a loss.
#[derive(Clone, Copy, Debug)]
pub(super) enum Found<'a> {
    Packet(Packet<'a>),
    Piece(Piece<'a>),
}

/// A part of a fragmented datagram.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece<'a> {
    pub(super) about: Datagram,
    /// The IPv6 identification, or the 16 bits of IPv4.
    pub(super) id: u32,
    /// Where the bytes belong in the datagram.
    pub(super) offset: usize,
    /// Whether more follows behind these bytes.
    pub(super) more: bool,
    pub(super) bytes: &'a [u8],
}

/// What stays true while the bytes behind an IP header are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Datagram {
    pub(super) source: IpAddr,
    pub(super) target: IpAddr,
    pub(super) protocol: u8,
    pub(super) ip_id: u16,
    pub(super) around: Around,
}

/// What is around an IP header.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Around {
    pub(super) vlan: u16,
    /// How many tunnels were opened.
    pub(super) depth: u8,
}

/// Tunnels in tunnels beyond this are taken for an attack or an accident.
const DEEPEST: u8 = 8;

/// Which header comes next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Layer {
    Ethernet,
    /// Whatever this `EtherType` (or, below 1536, 802.3 length) announces.
    Type(u16),
    /// IPv4 or IPv6, as its first four bits say.
    Ip,
    Mpls,
    /// What the IP protocol number announces.
    Inside(Datagram),
}

/// What is left of the frame, and what was passed on the way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk<'a> {
    pub(super) rest: Reader<'a>,
    pub(super) around: Around,
}

impl Walk<'_> {
    pub(super) fn enter_tunnel(&mut self) -> Result<(), Loss> {
        self.around.depth += 1;
        if self.around.depth > DEEPEST { Err(Loss::FrameMalformed) } else { Ok(()) }
    }
}

/// What a frame carries, or why nothing can be had from it.
#[inline(never)]
pub(super) fn dissect<'a>(frame: &Frame<'a>) -> Result<Found<'a>, Loss> {
    let beyond = usize::try_from(frame.wire_len).unwrap_or(usize::MAX).saturating_sub(frame.bytes.len());
    let mut walk = Walk { rest: Reader { bytes: frame.bytes, beyond }, around: Around::default() };
    let first = match frame.link {
        LinkType::Ethernet => Layer::Ethernet,
        LinkType::RawIp => Layer::Ip,
        LinkType::LinuxSll => {
            let head = walk.rest.take::<16>()?;
            cooked([head[2], head[3]], [head[14], head[15]])?
        }
        LinkType::LinuxSll2 => {
            let head = walk.rest.take::<20>()?;
            cooked([head[8], head[9]], [head[0], head[1]])?
        }
        LinkType::Loopback => loopback(*walk.rest.take::<4>()?)?,
        // ERF (197) that holds no Ethernet: records about the card itself, and padding.
        LinkType::Other(197) if frame.bytes.get(8).is_some_and(|kind| matches!(kind & 0x7f, 27 | 48)) => {
            return Err(Loss::Keyframe);
        }
        LinkType::Other(_) => return Err(Loss::LinkUnknown),
    };
    follow(walk, first)
}

/// Cooked captures carry an `EtherType` except for some kinds of device, and for 802.3 frames, which are marked 1 and 4.
fn cooked(device: [u8; 2], protocol: [u8; 2]) -> Result<Layer, Loss> {
    const NETLINK: u16 = 824;
    const GRE: u16 = 778;
    match (u16::from_be_bytes(device), u16::from_be_bytes(protocol)) {
        (NETLINK | GRE, _) | (_, 0..0x0600) => Err(Loss::NotIp),
        (_, kind) => Ok(Layer::Type(kind)),
    }
}

/// The address family in the byte order of the machine that captured (`LINKTYPE_NULL`) or the network's (`LINKTYPE_LOOP`):
/// families are small numbers, so the smaller reading is the right one.
fn loopback(family: [u8; 4]) -> Result<Layer, Loss> {
    match u32::from_le_bytes(family).min(u32::from_be_bytes(family)) {
        // AF_INET; AF_INET6 of Linux, NetBSD and OpenBSD, FreeBSD, macOS.
        2 | 10 | 24 | 28 | 30 => Ok(Layer::Ip),
        _ => Err(Loss::NotIp),
    }
}

/// Goes from header to header. Each takes at least a byte, so this ends with the frame.
pub(super) fn follow(mut walk: Walk<'_>, mut layer: Layer) -> Result<Found<'_>, Loss> {
    loop {
        layer = match layer {
            Layer::Ethernet => {
                let head = walk.rest.take::<14>()?;
                Layer::Type(u16::from_be_bytes([head[12], head[13]]))
            }
            Layer::Type(kind) => by_type(&mut walk, kind)?,
            Layer::Ip => match ip(&mut walk)? {
                Step::To(layer) => layer,
                Step::Found(found) => return Ok(found),
            },
            Layer::Mpls => tunnel::mpls(&mut walk)?,
            Layer::Inside(datagram) => match inside(&mut walk, datagram)? {
                Step::To(layer) => layer,
                Step::Found(found) => return Ok(found),
            },
        }
    }
}

enum Step<'a> {
    To(Layer),
    Found(Found<'a>),
}

fn by_type(walk: &mut Walk<'_>, kind: u16) -> Result<Layer, Loss> {
    match kind {
        0x0800 | 0x86dd => Ok(Layer::Ip),
        // 802.1Q, 802.1ad, and the numbers that switches used before it.
        0x8100 | 0x88a8 | 0x9100 | 0x9200 | 0x9300 => {
            let tag = walk.rest.take::<4>()?;
            walk.around.vlan = u16::from_be_bytes([tag[0], tag[1]]) & 0x0fff;
            Ok(Layer::Type(u16::from_be_bytes([tag[2], tag[3]])))
        }
        0x8847 | 0x8848 => Ok(Layer::Mpls),
        0x8864 => tunnel::pppoe(walk),
        0x8909 => tunnel::cisco_metadata(walk),
        0xd28b => stamped(walk),
        // IEEE: local experiments. ExaLINK Fusion's keyframes begin with these letters.
        0x88b5 if walk.rest.bytes.starts_with(b"EXKF") => Err(Loss::Keyframe),
        0..=1500 => {
            walk.rest.limit(usize::from(kind));
            tunnel::llc(walk)
        }
        _ => Err(Loss::NotIp),
    }
}

/// The header of an Arista 7280 that holds a timestamp: subtype 1, a version whose third digit says how many bits, and
/// behind them the frame's own type.
fn stamped(walk: &mut Walk<'_>) -> Result<Layer, Loss> {
    let stamp = match *walk.rest.take::<4>()? {
        [0, 1, _, 0x10..=0x1f] => 8,
        [0, 1, _, 0x20..=0x2f] => 6,
        _ => return Err(Loss::NotIp),
    };
    walk.rest.skip(stamp)?;
    Ok(Layer::Type(u16::from_be_bytes(*walk.rest.take::<2>()?)))
}

fn ip<'a>(walk: &mut Walk<'a>) -> Result<Step<'a>, Loss> {
    match walk.rest.bytes.first().map(|first| first >> 4) {
        Some(4) => ipv4(walk),
        Some(6) => ipv6(walk),
        Some(_) => Err(Loss::FrameMalformed),
        None => Err(walk.rest.too_short(20)),
    }
}

fn ipv4<'a>(walk: &mut Walk<'a>) -> Result<Step<'a>, Loss> {
    let head = walk.rest.take::<20>()?;
    let total = usize::from(u16::from_be_bytes([head[2], head[3]]));
    let header = usize::from(head[0] & 0x0f) * 4;
    // A total length of 0 is that of a super-frame (segmentation offload, BIG TCP): the frame's own length counts.
    if header < 20 || (total < header && total != 0) {
        return Err(Loss::FrameMalformed);
    }
    if total != 0 {
        walk.rest.limit(total - 20);
    }
    walk.rest.skip(header - 20)?;
    let ip_id = u16::from_be_bytes([head[4], head[5]]);
    let about = Datagram {
        source: IpAddr::V4(Ipv4Addr::new(head[12], head[13], head[14], head[15])),
        target: IpAddr::V4(Ipv4Addr::new(head[16], head[17], head[18], head[19])),
        protocol: head[9],
        ip_id,
        around: walk.around,
    };
    let fragment = u16::from_be_bytes([head[6], head[7]]);
    let more = fragment & 0x2000 != 0;
    let offset = usize::from(fragment & 0x1fff) * 8;
    if more || offset != 0 {
        return piece(walk, about, u32::from(ip_id), offset, more);
    }
    Ok(Step::To(Layer::Inside(about)))
}

fn ipv6<'a>(walk: &mut Walk<'a>) -> Result<Step<'a>, Loss> {
    let head = walk.rest.take::<40>()?;
    let length = usize::from(u16::from_be_bytes([head[4], head[5]]));
    // Zero: a jumbogram or BIG TCP. Such frames are beyond 64 KiB, so they have no padding and the frame's length counts.
    if length != 0 {
        walk.rest.limit(length);
    }
    let (_, addresses) = head.split_at(8);
    let (source, target) = addresses.split_at(16);
    let address = |bytes: &[u8]| <[u8; 16]>::try_from(bytes).map(|bytes| IpAddr::V6(Ipv6Addr::from(bytes)));
    let (Ok(source), Ok(target)) = (address(source), address(target)) else { return Err(Loss::FrameMalformed) };
    let about = Datagram { source, target, protocol: head[6], ip_id: 0, around: walk.around };
    Ok(Step::To(Layer::Inside(about)))
}

/// A fragment is kept only where its datagram could become UDP or TCP, and only whole.
fn piece<'a>(walk: &mut Walk<'a>, about: Datagram, id: u32, offset: usize, more: bool) -> Result<Step<'a>, Loss> {
    if !matches!(about.protocol, UDP | TCP | IPV4 | IPV6 | GRE | AUTHENTICATION | MPLS) && !is_extension(about.protocol)
    {
        return Err(Loss::NotUdpTcp);
    }
    if walk.rest.beyond != 0 {
        return Err(Loss::FrameCut);
    }
    Ok(Step::Found(Found::Piece(Piece { about, id, offset, more, bytes: walk.rest.bytes })))
}

const HOP_BY_HOP: u8 = 0;
const IPV4: u8 = 4;
const TCP: u8 = 6;
const UDP: u8 = 17;
const IPV6: u8 = 41;
const FRAGMENT: u8 = 44;
const GRE: u8 = 47;
const AUTHENTICATION: u8 = 51;
const MPLS: u8 = 137;

/// Extension headers of the common form: next header, length in units of 8 bytes beyond the first.
/// Routing, destination options, mobility, HIP, shim6.
fn is_extension(protocol: u8) -> bool {
    matches!(protocol, HOP_BY_HOP | 43 | 60 | 135 | 139 | 140)
}

fn inside<'a>(walk: &mut Walk<'a>, datagram: Datagram) -> Result<Step<'a>, Loss> {
    let next = |protocol: u8| Ok(Step::To(Layer::Inside(Datagram { protocol, ..datagram })));
    match datagram.protocol {
        UDP => udp(walk, &datagram).map(Step::Found),
        TCP => tcp(walk, &datagram).map(Step::Found),
        IPV4 | IPV6 => {
            walk.enter_tunnel()?;
            Ok(Step::To(Layer::Ip))
        }
        GRE => tunnel::gre(walk).map(Step::To),
        MPLS => {
            walk.enter_tunnel()?;
            Ok(Step::To(Layer::Mpls))
        }
        AUTHENTICATION => {
            let head = walk.rest.take::<2>()?;
            walk.rest.skip(usize::from(head[1]) * 4 + 6)?;
            next(head[0])
        }
        FRAGMENT if datagram.source.is_ipv6() => {
            let head = walk.rest.take::<8>()?;
            let field = u16::from_be_bytes([head[2], head[3]]);
            let (offset, more) = (usize::from(field & 0xfff8), field & 1 != 0);
            if offset == 0 && !more {
                // An atomic fragment (RFC 6946) is whole.
                return next(head[0]);
            }
            let id = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
            piece(walk, Datagram { protocol: head[0], ..datagram }, id, offset, more)
        }
        protocol if is_extension(protocol) && datagram.source.is_ipv6() => {
            let head = walk.rest.take::<2>()?;
            walk.rest.skip(usize::from(head[1]) * 8 + 6)?;
            next(head[0])
        }
        // What ExaLINK Fusion and Arista 7150 send to everybody once a second.
        253 if datagram.source == Ipv4Addr::UNSPECIFIED && datagram.target == Ipv4Addr::BROADCAST => {
            Err(Loss::Keyframe)
        }
        _ => Err(Loss::NotUdpTcp),
    }
}

/// Where VXLAN (IANA's and Linux's older number), Geneve and MPLS-in-UDP are addressed to.
#[inline]
pub(super) fn is_tunnel_port(port: u16) -> bool {
    matches!(port, 4789 | 8472 | 6081 | 6635)
}

fn udp<'a>(walk: &mut Walk<'a>, datagram: &Datagram) -> Result<Found<'a>, Loss> {
    let head = walk.rest.take::<8>()?;
    let target_port = u16::from_be_bytes([head[2], head[3]]);
    match usize::from(u16::from_be_bytes([head[4], head[5]])) {
        // RFC 2675: longer than the field can say.
        0 => {}
        length @ 8.. if length - 8 <= walk.rest.wire() => walk.rest.limit(length - 8),
        _ => return Err(Loss::FrameMalformed),
    }
    if is_tunnel_port(target_port)
        && let Ok(found) = tunnel::udp(*walk, target_port)
    {
        return Ok(found);
    }
    let transport = Transport::Udp { payload: walk.rest.bytes };
    Ok(packet(walk, datagram, u16::from_be_bytes([head[0], head[1]]), target_port, transport))
}

fn tcp<'a>(walk: &mut Walk<'a>, datagram: &Datagram) -> Result<Found<'a>, Loss> {
    let head = walk.rest.take::<20>()?;
    let options = (usize::from(head[12] >> 4) * 4).checked_sub(20).ok_or(Loss::FrameMalformed)?;
    walk.rest.skip(options)?;
    let transport = Transport::Tcp {
        sequence: u32::from_be_bytes([head[4], head[5], head[6], head[7]]),
        acknowledgement: u32::from_be_bytes([head[8], head[9], head[10], head[11]]),
        flags: TcpFlags(head[13]),
        payload: walk.rest.bytes,
    };
    let source_port = u16::from_be_bytes([head[0], head[1]]);
    Ok(packet(walk, datagram, source_port, u16::from_be_bytes([head[2], head[3]]), transport))
}

fn packet<'a>(
    walk: &Walk<'_>,
    datagram: &Datagram,
    source_port: u16,
    target_port: u16,
    transport: Transport<'a>,
) -> Found<'a> {
    Found::Packet(Packet {
        source: datagram.source,
        target: datagram.target,
        source_port,
        target_port,
        ip_id: datagram.ip_id,
        vlan: walk.around.vlan,
        transport,
        missing: u32::try_from(walk.rest.beyond).unwrap_or(u32::MAX),
    })
}
