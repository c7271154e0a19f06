//! Which stamps a tap's frames carry: the frames at the beginning of its capture vote. Every format is tried on each of
//! them, and one wins if nine tenths of those that could carry it do, and if it cannot be chance: checksums that fit, or
//! at least 16 frames whose stamps keep pace with the capture's clock. Also here: are the stamps TAI?

use std::cmp::Reverse;

use tickscope_model::{Frame, LinkType, Nanos, TapId, Timestamp};

use super::super::file::CaptureFile;
use super::stamper::{Stamper, Taken};
use super::view::View;
use super::{Edge, FORMATS, Format, Place, TapTime, Trailer, erf};

/// So many frames of a tap vote.
pub(super) const VOTERS: usize = 256;
/// A tap with fewer in a capture that goes on is looked for further behind.
pub(super) const ENOUGH: usize = 64;
/// Without a checksum it takes as many stamps that keep pace.
const STEADY: usize = 16;
/// How far a clock that nobody set right may be off.
pub(super) const FARTHEST: u64 = 30 * 86_400 * SECOND;
const SECOND: u64 = 1_000_000_000;
/// A capture's clock that shows an earlier time was never set: 2000-01-01.
const EARLIEST: u64 = 946_684_800 * SECOND;

/// A frame that votes.
pub(super) struct Sample {
    pub(super) time: Timestamp,
    link: LinkType,
    wire_len: u32,
    bytes: Vec<u8>,
}

/// The voters of one interface.
#[derive(Default)]
pub(super) struct Ballot(pub(super) Vec<Sample>);

impl Ballot {
    /// Milliseconds or microseconds, where the times of enough frames are whole ones; else a nanosecond.
    pub(super) fn step_ns(&self) -> u64 {
        let are_whole = |step_ns: &u64| self.0.iter().all(|voter| voter.time.0.is_multiple_of(*step_ns));
        let mut steps_ns = [1_000_000, 1_000].into_iter().filter(|_| self.0.len() >= ENOUGH);
        steps_ns.find(are_whole).unwrap_or(1)
    }
}

pub(super) fn sample(frame: &Frame<'_>) -> Sample {
    Sample { time: frame.time, link: frame.link, wire_len: frame.wire_len, bytes: frame.bytes.to_vec() }
}

impl Sample {
    /// Another frame votes in its place.
    pub(super) fn take(&mut self, frame: &Frame<'_>) {
        (self.time, self.link, self.wire_len) = (frame.time, frame.link, frame.wire_len);
        self.bytes.clear();
        self.bytes.extend_from_slice(frame.bytes);
    }

    fn frame(&self) -> Frame<'_> {
        Frame {
            tap: TapId(0),
            link: self.link,
            time: self.time,
            number: 1,
            wire_len: self.wire_len,
            bytes: &self.bytes,
        }
    }
}

/// So much of a capture is looked at to find out who stamped it: what nearly always is enough, and the most.
const BEGINNINGS: [usize; 2] = [1 << 20, 16 << 20];

/// The first frames of each interface of a file that is in front of its first frame, and whether they are all.
pub(super) fn ballots(file: &mut CaptureFile) -> (Vec<Ballot>, bool) {
    let mut ballots: Vec<Ballot> = Vec::new();
    let mut is_all = false;
    for length in BEGINNINGS {
        let Some((mut beginning, is_all_of_it)) = file.first_bytes(length) else { break };
        ballots.clear();
        is_all = is_all_of_it;
        while ballots.is_empty() || ballots.iter().any(|ballot| ballot.0.len() < VOTERS) {
            if !beginning.advance() {
                break;
            }
            ballots.resize_with(beginning.interfaces().len(), Ballot::default);
            let at = usize::try_from(beginning.interface()).unwrap_or(usize::MAX);
            if let Some(ballot) = ballots.get_mut(at)
                && ballot.0.len() < VOTERS
                && beginning.time().is_some()
            {
                ballot.0.push(sample(&beginning.frame(TapId(0))));
            }
        }
        if is_all || ballots.iter().all(|ballot| ballot.0.is_empty() || ballot.0.len() >= ENOUGH) {
            break;
        }
    }
    (ballots, is_all)
}

/// How a format did.
struct Trial {
    format: &'static Format,
    behind: usize,
    /// Stamps less the capture's times.
    differences: Vec<i64>,
    times: Vec<u64>,
    sure: usize,
    says_tai: usize,
    keyframes: usize,
    misses: usize,
}

impl Trial {
    fn run(format: &'static Format, behind: usize, voters: &[Sample]) -> Trial {
        let mut trial = Trial {
            format,
            behind,
            differences: Vec::new(),
            times: Vec::new(),
            sure: 0,
            says_tai: 0,
            keyframes: 0,
            misses: 0,
        };
        let mut stamper = Stamper::new(Some(format), Some(behind));
        for voter in voters {
            let frame = voter.frame();
            let view = View::new(&frame, voter.time, behind, true);
            match stamper.read(format, &view) {
                Ok((time, stamp)) => {
                    let difference = i128::from(time) - i128::from(voter.time.0);
                    trial.differences.push(i64::try_from(difference).unwrap_or(i64::MAX));
                    trial.times.push(time);
                    trial.sure += usize::from(stamp.is_sure);
                    trial.says_tai += usize::from(stamp.says_tai == Some(true));
                }
                Err(Taken::Keyframe) => trial.keyframes += 1,
                // A packet whose end is not known may carry anything; it votes for nobody.
                Err(_) => {
                    let could = format.place == Place::Before || (view.is_whole && view.end.is_some());
                    trial.misses += usize::from(could);
                }
            }
        }
        trial
    }

    fn hits(&self) -> usize {
        self.times.len()
    }

    /// Of those that could carry it.
    fn share(&self) -> String {
        format!("{} of {} frames", self.hits(), self.hits() + self.misses)
    }

    fn wins(&self) -> bool {
        let hits = self.hits();
        if hits == 0 {
            return self.keyframes > 0;
        }
        let most = hits * 10 >= (hits + self.misses) * 9;
        most && (self.sure * 2 >= hits || (hits >= STEADY && self.is_steady()))
    }

    /// Whether the stamps keep pace with the capture's clock, and are not too far from it.
    fn is_steady(&self) -> bool {
        self.keeps_pace() && self.difference().is_some_and(|middle| middle.unsigned_abs() <= FARTHEST)
    }

    fn keeps_pace(&self) -> bool {
        let Some(middle) = self.difference() else { return false };
        let near = self.differences.iter().filter(|difference| difference.abs_diff(middle) <= SECOND).count();
        let mut times = self.times.clone();
        times.sort_unstable();
        times.dedup();
        near * 10 >= self.hits() * 9 && times.len() * 2 > self.hits()
    }

    /// Stamps that a capture's clock does not contradict.
    fn near(&self) -> usize {
        self.differences.iter().filter(|difference| difference.unsigned_abs() <= FARTHEST).count()
    }

    /// The median.
    fn difference(&self) -> Option<i64> {
        let mut all = self.differences.clone();
        all.sort_unstable();
        all.get(all.len() / 2).copied()
    }

    fn stamper(&self) -> Stamper {
        let behind = (self.hits() > 0).then_some(self.behind);
        let mut stamper = Stamper::new(Some(self.format), behind);
        stamper.because = format!("in {}", self.share());
        if let Some(difference) = self.difference() {
            let latest = self.times.last().copied().unwrap_or(0);
            let says_tai = self.says_tai * 2 > self.hits();
            (stamper.tai, stamper.warnings) = time_scale(difference, latest, says_tai);
            stamper.difference = Some(difference - stamper.tai.0);
        }
        stamper
    }
}

/// Each format at each place where it may stand, from the end of the list: of equals `max_by_key` takes the last, which is then
/// the one that stands first in the list.
fn trials(formats: &[&'static Format], voters: &[Sample]) -> impl Iterator<Item = Trial> {
    formats.iter().rev().flat_map(move |format| {
        let behind: &[usize] = if format.place == Place::Before { &[0] } else { &[4, 0] };
        behind.iter().map(move |&behind| Trial::run(format, behind, voters))
    })
}

/// The best of all formats, or of one.
fn best(formats: &[&'static Format], voters: &[Sample]) -> Option<Trial> {
    trials(formats, voters).filter(Trial::wins).max_by_key(|trial| (trial.hits(), trial.sure, trial.keyframes))
}

/// The place where a format that the user named stands best: most checksums that fit, most stamps near to the capture's clock,
/// most stamps, and of equals the nearest.
fn best_place(format: &'static Format, voters: &[Sample]) -> Option<Trial> {
    let apart = |trial: &Trial| trial.difference().map_or(u64::MAX, i64::unsigned_abs);
    let rank = |trial: &Trial| (trial.sure, trial.near(), trial.hits(), Reverse(apart(trial)));
    trials(&[format], voters).filter(|trial| trial.hits() > 0).max_by_key(rank)
}

/// The stamps of a format that the user named and that did not win: it is taken as named, but where nothing vouches for
/// its stamps (no checksum, no pace), only those are believed that the capture's clock does not contradict.
fn named(format: &'static Format, voters: &[Sample]) -> Stamper {
    let trial = best_place(format, voters);
    let is_clock_set = voters.iter().all(|voter| EARLIEST <= voter.time.0);
    let is_vouched = |trial: &Trial| trial.sure > 0 || (trial.hits() >= STEADY && trial.keeps_pace());
    let believes_far = !is_clock_set || trial.as_ref().is_some_and(is_vouched);
    let trial = trial.filter(|trial| believes_far || trial.near() * 2 > trial.hits());
    let behind = (format.place == Place::Before).then_some(0);
    let mut stamper = trial.as_ref().map_or_else(|| Stamper::new(Some(format), behind), Trial::stamper);
    stamper.because = trial.as_ref().map_or("named".to_owned(), |trial| format!("named, in {}", trial.share()));
    stamper.believes_far = believes_far;
    if trial.is_none_or(|trial| trial.hits() * 10 < (trial.hits() + trial.misses) * 9) {
        stamper.warnings.push(format!("few or none of the first {} frames carry this stamp", voters.len()));
    }
    stamper
}

/// Who stamps a tap of which the user says `time`, and these frames were looked at; `None` where the capture's own times
/// stand as they are. `is_all`: the tap has no other frames.
pub(super) fn decide(time: &TapTime, voters: &[Sample], is_all: bool, speed: Option<u64>) -> Option<Stamper> {
    let is_erf = voters.first().is_some_and(|voter| voter.link == erf::LINK);
    let elected = match time.trailer {
        Trailer::None => None,
        Trailer::Auto if is_erf => best(&[&erf::FORMAT], voters),
        Trailer::Auto if voters.len() < ENOUGH && !is_all => None,
        Trailer::Auto => best(FORMATS, voters),
        Trailer::Format(format) => best(&[format], voters),
    };
    let mut stamper = match (elected, time.trailer) {
        (Some(trial), _) => trial.stamper(),
        (None, Trailer::Format(format)) => named(format, voters),
        (None, _) => Stamper::new(None, None),
    };
    stamper.edge = time.edge.unwrap_or(stamper.edge);
    stamper.speed = time.speed.or(speed);
    stamper.leads.clone_from(&time.leads);
    let is_end = matches!(stamper.edge, Edge::End | Edge::CheckSequence);
    (stamper.format.is_some() || is_end || !stamper.leads.is_empty()).then_some(stamper)
}

/// A vote that no format won, though frames carry something that one of them could have written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undecided {
    /// The one that most of them carry.
    pub format: &'static str,
    /// In so many frames, of those that could carry it.
    pub frames: usize,
    pub of: usize,
    /// Why that is not enough, for people.
    pub why: String,
}

/// Fewer frames than these with a stamp are worth no word: bytes behind a packet may be anything.
const WORTH_A_WORD: usize = 2;

/// Says of a tap whose own times count whether the vote was near to another end.
pub(super) fn undecided(time: &TapTime, voters: &[Sample], is_all: bool) -> Option<Undecided> {
    if time.trailer != Trailer::Auto {
        return None;
    }
    let nearest = trials(FORMATS, voters).max_by_key(|trial| (trial.sure, trial.hits()))?;
    let (frames, of) = (nearest.hits(), nearest.hits() + nearest.misses);
    if frames < WORTH_A_WORD || frames * 4 < of {
        return None;
    }
    let why = if voters.len() < ENOUGH && !is_all {
        format!("it has only {} frames in the first 16 MiB of the capture", voters.len())
    } else if frames * 10 < of * 9 {
        "fewer than nine tenths carry it".to_owned()
    } else if frames < STEADY {
        format!("without a checksum it takes {STEADY} frames")
    } else {
        "they do not keep pace with the capture's clock".to_owned()
    };
    Some(Undecided { format: nearest.format.name, frames, of, why })
}

/// Seconds by which TAI was ahead of UTC (Bulletin C of the IERS), newest first.
const TAI_AHEAD: [(u64, i64); 5] = [
    (1_483_228_800, 37), // 2017-01-01
    (1_435_708_800, 36), // 2015-07-01
    (1_341_100_800, 35), // 2012-07-01
    (1_230_768_000, 34), // 2009-01-01
    (0, 33),
];

fn tai_ahead(time_ns: u64) -> Nanos {
    let seconds = time_ns / SECOND;
    let ahead = TAI_AHEAD.iter().find(|(from, _)| *from <= seconds).map_or(0, |(_, ahead)| *ahead);
    Nanos(ahead * 1_000_000_000)
}

/// What is to be taken off the stamps, whose median difference to the capture's clock this is, and what the user should
/// know. A flag that says TAI is not believed: devices are known that set it and count UTC.
fn time_scale(difference: i64, time_ns: u64, says_tai: bool) -> (Nanos, Vec<String>) {
    let ahead = tai_ahead(time_ns);
    let is = |what: i64| difference.abs_diff(what) < SECOND / 2;
    let seconds = ahead.0 / 1_000_000_000;
    let (off, warning) = if is(ahead.0) {
        let text =
            format!("the stamps are {seconds} s ahead of the capture's clock, as TAI is: {seconds} s were taken off");
        (ahead, Some(text))
    } else if is(-ahead.0) {
        let text = format!(
            "the capture's clock is {seconds} s ahead of the stamps, as TAI would be: the stamps are taken for UTC"
        );
        (Nanos(0), Some(text))
    } else if says_tai && is(0) {
        (Nanos(0), Some("the stamps say TAI, but agree with the capture's clock: nothing was taken off".to_owned()))
    } else if says_tai {
        let text = "the stamps say TAI, and the capture's clock does not confirm it: nothing was taken off";
        (Nanos(0), Some(text.to_owned()))
    } else {
        (Nanos(0), None)
    };
    (off, warning.into_iter().collect())
}

/// The edge that a word of the configuration means.
impl Edge {
    pub fn named(name: &str) -> Option<Edge> {
        match name {
            "sof" => Some(Edge::Start),
            "eof" => Some(Edge::End),
            _ => None,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn samples(frames: &[(u64, Vec<u8>)]) -> Vec<Sample> {
        let sample = |(time, bytes): &(u64, Vec<u8>)| Sample {
            time: Timestamp(*time),
            link: LinkType::Ethernet,
            wire_len: u32::try_from(bytes.len()).unwrap(),
            bytes: bytes.clone(),
        };
        frames.iter().map(sample).collect()
    }

    /// All frames through the stamper that is decided on.
    pub(in super::super) fn run(trailer: Trailer, frames: &[(u64, Vec<u8>)]) -> (Stamper, Vec<u64>) {
        let voters = samples(frames);
        let rule = TapTime { trailer, ..TapTime::default() };
        let mut stamper = decide(&rule, &voters, true, None).expect("a format");
        let times = voters.iter().map(|voter| stamper.take(&voter.frame(), voter.time).0).collect();
        (stamper, times)
    }

    pub(in super::super) fn stamp_at(format: &str, bytes: &[u8], behind: usize, time: u64) -> Option<u64> {
        let Some(Trailer::Format(format)) = Trailer::named(format) else { panic!("a format") };
        let all = samples(&[(time, bytes.to_vec())]);
        let mut stamper = Stamper::new(Some(format), Some(behind));
        stamper.read(format, &View::new(&all[0].frame(), Timestamp(time), behind, false)).ok().map(|(time, _)| time)
    }

    pub(in super::super) fn stamp_of(format: &str, bytes: &[u8], behind: usize) -> Option<u64> {
        stamp_at(format, bytes, behind, 1_527_552_000_000_000_000)
    }

    /// A UDP packet with so much payload, padded where it must be.
    pub(in super::super) fn udp(payload: usize) -> Vec<u8> {
        let total = u16::try_from(payload + 28).unwrap().to_be_bytes();
        let ip = [0x45, 0, total[0], total[1], 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        let mut frame = [&[2; 12][..], &[8, 0], &ip, &vec![7; payload + 8]].concat();
        frame.resize(frame.len().max(60), 0);
        frame
    }

    const START: u64 = 1_527_552_589_000_000_000;

    /// Frames with a VSS trailer, which has no mark of its own, whose clock is so far ahead of the capture's.
    fn vss(count: u64, ahead: i64) -> Vec<(u64, Vec<u8>)> {
        let frame = |at: u64| {
            let time = START + at * 1_000_003;
            let stamp = time.saturating_add_signed(ahead);
            let words = [stamp / SECOND, stamp % SECOND].map(|word| u32::try_from(word).unwrap().to_be_bytes());
            (time, [&udp(18)[..], &words[0], &words[1], &[1]].concat())
        };
        (0..count).map(frame).collect()
    }

    fn elected(frames: &[(u64, Vec<u8>)]) -> Option<&'static str> {
        decide(&TapTime::default(), &samples(frames), true, None)?.format.map(|format| format.name)
    }

    #[test]
    fn a_mark_that_could_be_chance_needs_sixteen_frames_that_keep_pace() {
        assert_eq!(elected(&vss(16, 5_000_000)), Some("vss"));
        assert_eq!(elected(&vss(15, 5_000_000)), None);
        let mut frozen = vss(64, 0);
        let trailer = frozen[0].1[60..].to_vec();
        for (_, frame) in &mut frozen {
            frame.splice(60.., trailer.iter().copied());
        }
        assert_eq!(elected(&frozen), None, "bytes that never change are no clock");
        let mut mixed = vss(64, 0);
        for (_, frame) in mixed.iter_mut().take(8) {
            frame.truncate(60);
        }
        assert_eq!(elected(&mixed), None, "only 56 of 64");
    }

    #[test]
    fn a_vote_that_nobody_wins_is_told() {
        let told = |frames: &[(u64, Vec<u8>)], is_all| {
            let rule = TapTime::default();
            let undecided = undecided(&rule, &samples(frames), is_all)?;
            Some((undecided.format, undecided.frames, undecided.of, undecided.why))
        };
        let mut mixed = vss(64, 0);
        mixed.iter_mut().take(8).for_each(|(_, frame)| frame.truncate(60));
        assert_eq!(told(&mixed, true), Some(("vss", 56, 64, "fewer than nine tenths carry it".to_owned())));
        assert_eq!(
            told(&vss(15, 0), true).map(|told| told.3),
            Some("without a checksum it takes 16 frames".to_owned())
        );
        let few = told(&vss(20, 0), false).map(|told| told.3);
        assert_eq!(few, Some("it has only 20 frames in the first 16 MiB of the capture".to_owned()));
        let mut frozen = vss(64, 0);
        let trailer = frozen[0].1[60..].to_vec();
        for (_, frame) in &mut frozen {
            frame.splice(60.., trailer.iter().copied());
        }
        let why = told(&frozen, true).map(|told| told.3);
        assert_eq!(why, Some("they do not keep pace with the capture's clock".to_owned()));
        let padded: Vec<_> = (0..100).map(|at| (START + at * 1000, udp(2))).collect();
        assert_eq!(told(&padded, true), None, "nothing is there to decide on");
    }

    #[test]
    fn padding_and_check_sequences_are_no_stamps() {
        let padded: Vec<_> = (0..100).map(|at| (START + at * 1000, udp(2))).collect();
        assert_eq!(elected(&padded), None);
        let checked = padded.into_iter().map(|(time, frame)| {
            let check = super::super::check::frame_check(&frame);
            (time, [frame, check.to_vec()].concat())
        });
        assert_eq!(elected(&checked.collect::<Vec<_>>()), None);
    }

    #[test]
    fn too_few_frames_of_a_capture_that_goes_on_decide_nothing() {
        let voters = samples(&vss(63, 0));
        assert!(decide(&TapTime::default(), &voters, false, None).is_none());
        assert!(decide(&TapTime::default(), &samples(&vss(64, 0)), false, None).is_some());
    }

    #[test]
    fn tai_is_estimated() {
        let rows = [(37_000_100_000, 37), (100_000, 0), (-37_000_000_000, 0), (36_000_000_000, 0)];
        for (ahead, taken_off) in rows {
            let frames = vss(70, ahead);
            let (stamper, times) = run(Trailer::Auto, &frames);
            assert_eq!(stamper.tai.0, taken_off * 1_000_000_000);
            let expected = frames[3].0.saturating_add_signed(ahead - stamper.tai.0);
            assert_eq!(times[3], expected);
            assert_eq!(stamper.warnings.is_empty(), ahead.abs() != 37_000_000_000 && taken_off == 0);
        }
        let (off, warnings) = time_scale(0, START, true);
        assert_eq!((off.0, warnings.len()), (0, 1), "the flag alone takes nothing off");
        assert_eq!(time_scale(36_000_000_000, 1_454_635_868 * SECOND, false).0.0, 36_000_000_000, "2016 had 36");
    }

    #[test]
    fn a_frame_without_a_stamp_gets_the_captures_time_with_the_difference() {
        let mut frames = vss(80, -7_000);
        frames[40].1.truncate(60);
        // A stamp from another day is not believed, until the next agrees with it: then the clock was set.
        frames[50].1.splice(60..64, [1, 2, 3, 4]);
        for (_, frame) in &mut frames[76..] {
            frame[62] ^= 1;
        }
        let (stamper, times) = run(Trailer::Auto, &frames);
        assert_eq!(times[40], frames[40].0 - 7_000);
        assert_eq!(times[50], frames[50].0 - 7_000);
        let counts = stamper.counts;
        assert_eq!((counts.stamped, counts.nothing, counts.doubtful), (77, 1, 2));
        assert_eq!(times[76], frames[76].0 - 7_000);
        assert_eq!(times[77].abs_diff(times[76]) / SECOND, 256, "the second in a row is believed");
    }

    #[test]
    fn edges_are_moved_to_the_start_of_the_frame() {
        let rule = TapTime { edge: Some(Edge::End), speed: Some(10_000_000_000), ..TapTime::default() };
        let frame = udp(58);
        let voters = samples(&[(START, frame)]);
        let mut stamper = decide(&rule, &voters, true, None).expect("times are moved");
        // 100 bytes and 4 of check sequence at 0.8 ns each.
        assert_eq!(stamper.take(&voters[0].frame(), Timestamp(START)).0, START - 83);
        let unknown = TapTime { edge: Some(Edge::End), ..TapTime::default() };
        let mut stamper = decide(&unknown, &voters, true, None).expect("times of the end");
        assert_eq!((stamper.moves(), stamper.take(&voters[0].frame(), Timestamp(START)).0), (false, START));
        let mut stamper = decide(&unknown, &voters, true, Some(1_000_000_000)).expect("the capture knows the speed");
        assert_eq!(stamper.take(&voters[0].frame(), Timestamp(START)).0, START - 832);
    }
}
