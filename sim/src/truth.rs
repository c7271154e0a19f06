//! What is true, as each observation point saw it. The recorder is told which frame carries which bytes of which
//! message, at the moment the frame stands in a capture; nothing is decoded again. Definitions are those of
//! INTERFACE.md: a message's time is that of the frame with its last byte, the first time that byte is seen.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Write};

use crate::exchange::Answer;
use crate::scenario::Scenario;
use crate::time::SECOND;

/// How many packets of market data are remembered in case one of them turns out to be a trigger.
const REMEMBERED: usize = 100_000;

/// INTERFACE.md has a window for wall-to-wall latency: further apart, two sightings are not taken for one request.
const WALL_WINDOW: u64 = SECOND;

/// Whether an answer belongs into a column.
type IsIt = fn(Answer) -> bool;

/// A message of market data that made the trader act.
#[derive(Clone, Debug)]
pub(crate) struct Cause {
    pub(crate) packet: u64,
    /// Where the message ends in the packet's payload.
    pub(crate) end: u32,
    pub(crate) sequence: u64,
    pub(crate) name: &'static str,
    pub(crate) symbol: String,
    /// The message for people.
    pub(crate) text: String,
}

/// A request on one leg.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    pub(crate) session: String,
    pub(crate) clordid: String,
    pub(crate) orig_clordid: String,
    pub(crate) chain: String,
    pub(crate) kind: &'static str,
    pub(crate) symbol: String,
    pub(crate) side: &'static str,
    pub(crate) price: String,
    pub(crate) quantity: u32,
    pub(crate) cause: Option<Cause>,
    pub(crate) internal_ns: Option<u64>,
    pub(crate) exchange_ns: Option<u64>,
    /// The request that a gateway made this one from.
    pub(crate) passed_on: Option<usize>,
    /// Stream and place in it; `None` while it was not written to a connection.
    pub(crate) written: Option<(usize, usize)>,
    pub(crate) answers: Vec<Sending>,
}

/// One sending of an answer: its stream and place in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sending {
    answer: Answer,
    at: (usize, usize),
    /// Sent again after a reconnect, as a possible duplicate. It counts where no earlier sending was captured.
    is_copy: bool,
}

impl Request {
    /// The same request as a gateway sends it: written and answered anew.
    pub(crate) fn pass_on(&self) -> Request {
        Request { written: None, answers: Vec::new(), exchange_ns: None, ..self.clone() }
    }
}

/// What a message in a stream is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Meaning {
    Request(usize),
    Answer(usize, Answer),
    /// The same once more, as a possible duplicate.
    AnswerAgain(usize, Answer),
    /// Heartbeats, pending states, copies: nothing that is measured.
    Other,
}

/// One direction of one TCP connection.
#[derive(Debug)]
struct Stream {
    /// Start and end of each message; they follow one another.
    messages: Vec<(u64, u64)>,
    seen: Vec<StreamSeen>,
}

/// What one point saw of a stream.
#[derive(Clone, Debug, Default)]
struct StreamSeen {
    /// Bytes that were captured: sorted, joined intervals.
    covered: Vec<(u64, u64)>,
    /// By message: time and frame of its last byte.
    last_byte: Vec<Option<Sight>>,
    acks: Vec<Option<Sight>>,
    next_ack: usize,
}

/// A frame in a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sight {
    pub(crate) time: u64,
    pub(crate) tap: usize,
    pub(crate) frame: u64,
}

/// A packet of market data in a capture.
#[derive(Clone, Copy, Debug)]
struct PacketSight {
    point: usize,
    line: usize,
    visible: u32,
    time: u64,
}

/// Collects the truth of one run.
#[derive(Debug)]
pub(crate) struct Recorder {
    /// The observation point of each tap.
    pub(crate) points: Vec<usize>,
    point_count: usize,
    has_market: Vec<bool>,
    streams: Vec<Stream>,
    pub(crate) requests: Vec<Request>,
    packets: VecDeque<Vec<PacketSight>>,
    /// Number of the first packet in `packets`.
    first_packet: u64,
    pinned: HashMap<u64, Vec<PacketSight>>,
}

impl Recorder {
    pub(crate) fn new(scenario: &Scenario) -> Recorder {
        let mut names: Vec<String> = Vec::new();
        let points: Vec<usize> = (scenario.tap.iter())
            .map(|tap| {
                let name = if tap.group.is_empty() { format!("tap {}", tap.name) } else { tap.group.clone() };
                names.iter().position(|known| *known == name).unwrap_or_else(|| {
                    names.push(name);
                    names.len() - 1
                })
            })
            .collect();
        Recorder {
            points,
            point_count: names.len(),
            has_market: vec![false; names.len()],
            streams: Vec::new(),
            requests: Vec::new(),
            packets: VecDeque::new(),
            first_packet: 0,
            pinned: HashMap::new(),
        }
    }

    /// The number of the stream from the client; the one from the server is the next.
    pub(crate) fn new_connection(&mut self) -> usize {
        for _ in 0..2 {
            self.streams.push(Stream { messages: Vec::new(), seen: vec![StreamSeen::default(); self.point_count] });
        }
        self.streams.len() - 2
    }

    pub(crate) fn new_request(&mut self, request: Request) -> usize {
        self.requests.push(request);
        self.requests.len() - 1
    }

    /// A message was written to a stream.
    pub(crate) fn written(&mut self, stream: usize, start: u64, end: u64, meaning: Meaning) {
        let place = self.streams[stream].messages.len();
        self.streams[stream].messages.push((start, end));
        for seen in &mut self.streams[stream].seen {
            seen.last_byte.push(None);
            seen.acks.push(None);
        }
        match meaning {
            Meaning::Request(request) => self.requests[request].written = Some((stream, place)),
            Meaning::Answer(request, answer) | Meaning::AnswerAgain(request, answer) => {
                let is_copy = matches!(meaning, Meaning::AnswerAgain(..));
                self.requests[request].answers.push(Sending { answer, at: (stream, place), is_copy });
            }
            Meaning::Other => {}
        }
    }

    /// A TCP segment stands in a capture; its bytes from `start` to `end` were captured, and its ACK field, if any.
    pub(crate) fn segment(&mut self, stream: usize, (start, end): (u64, u64), ack: Option<u64>, sight: Sight) {
        let point = self.points[sight.tap];
        if start < end {
            let Stream { messages, seen } = &mut self.streams[stream];
            let seen = &mut seen[point];
            let first = messages.partition_point(|message| message.1 <= start);
            for (place, _) in messages.iter().enumerate().skip(first).take_while(|(_, message)| message.1 <= end) {
                seen.last_byte[place].get_or_insert(sight);
            }
            cover(&mut seen.covered, start, end);
        }
        if let Some(ack) = ack {
            let Stream { messages, seen } = &mut self.streams[stream ^ 1];
            let seen = &mut seen[point];
            while messages.get(seen.next_ack).is_some_and(|message| message.1 <= ack) {
                // An ACK of a message that this point never saw says nothing about it.
                seen.acks[seen.next_ack] = seen.last_byte[seen.next_ack].map(|_| sight);
                seen.next_ack += 1;
            }
        }
    }

    /// A packet of market data stands in a capture, with so much of its payload.
    pub(crate) fn packet(&mut self, number: u64, line: usize, visible: u32, tap: usize, time: u64) {
        let point = self.points[tap];
        self.has_market[point] = true;
        let sight = PacketSight { point, line, visible, time };
        if let Some(sights) = self.pinned.get_mut(&number) {
            sights.push(sight);
            return;
        }
        let Some(place) = number.checked_sub(self.first_packet) else { return };
        let place = usize::try_from(place).expect("bounded below");
        while self.packets.len() <= place {
            self.packets.push_back(Vec::with_capacity(2));
        }
        self.packets[place].push(sight);
        while self.packets.len() > REMEMBERED {
            self.packets.pop_front();
            self.first_packet += 1;
        }
    }

    /// Somebody acted upon this packet: keep what is known of it, and what comes.
    pub(crate) fn pin(&mut self, number: u64) {
        let place = number.checked_sub(self.first_packet).and_then(|place| usize::try_from(place).ok());
        let known = place.and_then(|place| self.packets.get(place)).cloned().unwrap_or_default();
        self.pinned.entry(number).or_insert(known);
    }

    /// When and where the point saw a message, if it saw all of it.
    fn sight(&self, point: usize, (stream, place): (usize, usize)) -> Option<Sight> {
        let (start, end) = *self.streams[stream].messages.get(place)?;
        let seen = &self.streams[stream].seen[point];
        let at = seen.covered.partition_point(|interval| interval.1 < end);
        let whole = seen.covered.get(at).is_some_and(|interval| interval.0 <= start);
        if whole { seen.last_byte[place] } else { None }
    }

    /// When the trigger of a request at this point was first seen, and on which line.
    fn trigger_sight(&self, point: usize, cause: &Cause) -> Option<PacketSight> {
        let near = std::iter::once(point).chain(0..self.point_count).find(|&one| self.has_market[one])?;
        let sights = self.pinned.get(&cause.packet)?;
        let whole = sights.iter().filter(|sight| sight.point == near && sight.visible >= cause.end);
        whole.min_by_key(|sight| sight.time).copied()
    }

    /// The rows of truth.csv, in time order.
    pub(crate) fn rows(&self, scenario: &Scenario) -> Vec<Row> {
        let mut seen: Vec<Option<(usize, Sight)>> = Vec::with_capacity(self.requests.len());
        for request in &self.requests {
            let sight =
                request.written.and_then(|at| (0..self.point_count).find_map(|p| Some((p, self.sight(p, at)?))));
            seen.push(sight);
        }
        let mut walls: HashMap<usize, Option<(usize, usize)>> = HashMap::new();
        for (at, request) in self.requests.iter().enumerate() {
            let Some(from) = request.passed_on else { continue };
            match (seen[from], seen[at]) {
                // On the later of the two, in the clocks of their taps.
                (Some((_, before)), Some((_, after))) if after.time < before.time => {
                    walls.insert(from, Some((at, from)));
                }
                (Some((_, before)), Some((_, after))) if after.time - before.time <= WALL_WINDOW => {
                    walls.insert(at, Some((from, at)));
                }
                _ => _ = walls.insert(at, None),
            }
        }
        let time = |at: usize| seen[at].map_or(0, |(_, sight)| sight.time);
        let mut rows: Vec<Row> = (self.requests.iter().enumerate())
            .filter(|(_, request)| request.written.is_some())
            .map(|(at, request)| {
                let mut row = self.row(scenario, request, seen[at]);
                match walls.get(&at) {
                    Some(Some((before, after))) => row.latency("w2w_ns", time(*before), time(*after)),
                    Some(None) => row.hide(&["w2w_ns"]),
                    None => {}
                }
                row
            })
            .collect();
        rows.sort_by_key(|row| (row.time("t_out_ns"), row.number));
        rows
    }

    fn row(&self, scenario: &Scenario, request: &Request, seen: Option<(usize, Sight)>) -> Row {
        let mut row = Row::default();
        row.set("session", &request.session);
        row.set("clordid", &request.clordid);
        row.set("orig_clordid", &request.orig_clordid);
        row.set("chain", &request.chain);
        row.set("request", request.kind);
        row.set("symbol", &request.symbol);
        row.set("side", request.side);
        row.set("price", &request.price);
        row.set("qty", &request.quantity.to_string());
        row.set("internal_ns", &request.internal_ns.map_or(String::new(), |ns| ns.to_string()));
        row.set("exchange_ns", &request.exchange_ns.map_or(String::new(), |ns| ns.to_string()));
        row.set("cause", if request.cause.is_some() { "market_data" } else { "none" });
        row.set("trigger_message", request.cause.as_ref().map_or("", |cause| &cause.text));
        let Some((point, out)) = seen else {
            // Never captured as a whole: there can be no row for it.
            row.hide(&["t_out_ns", "t2t_ns"]);
            return row;
        };
        row.number = out.frame;
        row.set("tap", &scenario.tap[out.tap].name);
        row.set("t_out_ns", &out.time.to_string());
        self.trigger_columns(scenario, request, point, out, &mut row);
        self.answer_columns(request, point, out, &mut row);
        if request.answers.iter().all(|one| self.sight(point, one.at).is_none()) {
            row.flag("unanswered");
        }
        row
    }

    fn trigger_columns(&self, scenario: &Scenario, request: &Request, point: usize, out: Sight, row: &mut Row) {
        let Some(cause) = &request.cause else { return };
        let Some(sight) = self.trigger_sight(point, cause) else {
            return row.hide(&[
                "trigger_t_ns",
                "trigger_feed",
                "trigger_seq",
                "trigger_msg",
                "trigger_symbol",
                "t2t_ns",
            ]);
        };
        let line = &scenario.line[sight.line];
        row.set("trigger_t_ns", &sight.time.to_string());
        row.set("trigger_feed", &format!("{} {}", line.group, line.name));
        row.set("trigger_seq", &cause.sequence.to_string());
        row.set("trigger_msg", cause.name);
        row.set("trigger_symbol", &cause.symbol);
        row.latency("t2t_ns", sight.time, out.time);
    }

    fn answer_columns(&self, request: &Request, point: usize, out: Sight, row: &mut Row) {
        let (stream, place) = request.written.expect("rows are made of written requests");
        let ack = self.streams[stream].seen[point].acks[place];
        match ack {
            Some(ack) => row.latency("tcp_ack_ns", out.time, ack.time),
            None => row.hide(&["tcp_ack_ns"]),
        }
        let wanted: [(&'static str, IsIt); 6] = [
            ("ack_ns", |answer| answer == Answer::Ack),
            ("reject_ns", |answer| answer == Answer::Reject),
            ("first_fill_ns", |answer| matches!(answer, Answer::Fill { .. })),
            ("full_fill_ns", |answer| answer == Answer::Fill { is_last: true }),
            ("cancel_ack_ns", |answer| answer == Answer::CancelAck),
            ("replace_ack_ns", |answer| answer == Answer::ReplaceAck),
        ];
        for (column, is_it) in wanted {
            let mut answers = request.answers.iter().filter(|one| is_it(one.answer)).peekable();
            if answers.peek().is_none() {
                continue;
            }
            let seen = answers.filter_map(|one| Some((self.sight(point, one.at)?, one.is_copy)));
            match seen.min_by_key(|(sight, _)| sight.time) {
                Some((sight, is_copy)) => {
                    row.latency(column, out.time, sight.time);
                    if is_copy {
                        row.flag("resent");
                    }
                }
                None => row.hide(&[column]),
            }
        }
        let mut answers = request.answers.iter().filter_map(|one| self.sight(point, one.at));
        if ack.is_some_and(|ack| answers.any(|sight| sight == ack)) {
            row.flag("ack_with_answer");
        }
    }
}

/// Adds an interval to sorted, joined intervals.
fn cover(intervals: &mut Vec<(u64, u64)>, start: u64, end: u64) {
    let from = intervals.partition_point(|interval| interval.1 < start);
    let to = intervals.partition_point(|interval| interval.0 <= end);
    let joined = match intervals.get(from..to) {
        Some([first, .., last]) => (first.0.min(start), last.1.max(end)),
        Some([only]) => (only.0.min(start), only.1.max(end)),
        _ => (start, end),
    };
    intervals.splice(from..to, [joined]);
}

/// The columns of `--orders` in INTERFACE.md, then the simulator's own.
pub const COLUMNS: [&str; 35] = [
    "tap",
    "session",
    "clordid",
    "orig_clordid",
    "chain",
    "request",
    "symbol",
    "side",
    "price",
    "qty",
    "t_out_ns",
    "trigger_t_ns",
    "trigger_feed",
    "trigger_seq",
    "trigger_msg",
    "trigger_symbol",
    "trigger_method",
    "trigger_confidence",
    "t2t_ns",
    "tcp_ack_ns",
    "ack_ns",
    "reject_ns",
    "first_fill_ns",
    "full_fill_ns",
    "cancel_ack_ns",
    "replace_ack_ns",
    "w2w_ns",
    "flags",
    "t2t_min_ns",
    "t2t_max_ns",
    "trigger_message",
    "internal_ns",
    "exchange_ns",
    "unobservable",
    "cause",
];

/// One row of truth.csv.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    cells: [String; COLUMNS.len()],
    number: u64,
}

impl Default for Row {
    fn default() -> Row {
        Row { cells: std::array::from_fn(|_| String::new()), number: 0 }
    }
}

impl Row {
    fn cell(&mut self, column: &str) -> &mut String {
        let at = COLUMNS.iter().position(|known| *known == column).expect("a known column");
        &mut self.cells[at]
    }

    fn set(&mut self, column: &str, value: &str) {
        value.clone_into(self.cell(column));
    }

    fn time(&self, column: &str) -> u64 {
        self.clone().cell(column).parse().unwrap_or(u64::MAX)
    }

    /// From one time to another; negative where clocks or the order of things make it so.
    fn latency(&mut self, column: &str, from: u64, to: u64) {
        let difference = i128::from(to) - i128::from(from);
        self.set(column, &difference.to_string());
        if difference < 0 {
            self.flag("negative");
        }
    }

    fn flag(&mut self, word: &str) {
        let flags = self.cell("flags");
        if !flags.split(' ').any(|known| known == word) {
            if !flags.is_empty() {
                flags.push(' ');
            }
            flags.push_str(word);
        }
    }

    /// Marks columns as not observable.
    fn hide(&mut self, columns: &[&str]) {
        let cell = self.cell("unobservable");
        for column in columns {
            if !cell.is_empty() {
                cell.push(' ');
            }
            cell.push_str(column);
        }
    }
}

/// Writes truth.csv.
pub(crate) fn write_rows(rows: &[Row], out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", COLUMNS.join(","))?;
    for row in rows {
        let mut line = String::with_capacity(300);
        for (at, cell) in row.cells.iter().enumerate() {
            if at > 0 {
                line.push(',');
            }
            if cell.contains([',', '"', '\n']) {
                line.push('"');
                line.push_str(&cell.replace('"', "\"\""));
                line.push('"');
            } else {
                line.push_str(cell);
            }
        }
        writeln!(out, "{line}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_join() {
        let mut intervals = Vec::new();
        for (start, end) in [(10, 20), (30, 40), (20, 25), (50, 60), (24, 51), (0, 5)] {
            cover(&mut intervals, start, end);
        }
        assert_eq!(intervals, [(0, 5), (10, 60)]);
    }

    #[test]
    fn a_message_with_a_hole_was_not_seen_and_its_first_last_byte_counts() {
        let scenario = Scenario::parse("", "test").unwrap();
        let mut recorder = Recorder::new(&scenario);
        let stream = recorder.new_connection();
        recorder.written(stream, 1, 101, Meaning::Other);
        recorder.written(stream, 101, 201, Meaning::Other);
        let sight = |time| Sight { time, tap: 0, frame: time };
        recorder.segment(stream, (51, 150), None, sight(1));
        recorder.segment(stream, (1, 40), None, sight(2));
        assert_eq!(recorder.sight(0, (stream, 0)), None);
        recorder.segment(stream, (1, 101), None, sight(3));
        recorder.segment(stream, (150, 201), None, sight(4));
        assert_eq!(recorder.sight(0, (stream, 0)), Some(sight(1)));
        assert_eq!(recorder.sight(0, (stream, 1)), Some(sight(4)));
        recorder.segment(stream + 1, (1, 1), Some(200), sight(5));
        recorder.segment(stream + 1, (1, 1), Some(201), sight(6));
        let acks = &recorder.streams[stream].seen[0].acks;
        assert_eq!(acks[..], [Some(sight(5)), Some(sight(6))]);
    }
}
