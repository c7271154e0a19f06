//! Cause to effect: requests with their triggers and answers become rows and segments.

mod row;

pub use row::{Flag, Flags, Method, Moment, OrderRow, SegmentRow, Trigger};
