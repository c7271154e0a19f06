//! JSON lines (<https://jsonlines.org>): one object a row, a key a column in the order of the columns, `null` for what
//! is absent. Prices and quantities are strings, so that no reader turns them into binary fractions; each time `…_ns`
//! has its text `seconds.nanoseconds` right behind it, under its name without `_ns` (`t`, `t_out`, `trigger_t`).

use std::io::{self, Write};

use serde_json::{Map, Value};
use tickscope_model::Timestamp;

use super::table::{Cell, Column, Kind, TableWriter};
use super::{Format, Output};

pub(super) static FORMAT: Format = Format {
    name: "jsonl",
    option: "--orders, --segments",
    extension: ".jsonl",
    title: "JSON lines, one object a row",
};

pub(super) struct JsonLinesWriter {
    output: Output,
    columns: &'static [Column],
    /// The row at hand, reused.
    line: Vec<u8>,
}

impl JsonLinesWriter {
    pub(super) fn new(output: Output, columns: &'static [Column]) -> JsonLinesWriter {
        JsonLinesWriter { output, columns, line: Vec::new() }
    }
}

impl TableWriter for JsonLinesWriter {
    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
        let line = &mut self.line;
        line.clear();
        for (column, cell) in self.columns.iter().zip(cells) {
            line.push(if line.is_empty() { b'{' } else { b',' });
            write!(line, "\"{}\":", column.name)?;
            write_value(line, cell)?;
            if let Some(name) = text_name(column) {
                match cell {
                    Cell::Unsigned(time) => write!(line, ",\"{name}\":\"{}\"", Timestamp(*time))?,
                    _ => write!(line, ",\"{name}\":null")?,
                }
            }
        }
        line.extend_from_slice(b"}\n");
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

pub(super) fn write_value(line: &mut Vec<u8>, cell: &Cell<'_>) -> io::Result<()> {
    match cell {
        Cell::Empty => write!(line, "null"),
        Cell::Integer(value) => write!(line, "{value}"),
        Cell::Unsigned(value) => write!(line, "{value}"),
        Cell::Decimal(value) => write!(line, "\"{value}\""),
        Cell::Text(text) => serde_json::to_writer(line, text).map_err(io::Error::from),
        Cell::Fraction(value) => serde_json::to_writer(line, &fraction(*value)).map_err(io::Error::from),
    }
}

/// The key of a time's text: `t_out` beside `t_out_ns`.
fn text_name(column: &Column) -> Option<&'static str> {
    (column.kind == Kind::Time).then(|| column.name.strip_suffix("_ns").unwrap_or(column.name))
}

/// A row as an object, the same as a line of the file.
pub(super) fn object(columns: &[Column], cells: &[Cell<'_>]) -> Map<String, Value> {
    let mut object = Map::new();
    for (column, cell) in columns.iter().zip(cells) {
        object.insert(column.name.to_owned(), value(cell));
        if let Some(name) = text_name(column) {
            let text = match cell {
                Cell::Unsigned(time) => Value::String(Timestamp(*time).to_string()),
                _ => Value::Null,
            };
            object.insert(name.to_owned(), text);
        }
    }
    object
}

fn value(cell: &Cell<'_>) -> Value {
    match cell {
        Cell::Empty => Value::Null,
        Cell::Text(text) => Value::String(text.clone().into_owned()),
        Cell::Integer(value) => Value::from(*value),
        Cell::Unsigned(value) => Value::from(*value),
        Cell::Decimal(value) => Value::String(value.to_string()),
        Cell::Fraction(value) => fraction(*value),
    }
}

/// 0.9, not 0.8999999761581421: the shortest text that means this number.
fn fraction(value: f32) -> Value {
    value.to_string().parse::<f64>().map_or(Value::Null, Value::from)
}

#[cfg(test)]
mod tests {
    use super::super::table::TableRow;
    use super::super::table::tests::{full_row, written};
    use crate::pair::OrderRow;
    use crate::stats::summary_tests::row;

    #[test]
    fn keys_stand_in_the_order_of_the_columns_and_times_have_a_text() {
        let (shared, _) = written("jsonl", vec![full_row()]);
        assert_eq!(
            shared.text(),
            concat!(
                r#"{"tap":"md","session":"TRADER->EXCH","clordid":"A-1,\"x\"","orig_clordid":"A-0","chain":"A-0","#,
                r#""request":"replace","symbol":"ABC","side":"SS","price":"26.0500","qty":"100","#,
                r#""t_out_ns":1769000000000012034,"t_out":"1769000000.000012034","trigger_t_ns":1769000000000000000,"#,
                r#""trigger_t":"1769000000.000000000","trigger_feed":"233.54.12.111:26477 A","trigger_seq":12,"#,
                r#""trigger_msg":"Trade","trigger_symbol":"ABC","trigger_method":"latest","trigger_confidence":0.9,"#,
                r#""t2t_ns":1000,"tcp_ack_ns":1001,"ack_ns":1002,"reject_ns":1003,"first_fill_ns":1004,"#,
                r#""full_fill_ns":1005,"cancel_ack_ns":1006,"replace_ack_ns":1007,"w2w_ns":1008,"#,
                r#""flags":"retransmitted ack_with_answer","t2t_min_ns":-4,"t2t_max_ns":99,"error_ns":250}"#,
                "\n"
            )
        );
    }

    #[test]
    fn a_line_is_the_object_that_the_report_has() {
        for row in [full_row(), row("1", 5)] {
            let (shared, _) = written("jsonl", vec![row.clone()]);
            let taps = ["md".to_owned()];
            let expected = super::object(OrderRow::columns(), &row.cells(&taps));
            assert_eq!(shared.text(), format!("{}\n", serde_json::to_string(&expected).unwrap()));
        }
    }

    #[test]
    fn what_is_absent_is_null() {
        let (shared, _) = written("jsonl", vec![row("1", 5)]);
        let text = shared.text();
        assert!(
            text.contains(r#""trigger_t_ns":null,"trigger_t":null,"#) && text.contains(r#""price":null"#),
            "{text}"
        );
    }
}
