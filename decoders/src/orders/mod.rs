//! Protocols of order entry.

pub mod fix;
