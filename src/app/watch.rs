//! Which side slowed, while a run goes on: found out every few seconds on a thread of its own, from a copy.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tickscope_model::Timestamp;

use crate::stats::{Slowness, Summary};

/// It is looked for anew so many tenths of a second after it was found.
const EVERY: u64 = 50;

/// See the head of this file.
#[derive(Default)]
pub(super) struct Watch {
    running: Option<JoinHandle<Slowness>>,
    latest: Option<Arc<Slowness>>,
    ticks: u64,
    next: u64,
}

impl Watch {
    /// To be called ten times a second while somebody wants to know; `copy` takes what it is found in.
    pub(super) fn advance(&mut self, now: Timestamp, copy: impl FnOnce() -> Summary) -> io::Result<()> {
        self.ticks += 1;
        if let Some(running) = self.running.take_if(|running| running.is_finished()) {
            match running.join() {
                Ok(found) => self.latest = Some(Arc::new(found)),
                Err(panicked) => std::panic::resume_unwind(panicked),
            }
            self.next = self.ticks + EVERY;
        }
        if self.running.is_none() && self.ticks >= self.next {
            let summary = copy();
            let find = move || Slowness::find(now, summary);
            self.running = Some(thread::Builder::new().name("verdict".to_owned()).spawn(find)?);
        }
        Ok(())
    }

    pub(super) fn latest(&self) -> Option<Arc<Slowness>> {
        self.latest.clone()
    }
}
