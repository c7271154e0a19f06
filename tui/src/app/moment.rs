//! Which moment is shown: the newest, one that was stepped to, or one that moves while a capture is played.

use std::time::Duration;

/// See the head of this file. Times are nanoseconds since the epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Moment {
    #[default]
    Latest,
    At(u64),
    /// It was at `from_ns` at `since`, and goes on so many times as fast as time itself.
    Playing {
        from_ns: u64,
        since: Duration,
        now_ns: u64,
        speed: f64,
    },
}

impl Moment {
    pub(crate) fn time(self) -> Option<u64> {
        match self {
            Moment::Latest => None,
            Moment::At(t_ns) => Some(t_ns),
            Moment::Playing { now_ns, .. } => Some(now_ns),
        }
    }

    /// Time has passed.
    pub(crate) fn advance(&mut self, now: Duration, end_ns: u64) {
        let Moment::Playing { from_ns, since, now_ns, speed } = self else { return };
        let passed = now.saturating_sub(*since).as_secs_f64() * *speed * 1e9;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "nanoseconds that have passed")]
        let passed = passed as u64;
        *now_ns = from_ns.saturating_add(passed);
        if *now_ns >= end_ns {
            *self = Moment::Latest;
        }
    }

    /// Twice or half as fast.
    pub(crate) fn change_speed(&mut self, now: Duration, factor: f64) {
        if let Moment::Playing { from_ns, since, now_ns, speed } = self {
            (*from_ns, *since) = (*now_ns, now);
            *speed = (*speed * factor).clamp(1.0 / 1024.0, 1024.0);
        }
    }
}

/// How much of the run figures and charts are of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Span {
    #[default]
    Whole,
    Minute,
    FiveMinutes,
    QuarterHour,
}

impl Span {
    pub(crate) fn next(self) -> Span {
        crate::beside(&[Span::Whole, Span::Minute, Span::FiveMinutes, Span::QuarterHour], self, 1)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Span::Whole => "whole run",
            Span::Minute => "last minute",
            Span::FiveMinutes => "last 5 minutes",
            Span::QuarterHour => "last 15 minutes",
        }
    }

    pub(crate) fn nanos(self) -> Option<u64> {
        let minutes = match self {
            Span::Whole => return None,
            Span::Minute => 1,
            Span::FiveMinutes => 5,
            Span::QuarterHour => 15,
        };
        Some(minutes * 60_000_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_plays_at_its_speed_and_ends() {
        let second = Duration::from_secs;
        let mut moment = Moment::Playing { from_ns: 100, since: second(1), now_ns: 100, speed: 1.0 };
        moment.advance(second(2), 10_000_000_000);
        assert_eq!(moment.time(), Some(1_000_000_100));
        moment.change_speed(second(2), 2.0);
        moment.advance(second(3), 10_000_000_000);
        assert_eq!(moment.time(), Some(3_000_000_100));
        moment.advance(second(10), 10_000_000_000);
        assert_eq!(moment, Moment::Latest);
    }
}
