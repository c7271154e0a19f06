//! The keys of a snapshot and of an answer with what they mean, for tickscope-socket(7). A star stands for a name: of a
//! segment, or of what is counted. A test holds the list against a snapshot.

type Row = (&'static str, &'static str);

/// Objects whose keys are names of what is counted.
#[cfg(test)]
pub(super) const COUNTED: [&str; 4] = ["requests_by_kind", "causes", "sessions.causes", "taps.live.lost"];

pub static SNAPSHOT_KEYS: &[Row] = &[];
pub static ANSWER_KEYS: &[Row] = &[];
