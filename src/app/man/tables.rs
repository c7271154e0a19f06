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
             request, each at the point where its tap stands. It is an inference: the newest message of a preferred kind \
             ([trigger] messages) on the request's symbol within the window, else the newest of any kind. trigger_method \
             names the rule and trigger_confidence says how sure it is."
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
            "From an order to its first fill, only where it was marketable when it came. No book is asked: the order says so \
             itself (market order, immediate-or-cancel, fill-or-kill), or it was filled at once: the fill's TransactTime is that \
             of the acknowledgement, or both came in one frame. What rests first waits for other people's orders."
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
        Method::Price => "the message's price explains the order's",
        Method::Latest => "the newest message on the same symbol within the window",
        Method::Link => "a configured link between instruments",
        Method::Fill => "a fill of the trading system's own made it act",
    }
}

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
    ("trigger_feed", "Its feed: group:port and line."),
    ("trigger_seq", "Its own sequence number in its feed."),
    ("trigger_msg", "The protocol's own name of the message."),
    ("trigger_symbol", "Its symbol."),
    ("trigger_method", "The rule that chose it."),
    (
        "trigger_confidence",
        "How sure that is: 1 divided by the number of candidates. Candidates are the messages of preferred kinds on the \
         symbol that came within twice the typical latency (the median of t2t so far) before the request; the newest is \
         always one. Until 64 latencies are known, only messages of one time are candidates together.",
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
    ("t2t_min_ns", "Where there are several candidates: the latency from the newest, which is t2t_ns."),
    ("t2t_max_ns", "Likewise: the latency from the oldest candidate."),
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
        for kind in SegmentKind::ALL.iter().filter(|&&kind| kind != SegmentKind::Hop && !kind.is_part()) {
            let column = format!("{}_ns", kind.name());
            assert!(ORDERS.iter().any(|&(name, _)| name == column), "{column}");
        }
        assert!(REQUESTS.iter().all(|request| request.is_request()));
    }
}
