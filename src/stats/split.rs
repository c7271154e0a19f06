//! What external latency consists of: a histogram for each part, only over the requests for which its condition holds, and
//! beside it how many others there were and why not. The names are those of `--json`.

use tickscope_model::SegmentKind;

use super::{Histogram, OneWay};
use crate::hash::HashMap;
use crate::pair::{Answer, FillKind, Flag, OrderRow, PublicKind, Residual};

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
        "from requests that TCP sent more than once to the first answer; they stand here and in no other line of the kind";
    OrderToFill = "order_to_fill", "see LATENCIES; what rested first is counted beside it";
    AckToFill = "ack_to_fill", "see LATENCIES";
    CancelToOut = "cancel_to_out", "from a cancel or replace to its confirmation, both kinds together";
    OrderToMd = "order_to_md", "see LATENCIES";
    PrivateFirst = "private_first", "see LATENCIES";
    PublicFirst = "public_first", "see LATENCIES";
    InExchange = "in_exchange", "see LATENCIES";
    WireResidual = "wire_residual", "see LATENCIES";
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
}

impl Default for Split {
    fn default() -> Self {
        Split { parts: vec![PartFigures::default(); Part::ALL.len()], one_way: HashMap::default(), inferred: 0 }
    }
}

/// Why a request was not found in market data, where nobody looked; said only beside other reasons.
const NOT_LOOKED: &str = "rejected or not looked for";
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
        } else if row.flags.has(Flag::Retransmitted) {
            self.without(Part::Network, "sent again");
        } else {
            self.record(Part::Network, latency.0);
        }
    }

    fn answer(&mut self, row: &OrderRow) {
        let Some((answer, latency)) = row.parts.answer else { return };
        let part = match answer {
            _ if row.flags.has(Flag::Retransmitted) => Part::Retransmitted,
            Answer::New => Part::New,
            Answer::Replaced => Part::Replaced,
            Answer::Cancelled => Part::Cancelled,
            Answer::Rejected => Part::Rejected,
            Answer::SessionRejected => Part::SessionRejected,
        };
        self.record(part, latency.0);
        if matches!(answer, Answer::Cancelled | Answer::Replaced) {
            self.record(Part::CancelToOut, latency.0);
        }
        if row.parts.shares_segment {
            let part = match row.parts.batch {
                0 | 1 => Part::Batch1,
                2 => Part::Batch2,
                3 => Part::Batch3,
                _ => Part::Batch4,
            };
            self.record(part, latency.0);
        }
    }

    fn fills(&mut self, row: &OrderRow) {
        match row.parts.fill {
            FillKind::None => return,
            FillKind::AtOnce => {}
            FillKind::Rested => return self.without(Part::OrderToFill, "rested first"),
            FillKind::Unknown => return self.without(Part::OrderToFill, "not known whether it rested"),
        }
        for (part, kind) in [(Part::OrderToFill, SegmentKind::OrderToFill), (Part::AckToFill, SegmentKind::AckToFill)] {
            match row.latency(kind) {
                Some(latency) => self.record(part, latency.0),
                None if part == Part::AckToFill => self.without(part, "no acknowledgement before it"),
                None => {}
            }
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
        for (part, kind) in [
            (Part::OrderToMd, SegmentKind::OrderToMd),
            (Part::PrivateFirst, SegmentKind::PrivateFirst),
            (Part::PublicFirst, SegmentKind::PublicFirst),
        ] {
            if let Some(latency) = row.latency(kind) {
                self.record(part, latency.0);
            }
        }
    }

    fn inside(&mut self, row: &OrderRow) {
        let Some((_, latency)) = row.parts.answer else { return };
        let reason = match row.parts.residual {
            Residual::Known => None,
            Residual::NoStamps => Some("no stamps"),
            Residual::Coarse => Some("stamps too coarse"),
            Residual::Disorder => Some("sent before it happened"),
            Residual::Negative => Some("longer than the answer took"),
        };
        for (part, kind) in
            [(Part::InExchange, SegmentKind::InExchange), (Part::WireResidual, SegmentKind::WireResidual)]
        {
            match (reason, row.latency(kind)) {
                (None, Some(latency)) => self.record(part, latency.0),
                (Some(reason), _) => self.without(part, reason),
                (None, None) => self.without(part, "below zero"),
            }
        }
        if let Some(stamps) = row.parts.stamps.filter(|_| row.parts.residual == Residual::Known)
            && (self.one_way.len() < SESSIONS || self.one_way.contains_key(&row.session))
        {
            let answered = row.t_out.shifted(latency);
            self.one_way.entry(row.session.clone()).or_default().add(row.t_out, answered, &stamps);
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
            for part in [Part::OutLeast, Part::BackLeast] {
                self.without_many(part, "the clocks were not steady", one_way.unsteady);
            }
        }
    }
}
