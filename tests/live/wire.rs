//! Frames by hand: what a test sends where nobody has a socket. Checksums of IP, UDP and TCP are zero, which nothing here reads;
//! those of FIX are right.

use std::net::Ipv4Addr;

use super::net::Raw;

/// Flags of TCP (RFC 9293, section 3.1).
pub(crate) const SYN: u8 = 2;
pub(crate) const PUSH_ACK: u8 = 0x18;

/// Ethernet header in front of an `EtherType`.
pub(crate) fn ethernet(kind: u16, rest: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    frame.extend_from_slice(&kind.to_be_bytes());
    frame.extend_from_slice(rest);
    frame
}

/// Addresses and ports of one direction.
#[derive(Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) source: (Ipv4Addr, u16),
    pub(crate) target: (Ipv4Addr, u16),
}

impl Ends {
    pub(crate) fn back(self) -> Ends {
        Ends { source: self.target, target: self.source }
    }
}

/// An IPv4 packet. `fragment` is the word of flags and offset: nothing but 0 is whole.
pub(crate) fn ipv4(ends: Ends, protocol: u8, (id, fragment): (u16, u16), payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + payload.len()).unwrap();
    let mut packet = vec![0x45, 0];
    packet.extend_from_slice(&length.to_be_bytes());
    packet.extend_from_slice(&id.to_be_bytes());
    packet.extend_from_slice(&fragment.to_be_bytes());
    packet.extend_from_slice(&[64, protocol, 0, 0]);
    packet.extend_from_slice(&ends.source.0.octets());
    packet.extend_from_slice(&ends.target.0.octets());
    packet.extend_from_slice(payload);
    packet
}

pub(crate) fn udp(ends: Ends, id: u16, payload: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::new();
    datagram.extend_from_slice(&ends.source.1.to_be_bytes());
    datagram.extend_from_slice(&ends.target.1.to_be_bytes());
    datagram.extend_from_slice(&u16::try_from(8 + payload.len()).unwrap().to_be_bytes());
    datagram.extend_from_slice(&[0, 0]);
    datagram.extend_from_slice(payload);
    ethernet(0x0800, &ipv4(ends, 17, (id, 0), &datagram))
}

/// A segment: its flags, the numbers of sequence and acknowledgement, and what it carries.
pub(crate) fn tcp(ends: Ends, id: u16, flags: u8, (sequence, acknowledged): (u32, u32), payload: &[u8]) -> Vec<u8> {
    let mut segment = Vec::new();
    segment.extend_from_slice(&ends.source.1.to_be_bytes());
    segment.extend_from_slice(&ends.target.1.to_be_bytes());
    segment.extend_from_slice(&sequence.to_be_bytes());
    segment.extend_from_slice(&acknowledged.to_be_bytes());
    segment.extend_from_slice(&[0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend_from_slice(payload);
    ethernet(0x0800, &ipv4(ends, 6, (id, 0), &segment))
}

/// A message of FIX 4.4 with its length and checksum; fields are written with `|`.
pub(crate) fn fix(fields: &str) -> Vec<u8> {
    let body = fields.replace('|', "\x01");
    let mut message = format!("8=FIX.4.4\x019={}\x01{body}", body.len()).into_bytes();
    let sum = message.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    message.extend_from_slice(format!("10={sum:03}\x01").as_bytes());
    message
}

/// A datagram of `MoldUDP64` with one message of ITCH 5.0: an order is deleted.
pub(crate) fn itch(session: &str, sequence: u64) -> Vec<u8> {
    let mut payload = format!("{session:<10}").into_bytes();
    payload.extend_from_slice(&sequence.to_be_bytes());
    payload.extend_from_slice(&[0, 1, 0, 19]);
    payload.push(b'D');
    payload.extend_from_slice(&[0, 7, 0, 0, 0x1f, 0x1a, 0xce, 0xd9, 0x4a, 0]);
    payload.extend_from_slice(&sequence.to_be_bytes());
    payload
}

/// Numbers that look random and are the same in every run (xorshift64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}

/// Sends frames with as few system calls as it can; what the kernel did not take is sent once more.
pub(crate) struct Burst {
    socket: Raw,
    frames: Vec<Vec<u8>>,
    pub(crate) sent: u64,
}

impl Burst {
    pub(crate) fn open(interface: &str) -> Burst {
        Burst { socket: Raw::open(interface), frames: Vec::new(), sent: 0 }
    }

    pub(crate) fn push(&mut self, frame: Vec<u8>) {
        self.frames.push(frame);
        if self.frames.len() == 256 {
            self.flush();
        }
    }

    pub(crate) fn flush(&mut self) {
        let mut rest = self.frames.as_slice();
        let mut tries = 0;
        while !rest.is_empty() {
            let taken = self.socket.send_all(rest);
            self.sent += taken;
            tries = if taken == 0 { tries + 1 } else { 0 };
            assert!(tries < 1000, "the link takes no frame of {} bytes", rest[0].len());
            rest = &rest[usize::try_from(taken).unwrap()..];
        }
        self.frames.clear();
    }
}
