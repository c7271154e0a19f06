//! Captures behind the protocol of the socket: a thread analyses them as `analyze` does, tells how far it is, sends the moments of
//! their time, and then answers questions until nobody reads any more.

use std::io::{self, ErrorKind};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use anyhow::{Context, anyhow};
use tickscope_model::Timestamp;

use super::answers::Answers;
use super::history::{self, Rest, Samples};
use super::keep::{Keep, Limits};
use super::lines::Lines;
use crate::app::analyze::{self, Task};
use crate::app::args::{ClockArgs, SelectionArgs};
use crate::app::collect::{Collected, Collector, Tables};
use crate::app::config::Settings;
use crate::app::open::{self, Prepared};
use crate::app::serve;
use crate::capture::Merged;
use crate::live::Rows;
use crate::pipeline::Pipeline;
use crate::pipeline::correlator::Correlator;
use crate::stats::{Groups, Snapshot, Summary};
use crate::write::{Question, Readers, snapshot_line};

/// Frames, or runs of packets, between two looks at how far it is.
const LOOK_EVERY: u64 = 64;
/// Rows in a snapshot.
const NEWEST: usize = 20;

/// What is to be analysed.
#[derive(Clone)]
pub(super) struct Captures {
    pub settings: Settings,
    pub selection: SelectionArgs,
    pub clock: ClockArgs,
}

/// A thread that somebody can read from.
pub(super) struct Running {
    pub stream: UnixStream,
    pub thread: JoinHandle<anyhow::Result<()>>,
}

impl Captures {
    /// Opens the captures, and starts the thread. What cannot be opened is told here.
    pub(super) fn start(self) -> anyhow::Result<Running> {
        let (stream, own) = UnixStream::pair()?;
        let (opened, is_opened) = sync_channel(1);
        let thread = thread::Builder::new().name("captures".to_owned()).spawn(move || self.run(own, &opened))?;
        // Where the thread ends before that it has an error of its own.
        if is_opened.recv().is_err() {
            return match thread.join() {
                Ok(Err(error)) => Err(error),
                Ok(Ok(())) => Err(anyhow!("the captures could not be opened")),
                Err(panicked) => std::panic::resume_unwind(panicked),
            };
        }
        Ok(Running { stream, thread })
    }

    fn run(self, stream: UnixStream, opened: &SyncSender<()>) -> anyhow::Result<()> {
        let prepared = open::prepare(&self.settings, &self.selection, &self.clock)?;
        let mut lines = Lines::new(stream)?;
        let _ = opened.send(());
        let result = self.serve(prepared, &mut lines);
        match result {
            Err(error) if is_gone(&error) => Ok(()),
            Err(error) => {
                let _ = lines.fail(&format!("{error:#}"));
                Err(error)
            }
            Ok(()) => Ok(()),
        }
    }

    fn serve(&self, prepared: Prepared, lines: &mut Lines) -> anyhow::Result<()> {
        let mut analysed = self.analyse(prepared, lines)?;
        let mut history = analysed.rest.take();
        let mut asked = lines.waiting();
        // Whoever asked something has to ask for the moments, too.
        if asked.is_none() {
            analysed.history(history.take(), lines)?;
            asked = lines.next();
        }
        while let Some(question) = asked {
            match question {
                // Once they were sent there are no further ones.
                Ok(Question::Stream) => analysed.history(history.take(), lines)?,
                question => {
                    let answer = analysed.answers.answer(question);
                    lines.send(&answer)?;
                }
            }
            asked = lines.next();
        }
        Ok(())
    }

    fn analyse(&self, mut prepared: Prepared, lines: &mut Lines) -> anyhow::Result<Analysed> {
        let Captures { settings, selection, clock } = self;
        let names = settings.captures.iter().map(|capture| capture.input.to_string()).collect::<Vec<_>>().join(", ");
        let task = Task { settings, selection, clock, threads: analyze::threads(), keeps_cases: true };
        lines.progress(prepared.captures.size().map(|_| 0.0), &format!("looking ahead in {names}"), true)?;
        let (mut correlator, clocks) = task.stages(&mut prepared)?;
        let leads = clocks.leads.clone();
        let mut summary = task.summary();
        summary.by_method = Some(Groups::default());
        let keep = Some(Keep::new(Limits::default()));
        let mut collector = Collector::start(summary, Tables::default(), keep, task.threads > 0)?;
        let (text, mut samples) = (format!("reading {names}"), Samples::default());
        lines.progress(prepared.captures.size().map(|_| 0.0), &text, true)?;
        let look = |captures: &Merged, pipeline: &Pipeline, correlator: &Correlator| {
            if let Some(time) = pipeline.taps.iter().filter_map(|tap| tap.last).max() {
                samples.look(time, [pipeline.frames_read(), correlator.messages.market]);
            }
            Ok(lines.progress(captures.size().map(|size| share(captures.position(), size)), &text, false)?)
        };
        let each = |correlator: &mut Correlator, now: Timestamp| {
            correlator.advance(now);
            collector.collect(correlator).context("keeping rows")
        };
        let stopped = open::run_with(&mut prepared, &mut correlator, each, (LOOK_EVERY, look))?;
        lines.progress(Some(1.0), "finding out which side slowed", true)?;
        let Collected { mut summary, keep, .. } = collector.finish(&mut correlator).context("keeping rows")?;
        task.complete(&mut summary, &prepared, &correlator, (clocks, stopped))?;
        let keep = keep.ok_or_else(|| anyhow!("the rows are gone"))?;
        let (rows, rest) = history::parts(keep.finish().context("keeping rows")?);
        let (first, last) = summary.span().unwrap_or_default();
        samples.end(last, [prepared.pipeline.frames_read(), correlator.messages.market]);
        let frames = Moments { first, last, samples };
        let snapshot = last_snapshot(&summary, &correlator, &frames);
        let line = snapshot_line(&snapshot, rows.newest().take(NEWEST), READER);
        let answers = Answers {
            settings: settings.clone(),
            leads,
            taps: summary.tap_names(),
            rows,
            summary,
            correlator,
            snapshot,
            line,
        };
        Ok(Analysed { answers, rest: Some(rest), moments: frames })
    }
}

/// The only reader.
const READER: Readers = Readers { connected: 1, dropped: 0, refused: 0 };

#[allow(clippy::cast_precision_loss, reason = "a share for people")]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// The reader is gone, which is no error.
fn is_gone(error: &anyhow::Error) -> bool {
    let kinds = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
    error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>()).any(|error| kinds.contains(&error.kind()))
}

/// The time of the captures.
struct Moments {
    first: Timestamp,
    last: Timestamp,
    samples: Samples,
}

/// Captures that were read to their end.
struct Analysed {
    answers: Answers,
    rest: Option<Rest>,
    moments: Moments,
}

/// That of the end, which is the report.
fn last_snapshot(summary: &Summary, correlator: &Correlator, moments: &Moments) -> Snapshot {
    Snapshot {
        number: history::moments(moments.first, moments.last).len() as u64 + 1,
        time: moments.last,
        start: moments.first,
        of_capture: true,
        conversation_count: correlator.pairer.sessions().count() as u64,
        feed_count: correlator.feeds.feeds.len() as u64,
        market_messages: correlator.messages.market,
        ..serve::last(summary, moments.last)
    }
}

impl Analysed {
    /// Sends the moments and the end, where they were not sent before.
    fn history(&mut self, rest: Option<Rest>, lines: &mut Lines) -> io::Result<()> {
        let Some(rest) = rest else { return Ok(()) };
        let Moments { first, last, samples } = &self.moments;
        let end = &mut self.answers.snapshot;
        let moments = history::moments(*first, *last);
        let mut before = (*first, [0, 0, 0]);
        let whole = Arc::new(end.summary.clone());
        let mut number = 0;
        let mut start = Summary::default();
        start.taps.clone_from(&whole.taps);
        start.attribution.threshold = whole.attribution.threshold;
        start.is_running = true;
        let rows: &Rows = &self.answers.rows;
        rest.replay(rows, start, &moments, |summary, time| {
            number += 1;
            let [frames, messages] = samples.at(time, *first);
            let now = (time, [frames, messages, summary.requests()]);
            let pace = history::pace(std::mem::replace(&mut before, now), now);
            let snapshot = Snapshot {
                number,
                time,
                start: *first,
                of_capture: true,
                whole: Some(Arc::clone(&whole)),
                conversation_count: end.conversation_count,
                feed_count: end.feed_count,
                market_messages: messages,
                pace,
                slowness: end.slowness.clone(),
                ..serve::groups(summary, summary.figures_so_far(), false)
            };
            lines.send(&snapshot_line(&snapshot, rows.newest_by(time).take(NEWEST), READER))
        })?;
        let [frames, messages] = samples.at(*last, *first);
        end.pace = history::pace(before, (*last, [frames, messages, end.summary.requests()]));
        self.answers.line = snapshot_line(end, self.answers.rows.newest().take(NEWEST), READER);
        lines.send(&self.answers.line)
    }
}

#[cfg(test)]
mod tests {
    //! Shipped captures behind the protocol: what is told is what `analyze` reports of them.

    use std::collections::BTreeMap;
    use std::io::{BufRead, BufReader, Write};
    use std::path::PathBuf;

    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use serde_json::{Value, json};

    use super::super::dissect::dissector;
    use super::*;
    use crate::app::config::settings::{Capture, Input};

    fn file(name: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("captures").join(name)
    }

    fn settings(path: PathBuf) -> Settings {
        let input = Input::File(path);
        let capture = Capture { name: Capture::default_name(&input), is_named: false, input };
        Settings { captures: vec![capture], ..Settings::default() }
    }

    /// Somebody who reads and asks.
    struct Asking {
        lines: std::io::Lines<BufReader<UnixStream>>,
        stream: UnixStream,
        thread: std::thread::JoinHandle<anyhow::Result<()>>,
    }

    impl Asking {
        fn of(settings: &Settings) -> Asking {
            let captures = Captures {
                settings: settings.clone(),
                selection: SelectionArgs::default(),
                clock: ClockArgs::default(),
            };
            let Running { stream, thread } = captures.start().unwrap();
            Asking { lines: BufReader::new(stream.try_clone().unwrap()).lines(), stream, thread }
        }

        fn next(&mut self) -> Value {
            serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap()
        }

        /// Everything up to the end of the captures.
        fn moments(&mut self) -> Vec<Value> {
            let mut all = Vec::new();
            loop {
                let value = self.next();
                assert!(value["error"].is_null(), "{value}");
                if value["tickscope_progress"] == 1 {
                    assert!(
                        all.is_empty() && value["text"].is_string() && value["done"].as_f64() <= Some(1.0),
                        "{value}"
                    );
                    continue;
                }
                assert_eq!((&value["tickscope_snapshot"], &value["of_capture"]), (&1.into(), &true.into()));
                let is_last = value["is_last"] == true;
                all.push(value);
                if is_last {
                    return all;
                }
            }
        }

        fn ask(&mut self, question: &Value) -> Value {
            self.stream.write_all(format!("{question}\n").as_bytes()).unwrap();
            let answer = self.next();
            assert_eq!(answer["query"], question["query"], "{answer}");
            answer
        }

        fn end(self) {
            drop((self.lines, self.stream));
            self.thread.join().unwrap().unwrap();
        }
    }

    fn without(value: &Value, keys: &[&str]) -> Value {
        match value {
            Value::Object(object) => {
                let rest = object.iter().filter(|(key, _)| !keys.contains(&key.as_str()));
                rest.map(|(key, value)| (key.clone(), without(value, keys))).collect::<serde_json::Map<_, _>>().into()
            }
            Value::Array(array) => array.iter().map(|value| without(value, keys)).collect(),
            other => other.clone(),
        }
    }

    const CAPTURES: [&str; 4] = ["exchange-slows", "calm", "lossy/lossy", "iex_deep/iex_deep"];

    #[test]
    fn the_last_moment_is_the_report_digit_for_digit() {
        for name in CAPTURES {
            let report = std::fs::read_to_string(file(&format!("{name}.report.json"))).unwrap();
            let report: Value = serde_json::from_str(&report).unwrap();
            let mut asking = Asking::of(&settings(file(&format!("{name}.pcap"))));
            let moments = asking.moments();
            asking.end();
            let last = moments.last().unwrap();
            assert_eq!(without(&last["segments"], &["buckets"]), report["segments"], "{name}");
            for key in [
                "first",
                "last",
                "requests",
                "requests_by_kind",
                "triggered",
                "sessions",
                "feeds",
                "order_sessions",
                "quality",
                "slowed",
                "verdict",
            ] {
                assert_eq!(last[key], report[key], "{name}: {key}");
            }
            assert_eq!(without(&last["taps"], &["file"]), without(&report["taps"], &["file"]), "{name}");
            assert_eq!(last["slowest"], without(&report["slowest"], &["explanations"]), "{name}");
            let attribution = &report["attribution"];
            for (cause, count) in last["causes"].as_object().unwrap() {
                assert_eq!(*count, attribution[cause], "{name}");
            }
            for moment in &moments {
                for key in ["taps", "feeds", "order_sessions", "quality", "slowed", "verdict", "first", "last"] {
                    assert_eq!(moment[key], last[key], "{name}: {key} is that of the whole");
                }
            }
        }
    }

    fn number(value: &Value) -> u64 {
        value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
    }

    /// All of them, some at a time, as objects.
    fn rows(asking: &mut Asking) -> Vec<BTreeMap<String, Value>> {
        let (mut all, mut after) = (Vec::new(), 0);
        loop {
            let answer = asking.ask(&json!({ "query": "rows", "after": after, "most": 100 }));
            let names: Vec<String> = serde_json::from_value(answer["columns"].clone()).unwrap();
            let rows: Vec<Vec<Value>> = serde_json::from_value(answer["rows"].clone()).unwrap();
            assert_eq!(answer["missed"], 0);
            if rows.is_empty() {
                assert_eq!((number(&answer["last"]), &answer["first"]), (after, &Value::Null));
                return all;
            }
            assert_eq!(number(&answer["first"]), after + 1);
            after += rows.len() as u64;
            all.extend(rows.into_iter().map(|row| names.iter().cloned().zip(row).collect()));
        }
    }

    #[test]
    fn moments_have_the_requests_that_were_sent_up_to_then() {
        let mut asking = Asking::of(&settings(file("exchange-slows.pcap")));
        let moments = asking.moments();
        let rows = rows(&mut asking);
        asking.end();
        assert_eq!((moments.len(), rows.len()), (300, 368));
        let sent: Vec<u64> = rows.iter().map(|row| number(&row["t_out_ns"])).collect();
        assert!(sent.windows(2).all(|two| two[0] <= two[1]));
        let (mut time, mut messages) = (0, 0);
        for (at, moment) in moments.iter().enumerate() {
            assert_eq!(number(&moment["number"]), at as u64 + 1);
            let now = number(&moment["t_ns"]);
            assert!(time < now && messages <= number(&moment["market_messages"]));
            (time, messages) = (now, number(&moment["market_messages"]));
            let by_then = sent.iter().filter(|sent| **sent <= now).count();
            assert_eq!(number(&moment["requests"]), by_then as u64);
            let acks = rows.iter().take(by_then).filter(|row| !row["ack_ns"].is_null()).count() as u64;
            assert_eq!(moment["segments"]["ack"]["n"].as_u64().unwrap_or(0), acks);
            let newest = moment["newest"].as_array().unwrap();
            assert_eq!(newest.len(), by_then.min(20));
            for (newest, row) in newest.iter().zip(rows[..by_then].iter().rev()) {
                assert_eq!((&newest["clordid"], &newest["outcome"]), (&row["clordid"], &row["outcome"]));
            }
        }
        let per_second = |moment: &Value| number(&moment["rates"]["market_messages_per_s"]);
        let total = moments.iter().map(|moment| per_second(moment) * number(&moment["rates"]["over_ns"])).sum::<u64>();
        assert!(messages.abs_diff(total / 1_000_000_000) < messages / 50, "{total} {messages}");
    }

    #[test]
    fn questions_are_answered_as_by_a_daemon() {
        let settings = settings(file("exchange-slows.pcap"));
        let mut asking = Asking::of(&settings);
        let last = asking.moments().pop().unwrap();
        let rows = rows(&mut asking);
        let row = rows.iter().rev().find(|row| row["trigger_seq"].is_u64() && row["request"] == "new").unwrap();
        let of_row = |query: &str| json!({ "query": query, "session": row["session"], "clordid": row["clordid"] });
        let order = asking.ask(&of_row("order"));
        for column in ["t_out_ns", "t2t_ns", "symbol", "outcome", "price"] {
            assert_eq!(order["order"][column], row[column]);
        }
        let candidates = order["candidates"].as_array().unwrap();
        let trigger = candidates.iter().find(|it| it["seq"] == row["trigger_seq"]).unwrap();
        assert_eq!(trigger["age_ns"], row["t2t_ns"]);
        let distance = trigger["probability"].as_f64().unwrap() - row["trigger_confidence"].as_f64().unwrap();
        assert!(distance.abs() < 0.002, "{trigger}");

        for by in ["session", "symbol", "venue", "outcome", "method"] {
            let answer = asking.ask(&json!({ "query": "groups", "by": by }));
            let groups = answer["groups"].as_array().unwrap();
            let sum: u64 = groups.iter().map(|group| number(&group["requests"])).sum();
            assert_eq!((sum, &answer["left_out"], &answer["t_ns"]), (368, &0.into(), &last["t_ns"]), "{by}");
        }
        let venue = asking.ask(&json!({ "query": "groups", "by": "venue" }));
        assert_eq!(venue["groups"][0]["name"], "EXCHANGE");
        assert_eq!(without(&venue["groups"][0]["segments"], &["buckets"]), last["sessions"][0]["segments"]);
        let session = asking.ask(&json!({ "query": "session", "session": "TRADER->EXCHANGE" }));
        assert_eq!(session["session"]["requests"], 368);
        let snapshot = json!({ "query": "snapshot" });
        let asked = format!("{{\"query\":\"stream\"}}\n{snapshot}\nnonsense\n");
        asking.stream.write_all(asked.as_bytes()).unwrap();
        assert_eq!(asking.next(), last, "the moments were sent before, and there are no further ones");
        assert!(asking.next()["error"].as_str().unwrap().contains("no JSON"));

        let packets = asking.ask(&of_row("packets"));
        assert_eq!((&packets["error"], &packets["missing"]), (&Value::Null, &json!([])));
        asking.end();
        let pcapng = BASE64_STANDARD.decode(packets["pcapng"].as_str().unwrap()).unwrap();
        let frames = dissector(&settings)(&pcapng).unwrap();
        assert_eq!(frames.len() as u64, number(&packets["frames"]));
        let titles: Vec<&str> = frames.iter().map(|frame| frame.title.as_str()).collect();
        assert!(titles[0].starts_with("frame ") && titles[0].contains("UDP"), "{titles:?}");
        assert!(titles.iter().any(|title| title.contains("fix NewOrderSingle")), "{titles:?}");
        assert!(titles.iter().any(|title| title.contains("fix ExecutionReport")), "{titles:?}");
        let clordid = row["clordid"].as_str().unwrap();
        let has_id = |frame: &&tickscope_tui::FrameView| frame.fields.iter().any(|(_, value)| value == clordid);
        assert!(frames.iter().any(|frame| has_id(&frame)));
        let times: Vec<u64> = frames.iter().map(|frame| frame.t_ns).collect();
        assert!(times.contains(&number(&row["t_out_ns"])) && times.contains(&number(&row["trigger_t_ns"])));
    }

    #[test]
    fn who_asks_first_is_sent_answers_alone() {
        let mut asking = Asking::of(&settings(file("calm.pcap")));
        asking.stream.write_all(b"{\"query\":\"snapshot\"}\n").unwrap();
        let mut kinds = Vec::new();
        loop {
            let value = asking.next();
            if value["tickscope_progress"] != 1 {
                kinds.push(value["is_last"].clone());
                break;
            }
        }
        assert_eq!(kinds, [Value::Bool(true)]);
        asking.stream.write_all(b"{\"query\":\"stream\"}\n").unwrap();
        assert_eq!(asking.moments().len(), 300);
        asking.end();
    }

    #[test]
    fn what_cannot_be_opened_is_told_before_there_is_a_screen() {
        let captures = Captures {
            settings: settings(PathBuf::from("/nonexistent/x.pcap")),
            selection: SelectionArgs::default(),
            clock: ClockArgs::default(),
        };
        let error = format!("{:#}", captures.start().err().unwrap());
        assert!(error.contains("/nonexistent/x.pcap"), "{error}");
    }

    #[test]
    fn a_screen_that_goes_ends_the_thread() {
        let asking = Asking::of(&settings(file("exchange-slows.pcap")));
        asking.end();
    }
}
