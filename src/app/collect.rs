//! Where the rows of `analyze` go: into the report's figures and the tables. That is work for a thread of its own, so that
//! the stages need not wait for it; the order stays that in which rows were closed.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};
use std::{io, mem, panic};

use tickscope_model::Timestamp;

use super::args::OutputArgs;
use super::tui::keep::Keep;
use super::values::TableOutput;
use crate::pair::Paired;
use crate::pipeline::correlator::Correlator;
use crate::stats::{Evidence, Summary};
use crate::write::{OrdersFile, SegmentsFile};

/// So many rows are handed over at once: to hand over fewer costs more than it is worth, more fall out of the caches.
const BATCH: usize = 256;
/// So many batches wait at most; then the stages do.
const BATCHES: usize = 16;

/// `--orders` and `--segments`.
#[derive(Default)]
pub(super) struct Tables {
    pub orders: Option<OrdersFile>,
    pub segments: Option<SegmentsFile>,
}

impl Tables {
    pub(super) fn create(output: &OutputArgs) -> anyhow::Result<Tables> {
        let path = |table: &TableOutput| table.path.clone();
        let orders = output.orders.as_ref().map(|table| OrdersFile::create(path(table).as_deref())).transpose()?;
        let segments =
            output.segments.as_ref().map(|table| SegmentsFile::create(path(table).as_deref())).transpose()?;
        Ok(Tables { orders, segments })
    }
}

/// What a run leaves behind.
pub(super) struct Collected {
    pub summary: Summary,
    pub tables: Tables,
    /// The rows themselves, where somebody will ask for them.
    pub keep: Option<Keep>,
}

/// What came out of the correlator: market-data messages by time, and closed requests.
struct Batch {
    market: Vec<(Timestamp, u64)>,
    rows: Vec<Paired>,
}

impl Collected {
    /// Adds a batch, and returns the rows that nobody needs any more.
    fn add(&mut self, batch: Batch) -> io::Result<Vec<Paired>> {
        for (time, count) in batch.market {
            self.summary.market(time, count);
        }
        for Paired { row, is_echo } in &batch.rows {
            if let Some(table) = &mut self.tables.segments {
                row.segment_rows().try_for_each(|segment| table.push(segment))?;
            }
            if *is_echo { self.summary.echo(row) } else { self.summary.figures(row) }
        }
        if let Some(keep) = &mut self.keep {
            batch.rows.into_iter().try_for_each(|paired| keep.push(paired))?;
            return Ok(Vec::new());
        }
        let Some(table) = &mut self.tables.orders else { return Ok(batch.rows) };
        for Paired { row, .. } in batch.rows.into_iter().filter(|paired| !paired.is_echo) {
            table.push(*row)?;
        }
        Ok(Vec::new())
    }
}

/// See the head of this file.
pub(super) struct Collector {
    place: Place,
    /// What is found out at the end is prepared by the stages' thread, which would have to wait then.
    evidence: Evidence,
}

enum Place {
    Here(Box<Collected>),
    Thread(Other),
    /// A row could not be written, and that was said.
    GivenUp,
}

/// The other thread.
struct Other {
    batches: SyncSender<Batch>,
    /// Rows that are no longer needed. They are dropped where they were made: to give memory back to another thread takes
    /// several times as long.
    used: Receiver<Vec<Paired>>,
    thread: JoinHandle<io::Result<Box<Collected>>>,
}

impl Collector {
    pub(super) fn start(
        summary: Summary,
        tables: Tables,
        keep: Option<Keep>,
        on_thread: bool,
    ) -> io::Result<Collector> {
        let collected = Box::new(Collected { summary, tables, keep });
        if !on_thread {
            return Ok(Collector { place: Place::Here(collected), evidence: Evidence::default() });
        }
        let (batches, queue) = sync_channel(BATCHES);
        let (done, used) = channel();
        let thread =
            thread::Builder::new().name("collect".to_owned()).spawn(move || collect(collected, &queue, &done))?;
        Ok(Collector { place: Place::Thread(Other { batches, used, thread }), evidence: Evidence::default() })
    }

    /// Takes what is ready out of the correlator, once it is enough to be worth it.
    #[inline]
    pub(super) fn collect(&mut self, correlator: &mut Correlator) -> io::Result<()> {
        let is_little = correlator.pairer.ready() < BATCH && correlator.market_counts.len() < BATCH;
        if is_little { Ok(()) } else { self.take(correlator) }
    }

    fn take(&mut self, correlator: &mut Correlator) -> io::Result<()> {
        let batch = Batch { market: mem::take(&mut correlator.market_counts), rows: correlator.take() };
        batch.rows.iter().filter(|paired| !paired.is_echo).for_each(|paired| self.evidence.order(&paired.row));
        match &mut self.place {
            Place::Here(collected) => collected.add(batch).map(drop),
            Place::Thread(other) if other.batches.send(batch).is_ok() => {
                other.used.try_iter().for_each(drop);
                Ok(())
            }
            // It takes no more since it could not write.
            Place::Thread(..) | Place::GivenUp => self.end().map(drop),
        }
    }

    fn end(&mut self) -> io::Result<Box<Collected>> {
        match mem::replace(&mut self.place, Place::GivenUp) {
            Place::Here(collected) => Ok(collected),
            Place::Thread(Other { batches, thread, .. }) => {
                drop(batches);
                thread.join().unwrap_or_else(|panicked| panic::resume_unwind(panicked))
            }
            Place::GivenUp => Err(io::Error::other("rows were given up")),
        }
    }

    /// Closes everything that is open, and says what became of everything.
    pub(super) fn finish(mut self, correlator: &mut Correlator) -> io::Result<Collected> {
        while correlator.finish_some() {
            self.collect(correlator)?;
        }
        self.take(correlator)?;
        self.evidence.finish();
        let mut collected = self.end()?;
        collected.summary.evidence = self.evidence;
        Ok(*collected)
    }
}

fn collect(
    mut collected: Box<Collected>,
    queue: &Receiver<Batch>,
    done: &Sender<Vec<Paired>>,
) -> io::Result<Box<Collected>> {
    for batch in queue {
        // Nobody takes them back once everything was handed over.
        let _ = done.send(collected.add(batch)?);
    }
    collected.summary.settle();
    Ok(collected)
}
