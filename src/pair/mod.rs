//! Cause to effect: requests with their triggers and answers become rows and segments.

mod answers;
pub mod attribution;
mod clocks;
mod closing;
mod delivery;
mod early;
mod ids;
mod links;
mod measured;
mod moved;
mod pairer;
mod parts;
mod public;
mod requests;
mod row;
mod timely;
mod trigger;
mod walls;

pub use clocks::{Across, Blind, TapClocks};
pub use ids::{IdRule, Named};
pub use links::{LinkRule, Links};
pub use measured::Measured;
pub use pairer::{Paired, Pairer, Rules, View};
pub use parts::{Answer, Evidence, FillKind, Parts, PublicKind, Residual, Stamps, Way};
pub use row::{Detail, Flag, Flags, Method, Moment, OrderRow, SegmentRow, Trigger, Weighed};
pub use trigger::{TriggerRule, candidates};
