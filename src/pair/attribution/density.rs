//! The density of the latency from a message to the request that it causes: what is believed of it, and what is learned.

use super::lag::{self, BINS};
use super::smooth::{self, Smoother};

/// Requests' worth of belief that is mixed into what is learned.
const LATENCY_BELIEF: f64 = 2.0;
/// Beyond this share of latencies each bin holds at least so much less than the one before: half in an octave.
const TAIL: f64 = 0.7;
const DECAY: f64 = 0.917;
/// … in a market where so many messages of usual age stand before a request by chance.
const TAIL_CROWD: f64 = 0.01;
/// The same for each tenth more, up to the window.
pub(super) fn believed(window_ns: u64) -> Vec<f64> {
    evenly(bins_of(window_ns))
}

/// How many bins there are up to the longest latency.
pub(super) fn bins_of(window_ns: u64) -> usize {
    usize::from(lag::bin(window_ns)) + 1
}

fn evenly(bins: usize) -> Vec<f64> {
    let mut density = vec![0.0; BINS];
    let share = 1.0 / f64::from(u16::try_from(bins).unwrap_or(u16::MAX));
    for (bin, density) in density.iter_mut().enumerate().take(bins) {
        *density = share / lag::width(bin);
    }
    density
}

/// What requests teach that messages caused, by bin, as a smooth curve; `near` messages of usual age stand before so many
/// requests.
pub(super) fn learned(bins: &[f64], (near, requests): (f64, f64), smoother: &mut Smoother) -> Vec<f64> {
    let total: f64 = bins.iter().sum();
    let crowd = (near - total) / requests.max(1.0);
    let mut masses = smoother.smooth(&bins[..smoother.bins()]);
    masses.resize(BINS, 0.0);
    one_hump(&mut masses, crowd);
    let smoothed: f64 = masses.iter().sum();
    let believed = evenly(smoother.bins());
    let kept = total / (total + LATENCY_BELIEF) / smoothed.max(1e-12);
    let share = LATENCY_BELIEF / (total + LATENCY_BELIEF);
    masses.iter().enumerate().map(|(bin, mass)| mass * kept / lag::width(bin) + believed[bin] * share).collect()
}

/// Latencies are usual around one value, and the further away from it the rarer. What rises again, as seen in bins that each
/// are a tenth wider than the one before, is requests that came by themselves at some time after whatever message: at
/// low rates nothing else would keep them from being called very slow reactions. In a busy market they cannot be told
/// from a tail: there the fall beyond the most usual latency must get steeper and steeper, but for a tail that is the
/// smaller, the more messages (`crowd`) stand before a request by chance.
fn one_hump(masses: &mut [f64], crowd: f64) {
    // Bins are not equally wide: heights of the curve.
    let mut heights: Vec<f64> = masses.iter().enumerate().map(|(bin, mass)| mass / smooth::share(bin)).collect();
    let most = heights.iter().copied().fold(0.0, f64::max);
    let total: f64 = masses.iter().sum();
    let Some(top) = heights.iter().position(|height| *height >= most) else { return };
    let (rising, falling) = heights.split_at_mut(top);
    let mut bound = most;
    for height in rising.iter_mut().rev() {
        bound = height.min(bound);
        *height = bound;
    }
    let mut below: f64 = masses[..top].iter().sum();
    let (mut last, mut ratio) = (most, 1.0_f64);
    // In a quiet market a tail may fall slowly.
    let decay = 1.0 - (1.0 - DECAY) * (crowd / TAIL_CROWD).clamp(0.0, 1.0);
    let mut tail = most * (TAIL_CROWD / crowd.max(TAIL_CROWD));
    for (height, bin) in falling.iter_mut().zip(top..) {
        let is_tail = below > TAIL * total;
        let steeper = last * ratio;
        let highest = if is_tail { steeper.max(tail.min(last * decay)) } else { last };
        let allowed = height.min(highest);
        if allowed > tail {
            ratio = ratio.min(allowed / last.max(f64::MIN_POSITIVE));
        }
        *height = allowed;
        last = allowed;
        below += allowed * smooth::share(bin);
        if is_tail {
            tail *= decay;
        }
    }
    masses.iter_mut().zip(&heights).enumerate().for_each(|(bin, (mass, height))| *mass = height * smooth::share(bin));
}
