//! The hash table of the stages: seeded anew for each run, as keys come from the wire, and three times as fast on short keys
//! as the standard library's.

/// What it hashes with.
pub(crate) type RandomState = foldhash::fast::RandomState;

/// A table by short keys.
pub(crate) type HashMap<K, V> = std::collections::HashMap<K, V, RandomState>;
