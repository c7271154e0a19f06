//! Market data as real datagrams: every line of the scenario is a socket.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use super::{MarketData, Options};
use crate::book::Change;
use crate::encode::feed::{Feed, Packet};
use crate::market::Market;
use crate::random::Random;
use crate::scenario_check::parse_address;

struct Line {
    socket: UdpSocket,
    to: SocketAddrV4,
    loss: f64,
}

impl Line {
    fn send(&self, payload: &[u8]) -> io::Result<()> {
        match self.socket.send_to(payload, self.to) {
            Ok(_) => Ok(()),
            // Nobody listens at a unicast address: that is the listener's affair.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", self.to))),
        }
    }
}

/// The feed and its lines.
pub(super) struct Publisher {
    feed: Feed,
    lines: Vec<Line>,
    random: Random,
    heartbeat: u64,
    last: u64,
    messages: u64,
    packets: u64,
}

impl Publisher {
    pub(super) fn open(options: &Options, now: u64) -> io::Result<Publisher> {
        let mut lines = Vec::new();
        for (line, at) in options.scenario.line.iter().zip(0_u16..) {
            let (ip, port) = parse_address(&line.group).expect("checked by the scenario");
            let group = SocketAddrV4::new(Ipv4Addr::from(ip), port);
            let to = match &options.market_data {
                MarketData::To(receiver) => SocketAddrV4::new(*receiver.ip(), receiver.port().saturating_add(at)),
                MarketData::From(_) | MarketData::Interface(_) => group,
            };
            let socket = open_socket(&options.market_data).map_err(|error| {
                io::Error::new(error.kind(), format!("market data to {to} ({:?}): {error}", options.market_data))
            })?;
            lines.push(Line { socket, to, loss: line.loss });
        }
        let market = &options.scenario.market;
        Ok(Publisher {
            feed: Feed::new(market.protocol, now, market.west.0),
            lines,
            random: Random::new(options.seed, "lines"),
            heartbeat: market.heartbeat.0,
            last: now,
            messages: 0,
            packets: 0,
        })
    }

    pub(super) fn messages(&self) -> u64 {
        self.messages
    }

    pub(super) fn packets(&self) -> u64 {
        self.packets
    }

    /// Directory, system events, and the orders that stand in the books.
    pub(super) fn open_market(&mut self, market: &mut Market, now: u64) -> io::Result<()> {
        self.feed.system_event(now, b'O');
        for (symbol, instrument) in (0_u16..).zip(&market.instruments) {
            self.feed.introduce(now, symbol, instrument);
            self.flush_full(now)?;
        }
        self.feed.system_event(now, b'S');
        self.feed.system_event(now, b'Q');
        let count = u16::try_from(market.instruments.len()).expect("at most 10000");
        for symbol in 0..count {
            let mut changes = Vec::new();
            market.open(symbol, &mut changes);
            for change in &changes {
                self.feed.change(now, change, &market.instruments[usize::from(symbol)]);
                self.flush_full(now)?;
            }
        }
        self.flush(now)
    }

    pub(super) fn close_market(&mut self, now: u64) -> io::Result<()> {
        for code in [b'M', b'E', b'C'] {
            self.feed.system_event(now, code);
        }
        self.flush(now)?;
        let packet = self.feed.end_of_session(now);
        self.send(&packet)
    }

    pub(super) fn publish(&mut self, changes: &[Change], market: &Market, now: u64) -> io::Result<()> {
        for change in changes {
            self.feed.change(now, change, &market.instruments[usize::from(change.symbol)]);
            self.flush_full(now)?;
        }
        self.flush(now)
    }

    /// A heartbeat, where the feed has been silent for long.
    pub(super) fn tick(&mut self, now: u64) -> io::Result<()> {
        if now >= self.last + self.heartbeat {
            self.last = now;
            let packet = self.feed.heartbeat(now);
            self.send(&packet)?;
        }
        Ok(())
    }

    fn flush_full(&mut self, now: u64) -> io::Result<()> {
        if self.feed.is_full() { self.flush(now) } else { Ok(()) }
    }

    fn flush(&mut self, now: u64) -> io::Result<()> {
        if self.feed.is_empty() {
            return Ok(());
        }
        self.last = now;
        let packet = self.feed.packet(now);
        self.messages += u64::from(packet.count);
        self.send(&packet)
    }

    /// The port that recorded datagrams are sent to.
    pub(super) fn first_port(&self) -> Option<u16> {
        self.lines.first().map(|line| line.to.port())
    }

    /// A recorded datagram, on the first line.
    pub(super) fn send_recorded(&mut self, payload: &[u8]) -> io::Result<()> {
        self.packets += 1;
        match self.lines.first() {
            Some(line) => line.send(payload),
            None => Ok(()),
        }
    }

    fn send(&mut self, packet: &Packet) -> io::Result<()> {
        self.packets += 1;
        for line in &self.lines {
            if self.random.chance(line.loss) {
                continue;
            }
            line.send(&packet.payload)?;
        }
        Ok(())
    }
}

fn open_socket(to: &MarketData) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    match to {
        MarketData::To(_) => {}
        MarketData::From(own) => {
            socket.set_multicast_if_v4(own)?;
            socket.bind(&SocketAddr::from((*own, 0)).into())?;
        }
        MarketData::Interface(name) => socket.bind_device(Some(name.as_bytes()))?,
    }
    // One hop is what a tap or a test network needs; a receiver on this machine hears it too.
    socket.set_multicast_ttl_v4(16)?;
    socket.set_multicast_loop_v4(true)?;
    Ok(socket.into())
}
