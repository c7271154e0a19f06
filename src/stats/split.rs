//! What external latency consists of: a histogram for each part, only over the requests for which its condition holds, and
//! beside it how many others there were and why not. The names are those of `--json`.

use tickscope_model::{OrderKind, SegmentKind};

use super::{Histogram, OneWay};
use crate::hash::HashMap;
use crate::pair::{Answer, Evidence, FillKind, Flag, OrderRow, PublicKind, Residual, Way};

macro_rules! parts {
    ($($variant:ident = $name:literal, $text:literal;)*) => {
        /// A part of external latency, or a selection of it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Part { $(#[doc = $text] $variant),* }
        impl Part {
            pub const ALL: &'static [Part] = &[$(Part::$variant),*];
            pub fn name(self) -> &'static str { match self { $(Part::$variant => $name),* } }
            /// What it spans, for the manual.
            pub fn text(self) -> &'static str { match self { $(Part::$variant => $text),* } }
        }
    };
}

parts! {
    Network = "tcp_ack",
        "from the request to a TCP acknowledgement that does not ride on an answer, of bytes that were sent once; a host \
         may delay it, so the shortest tell most";
    New = "order_to_ack_new", "from the request to the first answer, where that accepts an order or quote";
    Replaced = "order_to_ack_replaced", "the same, where it confirms a replace";
    Cancelled = "order_to_ack_cancelled", "the same, where it confirms a cancel";
    Rejected = "order_to_ack_rejected", "the same, where the exchange's application rejects";
    SessionRejected = "order_to_ack_session_rejected", "the same, where the session rejects (35=3)";
    Retransmitted = "order_to_ack_retransmitted",
        "from requests that TCP sent more than once to the first answer (nobody knows which copy it answers); they stand \
         here and in no other line that begins with the request";
    OrderToFill = "order_to_fill",
        "see LATENCIES; what rested first is counted beside it, and the report says what told that the others were marketable";
    AckToFill = "ack_to_fill", "see LATENCIES";
    CancelToOut = "cancel_to_out", "from a cancel or replace to its confirmation, both kinds together";
    OrderToMd = "order_to_md", "see LATENCIES";
    PrivateFirst = "private_first", "see LATENCIES";
    PublicFirst = "public_first", "see LATENCIES";
    InExchange = "in_exchange", "see LATENCIES";
    WireResidual = "wire_residual", "see LATENCIES";
    GatewayIn = "gateway_in", "see LATENCIES";
    Matching = "matching", "see LATENCIES";
    GatewayOut = "gateway_out", "see LATENCIES";
    OutLeast = "oneway_out_min",
        "the least that the way from us to the exchange's first stamp (TransactTime of the first answer) can have taken, \
         whatever its clock shows: see THE EXCHANGE'S CLOCK";
    OutMost = "oneway_out_max", "the most that it can have taken";
    BackLeast = "oneway_back_min", "the least that the way from the exchange's last stamp (SendingTime) to us can have taken";
    BackMost = "oneway_back_max", "the most that it can have taken";
    Batch1 = "batch_1", "from the request to the first answer, of the first request in a TCP segment with several";
    Batch2 = "batch_2", "the same of the second";
    Batch3 = "batch_3", "the same of the third";
    Batch4 = "batch_4_up", "the same of the fourth and all behind it";
}

impl Part {
    /// The latencies that it is made of.
    pub fn segments(self) -> &'static [SegmentKind] {
        use SegmentKind as Kind;
        match self {
            Part::Network => &[Kind::TcpAck],
            Part::OrderToFill => &[Kind::OrderToFill],
            Part::AckToFill => &[Kind::AckToFill],
            Part::CancelToOut => &[Kind::CancelAck, Kind::ReplaceAck],
            Part::OrderToMd => &[Kind::OrderToMd],
            Part::PrivateFirst => &[Kind::PrivateFirst],
            Part::PublicFirst => &[Kind::PublicFirst],
            Part::InExchange => &[Kind::InExchange],
            Part::WireResidual => &[Kind::WireResidual],
            Part::GatewayIn => &[Kind::GatewayIn],
            Part::Matching => &[Kind::Matching],
            Part::GatewayOut => &[Kind::GatewayOut],
            Part::OutLeast | Part::OutMost | Part::BackLeast | Part::BackMost => &[],
            Part::New
            | Part::Replaced
            | Part::Cancelled
            | Part::Rejected
            | Part::SessionRejected
            | Part::Retransmitted
            | Part::Batch1
            | Part::Batch2
            | Part::Batch3
            | Part::Batch4 => &[Kind::Ack, Kind::Reject, Kind::CancelAck, Kind::ReplaceAck],
        }
    }
}

/// One part: its values, and the requests that have none.
#[derive(Clone, Debug, Default)]
pub struct PartFigures {
    pub values: Histogram,
    /// In the order in which they were met.
    pub without: Vec<(&'static str, u64)>,
}

/// See the head of this file.
#[derive(Clone, Debug)]
pub struct Split {
    parts: Vec<PartFigures>,
    one_way: HashMap<std::sync::Arc<str>, OneWay>,
    /// Values of `order_to_md` that rest on price and quantity.
    pub inferred: u64,
    /// Orders that were filled at once, by what tells that they were marketable.
    marketable: [u64; Evidence::ALL.len()],
}

impl Default for Split {
    fn default() -> Self {
        Split {
            parts: vec![PartFigures::default(); Part::ALL.len()],
            one_way: HashMap::default(),
            inferred: 0,
            marketable: Default::default(),
        }
    }
}

/// Why a request was not found in market data, where nobody looked; said only beside other reasons.
const NOT_LOOKED: &str = "rejected or not looked for";
/// Karn and Partridge 1987: what was sent twice has no latency that one could know.
const SENT_AGAIN: &str = "sent again";
/// Both ends of both intervals.
const ONE_WAY: [Part; 4] = [Part::OutLeast, Part::OutMost, Part::BackLeast, Part::BackMost];
/// So many sessions have bounds of the clock of their own.
const SESSIONS: usize = 256;

impl Split {
    pub fn of(&self, part: Part) -> &PartFigures {
        &self.parts[part as usize]
    }

    /// Parts that have values, or requests that they could not be told of.
    pub fn iter(&self) -> impl Iterator<Item = (Part, &PartFigures)> {
        Part::ALL.iter().map(|&part| (part, self.of(part))).filter(|(_, figures)| {
            !figures.values.is_empty() || figures.without.iter().any(|(reason, _)| *reason != NOT_LOOKED)
        })
    }

    /// Orders that were filled at once, by what tells that they were marketable.
    pub fn marketable(&self) -> impl Iterator<Item = (Evidence, u64)> + '_ {
        Evidence::ALL.into_iter().zip(self.marketable).filter(|(_, count)| *count > 0)
    }

    /// A latency that begins with the request.
    fn record_from_request(&mut self, part: Part, row: &OrderRow, value: i64) {
        if row.flags.has(Flag::Retransmitted) {
            self.without(part, SENT_AGAIN);
        } else {
            self.record(part, value);
        }
    }

    fn record(&mut self, part: Part, value: i64) {
        match u64::try_from(value) {
            Ok(value) => self.parts[part as usize].values.record(value),
            Err(_) => self.without(part, "below zero"),
        }
    }

    fn without(&mut self, part: Part, reason: &'static str) {
        self.without_many(part, reason, 1);
    }

    fn without_many(&mut self, part: Part, reason: &'static str, count: u64) {
        if count == 0 {
            return;
        }
        let reasons = &mut self.parts[part as usize].without;
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, known)) => *known += count,
            None => reasons.push((reason, count)),
        }
    }

    /// A request, when it is closed.
    pub fn add(&mut self, row: &OrderRow) {
        self.network(row);
        self.answer(row);
        self.fills(row);
        self.public(row);
        self.inside(row);
    }

    fn network(&mut self, row: &OrderRow) {
        let Some(latency) = row.latency(SegmentKind::TcpAck) else {
            return self.without(Part::Network, "no ACK captured");
        };
        if row.flags.has(Flag::AckWithAnswer) {
            self.without(Part::Network, "rode on the answer");
        } else {
            self.record_from_request(Part::Network, row, latency.0);
        }
    }

    fn answer(&mut self, row: &OrderRow) {
        let is_change = matches!(row.request, OrderKind::Cancel | OrderKind::MassCancel | OrderKind::Replace);
        let Some((answer, latency)) = row.parts.answer else {
            let part = match row.request {
                OrderKind::Replace => Part::Replaced,
                OrderKind::Cancel | OrderKind::MassCancel => Part::Cancelled,
                _ => Part::New,
            };
            let reason = match row.parts.fill {
                _ if row.flags.has(Flag::Unanswered) => "no answer captured",
                FillKind::None => "no report is the exchange's first answer",
                _ => "filled without an acknowledgement",
            };
            self.without(part, reason);
            if is_change {
                self.without(Part::CancelToOut, reason);
            }
            return;
        };
        let part = match answer {
            _ if row.flags.has(Flag::Retransmitted) => Part::Retransmitted,
            Answer::New => Part::New,
            Answer::Replaced => Part::Replaced,
            Answer::Cancelled => Part::Cancelled,
            Answer::Rejected => Part::Rejected,
            Answer::SessionRejected => Part::SessionRejected,
        };
        self.record(part, latency.0);
        match answer {
            Answer::Cancelled | Answer::Replaced => self.record_from_request(Part::CancelToOut, row, latency.0),
            Answer::Rejected | Answer::SessionRejected if is_change => self.without(Part::CancelToOut, "rejected"),
            _ => {}
        }
        if row.parts.shares_segment {
            let part = match row.parts.batch {
                0 | 1 => Part::Batch1,
                2 => Part::Batch2,
                3 => Part::Batch3,
                _ => Part::Batch4,
            };
            self.record_from_request(part, row, latency.0);
        }
    }

    fn fills(&mut self, row: &OrderRow) {
        match row.parts.fill {
            FillKind::None => return,
            FillKind::AtOnce(evidence) => self.marketable[evidence as usize] += 1,
            FillKind::Rested => return self.without(Part::OrderToFill, "rested first"),
            FillKind::Unknown => return self.without(Part::OrderToFill, "not known whether it rested"),
        }
        if let Some(latency) = row.latency(SegmentKind::OrderToFill) {
            self.record_from_request(Part::OrderToFill, row, latency.0);
        }
        match row.latency(SegmentKind::AckToFill) {
            Some(latency) => self.record(Part::AckToFill, latency.0),
            None => self.without(Part::AckToFill, "no acknowledgement before it"),
        }
    }

    fn public(&mut self, row: &OrderRow) {
        let reason = match row.parts.public {
            PublicKind::ByReference | PublicKind::Inferred => None,
            PublicKind::NotLooked => Some(NOT_LOOKED),
            PublicKind::Ambiguous => Some("several messages could be it"),
            PublicKind::NotSeen => Some("not seen"),
        };
        // Where nothing at all was looked for there is no feed to speak of.
        match reason {
            Some(reason) => self.without(Part::OrderToMd, reason),
            None => self.inferred += u64::from(row.parts.public == PublicKind::Inferred),
        }
        match row.latency(SegmentKind::OrderToMd) {
            Some(latency) => self.record_from_request(Part::OrderToMd, row, latency.0),
            None if reason.is_none() => self.without(Part::OrderToMd, "clocks not known to agree"),
            None => {}
        }
        for (part, kind) in
            [(Part::PrivateFirst, SegmentKind::PrivateFirst), (Part::PublicFirst, SegmentKind::PublicFirst)]
        {
            if let Some(latency) = row.latency(kind) {
                self.record(part, latency.0);
            }
        }
    }

    /// What the exchange's own stamps tell.
    fn inside(&mut self, row: &OrderRow) {
        let Some((_, latency)) = row.parts.answer else { return };
        let reason = match row.parts.residual {
            Residual::Known => None,
            Residual::NoStamps => Some("no stamps"),
            Residual::Coarse => Some("stamps too coarse"),
            Residual::Disorder => Some("sent before it happened"),
            Residual::Negative => Some("longer than the answer took"),
        };
        match (reason, row.latency(SegmentKind::InExchange)) {
            (None, Some(latency)) => self.record(Part::InExchange, latency.0),
            (reason, _) => self.without(Part::InExchange, reason.unwrap_or("below zero")),
        }
        match (reason, row.latency(SegmentKind::WireResidual)) {
            (None, Some(latency)) => self.record_from_request(Part::WireResidual, row, latency.0),
            (reason, _) => self.without(Part::WireResidual, reason.unwrap_or("below zero")),
        }
        self.on_the_way(row);
        let is_again = row.flags.has(Flag::Retransmitted);
        let has_room = self.one_way.len() < SESSIONS || self.one_way.contains_key(&row.session);
        let reason = reason.or(is_again.then_some(SENT_AGAIN)).or((!has_room).then_some("too many sessions"));
        match (reason, row.parts.stamps) {
            (None, Some(stamps)) => {
                let answered = row.t_out.shifted(latency);
                self.one_way.entry(row.session.clone()).or_default().add(row.t_out, answered, &stamps);
            }
            (reason, _) => {
                for part in ONE_WAY {
                    self.without(part, reason.unwrap_or("no stamps"));
                }
            }
        }
    }

    /// From station to station inside the exchange.
    fn on_the_way(&mut self, row: &OrderRow) {
        let reason = match row.parts.way {
            Way::Coarse => "stamps too coarse",
            Way::Disorder => "a later station has an earlier stamp",
            Way::NoStamps | Way::Known => "no stamps of both stations",
        };
        for (part, kind) in [
            (Part::GatewayIn, SegmentKind::GatewayIn),
            (Part::Matching, SegmentKind::Matching),
            (Part::GatewayOut, SegmentKind::GatewayOut),
        ] {
            match row.latency(kind) {
                Some(latency) => self.record(part, latency.0),
                None => self.without(part, reason),
            }
        }
    }

    /// All requests have come.
    pub fn finish(&mut self) {
        let mut all = std::mem::take(&mut self.one_way);
        for one_way in all.values_mut() {
            one_way.finish();
            for (part, values) in [
                (Part::OutLeast, &one_way.out.0),
                (Part::OutMost, &one_way.out.1),
                (Part::BackLeast, &one_way.back.0),
                (Part::BackMost, &one_way.back.1),
            ] {
                self.parts[part as usize].values.merge(values);
            }
            for part in ONE_WAY {
                self.without_many(part, "the clocks were not steady", one_way.unsteady);
            }
        }
    }
}
