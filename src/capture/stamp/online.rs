//! Whose times those of a tap are that is captured now: its first frames vote, as those of a file do, and what they decide
//! holds for the rest of the run. Where the user names no format and no edge, nothing is looked at.

use tickscope_model::{Frame, Timestamp};

use super::stamper::{Stamper, Stamps};
use super::vote::{Sample, Undecided, VOTERS, decide, sample, undecided};
use super::{Edge, Format, TapTime, Trailer};

/// See the head of this file.
pub struct Online {
    rule: TapTime,
    state: State,
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
        Some(Online { rule, state })
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
        let State::Voting(voters) = &self.state else { return String::new() };
        let count = voters.len();
        let own = format!("no format won the vote of {count} frames on stamps: the times of NIC and kernel count");
        let (state, text) = if let Some(stamper) = decide(&self.rule, voters, true, None) {
            let named = |format: &Format| format!("the stamps of {} count ({})", format.name, stamper.because);
            let text = stamper.format.map_or(own, named);
            (State::Stamped(Box::new(stamper)), text)
        } else {
            let undecided = undecided(&self.rule, voters, true);
            let near = undecided.as_ref().map_or(String::new(), |near| {
                format!("; nearest was {}, in {} of {}, but {}", near.format, near.frames, near.of, near.why)
            });
            (State::Own(undecided), own + &near)
        };
        self.state = state;
        text
    }

    /// The time of a frame that NIC or kernel stamped with `own`.
    #[inline]
    pub fn take(&mut self, frame: &Frame<'_>, own: Timestamp) -> Timestamp {
        if let State::Stamped(stamper) = &mut self.state { stamper.take(frame, own) } else { own }
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
