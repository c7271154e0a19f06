//! Screens as text, and keys as lists: a run of a minute in which the exchange slows (`sample`) is shown in every size, empty,
//! busy, with losses, and with the connection lost. Time is an argument, so nothing sleeps.

mod keys;
mod sample;
mod screens;
mod speed;

use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::app::{App, Effect};
use crate::theme::Depth;
use crate::{Options, Screen, Theme, wire};

/// A screen that is told what to do.
struct Seat {
    app: App,
    now: Duration,
    /// What it has asked and written.
    effects: Vec<Effect>,
}

impl Seat {
    fn new() -> Seat {
        Seat::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Options)) -> Seat {
        let mut options = Options {
            screen: Screen::Overview,
            theme: Theme::None,
            is_ascii: false,
            has_mouse: true,
            budgets: vec![("t2t".to_owned(), 50_000)],
            zone: Box::new(sample::time_of_day),
            version: "0.1.0",
            title: "sample.pcap".to_owned(),
        };
        change(&mut options);
        let dissect = Box::new(|bytes: &[u8]| sample::dissect(bytes));
        Seat { app: App::new(options, Depth::True, dissect), now: Duration::ZERO, effects: Vec::new() }
    }

    /// One that has seen these lines.
    fn fed(lines: impl IntoIterator<Item = String>) -> Seat {
        let mut seat = Seat::new();
        seat.feed(lines);
        seat
    }

    fn feed(&mut self, lines: impl IntoIterator<Item = String>) {
        for line in lines {
            self.app.line(wire::read(line.as_bytes()), self.now);
        }
        self.pass(100);
    }

    /// So many milliseconds pass; what is asked is answered.
    fn pass(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
        self.app.advance(self.now);
        self.answer();
    }

    fn answer(&mut self) {
        loop {
            let effects = self.app.take_effects();
            if effects.is_empty() {
                self.app.advance(self.now);
                while self.app.go_on(self.now) {}
                return;
            }
            for effect in effects {
                if let Effect::Ask(question) = &effect {
                    for line in sample::answer(question) {
                        self.app.line(wire::read(line.as_bytes()), self.now);
                    }
                }
                self.effects.push(effect);
            }
        }
    }

    /// Keys as they are written in the help, with blanks between them; `/text` types a text.
    fn press(&mut self, keys: &str) -> &mut Seat {
        for key in keys.split(' ') {
            let codes: Vec<KeyEvent> = match key.strip_prefix("type:") {
                Some(text) => text.replace('_', " ").chars().map(|char| code(&char.to_string())).collect(),
                None => vec![code(key)],
            };
            for event in codes {
                self.app.key(event, self.now);
                self.answer();
            }
        }
        self
    }

    fn frame(&self, columns: u16, rows: u16) -> String {
        crate::terminal::frame(&self.app, (columns, rows))
    }
}

fn code(key: &str) -> KeyEvent {
    let mut modifiers = KeyModifiers::NONE;
    let code = match key {
        "Enter" => KeyCode::Enter,
        "Esc" => KeyCode::Esc,
        "Tab" => KeyCode::Tab,
        "Shift-Tab" => KeyCode::BackTab,
        "Up" => KeyCode::Up,
        "Down" => KeyCode::Down,
        "Left" => KeyCode::Left,
        "Right" => KeyCode::Right,
        "PgUp" => KeyCode::PageUp,
        "PgDn" => KeyCode::PageDown,
        "Home" => KeyCode::Home,
        "End" => KeyCode::End,
        "Backspace" => KeyCode::Backspace,
        "Space" => KeyCode::Char(' '),
        _ => {
            let letter = key.strip_prefix("Ctrl-").map(str::to_lowercase);
            if letter.is_some() {
                modifiers = KeyModifiers::CONTROL;
            }
            KeyCode::Char(letter.as_deref().unwrap_or(key).chars().next().unwrap())
        }
    };
    KeyEvent::new(code, modifiers)
}
