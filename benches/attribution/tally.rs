//! Counts of what was said of requests' causes, against the truth; and whether confidence is calibrated.

use super::run::{Cause, Given};

/// Bins of confidence: tenths.
const BINS: usize = 10;

/// The sum of what was claimed, how many, and how many were right.
type Bin = (f64, u64, u64);

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
    bins: [Bin; BINS],
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
    println!(
        "\nClaimed confidence: observed share that is right (requests); bins with fewer than {FEW} are judged together.\n"
    );
    println!(
        "| scenario | requests | {} | outside 0.03 + 2 s.e. |",
        (0..BINS).map(|bin| format!("0.{bin}–")).collect::<Vec<_>>().join(" | ")
    );
    println!("| --- | ---: |{} ---: |", " ---: |".repeat(BINS));
    let mut missed = Vec::new();
    for (name, tally) in tallies {
        let (cells, outside) = bins(tally);
        println!("| `{name}` | {} | {} | {} |", tally.requests, cells.join(" | "), outside.len());
        missed.extend(outside.iter().map(|bin| format!("{name}: confidence in bin {bin} is not calibrated")));
    }
    println!();
    missed
}

/// Bins with fewer requests than these say nothing by themselves: they are judged together, if they are enough for that.
const FEW: u64 = 30;
const TOO_FEW: u64 = 10;

/// What is printed of each bin, and the names of those that are not calibrated.
#[allow(clippy::cast_precision_loss, reason = "counts")]
fn bins(tally: &Tally) -> (Vec<String>, Vec<String>) {
    let is_outside = |&(claimed, count, right): &Bin| {
        let (claimed, observed, n) = (claimed / count as f64, share(right, count), count as f64);
        (claimed - observed).abs() > 0.03 + 2.0 * (claimed * (1.0 - claimed) / n).max(0.0).sqrt()
    };
    let (mut cells, mut outside, mut few) = (Vec::new(), Vec::new(), (0.0, 0, 0));
    for (at, bin) in tally.bins.iter().enumerate() {
        let &(claimed, count, right) = bin;
        if count == 0 {
            cells.push("–".to_owned());
            continue;
        }
        let is_few = count < FEW;
        if is_few {
            few = (few.0 + claimed, few.1 + count, few.2 + right);
        } else if is_outside(bin) {
            outside.push(format!("0.{at}"));
        }
        let mark = if !is_few && is_outside(bin) { " **!**" } else { "" };
        cells.push(format!("{:.3}: {:.3} ({count}){mark}", claimed / count as f64, share(right, count)));
    }
    if few.1 >= TOO_FEW && is_outside(&few) {
        let (claimed, count, right) = few;
        let observed = share(right, count);
        outside.push(format!("few ({:.3}: {observed:.3}, {count} requests)", claimed / count as f64));
    }
    (cells, outside)
}
