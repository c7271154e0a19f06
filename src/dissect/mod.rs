//! The headers of one frame: link, VLAN, tunnels, IP, UDP, TCP.
//!
//! [`Dissector`] also puts fragments together; [`dissect`] alone does without memory and reports them as
//! [`Loss::FragmentHeld`].
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

mod fast;
mod filter;
mod fragments;
mod packet;
mod reader;
mod slow;
mod tunnel;

pub use filter::{Filter, FilterError};
pub use fragments::{Dissector, FragmentCounts};
pub use packet::{Packet, TcpFlags, Transport};

use tickscope_model::{Frame, Loss};

/// What a frame carries; the innermost packet where it is a tunnel's.
#[inline]
pub fn dissect<'a>(frame: &Frame<'a>) -> Result<Packet<'a>, Loss> {
    match fast::dissect(frame) {
        Some(packet) => Ok(packet),
        None => match slow::dissect(frame)? {
            slow::Found::Packet(packet) => Ok(packet),
            slow::Found::Piece(_) => Err(Loss::FragmentHeld),
        },
    }
}
