//! `[budget]`: a key for each latency, under its own name.

use super::keys::{Key, Kind, Table, key};
use tickscope_model::SegmentKind;

macro_rules! budgets {
    ($($name:literal = $kind:ident,)*) => {
        pub(super) static BUDGET_KEYS: &[Key] = &[$(key(
            Table::Budget,
            $name,
            Kind::Span(|settings, most| settings.budgets.push((SegmentKind::$kind, most))),
            "",
            "\"50us\"",
            concat!("How long ", $name, " may be; see LATENCIES in tickscope(1)."),
        )),*];
    };
}

budgets! {
    "t2t" = TickToTrade,
    "fill_to_request" = FillToRequest,
    "tcp_ack" = TcpAck,
    "ack" = Ack,
    "reject" = Reject,
    "first_fill" = FirstFill,
    "full_fill" = FullFill,
    "cancel_ack" = CancelAck,
    "replace_ack" = ReplaceAck,
    "w2w" = WallToWall,
    "hop" = Hop,
    "order_to_fill" = OrderToFill,
    "ack_to_fill" = AckToFill,
    "order_to_md" = OrderToMd,
    "private_first" = PrivateFirst,
    "public_first" = PublicFirst,
    "in_exchange" = InExchange,
    "wire_residual" = WireResidual,
    "gateway_in" = GatewayIn,
    "matching" = Matching,
    "gateway_out" = GatewayOut,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_latency_has_its_key() {
        let names: Vec<&str> = BUDGET_KEYS.iter().map(|key| key.name).collect();
        assert_eq!(names, SegmentKind::ALL.map(SegmentKind::name));
    }
}
