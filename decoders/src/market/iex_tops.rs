//! IEX TOPS 1.6 (specification 1.66, 19 October 2021), and 1.5, whose messages are a subset with the same tables: best
//! prices and trades of Investors Exchange, over IEX-TP 1.25. Datagrams go in, one market event a message comes out.

use tickscope_model::{BookChange, MarketKind};
use zerocopy::byteorder::little_endian::{I64, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::iex::{self, Content, Feed, Read, flags};
use super::layout::{Code, Field, Fields, LongPrice, Message, Stock, at_least, layouts};
use crate::{Carrier, ExchangeClock, Protocol, Role};

/// IEX TOPS.
pub static PROTOCOL: Protocol = Protocol {
    name: "iex_tops",
    title: "IEX TOPS 1.5 and 1.6 over IEX-TP",
    spec: "Investors Exchange TOPS Specification 1.66, IEX Transport Specification 1.25",
    carrier: Carrier::Udp,
    role: Role::MarketData,
    clock: ExchangeClock::Epoch,
    shows_orders: false,
    probe: iex::probe::<Tops>,
    open: iex::open::<Tops>,
    message_name: iex::message_name::<Tops>,
};

struct Tops;

impl Feed for Tops {
    const PROTOCOLS: &'static [u16] = &[0x8002, 0x8003]; // TOPS 1.5, TOPS 1.6
    const MESSAGES: &'static [Message] = &[Message::of::<QuoteUpdate>(b'Q', "Quote Update Message")];

    /// Both sides are in one message: neither is *the* price, so they are left to `decode`.
    #[inline]
    fn read(code: u8, bytes: &[u8]) -> Option<Read> {
        (code == b'Q').then(|| {
            let quote = at_least::<QuoteUpdate>(bytes)?;
            let book = BookChange::Quote {
                bid: (quote.bid_price.get(), quote.bid_size.get()),
                ask: (quote.ask_price.get(), quote.ask_size.get()),
            };
            Ok(Content { book, ..Content::of(MarketKind::Quote, quote.symbol, quote.timestamp) })
        })
    }
}

layouts! {
    QuoteUpdate[42] {
        message_type: Code = "Message Type",
        flags: QuoteFlags = "Flags",
        timestamp: I64 = "Timestamp",
        symbol: Stock = "Symbol",
        bid_size: U32 = "Bid Size",
        bid_price: LongPrice = "Bid Price",
        ask_price: LongPrice = "Ask Price",
        ask_size: U32 = "Ask Size",
    }
}

flags! {
    // Set: the symbol is halted, paused or otherwise not available; before or after regular hours.
    QuoteFlags {
        0x80 = "Symbol Availability",
        0x40 = "Market Session",
    }
}
