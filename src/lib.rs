//! tickscope: tick-to-trade and exchange latency from captures.
//! The modules are the stages of the pipeline, in the order of the data flow.

pub mod dissect;
pub mod pair;
pub mod stats;
pub mod write;
