//! How long a frame takes behind a key, with half a million orders: run by hand, in a release build:
//! `cargo test --release -p tickscope-tui -- --ignored --nocapture`.
#![allow(clippy::disallowed_methods, reason = "this is about time")]
#![allow(clippy::print_stderr, reason = "what was measured is said on the terminal")]

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Seat;
use super::sample::{self, Kind};
use crate::wire;

/// Rows of a long day, a thousand an answer.
fn rows(seat: &mut Seat, count: u64) {
    for first in (1..=count).step_by(1000) {
        let row = |number: u64| {
            json!([
                "md",
                "TRADER->EXCHANGE",
                format!("T01-{number:08}"),
                "new",
                format!("S{:03}", number % 500),
                "B",
                "215.45",
                "100",
                sample::START_NS + number * 1000,
                "latest",
                0.97,
                14_000 + number * 7919 % 9000,
                17_000,
                52_000 + number * 104_729 % 90_000,
                Value::Null,
                "",
                "filled",
            ])
        };
        let rows: Vec<Value> = (first..first + 1000).map(row).collect();
        let line = json!({
            "tickscope_answer": 1, "query": "rows", "error": null, "rows": rows, "first": first, "last": count, "missed": 0,
            "columns": ["tap", "session", "clordid", "request", "symbol", "side", "price", "qty", "t_out_ns", "trigger_method",
                "trigger_confidence", "t2t_ns", "tcp_ack_ns", "ack_ns", "reject_ns", "flags", "outcome"],
        });
        seat.app.line(wire::read(line.to_string().as_bytes()), seat.now);
    }
    seat.app.take_effects();
}

#[test]
#[ignore = "prints how long frames take; run by hand"]
fn how_long_a_frame_takes() {
    let mut seat = Seat::fed(sample::run(Kind::default()));
    rows(&mut seat, 1_000_000);
    for keys in ["1", "2", "3 Left", "4", "s", "Down", "/ type:symbol:S123", "Enter", "5", "6", "?"] {
        let mut longest = Duration::ZERO;
        for key in keys.split(' ') {
            let keys: Vec<_> = match key.strip_prefix("type:") {
                Some(text) => text.chars().map(|char| super::code(&char.to_string())).collect(),
                None => vec![super::code(key)],
            };
            for event in keys {
                let start = Instant::now();
                seat.app.key(event, seat.now);
                seat.frame(200, 60);
                longest = longest.max(start.elapsed());
            }
            seat.answer();
        }
        eprintln!("{keys:20} {longest:?}");
    }
    let start = Instant::now();
    for second in 61..161 {
        seat.feed([sample::snapshot(second, Kind::default())]);
        seat.press("1");
        seat.frame(200, 60);
    }
    eprintln!("a snapshot of {} requests made, read and drawn: {:?}", 61 * 3, start.elapsed() / 100);
}
