//! Time travel: to freeze and to step, to play a capture, and to jump to what is worth a look.

use super::{App, Moment};
use crate::history::History;
use crate::keys::Action;
use crate::wire::Snapshot;

/// A capture is played in so many seconds, unless the user wants it faster or slower.
const PLAY_SECONDS: f64 = 30.0;

impl App {
    pub(super) fn travel(&mut self, action: Action) {
        let Some(shown) = self.snapshot().cloned() else { return };
        let (t_ns, at) = (self.moment.time().unwrap_or(shown.t_ns), self.history.at_time(shown.t_ns));
        match action {
            Action::Freeze => self.freeze(&shown, t_ns),
            Action::StepBack => self.stop_at(at.checked_sub(1)),
            Action::StepForward if at + 1 < self.history.len() => self.stop_at(Some(at + 1)),
            Action::StepForward | Action::Latest => self.moment = Moment::Latest,
            Action::Faster => self.change_speed(2.0),
            Action::Slower => self.change_speed(0.5),
            Action::SlowerOrderBack | Action::SlowerOrderForward => {
                let times = self.outliers();
                self.jump(&times, action == Action::SlowerOrderForward, t_ns, "outlier");
            }
            _ => {
                let times = self.verdict_changes();
                self.jump(&times, action == Action::VerdictForward, t_ns, "change of the verdict");
            }
        }
    }

    fn freeze(&mut self, shown: &Snapshot, t_ns: u64) {
        self.moment = match self.moment {
            Moment::Playing { now_ns, .. } => Moment::At(now_ns),
            _ if !shown.of_capture => {
                if self.moment == Moment::Latest {
                    Moment::At(t_ns)
                } else {
                    Moment::Latest
                }
            }
            moment => {
                let (Some(first), Some(last)) = (self.history.get(0), self.history.last()) else { return };
                // From the beginning, where it was at the end.
                let from_ns = if moment == Moment::Latest || t_ns >= last.t_ns { first.t_ns } else { t_ns };
                #[allow(clippy::cast_precision_loss, reason = "a speed for people")]
                let length = last.t_ns.saturating_sub(first.t_ns) as f64 / 1e9;
                let speed = (length / PLAY_SECONDS).max(1.0 / 1024.0);
                Moment::Playing { from_ns, since: self.now, now_ns: from_ns, speed }
            }
        };
    }

    fn change_speed(&mut self, factor: f64) {
        let now = self.now;
        self.moment.change_speed(now, factor);
        if let Moment::Playing { speed, .. } = self.moment {
            self.say(format!("playing ×{speed:.2}"));
        }
    }

    fn stop_at(&mut self, at: Option<usize>) {
        match at.and_then(|at| self.history.get(at)) {
            Some(moment) => self.moment = Moment::At(moment.t_ns),
            None => self.say("that is the oldest moment that is kept".to_owned()),
        }
    }

    /// When the slowest requests were sent.
    fn outliers(&self) -> Vec<u64> {
        let slowest = self.history.last().map(|last| last.slowest.t2t.iter().chain(&last.slowest.answer));
        let mut times: Vec<u64> = slowest.into_iter().flatten().map(|order| order.t_out_ns).collect();
        times.sort_unstable();
        times.dedup();
        times
    }

    fn verdict_changes(&self) -> Vec<u64> {
        let verdict = self.history.last().and_then(|last| last.verdict.as_ref());
        let mut times: Vec<u64> = Vec::new();
        for stretch in verdict.iter().flat_map(|verdict| &verdict.slow) {
            times.push(stretch.from.t_ns);
            if !stretch.to_the_end {
                times.push(stretch.to.t_ns);
            }
        }
        times.sort_unstable();
        times
    }

    /// To the first moment that holds the next of these times.
    fn jump(&mut self, times: &[u64], is_forward: bool, t_ns: u64, what: &str) {
        // A moment holds what came since the one before.
        let moment_of = |history: &History, time: u64| {
            let at = history.at_time(time);
            let is_later = history.get(at).is_some_and(|moment| moment.t_ns < time);
            history.get(at + usize::from(is_later)).or(history.last()).map_or(time, |moment| moment.t_ns)
        };
        let mut moments: Vec<u64> = times.iter().map(|time| moment_of(&self.history, *time)).collect();
        moments.dedup();
        let from_start = self.is_summary();
        let found = if is_forward {
            moments.iter().find(|moment| **moment > t_ns && !from_start).or(moments.first())
        } else {
            moments.iter().rev().find(|moment| **moment < t_ns).or(moments.last())
        };
        match found {
            Some(moment) => self.moment = Moment::At(*moment),
            None => self.say(format!("there is no {what}")),
        }
    }
}
