//! What `dissect` finds in a frame: addresses, ports and the payload, borrowed from the frame.

use std::net::IpAddr;

/// One UDP datagram or TCP segment, the innermost one where the frame is a tunnel's.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    pub source: IpAddr,
    pub target: IpAddr,
    pub source_port: u16,
    pub target_port: u16,
    /// IPv4 identification; 0 for IPv6. With the bytes it tells a mirror's second copy from a retransmission.
    pub ip_id: u16,
    /// Innermost VLAN id; 0 where there is no tag.
    pub vlan: u16,
    pub transport: Transport<'a>,
    /// How many bytes of the payload were on the wire but not captured (snaplen).
    pub missing: u32,
}

/// The payload and what carries it.
#[derive(Clone, Copy, Debug)]
pub enum Transport<'a> {
    Udp { payload: &'a [u8] },
    Tcp { sequence: u32, acknowledgement: u32, flags: TcpFlags, payload: &'a [u8] },
}

/// The flag byte of a TCP header (RFC 9293, section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    pub fn fin(self) -> bool {
        self.0 & 0x01 != 0
    }
    pub fn syn(self) -> bool {
        self.0 & 0x02 != 0
    }
    pub fn rst(self) -> bool {
        self.0 & 0x04 != 0
    }
    pub fn ack(self) -> bool {
        self.0 & 0x10 != 0
    }
}
