//! The tables of `--orders` and `--segments`: their columns as INTERFACE.md lists them, and a file of one of them that
//! sorts its rows by time before it writes them. The formats see cells only; they know nothing of orders.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::io;
use std::marker::PhantomData;
use std::path::Path;

use tickscope_model::{Decimal, Nanos, SegmentKind, TapId};

use super::{Output, Sorter, Spill, csv, jsonl, parquet};
use crate::pair::{OrderRow, SegmentRow};

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// Nanoseconds since the epoch.
    Time,
    /// A latency or a sequence number.
    Integer,
    /// A price or quantity.
    Decimal,
    /// 0 to 1.
    Fraction,
}

/// A column's name and kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: &'static str,
    pub kind: Kind,
}

/// One value of a row. An empty text is [`Cell::Empty`].
#[derive(Clone, Debug, PartialEq)]
pub enum Cell<'a> {
    Empty,
    Text(Cow<'a, str>),
    Integer(i64),
    /// Times and sequence numbers, which may use all 64 bits.
    Unsigned(u64),
    Decimal(Decimal),
    Fraction(f32),
}

const fn column(name: &'static str, kind: Kind) -> Column {
    Column { name, kind }
}

static ORDERS: [Column; 31] = [
    column("tap", Kind::Text),
    column("session", Kind::Text),
    column("clordid", Kind::Text),
    column("orig_clordid", Kind::Text),
    column("chain", Kind::Text),
    column("request", Kind::Text),
    column("symbol", Kind::Text),
    column("side", Kind::Text),
    column("price", Kind::Decimal),
    column("qty", Kind::Decimal),
    column("t_out_ns", Kind::Time),
    column("trigger_t_ns", Kind::Time),
    column("trigger_feed", Kind::Text),
    column("trigger_seq", Kind::Integer),
    column("trigger_msg", Kind::Text),
    column("trigger_symbol", Kind::Text),
    column("trigger_method", Kind::Text),
    column("trigger_confidence", Kind::Fraction),
    column("t2t_ns", Kind::Integer),
    column("tcp_ack_ns", Kind::Integer),
    column("ack_ns", Kind::Integer),
    column("reject_ns", Kind::Integer),
    column("first_fill_ns", Kind::Integer),
    column("full_fill_ns", Kind::Integer),
    column("cancel_ack_ns", Kind::Integer),
    column("replace_ack_ns", Kind::Integer),
    column("w2w_ns", Kind::Integer),
    column("flags", Kind::Text),
    column("t2t_min_ns", Kind::Integer),
    column("t2t_max_ns", Kind::Integer),
    column("error_ns", Kind::Integer),
];

static SEGMENTS: [Column; 9] = [
    column("segment", Kind::Text),
    column("t_ns", Kind::Time),
    column("latency_ns", Kind::Integer),
    column("tap", Kind::Text),
    column("session", Kind::Text),
    column("symbol", Kind::Text),
    column("clordid", Kind::Text),
    column("request", Kind::Text),
    column("error_ns", Kind::Integer),
];

/// A row that a table file can hold.
pub trait TableRow: Spill {
    /// In the order of the file.
    fn columns() -> &'static [Column];

    /// One cell a column. `taps` are the names by [`TapId`].
    fn cells<'a>(&'a self, taps: &'a [String]) -> Vec<Cell<'a>>;
}

impl TableRow for OrderRow {
    fn columns() -> &'static [Column] {
        &ORDERS
    }

    fn cells<'a>(&'a self, taps: &'a [String]) -> Vec<Cell<'a>> {
        let trigger = self.trigger.as_ref();
        let latency = |kind: SegmentKind| nanos(self.latency(kind));
        vec![
            tap(self.tap, taps),
            text(&self.session),
            text(&self.clordid),
            text(&self.orig_clordid),
            text(&self.chain),
            text(self.request.request_name()),
            text(&self.symbol),
            self.side.map_or(Cell::Empty, |side| text(side.text())),
            self.price.map_or(Cell::Empty, Cell::Decimal),
            self.quantity.map_or(Cell::Empty, Cell::Decimal),
            Cell::Unsigned(self.t_out.0),
            trigger.map_or(Cell::Empty, |trigger| Cell::Unsigned(trigger.time.0)),
            trigger.map_or(Cell::Empty, |trigger| text(&trigger.feed)),
            // 0 says that the feed has no sequence numbers.
            trigger.filter(|trigger| trigger.sequence > 0).map_or(Cell::Empty, |it| Cell::Unsigned(it.sequence)),
            trigger.map_or(Cell::Empty, |trigger| text(trigger.msg)),
            trigger.map_or(Cell::Empty, |trigger| text(&trigger.symbol)),
            trigger.map_or(Cell::Empty, |trigger| text(trigger.method.name())),
            trigger.map_or(Cell::Empty, |trigger| Cell::Fraction(trigger.confidence)),
            latency(SegmentKind::TickToTrade),
            latency(SegmentKind::TcpAck),
            latency(SegmentKind::Ack),
            latency(SegmentKind::Reject),
            latency(SegmentKind::FirstFill),
            latency(SegmentKind::FullFill),
            latency(SegmentKind::CancelAck),
            latency(SegmentKind::ReplaceAck),
            latency(SegmentKind::WallToWall),
            flags(self),
            nanos(self.t2t_min),
            nanos(self.t2t_max),
            nanos(self.error),
        ]
    }
}

impl TableRow for SegmentRow {
    fn columns() -> &'static [Column] {
        &SEGMENTS
    }

    fn cells<'a>(&'a self, taps: &'a [String]) -> Vec<Cell<'a>> {
        vec![
            text(self.segment.name()),
            Cell::Unsigned(self.time.0),
            Cell::Integer(self.latency.0),
            tap(self.tap, taps),
            text(&self.session),
            text(&self.symbol),
            text(&self.clordid),
            text(self.request.request_name()),
            nanos(self.across.error()),
        ]
    }
}

fn text(value: &str) -> Cell<'_> {
    if value.is_empty() { Cell::Empty } else { Cell::Text(Cow::Borrowed(value)) }
}

fn nanos(value: Option<Nanos>) -> Cell<'static> {
    value.map_or(Cell::Empty, |nanos| Cell::Integer(nanos.0))
}

fn tap(id: TapId, taps: &[String]) -> Cell<'_> {
    taps.get(usize::from(id.0)).map_or(Cell::Empty, |name| text(name))
}

fn flags(row: &OrderRow) -> Cell<'static> {
    let words: Vec<&str> = row.flags.names().collect();
    if words.is_empty() { Cell::Empty } else { Cell::Text(Cow::Owned(words.join(" "))) }
}

/// Puts rows of cells into a file of some format.
pub trait TableWriter {
    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()>;

    /// Hands over what is buffered, as far as the format can be read in parts.
    fn flush(&mut self) -> io::Result<()>;

    /// Ends the file; says how many values the format could not hold and left empty.
    fn finish(self: Box<Self>) -> io::Result<u64>;
}

/// What became of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    pub rows: u64,
    /// Values that the format cannot hold, written as empty: in Parquet a price of more than 9 decimal places.
    pub left_empty: u64,
}

/// `--orders`.
pub type OrdersFile = TableFile<OrderRow>;
/// `--segments`.
pub type SegmentsFile = TableFile<SegmentRow>;

/// A table on its way to a file: rows come in any order and leave in time order.
pub struct TableFile<R: TableRow> {
    sorter: Sorter<R>,
    writer: Box<dyn TableWriter + Send>,
}

impl<R: TableRow> TableFile<R> {
    /// The format is told by the file's extension; `None` is CSV on standard output.
    pub fn create(path: Option<&Path>) -> io::Result<TableFile<R>> {
        Ok(TableFile { sorter: Sorter::default(), writer: writer_to(path, R::columns())? })
    }

    /// A table in the format of that extension.
    pub fn new(extension: &str, output: Output) -> io::Result<TableFile<R>> {
        Ok(TableFile { sorter: Sorter::default(), writer: writer_of(extension, output, R::columns())? })
    }

    pub fn push(&mut self, row: R) -> io::Result<()> {
        self.sorter.push(row)
    }

    /// Writes all rows. `taps` are the names by [`TapId`].
    pub fn finish(self, taps: &[String]) -> io::Result<Written> {
        let TableFile { sorter, mut writer } = self;
        let mut rows = 0;
        sorter.each(|row| {
            rows += 1;
            writer.row(&row.cells(taps))
        })?;
        let left_empty = writer.finish()?;
        Ok(Written { rows, left_empty })
    }
}

/// A table that grows while a run goes on: rows are written as they come.
pub struct GrowingTable<R: TableRow> {
    writer: Box<dyn TableWriter + Send>,
    rows: PhantomData<R>,
}

impl<R: TableRow> GrowingTable<R> {
    pub fn create(path: Option<&Path>) -> io::Result<GrowingTable<R>> {
        Ok(GrowingTable { writer: writer_to(path, R::columns())?, rows: PhantomData })
    }

    pub fn push(&mut self, row: &R, taps: &[String]) -> io::Result<()> {
        self.writer.row(&row.cells(taps))
    }

    /// What was pushed can be read by others, but for Parquet, which is no table before its end.
    pub fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }

    /// Says how many values the format could not hold.
    pub fn finish(self) -> io::Result<u64> {
        self.writer.finish()
    }
}

/// `None` is CSV on standard output.
fn writer_to(path: Option<&Path>, columns: &'static [Column]) -> io::Result<Box<dyn TableWriter + Send>> {
    let Some(path) = path else { return writer_of("csv", Output::stdout(), columns) };
    let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default().to_ascii_lowercase();
    if !EXTENSIONS.contains(&extension.as_str()) {
        return Err(wrong_extension(&path.display().to_string()));
    }
    writer_of(&extension, Output::create(path)?, columns)
}

fn writer_of(extension: &str, output: Output, columns: &'static [Column]) -> io::Result<Box<dyn TableWriter + Send>> {
    Ok(match extension {
        "csv" => Box::new(csv::CsvWriter::new(output, columns)?),
        "jsonl" => Box::new(jsonl::JsonLinesWriter::new(output, columns)),
        "parquet" => Box::new(parquet::ParquetWriter::new(output, columns)?),
        _ => return Err(wrong_extension(extension)),
    })
}

/// Extensions that name a table format.
pub(crate) const EXTENSIONS: [&str; 3] = ["csv", "jsonl", "parquet"];

fn wrong_extension(name: &str) -> io::Error {
    let text =
        format!("{name}: expected a name that ends in .csv, .jsonl or .parquet, or - for CSV on standard output");
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::output::tests::Shared;
    use super::*;
    use crate::pair::{Flag, Method, Trigger};
    use crate::stats::summary_tests::row;
    use std::sync::Arc;
    use tickscope_model::{OrderKind, Side, Timestamp};

    /// A row in which every column has a value.
    pub(crate) fn full_row() -> OrderRow {
        let mut full = row("A-1,\"x\"", 1_769_000_000_000_012_034);
        full.orig_clordid = "A-0".into();
        full.chain = "A-0".into();
        full.request = OrderKind::Replace;
        full.side = Some(Side::SellShort);
        full.price = Decimal::parse(b"26.0500");
        full.quantity = Decimal::parse(b"100");
        full.trigger = Some(Trigger {
            tap: TapId(0),
            frame: 7,
            time: Timestamp(1_769_000_000_000_000_000),
            feed: Arc::from("233.54.12.111:26477 A"),
            sequence: 12,
            msg: "Trade",
            symbol: Arc::from("ABC"),
            method: Method::Latest,
            confidence: 0.9,
        });
        // A request has either a fill or market data as its cause.
        let kinds = SegmentKind::ALL.into_iter().filter(|kind| *kind != SegmentKind::FillToRequest);
        for (value, kind) in (1000..).zip(kinds) {
            full.latency.set(kind, Nanos(value));
        }
        full.latency.forget(SegmentKind::Hop);
        full.flags.set(Flag::Retransmitted);
        full.flags.set(Flag::AckWithAnswer);
        full.t2t_min = Some(Nanos(-4));
        full.t2t_max = Some(Nanos(99));
        full.error = Some(Nanos(250));
        full
    }

    pub(crate) fn written<R: TableRow>(extension: &str, rows: Vec<R>) -> (Shared, Written) {
        let shared = Shared::default();
        let mut table = TableFile::<R>::new(extension, shared.output()).unwrap();
        for row in rows {
            table.push(row).unwrap();
        }
        let written = table.finish(&["md".into()]).unwrap();
        (shared, written)
    }

    #[test]
    fn columns_are_those_of_the_interface() {
        let names = |columns: &[Column]| columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ");
        assert_eq!(
            names(OrderRow::columns()),
            "tap, session, clordid, orig_clordid, chain, request, symbol, side, price, qty, t_out_ns, trigger_t_ns, \
             trigger_feed, trigger_seq, trigger_msg, trigger_symbol, trigger_method, trigger_confidence, t2t_ns, \
             tcp_ack_ns, ack_ns, reject_ns, first_fill_ns, full_fill_ns, cancel_ack_ns, replace_ack_ns, w2w_ns, flags, \
             t2t_min_ns, t2t_max_ns, error_ns"
        );
        assert_eq!(
            names(SegmentRow::columns()),
            "segment, t_ns, latency_ns, tap, session, symbol, clordid, request, error_ns"
        );
        assert_eq!(full_row().cells(&["md".into()]).len(), OrderRow::columns().len());
    }

    #[test]
    fn rows_leave_in_time_order() {
        let (shared, written) = written("csv", vec![row("c", 30), row("a", 10), row("b", 20)]);
        let ids: Vec<String> =
            shared.text().lines().skip(1).map(|line| line.split(',').nth(2).unwrap().to_owned()).collect();
        assert_eq!((ids.join(""), written.rows), ("abc".into(), 3));
    }

    #[test]
    fn an_unknown_extension_is_refused_before_a_file_is_made() {
        let error = OrdersFile::create(Some(Path::new("orders.xlsx"))).err().unwrap();
        assert!(error.to_string().contains("orders.xlsx: expected a name"), "{error}");
        assert!(!Path::new("orders.xlsx").exists());
    }
}
