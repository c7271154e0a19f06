//! What is said on stderr: a line for people, or a JSON object for whoever collects logs. The events are those of `tracing`
//! (`error!`, `warn!`, `info!`), with the tap that they are about as a field. While a screen has the terminal lines are held, and
//! said when the screen is gone.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use clap::ValueEnum;
use serde_json::json;
use tickscope_model::Timestamp;
use tickscope_nic::clock;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::write::utc;

/// How a line of the log is written.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// `tickscope: note: text`
    #[default]
    Text,
    /// An object a line: time, level, text, and the tap if it is about one
    Json,
}

static IS_JSON: AtomicBool = AtomicBool::new(false);

/// From now on lines are written so.
pub(super) fn write_as(format: LogFormat) {
    IS_JSON.store(format == LogFormat::Json, Ordering::Relaxed);
}

/// From now on events become lines.
pub(super) fn start() {
    let take = |level, said: &Said| {
        say(said.line(level, Timestamp(clock::now_utc_ns()), IS_JSON.load(Ordering::Relaxed)));
    };
    // Whoever has called us from another program may have a subscriber of his own, which then gets them.
    let _ = tracing::subscriber::set_global_default(Lines(take));
}

/// Hands on what each event says. Nothing here opens spans.
struct Lines<T>(T);

impl<T: Fn(Level, &Said) + Send + Sync + 'static> Subscriber for Lines<T> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::INFO)
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut said = Said::default();
        event.record(&mut said);
        (self.0)(*event.metadata().level(), &said);
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

/// The fields of an event that a line shows.
#[derive(Default)]
struct Said {
    text: String,
    tap: Option<String>,
    /// What stands in the place of the level's name.
    word: Option<String>,
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.text = format!("{value:?}");
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.text),
            "tap" => self.tap = Some(value.to_owned()),
            "word" => self.word = Some(value.to_owned()),
            _ => {}
        }
    }
}

impl Said {
    /// One line, whatever line breaks the text has.
    fn line(&self, level: Level, now: Timestamp, is_json: bool) -> String {
        let name = match level {
            Level::ERROR => "error",
            Level::WARN => "warning",
            _ => "note",
        };
        let level = self.word.as_deref().unwrap_or(name);
        let words = self.text.split_whitespace().collect::<Vec<_>>().join(" ");
        let text = match &self.tap {
            Some(tap) => format!("tap {tap}: {words}"),
            None => words,
        };
        if !is_json {
            return format!("tickscope: {level}: {text}\n");
        }
        let mut object = json!({ "time": utc(now).to_string(), "t_ns": now.0, "level": level, "text": text });
        if let (Some(tap), Some(object)) = (&self.tap, object.as_object_mut()) {
            object.insert("tap".to_owned(), tap.as_str().into());
        }
        format!("{object}\n")
    }
}

/// Lines that wait; only the newest are kept.
static HELD: Mutex<Option<VecDeque<String>>> = Mutex::new(None);
const MOST_HELD: usize = 1000;

fn say(line: String) {
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    match &mut *held {
        Some(lines) => {
            lines.push_back(line);
            lines.drain(..lines.len().saturating_sub(MOST_HELD));
        }
        None => write(&line),
    }
}

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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::Value;

    use super::*;

    const NOW: Timestamp = Timestamp(1_767_623_400_065_042_140);

    #[test]
    fn an_event_is_one_line_of_text_or_json_with_its_tap_and_its_time_in_utc() {
        let caught: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
        let lines = Arc::clone(&caught);
        let take = move |level, said: &Said| {
            let [text, json] = [false, true].map(|is_json| said.line(level, NOW, is_json));
            assert!(json.ends_with('\n') && json.lines().count() == 1, "{json}");
            lines.lock().expect("no panic").push((text, serde_json::from_str(&json).expect("JSON")));
        };
        tracing::subscriber::with_default(Lines(take), || {
            let lost = 3;
            tracing::info!(tap = "md", "\"eth1\"\n lost {lost} frames");
            tracing::warn!("slow");
            tracing::error!(word = "failed", "{} of {}", 1, 2);
            tracing::debug!("nobody asked for this");
        });
        let object = |level: &str, text: &str| json!({ "time": "2026-01-05T14:30:00.06504214Z", "t_ns": NOW.0, "level": level, "text": text });
        let mut with_tap = object("note", "tap md: \"eth1\" lost 3 frames");
        with_tap["tap"] = "md".into();
        let expected = [
            ("tickscope: note: tap md: \"eth1\" lost 3 frames\n".to_owned(), with_tap),
            ("tickscope: warning: slow\n".to_owned(), object("warning", "slow")),
            ("tickscope: failed: 1 of 2\n".to_owned(), object("failed", "1 of 2")),
        ];
        assert_eq!(*caught.lock().expect("no panic"), expected);
    }
}
