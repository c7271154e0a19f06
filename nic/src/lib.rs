//! Frames of a live interface with the kernel's or the NIC's time, and an account of every frame.
//!
//! [`Capture::open`] chooses a driver (AF_XDP or AF_PACKET) and says why; [`Receiver::each`] shows frames, borrowed from the
//! ring. Nothing is allocated, locked or waited for between a frame and its reader.
//!
//! A `Capture` is asked about once a second ([`Capture::advance`]), by one thread; each [`Receiver`] belongs to a thread of its
//! own. Every stamp comes out as nanoseconds since 1970 in UTC, with its [`Source`]: who took it, where, and which way it is off.
//! Every frame that matched is delivered, waiting or lost for a reason that has a name ([`Counters`]).
//!
//! AF_PACKET works from Linux 4.12 on, AF_XDP from 5.9 on. What is newer is tried and replaced: stamps in TAI (6.1), the NIC's
//! stamps beside AF_XDP frames (6.3).
//!
//! ```no_run
//! # use std::time::Duration;
//! # use tickscope_nic::{Capture, Options, Waited};
//! let mut capture = Capture::open(&Options::new("eth1"))?;
//! let mut receiver = capture.receivers().remove(0);
//! while receiver.wait(Duration::from_millis(100))? != Waited::Ended {
//!     receiver.each(1024, &mut |frame| println!("{} {} bytes by {}", frame.time_ns, frame.wire_len, frame.source));
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![allow(clippy::doc_markdown, reason = "names of the kernel are words here: AF_XDP, CLOCK_TAI")]

mod afpacket;
mod capture;
pub mod clock;
mod counters;
mod error;
mod events;
pub mod facts;
mod frame;
mod link;
mod multicast;
mod netlink;
mod options;
mod privileges;
pub mod realtime;
mod receiver;
mod sys;
mod xdp;

pub use capture::{Capture, Chosen};
pub use counters::{Counters, Imbalance};
pub use error::{CaptureError, OpenError};
pub use events::Event;
pub use frame::{Direction, Flags, Frame, Source};
pub use link::{InterfaceDrops, Link};
pub use multicast::Membership;
pub use options::{BusyPoll, Driver, Filter, Group, HardwareStamps, Options, PacketOptions, XdpMode, XdpOptions};
pub use privileges::{Capability, Privileges, drop_other_capabilities, privileges};
pub use receiver::{Receiver, Waited};
