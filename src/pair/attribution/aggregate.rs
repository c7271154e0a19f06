//! The latency and the number of triggered requests without claiming any pair: how many messages stand so long before
//! requests, against how many stand there before moments that were moved away from the requests (surrogates).

use super::lag::{self, BINS};
use super::model::Observed;

/// Moved moments for each request.
const SURROGATES: u8 = 16;

/// See the head of this file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Aggregate {
    /// The latency at which messages exceed chance most clearly, and by how many standard deviations.
    pub mode_ns: u64,
    pub z: f64,
    /// So many more requests than by chance have a message within `within_ns` before them; and the standard error of that.
    pub triggered: f64,
    pub error: f64,
    pub within_ns: u64,
    /// Requests that this was counted over.
    pub requests: usize,
}

/// Looks at a sample of requests. `usual_ns` is a latency that few requests exceed. `None` where there is too little.
#[allow(clippy::cast_precision_loss, reason = "counts and times for people")]
pub(crate) fn aggregate(sample: &[Observed], usual_ns: u64) -> Option<Aggregate> {
    let usual_ns = usual_ns.max(64);
    let within = lag::bin(usual_ns);
    let furthest = usual_ns.saturating_mul(4 + u64::from(SURROGATES) / 2 + 1);
    let (mut seen, mut chance) = (vec![0.0; BINS], vec![0.0; BINS]);
    // Requests with a message so shortly before them, and moved moments.
    let (mut requests, mut with_message, mut moved_with_message) = (0_usize, 0_usize, 0_usize);
    for request in sample {
        // Where the candidates end before the surrogates do, nothing can be compared.
        let reaches = request.candidates.iter().any(|one| lag::start(usize::from(one.bin)) >= furthest);
        if !reaches {
            continue;
        }
        requests += 1;
        let (mut is_near, mut is_moved_near) = (false, [false; SURROGATES as usize]);
        for one in request.candidates.iter().filter(|one| one.cell < 16 * 9) {
            let middle_ns = lag::middle(usize::from(one.bin));
            if one.bin <= within {
                seen[usize::from(one.bin)] += 1.0;
                is_near = true;
            }
            for (step, is_near) in (0..).zip(&mut is_moved_near) {
                let moved = usual_ns * 4 + usual_ns * step / 2;
                if let Some(lag_ns) = middle_ns.checked_sub(moved).filter(|lag_ns| lag::bin(*lag_ns) <= within) {
                    chance[usize::from(lag::bin(lag_ns))] += 1.0 / f64::from(SURROGATES);
                    *is_near = true;
                }
            }
        }
        with_message += usize::from(is_near);
        moved_with_message += is_moved_near.iter().filter(|is_near| **is_near).count();
    }
    if requests < 30 {
        return None;
    }
    let z = |bin: usize| (seen[bin] - chance[bin]) / (chance[bin] + 1.0).sqrt();
    let mode = (0..=usize::from(within)).max_by(|one, other| z(*one).total_cmp(&z(*other)))?;
    // A triggered request has a message for certain, any other as often as a moved moment has one.
    let all = requests as f64;
    let (near, by_chance) = (with_message as f64 / all, moved_with_message as f64 / all / f64::from(SURROGATES));
    let share_of_others = (1.0 - by_chance).max(1.0 / all);
    Some(Aggregate {
        mode_ns: lag::middle(mode),
        z: z(mode),
        triggered: (all * (near - by_chance) / share_of_others).max(0.0),
        error: (all * near * (1.0 - near) + by_chance).sqrt() / share_of_others,
        within_ns: usual_ns,
        requests,
    })
}

#[cfg(test)]
mod tests {
    use super::super::model::Seen;
    use super::*;

    /// Messages every 40 µs or so; of each ten requests six come 10 µs behind one, the others anywhere.
    #[test]
    fn the_number_of_triggered_requests_is_the_excess_over_chance() {
        let mut state = 7_u64;
        let mut random = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 40
        };
        let sample: Vec<Observed> = (0..4000)
            .map(|at| {
                let mut lag_ns = if at % 10 < 6 { 10_000 } else { random() % 40_000 };
                let mut candidates = Vec::new();
                for _ in 0..60 {
                    candidates.push(Seen { bin: lag::bin(lag_ns), cell: 0, relation: 0, place: 0, is_spent: false });
                    lag_ns += 20_000 + random() % 40_000;
                }
                Observed { candidates, ..Observed::default() }
            })
            .collect();
        let found = aggregate(&sample, 18_000).unwrap();
        assert!((9_000..11_000).contains(&found.mode_ns), "{found:?}");
        assert!((found.triggered - 2_400.0).abs() < 4.0 * found.error, "{found:?}");
    }
}
