//! Where frames and their times come from: capture files, plain or compressed, one or several merged by time.
//!
//! [`open`] reads one file; [`Merged`] is what the pipeline uses for any number of them. Times come from the capture, or from
//! the stamps that a device wrote into the frames ([`stamp`]).

mod block;
mod bytes;
mod clock;
mod error;
mod file;
mod inflate;
mod map;
mod merge;
mod names;
mod open;
mod packets;
mod pcap;
mod pcapng;
pub mod recorded;
mod span;
pub mod stamp;
mod stream;

#[cfg(test)]
pub(crate) use block::test;
pub use block::{Arriving, BLOCK_BYTES, Block, FlowMark, Part, Run, Session, Shelf, Skimmed};
pub use error::{Cut, SourceError};
pub use file::{CaptureFile, Interface};
pub use merge::{Ahead, Captured, Input, Merged, Step, Tap};
pub use open::open;
pub use packets::{Packets, Place, Spot};
pub use span::{Record, Span};
