//! Whose times those of a tap are that is captured now: its first frames vote, as those of a file do. What they decide on
//! holds for the rest of the run. Where no format wins, some frames vote again every minute, since the device may have been
//! switched on later: once one wins, its stamps count from there on. Where the user names no format and no edge, nothing is
//! looked at.

use std::ops::Range;

use tickscope_model::{Frame, Nanos, Timestamp};

use super::stamper::{Stamper, Stamps};
use super::vote::{ENOUGH, Sample, Undecided, VOTERS, decide, sample, undecided};
use super::{Edge, Format, TapTime, Trailer};

/// The second vote begins so long behind the first one …
const SECOND_VOTE: Nanos = Nanos(10_000_000_000);
/// … and each other one so long behind the one before. With enough voters none lasts longer than this.
const NEXT_VOTE: Nanos = Nanos(60_000_000_000);

/// See the head of this file.
pub struct Online {
    rule: TapTime,
    state: State,
    /// The votes behind the first one; `None` where there are none, or no more.
    again: Option<Again>,
    /// What a later vote decided, until somebody is told.
    moved: Option<String>,
}

/// Frames that vote while frames go on. They are copied over those that voted before.
struct Again {
    voters: Vec<Sample>,
    count: usize,
    /// Nobody votes between these two times of NIC and kernel; whoever comes far before them, by a clock that was set back, does.
    rest: Range<Timestamp>,
}

/// From a vote that was over at `last` on. Those who voted come behind that, too, and frames of other queues.
fn rest(last: Timestamp, length: Nanos) -> Range<Timestamp> {
    last.shifted(Nanos(-NEXT_VOTE.0))..last.shifted(length)
}

impl Again {
    /// Behind a vote of these frames.
    fn new(voters: Vec<Sample>) -> Again {
        let last = voters.last().map_or(Timestamp::MIN, |voter| voter.time);
        Again { voters, count: 0, rest: rest(last, SECOND_VOTE) }
    }

    fn vote(&mut self, frame: &Frame<'_>) {
        match self.voters.get_mut(self.count) {
            Some(voter) => voter.take(frame),
            None => self.voters.push(sample(frame)),
        }
        self.count += 1;
    }

    /// Those that have voted, once they are enough.
    fn poll(&self, now: Timestamp) -> Option<&[Sample]> {
        let voters = self.voters.get(..self.count)?;
        let is_long = |first: &Sample| first.time.shifted(NEXT_VOTE) <= now;
        let is_over = self.count >= VOTERS || self.count >= ENOUGH && voters.first().is_some_and(is_long);
        is_over.then_some(voters)
    }
}

enum State {
    /// The frames that vote.
    Voting(Vec<Sample>),
    /// The capture's own; where others were near to winning the vote, how near.
    Own(Option<Undecided>),
    Stamped(Box<Stamper>),
}

impl Online {
    /// `None` where the capture's own times stand as they are.
    pub fn new(rule: TapTime) -> Option<Online> {
        let state = match rule.trailer {
            Trailer::None if rule.edge == Some(Edge::End) => State::Stamped(Box::new(decide(&rule, &[], true, None)?)),
            Trailer::None => return None,
            Trailer::Auto | Trailer::Format(_) => State::Voting(Vec::with_capacity(VOTERS)),
        };
        Some(Online { rule, state, again: None, moved: None })
    }

    pub fn is_voting(&self) -> bool {
        matches!(self.state, State::Voting(_))
    }

    /// Whether as many have voted as may.
    pub fn has_enough(&self) -> bool {
        matches!(&self.state, State::Voting(voters) if voters.len() >= VOTERS)
    }

    /// A frame votes; beyond so many none does.
    pub fn vote(&mut self, frame: &Frame<'_>) {
        if let State::Voting(voters) = &mut self.state
            && voters.len() < VOTERS
        {
            voters.push(sample(frame));
        }
    }

    /// No more frames vote: they are taken for all there are. Says what was found, for people.
    pub fn decide(&mut self) -> String {
        let State::Voting(voters) = &mut self.state else { return String::new() };
        let voters = std::mem::take(voters);
        let count = voters.len();
        let own = format!("no format won the vote of {count} frames on stamps: the times of NIC and kernel count");
        let (state, text) = if let Some(stamper) = decide(&self.rule, &voters, true, None) {
            let named = |format: &Format| format!("the stamps of {} count ({})", format.name, stamper.because);
            let text = stamper.format.map_or(own, named);
            (State::Stamped(Box::new(stamper)), text)
        } else {
            let undecided = undecided(&self.rule, &voters, true);
            let near = undecided.as_ref().map_or(String::new(), |near| {
                format!("; nearest was {}, in {} of {}, but {}", near.format, near.frames, near.of, near.why)
            });
            (State::Own(undecided), own + &near)
        };
        self.state = state;
        if self.rule.trailer == Trailer::Auto && !self.is_stamped() {
            self.again = Some(Again::new(voters));
        }
        text
    }

    /// The time of a frame that NIC or kernel stamped with `own`.
    #[inline]
    pub fn take(&mut self, frame: &Frame<'_>, own: Timestamp) -> Timestamp {
        if let Some(again) = &self.again
            && !again.rest.contains(&own)
        {
            self.vote_again(frame, own);
        }
        if let State::Stamped(stamper) = &mut self.state { stamper.take(frame, own) } else { own }
    }

    /// Whether the frame that was taken last is the first one with a device's times, in the middle of the run: what was found,
    /// for people.
    #[inline]
    pub fn take_moved(&mut self) -> Option<String> {
        self.moved.take()
    }

    #[cold]
    fn vote_again(&mut self, frame: &Frame<'_>, own: Timestamp) {
        let Some(again) = &mut self.again else { return };
        again.vote(frame);
        let Some(voters) = again.poll(own) else { return };
        let stamper = decide(&self.rule, voters, false, None).filter(|stamper| stamper.format.is_some());
        let Some((mut stamper, format)) = stamper.and_then(|stamper| stamper.format.map(|format| (stamper, format)))
        else {
            (again.count, again.rest) = (0, rest(own, NEXT_VOTE));
            return;
        };
        stamper.since = Some(own);
        self.moved = Some(format!(
            "the stamps of {} count from now on ({}): the times so far were those of NIC and kernel, and requests that were open \
             end with what they had",
            format.name, stamper.because
        ));
        (self.state, self.again) = (State::Stamped(Box::new(stamper)), None);
    }

    /// Whether a device's stamps count, and so its clock. A format that was named does, whatever the vote finds out of it.
    pub fn is_stamped(&self) -> bool {
        match &self.state {
            State::Voting(_) => matches!(self.rule.trailer, Trailer::Format(_)),
            State::Own(_) => false,
            State::Stamped(stamper) => stamper.format.is_some(),
        }
    }

    /// Who stamps, and how that goes.
    pub fn report(&self) -> Option<Stamps> {
        match &self.state {
            State::Stamped(stamper) => Some(stamper.report()),
            State::Own(Some(undecided)) => Some(Stamps::of_undecided(undecided.clone())),
            State::Own(None) | State::Voting(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use tickscope_model::{LinkType, TapId};

    use super::*;
    use crate::capture::stamp::vote::tests::udp;

    const SECOND: u64 = 1_000_000_000;
    /// 2026-01-05, 14:30 UTC.
    const START: u64 = 1_767_623_400 * SECOND;

    /// A frame of this time; with the VSS trailer of a device whose clock shows that one.
    fn take(online: &mut Online, time: u64, device: Option<u64>) -> u64 {
        let trailer = device.map(|device| {
            let words = [device / SECOND, device % SECOND].map(|word| u32::try_from(word).unwrap().to_be_bytes());
            [words.concat(), vec![1]].concat()
        });
        let bytes = [udp(18), trailer.unwrap_or_default()].concat();
        let wire_len = u32::try_from(bytes.len()).unwrap();
        let time = Timestamp(time);
        let frame = Frame { tap: TapId(0), link: LinkType::Ethernet, time, number: 1, wire_len, bytes: &bytes };
        if online.is_voting() {
            online.vote(&frame);
        }
        online.take(&frame, time).0
    }

    /// Times of the frames that moved, of frames a tenth of a second apart whose device is switched on at `on`.
    fn moves(rule: TapTime, seconds: u64, on: u64, off_by: u64) -> (Online, Vec<(u64, u64)>) {
        let mut online = Online::new(rule).expect("something to find out");
        let mut moves = Vec::new();
        for tenth in 0..seconds * 10 {
            let after = tenth * SECOND / 10;
            let time = START + after;
            let device = (on <= after).then_some(time + off_by);
            if tenth == 256 {
                online.decide();
                assert!(!online.is_stamped());
            }
            let taken = take(&mut online, time, device);
            if online.take_moved().is_some() {
                moves.push((after, taken - START));
            }
        }
        (online, moves)
    }

    #[test]
    fn a_device_that_is_switched_on_later_is_found_by_a_later_vote() {
        // The first vote takes 25.6 s. The second begins 10 s behind it and takes as long; the third one begins a minute later.
        let first_vote_over = 25_500_000_000;
        for (on, found) in [
            (30 * SECOND, first_vote_over + 10 * SECOND + 25_500_000_000),
            // 256 voters from 35.5 s to 61 s: most have no stamp.
            (50 * SECOND, 61 * SECOND + 60 * SECOND + 25_500_000_000),
        ] {
            let (online, moves) = moves(TapTime::default(), 200, on, 3 * SECOND);
            assert_eq!(moves, [(found, found + 3 * SECOND)], "once, with that frame");
            let report = online.report().expect("a device");
            assert_eq!((report.format, report.since), (Some("vss"), Some(Timestamp(START + found))));
            assert_eq!((online.is_stamped(), report.counts.without()), (true, 0));
        }
    }

    #[test]
    fn where_nothing_wins_all_times_stay() {
        let (online, moves) = moves(TapTime::default(), 300, u64::MAX, 0);
        assert_eq!((moves, online.is_stamped()), (vec![], false));
        assert!(online.report().is_none(), "nothing was near");
    }

    #[test]
    fn a_few_frames_win_no_later_vote() {
        let mut online = Online::new(TapTime::default()).expect("a vote");
        (0..256).for_each(|at| assert_eq!(take(&mut online, START + at, None), START + at));
        online.decide();
        for at in 0..63 {
            let time = START + (20 + at) * SECOND;
            assert_eq!(take(&mut online, time, Some(time + 5)), time);
        }
        // The 64th comes when the vote has lasted for a minute.
        let time = START + 83 * SECOND;
        assert_eq!(take(&mut online, time, Some(time + 5)), time + 5);
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_keep_frames_from_voting() {
        let mut online = Online::new(TapTime::default()).expect("a vote");
        (0..256).for_each(|at| assert_eq!(take(&mut online, START + at, None), START + at));
        online.decide();
        let times = (0..256).map(|at| START - 1000 * SECOND + at * SECOND / 100);
        let taken: Vec<u64> = times.map(|time| take(&mut online, time, Some(time + 5)) - time).collect();
        assert_eq!(taken.iter().filter(|ahead| **ahead == 5).count(), 1, "the last one");
    }
}
