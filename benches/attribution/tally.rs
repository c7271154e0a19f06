//! Counts of what was said of requests' causes, against the truth; and whether confidence is calibrated.

use super::run::{Cause, Given};

/// Bins of confidence: tenths.
const BINS: usize = 10;

/// How the requests of one kind fared.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) requests: u64,
    /// With a trigger that was seen.
    pub(crate) triggered: u64,
    pub(crate) given: u64,
    pub(crate) right: u64,
    /// Requests that nothing caused, and those of them that were given a trigger of confidence 0.5 and more.
    pub(crate) untriggered: u64,
    pub(crate) misled: u64,
    /// By bin: sum of what was claimed, how many, and how many were right.
    bins: [(f64, u64, u64); BINS],
}

impl Tally {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a tenth")]
    pub(crate) fn count(&mut self, cause: &Cause, given: Given) {
        self.requests += 1;
        self.triggered += u64::from(cause.trigger.is_some());
        self.untriggered += u64::from(cause.trigger.is_none());
        let Some((named, confidence)) = given else { return };
        let is_right = cause.trigger == Some(named);
        self.given += 1;
        self.right += u64::from(is_right);
        self.misled += u64::from(cause.trigger.is_none() && confidence >= 0.5);
        let bin = &mut self.bins[((confidence * 10.0) as usize).min(BINS - 1)];
        *bin = (bin.0 + confidence, bin.1 + 1, bin.2 + u64::from(is_right));
    }

    pub(crate) fn precision(&self) -> f64 {
        share(self.right, self.given)
    }

    pub(crate) fn recall(&self) -> f64 {
        share(self.right, self.triggered)
    }

    pub(crate) fn misled(&self) -> f64 {
        share(self.misled, self.untriggered)
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts")]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Prints what was claimed and what was right, by bin; returns the bins that are further apart than they may be.
#[allow(clippy::print_stdout, reason = "a benchmark talks to its user")]
pub(crate) fn calibration<'a>(tallies: impl Iterator<Item = (&'a str, &'a Tally)>) -> Vec<String> {
    println!("\nClaimed confidence and the observed share that is right, all requests:\n");
    println!(
        "| scenario | requests | {} | outside 0.03 + 2 s.e. |",
        (0..BINS).map(|bin| format!("0.{bin}–")).collect::<Vec<_>>().join(" | ")
    );
    println!("| --- | ---: |{} ---: |", " ---: |".repeat(BINS));
    let mut missed = Vec::new();
    for (name, tally) in tallies {
        let (cells, outside) = bins(tally);
        println!("| `{name}` | {} | {} | {} |", tally.requests, cells.join(" | "), outside.len());
        missed.extend(outside.iter().map(|bin| format!("{name}: confidence in bin 0.{bin} is not calibrated")));
    }
    println!();
    missed
}

fn bins(tally: &Tally) -> (Vec<String>, Vec<usize>) {
    let mut outside = Vec::new();
    let cells = tally.bins.iter().enumerate().map(|(at, &(claimed, count, right))| {
        if count == 0 {
            return "–".to_owned();
        }
        #[allow(clippy::cast_precision_loss, reason = "counts")]
        let (claimed, observed, n) = (claimed / count as f64, share(right, count), count as f64);
        let error = (claimed * (1.0 - claimed) / n).max(0.0).sqrt();
        let is_outside = (claimed - observed).abs() > 0.03 + 2.0 * error;
        if is_outside {
            outside.push(at);
        }
        format!("{claimed:.3}: {observed:.3} ({count}){}", if is_outside { " **!**" } else { "" })
    });
    let cells: Vec<String> = cells.collect();
    (cells, outside)
}
