//! What is said on stderr: a line for people, or a JSON object for whoever collects logs. While a screen has the terminal it
//! is held, and said when the screen is gone.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use clap::ValueEnum;
use serde_json::json;
use tickscope_model::Timestamp;
use tickscope_nic::clock;

use crate::write::utc;

/// How a line of the log is written.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// `tickscope: note: text`
    #[default]
    Text,
    /// An object a line: time, level, text
    Json,
}

static IS_JSON: AtomicBool = AtomicBool::new(false);

/// From now on lines are written so.
pub(super) fn write_as(format: LogFormat) {
    IS_JSON.store(format == LogFormat::Json, Ordering::Relaxed);
}

/// One line on stderr, `tickscope: error: …`, whatever line breaks the text has.
pub fn complain(level: &str, text: &str) {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = if IS_JSON.load(Ordering::Relaxed) {
        as_json(Timestamp(clock::now_utc_ns()), level, &text)
    } else {
        format!("tickscope: {level}: {text}\n")
    };
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    match &mut *held {
        Some(lines) => {
            lines.push_back(line);
            lines.drain(..lines.len().saturating_sub(MOST_HELD));
        }
        None => write(&line),
    }
}

/// Lines that wait; only the newest are kept.
static HELD: Mutex<Option<VecDeque<String>>> = Mutex::new(None);
const MOST_HELD: usize = 1000;

/// While this lives, lines wait.
pub(super) struct Hold(());

impl Hold {
    pub(super) fn new() -> Hold {
        HELD.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default();
        Hold(())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let lines = HELD.lock().unwrap_or_else(PoisonError::into_inner).take();
        lines.into_iter().flatten().for_each(|line| write(&line));
    }
}

fn write(line: &str) {
    // Nobody is left to be told where this fails.
    let _ = io::stderr().lock().write_all(line.as_bytes());
}

fn as_json(now: Timestamp, level: &str, text: &str) -> String {
    format!("{}\n", json!({ "time": utc(now).to_string(), "t_ns": now.0, "level": level, "text": text }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_json_has_its_time_in_utc() {
        let line = as_json(Timestamp(1_767_623_400_065_042_140), "note", "tap \"md\"");
        let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let expected = json!({
            "time": "2026-01-05T14:30:00.06504214Z",
            "t_ns": 1_767_623_400_065_042_140_u64,
            "level": "note",
            "text": "tap \"md\"",
        });
        assert!(value == expected && line.ends_with('\n') && line.lines().count() == 1, "{line}");
    }
}
