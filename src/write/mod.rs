//! Rows and the summary to outputs, one file a format; [`FORMATS`] is the list that help and manual are made from.
//! All writers stream, a closed pipe is success, and a write that fails names its file.

mod across;
mod answer;
mod causes;
mod csv;
#[cfg(test)]
mod golden;
mod groups;
mod hgrm;
mod hlog;
mod interfaces;
mod json;
mod jsonl;
mod openmetrics;
mod output;
mod over_time;
mod overall;
mod parquet;
mod quality;
mod screen;
mod snapshot;
mod snapshot_keys;
mod sort;
mod spill;
mod table;
mod text;
mod trail;
mod why;

pub use answer::{
    Numbered, Packets, Question, candidates_answer, error_answer, groups_answer, no_row, packets_answer, question,
    rows_answer, session_answer,
};
pub use hgrm::write_hgrm;
pub use hlog::write_hlog;
pub use json::write_json;
pub use openmetrics::write_openmetrics;
pub use output::{Output, named};
pub use screen::{Style, file_time, utc};
pub(crate) use screen::{grouped, latency, plural, printable, signed_latency, wrapped};
pub use snapshot::{Readers, snapshot_line};
pub use snapshot_keys::{ANSWER_KEYS, SNAPSHOT_KEYS};
pub use sort::{Sorter, Spill};
pub use spill::Replayed;
pub use table::{
    Cell, Column, GrowingTable, Kind, OrdersFile, SegmentsFile, TableFile, TableRow, TableWriter, Written,
};
pub use text::write_text;

/// An output of `analyze`, for help and manual.
pub struct Format {
    /// What it is called.
    pub name: &'static str,
    /// The option that asks for it; empty for the one that is always there.
    pub option: &'static str,
    /// How its files end.
    pub extension: &'static str,
    pub title: &'static str,
}

/// Every output.
pub static FORMATS: &[&Format] =
    &[&text::FORMAT, &json::FORMAT, &csv::FORMAT, &jsonl::FORMAT, &parquet::FORMAT, &hgrm::FORMAT, &hlog::FORMAT];
