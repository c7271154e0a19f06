//! What other `HdrHistogram` tools read, made with the `hdrhistogram` crate: the percentile table of `.hgrm` files and
//! the interval log V1.3 of `.hlog` files (<https://github.com/HdrHistogram/HdrHistogram>, `HistogramLogWriter`).

use std::cell::RefCell;
use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, IntervalLogWriterError, Tag};

use tickscope_model::Timestamp;

use super::{Histogram, Quantile, Span, Timeline};

/// Steps between one halving of the distance to 100 % and the next, as other tools have by default.
const TICKS_PER_HALF: u64 = 5;
/// More than any number of samples needs.
const MOST_HALVINGS: u32 = 60;

/// One line of a percentile table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PercentileLine {
    pub value: u64,
    /// 0 to 1.
    pub quantile: f64,
    /// Samples up to and with this value.
    pub count: u64,
}

impl Histogram {
    /// The dense form, with the same counts in the same buckets. Each bucket is recorded by its highest value.
    pub fn to_hdr(&self) -> hdrhistogram::Histogram<u64> {
        let mut dense = hdrhistogram::Histogram::new(3).expect("3 digits are allowed");
        self.record_into(&mut dense);
        dense
    }

    fn record_into(&self, dense: &mut hdrhistogram::Histogram<u64>) {
        for (value, count) in self.buckets() {
            // The clamp keeps the bucket and gives back the true minimum and maximum.
            let value = value.clamp(self.min(), self.max());
            dense.record_n(value, count).expect("an HdrHistogram that resizes takes every value");
        }
    }
}

/// The lines of a percentile table, with the steps of `HdrHistogram`'s percentile iterator: five between one halving of
/// the distance to 100 % and the next. Values never above the maximum. The steps are fractions of integers here: the
/// crate adds them up in binary and is a line off where one falls on a sample (0.75 of 4).
pub fn percentile_lines(histogram: &Histogram) -> Vec<PercentileLine> {
    let n = histogram.n();
    let mut lines = Vec::new();
    let mut buckets = histogram.buckets();
    let (mut value, mut count) = (0, 0);
    for halving in 0..MOST_HALVINGS {
        let denominator = TICKS_PER_HALF << (halving + 1);
        for tick in 0..TICKS_PER_HALF {
            let numerator = denominator - 2 * TICKS_PER_HALF + tick;
            let rank = Quantile::new("", "", numerator, denominator).rank(n);
            while count < rank.min(n) {
                let Some((highest, more)) = buckets.next() else { break };
                (value, count) = (highest.clamp(histogram.min(), histogram.max()), count + more);
            }
            #[allow(clippy::cast_precision_loss, reason = "twelve digits are printed")]
            let quantile = numerator as f64 / denominator as f64;
            lines.push(PercentileLine { value, quantile, count });
            if count >= n {
                lines.push(PercentileLine { value, quantile: 1.0, count });
                return lines;
            }
        }
    }
    lines.push(PercentileLine { value: histogram.max(), quantile: 1.0, count: n });
    lines
}

/// The exact mean, and the standard deviation from the buckets' middle values, as these files carry them.
pub fn moments(histogram: &Histogram) -> (f64, f64) {
    (histogram.mean_f64(), histogram.to_hdr().stdev())
}

/// An interval log of the time table: a line for each span and segment, tagged with the segment's name. Values are
/// nanoseconds; the `Interval_Max` column is in milliseconds, as other tools write it.
pub fn write_interval_log(timeline: &Timeline, output: &mut dyn Write) -> io::Result<()> {
    let spans = timeline.spans();
    write_intervals(spans.first().map_or(Timestamp(0), |span| span.from), &spans, output)
}

/// The same of these spans, in a log whose times count from `start`.
pub fn write_intervals(start: Timestamp, spans: &[Span], output: &mut dyn Write) -> io::Result<()> {
    let start = start.0;
    let start_time = SystemTime::UNIX_EPOCH + Duration::from_nanos(start);
    let shared = RefCell::new(output);
    let mut part = Part(&shared);
    let mut serializer = V2DeflateSerializer::new();
    // The crate writes neither of these two lines, and other tools look for them.
    writeln!(Part(&shared), "#[Histogram log format version 1.3]")?;
    let mut log = IntervalLogWriterBuilder::new()
        .add_comment("[tickscope: values in nanoseconds, Interval_Max in milliseconds, tags are segments]")
        .with_start_time(start_time)
        .with_base_time(start_time)
        .with_max_value_divisor(1_000_000.0)
        .begin_log_with(&mut part, &mut serializer)?;
    let legend = r#""StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram""#;
    writeln!(Part(&shared), "{legend}")?;
    for span in spans {
        for (kind, histogram) in span.latencies.iter() {
            let from = Duration::from_nanos(span.from.0 - start);
            let length = Duration::from_nanos(span.to.0 - span.from.0);
            log.write_histogram(&histogram.to_hdr(), from, length, Tag::new(kind.name())).map_err(
                |error| match error {
                    IntervalLogWriterError::IoError(error) => error,
                    other @ IntervalLogWriterError::SerializeError(_) => io::Error::other(other.to_string()),
                },
            )?;
        }
    }
    Ok(())
}

/// Lets lines of our own stand between those of the crate, which borrows its output to the end.
struct Part<'a, 'b>(&'a RefCell<&'b mut dyn Write>);

impl Write for Part<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.borrow_mut().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Latencies;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
    use tickscope_model::SegmentKind;

    #[test]
    fn the_dense_form_has_the_same_buckets() {
        let mut histogram = Histogram::default();
        for step in 0..5000_u64 {
            histogram.record(step * step * 977);
        }
        let dense = histogram.to_hdr();
        let counted: Vec<(u64, u64)> = dense
            .iter_recorded()
            .map(|step| (dense.highest_equivalent(step.value_iterated_to()), step.count_at_value()))
            .collect();
        assert_eq!(histogram.buckets().collect::<Vec<_>>(), counted);
        assert_eq!((dense.len(), dense.min()), (histogram.n(), histogram.min()));
    }

    #[test]
    fn the_last_percentile_line_is_the_maximum() {
        let mut histogram = Histogram::default();
        for value in [1, 5, 1_000_001] {
            histogram.record(value);
        }
        let lines = percentile_lines(&histogram);
        let last = lines.last().expect("lines");
        assert_eq!((last.value, last.count), (1_000_001, 3));
        assert!((last.quantile - 1.0).abs() < f64::EPSILON);
        assert_eq!(percentile_lines(&Histogram::default()).len(), 2);
    }

    #[test]
    fn the_intervals_of_a_log_add_up_to_the_whole() {
        let mut timeline = Timeline::default();
        let mut whole = Latencies::default();
        for step in 0..3000_u64 {
            let kind = if step % 3 == 0 { SegmentKind::TickToTrade } else { SegmentKind::Ack };
            timeline.record(Timestamp(1_769_000_000_000_000_000 + step * 30_000_000), [(kind, step * 977)], true);
            whole.record(kind, step * 977);
        }
        let mut log = Vec::new();
        write_interval_log(&timeline, &mut log).expect("memory");
        let mut read = Deserializer::new();
        for kind in [SegmentKind::TickToTrade, SegmentKind::Ack] {
            let mut sum = hdrhistogram::Histogram::<u64>::new(3).expect("3 digits");
            for entry in IntervalLogIterator::new(&log) {
                if let LogEntry::Interval(line) = entry.expect("a line")
                    && line.tag().map(|tag| tag.as_str()) == Some(kind.name())
                {
                    let bytes = base64_decode(line.encoded_histogram());
                    sum.add(read.deserialize::<u64, _>(&mut bytes.as_slice()).expect("a histogram")).expect("fits");
                }
            }
            let expected = whole.of(kind).expect("recorded").to_hdr();
            assert_eq!(sum, expected, "{}", kind.name());
            assert!(sum.len() >= 1000);
        }
    }

    /// RFC 4648, padding ignored.
    fn base64_decode(text: &str) -> Vec<u8> {
        let (mut bits, mut held, mut bytes) = (0_u32, 0, Vec::new());
        for letter in text.bytes() {
            let value = match letter {
                b'A'..=b'Z' => letter - b'A',
                b'a'..=b'z' => letter - b'a' + 26,
                b'0'..=b'9' => letter - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => continue,
            };
            bits = (bits << 6 | u32::from(value)) & 0xFF_FFFF;
            held += 6;
            if held >= 8 {
                held -= 8;
                bytes.push(u8::try_from(bits >> held & 0xFF).expect("masked"));
            }
        }
        bytes
    }
}
