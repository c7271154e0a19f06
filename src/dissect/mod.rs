//! The headers of one frame: link, VLAN, tunnels, IP, UDP, TCP.

mod packet;

pub use packet::{Packet, TcpFlags, Transport};
