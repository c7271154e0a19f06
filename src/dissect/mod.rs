//! The headers of one frame: link, VLAN, tunnels, IP, UDP, TCP.
//!
//! [`Dissector`] also puts fragments together; [`dissect`] alone does without memory and reports them as
//! [`Loss::FragmentHeld`].
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

mod fast;
mod filter;
mod fragments;
mod packet;
mod reader;
mod slow;
mod tunnel;

pub use fast::{Alike, Datagram, HEADERS};
pub use filter::{Filter, FilterError};
pub use fragments::{Dissector, FragmentCounts};
pub use packet::{Packet, TcpFlags, Transport};

use tickscope_model::{Frame, Loss};

/// What a frame carries; the innermost packet where it is a tunnel's.
#[inline]
pub fn dissect<'a>(frame: &Frame<'a>) -> Result<Packet<'a>, Loss> {
    match fast::dissect(frame) {
        Some(packet) => Ok(packet),
        None => match slow::dissect(frame)? {
            slow::Found::Packet(packet) => Ok(packet),
            slow::Found::Piece(_) => Err(Loss::FragmentHeld),
        },
    }
}

/// The datagram of a frame, where that is of the kind that nearly all are and is all there. `None` says nothing about it.
#[inline(always)]
#[allow(clippy::inline_always, reason = "measured: asked of each frame that is read ahead")]
pub fn datagram<'a>(frame: &Frame<'a>) -> Option<Datagram<'a>> {
    fast::datagram(frame)
}

/// What the next datagrams of a flow have in common with this frame, in which [`datagram`] has found one of it.
pub fn alike(frame: &Frame<'_>) -> Option<Alike> {
    fast::Alike::new(frame)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tickscope_model::{LinkType, TapId, Timestamp};

    // Headers as their specifications draw them; lengths are filled in by those who wrap.

    fn udp(payload: &[u8]) -> Vec<u8> {
        udp_to(9000, payload)
    }

    fn udp_to(port: u16, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len() + 8).unwrap().to_be_bytes();
        let port = port.to_be_bytes();
        [&[0x10, 0, port[0], port[1], length[0], length[1], 0, 0], payload].concat()
    }

    /// RFC 9293, with a timestamps option.
    fn tcp(payload: &[u8]) -> Vec<u8> {
        let head = [0x10, 0, 0x20, 0, 0, 0, 0, 5, 0, 0, 0, 7, 0x80, 0x18, 0, 0, 0, 0, 0, 0];
        [&head, &[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2][..], payload].concat()
    }

    fn ipv4(protocol: u8, body: &[u8]) -> Vec<u8> {
        let total = u16::try_from(20 + body.len()).unwrap().to_be_bytes();
        let head = [0x45, 0, total[0], total[1], 0x12, 0x34, 0x40, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        [&head, body].concat()
    }

    fn ipv6(protocol: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        let head = [0x60, 0, 0, 0, length[0], length[1], protocol, 64];
        [&head, &[1; 16][..], &[2; 16], body].concat()
    }

    fn ethernet(kind: u16, body: &[u8]) -> Vec<u8> {
        [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2][..], &kind.to_be_bytes(), body].concat()
    }

    /// The frame of a UDP packet that everything is wrapped around.
    fn inner() -> Vec<u8> {
        ethernet(0x0800, &ipv4(17, &udp(b"market data")))
    }

    fn frame(link: LinkType, bytes: &[u8]) -> Frame<'_> {
        let wire_len = u32::try_from(bytes.len()).unwrap();
        Frame { tap: TapId(0), link, time: Timestamp(0), number: 1, wire_len, bytes }
    }

    fn payload<'a>(packet: &Packet<'a>) -> &'a [u8] {
        match packet.transport {
            Transport::Udp { payload } | Transport::Tcp { payload, .. } => payload,
        }
    }

    fn check(what: &str, link: LinkType, bytes: &[u8]) {
        let packet = dissect(&frame(link, bytes)).unwrap_or_else(|loss| panic!("{what}: {loss:?}"));
        assert_eq!(payload(&packet), b"market data", "{what}");
        assert_eq!((packet.source_port, packet.target_port, packet.missing), (0x1000, 9000, 0), "{what}");
        // However it is cut, it is cut and nothing else, and what was captured of the payload is right.
        for length in 0..bytes.len() {
            let cut = Frame { bytes: &bytes[..length], ..frame(link, bytes) };
            match dissect(&cut) {
                Err(loss) => assert_eq!(loss, Loss::FrameCut, "{what}, {length} bytes"),
                Ok(packet) if packet.target_port == 9000 => {
                    let there = payload(&packet);
                    let missing = usize::try_from(packet.missing).unwrap();
                    assert!(b"market data".starts_with(there) && there.len() + missing == 11, "{what}, {length} bytes");
                }
                // A tunnel over UDP that was not opened.
                Ok(packet) => assert!(slow::is_tunnel_port(packet.target_port) && packet.missing > 0, "{what}"),
            }
        }
    }

    #[test]
    fn links_and_tags() {
        let packet = ipv4(17, &udp(b"market data"));
        let six = ipv6(17, &udp(b"market data"));
        check("Ethernet", LinkType::Ethernet, &inner());
        check("Ethernet, IPv6", LinkType::Ethernet, &ethernet(0x86dd, &six));
        let padded = [inner().as_slice(), &[0; 20]].concat();
        let found = dissect(&frame(LinkType::Ethernet, &padded)).unwrap();
        assert_eq!(payload(&found), b"market data", "padding and trailers are no payload");
        let tagged = |kinds: &[u16]| {
            let kinds = kinds.iter().flat_map(|kind| [kind.to_be_bytes(), [0xe0, 7]]);
            [&[2; 12][..], &kinds.flatten().collect::<Vec<_>>(), &[8, 0], &packet].concat()
        };
        for kinds in [&[0x8100_u16][..], &[0x88a8, 0x8100], &[0x9100, 0x8100], &[0x8100, 0x8100, 0x8100]] {
            let bytes = tagged(kinds);
            check("tags", LinkType::Ethernet, &bytes);
            assert_eq!(dissect(&frame(LinkType::Ethernet, &bytes)).unwrap().vlan, 7);
        }
        for stamp in
            [&[1, 0x10, 0, 0, 0, 1, 0, 0, 0, 2][..], &[0, 0x20, 0, 1, 0, 0, 0, 2], &[0, 0x21, 0, 1, 0, 0, 0, 2]]
        {
            let stamped = [&[2; 12][..], &[0xd2, 0x8b, 0, 1], stamp, &[0x81, 0, 0, 7, 8, 0], &packet].concat();
            check("7280", LinkType::Ethernet, &stamped);
        }
        let snap = [&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0][..], &packet].concat();
        let length = u16::try_from(snap.len()).unwrap();
        check("802.3 with SNAP", LinkType::Ethernet, &ethernet(length, &snap));
        check("raw", LinkType::RawIp, &packet);
        check("raw, IPv6", LinkType::RawIp, &six);
        check("BSD loopback", LinkType::Loopback, &[&[2, 0, 0, 0][..], &packet].concat());
        check("BSD loopback, big endian", LinkType::Loopback, &[&[0, 0, 0, 30][..], &six].concat());
        check("SLL", LinkType::LinuxSll, &[&[0, 0, 0, 1, 0, 6, 1, 2, 3, 4, 5, 6, 0, 0, 8, 0][..], &packet].concat());
        let sll2 = [8, 0, 0, 0, 0, 0, 0, 2, 0, 1, 0, 6, 1, 2, 3, 4, 5, 6, 0, 0];
        check("SLL2", LinkType::LinuxSll2, &[&sll2[..], &packet].concat());
        let pppoe = |body: &[u8]| {
            let length = u16::try_from(body.len()).unwrap().to_be_bytes();
            ethernet(0x8864, &[&[0x11, 0, 0, 1, length[0], length[1]], body].concat())
        };
        check("PPPoE", LinkType::Ethernet, &pppoe(&[&[0, 0x21][..], &packet].concat()));
        check("PPPoE, short number", LinkType::Ethernet, &pppoe(&[&[0x57][..], &six].concat()));
    }

    #[test]
    fn tunnels() {
        let (packet, six, inner) = (ipv4(17, &udp(b"market data")), ipv6(17, &udp(b"market data")), inner());
        let gre = |head: &[u8], body: &[u8]| ethernet(0x0800, &ipv4(47, &[head, body].concat()));
        let over_udp =
            |port: u16, head: &[u8], body: &[u8]| ethernet(0x0800, &ipv4(17, &udp_to(port, &[head, body].concat())));
        let rows: [(&str, Vec<u8>); 21] = [
            ("MPLS", ethernet(0x8847, &[&[0, 1, 0, 64, 0, 2, 1, 64][..], &packet].concat())),
            ("MPLS, pseudo-wire", ethernet(0x8847, &[&[0, 2, 1, 64, 0, 0, 0, 0][..], &inner].concat())),
            ("MPLS, Ethernet", ethernet(0x8848, &[&[0, 2, 1, 64][..], &[0x22; 12], &[8, 0], &packet].concat())),
            ("GRE", gre(&[0, 0, 8, 0], &packet)),
            ("GRE, all options", gre(&[0xb0, 0, 0x86, 0xdd, 1, 2, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1], &six)),
            ("NVGRE", gre(&[0x20, 0, 0x65, 0x58, 0, 0, 9, 0], &inner)),
            ("ERSPAN I", gre(&[0, 0, 0x88, 0xbe], &inner)),
            ("ERSPAN II", gre(&[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 5, 0, 1, 0, 0, 0, 0], &inner)),
            ("ERSPAN III", gre(&[0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 5, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0], &inner)),
            (
                "ERSPAN III with its subheader",
                gre(
                    &[0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 5, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 9, 9, 9, 9, 9, 9, 9, 9],
                    &inner,
                ),
            ),
            (
                "ERSPAN III of IP",
                gre(&[0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 5, 0, 1, 0, 0, 0, 0, 0, 0, 0x08, 0], &packet),
            ),
            ("GRE with a security tag", gre(&[0, 0, 0x89, 0x09, 1, 1, 0, 1, 0, 7, 8, 0], &packet)),
            ("VXLAN", over_udp(4789, &[8, 0, 0, 0, 0, 0, 9, 0], &inner)),
            ("VXLAN, Linux", over_udp(8472, &[8, 0, 0, 0, 0, 0, 9, 0], &inner)),
            ("Geneve", over_udp(6081, &[1, 0, 0x65, 0x58, 0, 0, 9, 0, 1, 2, 3, 0], &inner)),
            ("Geneve, IPv6", over_udp(6081, &[0, 0, 0x86, 0xdd, 0, 0, 9, 0], &six)),
            ("MPLS in UDP", over_udp(6635, &[0, 2, 1, 64], &packet)),
            ("IP in IP", ethernet(0x0800, &ipv4(4, &packet))),
            ("IPv6 in IPv4", ethernet(0x0800, &ipv4(41, &six))),
            ("IPv4 in IPv6", ethernet(0x86dd, &ipv6(4, &packet))),
            ("MPLS in IP", ethernet(0x0800, &ipv4(137, &[&[0, 2, 1, 64][..], &packet].concat()))),
        ];
        for (what, bytes) in rows {
            check(what, LinkType::Ethernet, &bytes);
        }
    }

    #[test]
    fn extension_headers() {
        let body = udp(b"market data");
        let rows: [(&str, u8, &[u8]); 5] = [
            ("hop by hop", 0, &[17, 0, 1, 4, 0, 0, 0, 0]),
            (
                "routing, then destination",
                43,
                &[60, 0, 0, 0, 0, 0, 0, 0, 17, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            ),
            ("authentication", 51, &[17, 4, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5]),
            ("atomic fragment", 44, &[17, 0, 0, 0, 0, 0, 0, 1]),
            ("mobility", 135, &[17, 0, 0, 0, 0, 0, 0, 0]),
        ];
        for (what, protocol, head) in rows {
            check(what, LinkType::RawIp, &ipv6(protocol, &[head, &body].concat()));
        }
        let options =
            [&[0x46, 0, 0, 43, 0, 0, 0, 0, 64, 17, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 1, 1, 1, 0][..], &body].concat();
        check("IPv4 options", LinkType::RawIp, &options);
    }

    fn loss(link: LinkType, bytes: &[u8]) -> Option<Loss> {
        dissect(&frame(link, bytes)).err()
    }

    #[test]
    fn every_reason_has_its_frame() {
        let ethernet_of = |kind: u16, body: &[u8]| loss(LinkType::Ethernet, &ethernet(kind, body));
        assert_eq!(loss(LinkType::Other(239), &inner()), Some(Loss::LinkUnknown));
        assert_eq!(ethernet_of(0x0806, &[0; 28]), Some(Loss::NotIp));
        assert_eq!(ethernet_of(38, &[0x42, 0x42, 3, 0]), Some(Loss::NotIp), "spanning tree");
        assert_eq!(ethernet_of(0x8863, &[0x11, 9, 0, 0, 0, 0]), Some(Loss::NotIp));
        assert_eq!(ethernet_of(0xd28b, &[0, 3, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0]), Some(Loss::NotIp), "GREENTAP");
        assert_eq!(ethernet_of(0x88b5, b"EXKF\x01"), Some(Loss::Keyframe));
        assert_eq!(ethernet_of(0x88b5, b"other"), Some(Loss::NotIp));
        let mut keyframe = ipv4(253, &[0; 62]);
        assert_eq!(ethernet_of(0x0800, &keyframe), Some(Loss::NotUdpTcp), "somebody's experiment");
        keyframe[12..20].copy_from_slice(&[0, 0, 0, 0, 255, 255, 255, 255]);
        assert_eq!(ethernet_of(0x0800, &keyframe), Some(Loss::Keyframe));
        assert_eq!(loss(LinkType::Other(197), &[27; 40]), Some(Loss::Keyframe), "ERF: about the card");
        assert_eq!(ethernet_of(0x0800, &ipv4(1, &[8; 16])), Some(Loss::NotUdpTcp), "ICMP");
        assert_eq!(ethernet_of(0x86dd, &ipv6(58, &[8; 16])), Some(Loss::NotUdpTcp));
        assert_eq!(ethernet_of(0x0800, &ipv4(47, &[0, 1, 0x88, 0x0b, 0, 0])), Some(Loss::NotUdpTcp), "PPTP");
        assert_eq!(ethernet_of(0x0800, &[0x15; 40]), Some(Loss::FrameMalformed), "version 1");
        assert_eq!(ethernet_of(0x0800, &[0x44; 40]), Some(Loss::FrameMalformed), "a header of 16 bytes");
        let mut short = ipv4(17, &udp(b"x"));
        short[3] = 19;
        assert_eq!(ethernet_of(0x0800, &short), Some(Loss::FrameMalformed), "shorter than its header");
        let mut long = udp(b"x");
        long[5] = 10;
        assert_eq!(ethernet_of(0x0800, &ipv4(17, &long)), Some(Loss::FrameMalformed), "UDP longer than IP");
        long[5] = 7;
        assert_eq!(ethernet_of(0x0800, &ipv4(17, &long)), Some(Loss::FrameMalformed), "UDP shorter than its header");
        let mut half = tcp(b"");
        half[12] = 0x40;
        assert_eq!(ethernet_of(0x0800, &ipv4(6, &half)), Some(Loss::FrameMalformed));
        half[12] = 0xf0;
        assert_eq!(ethernet_of(0x0800, &ipv4(6, &half)), Some(Loss::FrameMalformed), "options beyond the segment");
        let mut piece = ipv4(17, &udp(b"12345678"));
        piece[6] = 0x20;
        assert_eq!(ethernet_of(0x0800, &piece), Some(Loss::FragmentHeld), "a first piece is no datagram");
        piece[9] = 1;
        assert_eq!(ethernet_of(0x0800, &piece), Some(Loss::NotUdpTcp), "a piece of ICMP");
    }

    #[test]
    fn lengths_of_the_wire_and_of_super_frames() {
        // A broker that slices in front of the capture: the IP header knows how long the packet was.
        let mut sliced = ipv4(6, &tcp(b"35=D"));
        sliced[2..4].copy_from_slice(&1500_u16.to_be_bytes());
        let packet = dissect(&frame(LinkType::RawIp, &sliced)).unwrap();
        assert_eq!((payload(&packet), packet.missing), (&b"35=D"[..], 1500 - 20 - 32 - 4));
        // Segmentation offload and BIG TCP: a length of 0 stands for all of the frame.
        let mut offload = ipv4(6, &tcp(&vec![7; 60_000 - 32]));
        offload[2..4].copy_from_slice(&[0, 0]);
        assert_eq!(payload(&dissect(&frame(LinkType::RawIp, &offload)).unwrap()).len(), 60_000 - 32);
        let mut jumbo = ipv6(6, &tcp(b"35=D"));
        jumbo[4..6].copy_from_slice(&[0, 0]);
        assert_eq!(payload(&dissect(&frame(LinkType::RawIp, &jumbo)).unwrap()), b"35=D");
    }

    #[test]
    fn tunnels_end_somewhere() {
        let wrapped = |times: usize| (0..times).fold(ipv4(17, &udp(b"market data")), |packet, _| ipv4(4, &packet));
        check("eight tunnels", LinkType::RawIp, &wrapped(8));
        assert_eq!(loss(LinkType::RawIp, &wrapped(9)), Some(Loss::FrameMalformed));
        // VXLAN in itself is not opened any further.
        let vxlan =
            |frame: &[u8]| ethernet(0x0800, &ipv4(17, &udp_to(4789, &[&[8, 0, 0, 0, 0, 0, 9, 0], frame].concat())));
        let deep = (0..20).fold(inner(), |frame, _| vxlan(&frame));
        assert_eq!(dissect(&frame(LinkType::Ethernet, &deep)).unwrap().target_port, 4789);
        // Not a tunnel, although at its port.
        let packet = ethernet(0x0800, &ipv4(17, &udp_to(4789, b"something else that is long enough to be a frame")));
        assert_eq!(dissect(&frame(LinkType::Ethernet, &packet)).unwrap().target_port, 4789);
    }

    fn same(left: &Packet<'_>, right: &Packet<'_>) -> bool {
        format!("{left:?}") == format!("{right:?}")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn the_fast_path_agrees_with_the_slow_one(
            is_tcp in any::<bool>(),
            tags in 0..4_usize,
            changes in prop::collection::vec((0..80_usize, any::<u8>()), 0..4),
            keep in 0..120_usize,
        ) {
            let body = if is_tcp { ipv4(6, &tcp(b"35=D")) } else { ipv4(17, &udp(b"market data")) };
            let tags = [0x81, 0, 0, 9].repeat(tags);
            let mut bytes = [&[2; 12][..], &tags, &[8, 0], &body, &[0; 9]].concat();
            for (at, value) in changes {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
            }
            let wire = frame(LinkType::Ethernet, &bytes).wire_len;
            let cut = Frame { bytes: &bytes[..keep.min(bytes.len())], ..frame(LinkType::Ethernet, &bytes) };
            if let Some(datagram) = datagram(&cut) {
                let packet = dissect(&cut).expect("a datagram is a packet");
                prop_assert_eq!(payload(&packet), datagram.payload);
                let key = crate::flow::FlowKey::packed(3, &packet);
                prop_assert_eq!(Some(crate::flow::packed_key(3, datagram.addresses, datagram.ports)), key);
                prop_assert_eq!((packet.ip_id, packet.missing), (datagram.ip_id, 0));
            }
            for frame in [frame(LinkType::Ethernet, &bytes), cut, Frame { wire_len: wire + 100, ..cut }] {
                if let Some(fast) = fast::dissect(&frame) {
                    let slow = slow::dissect(&frame);
                    prop_assert!(
                        matches!(&slow, Ok(slow::Found::Packet(slow)) if same(slow, &fast)), "{fast:?} {slow:?}"
                    );
                }
            }
        }
    }
}
