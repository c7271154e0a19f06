//! Parquet (<https://parquet.apache.org>) through the parquet crate's column writers, without arrow. Rows are gathered
//! up to a row group and written column by column, so memory does not grow with the file. Times, latencies and sequence
//! numbers are INT64, prices and quantities DECIMAL(38, 9), all columns optional; what does not fit is null and counted.

use std::io;
use std::sync::Arc;

use parquet::basic::{Compression, ConvertedType, LogicalType, Repetition, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, FixedLenByteArray, FixedLenByteArrayType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::{Type, TypePtr};

use super::table::{Cell, Column, Kind, TableWriter};
use super::{Format, Output};

pub(super) static FORMAT: Format = Format {
    name: "parquet",
    option: "--orders, --segments",
    extension: ".parquet",
    title: "Apache Parquet, Snappy-compressed",
};

const GROUP_ROWS: usize = 32_768;
const PRECISION: i32 = 38;
const SCALE: u8 = 9;
/// Bytes of a DECIMAL(38): an i128, big endian.
const DECIMAL_BYTES: i32 = 16;

pub(super) struct ParquetWriter {
    writer: SerializedFileWriter<Output>,
    columns: Vec<Held>,
    rows: usize,
    group_rows: usize,
    left_empty: u64,
}

/// The values of one column, and which rows have one.
struct Held {
    levels: Vec<i16>,
    values: Values,
}

enum Values {
    /// All texts behind each other, and where each ends.
    Text(Vec<u8>, Vec<usize>),
    Integer(Vec<i64>),
    Decimal(Vec<i128>),
    Fraction(Vec<f64>),
}

impl ParquetWriter {
    pub(super) fn new(output: Output, columns: &[Column]) -> io::Result<ParquetWriter> {
        ParquetWriter::with_group(output, columns, GROUP_ROWS)
    }

    fn with_group(output: Output, columns: &[Column], group_rows: usize) -> io::Result<ParquetWriter> {
        let properties = WriterProperties::builder()
            .set_created_by(concat!("tickscope version ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(Compression::SNAPPY)
            .build();
        let schema = schema(columns).map_err(failed)?;
        let writer = SerializedFileWriter::new(output, schema, Arc::new(properties)).map_err(failed)?;
        let columns = columns.iter().map(|column| Held::new(column.kind)).collect();
        Ok(ParquetWriter { writer, columns, rows: 0, group_rows, left_empty: 0 })
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        let mut group = self.writer.next_row_group()?;
        for held in &mut self.columns {
            let mut column = group.next_column()?.ok_or_else(|| ParquetError::General("a column is missing".into()))?;
            held.write(&mut column)?;
            column.close()?;
        }
        group.close()?;
        self.rows = 0;
        Ok(())
    }
}

impl TableWriter for ParquetWriter {
    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
        for (held, cell) in self.columns.iter_mut().zip(cells) {
            self.left_empty += u64::from(!held.push(cell));
        }
        self.rows += 1;
        if self.rows >= self.group_rows { self.write_group().map_err(failed) } else { Ok(()) }
    }

    /// Rows wait for their group.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> io::Result<u64> {
        if self.rows > 0 {
            self.write_group().map_err(failed)?;
        }
        self.writer.finish().map_err(failed)?;
        io::Write::flush(self.writer.inner_mut())?;
        Ok(self.left_empty)
    }
}

impl Held {
    fn new(kind: Kind) -> Held {
        let values = match kind {
            Kind::Text => Values::Text(Vec::new(), Vec::new()),
            Kind::Time | Kind::Integer => Values::Integer(Vec::new()),
            Kind::Decimal => Values::Decimal(Vec::new()),
            Kind::Fraction => Values::Fraction(Vec::new()),
        };
        Held { levels: Vec::new(), values }
    }

    /// Whether the value could be kept as it is; if not, it is null.
    fn push(&mut self, cell: &Cell<'_>) -> bool {
        let is_kept = match (&mut self.values, cell) {
            (Values::Text(bytes, ends), Cell::Text(text)) => {
                bytes.extend_from_slice(text.as_bytes());
                ends.push(bytes.len());
                true
            }
            (Values::Integer(all), Cell::Integer(value)) => keep(all, Some(*value)),
            (Values::Integer(all), Cell::Unsigned(value)) => keep(all, i64::try_from(*value).ok()),
            (Values::Decimal(all), Cell::Decimal(value)) => keep(all, value.at_scale(SCALE)),
            // The shortest decimal text of the f32, so that 0.9 stays 0.9.
            (Values::Fraction(all), Cell::Fraction(value)) => keep(all, value.to_string().parse().ok()),
            _ => false,
        };
        self.levels.push(i16::from(is_kept));
        is_kept || *cell == Cell::Empty
    }

    fn write(&mut self, column: &mut SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        let levels = Some(self.levels.as_slice());
        match &mut self.values {
            Values::Text(bytes, ends) => {
                let whole = ByteArray::from(std::mem::take(bytes));
                let starts = std::iter::once(0).chain(ends.iter().copied());
                let texts: Vec<ByteArray> =
                    starts.zip(ends.iter()).map(|(start, end)| whole.slice(start, end - start)).collect();
                column.typed::<ByteArrayType>().write_batch(&texts, levels, None)?;
                ends.clear();
            }
            Values::Integer(all) => {
                column.typed::<Int64Type>().write_batch(all, levels, None)?;
                all.clear();
            }
            Values::Decimal(all) => {
                let bytes = |value: &i128| FixedLenByteArray::from(value.to_be_bytes().to_vec());
                let texts: Vec<FixedLenByteArray> = all.iter().map(bytes).collect();
                column.typed::<FixedLenByteArrayType>().write_batch(&texts, levels, None)?;
                all.clear();
            }
            Values::Fraction(all) => {
                column.typed::<DoubleType>().write_batch(all, levels, None)?;
                all.clear();
            }
        }
        self.levels.clear();
        Ok(())
    }
}

fn keep<T>(all: &mut Vec<T>, value: Option<T>) -> bool {
    let is_kept = value.is_some();
    all.extend(value);
    is_kept
}

fn schema(columns: &[Column]) -> Result<TypePtr, ParquetError> {
    let field = |column: &Column| {
        let physical = match column.kind {
            Kind::Text => Physical::BYTE_ARRAY,
            Kind::Time | Kind::Integer => Physical::INT64,
            Kind::Decimal => Physical::FIXED_LEN_BYTE_ARRAY,
            Kind::Fraction => Physical::DOUBLE,
        };
        let builder = Type::primitive_type_builder(column.name, physical).with_repetition(Repetition::OPTIONAL);
        let builder = match column.kind {
            Kind::Text => builder.with_logical_type(Some(LogicalType::String)),
            Kind::Decimal => builder
                .with_converted_type(ConvertedType::DECIMAL)
                .with_length(DECIMAL_BYTES)
                .with_precision(PRECISION)
                .with_scale(i32::from(SCALE)),
            _ => builder,
        };
        builder.build().map(Arc::new)
    };
    let fields: Vec<TypePtr> = columns.iter().map(field).collect::<Result<_, _>>()?;
    Type::group_type_builder("row").with_fields(fields).build().map(Arc::new)
}

/// An error of the file underneath keeps its text, which names the file.
fn failed(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(other) => io::Error::other(other),
        },
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use super::super::output::tests::{Broken, Shared};
    use super::super::table::TableRow;
    use super::super::table::tests::{full_row, written};
    use super::*;
    use crate::pair::OrderRow;
    use crate::stats::summary_tests::row;
    use parquet::data_type::AsBytes;
    use parquet::file::metadata::RowGroupMetaData;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::Field;
    use tickscope_model::Decimal;

    fn read(bytes: Vec<u8>) -> Vec<Vec<(String, Field)>> {
        let reader = SerializedFileReader::new(bytes::Bytes::from(bytes)).unwrap();
        reader
            .get_row_iter(None)
            .unwrap()
            .map(|row| row.unwrap().get_column_iter().map(|(name, field)| (name.clone(), field.clone())).collect())
            .collect()
    }

    #[test]
    fn every_column_comes_back() {
        let (shared, written) = written("parquet", vec![full_row(), row("2", u64::MAX)]);
        assert_eq!((written.rows, written.left_empty), (2, 1), "a time beyond 2262 does not fit in INT64");
        let rows = read(shared.bytes());
        let names: Vec<&str> = OrderRow::columns().iter().map(|column| column.name).collect();
        assert_eq!(rows[0].iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), names);
        let field =
            |row: usize, name: &str| rows[row][names.iter().position(|known| *known == name).unwrap()].1.clone();
        assert_eq!(field(0, "clordid"), Field::Str("A-1,\"x\"".into()));
        assert_eq!(field(0, "t_out_ns"), Field::Long(1_769_000_000_000_012_034));
        assert_eq!(field(0, "t2t_min_ns"), Field::Long(-4));
        assert_eq!(field(0, "trigger_confidence"), Field::Double(0.9));
        let Field::Decimal(price) = field(0, "price") else { panic!("a decimal") };
        assert_eq!((price.scale(), price.precision()), (9, 38));
        assert_eq!(price.as_bytes(), 26_050_000_000_i128.to_be_bytes());
        assert_eq!(field(1, "t_out_ns"), Field::Null);
        assert_eq!(field(1, "trigger_feed"), Field::Null);
        assert_eq!(field(1, "ack_ns"), Field::Long(1000));
    }

    #[test]
    fn a_price_that_does_not_fit_is_null_and_counted() {
        let mut precise = row("1", 1);
        precise.price = Some(Decimal::new(1, 10));
        let mut large = row("2", 2);
        large.price = Some(Decimal::new(i64::MIN, 0));
        let (shared, written) = written("parquet", vec![precise, large]);
        assert_eq!(written.left_empty, 1);
        let rows = read(shared.bytes());
        assert_eq!(rows[0][8].1, Field::Null);
        assert!(matches!(rows[1][8].1, Field::Decimal(_)));
    }

    #[test]
    fn row_groups_are_bounded() {
        let shared = Shared::default();
        let mut writer = Box::new(ParquetWriter::with_group(shared.output(), OrderRow::columns(), 10).unwrap());
        for index in 0..25 {
            writer.row(&row(&index.to_string(), index).cells(&[])).unwrap();
        }
        writer.finish().unwrap();
        let reader = SerializedFileReader::new(bytes::Bytes::from(shared.bytes())).unwrap();
        let rows: Vec<i64> = reader.metadata().row_groups().iter().map(RowGroupMetaData::num_rows).collect();
        assert_eq!(rows, [10, 10, 5]);
        let times: Vec<Field> = read(shared.bytes()).iter().map(|row| row[10].1.clone()).collect();
        assert_eq!(times, (0..25).map(Field::Long).collect::<Vec<_>>());
    }

    #[test]
    fn no_rows_make_a_file_with_columns() {
        let (shared, _) = written::<OrderRow>("parquet", Vec::new());
        let reader = SerializedFileReader::new(bytes::Bytes::from(shared.bytes())).unwrap();
        assert_eq!(reader.metadata().file_metadata().schema_descr().num_columns(), 31);
    }

    #[test]
    fn a_failed_write_names_the_file() {
        let output = Output::new("o.parquet", Box::new(Broken(io::ErrorKind::StorageFull)));
        let mut writer = Box::new(ParquetWriter::with_group(output, OrderRow::columns(), 1).unwrap());
        let error = (0..10_000)
            .map(|index| writer.row(&full_row().cells(&[index.to_string()])))
            .find_map(Result::err)
            .or_else(|| writer.finish().err())
            .expect("the disk is full");
        assert!(error.to_string().contains("o.parquet: "), "{error}");
    }
}
