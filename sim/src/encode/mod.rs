//! Encoders of the simulator's own: market data in [`feed`], orders in [`fix`]. They share nothing with the decoders,
//! so that a mistake made twice cannot cancel out.

pub(crate) mod feed;
pub(crate) mod fix;
mod iex;
mod itch50;
