//! Frames as they go over the wire: Ethernet II (IEEE 802.3, 802.1Q), IPv4 (RFC 791), UDP (RFC 768), TCP (RFC 9293) with
//! the options of RFC 7323, every checksum right. Written for the simulator alone; shares nothing with the decoders.

/// One end of a frame's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub mac: [u8; 6],
    pub ip: [u8; 4],
    pub port: u16,
}

impl Node {
    /// A host; its MAC address is made from its IP address, with the bit of locally administered ones.
    pub(crate) fn host(ip: [u8; 4], port: u16) -> Node {
        let [a, b, c, d] = ip;
        Node { mac: [0x02, 0x00, a, b, c, d], ip, port }
    }

    /// A multicast group (RFC 1112, section 6.4: the low 23 bits of the group).
    pub(crate) fn group(ip: [u8; 4], port: u16) -> Node {
        let [_, b, c, d] = ip;
        Node { mac: [0x01, 0x00, 0x5E, b & 0x7F, c, d], ip, port }
    }
}

/// Ethernet without a tag, IPv4 without options, UDP: bytes before the payload.
pub(crate) const UDP_HEADERS: usize = 14 + 20 + 8;

/// The shortest Ethernet frame without its FCS; shorter ones are padded with zeros.
const SHORTEST: usize = 60;

const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_UDP: u8 = 17;

/// The flag bits of a TCP header.
pub(crate) mod flag {
    pub(crate) const FIN: u8 = 0x01;
    pub(crate) const SYN: u8 = 0x02;
    pub(crate) const RST: u8 = 0x04;
    pub(crate) const PSH: u8 = 0x08;
    pub(crate) const ACK: u8 = 0x10;
}

/// What a TCP header says beside the ports.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TcpHeader {
    pub sequence: u32,
    pub acknowledgement: u32,
    pub flags: u8,
    pub window: u16,
    /// `TSval` and `TSecr`.
    pub stamps: (u32, u32),
    /// The MSS option of a SYN.
    pub mss: Option<u16>,
}

/// Begins a UDP frame in `out` (cleared first); the payload is appended by the caller, then [`udp_finish`].
pub(crate) fn udp_begin(out: &mut Vec<u8>, from: &Node, to: &Node, ip_id: u16) {
    out.clear();
    ethernet(out, from, to);
    ipv4(out, from, to, ip_id, PROTOCOL_UDP);
    out.extend_from_slice(&from.port.to_be_bytes());
    out.extend_from_slice(&to.port.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
}

/// Fills in lengths and checksums once the payload stands behind the headers.
pub(crate) fn udp_finish(out: &mut Vec<u8>) {
    let length = u16::try_from(out.len() - 34).expect("payloads are kept below the MTU");
    out[38..40].copy_from_slice(&length.to_be_bytes());
    let sum = finish_ip(out, PROTOCOL_UDP);
    // RFC 768: a computed checksum of zero is transmitted as all ones.
    let sum = if sum == 0 { 0xFFFF } else { sum };
    out[40..42].copy_from_slice(&sum.to_be_bytes());
    pad(out);
}

/// A whole UDP frame.
pub(crate) fn udp_frame(from: &Node, to: &Node, ip_id: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(UDP_HEADERS + payload.len());
    udp_begin(&mut out, from, to, ip_id);
    out.extend_from_slice(payload);
    udp_finish(&mut out);
    out
}

/// A whole TCP frame, and where its payload begins.
pub(crate) fn tcp_frame(from: &Node, to: &Node, ip_id: u16, header: &TcpHeader, payload: &[u8]) -> (Vec<u8>, usize) {
    let mut out = Vec::with_capacity(80 + payload.len());
    ethernet(&mut out, from, to);
    ipv4(&mut out, from, to, ip_id, PROTOCOL_TCP);
    out.extend_from_slice(&from.port.to_be_bytes());
    out.extend_from_slice(&to.port.to_be_bytes());
    out.extend_from_slice(&header.sequence.to_be_bytes());
    out.extend_from_slice(&header.acknowledgement.to_be_bytes());
    let words: u8 = if header.mss.is_some() { 10 } else { 8 };
    out.extend_from_slice(&[words << 4, header.flags]);
    out.extend_from_slice(&header.window.to_be_bytes());
    out.extend_from_slice(&[0; 4]); // checksum, urgent pointer
    if let Some(mss) = header.mss {
        let [high, low] = mss.to_be_bytes();
        // MSS, SACK permitted, timestamps, no-operation, window scale 7: the order in which Linux sends them.
        out.extend_from_slice(&[2, 4, high, low, 4, 2, 8, 10]);
    } else {
        out.extend_from_slice(&[1, 1, 8, 10]);
    }
    out.extend_from_slice(&header.stamps.0.to_be_bytes());
    out.extend_from_slice(&header.stamps.1.to_be_bytes());
    if header.mss.is_some() {
        out.extend_from_slice(&[1, 3, 3, 7]);
    }
    let start = out.len();
    out.extend_from_slice(payload);
    let sum = finish_ip(&mut out, PROTOCOL_TCP);
    out[50..52].copy_from_slice(&sum.to_be_bytes());
    pad(&mut out);
    (out, start)
}

fn ethernet(out: &mut Vec<u8>, from: &Node, to: &Node) {
    out.extend_from_slice(&to.mac);
    out.extend_from_slice(&from.mac);
    out.extend_from_slice(&[0x08, 0x00]);
}

fn ipv4(out: &mut Vec<u8>, from: &Node, to: &Node, ip_id: u16, protocol: u8) {
    let ttl = if to.ip[0] >= 224 { 16 } else { 64 };
    out.extend_from_slice(&[0x45, 0, 0, 0]);
    out.extend_from_slice(&ip_id.to_be_bytes());
    out.extend_from_slice(&[0x40, 0, ttl, protocol, 0, 0]);
    out.extend_from_slice(&from.ip);
    out.extend_from_slice(&to.ip);
}

/// Total length and header checksum; gives back the checksum of what the IP header carries.
fn finish_ip(out: &mut [u8], protocol: u8) -> u16 {
    let total = u16::try_from(out.len() - 14).expect("payloads are kept below the MTU");
    out[16..18].copy_from_slice(&total.to_be_bytes());
    let sum = !fold(sum_words(&out[14..34], 0));
    out[24..26].copy_from_slice(&sum.to_be_bytes());
    let pseudo = sum_words(&out[26..34], u64::from(protocol) + u64::from(total) - 20);
    !fold(sum_words(&out[34..], pseudo))
}

/// The sum of 16-bit words, not yet folded; an odd last byte counts as the high half of a word (RFC 1071).
fn sum_words(bytes: &[u8], start: u64) -> u64 {
    let mut chunks = bytes.chunks_exact(4);
    let mut sum = start;
    for chunk in &mut chunks {
        // Adding 32-bit words and folding later gives the same ones' complement sum.
        sum += u64::from(u32::from_be_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]));
    }
    let mut rest = [0; 4];
    rest[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
    sum + u64::from(u32::from_be_bytes(rest))
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    u16::try_from(sum).expect("folded")
}

fn pad(out: &mut Vec<u8>) {
    if out.len() < SHORTEST {
        out.resize(SHORTEST, 0);
    }
}

/// Puts an 802.1Q tag behind the MAC addresses (another call puts one more in front of it, as `QinQ`).
pub(crate) fn add_vlan(frame: &mut Vec<u8>, id: u16, ethertype: [u8; 2]) {
    let [high, low] = (id & 0x0FFF).to_be_bytes();
    frame.splice(12..12, [ethertype[0], ethertype[1], high, low]);
}

/// The frame check sequence of IEEE 802.3, as it stands at the end of a frame (least significant byte first).
pub(crate) fn frame_check(bytes: &[u8]) -> [u8; 4] {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    (!crc).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The checksum as RFC 1071 words it, 16 bits at a time.
    fn plain_sum(bytes: &[u8]) -> u32 {
        let mut sum = 0_u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |&low| u32::from(low));
            sum = (sum & 0xFFFF) + (sum >> 16);
        }
        sum
    }

    fn transport_sum(frame: &[u8]) -> u32 {
        let total = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
        let mut pseudo = frame[26..34].to_vec();
        pseudo.extend_from_slice(&[0, frame[23]]);
        pseudo.extend_from_slice(&u16::try_from(total - 20).unwrap().to_be_bytes());
        pseudo.extend_from_slice(&frame[34..14 + total]);
        plain_sum(&pseudo)
    }

    #[test]
    fn header_checksum_of_a_known_header() {
        // The example of Wikipedia's article "Internet checksum", section IPv4 header.
        let header = [0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0, 0, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0, 0xc7];
        assert_eq!(!fold(sum_words(&header, 0)), 0xB861);
    }

    #[test]
    fn frame_check_of_the_standard_test_string() {
        assert_eq!(frame_check(b"123456789"), 0xCBF4_3926_u32.to_le_bytes());
    }

    #[test]
    fn multicast_addresses_follow_rfc_1112() {
        assert_eq!(Node::group([233, 254, 12, 111], 1).mac, [1, 0, 0x5E, 0x7E, 12, 111]);
    }

    proptest! {
        #[test]
        fn lengths_and_checksums_hold(payload in proptest::collection::vec(any::<u8>(), 0..1448), id: u16, seq: u32) {
            let (from, to) = (Node::host([10, 0, 0, 1], 5), Node::group([233, 54, 12, 1], 7));
            let frame = udp_frame(&from, &to, id, &payload);
            prop_assert_eq!(frame.len(), (UDP_HEADERS + payload.len()).max(60));
            prop_assert_eq!(usize::from(u16::from_be_bytes([frame[38], frame[39]])), payload.len() + 8);
            prop_assert_eq!(plain_sum(&frame[14..34]), 0xFFFF);
            prop_assert_eq!(transport_sum(&frame), 0xFFFF);
            for mss in [None, Some(1448)] {
                let header = TcpHeader { sequence: seq, flags: flag::ACK, mss, ..TcpHeader::default() };
                let (frame, start) = tcp_frame(&from, &to, id, &header, &payload);
                prop_assert_eq!(start, 34 + usize::from(frame[46] >> 4) * 4);
                prop_assert_eq!(&frame[start..start + payload.len()], &payload[..]);
                prop_assert_eq!(plain_sum(&frame[14..34]), 0xFFFF);
                prop_assert_eq!(transport_sum(&frame), 0xFFFF);
            }
        }
    }
}
