//! Where frames and their times come from: capture files, plain or compressed, one or several merged by time.
//!
//! [`open`] reads one file; [`Merged`] is what the pipeline uses for any number of them.

mod bytes;
mod clock;
mod error;
mod file;
mod inflate;
mod map;
mod merge;
mod open;
mod pcap;
mod pcapng;
mod stream;

pub use error::{Cut, SourceError};
pub use file::{CaptureFile, Interface};
pub use merge::{Captured, Input, Merged, Tap};
pub use open::open;
