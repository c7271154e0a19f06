//! Frames from interfaces instead of files: one thread for each queue of a NIC copies frames from its ring (`receive`) into a
//! bounded queue (`queue`); the engine's thread merges the queues by time (`merge`; by stamps in the frames: `restamp`) and
//! hands each frame to the same stages that read captures. Frames can be kept: all of them in files (`record`), the newest in
//! memory (`flight`). What comes of it others can read meanwhile: snapshots on a Unix socket (`socket`, its `reader`s, the
//! newest `rows`) and metrics over HTTP (`scrape`). Each of these has a thread of its own that the engine never waits for.
//! What a frame is and who stamps it is `tickscope-nic`'s work.

pub mod flight;
pub mod flight_files;
mod merge;
pub mod pcapng;
mod queue;
mod reader;
mod receive;
pub mod record;
mod record_files;
mod restamp;
mod rows;
mod scrape;
mod socket;
mod tap;

use std::io;

use tickscope_model::{TapId, Timestamp};
use tickscope_nic::{Driver, OpenError, clock};

pub use self::merge::{Arrival, Decision};
use self::merge::{Merge, Next};
pub use self::rows::Rows;
pub use self::scrape::Metrics;
pub use self::socket::{Publisher, Socket, Tell, Wanted};
use self::tap::Tap;
pub use self::tap::TapOptions;
use crate::capture::Captured;
use crate::capture::stamp::Stamps;
use crate::stats::LiveTap;

/// All taps of a run.
#[derive(Default)]
pub struct Live {
    taps: Vec<Tap>,
    merge: Merge,
    is_stopped: bool,
}

/// What comes next.
pub enum Step<'a> {
    Frame(Captured<'a>, Arrival),
    Decided(Decision),
    /// No frame is ready. Nothing comes any more that is older than this.
    Nothing(Timestamp),
    /// The taps were stopped, and everything was read.
    End,
}

impl Live {
    /// Opens an interface. From now on its frames are captured or counted.
    pub fn open(&mut self, options: TapOptions) -> Result<(), OpenError> {
        let id = self.merge.add_tap(&options.time);
        self.taps.push(Tap::open(options, id)?);
        Ok(())
    }

    /// Starts the receivers' threads. The calling thread is the engine's: it is woken when frames have come.
    pub fn start(&mut self) -> io::Result<()> {
        self.taps.iter_mut().try_for_each(|tap| tap.start(&mut self.merge))
    }

    /// The next frame in time order.
    #[inline]
    pub fn step(&mut self) -> Step<'_> {
        match self.merge.next(clock::now_utc_ns) {
            Next::Frame(captured, arrival) => Step::Frame(captured, arrival),
            Next::Decided(decision) => Step::Decided(decision),
            Next::End if self.is_stopped => Step::End,
            // Where there is no interface any more, time goes by the clock.
            Next::End => Step::Nothing(Timestamp(clock::now_utc_ns())),
            Next::Nothing(floor) => Step::Nothing(floor),
        }
    }

    /// To be called once a second: clocks are compared, links looked at, the account checked. What happened is told with the
    /// name of its tap.
    pub fn advance(&mut self, tell: &mut dyn FnMut(&str, &str)) -> io::Result<()> {
        self.taps.iter_mut().try_for_each(|tap| tap.advance(&mut self.merge, tell))
    }

    /// Takes nothing more from the interfaces; what is on its way still comes, and then the end.
    pub fn stop(&mut self) {
        self.is_stopped = true;
        self.taps.iter_mut().for_each(Tap::stop);
    }

    /// After the end: the account must be exact.
    pub fn finish(&mut self, tell: &mut dyn FnMut(&str, &str)) {
        self.taps.iter_mut().for_each(|tap| tap.finish(&mut self.merge, tell));
    }

    /// By [`TapId`].
    pub fn taps(&self) -> impl Iterator<Item = (&TapOptions, TapId)> {
        self.taps.iter().map(|tap| (&tap.options, tap.id))
    }

    /// Who stamps a tap's frames, where that is not NIC or kernel alone.
    pub fn stamps(&self, tap: TapId) -> Option<Stamps> {
        self.merge.stamps(tap)
    }

    /// Whether a tap's times are those of a device's clock and not of this host's.
    pub fn is_stamped(&self, tap: TapId) -> bool {
        self.merge.is_stamped(tap)
    }

    /// The driver that captures a tap now.
    pub fn driver(&self, tap: TapId) -> Option<Driver> {
        self.taps.get(usize::from(tap.0))?.driver()
    }

    /// What became of every frame of a tap.
    pub fn report(&self, tap: TapId) -> LiveTap {
        self.taps.get(usize::from(tap.0)).map(|tap| tap.report(&self.merge)).unwrap_or_default()
    }
}
