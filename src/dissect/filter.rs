//! `--filter`: the part of pcap-filter(7) that people use on market data and order flow.
//! Unlike a BPF program it looks at the innermost packet, behind VLAN tags and tunnels. As there, `and` and `or` bind
//! equally strong, from left to right, and an address without a keyword takes the last one's.

mod parse;

use std::net::IpAddr;

use super::packet::{Packet, Transport};

/// A condition on packets.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter(Node);

/// Where an expression could not be understood, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("filter, column {}: {message}", position + 1)]
pub struct FilterError {
    /// Byte in the expression, from 0.
    pub position: usize,
    pub message: String,
}

const TCP: u8 = 6;
const UDP: u8 = 17;

#[derive(Clone, Debug, PartialEq)]
enum Node {
    Test(Test),
    /// All of them.
    All(Vec<Test>),
    Not(Box<Node>),
    /// From left to right: the first, then `and` (true) or `or` (false) each of the others.
    Chain(Box<Node>, Vec<(bool, Node)>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Test {
    Protocol(u8),
    Version(u8),
    Address(Direction, Network),
    Port(Direction, u16, u16),
    Vlan(Option<u16>),
    Length(Relation, u32),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Direction {
    Source,
    Target,
    Either,
    Both,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Network {
    address: IpAddr,
    bits: u8,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Relation {
    Less,
    LessOrEqual,
    Equal,
    NotEqual,
    GreaterOrEqual,
    Greater,
}

impl Filter {
    pub fn parse(text: &str) -> Result<Filter, FilterError> {
        parse::parse(text).map(Filter)
    }

    /// Whether a packet, in a frame of this length on the wire, is wanted.
    pub fn matches(&self, packet: &Packet<'_>, wire_len: u32) -> bool {
        self.0.matches(packet, wire_len)
    }
}

impl Node {
    fn matches(&self, packet: &Packet<'_>, wire_len: u32) -> bool {
        match self {
            Node::Test(test) => test.matches(packet, wire_len),
            Node::All(tests) => tests.iter().all(|test| test.matches(packet, wire_len)),
            Node::Not(node) => !node.matches(packet, wire_len),
            Node::Chain(first, others) => {
                let start = first.matches(packet, wire_len);
                others.iter().fold(start, |so_far, (and, node)| match and {
                    true => so_far && node.matches(packet, wire_len),
                    false => so_far || node.matches(packet, wire_len),
                })
            }
        }
    }
}

impl Test {
    fn matches(self, packet: &Packet<'_>, wire_len: u32) -> bool {
        match self {
            Test::Protocol(protocol) => match packet.transport {
                Transport::Udp { .. } => protocol == UDP,
                Transport::Tcp { .. } => protocol == TCP,
            },
            Test::Version(version) => packet.source.is_ipv4() == (version == 4),
            Test::Address(direction, network) => {
                direction.holds(network.contains(packet.source), network.contains(packet.target))
            }
            Test::Port(direction, from, to) => {
                let range = from..=to;
                direction.holds(range.contains(&packet.source_port), range.contains(&packet.target_port))
            }
            Test::Vlan(None) => packet.vlan != 0,
            Test::Vlan(Some(vlan)) => packet.vlan == vlan,
            Test::Length(relation, length) => match relation {
                Relation::Less => wire_len < length,
                Relation::LessOrEqual => wire_len <= length,
                Relation::Equal => wire_len == length,
                Relation::NotEqual => wire_len != length,
                Relation::GreaterOrEqual => length <= wire_len,
                Relation::Greater => length < wire_len,
            },
        }
    }
}

impl Direction {
    fn holds(self, source: bool, target: bool) -> bool {
        match self {
            Direction::Source => source,
            Direction::Target => target,
            Direction::Either => source || target,
            Direction::Both => source && target,
        }
    }
}

impl Network {
    fn contains(self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(net), IpAddr::V4(address)) => {
                same_start(net.to_bits().into(), address.to_bits().into(), 32, self.bits)
            }
            (IpAddr::V6(net), IpAddr::V6(address)) => same_start(net.to_bits(), address.to_bits(), 128, self.bits),
            _ => false,
        }
    }

    fn has_host_bits(self) -> bool {
        let (value, width) = match self.address {
            IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
            IpAddr::V6(address) => (address.to_bits(), 128),
        };
        value.trailing_zeros().min(width) < width - u32::from(self.bits)
    }
}

fn same_start(left: u128, right: u128, width: u32, bits: u8) -> bool {
    (left ^ right).checked_shr(width - u32::from(bits)).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dissect::TcpFlags;

    fn packet(source: &str, target: &str, tcp: bool) -> Packet<'static> {
        let parse = |text: &str| -> (IpAddr, u16) {
            let (address, port) = text.rsplit_once('#').unwrap();
            (address.parse().unwrap(), port.parse().unwrap())
        };
        let ((source, source_port), (target, target_port)) = (parse(source), parse(target));
        let payload: &[u8] = &[];
        let transport = if tcp {
            Transport::Tcp { sequence: 0, acknowledgement: 0, flags: TcpFlags(0), payload }
        } else {
            Transport::Udp { payload }
        };
        Packet { source, target, source_port, target_port, ip_id: 0, vlan: 7, transport, missing: 0 }
    }

    fn check(text: &str, expected: [bool; 3]) {
        let filter = Filter::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let order = packet("10.0.0.10#40000", "10.0.1.20#9876", true);
        let feed = packet("192.168.7.1#5000", "233.54.12.111#26477", false);
        let six = packet("2001:db8::1#443", "2001:db8:0:1::2#50000", true);
        let answers = [order, feed, six].map(|packet| filter.matches(&packet, 100));
        assert_eq!(answers, expected, "{text}");
    }

    #[test]
    fn primitives() {
        for (text, expected) in [
            ("tcp", [true, false, true]),
            ("udp", [false, true, false]),
            ("ip", [true, true, false]),
            ("ip6", [false, false, true]),
            ("ip proto udp", [false, true, false]),
            ("ip proto \\udp", [false, true, false]),
            ("proto 6", [true, false, true]),
            ("ip6 proto 6", [false, false, true]),
            ("host 10.0.0.10", [true, false, false]),
            ("10.0.1.20", [true, false, false]),
            ("src 10.0.1.20", [false; 3]),
            ("dst host 10.0.1.20", [true, false, false]),
            ("src and dst net 10", [true, false, false]),
            ("src or dst net 10.0.1", [true, false, false]),
            ("net 233.0.0.0/8", [false, true, false]),
            ("net 192.168.0.0 mask 255.255.0.0", [false, true, false]),
            ("dst net 2001:db8:0:1::/64", [false, false, true]),
            ("net 0.0.0.0/0", [true, true, false]),
            ("port 9876", [true, false, false]),
            ("src port 443", [false, false, true]),
            ("tcp port 26477", [false; 3]),
            ("udp dst port 26477", [false, true, false]),
            ("portrange 26000-27000", [false, true, false]),
            ("src portrange 400-500", [false, false, true]),
            ("vlan", [true; 3]),
            ("vlan 7", [true; 3]),
            ("vlan 8", [false; 3]),
            ("less 100", [true; 3]),
            ("greater 101", [false; 3]),
            ("len >= 100", [true; 3]),
            ("len != 100", [false; 3]),
        ] {
            check(text, expected);
        }
    }

    #[test]
    fn joined() {
        for (text, expected) in [
            ("udp and dst net 233.0.0.0/8", [false, true, false]),
            ("port 443 or 9876", [true, false, true]),
            ("port (443 or 9876) and ip", [true, false, false]),
            ("not tcp port 9876", [false, true, true]),
            ("not not tcp", [true, false, true]),
            ("!(udp || ip6)", [true, false, false]),
            ("host 10.0.0.10 and not 10.0.1.20", [false; 3]),
            // Equal precedence, from the left: (udp or tcp) and ip6.
            ("udp or tcp and ip6", [false, false, true]),
            ("ip6 and tcp or udp", [false, true, true]),
            ("src net 10.0.0.0/24 && dst port 9876", [true, false, false]),
            ("vlan and tcp", [true, false, true]),
            ("vlan 7 && len<200", [true; 3]),
        ] {
            check(text, expected);
        }
    }

    #[test]
    fn errors_name_the_place() {
        for (text, position, part) in [
            ("", 0, "ends where"),
            ("tcp and", 7, "ends where"),
            ("tcp port", 8, "expected a port"),
            ("tcp port http", 9, "not looked up"),
            ("host example.com", 5, "not looked up"),
            ("tcp[13] & 2 != 0", 3, "not understood; there are host"),
            ("ether host 1", 0, "not understood; there are host"),
            ("tcp udp port 1", 4, "two words of one kind"),
            ("(tcp or udp", 11, "ends where `)`"),
            ("tcp)", 3, "expected `and` or `or`"),
            ("net 10.0.0.1/8", 4, "bits set behind the prefix"),
            ("net 10.0.0.0/33", 4, "longer than the address"),
            ("net 10.0.0.0 mask 255.0.255.0", 18, "not a mask"),
            ("port 70000", 5, "not a port"),
            ("vlan 5000", 5, "up to 4095"),
            ("tcp § udp", 4, "not understood"),
            ("less than", 5, "expected a number"),
            ("len 5", 4, "one of <"),
        ] {
            let error = Filter::parse(text).expect_err(text);
            assert!(error.position == position && error.message.contains(part), "{text}: {error:?}");
        }
        assert!(Filter::parse(&"(".repeat(100_000)).is_err());
        assert!(Filter::parse(&format!("tcp{}", " and tcp".repeat(100_000))).is_ok());
    }
}
