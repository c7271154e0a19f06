//! The reading end of one queue or ring: one thread owns it, and shows frames to whoever asks.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use crate::afpacket;
use crate::clock::Board;
use crate::counters::{Counters, Shown, Tally};
use crate::error::CaptureError;
use crate::frame::Frame;
use crate::sys;
use crate::xdp;

/// After a stop, frames that the kernel counted and never put into the ring are waited for so long.
const DRAIN_NS: i64 = 1_000_000_000;
/// Frames that another processor was just handing over when the capture was stopped have come by then.
const SETTLE_NS: i64 = 10_000_000;
/// While draining, how often it is asked whether everything has come.
const DRAIN_POLL_MS: u32 = 5;

/// What the capture tells its receivers.
pub(crate) struct Shared {
    pub(crate) mtu: AtomicU32,
    pub(crate) is_up: AtomicBool,
    /// When (CLOCK_MONOTONIC) the capture was stopped; 0 while it runs.
    pub(crate) stopped_ns: AtomicI64,
}

/// How waiting ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// There may be frames: call [`Receiver::each`].
    Ready,
    /// The time is over, or a signal came.
    Nothing,
    /// The interface was switched off or is gone. Waiting again is right: it may come back.
    LinkDown,
    /// The capture was stopped, and everything in the ring has been read.
    Ended,
}

/// What reading needs to know of its surroundings.
pub(crate) struct View<'a> {
    pub(crate) budget: u64,
    pub(crate) board: &'a Board,
    pub(crate) tally: &'a Tally,
    pub(crate) mtu: u32,
}

pub(crate) enum Ring {
    Packet(afpacket::Ring),
    Xdp(xdp::Socket),
}

/// Reads one queue. Belongs to one thread, which may be any.
pub struct Receiver {
    pub(crate) ring: Ring,
    pub(crate) tally: Arc<Tally>,
    pub(crate) board: Arc<Board>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) interface: String,
}

impl Receiver {
    /// The NIC's queue (AF_XDP) or the number of the ring (AF_PACKET).
    pub fn queue(&self) -> u32 {
        self.tally.queue
    }

    /// Waits until there is something to read, by poll(2), so an idle link costs nothing.
    pub fn wait(&mut self, timeout: Duration) -> Result<Waited, CaptureError> {
        if self.is_ready() {
            return Ok(Waited::Ready);
        }
        let mut timeout_ms = u32::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX);
        let stopped_ns = self.shared.stopped_ns.load(Relaxed);
        if stopped_ns != 0 {
            let since_ns = sys::clock_ns(libc::CLOCK_MONOTONIC) - stopped_ns;
            if since_ns > DRAIN_NS || since_ns > SETTLE_NS && self.is_empty() {
                return Ok(Waited::Ended);
            }
            timeout_ms = timeout_ms.min(DRAIN_POLL_MS);
        }
        let result = match &mut self.ring {
            Ring::Packet(ring) => ring.wait(timeout_ms),
            Ring::Xdp(socket) => socket.wait(timeout_ms),
        };
        match result {
            Ok(()) if self.is_ready() => Ok(Waited::Ready),
            // AF_XDP sockets are not told; the capture is.
            Ok(()) if !self.shared.is_up.load(Relaxed) => Ok(Waited::LinkDown),
            Ok(()) => Ok(Waited::Nothing),
            Err(error) if is_down(&error) => Ok(Waited::LinkDown),
            Err(source) => Err(self.cannot_wait(source)),
        }
    }

    /// Leaves frames to gather in the ring of AF_XDP for so long, or until an eighth of it has come: each has its stamp already, and
    /// to be woken for every few of them costs more than they do. AF_PACKET shows whole blocks, which have gathered; there it returns
    /// at once.
    pub fn gather(&mut self, time: Duration) -> Result<(), CaptureError> {
        let time_ms = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        match &self.ring {
            Ring::Packet(_) => Ok(()),
            Ring::Xdp(socket) => socket.gather(time_ms).map_err(|source| self.cannot_wait(source)),
        }
    }

    fn cannot_wait(&self, source: io::Error) -> CaptureError {
        CaptureError { interface: self.interface.clone(), what: "waiting for frames", source }
    }

    /// Shows up to `budget` frames that are there, and never waits. How many it were.
    pub fn each(&mut self, budget: usize, tell: &mut dyn FnMut(Frame<'_>)) -> usize {
        let mtu = self.shared.mtu.load(Relaxed);
        let mut shown = Shown::default();
        let view = View { budget: budget as u64, board: &self.board, tally: &self.tally, mtu };
        match &mut self.ring {
            Ring::Packet(ring) => ring.each(&view, &mut shown, tell),
            Ring::Xdp(socket) => socket.each(&view, &mut shown, tell),
        }
        shown.publish(&self.tally);
        usize::try_from(shown.total).expect("no more than the budget")
    }

    pub fn counters(&self) -> Result<Counters, CaptureError> {
        let error = |source| CaptureError { interface: self.interface.clone(), what: "reading its counters", source };
        self.tally.counters().map_err(error)
    }

    fn is_ready(&self) -> bool {
        match &self.ring {
            Ring::Packet(ring) => ring.is_ready(),
            Ring::Xdp(socket) => socket.is_ready(),
        }
    }

    fn is_empty(&self) -> bool {
        match &self.ring {
            Ring::Packet(ring) => ring.is_empty(&self.tally),
            Ring::Xdp(socket) => socket.is_empty(&self.tally),
        }
    }
}

fn is_down(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENETDOWN | libc::ENODEV | libc::ENXIO))
}
