//! The words of a filter expression and their grammar, by recursive descent.

use std::net::{IpAddr, Ipv4Addr};

use super::{Direction, FilterError, Network, Node, Relation, TCP, Test, UDP};

/// Reads an expression.
pub(super) fn parse(text: &str) -> Result<Node, FilterError> {
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens: &tokens, end: text.len(), depth: 0, last: Qualifiers::default() };
    let node = parser.expression()?;
    match parser.tokens.first() {
        None => Ok(node),
        Some(token) => Err(token.wrong("expected `and` or `or` here")),
    }
}

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
    letter.is_ascii_alphanumeric() || matches!(letter, '.' | ':' | '/' | '-' | '_' | '\\')
}

const SUPPORTED: &str = "not understood; there are host, net, port and portrange (each with src or dst, ip, ip6, tcp or udp), \
    ip, ip6, tcp, udp, proto, vlan, less, greater, len, and, or, not and parentheses";

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
                // pcap-filter wants the backslash, since these are keywords.
                "tcp" | "\\tcp" => TCP,
                "udp" | "\\udp" => UDP,
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
