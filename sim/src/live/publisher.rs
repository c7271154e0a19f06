//! Market data as real datagrams: every line of the scenario is a socket, with the line's delay, jitter and loss. Packets
//! are kept for a while, for those who ask for lost ones (`MoldUDP64`'s request server).

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::agenda::Agenda;
use super::{MarketData, Options, Shared, now};
use crate::book::Change;
use crate::encode::feed::{Feed, FeedProtocol, Packet};
use crate::market::Market;
use crate::random::Random;
use crate::scenario_check::parse_address;
use crate::world::KEPT_PACKETS;

/// Where a line's packets go.
#[derive(Debug)]
pub(super) struct Line {
    socket: UdpSocket,
    to: SocketAddrV4,
    delay: u64,
    jitter: u64,
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

/// A datagram that is under way.
pub(super) struct Datagram {
    to: Target,
    payload: Arc<[u8]>,
}

enum Target {
    Line(usize),
    /// Somebody who asked for it again.
    Asker(SocketAddr),
}

/// A packet that may be asked for again.
struct Kept {
    first: u64,
    count: u64,
    payload: Arc<[u8]>,
}

/// The feed and its lines.
pub(super) struct Publisher {
    feed: Feed,
    lines: Arc<Vec<Line>>,
    /// Datagrams that a line delays.
    delayed: Arc<Agenda<Datagram>>,
    /// By line: when its last packet leaves; they stay in order.
    busy: Vec<u64>,
    kept: VecDeque<Kept>,
    keeps: bool,
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
            let to = destination(options, at, &line.group);
            let socket = open_socket(&options.market_data).map_err(|error| {
                io::Error::new(error.kind(), format!("market data to {to} ({:?}): {error}", options.market_data))
            })?;
            lines.push(Line { socket, to, delay: line.delay.0, jitter: line.jitter.0, loss: line.loss });
        }
        let market = &options.scenario.market;
        Ok(Publisher {
            feed: Feed::new(market.protocol, now, market.west.0),
            busy: vec![0; lines.len()],
            lines: Arc::new(lines),
            delayed: Arc::new(Agenda::new()),
            kept: VecDeque::new(),
            keeps: market.recover.is_some() && market.protocol == FeedProtocol::Itch50,
            random: Random::new(options.seed, "lines"),
            heartbeat: market.heartbeat.0,
            last: now,
            messages: 0,
            packets: 0,
        })
    }

    /// The lines, and what is under way on them, for the thread that sends it in time.
    pub(super) fn on_the_way(&self) -> (Arc<Vec<Line>>, Arc<Agenda<Datagram>>) {
        (Arc::clone(&self.lines), Arc::clone(&self.delayed))
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

    /// A recorded datagram, on the first line; `at_once` where the consumer sets the pace, which a delay would hide.
    pub(super) fn send_recorded(&mut self, payload: &[u8], at_once: bool) -> io::Result<()> {
        self.packets += 1;
        match self.lines.first() {
            Some(line) if at_once => line.send(payload),
            _ => self.send_on(0, &Arc::from(payload)),
        }
    }

    fn send(&mut self, packet: &Packet) -> io::Result<()> {
        self.packets += 1;
        let payload: Arc<[u8]> = Arc::from(&packet.payload[..]);
        for at in 0..self.lines.len() {
            self.send_on(at, &payload)?;
        }
        if self.keeps && packet.count > 0 && packet.count < u16::MAX {
            if self.kept.len() == KEPT_PACKETS {
                self.kept.pop_front();
            }
            self.kept.push_back(Kept { first: packet.first, count: packet.count.into(), payload });
        }
        Ok(())
    }

    /// On one line: at once, or when its delay is over.
    fn send_on(&mut self, at: usize, payload: &Arc<[u8]>) -> io::Result<()> {
        let Some(line) = self.lines.get(at) else { return Ok(()) };
        if self.random.chance(line.loss) {
            return Ok(());
        }
        let delay = line.delay + if line.jitter > 0 { self.random.below(line.jitter) } else { 0 };
        if line.delay + line.jitter == 0 {
            return line.send(payload);
        }
        let due = (now() + delay).max(self.busy[at]);
        self.busy[at] = due;
        // A line that cannot take more loses it, as a full switch does.
        self.delayed.push(due, Datagram { to: Target::Line(at), payload: Arc::clone(payload) });
        Ok(())
    }

    /// Somebody asks for `count` messages from `first` on: the packets that hold them come again at `due`.
    fn send_again(&self, asker: SocketAddr, first: u64, count: u64, due: u64) {
        let wanted = self.kept.iter().filter(|kept| kept.first < first + count && first < kept.first + kept.count);
        for kept in wanted {
            self.delayed.push(due, Datagram { to: Target::Asker(asker), payload: Arc::clone(&kept.payload) });
        }
    }
}

/// Where the line with this number and group sends to.
pub(super) fn destination(options: &Options, at: u16, group: &str) -> SocketAddrV4 {
    let (ip, port) = parse_address(group).expect("checked by the scenario");
    match &options.market_data {
        MarketData::To(receiver) => SocketAddrV4::new(*receiver.ip(), receiver.port().saturating_add(at)),
        MarketData::From(_) | MarketData::Interface(_) => SocketAddrV4::new(Ipv4Addr::from(ip), port),
    }
}

/// Sends what is under way when its time has come.
pub(super) fn send_in_time(
    lines: &[Line],
    delayed: &Agenda<Datagram>,
    again: Option<&UdpSocket>,
    shared: &Shared<'_>,
) -> io::Result<()> {
    while let Some((_, datagram)) = delayed.next(|| shared.is_over()) {
        match datagram.to {
            Target::Line(at) => lines.get(at).map_or(Ok(()), |line| line.send(&datagram.payload))?,
            Target::Asker(asker) => {
                // Whoever asked and is gone does not get it.
                let _ = again.map(|socket| socket.send_to(&datagram.payload, asker));
            }
        }
    }
    Ok(())
}

/// The request server: session, first message and number of messages in, the packets out.
pub(super) fn serve_requests(socket: &UdpSocket, shared: &Shared<'_>) -> io::Result<()> {
    let Some(latency) = &shared.options.scenario.market.recover else { return Ok(()) };
    socket.set_read_timeout(Some(Duration::from_millis(20)))?;
    let mut random = Random::new(shared.options.seed, "live recovery");
    let mut buffer = [0; 64];
    while !shared.is_over() {
        let Ok((length, asker)) = socket.recv_from(&mut buffer) else { continue };
        let number = |range: std::ops::Range<usize>| {
            let bytes = buffer.get(range).filter(|_| length >= 20)?;
            Some(bytes.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte)))
        };
        if let (Some(first), Some(count)) = (number(10..18), number(18..20)) {
            let due = now() + latency.draw(&mut random, now().saturating_sub(shared.start));
            let mut core = shared.core();
            core.publisher.send_again(asker, first, count, due);
            core.summary.asked_again += 1;
        }
    }
    Ok(())
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
