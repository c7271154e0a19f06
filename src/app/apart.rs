//! Taps at which the two directions of a TCP conversation come apart, as from an optical splitter. `analyze` looks ahead and takes
//! such taps for one observation point; `live` cannot, since conversations are under way when it is seen: it says what to set.

use tracing::warn;

use super::config::settings::TapSetting;
use crate::pipeline::Pipeline;

/// What was said already: pairs of taps, and the sentence.
#[derive(Default)]
pub(super) struct Apart {
    told: Vec<((u16, u16), String)>,
}

impl Apart {
    /// Looks for pairs of taps that nobody gave a group, and tells of each once. `taps`: with the point of each.
    pub(super) fn look(&mut self, pipeline: &Pipeline, (taps, points): (&[TapSetting], &[u16]), is_quiet: bool) {
        if taps.len() < 2 {
            return;
        }
        // A tap without a group is a point of its own.
        let free = |point: u16| {
            let at = points.iter().position(|other| *other == point)?;
            taps.get(at).filter(|tap| tap.group.is_none())
        };
        for (one, other, key) in pipeline.split_points() {
            let (Some(first), Some(second)) = (free(one), free(other)) else { continue };
            if self.told.iter().any(|(pair, _)| *pair == (one, other)) {
                continue;
            }
            let (first, second) = (&first.name, &second.name);
            let text = format!(
                "taps {first} and {second} see one direction each of a TCP conversation ({key}): answers do not find their \
                 requests; give both the same group in [[tap]], such as group = \"{first}\""
            );
            if !is_quiet {
                warn!("{text}");
            }
            self.told.push(((one, other), text));
        }
    }

    pub(super) fn notes(&self) -> impl Iterator<Item = String> {
        self.told.iter().map(|(_, text)| text.clone())
    }
}
