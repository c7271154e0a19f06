//! `--hgrm DIR`: for each segment a percentile table `<segment>.hgrm` in the format of `HdrHistogram`'s
//! `outputPercentileDistribution` (values in nanoseconds), which its plotter and other tools read.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use super::{Format, Output, named};
use crate::stats::{Histogram, Summary, moments, percentile_lines};

pub(super) static FORMAT: Format = Format {
    name: "hgrm",
    option: "--hgrm",
    extension: ".hgrm",
    title: "HdrHistogram percentile files, one a segment, in nanoseconds",
};

/// Buckets of 2048 values: what 3 significant digits need.
const SUB_BUCKETS: u64 = 2048;

/// Makes the folder where it is missing, and writes one file a segment that has samples.
pub fn write_hgrm(summary: &Summary, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder).map_err(|error| named(folder.display(), &error))?;
    for (kind, histogram) in summary.overall.iter() {
        let mut output = Output::create(&folder.join(format!("{}.hgrm", kind.name())))?;
        write_one(histogram, &mut output)?;
        output.flush()?;
    }
    Ok(())
}

fn write_one(histogram: &Histogram, output: &mut dyn Write) -> io::Result<()> {
    writeln!(output, "{:>12} {:>14} {:>10} {:>14}\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)")?;
    for line in percentile_lines(histogram) {
        let value = format!("{}.000", line.value);
        write!(output, "{value:>12} {:2.12} {:>10}", line.quantile, line.count)?;
        if line.quantile < 1.0 {
            write!(output, " {:14.2}", 1.0 / (1.0 - line.quantile))?;
        }
        writeln!(output)?;
    }
    let (mean, deviation) = moments(histogram);
    writeln!(output, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]")?;
    let max = format!("{}.000", histogram.max());
    writeln!(output, "#[Max     = {max:>12}, Total count    = {:>12}]", histogram.n())?;
    writeln!(output, "#[Buckets = {:>12}, SubBuckets     = {SUB_BUCKETS:>12}]", buckets(histogram.max()))
}

/// How many doublings of the first bucket hold the maximum.
fn buckets(max: u64) -> u32 {
    1 + (u64::BITS - max.leading_zeros()).saturating_sub(SUB_BUCKETS.ilog2())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_that_of_the_java_library() {
        let mut histogram = Histogram::default();
        for value in [1, 2, 3, 4_000] {
            histogram.record(value);
        }
        let mut text = Vec::new();
        write_one(&histogram, &mut text).unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "       Value     Percentile TotalCount 1/(1-Percentile)

       1.000 0.000000000000          1           1.00
       1.000 0.100000000000          1           1.11
       1.000 0.200000000000          1           1.25
       2.000 0.300000000000          2           1.43
       2.000 0.400000000000          2           1.67
       2.000 0.500000000000          2           2.00
       3.000 0.550000000000          3           2.22
       3.000 0.600000000000          3           2.50
       3.000 0.650000000000          3           2.86
       3.000 0.700000000000          3           3.33
       3.000 0.750000000000          3           4.00
    4000.000 0.775000000000          4           4.44
    4000.000 1.000000000000          4
#[Mean    =     1001.500, StdDeviation   =     1731.618]
#[Max     =     4000.000, Total count    =            4]
#[Buckets =            2, SubBuckets     =         2048]
"
        );
    }

    #[test]
    fn buckets_double() {
        for (max, expected) in [(0, 1), (2047, 1), (2048, 2), (4095, 2), (4096, 3), (u64::MAX, 54)] {
            assert_eq!(buckets(max), expected, "{max}");
        }
    }
}
