//! What decoders say: market events (small, owned) and order events (borrowed for one call).

use crate::Decimal;

/// A symbol's number in the run's own table; a name is looked up once, then only the number travels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SymbolId(pub u32);

/// Buy or sell, as `--orders` prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// `B`
    Buy,
    /// `S`
    Sell,
    /// `SS`: sell short.
    SellShort,
    /// `SSE`: sell short exempt.
    SellShortExempt,
}

impl Side {
    /// The text that files carry.
    pub fn text(self) -> &'static str {
        match self {
            Side::Buy => "B",
            Side::Sell => "S",
            Side::SellShort => "SS",
            Side::SellShortExempt => "SSE",
        }
    }
}

/// What a market-data message is about; `[trigger] messages` selects by these names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MarketKind {
    /// A trade print (also a trade break or a cross).
    Trade,
    /// A best-price update of a top-of-book feed.
    Quote,
    /// A change of the book: an order or price level appeared, changed or went. It may have moved the best price.
    Book,
    /// Auction or imbalance information.
    Auction,
    /// Trading status, halts, collars, directory entries and the like: about the symbol, not about a price.
    Status,
}

impl MarketKind {
    /// The name in the configuration and the report.
    pub fn name(self) -> &'static str {
        match self {
            MarketKind::Trade => "trade",
            MarketKind::Quote => "quote",
            MarketKind::Book => "book",
            MarketKind::Auction => "auction",
            MarketKind::Status => "status",
        }
    }
}

/// What a message does to the book of its symbol, as far as the message itself says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BookChange {
    /// Nothing.
    #[default]
    None,
    /// An order rests from now on.
    Add {
        /// Its reference.
        order: u64,
        /// Its side.
        side: Side,
        /// Its price.
        price: Decimal,
        /// Its shares.
        quantity: u32,
    },
    /// A part of a resting order was traded; `price` where it was not the order's own.
    Execute {
        /// Its reference.
        order: u64,
        /// So many shares.
        quantity: u32,
        /// The price of the trade, where it was another.
        price: Option<Decimal>,
    },
    /// A part of a resting order was taken away.
    Reduce {
        /// Its reference.
        order: u64,
        /// So many shares.
        quantity: u32,
    },
    /// A resting order is gone.
    Delete {
        /// Its reference.
        order: u64,
    },
    /// A resting order became another one, of the same side.
    Replace {
        /// The reference that it had.
        order: u64,
        /// The reference that it has from now on.
        new: u64,
        /// Its new price.
        price: Decimal,
        /// Its new shares.
        quantity: u32,
    },
    /// A price level of a book without orders: what is shown there from now on, 0 where it is gone.
    Level {
        /// Its side.
        side: Side,
        /// Its price.
        price: Decimal,
        /// What is shown.
        quantity: u32,
    },
    /// Both best prices of a feed that has no more than those; a size of 0: none on that side.
    Quote {
        /// Price and size of the best bid.
        bid: (Decimal, u32),
        /// Price and size of the best offer.
        ask: (Decimal, u32),
    },
}

/// One message of a market-data feed about one symbol.
#[derive(Clone, Copy, Debug)]
pub struct MarketEvent {
    /// Whom it is about.
    pub symbol: SymbolId,
    /// What it is about.
    pub kind: MarketKind,
    /// The protocol's own type byte; `Protocol::message_name` gives its name.
    pub code: u8,
    /// Side of the order or level, where the message has one.
    pub side: Option<Side>,
    /// Price, where the message has one.
    pub price: Option<Decimal>,
    /// Shares or contracts; 0 where the message has none.
    pub quantity: u64,
    /// The message's own sequence number in its feed; 0 where the feed has none.
    pub sequence: u64,
    /// Order reference, trade id or match number, by message; 0 where there is none.
    pub reference: u64,
    /// The exchange's own stamp in nanoseconds, on the clock that `Protocol::clock` names; 0 where there is none.
    pub exchange_ns: u64,
    /// What it does to the book.
    pub book: BookChange,
}

/// What an order-entry message does, in the terms of `--orders`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrderKind {
    /// Request: a new order.
    New,
    /// Request: cancel/replace.
    Replace,
    /// Request: cancel.
    Cancel,
    /// Request: cancel of all orders of a kind.
    MassCancel,
    /// Request: a quote.
    Quote,
    /// Request: a mass quote.
    MassQuote,
    /// Answer: the order, or quote, is accepted.
    Ack,
    /// Answer that is none: pending new, pending cancel, pending replace.
    Pending,
    /// Answer: rejected (execution report, cancel reject, business reject, quote reject).
    Reject,
    /// Answer: traded; `leaves` and `order_status` say whether that was the last of it.
    Fill,
    /// Answer: the order is cancelled.
    Canceled,
    /// Answer: the order is replaced.
    Replaced,
    /// Session: logon; `reset` says that sequence numbers start anew.
    Logon,
    /// Session: logout.
    Logout,
    /// Session-level reject of the message with number `ref_sequence`.
    SessionReject,
    /// Anything else that is valid: heartbeats, status, corrections, busts, news.
    Other,
}

impl OrderKind {
    /// Whether this goes towards the exchange and wants an answer.
    pub fn is_request(self) -> bool {
        matches!(
            self,
            OrderKind::New
                | OrderKind::Replace
                | OrderKind::Cancel
                | OrderKind::MassCancel
                | OrderKind::Quote
                | OrderKind::MassQuote
        )
    }

    /// The `request` column of `--orders`; empty for what is no request.
    pub fn request_name(self) -> &'static str {
        match self {
            OrderKind::New => "new",
            OrderKind::Replace => "replace",
            OrderKind::Cancel => "cancel",
            OrderKind::MassCancel => "mass_cancel",
            OrderKind::Quote => "quote",
            OrderKind::MassQuote => "mass_quote",
            _ => "",
        }
    }
}

/// One order-entry message, or one order of a list. Text is borrowed from the wire and lives for one call.
/// An absent text field is empty.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "independent facts of a message, not the states of one machine")]
pub struct OrderEvent<'a> {
    /// What it does.
    pub kind: OrderKind,
    /// The protocol's own type of message (FIX tag 35).
    pub message: &'a [u8],
    /// Sender (FIX 49).
    pub sender: &'a [u8],
    /// Target (FIX 56).
    pub target: &'a [u8],
    /// The message's own sequence number in its session.
    pub sequence: u64,
    /// A copy of something sent before (PossDupFlag or PossResend): neither a request nor an answer.
    pub is_copy: bool,
    /// The checksum or length of the message did not hold.
    pub is_damaged: bool,
    /// A logon that resets sequence numbers.
    pub reset: bool,
    /// ClOrdID, QuoteID or the nearest equal.
    pub clordid: &'a [u8],
    /// OrigClOrdID.
    pub orig_clordid: &'a [u8],
    /// The exchange's OrderID.
    pub order_id: &'a [u8],
    /// ExecID.
    pub exec_id: &'a [u8],
    /// Symbol (FIX 55).
    pub symbol: &'a [u8],
    /// SecurityID (FIX 48).
    pub security_id: &'a [u8],
    /// Side.
    pub side: Option<Side>,
    /// Limit price.
    pub price: Option<Decimal>,
    /// Order quantity.
    pub quantity: Option<Decimal>,
    /// Price of this fill.
    pub last_price: Option<Decimal>,
    /// Quantity of this fill.
    pub last_quantity: Option<Decimal>,
    /// What is still open after this report.
    pub leaves: Option<Decimal>,
    /// OrdStatus (FIX 39), 0 where absent.
    pub order_status: u8,
    /// ExecType (FIX 150), 0 where absent.
    pub exec_type: u8,
    /// RefSeqNum of a session or business reject; 0 where absent.
    pub ref_sequence: u64,
    /// SendingTime (FIX 52) in nanoseconds since the Unix epoch; 0 where absent.
    pub sending_ns: u64,
    /// TransactTime (FIX 60) in nanoseconds since the Unix epoch; 0 where absent.
    pub transact_ns: u64,
    /// The whole message as it was on the wire, for what only a user's rule asks for; empty for the orders of a list.
    pub raw: &'a [u8],
    /// A request that trades when it comes or not at all: a market order, immediate-or-cancel, fill-or-kill.
    pub is_immediate: bool,
    /// When a report's request passed the exchange's stations.
    pub stations: Stations,
}

/// What an exchange says of a request's way through it, by its own clock: nanoseconds since the Unix epoch, 0 where absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stations {
    /// Its gateway had the request (`RequestTime` of ETI and of FIX 5979).
    pub request_ns: u64,
    /// Matching began (`TrdRegTSTimeIn`; FIX 769 of type 2).
    pub in_ns: u64,
    /// Matching was done (`TrdRegTSTimeOut`; FIX 769 of type 3).
    pub out_ns: u64,
}

impl Default for OrderEvent<'_> {
    fn default() -> Self {
        OrderEvent {
            kind: OrderKind::Other,
            message: b"",
            sender: b"",
            target: b"",
            sequence: 0,
            is_copy: false,
            is_damaged: false,
            reset: false,
            clordid: b"",
            orig_clordid: b"",
            order_id: b"",
            exec_id: b"",
            symbol: b"",
            security_id: b"",
            side: None,
            price: None,
            quantity: None,
            last_price: None,
            last_quantity: None,
            leaves: None,
            order_status: 0,
            exec_type: 0,
            ref_sequence: 0,
            sending_ns: 0,
            transact_ns: 0,
            raw: b"",
            is_immediate: false,
            stations: Stations::default(),
        }
    }
}
