//! Who stamps the interfaces of one capture file: decided for each when its first frame comes.

use tickscope_model::{Frame, Timestamp};

use super::super::file::CaptureFile;
use super::vote::{Ballot, Undecided, ballots, decide, undecided};
use super::{Stamper, Stamps, TapTime};

/// See the head of this file.
pub(in crate::capture) struct Stampers {
    /// By number of the interface.
    all: Vec<Stamping>,
    /// The interface of the frame at hand, if somebody stamps it.
    current: Option<usize>,
    /// The first frames of each interface, and whether they are all of the file.
    ballots: Vec<Ballot>,
    is_all: bool,
    /// By number of the interface: the steps in which the capture's own stamps go, as far as the first frames show.
    steps_ns: Vec<u64>,
}

/// Whose times those of an interface are.
enum Stamping {
    NotSeen,
    /// The capture's own; where others were near to winning the vote, how near.
    Own(Option<Undecided>),
    Stamped(Box<Stamper>),
}

impl Stampers {
    /// Of a file that is in front of its first frame.
    pub(in crate::capture) fn new(file: &mut CaptureFile) -> Stampers {
        let (ballots, is_all) = ballots(file);
        let steps_ns = ballots.iter().map(Ballot::step_ns).collect();
        Stampers { all: Vec::new(), current: None, ballots, is_all, steps_ns }
    }

    /// The length of a tick of an interface of which the file says `told_ns`: whole microseconds stay what they are in a
    /// file that could hold nanoseconds.
    pub(in crate::capture) fn tick_ns(&self, interface: usize, told_ns: u64) -> u64 {
        self.steps_ns.get(interface).map_or(told_ns, |step_ns| told_ns.max(*step_ns))
    }

    /// Whether the frame at hand is of an interface that somebody stamps.
    #[inline]
    pub(in crate::capture) fn is_stamped(&self) -> bool {
        self.current.is_some()
    }

    /// The frame at hand is of this interface; `tap` and `file` are the names that the user may have used.
    pub(in crate::capture) fn choose(
        &mut self,
        interface: u32,
        rules: &[TapTime],
        (tap, file): (&str, &str),
        speed: Option<u64>,
    ) {
        let Ok(at) = usize::try_from(interface) else { return };
        if self.all.len() <= at {
            self.all.resize_with(at + 1, || Stamping::NotSeen);
        }
        let Some(place) = self.all.get_mut(at) else { return };
        if matches!(place, Stamping::NotSeen) {
            let default = TapTime::default();
            let rule = rule_of(rules, tap, file).unwrap_or(&default);
            let voters = self.ballots.get_mut(at).map(std::mem::take).unwrap_or_default();
            let stamper = decide(rule, &voters.0, self.is_all, speed);
            *place = match stamper {
                Some(stamper) => Stamping::Stamped(Box::new(stamper)),
                None => Stamping::Own(undecided(rule, &voters.0, self.is_all)),
            };
        }
        self.current = matches!(place, Stamping::Stamped(_)).then_some(at);
    }

    /// The time of the frame at hand, where the capture says `time`.
    #[inline(never)]
    pub(in crate::capture) fn take(&mut self, frame: &Frame<'_>, time: Timestamp) -> Timestamp {
        match self.current.and_then(|at| self.all.get_mut(at)) {
            Some(Stamping::Stamped(stamper)) => stamper.take(frame, time),
            _ => time,
        }
    }

    /// Who stamped these interfaces, which are one tap, and how that went.
    pub(in crate::capture) fn report(&self, interfaces: impl Iterator<Item = usize>) -> Option<Stamps> {
        let (mut stamped, mut undecided) = (Vec::new(), None);
        for at in interfaces {
            match self.all.get(at) {
                Some(Stamping::Stamped(stamper)) => stamped.push(stamper.report()),
                Some(Stamping::Own(Some(own))) => undecided = undecided.or(Some(own)),
                _ => {}
            }
        }
        let mut all = stamped.into_iter();
        let Some(mut stamps) = all.next() else { return undecided.cloned().map(Stamps::of_undecided) };
        for other in all {
            stamps.counts.merge(&other.counts);
        }
        stamps.undecided = undecided.cloned();
        Some(stamps)
    }
}

/// What the user said of a tap: of its own name, else of its file's, else of all.
pub(in crate::capture) fn rule_of<'a>(rules: &'a [TapTime], tap: &str, file: &str) -> Option<&'a TapTime> {
    [tap, file, ""].iter().find_map(|name| rules.iter().find(|rule| rule.name == *name))
}
