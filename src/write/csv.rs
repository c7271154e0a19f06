//! Comma-separated values as RFC 4180 describes them, with `\n` at the end of a line as Unix tools expect: a header,
//! a line a row, quotes only where a value needs them, an empty cell for what is absent.

use std::io::{self, Write};

use super::table::{Cell, Column, TableWriter};
use super::{Format, Output};

pub(super) static FORMAT: Format = Format {
    name: "csv",
    option: "--orders, --segments",
    extension: ".csv",
    title: "comma-separated values (RFC 4180)",
};

pub(super) struct CsvWriter {
    output: Output,
    /// The row at hand, reused.
    line: Vec<u8>,
}

impl CsvWriter {
    pub(super) fn new(mut output: Output, columns: &[Column]) -> io::Result<CsvWriter> {
        let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
        writeln!(output, "{}", names.join(","))?;
        Ok(CsvWriter { output, line: Vec::new() })
    }
}

impl TableWriter for CsvWriter {
    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
        let line = &mut self.line;
        line.clear();
        for (index, cell) in cells.iter().enumerate() {
            if index > 0 {
                line.push(b',');
            }
            match cell {
                Cell::Empty => {}
                Cell::Text(text) => write_text(line, text),
                Cell::Integer(value) => write!(line, "{value}")?,
                Cell::Unsigned(value) => write!(line, "{value}")?,
                Cell::Decimal(value) => write!(line, "{value}")?,
                Cell::Fraction(value) => write!(line, "{value}")?,
            }
        }
        line.push(b'\n');
        self.output.write_all(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }

    fn finish(mut self: Box<Self>) -> io::Result<u64> {
        self.output.flush()?;
        Ok(0)
    }
}

fn write_text(line: &mut Vec<u8>, text: &str) {
    if !text.contains([',', '"', '\n', '\r']) {
        return line.extend_from_slice(text.as_bytes());
    }
    line.push(b'"');
    line.extend_from_slice(text.replace('"', "\"\"").as_bytes());
    line.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::super::table::tests::{full_row, written};
    use crate::stats::summary_tests::row;

    #[test]
    fn every_column_and_quotes_where_needed() {
        let (shared, _) = written("csv", vec![full_row()]);
        assert_eq!(
            shared.text().lines().nth(1).unwrap(),
            "md,TRADER->EXCH,\"A-1,\"\"x\"\"\",A-0,A-0,replace,ABC,SS,26.0500,100,1769000000000012034,\
             1769000000000000000,233.54.12.111:26477 A,12,Trade,ABC,latest,0.9,1000,1001,1002,1003,1004,1005,1006,1007,\
             1008,retransmitted ack_with_answer,-4,99,250"
        );
    }

    #[test]
    fn what_is_absent_is_empty() {
        let (shared, _) = written("csv", vec![row("1", 5)]);
        assert_eq!(shared.text().lines().nth(1).unwrap(), "md,TRADER->EXCH,1,,1,new,ABC,,,,5,,,,,,,,,,1000,,,,,,,,,,");
    }

    #[test]
    fn segments_have_their_own_columns() {
        let (shared, _) = written("csv", row("1", 5).segment_rows().collect());
        assert_eq!(
            shared.text(),
            "segment,t_ns,latency_ns,tap,session,symbol,clordid,request,error_ns\nack,5,1000,md,TRADER->EXCH,ABC,1,new,\n"
        );
    }
}
