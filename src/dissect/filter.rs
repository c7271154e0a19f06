//! `--filter`: the part of pcap-filter(7) that people use on market data and order flow.
//! Unlike a BPF program it looks at the innermost packet, behind VLAN tags and tunnels. As there, `and` and `or` bind
//! equally strong, from left to right, and an address without a keyword takes the last one's.

use std::net::{IpAddr, Ipv4Addr};

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
        let tokens = tokens(text)?;
        let mut parser = Parser { tokens: &tokens, end: text.len(), depth: 0, last: Qualifiers::default() };
        let node = parser.expression()?;
        match parser.tokens.first() {
            None => Ok(Filter(node)),
            Some(token) => Err(token.wrong("expected `and` or `or` here")),
        }
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

// ── text ─────────────────────────────────────────────────────────────────────────────────────────────────────────

#[derive(Clone, Copy, Debug)]
struct Token<'a> {
    text: &'a str,
    at: usize,
}

impl Token<'_> {
    fn wrong(&self, why: &str) -> FilterError {
        FilterError { position: self.at, message: format!("`{}`: {why}", self.text) }
    }
}

fn tokens(text: &str) -> Result<Vec<Token<'_>>, FilterError> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..)
        && let Some(first) = rest.chars().next()
    {
        let length = match first {
            letter if letter.is_ascii_whitespace() => {
                at += 1;
                continue;
            }
            letter if is_word(letter) => rest.find(|letter| !is_word(letter)).unwrap_or(rest.len()),
            _ if ["&&", "||", "<=", ">=", "!=", "=="].iter().any(|operator| rest.starts_with(operator)) => 2,
            '(' | ')' | '<' | '>' | '!' | '=' => 1,
            other => return Err(FilterError { position: at, message: format!("`{other}`: {SUPPORTED}") }),
        };
        found.push(Token { text: rest.get(..length).unwrap_or(rest), at });
        at += length;
    }
    Ok(found)
}

fn is_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '.' | ':' | '/' | '-' | '_')
}

const SUPPORTED: &str = "not understood; there are host, net, port and portrange (each with src or dst, ip, ip6, tcp or udp), \
    ip, ip6, tcp, udp, proto, vlan, less, greater, len, and, or, not and parentheses";

const TCP: u8 = 6;
const UDP: u8 = 17;

/// Parentheses in parentheses beyond this are no filter of a person's.
const DEEPEST: usize = 50;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Host,
    Net,
    Port,
    PortRange,
    Protocol,
}

/// The words in front of an address or number.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Qualifiers {
    version: Option<u8>,
    protocol: Option<u8>,
    direction: Option<Direction>,
    kind: Option<Kind>,
}

struct Parser<'t> {
    tokens: &'t [Token<'t>],
    end: usize,
    depth: usize,
    last: Qualifiers,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<&'t str> {
        self.tokens.first().map(|token| token.text)
    }

    fn next(&mut self, expected: &str) -> Result<Token<'t>, FilterError> {
        let Some((&token, rest)) = self.tokens.split_first() else {
            return Err(FilterError { position: self.end, message: format!("ends where {expected} is expected") });
        };
        self.tokens = rest;
        Ok(token)
    }

    fn accept(&mut self, words: &[&str]) -> bool {
        let found = self.peek().is_some_and(|text| words.contains(&text));
        if found {
            self.tokens = self.tokens.split_first().map_or(&[], |(_, rest)| rest);
        }
        found
    }

    fn expression(&mut self) -> Result<Node, FilterError> {
        let first = self.factor()?;
        let mut others = Vec::new();
        loop {
            let and = match self.peek() {
                Some("and" | "&&") => true,
                Some("or" | "||") => false,
                _ => break,
            };
            self.next("a word")?;
            others.push((and, self.factor()?));
        }
        Ok(if others.is_empty() { first } else { Node::Chain(Box::new(first), others) })
    }

    fn factor(&mut self) -> Result<Node, FilterError> {
        let mut negative = false;
        while self.accept(&["not", "!"]) {
            negative = !negative;
        }
        let node = if self.peek() == Some("(") { self.parenthesis()? } else { self.primitive()? };
        Ok(if negative { Node::Not(Box::new(node)) } else { node })
    }

    fn parenthesis(&mut self) -> Result<Node, FilterError> {
        let open = self.next("`(`")?;
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(open.wrong("too many parentheses in each other"));
        }
        let node = self.expression()?;
        self.depth -= 1;
        match self.next("`)`")? {
            close if close.text == ")" => Ok(node),
            other => Err(other.wrong("expected `and`, `or` or `)` here")),
        }
    }

    fn primitive(&mut self) -> Result<Node, FilterError> {
        let start = self.tokens.first().copied();
        match self.peek() {
            Some("vlan") => {
                self.next("`vlan`")?;
                let vlan = match self.peek() {
                    Some(text) if text.starts_with(|letter: char| letter.is_ascii_digit()) => {
                        Some(number(self.next("a VLAN id")?, 4095)?)
                    }
                    _ => None,
                };
                let vlan = vlan.map(|vlan| u16::try_from(vlan).unwrap_or(u16::MAX));
                return Ok(Node::Test(Test::Vlan(vlan)));
            }
            Some("less" | "greater") => {
                let word = self.next("a word")?;
                let relation = if word.text == "less" { Relation::LessOrEqual } else { Relation::GreaterOrEqual };
                return Ok(Node::Test(Test::Length(relation, number(self.next("a length")?, u32::MAX)?)));
            }
            Some("len") => return self.length(),
            _ => {}
        }
        let qualifiers = self.qualifiers()?;
        if self.peek() == Some("(") && qualifiers.kind.or(qualifiers.direction.map(|_| Kind::Host)).is_some() {
            // `port (80 or 443)`: what is inside takes these words.
            self.last = qualifiers;
            return self.parenthesis();
        }
        let has_value = self.peek().is_some_and(|text| {
            text.starts_with(is_word) && !matches!(text, "and" | "or" | "not" | "vlan" | "less" | "greater" | "len")
        });
        if has_value {
            let bare = qualifiers == Qualifiers::default();
            if let Some(token) = start
                && bare
                && token.text.starts_with(|letter: char| letter.is_ascii_alphabetic())
                && !token.text.contains(':')
            {
                return Err(token.wrong(SUPPORTED));
            }
            let qualifiers = if bare { self.last } else { qualifiers };
            self.last = qualifiers;
            return self.value(qualifiers);
        }
        if let Some(kind) = qualifiers.kind.or(qualifiers.direction.map(|_| Kind::Host)) {
            let position = self.tokens.first().map_or(self.end, |token| token.at);
            return Err(FilterError { position, message: format!("expected {} here", kind.value()) });
        }
        match start {
            None => Err(FilterError { position: self.end, message: "ends where a condition is expected".to_owned() }),
            Some(token) if qualifiers == Qualifiers::default() => Err(token.wrong(SUPPORTED)),
            Some(_) => Ok(all(plain(qualifiers))),
        }
    }

    fn length(&mut self) -> Result<Node, FilterError> {
        self.next("`len`")?;
        let operator = self.next("one of < <= = != >= >")?;
        let relation = match operator.text {
            "<" => Relation::Less,
            "<=" => Relation::LessOrEqual,
            "=" | "==" => Relation::Equal,
            "!=" => Relation::NotEqual,
            ">=" => Relation::GreaterOrEqual,
            ">" => Relation::Greater,
            _ => return Err(operator.wrong("expected one of < <= = != >= >")),
        };
        Ok(Node::Test(Test::Length(relation, number(self.next("a length")?, u32::MAX)?)))
    }

    fn qualifiers(&mut self) -> Result<Qualifiers, FilterError> {
        let mut found = Qualifiers::default();
        while let Some(&token) = self.tokens.first() {
            let twice = match token.text {
                "ip" => found.version.replace(4).is_some(),
                "ip6" => found.version.replace(6).is_some(),
                "tcp" if found.kind.is_none() => found.protocol.replace(TCP).is_some(),
                "udp" if found.kind.is_none() => found.protocol.replace(UDP).is_some(),
                "src" | "dst" => {
                    self.next("a word")?;
                    let direction = self.direction(token.text);
                    if found.direction.replace(direction).is_some() || found.kind.is_some() {
                        return Err(token.wrong("stands in front of host, net or port, once"));
                    }
                    continue;
                }
                "host" => found.kind.replace(Kind::Host).is_some(),
                "net" => found.kind.replace(Kind::Net).is_some(),
                "port" => found.kind.replace(Kind::Port).is_some(),
                "portrange" => found.kind.replace(Kind::PortRange).is_some(),
                "proto" => found.kind.replace(Kind::Protocol).is_some(),
                _ => break,
            };
            if twice {
                return Err(token.wrong("two words of one kind; join them by `and` or `or`"));
            }
            self.next("a word")?;
        }
        Ok(found)
    }

    /// `src`, `dst`, and both of them joined.
    fn direction(&mut self, first: &str) -> Direction {
        let other = if first == "src" { "dst" } else { "src" };
        let joined = match self.tokens {
            [join, second, ..] if second.text == other => match join.text {
                "or" | "||" => Some(Direction::Either),
                "and" | "&&" => Some(Direction::Both),
                _ => None,
            },
            _ => None,
        };
        // `src 10.0.0.1 and dst …` has a value in between; `src and dst …` has none.
        match joined {
            Some(direction) => {
                self.tokens = self.tokens.get(2..).unwrap_or(&[]);
                direction
            }
            None if first == "src" => Direction::Source,
            None => Direction::Target,
        }
    }

    fn value(&mut self, qualifiers: Qualifiers) -> Result<Node, FilterError> {
        let token = self.next("an address or a number")?;
        let direction = qualifiers.direction.unwrap_or(Direction::Either);
        let kind = match qualifiers.kind {
            None | Some(Kind::Host) if token.text.contains('/') => Kind::Net,
            kind => kind.unwrap_or(Kind::Host),
        };
        let test = match kind {
            Kind::Host => Test::Address(direction, host(token)?),
            Kind::Net => Test::Address(direction, self.network(token)?),
            Kind::Port => {
                let port = port(token, token.text)?;
                Test::Port(direction, port, port)
            }
            Kind::PortRange => {
                let (from, to) = token.text.split_once('-').unwrap_or((token.text, token.text));
                Test::Port(direction, port(token, from)?, port(token, to)?)
            }
            Kind::Protocol => Test::Protocol(match token.text {
                "tcp" => TCP,
                "udp" => UDP,
                _ => u8::try_from(number(token, 255)?).unwrap_or(u8::MAX),
            }),
        };
        let mut tests = plain(qualifiers);
        tests.push(test);
        Ok(all(tests))
    }

    /// `10.0.0.0/8`, `10.0.0.0 mask 255.0.0.0`, `192.168` for 192.168.0.0/16, `2001:db8::/32`.
    fn network(&mut self, token: Token<'_>) -> Result<Network, FilterError> {
        let (text, bits) = match token.text.split_once('/') {
            Some((text, bits)) => (text, Some(bits)),
            None => (token.text, None),
        };
        let parts = text.split('.').count();
        let full = if text.contains(':') {
            text.to_owned()
        } else {
            format!("{text}{}", ".0".repeat(4_usize.saturating_sub(parts)))
        };
        let address: IpAddr = full.parse().map_err(|_| token.wrong("not a network's address"))?;
        let widest = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) => bits.parse().map_err(|_| token.wrong("not a prefix length"))?,
            None if self.accept(&["mask"]) => {
                let token = self.next("a mask")?;
                let mask: Ipv4Addr = token.text.parse().map_err(|_| token.wrong("not a mask"))?;
                let ones = mask.to_bits().leading_ones();
                if address.is_ipv6() || mask.to_bits().count_ones() != ones {
                    return Err(token.wrong("not a mask for this network"));
                }
                u8::try_from(ones).unwrap_or(32)
            }
            None if address.is_ipv4() => u8::try_from(parts * 8).unwrap_or(32),
            None => 128,
        };
        let network = Network { address, bits };
        if bits > widest {
            return Err(token.wrong("the prefix is longer than the address"));
        }
        if network.has_host_bits() {
            return Err(token.wrong("there are bits set behind the prefix"));
        }
        Ok(network)
    }
}

impl Kind {
    fn value(self) -> &'static str {
        match self {
            Kind::Host => "an address",
            Kind::Net => "a network",
            Kind::Port => "a port",
            Kind::PortRange => "two ports, as in 9000-9010",
            Kind::Protocol => "a protocol",
        }
    }
}

fn plain(qualifiers: Qualifiers) -> Vec<Test> {
    let version = qualifiers.version.map(Test::Version);
    version.into_iter().chain(qualifiers.protocol.map(Test::Protocol)).collect()
}

fn all(tests: Vec<Test>) -> Node {
    match tests.as_slice() {
        [test] => Node::Test(*test),
        _ => Node::All(tests),
    }
}

fn number(token: Token<'_>, most: u32) -> Result<u32, FilterError> {
    match token.text.parse() {
        Ok(number) if number <= most => Ok(number),
        _ => Err(token.wrong(&format!("expected a number up to {most}"))),
    }
}

fn port(token: Token<'_>, text: &str) -> Result<u16, FilterError> {
    text.parse().map_err(|_| token.wrong("not a port; names of services are not looked up"))
}

fn host(token: Token<'_>) -> Result<Network, FilterError> {
    let address: IpAddr = token.text.parse().map_err(|_| token.wrong("not an address; names are not looked up"))?;
    Ok(Network { address, bits: if address.is_ipv4() { 32 } else { 128 } })
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
