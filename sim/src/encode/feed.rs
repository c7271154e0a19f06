//! A market-data feed: changes of books become messages, messages are collected into packets. `MoldUDP64` ("`MoldUDP64`
//! Protocol Specification", 1.00) carries ITCH, IEX-TP ("IEX Transport Specification") carries TOPS and DEEP.

use serde::Deserialize;

use super::{iex, itch50};
use crate::book::{Best, Change, Side};
use crate::market::Instrument;
use crate::time::{DAY, SECOND};

/// What the exchange publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FeedProtocol {
    /// Nasdaq TotalView-ITCH 5.0 over `MoldUDP64`.
    Itch50,
    /// IEX TOPS 1.6 over IEX-TP.
    Tops16,
    /// IEX DEEP 1.0 over IEX-TP.
    Deep10,
}

/// One message of a packet, as a trader sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tick {
    pub sequence: u64,
    pub symbol: u16,
    pub name: &'static str,
    pub is_trade: bool,
    /// The best price or its quantity changed.
    pub is_best: bool,
    pub side: Side,
    pub price: u32,
    pub quantity: u32,
    pub best: Best,
    /// Where the message ends in the packet's payload.
    pub end: u32,
}

/// A datagram's payload, ready to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub first: u64,
    pub count: u16,
    pub payload: Vec<u8>,
    /// Messages about symbols; those about none (system events) are missing here.
    pub ticks: Vec<Tick>,
}

/// Builds the packets of one feed.
#[derive(Debug)]
pub(crate) struct Feed {
    protocol: FeedProtocol,
    /// New York's midnight is this much after UTC's.
    west: u64,
    session: [u8; 10],
    next: u64,
    /// Bytes of messages sent so far, which IEX-TP counts.
    offset: u64,
    count: u16,
    payload: Vec<u8>,
    ticks: Vec<Tick>,
}

/// Payload limit of one packet: with all headers it stays below an MTU of 1500 with a VLAN tag or two.
const FULL: usize = 1_400;

const MOLD_HEADER: usize = 20;
const IEX_HEADER: usize = 40;

impl Feed {
    /// A feed that begins at `start`; the session is named after the day.
    pub(crate) fn new(protocol: FeedProtocol, start: u64, west: u64) -> Feed {
        let day = (start - west) / DAY;
        let mut session = *b"0000000000";
        for (place, byte) in session.iter_mut().rev().enumerate() {
            let digit = day / 10_u64.pow(u32::try_from(place).expect("ten digits")) % 10;
            *byte = b'0' + u8::try_from(digit).expect("a digit");
        }
        Feed {
            protocol,
            west,
            session,
            next: 1,
            offset: 0,
            count: 0,
            payload: Vec::with_capacity(FULL + 100),
            ticks: Vec::new(),
        }
    }

    fn header(&self) -> usize {
        match self.protocol {
            FeedProtocol::Itch50 => MOLD_HEADER,
            FeedProtocol::Tops16 | FeedProtocol::Deep10 => IEX_HEADER,
        }
    }

    /// Whether the packet at hand has no room for another change.
    pub(crate) fn is_full(&self) -> bool {
        self.payload.len() > FULL - 3 * 46
    }

    /// Where the last message ends in the packet's payload.
    pub(crate) fn end(&self) -> u32 {
        u32::try_from(self.payload.len()).expect("packets are short")
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn stamp(&self, now: u64) -> u64 {
        (now - self.west) % DAY
    }

    /// Puts one message into the packet: its length, then what `write` appends.
    fn message(&mut self, write: impl FnOnce(&mut Vec<u8>) -> &'static str) -> &'static str {
        if self.payload.is_empty() {
            self.payload.resize(self.header(), 0);
        }
        let start = self.payload.len();
        self.payload.extend_from_slice(&[0, 0]);
        let name = write(&mut self.payload);
        let length = u16::try_from(self.payload.len() - start - 2).expect("messages are short");
        let prefix = match self.protocol {
            FeedProtocol::Itch50 => length.to_be_bytes(),
            FeedProtocol::Tops16 | FeedProtocol::Deep10 => length.to_le_bytes(),
        };
        self.payload[start..start + 2].copy_from_slice(&prefix);
        self.count += 1;
        self.next += 1;
        name
    }

    /// A system event; both protocols use the same letters but for the start of regular hours.
    pub(crate) fn system_event(&mut self, now: u64, code: u8) {
        let stamp = self.stamp(now);
        match self.protocol {
            FeedProtocol::Itch50 => self.message(|out| itch50::system_event(out, stamp, code)),
            _ => self.message(|out| iex::system_event(out, now, if code == b'Q' { b'R' } else { code })),
        };
    }

    /// Directory entry and trading status of one symbol.
    pub(crate) fn introduce(&mut self, now: u64, symbol: u16, instrument: &Instrument) {
        let stamp = self.stamp(now);
        if self.protocol == FeedProtocol::Itch50 {
            self.message(|out| itch50::directory(out, stamp, symbol, instrument));
            self.message(|out| itch50::trading(out, stamp, symbol, instrument));
        } else {
            self.message(|out| iex::directory(out, now, instrument));
            self.message(|out| iex::trading(out, now, instrument));
        }
    }

    /// The messages of one change: one in ITCH, none to three at IEX.
    pub(crate) fn change(&mut self, now: u64, change: &Change, instrument: &Instrument) {
        let is_best = change.before != change.after;
        match self.protocol {
            FeedProtocol::Itch50 => {
                let stamp = self.stamp(now);
                let name = self.message(|out| itch50::change(out, stamp, change, instrument));
                self.tick(name, change, change.is_trade(), is_best);
            }
            FeedProtocol::Tops16 => {
                if is_best {
                    let name = self.message(|out| iex::quote(out, now, change, instrument));
                    self.tick(name, change, false, true);
                }
                if change.is_trade() {
                    let name = self.message(|out| iex::trade(out, now, change, instrument));
                    self.tick(name, change, true, false);
                }
            }
            FeedProtocol::Deep10 => {
                if change.is_trade() {
                    let name = self.message(|out| iex::trade(out, now, change, instrument));
                    self.tick(name, change, true, false);
                }
                self.levels(now, change, instrument, is_best);
            }
        }
    }

    fn levels(&mut self, now: u64, change: &Change, instrument: &Instrument, is_best: bool) {
        use crate::book::Action;
        let here = (change.side, change.price, change.level);
        match change.action {
            Action::Hidden { .. } => {}
            Action::Replace { old_price, .. } if old_price != change.price => {
                let old = (change.side, old_price, change.old_level);
                let name = self.message(|out| iex::level(out, now, old, false, instrument));
                self.tick(name, change, false, false);
                let name = self.message(|out| iex::level(out, now, here, true, instrument));
                self.tick(name, change, false, is_best);
            }
            _ => {
                let name = self.message(|out| iex::level(out, now, here, true, instrument));
                self.tick(name, change, false, is_best);
            }
        }
    }

    fn tick(&mut self, name: &'static str, change: &Change, is_trade: bool, is_best: bool) {
        self.ticks.push(Tick {
            sequence: self.next - 1,
            symbol: change.symbol,
            name,
            is_trade,
            is_best,
            side: change.side,
            price: change.price,
            quantity: change.quantity,
            best: change.after,
            end: u32::try_from(self.payload.len()).expect("packets are short"),
        });
    }

    /// Ends the packet at hand and gives it out.
    pub(crate) fn packet(&mut self, now: u64) -> Packet {
        let ticks = self.ticks.len();
        let mut payload = std::mem::replace(&mut self.payload, Vec::with_capacity(FULL + 100));
        let first = self.next - u64::from(self.count);
        self.fill_header(&mut payload, now, first, self.count);
        let count = std::mem::take(&mut self.count);
        Packet { first, count, payload, ticks: std::mem::replace(&mut self.ticks, Vec::with_capacity(ticks)) }
    }

    /// A packet without messages, which says that the feed is alive and which message is next.
    pub(crate) fn heartbeat(&mut self, now: u64) -> Packet {
        let mut payload = vec![0; self.header()];
        self.fill_header(&mut payload, now, self.next, 0);
        Packet { first: self.next, count: 0, payload, ticks: Vec::new() }
    }

    /// The packet that ends the session: `MoldUDP64` has a count of its own for it, IEX-TP none.
    pub(crate) fn end_of_session(&mut self, now: u64) -> Packet {
        let mut packet = self.heartbeat(now);
        if self.protocol == FeedProtocol::Itch50 {
            packet.payload[18..20].copy_from_slice(&u16::MAX.to_be_bytes());
        }
        packet
    }

    /// A request for `count` messages from `first` on; only `MoldUDP64` has one over UDP.
    pub(crate) fn request(&self, first: u64, count: u16) -> Vec<u8> {
        let mut payload = self.session.to_vec();
        payload.extend_from_slice(&first.to_be_bytes());
        payload.extend_from_slice(&count.to_be_bytes());
        payload
    }

    fn fill_header(&mut self, payload: &mut [u8], now: u64, first: u64, count: u16) {
        if self.protocol == FeedProtocol::Itch50 {
            payload[..10].copy_from_slice(&self.session);
            payload[10..18].copy_from_slice(&first.to_be_bytes());
            payload[18..20].copy_from_slice(&count.to_be_bytes());
            return;
        }
        let kind: u16 = if self.protocol == FeedProtocol::Tops16 { 0x8003 } else { 0x8004 };
        let length = u16::try_from(payload.len() - IEX_HEADER).expect("packets are short");
        let session = u32::try_from((now - self.west) / DAY % u64::from(u32::MAX)).expect("reduced");
        payload[0] = 1; // version
        payload[2..4].copy_from_slice(&kind.to_le_bytes());
        payload[4..8].copy_from_slice(&1_u32.to_le_bytes()); // channel
        payload[8..12].copy_from_slice(&session.to_le_bytes());
        payload[12..14].copy_from_slice(&length.to_le_bytes());
        payload[14..16].copy_from_slice(&count.to_le_bytes());
        payload[16..24].copy_from_slice(&self.offset.to_le_bytes());
        payload[24..32].copy_from_slice(&first.to_le_bytes());
        payload[32..40].copy_from_slice(&now.to_le_bytes());
        self.offset += u64::from(length);
    }
}

/// New York is five hours behind UTC in winter, four in summer; scenarios say which, the default is winter.
pub(crate) const NEW_YORK_WINTER: u64 = 5 * 3_600 * SECOND;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::{Book, CROWD, Resting};

    const NOW: u64 = 1_767_623_400_000_000_000; // 2026-01-05T14:30:00Z

    fn packet(protocol: FeedProtocol) -> Packet {
        let instrument = Instrument::new(0, "ABCD", 100_000);
        let mut feed = Feed::new(protocol, NOW, NEW_YORK_WINTER);
        feed.system_event(NOW, b'O');
        feed.introduce(NOW, 0, &instrument);
        let mut book = Book::new(0);
        let order = Resting { id: 7, quantity: 100, owner: CROWD };
        feed.change(NOW, &book.add(Side::Buy, 100_000, order), &instrument);
        feed.change(NOW, &book.hit(Side::Sell, 100_000, 40, 1).unwrap().0, &instrument);
        feed.packet(NOW)
    }

    #[test]
    fn every_message_is_counted_and_framed() {
        for (protocol, messages, ticks) in
            [(FeedProtocol::Itch50, 5, 2), (FeedProtocol::Tops16, 6, 3), (FeedProtocol::Deep10, 6, 3)]
        {
            let packet = packet(protocol);
            assert_eq!((packet.first, packet.count, packet.ticks.len()), (1, messages, ticks), "{protocol:?}");
            let itch = protocol == FeedProtocol::Itch50;
            let mut at = if itch { MOLD_HEADER } else { IEX_HEADER };
            for _ in 0..messages {
                let length: [u8; 2] = packet.payload[at..at + 2].try_into().unwrap();
                at += 2 + usize::from(if itch { u16::from_be_bytes(length) } else { u16::from_le_bytes(length) });
            }
            assert_eq!(at, packet.payload.len());
            assert_eq!(packet.ticks.last().unwrap().end as usize, at);
        }
    }

    #[test]
    fn itch_time_counts_from_new_yorks_midnight() {
        let packet = packet(FeedProtocol::Itch50);
        // 9:30 in the morning; the time stands 5 bytes into the first message.
        let stamp = &packet.payload[MOLD_HEADER + 2 + 5..MOLD_HEADER + 2 + 11];
        assert_eq!(stamp, &(34_200 * SECOND).to_be_bytes()[2..]);
    }

    #[test]
    fn end_of_session_has_its_own_count() {
        let mut feed = Feed::new(FeedProtocol::Itch50, NOW, NEW_YORK_WINTER);
        assert_eq!(feed.heartbeat(NOW).payload[10..], [0, 0, 0, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(feed.end_of_session(NOW).payload[18..], [0xFF, 0xFF]);
    }
}
