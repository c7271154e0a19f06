//! Where the rows of `live` go while the run goes on: into the report's figures, and into tables that others can read
//! meanwhile.

use std::{io, mem};

use tracing::warn;

use super::args::OutputArgs;
use super::recording::Recording;
use super::values::TableOutput;
use crate::pair::{OrderRow, Paired, SegmentRow, TapClocks};
use crate::pipeline::correlator::Correlator;
use crate::stats::{ClockRelation, Evidence, Groups, Kept, Summary};
use crate::write::GrowingTable;

/// See the head of this file.
pub(super) struct Growing {
    summary: Summary,
    evidence: Evidence,
    orders: Option<GrowingTable<OrderRow>>,
    segments: Option<GrowingTable<SegmentRow>>,
    /// Names of the taps.
    taps: Vec<String>,
    /// Rows that somebody may ask for, since they were taken last; `None` where nobody can.
    kept: Option<Vec<Kept>>,
}

impl Growing {
    pub(super) fn create(output: &OutputArgs, taps: Vec<String>, confidence: f32) -> io::Result<Growing> {
        let path = |table: &TableOutput| table.path.clone();
        let mut summary = Summary::default();
        summary.attribution.threshold = confidence;
        Ok(Growing {
            summary,
            evidence: Evidence::default(),
            orders: output.orders.as_ref().map(|table| GrowingTable::create(path(table).as_deref())).transpose()?,
            segments: output.segments.as_ref().map(|table| GrowingTable::create(path(table).as_deref())).transpose()?,
            taps,
            kept: None,
        })
    }

    /// Rows are kept from now on, with their candidates.
    pub(super) fn keep(&mut self) {
        self.kept = Some(Vec::new());
        self.summary.by_method = Some(Groups::default());
    }

    /// The rows that came since this was called last.
    pub(super) fn take_kept(&mut self) -> Vec<Kept> {
        self.kept.as_mut().map(mem::take).unwrap_or_default()
    }

    /// What is known of the taps' clocks.
    pub(super) fn set_clocks(&mut self, relations: Vec<ClockRelation>, between: TapClocks) {
        (self.summary.clocks, self.summary.tap_clocks) = (relations, between);
    }

    /// Takes what is ready out of the correlator.
    pub(super) fn take(&mut self, correlator: &mut Correlator, recording: &mut Recording) -> io::Result<()> {
        correlator.close_slot();
        for (time, count) in mem::take(&mut correlator.market_counts) {
            self.summary.market(time, count);
        }
        for Paired { mut row, is_echo } in correlator.take() {
            if let Some(table) = &mut self.segments {
                row.segment_rows().try_for_each(|segment| table.push(&segment, &self.taps))?;
            }
            recording.latencies(&row);
            if is_echo {
                self.summary.echo(&row);
                continue;
            }
            recording.row(&row);
            let candidates = row.case.take().map(|case| correlator.candidates(&case));
            self.evidence.order(&row);
            self.summary.figures(&row);
            if let Some(table) = &mut self.orders {
                table.push(&row, &self.taps)?;
            }
            if let Some(kept) = &mut self.kept {
                kept.push(Kept { row, candidates: candidates.unwrap_or_default() });
            }
        }
        Ok(())
    }

    /// Lets others read what is there.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.orders.as_mut().map_or(Ok(()), GrowingTable::flush)?;
        self.segments.as_mut().map_or(Ok(()), GrowingTable::flush)
    }

    /// The figures so far.
    pub(super) fn summary(&self) -> &Summary {
        &self.summary
    }

    /// What the verdict is made of so far.
    pub(super) fn for_verdict(&self) -> Summary {
        self.summary.for_verdict(self.evidence.clone())
    }

    /// The same as a report of its own.
    pub(super) fn snapshot(&self) -> Summary {
        let mut summary = self.summary.clone();
        summary.evidence = self.evidence.clone();
        summary.settle();
        summary
    }

    /// Ends the tables, and hands out the figures.
    pub(super) fn finish(&mut self, is_quiet: bool) -> io::Result<Summary> {
        let mut left_empty = self.orders.take().map_or(Ok(0), GrowingTable::finish)?;
        left_empty += self.segments.take().map_or(Ok(0), GrowingTable::finish)?;
        if left_empty > 0 && !is_quiet {
            warn!("{left_empty} prices do not fit the table's decimal and were left empty");
        }
        let mut summary = mem::take(&mut self.summary);
        summary.evidence = mem::take(&mut self.evidence);
        summary.evidence.finish();
        summary.settle();
        Ok(summary)
    }
}
