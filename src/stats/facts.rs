//! What the other stages tell the report about a run: taps, feeds, sessions, totals and the trigger rule in force.
//! Plain values, set once; the numbers that must add up are checked in `accounting`.

use tickscope_model::{Nanos, TapId, Timestamp};

use super::{Histogram, Piece};
use crate::capture::stamp::{Edge, Stamps};

/// One tap: a capture file, or an interface of a pcapng.
#[derive(Clone, Debug, Default)]
pub struct Tap {
    pub name: String,
    pub file: String,
    pub frames: u64,
    /// Captured bytes of its frames.
    pub bytes: u64,
    pub first: Option<Timestamp>,
    pub last: Option<Timestamp>,
    /// The letter that the user gave it: D, E, J or K.
    pub point: Option<char>,
    /// Market data that became events was seen here.
    pub has_market: bool,
    /// Requests were seen here.
    pub has_orders: bool,
    /// The unit of the capture's stamps in nanoseconds; 0 where it is not known.
    pub resolution_ns: u64,
    /// Who stamped its frames, where that is not the capture itself.
    pub stamps: Option<Stamps>,
    /// Which edge of a frame the user says that its times mean.
    pub edge: Option<Edge>,
    /// Added to its times, because the user says so.
    pub offset: Nanos,
    /// Which clock stamps it, as [`ClockRelation`] names it.
    pub clock_name: String,
    /// How far its clock is ahead of the exchange's stamps.
    pub exchange: Option<ExchangeAhead>,
    /// About its clock, for people: `shares a clock with the others`, `-37 µs added`.
    pub clock: String,
    /// Where and how the file ends early: `inside frame 812, at byte 91 204`.
    pub cut: Option<String>,
    /// How it was captured, where it is an interface.
    pub live: Option<LiveTap>,
}

/// What became of every frame of a tap that is an interface: *seen = used + waiting + losses*.
#[derive(Clone, Debug, Default)]
pub struct LiveTap {
    /// As it is called now.
    pub interface: String,
    /// Which driver captures, how, why it was chosen, and who stamps: a sentence for people.
    pub driver: String,
    /// Who stamped its frames.
    pub stamps: Vec<StampSource>,
    /// Frames that matched, counted by the kernel before anything can be lost.
    pub seen: u64,
    /// … that the stages were given.
    pub used: u64,
    /// … that are on their way, in a ring or a queue.
    pub waiting: u64,
    /// How full the fullest of its queues is, thousandths.
    pub fill_permille: u16,
    /// … that were lost, by reason. Reasons without a frame are there too.
    pub losses: Vec<(&'static str, u64)>,
    /// The same of each of its queues.
    pub queues: Vec<QueueFrames>,
    /// Of those that were used, which came later than they were waited for.
    pub late: u64,
    /// Of those that were used: cut by the ring, put together by NIC or kernel.
    pub cut: u64,
    pub super_frames: u64,
    /// Never seen: what interface and driver count as dropped, missed and damaged of all their traffic.
    pub dropped: u64,
    pub missed: u64,
    pub damaged: u64,
    /// How far the NIC's clock may be off UTC, where its stamps are used.
    pub clock_error: Option<Nanos>,
    /// TAI − UTC in seconds, as the kernel knows it.
    pub tai_offset_s: i64,
    /// What happened to link and clocks: how often, and the newest of it.
    pub event_count: u64,
    pub events: Vec<String>,
    /// Where the rule above did not hold: mistakes in tickscope or in the kernel.
    pub violations: Vec<String>,
}

/// What became of the frames of one queue of the NIC, or of one ring where there are several.
#[derive(Clone, Debug, Default)]
pub struct QueueFrames {
    pub queue: u32,
    pub seen: u64,
    pub used: u64,
    pub losses: Vec<(&'static str, u64)>,
}

impl QueueFrames {
    fn add(&mut self, other: &QueueFrames) {
        self.seen += other.seen;
        self.used += other.used;
        add_losses(&mut self.losses, &other.losses);
    }
}

fn add_losses(losses: &mut Vec<(&'static str, u64)>, others: &[(&'static str, u64)]) {
    for (name, frames) in others {
        match losses.iter_mut().find(|(known, _)| known == name) {
            Some((_, sum)) => *sum += frames,
            None => losses.push((name, *frames)),
        }
    }
}

/// What became of a recording.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    pub folder: String,
    /// Frames and bytes that were written, and to how many files.
    pub frames: u64,
    pub bytes: u64,
    pub files: u64,
    /// Frames that were captured and measured, but not recorded, by reason.
    pub losses: [(&'static str, u64); 2],
    /// It could not write at the end.
    pub is_stopped: bool,
    /// Files that the flight recorder wrote, those it could not write, and orders over the threshold.
    pub flights: u64,
    pub flights_failed: u64,
    pub slow_orders: u64,
}

/// Frames by who stamped them.
#[derive(Clone, Debug)]
pub struct StampSource {
    pub name: &'static str,
    /// `in` or `out`, as the host sees it.
    pub direction: &'static str,
    /// Where it is taken and which way it is off, for people.
    pub about: &'static str,
    pub frames: u64,
}

impl LiveTap {
    pub fn lost(&self) -> u64 {
        self.losses.iter().map(|(_, frames)| frames).sum()
    }

    /// Adds the numbers of another capture of the same tap.
    pub fn add(&mut self, other: &LiveTap) {
        add_losses(&mut self.losses, &other.losses);
        for queue in &other.queues {
            match self.queues.iter_mut().find(|known| known.queue == queue.queue) {
                Some(known) => known.add(queue),
                None => self.queues.push(queue.clone()),
            }
        }
        for source in &other.stamps {
            let is_it = |known: &&mut StampSource| (known.name, known.direction) == (source.name, source.direction);
            match self.stamps.iter_mut().find(is_it) {
                Some(known) => known.frames += source.frames,
                None => self.stamps.push(source.clone()),
            }
        }
        for (sum, more) in [
            (&mut self.seen, other.seen),
            (&mut self.used, other.used),
            (&mut self.waiting, other.waiting),
            (&mut self.cut, other.cut),
            (&mut self.super_frames, other.super_frames),
            (&mut self.dropped, other.dropped),
            (&mut self.missed, other.missed),
            (&mut self.damaged, other.damaged),
        ] {
            *sum += more;
        }
    }
}

/// How far a tap's clock is ahead of the exchange's stamps, whole hours and the way from the exchange aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExchangeAhead {
    /// Of `n` stamps.
    pub median: Nanos,
    pub n: usize,
    /// Nearly all of them are near to it.
    pub is_steady: bool,
}

impl ExchangeAhead {
    /// TAI has been ahead of UTC by 37 s since 2017, and by 33 s to 36 s in the years before.
    pub fn is_tai(&self) -> bool {
        const SECOND: u64 = 1_000_000_000;
        let apart = self.median.0.unsigned_abs();
        let whole = (apart + SECOND / 2) / SECOND;
        self.is_steady && (33..=37).contains(&whole) && apart.abs_diff(whole * SECOND) < SECOND / 4
    }
}

/// How two clocks are related.
#[derive(Clone, Debug)]
pub struct ClockRelation {
    /// The one that counts, and the other.
    pub names: [String; 2],
    pub how: Relation,
    /// How far figures between them may be wrong; `None` where nobody knows.
    pub error: Option<Nanos>,
    /// Between these times one of them was set, and there are no figures between them.
    pub blind: Vec<(Timestamp, Timestamp)>,
}

/// What is known of the difference of two clocks.
#[derive(Clone, Debug)]
pub enum Relation {
    /// The user gave offsets.
    Given,
    /// It lies between these bounds; their middle was taken off.
    Bounded(Vec<Piece>),
    Unknown,
}

/// Packets that were seen by two taps.
#[derive(Clone, Debug, Default)]
pub struct Hops {
    /// From the tap that saw them first to the other.
    pub pairs: Vec<(TapId, TapId, Histogram)>,
    /// Packets that several taps saw and one of them more than once, so that nobody can say which is which.
    pub ambiguous: u64,
    /// Joined, at a time when nobody knows how the clocks of the taps are related.
    pub unrelated: u64,
    /// Given up early, and on ways or at taps beyond the limit.
    pub evicted: u64,
    pub beyond: u64,
    /// At most so many came before it was known that taps share their flows.
    pub overlooked: u64,
}

impl Hops {
    /// The latencies from one tap to another.
    pub fn between(&mut self, from: TapId, to: TapId) -> &mut Histogram {
        let at = self.pairs.iter().position(|pair| (pair.0, pair.1) == (from, to)).unwrap_or_else(|| {
            self.pairs.push((from, to, Histogram::default()));
            self.pairs.len() - 1
        });
        &mut self.pairs[at].2
    }
}

/// A market-data feed at one observation point.
#[derive(Clone, Debug, Default)]
pub struct Feed {
    /// `group:port`, of the first line.
    pub label: String,
    /// Protocol name in the configuration.
    pub protocol: String,
    /// `Nasdaq TotalView-ITCH 5.0 over MoldUDP64`.
    pub title: String,
    pub lines: Vec<Line>,
    /// Messages, each counted once.
    pub messages: u64,
    /// Copies: the other line, retransmissions.
    pub duplicates: u64,
    pub gap_count: u64,
    /// Messages that no line brought.
    pub missing: u64,
    /// Messages that were missing at first and came late.
    pub recovered: u64,
    /// The first gaps; the caller keeps the list short.
    pub gaps: Vec<Gap>,
    /// How long after the first line the other one brought the same message.
    pub line_delay: Histogram,
    /// The same with its time and line, thinned out where there are many.
    pub lags: Vec<Lag>,
}

/// A packet that came on a line after another line had brought it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    pub time: Timestamp,
    /// Position in [`Feed::lines`].
    pub line: usize,
    pub delay_ns: u64,
}

/// One line (A, B) of a feed.
#[derive(Clone, Debug, Default)]
pub struct Line {
    pub letter: String,
    /// `group:port`.
    pub address: String,
    pub messages: u64,
    /// How many of its messages were here before they were on another line.
    pub first: u64,
    /// Packets that only said that the line is alive.
    pub heartbeats: u64,
    /// Time of its newest packet.
    pub last: Option<Timestamp>,
}

/// Messages missing on all lines of a feed.
#[derive(Clone, Debug)]
pub struct Gap {
    pub time: Timestamp,
    pub sequence: u64,
    pub missing: u64,
    pub recovered: u64,
}

/// One order session.
#[derive(Clone, Debug, Default)]
pub struct Session {
    /// As in the `session` column.
    pub name: String,
    /// Protocol, for people.
    pub title: String,
    pub client: String,
    pub server: String,
    pub requests: u64,
    pub answers: u64,
    /// `from logon to logout`, `joined in mid-session`, …
    pub state: String,
    pub logons: u64,
    pub heartbeats: u64,
    /// Times that TCP sent bytes again, and that bytes are missing.
    pub retransmissions: u64,
    pub gaps: u64,
    /// Time and type of its newest message.
    pub last: Option<Timestamp>,
    pub last_type: Option<String>,
}

/// What went in and what was used; together with the losses it has to add up, level by level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub frames_read: u64,
    pub frames_used: u64,
    /// What the followed TCP streams span, holes included.
    pub stream_bytes: u64,
    pub stream_bytes_used: u64,
    /// Messages on the wire and messages known to be missing.
    pub messages: u64,
    pub messages_used: u64,
    /// Requests in the captures, those that the user's selection leaves out included; one that two taps saw is one.
    pub requests: u64,
    /// Answers in the captures.
    pub answers: u64,
    pub answers_matched: u64,
}

/// The rule that chose triggers.
#[derive(Clone, Debug, Default)]
pub struct TriggerRule {
    /// For people: `newest trade or best-price change on the symbol`.
    pub text: String,
    /// How the model that weighs candidates was learned.
    pub model: &'static str,
    pub window_ns: u64,
    pub min_ns: u64,
    /// Kinds of messages that may be triggers.
    pub messages: Vec<String>,
}
