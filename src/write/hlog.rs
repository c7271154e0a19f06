//! `--hlog FILE`: an `HdrHistogram` interval log V1.3, a line for each time bucket and segment, `Tag=<segment>`. The sum
//! of a tag's lines is the histogram of the whole run. Intervals are those of the time table: 100 ms in a short run,
//! wider in a long one.

use std::io::{self, Write};

use super::{Format, Output};
use crate::stats::{Summary, write_interval_log};

pub(super) static FORMAT: Format = Format {
    name: "hlog",
    option: "--hlog",
    extension: ".hlog",
    title: "HdrHistogram log V1.3, tagged by segment, in nanoseconds",
};

pub fn write_hlog(summary: &Summary, mut output: Output) -> io::Result<()> {
    write_interval_log(&summary.timeline, &mut output)?;
    output.flush()
}

#[cfg(test)]
mod tests {
    use super::super::output::tests::Shared;
    use super::*;
    use tickscope_model::{SegmentKind, Timestamp};

    #[test]
    fn the_log_has_header_tags_and_encoded_histograms() {
        let mut summary = Summary::default();
        summary.timeline.record(Timestamp(1_769_000_000_250_000_000), [(SegmentKind::Ack, 61_000)], true);
        let shared = Shared::default();
        write_hlog(&summary, shared.output()).unwrap();
        let text = shared.text();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.contains(&"#[Histogram log format version 1.3]"), "{text}");
        assert!(
            text.contains("#[StartTime: 1769000000.200 ") && text.contains("#[BaseTime: 1769000000.200 "),
            "{text}"
        );
        assert!(
            text.contains("\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"")
        );
        assert!(lines.last().unwrap().starts_with("Tag=ack,0.000,0.100,0.061,HISTFA"), "{text}");
    }
}
