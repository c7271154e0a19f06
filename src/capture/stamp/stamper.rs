//! The times of one tap from the stamps in its frames: reads each frame, fills in what a stamp leaves out, doubts what
//! cannot be, moves the edge that was stamped to the start of the frame, and counts. A frame without a stamp gets the
//! capture's own time plus the difference between the two clocks at the last frame that had one.

use tickscope_model::{Frame, Nanos, Timestamp};

use super::view::{SHORTEST, View};
use super::vote::{FARTHEST, Undecided};
use super::{Edge, Format, Keyframe, Lead, Mark, Place, Reading, Stamp};

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Its stamp is its time.
    Stamp,
    /// It says what the others' counters mean.
    Keyframe,
    /// It has no stamp.
    Nothing,
    /// The capture cut it in front of the place of its stamp.
    Cut,
    /// Its stamp cannot be: too far from those before it.
    Doubtful,
    /// It has a counter, and no keyframe in the seconds before says what that means.
    NoKeyframe,
}

/// How many frames became what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub stamped: u64,
    pub keyframes: u64,
    pub nothing: u64,
    pub cut: u64,
    pub doubtful: u64,
    pub no_keyframe: u64,
}

impl Counts {
    fn add(&mut self, taken: Taken) {
        *match taken {
            Taken::Stamp => &mut self.stamped,
            Taken::Keyframe => &mut self.keyframes,
            Taken::Nothing => &mut self.nothing,
            Taken::Cut => &mut self.cut,
            Taken::Doubtful => &mut self.doubtful,
            Taken::NoKeyframe => &mut self.no_keyframe,
        } += 1;
    }

    /// Data frames whose time is not a stamp's.
    pub fn without(&self) -> u64 {
        self.nothing + self.cut + self.doubtful + self.no_keyframe
    }

    /// Adds those of another interface of the same tap.
    pub fn merge(&mut self, other: &Counts) {
        self.stamped += other.stamped;
        self.keyframes += other.keyframes;
        self.nothing += other.nothing;
        self.cut += other.cut;
        self.doubtful += other.doubtful;
        self.no_keyframe += other.no_keyframe;
    }
}

/// Who stamps a tap, and how that went.
#[derive(Clone, Debug)]
pub struct Stamps {
    /// As in `trailer = "…"`; `None`: the capture's own times, moved to the start of the frame.
    pub format: Option<&'static str>,
    pub title: &'static str,
    pub is_proven: bool,
    pub edge: Edge,
    pub speed: Option<u64>,
    /// Times were moved from the edge to the start of the frame.
    pub is_moved: bool,
    /// How the format was found, for people.
    pub because: String,
    /// Live: the capture's time from which on they count, where they do not from the beginning.
    pub since: Option<Timestamp>,
    /// Stamp less capture's time, last.
    pub difference: Option<Nanos>,
    /// Taken off each stamp.
    pub tai: Nanos,
    pub counts: Counts,
    pub warnings: Vec<String>,
    /// The vote that no format won.
    pub undecided: Option<Undecided>,
}

impl Stamps {
    /// The capture's own times, since no format won the vote.
    pub(super) fn of_undecided(undecided: Undecided) -> Stamps {
        Stamps { undecided: Some(undecided), ..Stamper::new(None, None).report() }
    }
}

/// See the head of this file.
#[derive(Clone)]
pub(super) struct Stamper {
    /// `None`: the capture's own times, moved to the start of the frame.
    pub(super) format: Option<&'static Format>,
    /// Bytes of check sequence behind the stamp, once that is known.
    pub(super) behind: Option<usize>,
    pub(super) edge: Edge,
    pub(super) speed: Option<u64>,
    /// How far its clock is ahead of the one that counts, in the order of time.
    pub(super) leads: Vec<Lead>,
    /// Whether stamps without a checksum count that the capture's clock contradicts.
    pub(super) believes_far: bool,
    /// Taken off each stamp.
    pub(super) tai: Nanos,
    pub(super) counts: Counts,
    /// Why the user should doubt the times, and what was decided.
    pub(super) warnings: Vec<String>,
    /// How the format was found, for people.
    pub(super) because: String,
    /// See [`Stamps::since`].
    pub(super) since: Option<Timestamp>,
    keyframe: Option<(Keyframe, Timestamp)>,
    /// Stamp less capture's time, of the last frame that was believed, and of the last that was not.
    pub(super) difference: Option<i64>,
    doubted: Option<i64>,
}

/// Clocks of the capture and of the stamps may drift apart by this much from one frame to the next.
const MOST_STEP: u64 = 5_000_000_000;
/// A counter and the capture's clock may differ by this much since the last keyframe.
const MOST_JITTER: u64 = 10_000_000;

impl Stamper {
    pub(super) fn new(format: Option<&'static Format>, behind: Option<usize>) -> Stamper {
        Stamper {
            format,
            behind,
            edge: format.map_or(Edge::Unknown, |format| format.edge),
            speed: None,
            leads: Vec::new(),
            believes_far: true,
            tai: Nanos(0),
            counts: Counts::default(),
            warnings: Vec::new(),
            because: String::new(),
            since: None,
            keyframe: None,
            difference: None,
            doubted: None,
        }
    }

    /// The time of a frame that the capture stamped with `capture`, on the clock that counts.
    pub(super) fn take(&mut self, frame: &Frame<'_>, capture: Timestamp) -> Timestamp {
        let time = self.own(frame, capture);
        let lead = self.leads.iter().rev().find(|lead| lead.from <= time).or(self.leads.first());
        lead.map_or(time, |lead| time.shifted(Nanos(-lead.at(time).0)))
    }

    /// The same on the tap's own clock.
    fn own(&mut self, frame: &Frame<'_>, capture: Timestamp) -> Timestamp {
        let Some(format) = self.format else {
            let length = usize::try_from(frame.wire_len).unwrap_or(SHORTEST);
            return Timestamp(self.start_of_frame(capture.0, length));
        };
        let taken = match self.read_any(format, frame, capture) {
            Ok((time, stamp)) => {
                let time = time.saturating_add_signed(-self.tai.0);
                let time = self.start_of_frame(time, stamp.length);
                if self.believes(format, frame, capture, time, stamp.is_sure) {
                    self.counts.add(Taken::Stamp);
                    return Timestamp(time);
                }
                Taken::Doubtful
            }
            Err(taken) => taken,
        };
        self.counts.add(taken);
        Timestamp(capture.0.saturating_add_signed(self.difference.unwrap_or(0)))
    }

    /// Reads a frame whose check sequence is, or may be, behind the stamp.
    fn read_any(
        &mut self,
        format: &'static Format,
        frame: &Frame<'_>,
        capture: Timestamp,
    ) -> Result<(u64, Stamp), Taken> {
        if let Some(behind) = self.behind {
            return self.read(format, &View::new(frame, capture, behind, false));
        }
        let first = self.read(format, &View::new(frame, capture, 0, true));
        if matches!(first, Err(Taken::Keyframe | Taken::Cut)) {
            return first;
        }
        let second = self.read(format, &View::new(frame, capture, 4, true));
        let (behind, reading) = match (first, second) {
            (Ok(one), Ok(other)) if rank(&other, capture) < rank(&one, capture) => (4, Ok(other)),
            (Ok(one), _) => (0, Ok(one)),
            // What stands without a check sequence behind it says more than "nothing".
            (first, Err(Taken::Nothing)) => return first,
            (_, second) => (4, second),
        };
        // What cannot be a stamp does not say where stamps stand.
        if let Ok((time, stamp)) = &reading
            && (self.believes_far || stamp.is_sure || time.abs_diff(capture.0) <= FARTHEST)
        {
            self.behind = Some(behind);
        }
        reading
    }

    /// Reads a frame: the time that its stamp means, or what else it is.
    pub(super) fn read(&mut self, format: &Format, view: &View<'_>) -> Result<(u64, Stamp), Taken> {
        match (format.read)(view) {
            Some(Mark::Stamp(stamp)) => Ok((self.resolved(stamp.reading, view.time)?, stamp)),
            Some(Mark::Keyframe(keyframe)) => {
                self.keyframe = Some((keyframe, view.time));
                Err(Taken::Keyframe)
            }
            None if format.place == Place::Behind && !view.is_whole => Err(Taken::Cut),
            None => Err(Taken::Nothing),
        }
    }

    fn resolved(&self, reading: Reading, capture: Timestamp) -> Result<u64, Taken> {
        match reading {
            Reading::Full(ns) => Ok(ns),
            Reading::Modulo { ns, period_ns } => {
                let near = capture.0.saturating_add_signed(self.difference.unwrap_or(0) + self.tai.0);
                Ok(nearest(u128::from(ns), u128::from(period_ns), u128::from(near)))
            }
            Reading::Ticks { count, bits } => {
                let (keyframe, seen) = self.keyframe.ok_or(Taken::NoKeyframe)?;
                let elapsed = capture.0.saturating_sub(seen.0);
                if elapsed > keyframe.valid_ns {
                    return Err(Taken::NoKeyframe);
                }
                let period = 1_u128 << bits;
                let ticks = (u128::from(count) + period - u128::from(keyframe.count) % period) % period;
                let per_second = u128::from(keyframe.per_second);
                // In ticks, so that a period, which is no whole number of nanoseconds, does not lose any.
                let ticks = nearest(ticks, period, u128::from(elapsed) * per_second / 1_000_000_000);
                let ns = u64::try_from(u128::from(ticks) * 1_000_000_000 / per_second).unwrap_or(u64::MAX);
                if ns.abs_diff(elapsed) >= MOST_JITTER {
                    return Err(Taken::Doubtful);
                }
                Ok(keyframe.utc_ns.saturating_add(ns))
            }
        }
    }

    /// Whether a stamp can be: sure by itself, or as far from the capture's clock as the one before it, or as another one
    /// that was not believed (then a clock was set).
    fn believes(&mut self, format: &Format, frame: &Frame<'_>, capture: Timestamp, time: u64, is_sure: bool) -> bool {
        let difference = i64::try_from(i128::from(time) - i128::from(capture.0)).unwrap_or(i64::MAX);
        let is_near = |other: Option<i64>| other.is_some_and(|other| other.abs_diff(difference) <= MOST_STEP);
        let is_possible = self.believes_far || difference.unsigned_abs() <= FARTHEST;
        let is_believed = is_sure
            || (is_possible && (self.difference.is_none() || is_near(self.difference) || is_near(self.doubted)))
            || self.is_verified(format, frame, capture);
        if is_believed {
            self.difference = Some(difference);
            self.doubted = None;
        } else {
            self.doubted = Some(difference);
        }
        is_believed
    }

    fn is_verified(&self, format: &Format, frame: &Frame<'_>, capture: Timestamp) -> bool {
        let view = View::new(frame, capture, self.behind.unwrap_or(0), true);
        matches!((format.read)(&view), Some(Mark::Stamp(stamp)) if stamp.is_sure)
    }

    /// Moves a time from the edge that was stamped to the start of a frame of this length without check sequence.
    fn start_of_frame(&self, time: u64, length: usize) -> u64 {
        let Some(speed) = self.speed.filter(|speed| *speed > 0) else { return time };
        let length = u128::try_from(length.max(SHORTEST)).unwrap_or(0);
        let bits = match self.edge {
            Edge::End => (length + 4) * 8,
            Edge::CheckSequence => length * 8,
            Edge::Start | Edge::Unknown => return time,
        };
        let ns = (bits * 1_000_000_000 + u128::from(speed / 2)) / u128::from(speed);
        time.saturating_sub(u64::try_from(ns).unwrap_or(u64::MAX))
    }

    pub(super) fn report(&self) -> Stamps {
        Stamps {
            format: self.format.map(|format| format.name),
            title: self.format.map_or("the capture's own times", |format| format.title),
            is_proven: self.format.is_none_or(|format| format.is_proven),
            edge: self.edge,
            speed: self.speed,
            is_moved: self.moves(),
            because: self.because.clone(),
            since: self.since,
            difference: self.difference.map(Nanos),
            tai: self.tai,
            counts: self.counts,
            warnings: self.warnings.clone(),
            undecided: None,
        }
    }

    /// Whether times are moved to the start of the frame.
    pub(super) fn moves(&self) -> bool {
        matches!(self.edge, Edge::End | Edge::CheckSequence) && self.speed.is_some()
    }
}

/// Of two readings of a frame the lower one is the better: a checksum fits, or it is nearer to the capture's clock.
fn rank(reading: &(u64, Stamp), capture: Timestamp) -> (bool, u64) {
    (!reading.1.is_sure, reading.0.abs_diff(capture.0))
}

/// The number with this remainder that lies nearest to `near`.
fn nearest(remainder: u128, period: u128, near: u128) -> u64 {
    let remainder = remainder % period;
    let below = near - near % period + remainder;
    let candidates = [below.checked_sub(period), Some(below), below.checked_add(period)];
    let nearest = candidates.into_iter().flatten().min_by_key(|candidate| candidate.abs_diff(near));
    nearest.and_then(|nearest| u64::try_from(nearest).ok()).unwrap_or(u64::MAX)
}
