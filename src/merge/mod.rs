//! Market data of all lines and taps, made one: numbers for symbols, which line brought a message first,
//! which messages are missing, and the ticks that a request can be looked up in.

mod arrivals;
mod feed;
mod kept;
mod lags;
mod lines;
mod recent;
mod symbols;
mod ticks;

pub use feed::Feed;
pub use lags::Lag;
pub use lines::{Feeds, HIGHEST_SEQUENCE, Line};
pub use recent::{Passed, Recent};
pub use symbols::Symbols;
pub use ticks::{Tick, Ticks, Walk};
