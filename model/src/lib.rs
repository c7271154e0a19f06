//! The words of tickscope: times, prices, frames, events, losses and segments.
//! No I/O, no clock and no threads live here; every other crate speaks in these types.
#![warn(missing_docs)]

mod decimal;
mod event;
mod frame;
mod loss;
mod segment;
mod time;

pub use decimal::Decimal;
pub use event::{BookChange, MarketEvent, MarketKind, OrderEvent, OrderKind, Side, Stations, SymbolId};
pub use frame::{Frame, LinkType, TapId};
pub use loss::{Level, Loss, Losses};
pub use segment::SegmentKind;
pub use time::{Nanos, Timestamp};
