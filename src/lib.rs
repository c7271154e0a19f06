//! tickscope: tick-to-trade and exchange latency from captures.
//! The modules are the stages of the pipeline, in the order of the data flow.

pub mod app;
pub mod book;
pub mod capture;
pub mod dissect;
pub mod flow;
mod hash;
pub mod live;
pub mod merge;
pub mod pair;
pub mod pipeline;
mod prefetch;
pub mod stats;
pub mod write;
