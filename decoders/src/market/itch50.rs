//! Nasdaq TotalView-ITCH 5.0 (28 April 2023) over `MoldUDP64` 1.00, as Nasdaq, BX and PSX send it. Datagrams go in; one
//! market event a message comes out. The message tables are in `itch50/messages.rs`.

mod messages;
mod skim;
mod stocks;

pub use skim::Skimmer;

use std::sync::Arc;

use messages::{
    AddOrder, AddOrderMpid, AuctionCollar, BreakerStatus, BrokenTrade, CrossTrade, DeclineLevel, DirectListing, Head,
    Imbalance, MESSAGES, MarketParticipantPosition, OperationalHalt, OrderCancel, OrderDelete, OrderExecuted,
    OrderExecutedWithPrice, OrderReplace, QuotingPeriod, RegShoRestriction, RetailInterest, StockDirectory,
    StockTradingAction, SystemEvent, Trade,
};
use serde_json::Value;
use stocks::{KnownStock, Stocks};
use tickscope_model::{BookChange, Decimal, Loss, MarketEvent, MarketKind, Side, SymbolId};

use super::layout::{Fields, Message, Price4, Stock, at_least, exactly, text};
use super::new_york;
use crate::framing::{Sent, moldudp64};
use crate::{Carrier, Decoder, Described, ExchangeClock, Guess, Lessons, Output, Protocol, Role, Skim, UnitKind};

/// Nasdaq TotalView-ITCH 5.0.
pub static PROTOCOL: Protocol = Protocol {
    name: "itch50",
    title: "Nasdaq TotalView-ITCH 5.0 over MoldUDP64",
    spec: "Nasdaq TotalView-ITCH 5.0 (2023-04-28), MoldUDP64 1.00",
    carrier: Carrier::Udp,
    role: Role::MarketData,
    clock: ExchangeClock::NewYorkMidnight,
    shows_orders: true,
    probe,
    open,
    message_name,
};

fn open() -> Box<dyn Decoder> {
    Box::new(Itch50::default())
}

fn message_name(code: u8) -> &'static str {
    Message::find(code, MESSAGES).map_or("", |message| message.name)
}

/// Every message must be of a known type, of exactly its length, and made of values that the specification allows: many
/// venues send other dialects of ITCH over the same envelope. An envelope without messages could be any of them.
fn probe(input: &[u8]) -> Guess {
    let Some((header, mut blocks)) = moldudp64::Header::read(input) else { return Guess::No };
    if !header.has_plausible_session() {
        return Guess::No;
    }
    if header.kind(!blocks.is_empty()) != UnitKind::Data {
        return if blocks.is_empty() { Guess::Maybe } else { Guess::No };
    }
    let mut known = 0;
    while known < header.count() {
        let Some(block) = blocks.take_block() else {
            // Cut by the capture: what is whole must do.
            return if known > 0 { Guess::Yes } else { Guess::No };
        };
        if !is_plausible(block.bytes) {
            return Guess::No;
        }
        known += 1;
    }
    if blocks.is_empty() { Guess::Yes } else { Guess::No }
}

fn is_plausible(bytes: &[u8]) -> bool {
    let Some(message) = bytes.first().and_then(|&code| Message::find(code, MESSAGES)) else { return false };
    let Ok(head) = at_least::<Head>(bytes) else { return false };
    // Section "Architecture": 0 stands for no stock, so only these types may have it, and three of them must.
    let is_locate_plausible = match message.code {
        b'S' | b'V' | b'W' => head.stock_locate.get() == 0,
        b'K' => true,
        _ => head.stock_locate.get() != 0,
    };
    message.size == bytes.len() && is_locate_plausible && (message.is_plausible)(bytes)
}

/// The state of one flow.
#[derive(Default)]
struct Itch50 {
    stocks: Stocks,
    lessons: Lessons,
}

/// A message about a stock. Without its symbol it is counted as lost, but `decode` still prints it.
struct Found {
    event: MarketEvent,
    has_symbol: bool,
}

/// What one message says, before it is known about which symbol.
struct Content {
    kind: MarketKind,
    side: Option<Side>,
    price: Option<Price4>,
    quantity: u64,
    reference: u64,
    book: BookChange,
}

impl Content {
    const STATUS: Content = Content {
        kind: MarketKind::Status,
        side: None,
        price: None,
        quantity: 0,
        reference: 0,
        book: BookChange::None,
    };

    fn of(kind: MarketKind, reference: u64) -> Content {
        Content { kind, reference, ..Content::STATUS }
    }
}

impl Decoder for Itch50 {
    fn decode(&mut self, input: &[u8], out: &mut dyn Output) -> usize {
        let is_described = out.wants_fields();
        moldudp64::decode(input, out, |sent, out| {
            if !sent.is_new {
                return self.read_again(sent.block.bytes, out);
            }
            let result = self.read(&sent, out);
            match &result {
                Ok(Some(found)) if found.has_symbol => out.market(&found.event),
                Ok(Some(_)) => out.loss(Loss::NoSymbol),
                Ok(None) => out.market_other(),
                Err(loss) => out.loss(*loss),
            }
            if is_described && let Ok(found) = result {
                self.describe(sent, found.map(|found| found.event), out);
            }
        });
        input.len()
    }

    fn gap(&mut self) {}

    fn skimmer(&self) -> Option<Arc<dyn Skim>> {
        Some(Arc::new(Skimmer::new(&self.stocks.all())))
    }

    fn lessons(&self) -> Lessons {
        self.lessons
    }
}

impl Itch50 {
    /// `None` for messages that are about no stock.
    #[inline]
    fn read(&mut self, sent: &Sent<'_>, out: &mut dyn Output) -> Result<Option<Found>, Loss> {
        let bytes = sent.block.bytes;
        let Some(&code) = bytes.first() else { return Err(Loss::Malformed) };
        let (head, stock, content) = match code {
            b'A' => add_order(exactly::<AddOrder>(bytes)?),
            b'F' => add_order(&exactly::<AddOrderMpid>(bytes)?.add),
            b'D' => {
                let delete = exactly::<OrderDelete>(bytes)?;
                let order = delete.order_reference_number.get();
                let book = BookChange::Delete { order };
                (&delete.head, None, Content { book, ..Content::of(MarketKind::Book, order) })
            }
            b'U' => replace_order(exactly(bytes)?),
            b'X' => cancel_order(exactly(bytes)?),
            b'E' => executed(exactly(bytes)?),
            b'C' => executed_with_price(exactly(bytes)?),
            b'P' => trade(exactly(bytes)?),
            b'Q' => cross_trade(exactly(bytes)?),
            b'B' => {
                let broken = exactly::<BrokenTrade>(bytes)?;
                (&broken.head, None, Content::of(MarketKind::Trade, broken.match_number.get()))
            }
            b'I' => {
                // Three prices and two quantities: none of them is *the* price, so they are left to `decode`.
                let imbalance = exactly::<Imbalance>(bytes)?;
                let content = Content::of(MarketKind::Auction, 0);
                (
                    &imbalance.head,
                    Some(imbalance.stock),
                    Content { side: imbalance.imbalance_direction.side(), ..content },
                )
            }
            _ => match status(code, bytes)? {
                Some((head, stock)) => (head, Some(stock), Content::STATUS),
                None => return Ok(None),
            },
        };
        let locate = head.stock_locate.get();
        let symbol = match stock {
            Some(stock) => self.learned(locate, stock, out),
            None => self.known(locate).map(|known| known.symbol),
        };
        let Content { kind, side, price, quantity, reference, book } = content;
        let event = MarketEvent {
            symbol: symbol.unwrap_or_default(),
            kind,
            code,
            side,
            price: price.map(Price4::get),
            quantity,
            sequence: sent.sequence,
            reference,
            exchange_ns: head.timestamp.get(),
            book,
        };
        Ok(Some(Found { event, has_symbol: symbol.is_some() }))
    }

    /// A message that another line has brought before: this line learns the name of its stock, and nothing else.
    #[inline]
    fn read_again(&mut self, bytes: &[u8], out: &mut dyn Output) {
        if let (Ok(head), Some(stock)) = (at_least::<Head>(bytes), skim::stock(bytes)) {
            self.learned(head.stock_locate.get(), stock, out);
        }
    }

    #[inline]
    fn known(&self, locate: u16) -> Option<KnownStock> {
        // Locate 0 is shared by all stocks that have none of their own.
        self.stocks.get(locate).filter(|known| locate != 0 && known.key != 0)
    }

    /// The symbol of a message that names its stock. A capture that begins in mid-session has no directory, so the names
    /// in all messages are learned from.
    #[inline]
    fn learned(&mut self, locate: u16, stock: Stock, out: &mut dyn Output) -> Option<SymbolId> {
        let key = stock.key();
        match self.stocks.get(locate) {
            Some(known) if known.key == key && key != 0 => Some(known.symbol),
            _ => self.learn(locate, stock, out),
        }
    }

    #[cold]
    fn learn(&mut self, locate: u16, stock: Stock, out: &mut dyn Output) -> Option<SymbolId> {
        let key = stock.key();
        if key == 0 {
            return None;
        }
        let symbol = out.symbol(&stock.0);
        let before = self.stocks.replace(locate, KnownStock { key, symbol });
        // Locate 0 changes all the time, and skimmers leave it alone.
        if locate != 0 {
            self.lessons.learned += u32::from(before.key == 0);
            self.lessons.corrected += u32::from(before.key != 0);
        }
        Some(symbol)
    }

    #[cold]
    fn describe(&self, sent: Sent<'_>, event: Option<MarketEvent>, out: &mut dyn Output) {
        let bytes = sent.block.bytes;
        let Ok(head) = at_least::<Head>(bytes) else { return };
        let Some(message) = Message::find(head.message_type.0, MESSAGES) else { return };
        let mut fields = Fields::new();
        (message.put_fields)(bytes, &mut fields);
        let known = self.known(head.stock_locate.get()).map(|known| text(&known.key.to_le_bytes()));
        let named = fields.get("Stock").and_then(Value::as_str).map(str::to_owned);
        // An order's id is the one that the book knows it by; of a replacement, that of the order replaced.
        let order_id = fields.get("Order Reference Number").or_else(|| fields.get("Original Order Reference Number"));
        let order_id = order_id.and_then(Value::as_u64).filter(|&id| id != 0).map(|id| id.to_string());
        let side = match fields.get("Buy/Sell Indicator").and_then(Value::as_str) {
            Some("B") => Some(Side::Buy),
            Some("S") => Some(Side::Sell),
            _ => event.and_then(|event| event.side),
        };
        let has_quantity =
            fields.keys().any(|title| matches!(title.as_str(), "Shares" | "Executed Shares" | "Cancelled Shares"));
        let quantity = event.filter(|_| has_quantity).and_then(|event| i64::try_from(event.quantity).ok());
        let described = Described {
            msg: message.name.to_owned(),
            seq: Some(sent.sequence).filter(|&sequence| sequence != 0),
            symbol: named.or(known).filter(|name| !name.is_empty()),
            side,
            price: event.and_then(|event| event.price).map(Decimal::trimmed),
            qty: quantity.map(|quantity| Decimal::new(quantity, 0)),
            order_id,
            exch_t_ns: Some(new_york::since_epoch_ns(head.timestamp.get(), out.now())),
            fields,
            ..Described::default()
        };
        out.described(sent.block.span, described);
    }
}

/// Header, stock and content of a message.
type Read<'a> = (&'a Head, Option<Stock>, Content);

#[inline]
fn add_order(add: &AddOrder) -> Read<'_> {
    let (order, quantity) = (add.order_reference_number.get(), add.shares.get());
    let price = add.price.get();
    let content = Content {
        kind: MarketKind::Book,
        side: add.side.side(),
        price: Some(add.price),
        quantity: quantity.into(),
        reference: order,
        book: add.side.side().map_or(BookChange::None, |side| BookChange::Add { order, side, price, quantity }),
    };
    (&add.head, Some(add.stock), content)
}

#[inline]
fn cancel_order(cancel: &OrderCancel) -> Read<'_> {
    let (order, quantity) = (cancel.order_reference_number.get(), cancel.cancelled_shares.get());
    let book = BookChange::Reduce { order, quantity };
    (&cancel.head, None, Content { quantity: quantity.into(), book, ..Content::of(MarketKind::Book, order) })
}

#[inline]
fn executed(executed: &OrderExecuted) -> Read<'_> {
    let content = Content::of(MarketKind::Trade, executed.match_number.get());
    let (order, quantity) = (executed.order_reference_number.get(), executed.executed_shares.get());
    let book = BookChange::Execute { order, quantity, price: None };
    (&executed.head, None, Content { quantity: quantity.into(), book, ..content })
}

/// The reference is the new one, which the order has from now on.
#[inline]
fn replace_order(replace: &OrderReplace) -> Read<'_> {
    let (new, quantity) = (replace.new_order_reference_number.get(), replace.shares.get());
    let order = replace.original_order_reference_number.get();
    let content = Content {
        price: Some(replace.price),
        quantity: quantity.into(),
        book: BookChange::Replace { order, new, price: replace.price.get(), quantity },
        ..Content::of(MarketKind::Book, new)
    };
    (&replace.head, None, content)
}

/// An execution that is not printable changes the book, but it is printed later, with the cross it belongs to.
#[inline]
fn executed_with_price(executed: &OrderExecutedWithPrice) -> Read<'_> {
    let kind = if executed.printable.0 == b'N' { MarketKind::Book } else { MarketKind::Trade };
    let (order, quantity) = (executed.order_reference_number.get(), executed.executed_shares.get());
    let content = Content {
        price: Some(executed.execution_price),
        quantity: quantity.into(),
        book: BookChange::Execute { order, quantity, price: Some(executed.execution_price.get()) },
        ..Content::of(kind, executed.match_number.get())
    };
    (&executed.head, None, content)
}

/// The side is left out: since 14 July 2014 it is always `B`, whichever side was resting (section 1.5.1).
#[inline]
fn trade(trade: &Trade) -> Read<'_> {
    let content = Content {
        price: Some(trade.price),
        quantity: trade.shares.get().into(),
        ..Content::of(MarketKind::Trade, trade.match_number.get())
    };
    (&trade.head, Some(trade.stock), content)
}

#[inline]
fn cross_trade(cross: &CrossTrade) -> Read<'_> {
    let content = Content {
        price: Some(cross.cross_price),
        quantity: cross.shares.get(),
        ..Content::of(MarketKind::Trade, cross.match_number.get())
    };
    (&cross.head, Some(cross.stock), content)
}

/// Messages that are about no price; `None` for those that are about no stock either.
fn status(code: u8, bytes: &[u8]) -> Result<Option<(&Head, Stock)>, Loss> {
    macro_rules! about {
        ($message:ty) => {{
            let message = exactly::<$message>(bytes)?;
            Ok(Some((&message.head, message.stock)))
        }};
    }
    match code {
        b'R' => about!(StockDirectory),
        b'H' => about!(StockTradingAction),
        b'Y' => about!(RegShoRestriction),
        b'L' => about!(MarketParticipantPosition),
        b'K' => about!(QuotingPeriod),
        b'J' => about!(AuctionCollar),
        b'h' => about!(OperationalHalt),
        b'N' => about!(RetailInterest),
        b'O' => about!(DirectListing),
        b'S' => exactly::<SystemEvent>(bytes).map(|_| None),
        b'V' => exactly::<DeclineLevel>(bytes).map(|_| None),
        b'W' => exactly::<BreakerStatus>(bytes).map(|_| None),
        _ => Err(Loss::UnknownMessage),
    }
}
