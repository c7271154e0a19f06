//! What keys do.

use super::Seat;
use super::sample::{self, Kind, MOMENTS, START_NS};
use crate::Screen;
use crate::app::{Effect, Moment};

fn captured() -> Seat {
    Seat::fed(sample::run(Kind { of_capture: true, has_loss: false }))
}

fn live() -> Seat {
    Seat::fed(sample::run(Kind::default()))
}

fn seconds(seat: &Seat) -> u64 {
    (seat.app.snapshot().unwrap().t_ns - START_NS) / 1_000_000_000
}

#[test]
fn from_the_overview_to_the_packets_of_the_slowest_order_in_four_keys() {
    let mut seat = captured();
    assert!(seat.frame(120, 40).contains("IT IS THE EXCHANGE"));
    seat.press("4 Enter p");
    let written = seat.effects.iter().any(
        |effect| matches!(effect, Effect::Write { name, bytes, .. } if name.ends_with(".pcapng") && bytes == b"pcapng"),
    );
    assert!(written, "{:?}", seat.effects);
}

#[test]
fn a_filter_selects_while_it_is_written_and_the_last_good_one_stays() {
    let mut seat = captured();
    seat.press("/ type:symbol:MSFT_reject");
    let good = seat.app.orders.matches;
    assert!(good > 0 && good < 180 / 3);
    seat.press("type:_-t3t");
    assert_eq!(seat.app.orders.matches, good);
    seat.press("Backspace Backspace Backspace Backspace type:t3t>5us");
    assert_eq!(seat.app.orders.matches, 0, "of the word before it was wrong");
    let frame = seat.frame(120, 40);
    assert!(frame.contains("! character 20: no latency \"t3t\""), "{frame}");
    seat.press("Enter");
    assert!(seat.app.orders.editing.is_some(), "a wrong filter is not left");
    seat.press("Ctrl-U type:t2t>50us Enter");
    assert!(seat.app.orders.editing.is_none());
    assert!(seat.app.orders.lines.iter().all(|row| row.t2t_ns > Some(50_000)));
    assert_eq!(seat.press("Esc").app.orders.matches, 180);
}

#[test]
fn a_capture_is_played_from_its_beginning_and_stops_at_its_end() {
    let mut seat = captured();
    seat.press("Space");
    assert_eq!(seconds(&seat), 1);
    seat.pass(10_000);
    let half = seconds(&seat);
    assert!((18..24).contains(&half), "{half}: a minute is played in half a minute");
    seat.press("Space");
    seat.pass(10_000);
    assert_eq!(seconds(&seat), half, "paused");
    seat.press("Space");
    seat.pass(60_000);
    assert_eq!((seat.app.moment, seconds(&seat)), (Moment::Latest, MOMENTS));
}

#[test]
fn a_frozen_screen_shows_its_moment_while_others_come() {
    let mut seat = Seat::fed(sample::run(Kind::default()).into_iter().take(50));
    seat.press("f");
    seat.feed([51, 52].map(|second| sample::snapshot(second, Kind::default())));
    assert_eq!(seconds(&seat), 50);
    let frame = seat.frame(120, 40);
    assert!(frame.contains("FROZEN 14:30:50.000  +6 requests since"), "{frame}");
    seat.press("[ [");
    assert_eq!(seconds(&seat), 48);
    seat.press("]");
    assert_eq!(seconds(&seat), 49);
    seat.press("f");
    assert_eq!((seat.app.moment, seconds(&seat)), (Moment::Latest, 52));
}

#[test]
fn time_goes_to_outliers_and_to_where_the_verdict_changes() {
    let mut seat = captured();
    seat.press("v");
    assert_eq!(seconds(&seat), 30);
    assert!(seat.frame(120, 40).contains("IT IS THE EXCHANGE"));
    seat.press("v");
    assert_eq!(seconds(&seat), 45);
    seat.press("}");
    let first = seconds(&seat);
    seat.press("}");
    assert!(first != seconds(&seat));
    seat.press("L");
    assert_eq!(seat.app.moment, Moment::Latest);
    // At a moment, orders that were sent later are not there yet.
    seat.press("v 4");
    assert!((85..=92).contains(&seat.app.orders.matches), "{}", seat.app.orders.matches);
}

#[test]
fn a_span_shows_what_was_added_in_it() {
    let mut seat = live();
    assert_eq!(seat.app.figures("ack").unwrap().n, MOMENTS * 3);
    seat.press("2 w");
    let figures = seat.app.figures("ack").unwrap();
    assert_eq!(figures.n, MOMENTS * 3, "all of it lies in a minute");
    let mut seat = Seat::fed((1..=MOMENTS).map(|second| sample::snapshot(second, Kind::default())));
    seat.press("w");
    seat.feed((MOMENTS + 1..=MOMENTS + 20).map(|second| sample::snapshot(second, Kind::default())));
    assert_eq!(seat.app.figures("ack").unwrap().n, 60 * 3);
    assert!(seat.press("2").frame(120, 40).contains('~'));
}

#[test]
fn a_lost_daemon_is_asked_again_when_it_is_back() {
    let mut seat = live();
    seat.app.lost("gone".to_owned(), seat.now);
    seat.pass(1000);
    assert!(seat.frame(80, 24).contains("CONNECTION LOST"));
    seat.effects.clear();
    seat.app.found(seat.now);
    seat.pass(100);
    assert!(matches!(&seat.effects[0], Effect::Ask(question) if question.contains("stream")));
    seat.feed([sample::snapshot(MOMENTS + 1, Kind::default())]);
    assert!(!seat.frame(80, 24).contains("CONNECTION LOST"));
}

#[test]
fn a_daemon_of_another_version_is_named() {
    let mut seat = Seat::new();
    seat.feed([r#"{"tickscope_snapshot":2,"version":"7.0.0"}"#.to_owned()]);
    let frame = seat.frame(120, 40);
    assert!(frame.contains("7.0.0") && frame.contains("version 2"), "{frame}");
}

#[test]
fn no_key_does_harm_anywhere() {
    for first in ["1", "2", "3", "4", "4 Enter", "4 Enter Enter", "5", "6", "?", "/"] {
        for (_, keys) in crate::key_table() {
            for (key, _) in keys {
                let mut seat = Seat::fed((55..=MOMENTS).map(|second| sample::snapshot(second, Kind::default())));
                seat.press(first);
                for one in key.split(", ").filter(|one| !one.starts_with('F')) {
                    seat.press(one);
                    seat.frame(100, 30);
                }
            }
        }
    }
}

#[test]
fn keys_do_no_harm_before_anything_has_come() {
    let mut seat = Seat::new();
    for (_, keys) in crate::key_table() {
        for (key, _) in keys {
            for one in key.split(", ").filter(|one| !one.starts_with('F')) {
                seat.press(one);
                seat.frame(100, 30);
            }
        }
    }
}

#[test]
fn export_writes_what_is_shown() {
    let mut seat = captured();
    seat.press("2 x 4 x Enter x");
    let files: Vec<(&str, String)> = seat
        .effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Write { name, bytes, .. } => Some((name.as_str(), String::from_utf8(bytes.clone()).unwrap())),
            _ => None,
        })
        .collect();
    let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
    assert_eq!(names[..2], ["tickscope-figures.json", "tickscope-orders.csv"]);
    assert!(names[2].starts_with("tickscope-T01-"));
    assert_eq!(files[1].1.lines().count(), 181);
    let figures: serde_json::Value = serde_json::from_str(&files[0].1).unwrap();
    assert_eq!(figures["lines"][0]["n"], 180);
}

#[test]
fn the_mouse_chooses_screens_and_lines() {
    use crossterm::event::{KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
    let mut seat = captured();
    seat.press("4");
    seat.frame(120, 40);
    let at = |kind| MouseEvent { kind, column: 3, row: 8, modifiers: KeyModifiers::NONE };
    let down = MouseEventKind::Down(MouseButton::Left);
    seat.app.mouse(at(down), None, Some(3), seat.now);
    assert_eq!(seat.app.selected(), 3);
    seat.app.mouse(at(MouseEventKind::ScrollDown), None, None, seat.now);
    assert_eq!(seat.app.selected(), 4);
    seat.app.mouse(at(down), None, Some(4), seat.now);
    assert!(seat.app.drill.is_some(), "a click on the selected line opens it");
    seat.app.mouse(at(down), crate::panel::tab_at(4), None, seat.now);
    assert_eq!(seat.app.screen, Screen::Overview);
    assert_eq!(crate::panel::tab_at(1000), None);
}
