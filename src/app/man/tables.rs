//! What the manual says beyond the options: latencies, columns, keys, exit codes, variables, files.
//! Where the program has a list of its own (latencies, flags, losses, protocols) the page is made from that list;
//! a `match` over it without a default makes a new entry without words a compile error.

use tickscope_model::{Level, OrderKind, SegmentKind};

use crate::pair::Method;

/// A name and what it means.
pub type Row = (&'static str, &'static str);

/// What a latency spans.
pub fn segment(kind: SegmentKind) -> &'static str {
    match kind {
        SegmentKind::TickToTrade => {
            "Tick-to-trade, G\u{2192}K: from the market-data message that made the trading system act (the trigger) to the \
             request, each at the point where its tap stands. It is an inference: see WHICH MESSAGE CAUSED A REQUEST. \
             trigger_method names what decided and trigger_confidence says how sure it is."
        }
        SegmentKind::FillToRequest => {
            "From a private report of a fill to the request that it caused (a hedge, a cancel after a fill): such a \
             request has the trigger_method fill and no t2t."
        }
        SegmentKind::TcpAck => {
            "From the request to the first segment from the other side that acknowledges its last byte. Where that \
             segment carries the answer itself the row has the flag ack_with_answer, and the value stays out of the \
             figures."
        }
        SegmentKind::Ack => "From the request to its acknowledgement (FIX: ExecType 0; FIX 4.0: OrdStatus 0).",
        SegmentKind::Reject => {
            "From the request to its rejection: ExecType 8, OrderCancelReject of a cancel or replace, session or \
             business reject of this message."
        }
        SegmentKind::FirstFill => "From the request to the first execution report with a fill whose ClOrdID names it.",
        SegmentKind::FullFill => "From the request to the fill that left nothing open.",
        SegmentKind::CancelAck => {
            "From a cancel request to its confirmation. A cancel that nobody asked for answers nothing."
        }
        SegmentKind::ReplaceAck => "From a replace request to its confirmation.",
        SegmentKind::WallToWall => {
            "Wall to wall: where a gateway passes a request on, from its sighting in the one session to that in the other."
        }
        SegmentKind::Hop => "The same request, seen at a second tap.",
        SegmentKind::OrderToFill => {
            "From an order to its first fill, only where it was marketable when it came: the order says so itself (market \
             order, immediate-or-cancel, fill-or-kill), it was filled at once (the fill's TransactTime is that of the \
             acknowledgement, or both came in one frame), or it stood at the best price of the other side, or beyond, in the \
             book as it was when it was sent. What rests first waits for other people's orders."
        }
        SegmentKind::AckToFill => {
            "From the acknowledgement of such an order to its first fill; 0 where both came in one frame."
        }
        SegmentKind::OrderToMd => {
            "From the request to the public market-data message about it: the one with the order reference number that \
             the exchange's answer names as OrderID, else (inferred) the only one of the same symbol, side, price and \
             quantity, or of the same price and quantity as the fill, within 2 ms of the answer. Feeds that show single orders \
             show the other side's where something trades: a request that was filled at once is not looked for there but by \
             that number."
        }
        SegmentKind::PrivateFirst => {
            "How long the answer (of an inferred trade: the fill) was ahead of that public message; 0 where they are of \
             one time."
        }
        SegmentKind::PublicFirst => "How long that public message was ahead of the answer, where it was.",
        SegmentKind::InExchange => {
            "Inside the exchange by its own clock: from TransactTime (60) to SendingTime (52) of the first answer. Only \
             where both stamps are finer than the latency of the answer."
        }
        SegmentKind::WireResidual => {
            "The latency of the first answer less in_exchange: network, network cards, and whatever lies in front of the \
             exchange's first stamp. A difference of two intervals, so no clocks need to agree."
        }
        SegmentKind::GatewayIn => {
            "Inside the exchange by its own clock, where the first answer says so: from RequestTime, when the gateway had the \
             request (FIX: 5979 in nanoseconds since 1970), to the beginning of matching (TrdRegTimestamp of type 2, time in)."
        }
        SegmentKind::Matching => {
            "Likewise: from the beginning of matching to its end (TrdRegTimestamp of type 3, time out)."
        }
        SegmentKind::GatewayOut => "Likewise: from the end of matching to SendingTime of the answer.",
    }
}

/// Every rule that chooses a trigger.
pub const METHODS: [Method; 5] = [Method::Id, Method::Price, Method::Latest, Method::Link, Method::Fill];

/// What a rule does.
pub fn method(method: Method) -> &'static str {
    match method {
        Method::Id => "the order carries the message's own id",
        Method::Price => {
            "likewise, and it explains the order's price: it created, changed or took the level at which the order \
             stands, or made the best price that the order takes or joins"
        }
        Method::Latest => "the likeliest message on the symbol, by its age and kind alone",
        Method::Link => "a configured link between instruments",
        Method::Fill => "a fill of the trading system's own made it act",
    }
}

/// How triggers are found, in paragraphs.
pub const CAUSES: &[&str] = &[
    "Candidates are the messages of the kinds in [trigger] messages about the request's symbol, not older than the \
     window and not younger than min; private reports of fills; and, by [[trigger.link]], messages about other symbols. \
     A [[trigger.id]] that names a message decides alone.",
    "A model of the order stream weighs the candidates against each other and against nothing: requests come by \
     themselves at a background rate, which depends on how busy the symbol is at that moment, and each message brings \
     further ones after a latency. How long that takes, how many requests each kind of message brings, and how much more \
     often they stand at the price that the message was about, is learned from the requests themselves. For this, books \
     of the symbols in the order flow are kept ([trigger] books says of which captures); one that began in mid-stream, or \
     misses messages, gives its rows the flag book_partial. Without books age and type of the messages have to do. What \
     has caused a request of a session already hardly causes another one much later.",
    "The model is learned from the whole capture (two-pass, the default), or for each request only from what came before \
     it (causal): [trigger] model. The report names which. With few requests, what is believed of traders in general \
     fills the gap: trades and new best prices are acted upon, the first of several messages in a packet before the \
     others.",
    "A request that is more likely caused by nothing than by all candidates together is untriggered. t2t_min_ns and \
     t2t_max_ns are the bracket between the candidates that are at all likely (2 % and more), where there are several.",
    "The report counts requests as exact (by id), likely (confidence of [trigger] confidence or more), ambiguous and \
     untriggered, in the whole and by session, outcome and symbol (e/l/a/u; causes in JSON). Tails of t2t and \
     fill_to_request, which are p99 and all above, are stated over exact and likely pairs alone: where there are others, \
     the latency's line in the first table has none, and a second line (t2t \u{2265} 0.90) has all figures of those pairs; \
     tables by session, outcome and symbol have p99 \u{2265} 0.90. In JSON, p99_ns, p99_9_ns, p99_99_ns and \
     p99_over_p50 of these two are over those pairs wherever they stand (null where there are none), and tails_over says \
     over how many (n) and how sure (confidence); n, min, max, mean, p50 and p90 are over all. The files of --hgrm and \
     --hlog hold all pairs. Beside the tails stands the same percentile if every pair was caused by its newest, and by its \
     oldest likely candidate, and how many are sure at which rate of messages. \
     What can be said without claiming any pair (how many more requests than moments moved away from them come so shortly \
     behind a message) is said as well.",
    "Where books are kept, the report also suggests links between instruments; it never applies them. The stretch of time \
     before a new order is cut into sixteen windows, at nineteen scales from 256 ns to 67 ms a window. If another symbol has \
     nothing to do with the order, the last window has messages (or trades) of it no more often than the others have. Only \
     orders count before which all else was silent for the whole stretch: no message about the order's own symbol, no \
     private fill, no other new order in the symbol. So what shares packets or bursts with an ordinary cause is none, and links of a \
     symbol that is never silent for sixteen latencies are not found. Of all pairs of symbols those are named that pass at \
     a false discovery rate of 1 %, explain five orders or more and a tenth of those that count, and explain some \
     that no clearer link of the symbol explains. For trades a condition for [[trigger.link]] is given, with the price from \
     which on they cause orders where there is one; for other messages (quotes, the book) only the trader knows the condition. \
     In --json these are attribution.suggested_links: orders and symbol; messages, trades or any; requests of so many (of) that have \
     one within_ns before them, expected by chance, the most usual lag mode_ns, z, and the condition when, or null.",
];

/// The levels at which everything is accounted for.
pub fn level(level: Level) -> &'static str {
    match level {
        Level::Frame => "Frames",
        Level::Stream => "Bytes of TCP streams",
        Level::Message => "Messages",
        Level::Order => "Requests and answers",
    }
}

/// Every kind of request, in the order of the manual.
pub const REQUESTS: [OrderKind; 6] = [
    OrderKind::New,
    OrderKind::Replace,
    OrderKind::Cancel,
    OrderKind::MassCancel,
    OrderKind::Quote,
    OrderKind::MassQuote,
];

/// Columns of `--orders`, in their order.
pub const ORDERS: &[Row] = &[
    ("tap", "Tap that saw the request."),
    ("session", "SENDER->TARGET of FIX, or the nearest equal."),
    ("clordid", "ClOrdID; of quotes the QuoteID."),
    ("orig_clordid", "OrigClOrdID."),
    ("chain", "ClOrdID of the first order of the chain that replaces and cancels continue."),
    ("request", "Kind of request."),
    ("symbol", "Symbol."),
    ("side", "B buy, S sell, SS sell short, SSE sell short exempt."),
    ("price", "Limit price as decimal text; in Parquet a decimal."),
    ("qty", "Order quantity."),
    ("t_out_ns", "Time of the request: the frame that carries its last byte, the first time that byte is seen."),
    (
        "trigger_t_ns",
        "Time of the trigger; this and the other trigger columns are empty where none explains the request.",
    ),
    ("trigger_feed", "Its feed: group:port and line; of a fill the session that reported it."),
    ("trigger_seq", "Its own sequence number in its feed; of a fill the MsgSeqNum (34) of the report."),
    ("trigger_msg", "The protocol's own name of the message."),
    ("trigger_symbol", "Its symbol."),
    ("trigger_method", "The rule that chose it."),
    (
        "trigger_confidence",
        "How sure that is, 0 to 1: the probability that this very message caused the request, see WHICH MESSAGE CAUSED A \
         REQUEST; 1 where an id names it.",
    ),
    ("t2t_ns", "Tick-to-trade latency."),
    (
        "tcp_ack_ns",
        "Latency of the TCP acknowledgement; also where it rode on the answer, see the flag ack_with_answer.",
    ),
    ("ack_ns", "Latency of the acknowledgement."),
    ("reject_ns", "Latency of the rejection."),
    ("first_fill_ns", "Latency of the first fill."),
    ("full_fill_ns", "Latency of the fill that left nothing open."),
    ("cancel_ack_ns", "Latency of a cancel's confirmation."),
    ("replace_ack_ns", "Latency of a replace's confirmation."),
    ("w2w_ns", "Wall to wall latency, on the later of the two rows."),
    ("flags", "What makes the row doubtful: words with spaces between them, see FLAGS."),
    (
        "t2t_min_ns",
        "Where several candidates are likely enough (2 % and more): the latency from the newest of them. t2t_ns is that \
         from the likeliest, and lies between the two. Empty where an id or a fill decided.",
    ),
    ("t2t_max_ns", "Likewise: the latency from the oldest of them."),
    (
        "error_ns",
        "\u{b1} of those latencies of the row that lie between two clocks, of several the largest; empty where none does, or \
         where nobody said how well the clocks are kept.",
    ),
];

/// Columns of `--segments`, in their order.
pub const SEGMENTS: &[Row] = &[
    ("segment", "Name of the latency, see LATENCIES."),
    ("t_ns", "Time of the request that it belongs to."),
    ("latency_ns", "The latency."),
    ("tap", "Tap that saw the request."),
    ("session", "As in ORDERS."),
    ("symbol", "Symbol."),
    ("clordid", "ClOrdID of the request."),
    ("request", "Kind of request."),
    ("error_ns", "\u{b1} of the latency, where its ends stand on different clocks and their error is known."),
];

/// Keys of a line of `decode`, in their order.
pub const DECODED: &[Row] = &[
    ("frame", "Number of the frame in its file, from 1."),
    ("file", "The file."),
    ("t_ns", "Time of the message: the frame that carries its last byte, the first time that byte is seen."),
    ("t", "The same as text, seconds.nanoseconds, since many JSON readers cut integers at 53 bits."),
    ("flow", "src:port>dst:port."),
    ("protocol", "Name of the protocol."),
    ("msg", "The protocol's own name of the message."),
    ("seq", "Its sequence number in its feed or session."),
    ("symbol", "Symbol."),
    ("security_id", "The exchange's id of the instrument."),
    ("side", "B, S, SS (short) or SSE (short exempt)."),
    ("price", "Price as decimal text."),
    ("qty", "Quantity, a number; decimal where the message has it so."),
    ("order_id", "The exchange's order reference or OrderID."),
    ("exch_t_ns", "The exchange's own time, nanoseconds since the epoch."),
    ("exch_t", "The same as text, seconds.nanoseconds."),
    ("clordid", "ClOrdID or its nearest equal."),
    ("fields", "The whole message under the protocol's own field names, repeating groups as arrays."),
];

/// What `doctor` may say of a thing.
pub const VERDICTS: &[Row] = &[
    ("ok", "Nothing to change."),
    ("warn", "Captures, but loses more, or has worse times, than it could."),
    ("bad", "Nothing is captured, or times are wrong. The exit code is 4."),
    ("unknown", "It may not be looked at here, or nobody says; the text says why."),
];

/// Keys of `doctor --json`.
pub const DOCTOR: &[Row] = &[
    ("verdict", "The worst of all: bad, warn, unknown, ok."),
    ("counts", "How many checks have each verdict."),
    ("not_checked", "Ethernet interfaces that nobody named and that are off, or have no device."),
    ("checks", "A list of checks."),
    ("name", "Of the check, as above."),
    ("interface", "Its interface; null for the machine."),
    ("verdict (in checks)", "Of this check."),
    ("found", "What was found, with its unit, for people."),
    ("values", "The same as an object, units at the end of names; what it holds depends on the check."),
    ("from", "Where that was read: a path, or the request that asked the kernel."),
    ("why", "Why it matters."),
    ("commands", "What changes it, each by itself; empty where it is ok or no command can."),
];

/// Exit codes.
pub const EXITS: &[Row] = &[
    ("0", "Done; also where the reader of a pipe closed it."),
    ("1", "Could not do it. One line on stderr gives the reason, with the file and the byte offset or frame."),
    ("2", "Wrong usage."),
    ("3", "Done, but --strict was given and data was lost, cut or could not be decoded."),
    ("4", "A check or a given threshold failed."),
];

/// Environment variables.
pub const VARIABLES: &[Row] = &[
    ("TICKSCOPE_CONFIG", "Configuration file, where --config names none."),
    ("NO_COLOR", "Where it is set and not empty, --color auto means never."),
    ("TMPDIR", "Folder for rows that --orders and --segments have to sort; /tmp where it is not set."),
    ("XDG_CONFIG_HOME", "Folder of the user's configuration; ~/.config where it is not set."),
];

/// Where a configuration is looked for.
pub const FILES: &[Row] = &[
    ("./tickscope.toml", "Read first, but not as root: a folder that others write to should not steer root."),
    ("$XDG_CONFIG_HOME/tickscope/config.toml", "Read where the former is not there."),
    ("/etc/tickscope/config.toml", "Read where none of the former is there."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_latencies_carry_the_names_of_the_latencies() {
        // A hop is no row's, and the trigger's time says what fill_to_request is.
        let has_column =
            |kind: SegmentKind| !matches!(kind, SegmentKind::Hop | SegmentKind::FillToRequest) && !kind.is_part();
        for kind in SegmentKind::ALL.iter().filter(|&&kind| has_column(kind)) {
            let column = format!("{}_ns", kind.name());
            assert!(ORDERS.iter().any(|&(name, _)| name == column), "{column}");
        }
        assert!(REQUESTS.iter().all(|request| request.is_request()));
    }
}
