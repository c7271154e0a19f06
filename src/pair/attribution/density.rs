//! The density of the latency from a message to the request that it causes: what is believed of it, and what is learned.

use super::lag::{self, BINS};

/// Requests' worth of belief that is mixed into what is learned.
const LATENCY_BELIEF: f64 = 2.0;
/// Beyond this share of latencies each bin holds at least so much less than the one before: half in an octave.
const TAIL: f64 = 0.7;
const DECAY: f64 = 0.917;
/// … in a market where so many messages of usual age stand before a request by chance.
const TAIL_CROWD: f64 = 0.01;
/// Beyond the most usual latency bins with fewer reactions than these are smoothed more, so many times: the more, the
/// quieter the market, where nothing but a reaction can be so late.
const FEW_REACTIONS: f64 = 3.0;
const WIDE_ROUNDS: [usize; 2] = [24, 8];

/// The same for each tenth more, up to the window.
pub(super) fn believed(window_ns: u64) -> Vec<f64> {
    let last = usize::from(lag::bin(window_ns));
    let mut density = vec![0.0; BINS];
    let share = 1.0 / f64::from(u16::try_from(last + 1).unwrap_or(u16::MAX));
    for (bin, density) in density.iter_mut().enumerate().take(last + 1) {
        *density = share / lag::width(bin);
    }
    density
}

/// What requests teach that messages caused, by bin; `near` messages of usual age stand before so many requests. Smoothed over
/// neighbouring bins, more often where there is less to learn from.
pub(super) fn learned(bins: &[f64], (near, requests): (f64, f64), window_ns: u64) -> Vec<f64> {
    let total: f64 = bins.iter().sum();
    let rounds = if total < 200.0 {
        12
    } else if total < 1000.0 {
        5
    } else {
        2
    };
    let mut masses = smoothed(bins, rounds);
    let most = masses.iter().copied().fold(0.0, f64::max);
    let top = masses.iter().position(|mass| *mass >= most).unwrap_or(0);
    let crowd = (near - total) / requests.max(1.0);
    // Slow reactions are few: each by itself would say little for others like it, and too much for itself.
    let wide = smoothed(bins, if crowd < TAIL_CROWD / 2.0 { WIDE_ROUNDS[0] } else { WIDE_ROUNDS[1] });
    // In a busy market that would make reactions of requests that came by themselves.
    let few = FEW_REACTIONS * (1.0 - crowd).clamp(0.0, 1.0);
    for (mass, wide) in masses.iter_mut().zip(&wide).skip(top) {
        let enough = (*mass / (*mass + few).max(f64::MIN_POSITIVE)).min(1.0);
        *mass = enough * *mass + (1.0 - enough) * wide;
    }
    one_hump(&mut masses, crowd);
    let smoothed: f64 = masses.iter().sum();
    let believed = believed(window_ns);
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
    let most = masses.iter().copied().fold(0.0, f64::max);
    let total: f64 = masses.iter().sum();
    let Some(top) = masses.iter().position(|mass| *mass >= most) else { return };
    let (rising, falling) = masses.split_at_mut(top);
    let mut bound = most;
    for mass in rising.iter_mut().rev() {
        bound = mass.min(bound);
        *mass = bound;
    }
    let mut below: f64 = rising.iter().sum();
    let (mut last, mut ratio) = (most, 1.0_f64);
    // In a quiet market a tail may fall slowly.
    let decay = 1.0 - (1.0 - DECAY) * (crowd / TAIL_CROWD).clamp(0.0, 1.0);
    let mut tail = most * (TAIL_CROWD / crowd.max(TAIL_CROWD));
    for mass in falling {
        let is_tail = below > TAIL * total;
        let steeper = last * ratio;
        let highest = if is_tail { steeper.max(tail.min(last * decay)) } else { last };
        let allowed = mass.min(highest);
        if allowed > tail {
            ratio = ratio.min(allowed / last.max(f64::MIN_POSITIVE));
        }
        *mass = allowed;
        last = allowed;
        below += allowed;
        if is_tail {
            tail *= decay;
        }
    }
}

/// Each bin with a half of it in its neighbours, so many times.
fn smoothed(bins: &[f64], rounds: usize) -> Vec<f64> {
    let mut masses = bins.to_vec();
    for _ in 0..rounds {
        let old = masses.clone();
        for (bin, mass) in masses.iter_mut().enumerate() {
            let near = |at: Option<usize>| at.and_then(|at| old.get(at)).copied().unwrap_or(old[bin]);
            *mass = 0.25 * near(bin.checked_sub(1)) + 0.5 * old[bin] + 0.25 * near(Some(bin + 1));
        }
    }
    masses
}
