//! The latencies that tickscope measures, under the names that files and scripts use.

/// Which interval a latency spans. The order is the order of every table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SegmentKind {
    /// Tick-to-trade, G→K: from the trigger to the request.
    TickToTrade,
    /// From a private report of a fill to the request that it caused.
    FillToRequest,
    /// From the request to the first segment that acknowledges its last byte.
    TcpAck,
    /// From the request to its acknowledgement (ExecType 0).
    Ack,
    /// From the request to its rejection.
    Reject,
    /// From the request to its first fill.
    FirstFill,
    /// From the request to the fill that left nothing open.
    FullFill,
    /// From a cancel request to its confirmation.
    CancelAck,
    /// From a replace request to its confirmation.
    ReplaceAck,
    /// Wall to wall: a request in one session to the same request in the next.
    WallToWall,
    /// The same request at a second tap.
    Hop,
    /// From an order that could trade at once to its first fill.
    OrderToFill,
    /// From the acknowledgement of an order to its first fill.
    AckToFill,
    /// From the request to the public market-data message about it.
    OrderToMd,
    /// How long the exchange's private report was ahead of the public message.
    PrivateFirst,
    /// How long the public message was ahead of the private report.
    PublicFirst,
    /// Inside the exchange, by its own stamps: from TransactTime to SendingTime of the first answer.
    InExchange,
    /// The answer's latency without what the exchange says it took itself.
    WireResidual,
    /// Inside the exchange, by its own stamps: from its gateway to the beginning of matching.
    GatewayIn,
    /// Likewise: from the beginning of matching to its end.
    Matching,
    /// Likewise: from the end of matching to SendingTime of the answer.
    GatewayOut,
}

impl SegmentKind {
    /// Every kind, in table order.
    pub const ALL: [SegmentKind; 21] = [
        SegmentKind::TickToTrade,
        SegmentKind::FillToRequest,
        SegmentKind::TcpAck,
        SegmentKind::Ack,
        SegmentKind::Reject,
        SegmentKind::FirstFill,
        SegmentKind::FullFill,
        SegmentKind::CancelAck,
        SegmentKind::ReplaceAck,
        SegmentKind::WallToWall,
        SegmentKind::Hop,
        SegmentKind::OrderToFill,
        SegmentKind::AckToFill,
        SegmentKind::OrderToMd,
        SegmentKind::PrivateFirst,
        SegmentKind::PublicFirst,
        SegmentKind::InExchange,
        SegmentKind::WireResidual,
        SegmentKind::GatewayIn,
        SegmentKind::Matching,
        SegmentKind::GatewayOut,
    ];

    /// The ASCII name in files, JSON and metrics.
    pub fn name(self) -> &'static str {
        match self {
            SegmentKind::TickToTrade => "t2t",
            SegmentKind::FillToRequest => "fill_to_request",
            SegmentKind::TcpAck => "tcp_ack",
            SegmentKind::Ack => "ack",
            SegmentKind::Reject => "reject",
            SegmentKind::FirstFill => "first_fill",
            SegmentKind::FullFill => "full_fill",
            SegmentKind::CancelAck => "cancel_ack",
            SegmentKind::ReplaceAck => "replace_ack",
            SegmentKind::WallToWall => "w2w",
            SegmentKind::Hop => "hop",
            SegmentKind::OrderToFill => "order_to_fill",
            SegmentKind::AckToFill => "ack_to_fill",
            SegmentKind::OrderToMd => "order_to_md",
            SegmentKind::PrivateFirst => "private_first",
            SegmentKind::PublicFirst => "public_first",
            SegmentKind::InExchange => "in_exchange",
            SegmentKind::WireResidual => "wire_residual",
            SegmentKind::GatewayIn => "gateway_in",
            SegmentKind::Matching => "matching",
            SegmentKind::GatewayOut => "gateway_out",
        }
    }

    /// Whether it is a part of another latency: such stand in a table of their own, behind the others.
    pub fn is_part(self) -> bool {
        self > SegmentKind::Hop
    }

    /// Whether it rests on a pair that was inferred: its tails are stated over pairs that are sure enough.
    pub fn is_inferred(self) -> bool {
        matches!(self, SegmentKind::TickToTrade | SegmentKind::FillToRequest)
    }

    /// Position in [`SegmentKind::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_stand_behind_whole_latencies() {
        assert!(SegmentKind::ALL.windows(2).all(|pair| pair[0] < pair[1] && pair[0].index() + 1 == pair[1].index()));
        let whole: Vec<SegmentKind> = SegmentKind::ALL.into_iter().filter(|kind| !kind.is_part()).collect();
        assert_eq!((whole.len(), whole[1]), (11, SegmentKind::FillToRequest));
    }
}
