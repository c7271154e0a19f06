//! IEX DEEP 1.0 (specification 1.08): all price levels and trades of Investors Exchange, over IEX-TP 1.25. Datagrams go
//! in, one market event a message comes out.

use tickscope_model::{BookChange, MarketKind, Side};
use zerocopy::byteorder::little_endian::{I64, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::iex::{self, Content, Feed, Read, flags};
use super::layout::{Code, Field, Fields, LongPrice, Message, Stock, at_least, layouts};
use crate::{Carrier, ExchangeClock, Protocol, Role};

/// IEX DEEP.
pub static PROTOCOL: Protocol = Protocol {
    name: "iex_deep",
    title: "IEX DEEP 1.0 over IEX-TP",
    spec: "Investors Exchange DEEP Specification 1.08, IEX Transport Specification 1.25",
    carrier: Carrier::Udp,
    role: Role::MarketData,
    clock: ExchangeClock::Epoch,
    shows_orders: false,
    probe: iex::probe::<Deep>,
    open: iex::open::<Deep>,
    message_name: iex::message_name::<Deep>,
};

struct Deep;

impl Feed for Deep {
    const PROTOCOLS: &'static [u16] = &[0x8004];
    const MESSAGES: &'static [Message] = &[
        Message::of::<PriceLevelUpdate>(b'8', "Price Level Update Message"),
        Message::of::<PriceLevelUpdate>(b'5', "Price Level Update Message"),
        Message::of::<SecurityEvent>(b'E', "Security Event Message"),
    ];

    #[inline]
    fn read(code: u8, bytes: &[u8]) -> Option<Read> {
        match code {
            b'8' => Some(price_level(Side::Buy, bytes)),
            b'5' => Some(price_level(Side::Sell, bytes)),
            b'E' => Some(
                at_least::<SecurityEvent>(bytes)
                    .map(|event| Content::of(MarketKind::Status, event.symbol, event.timestamp)),
            ),
            _ => None,
        }
    }
}

layouts! {
    /// Type `8` is the buy side, type `5` the sell side.
    PriceLevelUpdate[30] {
        message_type: Code = "Message Type",
        event_flags: EventFlags = "Event Flags",
        timestamp: I64 = "Timestamp",
        symbol: Stock = "Symbol",
        size: U32 = "Size",
        price: LongPrice = "Price",
    }

    SecurityEvent[18] {
        message_type: Code = "Message Type",
        security_event: Code = "Security Event",
        timestamp: I64 = "Timestamp",
        symbol: Stock = "Symbol",
    }
}

flags! {
    EventFlags {
        0x01 = "Event Processing Complete",
    }
}

/// A size of 0 means that the level is gone.
#[inline]
fn price_level(side: Side, bytes: &[u8]) -> Read {
    let level = at_least::<PriceLevelUpdate>(bytes)?;
    Ok(Content {
        side: Some(side),
        price: Some(level.price),
        quantity: Some(level.size.get()),
        book: BookChange::Level { side, price: level.price.get(), quantity: level.size.get() },
        ..Content::of(MarketKind::Book, level.symbol, level.timestamp)
    })
}
