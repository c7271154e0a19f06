//! What IEX TOPS and DEEP have in common: the administrative, trade and auction messages, the symbol table, and the way
//! from a datagram of IEX-TP to market events. TOPS 1.66 and DEEP 1.08 specifications of Investors Exchange.

use std::marker::PhantomData;

use serde_json::Value;
use tickscope_model::{BookChange, Decimal, Loss, MarketEvent, MarketKind, Side, SymbolId};
use zerocopy::byteorder::little_endian::{I64, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::layout::{Alpha, Code, Field, Fields, ImbalanceSide, LongPrice, Message, Stock, at_least, layouts};
use crate::framing::{Sent, iextp};
use crate::{Decoder, Described, Guess, Output};

/// The messages that both feeds have, under the specifications' names.
pub(crate) static SHARED: &[Message] = &[
    Message::of::<TradeReport>(b'T', "Trade Report Message"),
    Message::of::<TradeReport>(b'B', "Trade Break Message"),
    Message::of::<AuctionInformation>(b'A', "Auction Information Message"),
    Message::of::<TradingStatus>(b'H', "Trading Status Message"),
    Message::of::<OperationalHaltStatus>(b'O', "Operational Halt Status Message"),
    Message::of::<ShortSalePriceTestStatus>(b'P', "Short Sale Price Test Status Message"),
    Message::of::<SecurityDirectory>(b'D', "Security Directory Message"),
    Message::of::<RetailLiquidityIndicator>(b'I', "Retail Liquidity Indicator Message"),
    Message::of::<OfficialPrice>(b'X', "Official Price Message"),
    Message::of::<SystemEvent>(b'S', "System Event Message"),
];

layouts! {
    SystemEvent[10] {
        message_type: Code = "Message Type",
        system_event: Code = "System Event",
        timestamp: I64 = "Timestamp",
    }

    SecurityDirectory[31] {
        message_type: Code = "Message Type",
        flags: SecurityFlags = "Flags",
        timestamp: I64 = "Timestamp",
        symbol: Stock = "Symbol",
        round_lot_size: U32 = "Round Lot Size",
        adjusted_poc_price: LongPrice = "Adjusted POC Price",
        luld_tier: u8 = "LULD Tier",
    }

    TradingStatus[22] {
        message_type: Code = "Message Type",
        trading_status: Code = "Trading Status",
        timestamp: I64 = "Timestamp",
        symbol: Stock = "Symbol",
        reason: Alpha<4> = "Reason",
    }

    RetailLiquidityIndicator[18] {
        message_type: Code = "Message Type",
        retail_liquidity_indicator: Code = "Retail Liquidity Indicator",
        timestamp: I64 = "Timestamp",
        symbol: Stock = "Symbol",
    }

    OperationalHaltStatus[18] {
        message_type: Code = "Message Type",
        operational_halt_status: Code = "Operational Halt Status",
        timestamp: I64 = "Timestamp",
        symbol: Stock = "Symbol",
    }

    ShortSalePriceTestStatus[19] {
        message_type: Code = "Message Type",
        short_sale_price_test_status: u8 = "Short Sale Price Test Status",
        timestamp: I64 = "Timestamp",
        symbol: Stock = "Symbol",
        detail: Code = "Detail",
    }

    /// Trade Report and Trade Break have the same table.
    TradeReport[38] {
        message_type: Code = "Message Type",
        sale_condition_flags: SaleConditionFlags = "Sale Condition Flags",
        timestamp: I64 = "Timestamp",
        symbol: Stock = "Symbol",
        size: U32 = "Size",
        price: LongPrice = "Price",
        trade_id: I64 = "Trade ID",
    }

    OfficialPrice[26] {
        message_type: Code = "Message Type",
        price_type: Code = "Price Type",
        timestamp: I64 = "Timestamp",
        symbol: Stock = "Symbol",
        official_price: LongPrice = "Official Price",
    }

    AuctionInformation[80] {
        message_type: Code = "Message Type",
        auction_type: Code = "Auction Type",
        timestamp: I64 = "Timestamp",
        symbol: Stock = "Symbol",
        paired_shares: U32 = "Paired Shares",
        reference_price: LongPrice = "Reference Price",
        indicative_clearing_price: LongPrice = "Indicative Clearing Price",
        imbalance_shares: U32 = "Imbalance Shares",
        imbalance_side: ImbalanceSide = "Imbalance Side",
        extension_number: u8 = "Extension Number",
        scheduled_auction_time: U32 = "Scheduled Auction Time",
        auction_book_clearing_price: LongPrice = "Auction Book Clearing Price",
        collar_reference_price: LongPrice = "Collar Reference Price",
        lower_auction_collar: LongPrice = "Lower Auction Collar",
        upper_auction_collar: LongPrice = "Upper Auction Collar",
    }
}

/// A byte of flags: the raw number under its own title, and each flag that appendix A names as true or false.
macro_rules! flags {
    ($($name:ident { $($mask:literal = $title:literal,)* })*) => {$(
        #[derive(FromBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
        #[repr(transparent)]
        pub(crate) struct $name(u8);

        impl Field for $name {
            fn put(&self, title: &str, fields: &mut Fields) {
                fields.insert(title.to_owned(), self.0.into());
                $(fields.insert($title.to_owned(), (self.0 & $mask != 0).into());)*
            }
        }
    )*};
}
pub(crate) use flags;

flags! {
    SecurityFlags {
        0x80 = "Test Security",
        0x40 = "When Issued",
        0x20 = "ETP",
    }
    SaleConditionFlags {
        0x80 = "Intermarket Sweep",
        0x40 = "Extended Hours",
        0x20 = "Odd Lot",
        0x10 = "Trade Through Exempt",
        0x08 = "Single-price Cross",
    }
}

/// What one message says.
pub(crate) struct Content {
    /// `None` for messages that are about no security.
    pub(crate) symbol: Option<Stock>,
    pub(crate) kind: MarketKind,
    pub(crate) side: Option<Side>,
    pub(crate) price: Option<LongPrice>,
    /// `None` where the message has no quantity, or several.
    pub(crate) quantity: Option<u32>,
    pub(crate) reference: u64,
    /// Nanoseconds since the Unix epoch.
    pub(crate) timestamp_ns: u64,
    pub(crate) book: BookChange,
}

impl Content {
    /// A message about a security that carries no price.
    pub(crate) fn of(kind: MarketKind, symbol: Stock, timestamp: I64) -> Content {
        let timestamp_ns = u64::try_from(timestamp.get()).unwrap_or(0);
        let (symbol, book) = (Some(symbol), BookChange::None);
        Content { symbol, kind, side: None, price: None, quantity: None, reference: 0, timestamp_ns, book }
    }
}

/// A message, or why it is none.
pub(crate) type Read = Result<Content, Loss>;

/// One of the two feeds: what it has and the other has not. A trait, so that the compiler puts `read` into the loop.
pub(crate) trait Feed: Send + 'static {
    /// The values of the header's Message Protocol ID.
    const PROTOCOLS: &'static [u16];
    const MESSAGES: &'static [Message];

    /// Reads one of `MESSAGES` by its type; `None` for other types.
    fn read(code: u8, bytes: &[u8]) -> Option<Read>;
}

fn find<F: Feed>(code: u8) -> Option<&'static Message> {
    Message::find(code, F::MESSAGES).or_else(|| Message::find(code, SHARED))
}

pub(crate) fn message_name<F: Feed>(code: u8) -> &'static str {
    find::<F>(code).map_or("", |message| message.name)
}

/// The header names the protocol, so even a heartbeat is certain, provided that lengths and counts agree.
pub(crate) fn probe<F: Feed>(input: &[u8]) -> Guess {
    let Some((header, mut blocks, has_excess)) = iextp::Header::read(input) else { return Guess::No };
    if !F::PROTOCOLS.contains(&header.protocol()) || has_excess || header.count() > header.payload_length() / 2 {
        return Guess::No;
    }
    for _ in 0..header.count() {
        let Some(block) = blocks.take_block() else {
            // Cut by the capture, or a header that contradicts itself.
            return if header.is_cut(input) { Guess::Yes } else { Guess::No };
        };
        // The feed may grow new types and longer messages, but never shorter ones.
        let Some(&code) = block.bytes.first() else { return Guess::No };
        if find::<F>(code).is_some_and(|message| block.bytes.len() < message.size) {
            return Guess::No;
        }
    }
    if blocks.is_empty() { Guess::Yes } else { Guess::No }
}

/// The decoder of either feed.
pub(crate) struct Iex<F> {
    feed: PhantomData<F>,
    symbols: Symbols,
}

pub(crate) fn open<F: Feed>() -> Box<dyn Decoder> {
    Box::new(Iex::<F> { feed: PhantomData, symbols: Symbols::default() })
}

impl<F: Feed> Iex<F> {
    #[inline]
    fn message(&mut self, sent: Sent<'_>, is_described: bool, out: &mut dyn Output) {
        let content = match Self::read(sent.block.bytes) {
            Ok(content) => content,
            Err(loss) => return out.loss(loss),
        };
        match content.symbol.map(|name| self.symbols.number(name, out)) {
            Some(Some(symbol)) => out.market(&MarketEvent {
                symbol,
                kind: content.kind,
                code: sent.block.bytes.first().copied().unwrap_or(0),
                side: content.side,
                price: content.price.map(LongPrice::get),
                quantity: content.quantity.unwrap_or(0).into(),
                sequence: sent.sequence,
                reference: content.reference,
                exchange_ns: content.timestamp_ns,
                book: content.book,
            }),
            Some(None) => out.loss(Loss::NoSymbol),
            None => out.market_other(),
        }
        if is_described {
            Self::describe(sent, &content, out);
        }
    }

    #[inline]
    fn read(bytes: &[u8]) -> Read {
        let Some(&code) = bytes.first() else { return Err(Loss::Malformed) };
        F::read(code, bytes).unwrap_or_else(|| read_shared(code, bytes))
    }

    #[cold]
    fn describe(sent: Sent<'_>, content: &Content, out: &mut dyn Output) {
        let bytes = sent.block.bytes;
        let Some(message) = bytes.first().and_then(|&code| find::<F>(code)) else { return };
        let mut fields = Fields::new();
        (message.put_fields)(bytes, &mut fields);
        let symbol = fields.get("Symbol").and_then(Value::as_str).map(str::to_owned);
        let described = Described {
            msg: message.name.to_owned(),
            seq: Some(sent.sequence).filter(|&sequence| sequence != 0),
            symbol: symbol.filter(|name| !name.is_empty()),
            side: content.side,
            price: content.price.map(|price| price.get().trimmed()),
            qty: content.quantity.map(|quantity| Decimal::new(quantity.into(), 0)),
            exch_t_ns: Some(content.timestamp_ns).filter(|&stamp| stamp != 0),
            fields,
            ..Described::default()
        };
        out.described(sent.block.span, described);
    }
}

impl<F: Feed> Decoder for Iex<F> {
    fn decode(&mut self, input: &[u8], out: &mut dyn Output) -> usize {
        let is_described = out.wants_fields();
        iextp::decode(input, F::PROTOCOLS, out, |sent, out| {
            if sent.is_new {
                self.message(sent, is_described, out);
            }
        });
        input.len()
    }

    fn gap(&mut self) {}
}

/// Longer messages than the tables say are right: both specifications announce that messages may grow at their end.
fn read_shared(code: u8, bytes: &[u8]) -> Read {
    macro_rules! status {
        ($message:ty) => {{
            let message = at_least::<$message>(bytes)?;
            Content::of(MarketKind::Status, message.symbol, message.timestamp)
        }};
    }
    Ok(match code {
        b'T' | b'B' => {
            let trade = at_least::<TradeReport>(bytes)?;
            Content {
                price: Some(trade.price),
                quantity: Some(trade.size.get()),
                reference: u64::try_from(trade.trade_id.get()).unwrap_or(0),
                ..Content::of(MarketKind::Trade, trade.symbol, trade.timestamp)
            }
        }
        b'A' => {
            // Several prices and quantities, none of which is *the* one: they are left to `decode`.
            let auction = at_least::<AuctionInformation>(bytes)?;
            let content = Content::of(MarketKind::Auction, auction.symbol, auction.timestamp);
            Content { side: auction.imbalance_side.side(), ..content }
        }
        b'X' => {
            let official = at_least::<OfficialPrice>(bytes)?;
            let content = Content::of(MarketKind::Status, official.symbol, official.timestamp);
            Content { price: Some(official.official_price), ..content }
        }
        b'S' => {
            let event = at_least::<SystemEvent>(bytes)?;
            Content { symbol: None, ..Content::of(MarketKind::Status, Stock([0; 8]), event.timestamp) }
        }
        b'D' => status!(SecurityDirectory),
        b'H' => status!(TradingStatus),
        b'I' => status!(RetailLiquidityIndicator),
        b'O' => status!(OperationalHaltStatus),
        b'P' => status!(ShortSalePriceTestStatus),
        _ => return Err(Loss::UnknownMessage),
    })
}

/// Symbols to their numbers: open addressing on the eight characters as an integer, at most three quarters full.
#[derive(Default)]
struct Symbols {
    /// A power of two; key 0 is an empty place.
    places: Vec<(u64, SymbolId)>,
    used: usize,
}

impl Symbols {
    /// Five times what is listed in the United States; beyond it, messages count as [`Loss::NoSymbol`].
    const LIMIT: usize = 1 << 16;

    /// `None` for a blank symbol, and beyond the limit.
    #[inline]
    fn number(&mut self, name: Stock, out: &mut dyn Output) -> Option<SymbolId> {
        match self.places.get(self.place(name.key())) {
            Some(&(key, symbol)) if key == name.key() && key != 0 => Some(symbol),
            _ => self.learn(name, out),
        }
    }

    /// Where this key is, or the empty place where it belongs.
    #[inline]
    fn place(&self, key: u64) -> usize {
        let mask = self.places.len().wrapping_sub(1);
        // Fibonacci hashing: the upper bits of the product depend on all bits of the key.
        let product = key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let mut place = usize::try_from(product).unwrap_or(0) & mask;
        while self.places.get(place).is_some_and(|&(other, _)| other != key && other != 0) {
            place = (place + 1) & mask;
        }
        place
    }

    #[cold]
    fn learn(&mut self, name: Stock, out: &mut dyn Output) -> Option<SymbolId> {
        if name.key() == 0 || self.used >= Symbols::LIMIT {
            return None;
        }
        if self.used * 4 >= self.places.len() * 3 {
            self.grow();
        }
        let symbol = out.symbol(&name.0);
        let place = self.place(name.key());
        *self.places.get_mut(place)? = (name.key(), symbol);
        self.used += 1;
        Some(symbol)
    }

    fn grow(&mut self) {
        let larger = vec![(0, SymbolId::default()); (self.places.len() * 2).max(1024)];
        for (key, symbol) in std::mem::replace(&mut self.places, larger) {
            let place = self.place(key);
            if let Some(empty) = self.places.get_mut(place).filter(|_| key != 0) {
                *empty = (key, symbol);
            }
        }
    }
}
