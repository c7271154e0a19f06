//! Why a slow order may have been slow, in words: what was seen, with times in units that can be read.

use super::across;
use super::screen::{grouped, latency, signed_latency};
use crate::stats::Explanation;

/// `90 market-data messages in its tenth of a second, usually 20`
pub(super) fn evidence(explanation: &Explanation) -> String {
    match explanation {
        Explanation::SlowTime(culprit) => format!("in a slow stretch of the verdict: {}", culprit.name()),
        Explanation::Microburst { most, usual } => {
            format!("{} market-data messages in its tenth of a second, usually {}", grouped(*most), grouped(*usual))
        }
        Explanation::Retransmission => "bytes of the request were sent again by TCP".into(),
        Explanation::MdGap => "messages of the feed are missing before the request".into(),
        Explanation::CaptureLoss { is_gap: true } => "bytes of its conversation are not in the capture".into(),
        Explanation::CaptureLoss { is_gap: false } => "the end of a frame is not in the capture".into(),
        Explanation::Batch(place) => format!("request number {place} of its TCP segment"),
        Explanation::Candidates { least, most, across } => {
            let [least, most] = [least, most].map(|time| time_before(time.0));
            format!("messages from {least} to {most} before the request{}", each(across::behind(*across)))
        }
        Explanation::Pause { quiet_ns, mean_ns, messages, mean_messages } => format!(
            "no request of any session for {}, on average one each {}; {} market-data messages meanwhile, on average {} \
             a request",
            latency(*quiet_ns),
            latency(*mean_ns),
            grouped(*messages),
            grouped(*mean_messages)
        ),
    }
}

/// A candidate may lie behind the request, by clocks that do not quite agree.
fn time_before(ns: i64) -> String {
    u64::try_from(ns).map_or_else(|_| signed_latency(ns), latency)
}

fn each(error: String) -> String {
    if error.is_empty() { error } else { format!(", each{error}") }
}

#[cfg(test)]
mod tests {
    use tickscope_model::Nanos;

    use super::*;
    use crate::pair::Across;

    #[test]
    fn times_have_units_and_counts_have_groups() {
        let candidates = |across| Explanation::Candidates { least: Nanos(-3), most: Nanos(74_769), across };
        for (explanation, expected) in [
            (candidates(Across::One), "messages from -3 ns to 74.769 µs before the request"),
            (
                candidates(Across::Within(Nanos(250))),
                "messages from -3 ns to 74.769 µs before the request, each ±250 ns",
            ),
            (
                Explanation::Pause {
                    quiet_ns: 1_688_000_123,
                    mean_ns: 142_000_000,
                    messages: 32_145,
                    mean_messages: 180,
                },
                "no request of any session for 1.688 s, on average one each 142.000 ms; 32,145 market-data messages \
                 meanwhile, on average 180 a request",
            ),
            (
                Explanation::Microburst { most: 1234, usual: 20 },
                "1,234 market-data messages in its tenth of a second, usually 20",
            ),
            (Explanation::CaptureLoss { is_gap: false }, "the end of a frame is not in the capture"),
        ] {
            assert_eq!(evidence(&explanation), expected);
        }
    }
}
