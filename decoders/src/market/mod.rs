//! Market data: what made somebody act. One file per protocol; `layout` has the field types that they share.

pub mod iex_deep;
pub mod iex_tops;
pub mod itch50;
pub mod new_york;

mod iex;
mod layout;
