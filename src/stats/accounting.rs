//! Does it add up? At each level what went in has to equal what was used plus the counted losses, and the rows have to
//! say the same as the counters. A difference is a mistake of ours, so the report shows it instead of hiding it.

use tickscope_model::{Level, Loss, SegmentKind};

use super::Summary;

/// Two numbers that should be equal and are not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discrepancy {
    /// `frames: read = used + lost`.
    pub what: String,
    pub left: u64,
    pub right: u64,
}

impl Summary {
    /// Everything that does not add up; empty in a sound run, and while one goes on.
    pub fn accounting(&self) -> Vec<Discrepancy> {
        if self.is_running {
            return Vec::new();
        }
        let mut found = Vec::new();
        let mut check = |what: &str, left: u64, right: u64| {
            if left != right {
                found.push(Discrepancy { what: what.to_owned(), left, right });
            }
        };
        let (totals, losses) = (&self.totals, &self.losses);
        let lost = |loss: Loss| losses.count(loss);
        check("frames: sum over taps = read", self.taps.iter().map(|tap| tap.frames).sum(), totals.frames_read);
        check("frames: read = used + lost", totals.frames_read, totals.frames_used + losses.total(Level::Frame));
        check(
            "stream bytes: spanned = used + lost",
            totals.stream_bytes,
            totals.stream_bytes_used + losses.total(Level::Stream),
        );
        check("messages: in = used + lost", totals.messages, totals.messages_used + losses.total(Level::Message));
        check("requests: in = reported + left out", totals.requests, self.rows.requests + lost(Loss::OutsideWindow));
        check("requests without an answer: rows = counter", self.rows.unanswered, lost(Loss::Unanswered));
        check("answers: in = matched + orphans", totals.answers, totals.answers_matched + lost(Loss::Orphan));
        check("TCP ACKs on answers: rows = counter", self.rows.ack_with_answer, lost(Loss::AckWithAnswer));
        let untriggered = self.rows.requests - self.rows.triggered;
        // A request whose window reached beyond the kept ticks may stand under that reason instead.
        let range = lost(Loss::Untriggered)..=lost(Loss::Untriggered) + lost(Loss::TickEvicted);
        if !range.contains(&untriggered) {
            check("requests without a trigger: rows = counter", untriggered, lost(Loss::Untriggered));
        }
        check("negative latencies: segments = counter", self.rows.negative, lost(Loss::Negative));
        for kind in SegmentKind::ALL {
            if kind != SegmentKind::Hop {
                let in_rows = self.rows.latencies[kind.index()];
                let in_segments = self.segments_of(kind);
                check(&format!("{}: rows = segments", kind.name()), in_rows, in_segments);
            }
        }
        found
    }
}
