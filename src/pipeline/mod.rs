//! pipeline
pub mod correlator;
