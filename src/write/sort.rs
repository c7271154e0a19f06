//! Rows into time order in bounded memory: full runs are sorted and spilled to a temporary file without a name (so
//! nothing stays behind, whatever happens), then merged. Equal rows keep the order in which they came.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use super::spill::Names;

/// Rows held in memory before they are spilled.
const RUN_ROWS: usize = 50_000;
/// Memory for reading all runs back, shared among them.
const READ_BYTES: usize = 16 << 20;

/// A row that can wait in a temporary file. The encoding is private to one run of the program.
pub trait Spill: Sized {
    /// The order of the table.
    fn compare(&self, other: &Self) -> Ordering;

    /// Drops what the table does not show.
    fn lighten(&mut self);

    fn encode(&self, names: &mut Names, bytes: &mut Vec<u8>);

    /// `None` where the bytes are not what `encode` wrote.
    fn decode(bytes: &[u8], names: &Names) -> Option<Self>;
}

/// See the head of this file.
pub struct Sorter<R: Spill> {
    rows: Vec<R>,
    run_rows: usize,
    names: Names,
    spilled: Option<File>,
    runs: Vec<Run>,
}

/// Where a sorted run lies in the temporary file.
struct Run {
    start: u64,
    end: u64,
}

impl<R: Spill> Default for Sorter<R> {
    fn default() -> Self {
        Sorter::with_run(RUN_ROWS)
    }
}

impl<R: Spill> Sorter<R> {
    /// Holds at most so many rows in memory.
    pub fn with_run(run_rows: usize) -> Sorter<R> {
        Sorter { rows: Vec::new(), run_rows: run_rows.max(1), names: Names::default(), spilled: None, runs: Vec::new() }
    }

    pub fn push(&mut self, mut row: R) -> io::Result<()> {
        row.lighten();
        self.rows.push(row);
        if self.rows.len() >= self.run_rows { self.spill().map_err(|error| about_temporary(&error)) } else { Ok(()) }
    }

    fn spill(&mut self) -> io::Result<()> {
        self.rows.sort_by(R::compare);
        let file = match &mut self.spilled {
            Some(file) => file,
            empty => empty.insert(tempfile::tempfile()?),
        };
        let start = self.runs.last().map_or(0, |run| run.end);
        let mut output = io::BufWriter::with_capacity(256 * 1024, file);
        let mut end = start;
        let mut bytes = Vec::new();
        for row in self.rows.drain(..) {
            bytes.clear();
            row.encode(&mut self.names, &mut bytes);
            let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
            output.write_all(&length.to_le_bytes())?;
            output.write_all(&bytes)?;
            end += 4 + u64::from(length);
        }
        output.flush()?;
        self.runs.push(Run { start, end });
        Ok(())
    }

    /// Hands over all rows in order.
    pub fn each(mut self, mut take: impl FnMut(&R) -> io::Result<()>) -> io::Result<()> {
        self.rows.sort_by(R::compare);
        let Some(file) = self.spilled.take() else { return self.rows.iter().try_for_each(take) };
        let block = (READ_BYTES / self.runs.len().max(1)).clamp(4096, 256 * 1024);
        let mut sources: Vec<Source<R>> =
            self.runs.iter().map(|run| Source::Spilled(RunReader::new(run, block))).collect();
        // The rows still in memory came last, so among equals they stay last.
        sources.push(Source::Held(std::mem::take(&mut self.rows).into_iter()));
        let mut heap = BinaryHeap::new();
        for (index, source) in sources.iter_mut().enumerate() {
            if let Some(row) = source.next(&file, &self.names).map_err(|error| about_temporary(&error))? {
                heap.push(Waiting { row, source: index });
            }
        }
        while let Some(Waiting { row, source }) = heap.pop() {
            take(&row)?;
            let Some(from) = sources.get_mut(source) else { continue };
            if let Some(row) = from.next(&file, &self.names).map_err(|error| about_temporary(&error))? {
                heap.push(Waiting { row, source });
            }
        }
        Ok(())
    }
}

fn about_temporary(error: &io::Error) -> io::Error {
    let folder = std::env::temp_dir();
    let text = format!("temporary file in {}: {error} (TMPDIR chooses another folder)", folder.display());
    io::Error::new(error.kind(), text)
}

/// Where sorted rows come from.
enum Source<R> {
    Spilled(RunReader),
    Held(std::vec::IntoIter<R>),
}

impl<R: Spill> Source<R> {
    fn next(&mut self, file: &File, names: &Names) -> io::Result<Option<R>> {
        match self {
            Source::Held(rows) => Ok(rows.next()),
            Source::Spilled(reader) => match reader.next(file)? {
                None => Ok(None),
                Some(bytes) => R::decode(bytes, names).map(Some).ok_or_else(damaged),
            },
        }
    }
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it no longer holds what was written to it")
}

/// Reads one run block by block; all runs share the file.
struct RunReader {
    next: u64,
    end: u64,
    block: usize,
    buffer: Vec<u8>,
    used: usize,
}

impl RunReader {
    fn new(run: &Run, block: usize) -> RunReader {
        RunReader { next: run.start, end: run.end, block, buffer: Vec::new(), used: 0 }
    }

    fn next(&mut self, file: &File) -> io::Result<Option<&[u8]>> {
        if self.used == self.buffer.len() && self.next == self.end {
            return Ok(None);
        }
        self.want(4, file)?;
        let length = *self.buffer.get(self.used..).and_then(<[u8]>::first_chunk).ok_or_else(damaged)?;
        let length = usize::try_from(u32::from_le_bytes(length)).map_err(io::Error::other)?;
        self.used += 4;
        self.want(length, file)?;
        let row = self.buffer.get(self.used..self.used + length).ok_or_else(damaged)?;
        self.used += length;
        Ok(Some(row))
    }

    /// Makes sure that so many unused bytes are in the buffer.
    fn want(&mut self, bytes: usize, mut file: &File) -> io::Result<()> {
        let held = self.buffer.len() - self.used;
        if held >= bytes {
            return Ok(());
        }
        self.buffer.drain(..self.used);
        self.used = 0;
        let left = self.end - self.next;
        let more = u64::try_from(self.block.max(bytes - held)).map_err(io::Error::other)?.min(left);
        let size = usize::try_from(more).map_err(io::Error::other)?;
        self.buffer.resize(held + size, 0);
        file.seek(SeekFrom::Start(self.next))?;
        file.read_exact(&mut self.buffer[held..])?;
        self.next += more;
        Ok(())
    }
}

/// A row in the heap; the least one is on top.
struct Waiting<R> {
    row: R,
    source: usize,
}

impl<R: Spill> Ord for Waiting<R> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.row.compare(&self.row).then_with(|| other.source.cmp(&self.source))
    }
}

impl<R: Spill> PartialOrd for Waiting<R> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<R: Spill> PartialEq for Waiting<R> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<R: Spill> Eq for Waiting<R> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pair::OrderRow;
    use crate::stats::summary_tests::row;
    use proptest::prelude::*;

    fn sorted(rows: Vec<OrderRow>, run: usize) -> Vec<(u64, u64, String)> {
        let mut sorter = Sorter::with_run(run);
        for row in rows {
            sorter.push(row).unwrap();
        }
        let mut out = Vec::new();
        sorter
            .each(|row: &OrderRow| {
                out.push((row.t_out.0, row.frame, row.clordid.to_string()));
                Ok(())
            })
            .unwrap();
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_run_size_gives_the_same_order(times in prop::collection::vec((0..50_u64, 0..3_u64), 0..200), run in 1..40_usize) {
            let rows: Vec<OrderRow> = times.iter().enumerate().map(|(index, &(time, frame))| {
                let mut row = row(&format!("{:0width$}", index, width = index % 7), time);
                row.frame = frame;
                row
            }).collect();
            let mut expected: Vec<(u64, u64, String)> =
                rows.iter().map(|row| (row.t_out.0, row.frame, row.clordid.to_string())).collect();
            expected.sort();
            prop_assert_eq!(sorted(rows, run), expected);
        }
    }

    #[test]
    fn rows_larger_than_a_block_survive() {
        let long = "x".repeat(300_000);
        let rows = (0..8).rev().map(|index| row(&format!("{long}{index}"), index)).collect();
        let out = sorted(rows, 2);
        assert_eq!(out.len(), 8);
        assert!(out.iter().enumerate().all(|(at, (time, _, id))| *time == at as u64 && id.len() == 300_001));
    }

    #[test]
    fn an_error_of_the_taker_ends_the_merge() {
        let mut sorter = Sorter::with_run(1);
        (0..5).for_each(|time| sorter.push(row("1", time)).unwrap());
        let error = sorter.each(|_| Err(io::Error::other("full"))).unwrap_err();
        assert_eq!(error.to_string(), "full");
    }
}
