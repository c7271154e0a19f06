//! Every screen in every size.

use super::Seat;
use super::sample::{self, Kind};
use crate::Theme;

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (200, 60)];

fn shown(name: &str, seat: &Seat) {
    for (columns, rows) in SIZES {
        insta::assert_snapshot!(format!("{name}_{columns}x{rows}"), seat.frame(columns, rows));
    }
}

fn captured() -> Seat {
    Seat::fed(sample::run(Kind { of_capture: true, has_loss: false }))
}

fn live(has_loss: bool) -> Seat {
    Seat::fed(sample::run(Kind { of_capture: false, has_loss }))
}

#[test]
fn every_screen_of_a_capture() {
    let mut seat = captured();
    for (key, name) in
        [("1", "overview"), ("2", "segments"), ("3", "histogram"), ("4", "orders"), ("5", "sessions"), ("6", "health")]
    {
        shown(name, seat.press(key));
    }
}

#[test]
fn every_screen_before_anything_was_traded() {
    let mut seat = Seat::fed([sample::empty()]);
    for key in 1..=6 {
        shown(&format!("empty_{key}"), seat.press(&key.to_string()));
    }
}

#[test]
fn every_screen_with_the_connection_lost() {
    let mut seat = live(false);
    seat.app.lost("the other side has closed the connection".to_owned(), seat.now);
    seat.pass(14_000);
    for key in 1..=6 {
        shown(&format!("lost_{key}"), seat.press(&key.to_string()));
    }
    assert!(seat.frame(120, 40).contains("CONNECTION LOST, state of 14 s ago"));
}

#[test]
fn every_screen_with_losses() {
    let mut seat = live(true);
    for key in 1..=6 {
        shown(&format!("loss_{key}"), seat.press(&key.to_string()));
    }
    assert!(seat.frame(120, 40).contains("! ring_full 12"));
}

#[test]
fn an_order_is_looked_into() {
    let mut seat = captured();
    shown("order", seat.press("4 Enter"));
    shown("packets", seat.press("Enter"));
}

#[test]
fn segments_by_symbol_and_a_group_in_the_histogram() {
    let mut seat = captured();
    shown("by_symbol", seat.press("2 b b"));
    seat.pass(1000);
    shown("group", seat.press("Enter"));
}

#[test]
fn a_histogram_beside_its_baseline_with_a_cursor() {
    let mut seat = captured();
    // The exchange before it slowed, and as a whole.
    seat.press("v [ 3 m m c L");
    assert_eq!(seat.app.chosen(), "ack");
    seat.frame(120, 40);
    seat.press("Left Left Left");
    shown("baseline", &seat);
}

#[test]
fn help_has_all_keys() {
    let mut seat = captured();
    shown("help", seat.press("?"));
    let frame = seat.frame(200, 110);
    for (_, keys) in crate::key_table() {
        for (key, _) in keys {
            assert!(frame.contains(&key), "{key}\n{frame}");
        }
    }
}

#[test]
fn below_the_least_size_it_says_so() {
    let seat = captured();
    for (columns, rows) in [(79, 24), (80, 23), (40, 10), (10, 3), (1, 1)] {
        let frame = seat.frame(columns, rows);
        if columns >= 40 {
            assert!(frame.replace('\n', " ").contains("needs 80×24"), "{frame}");
        }
    }
}

#[test]
fn nothing_beyond_ascii_where_that_is_wanted() {
    let mut seat = Seat::with(|options| options.is_ascii = true);
    seat.feed(sample::run(Kind { of_capture: true, has_loss: false }));
    for keys in ["1", "2", "3 Left", "4", "Enter", "Enter", "5", "6", "?"] {
        let frame = seat.press(keys).frame(120, 40);
        assert!(frame.is_ascii(), "{frame}");
    }
}

#[test]
fn themes_change_colours_and_no_characters() {
    let mut seat = captured();
    let plain = seat.frame(120, 40);
    for theme in Theme::ALL {
        let mut other = Seat::with(|options| options.theme = theme);
        other.feed(sample::run(Kind { of_capture: true, has_loss: false }));
        assert_eq!(other.frame(120, 40), plain);
    }
    seat.press("t");
    assert!(seat.frame(120, 40).contains("theme: dark"));
}

#[test]
fn every_size_between_can_be_drawn() {
    let mut seat = live(true);
    for keys in ["1", "2", "3 Left", "4", "Enter", "Enter", "5", "6", "?"] {
        seat.press(keys);
        for columns in (1..260).step_by(7) {
            for rows in (1..90).step_by(5) {
                seat.frame(columns, rows);
            }
        }
    }
}
