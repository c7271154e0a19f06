//! Runs made up for the golden reports: every number follows from a fixed sequence.

use std::sync::Arc;

use tickscope_model::{Decimal, Loss, Nanos, OrderEvent, SegmentKind, Side, TapId, Timestamp};

use crate::capture::stamp::Edge;
use crate::pair::attribution::Aggregate;
use crate::pair::{Across, Detail, Flag, Measured, Method, Moment, OrderRow, Trigger};
use crate::stats::summary_tests::row;
use crate::stats::{Feed, Gap, Histogram, Line, Session, Summary, Tap, Totals, TriggerRule};

const SECOND: u64 = 1_000_000_000;
const START: u64 = 1_769_000_000 * SECOND;
const ORDERS: u64 = 2000;

/// Between -1 and 1 in thousandths, the same on every run.
fn noise(step: u64) -> i64 {
    let mixed = step.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(17).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    i64::try_from(mixed >> 44).unwrap() % 1000
}

/// Requests between market data on one clock and answers on another.
pub(in super::super) fn two_clocks() -> Summary {
    let mut summary = Summary::default();
    for step in 0..ORDERS {
        summary.market(Timestamp(START + step * 600 * SECOND / ORDERS), 1);
        let mut row = order(step);
        let mut across = [Across::One; SegmentKind::ALL.len()];
        across[SegmentKind::TickToTrade.index()] = Across::Within(Nanos(37_313));
        across[SegmentKind::Ack.index()] = Across::Unknown;
        across[SegmentKind::TcpAck.index()] = Across::Unknown;
        (row.error, row.across) = (Some(Nanos(37_313)), Some(Box::new(across)));
        summary.order(&row);
    }
    summary.attribution.aggregate =
        Some(Aggregate { mode_ns: 12_000, z: 40.0, triggered: 1893.4, error: 26.0, within_ns: 20_480, requests: 2000 });
    summary
}

/// Ten minutes with market data on two lines; the exchange is slow in the fourth. Some pairs are not sure.
pub(in super::super) fn full() -> Summary {
    let mut summary = Summary::default();
    for message in 0..60_000 {
        summary.market(Timestamp(START + message * 600 * SECOND / 60_000), 1);
    }
    for step in 0..ORDERS {
        summary.order(&order(step));
    }
    let mut line_delay = Histogram::default();
    (0..30_000).for_each(|step| line_delay.record(800 + step % 700));
    summary.taps = vec![
        Tap {
            name: "md".into(),
            file: "captures/md.pcap".into(),
            frames: 20_000,
            bytes: 3_000_000,
            first: Some(Timestamp(START)),
            last: Some(Timestamp(START + 600 * SECOND)),
            point: Some('D'),
            has_market: true,
            resolution_ns: 1,
            clock: "shares a clock with the others".into(),
            clock_name: "ptp0".into(),
            ..Tap::default()
        },
        Tap {
            name: "orders".into(),
            file: "captures/orders.pcap".into(),
            frames: 9_000,
            bytes: 1_200_000,
            first: Some(Timestamp(START + 1)),
            last: Some(Timestamp(START + 601 * SECOND)),
            has_orders: true,
            resolution_ns: 1000,
            clock: "-37.000 µs added".into(),
            clock_name: "ptp0".into(),
            offset: Nanos(-37_000),
            edge: Some(Edge::Start),
            cut: Some("inside frame 9001, at byte 1,344,024".into()),
            ..Tap::default()
        },
    ];
    (0..400).for_each(|step| summary.hops.between(TapId(0), TapId(1)).record(310 + step % 90));
    summary.hops.ambiguous = 2;
    summary.hops.overlooked = 11;
    summary.feeds.push(Feed {
        label: "233.54.12.111:26477".into(),
        protocol: "itch50".into(),
        title: "Nasdaq TotalView-ITCH 5.0 over MoldUDP64".into(),
        lines: vec![
            Line {
                letter: "A".into(),
                address: "233.54.12.111:26477".into(),
                messages: 30_000,
                first: 22_000,
                heartbeats: 3,
                last: Some(Timestamp(START)),
            },
            Line {
                letter: "B".into(),
                address: "233.49.196.111:26477".into(),
                messages: 30_000,
                first: 8_000,
                heartbeats: 2,
                last: Some(Timestamp(START)),
            },
        ],
        messages: 30_000,
        duplicates: 30_000,
        gap_count: 1,
        missing: 12,
        recovered: 2,
        gaps: vec![Gap { time: Timestamp(START + 90 * SECOND), sequence: 4711, missing: 12, recovered: 2 }],
        line_delay,
        lags: Vec::new(),
    });
    summary.sessions.push(Session {
        logons: 1,
        heartbeats: 4,
        retransmissions: 2,
        gaps: 1,
        last: Some(Timestamp(1_500_000_000)),
        last_type: Some("8".into()),
        name: "TRADER->EXCH".into(),
        title: "FIX 4.4".into(),
        client: "10.0.0.10:40001".into(),
        server: "10.0.1.20:9876".into(),
        requests: ORDERS,
        answers: ORDERS - 1,
        state: "joined in mid-session".into(),
    });
    summary.trigger = TriggerRule {
        text: "the newest message on the symbol".into(),
        model: "two-pass",
        window_ns: SECOND,
        min_ns: 0,
        messages: vec!["trade".into(), "bbo".into()],
    };
    summary.notes.push("the captures are taken to share one clock; [[tap]] clock says otherwise".into());
    count(&mut summary);
    summary
}

fn count(summary: &mut Summary) {
    let losses = &mut summary.losses;
    losses.add_many(Loss::UnknownUdp, 400);
    losses.add_many(Loss::NotIp, 100);
    losses.add_many(Loss::StreamGap, 1448);
    losses.add_many(Loss::FeedDuplicate, 30_000);
    losses.add_many(Loss::FeedGap, 10);
    losses.add(Loss::Unanswered);
    losses.add_many(Loss::AckWithAnswer, ORDERS / 10);
    losses.add_many(Loss::Untriggered, ORDERS / 100);
    losses.add_many(Loss::Orphan, 3);
    losses.add_many(Loss::Negative, 1);
    summary.totals = Totals {
        frames_read: 29_000,
        frames_used: 28_500,
        stream_bytes: 901_448,
        stream_bytes_used: 900_000,
        messages: 64_010,
        messages_used: 34_000,
        requests: ORDERS,
        answers: ORDERS + 2,
        answers_matched: ORDERS - 1,
    };
}

fn order(step: u64) -> OrderRow {
    let time = START + step * 600 * SECOND / ORDERS + 123_456_789;
    let symbol = ["ABC", "LONGNAME", "XYZ"][usize::try_from(step % 7 % 3).unwrap()];
    let is_slow = (3 * ORDERS / 10..4 * ORDERS / 10).contains(&step);
    let t2t = 12_034 + noise(step) * 4 + if step % 401 == 7 { 300_000 } else { 0 };
    let ack = (61_000 + noise(step + 5000) * 20) * if is_slow { 5 } else { 1 };
    let mut row = row(&format!("A-{step}"), time);
    row.tap = TapId(1);
    row.frame = 4 * step + 1;
    row.session = Arc::from("TRADER->EXCH");
    row.symbol = Arc::from(symbol);
    row.side = Some(Side::Buy);
    row.price = Decimal::parse(b"26.05");
    row.quantity = Decimal::parse(b"100");
    row.latency = Measured::default();
    row.latency.set(SegmentKind::TickToTrade, Nanos(if step == 77 { -250 } else { t2t }));
    row.latency.set(SegmentKind::TcpAck, Nanos(18_000 + noise(step + 9000)));
    if step.is_multiple_of(10) {
        row.flags.set(Flag::AckWithAnswer);
    }
    if step == 1234 {
        row.outcome = "unanswered";
        row.flags.set(Flag::Unanswered);
    } else if step % 50 == 3 {
        row.outcome = "rejected";
        row.latency.set(SegmentKind::Reject, Nanos(ack / 2));
    } else {
        row.latency.set(SegmentKind::Ack, Nanos(ack));
    }
    row.trigger = Some(Trigger {
        tap: TapId(0),
        frame: 2 * step + 1,
        time: Timestamp(time).shifted(Nanos(-t2t)),
        feed: Arc::from("233.54.12.111:26477 A"),
        sequence: step + 1,
        msg: "Trade",
        symbol: Arc::from(symbol),
        method: if step.is_multiple_of(4) { Method::Price } else { Method::Latest },
        confidence: 0.9,
    });
    doubt(&mut row, step, t2t);
    row.timeline = timeline(&row, ack);
    row
}

/// Of a hundred requests four have several candidates, one was caused by nothing, and one by a fill of our own.
fn doubt(row: &mut OrderRow, step: u64, t2t: i64) {
    let Some(trigger) = &mut row.trigger else { return };
    match step % 100 {
        51 => {
            row.trigger = None;
            row.latency.forget(SegmentKind::TickToTrade);
        }
        52 => {
            trigger.method = Method::Fill;
            trigger.msg = "ExecutionReport";
            row.latency.forget(SegmentKind::TickToTrade);
            row.latency.set(SegmentKind::FillToRequest, Nanos(2 * t2t));
        }
        _ if step % 20 == 11 => {
            trigger.confidence = 0.6;
            row.flags.set(Flag::BookPartial);
            (row.t2t_min, row.t2t_max) = (Some(Nanos(t2t / 2)), Some(Nanos(t2t)));
        }
        _ => {}
    }
}

fn timeline(row: &OrderRow, ack: i64) -> Vec<Moment> {
    let moment = |after: i64, frame: u64, what: &'static str, message: &[u8], exec_type: u8| Moment {
        time: row.t_out.shifted(Nanos(after)),
        tap: TapId(1),
        frame: row.frame + frame,
        what,
        detail: Detail::of(&OrderEvent { message, exec_type, ..OrderEvent::default() }),
    };
    vec![moment(0, 0, "request", b"D", 0), moment(18_000, 1, "tcp_ack", b"", 0), moment(ack, 2, "ack", b"8", b'0')]
}

/// Twenty requests and twenty rejects, every TCP ACK on the answer.
pub(in super::super) fn orders_only() -> Summary {
    let mut summary = Summary::default();
    for step in 0..20_u64 {
        let mut row = row(&format!("{step}"), START + step * SECOND);
        let reject = i64::try_from(22_687_012 + step * 554_000).unwrap();
        row.latency = Measured::default();
        row.latency.set(SegmentKind::Reject, Nanos(reject));
        row.latency.set(SegmentKind::TcpAck, Nanos(reject));
        row.flags.set(Flag::AckWithAnswer);
        row.outcome = "rejected";
        summary.order(&row);
    }
    summary.taps.push(Tap {
        name: "fix".into(),
        file: "fix.pcap".into(),
        frames: 63,
        bytes: 9000,
        first: Some(Timestamp(START)),
        last: Some(Timestamp(START + 20 * SECOND)),
        has_orders: true,
        resolution_ns: 1000,
        ..Tap::default()
    });
    summary.losses.add_many(Loss::AckWithAnswer, 20);
    summary.losses.add_many(Loss::Untriggered, 20);
    summary.totals = Totals {
        frames_read: 63,
        frames_used: 63,
        stream_bytes: 4000,
        stream_bytes_used: 4000,
        messages: 42,
        messages_used: 42,
        requests: 20,
        answers: 20,
        answers_matched: 20,
    };
    summary
}
