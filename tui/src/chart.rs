//! Pictures of characters: histograms on a logarithmic axis, density over time, curves of percentiles, and lines of rates. Colour
//! only repeats what height or character says.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::theme::Styles;
use crate::units::short;

/// The characters of a picture.
#[derive(Clone, Copy)]
pub(crate) struct Glyphs {
    /// Eighths of a line, from none to all.
    bars: [char; 9],
    /// From none to many.
    shades: [char; 5],
    pub(crate) mark: char,
    pub(crate) budget: char,
    pub(crate) dot: char,
    pub(crate) other: char,
    rise: char,
}

impl Glyphs {
    pub(crate) fn new(is_ascii: bool) -> Glyphs {
        if is_ascii {
            Glyphs {
                bars: [' ', '.', '.', ':', ':', '|', '|', '#', '#'],
                shades: [' ', '.', ':', '*', '#'],
                mark: '|',
                budget: '!',
                dot: 'o',
                other: '.',
                rise: '|',
            }
        } else {
            Glyphs {
                bars: [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'],
                shades: [' ', '░', '▒', '▓', '█'],
                mark: '│',
                budget: '╎',
                dot: '•',
                other: '·',
                rise: '│',
            }
        }
    }
}

/// Values on a logarithmic axis of so many columns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Axis {
    low: f64,
    high: f64,
    columns: usize,
}

#[allow(clippy::cast_precision_loss, reason = "places on an axis")]
fn log2(value: u64) -> f64 {
    (value.max(1) as f64).log2()
}

impl Axis {
    /// From the lowest to the highest value of the buckets, and the budget; `None` where there are none.
    pub(crate) fn over(buckets: &[(u64, u64)], budget_ns: Option<u64>, columns: usize) -> Option<Axis> {
        let (first, last) = (buckets.first()?, buckets.last()?);
        let (mut low, mut high) = (log2(lowest(first.0)), log2(last.0 + 1));
        if let Some(budget) = budget_ns {
            (low, high) = (low.min(log2(budget)), high.max(log2(budget) + 0.05));
        }
        // One value alone stands in the middle.
        if high - low < 1.0 {
            (low, high) = ((low - 0.5).max(0.0), high + 0.5);
        }
        Some(Axis { low, high, columns })
    }

    pub(crate) fn column(&self, value_ns: u64) -> usize {
        self.place(log2(value_ns))
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a place")]
    fn place(&self, log: f64) -> usize {
        let share = ((log - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        ((share * self.columns as f64) as usize).min(self.columns.saturating_sub(1))
    }

    /// The values that a column stands for.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a value")]
    pub(crate) fn range(&self, column: usize) -> (u64, u64) {
        let at = |column: usize| self.low + (self.high - self.low) * column as f64 / self.columns as f64;
        (at(column).exp2().round() as u64, at(column + 1).exp2().round() as u64)
    }

    /// How many samples fall into each column. A bucket that reaches over several is divided.
    pub(crate) fn counts(&self, buckets: &[(u64, u64)]) -> Vec<f64> {
        let mut counts = vec![0.0; self.columns];
        let width = (self.high - self.low) / count(self.columns);
        for (highest, n) in buckets {
            let (low, high) = (log2(lowest(*highest)), log2(highest + 1));
            let (first, last) = (self.place(low), self.place(high - 1e-9));
            for (column, sum) in counts.iter_mut().enumerate().take(last + 1).skip(first) {
                let begin = self.low + width * count(column);
                let overlap = (high.min(begin + width) - low.max(begin)).max(0.0);
                let share = if first == last || high <= low { 1.0 } else { overlap / (high - low) };
                *sum += share * as_float(*n);
            }
        }
        counts
    }

    /// Round values with their columns, as many as there is room for.
    fn marks(&self) -> Vec<(usize, String)> {
        let mut marks: Vec<(usize, String)> = Vec::new();
        let steps: &[u64] = if self.high - self.low < 7.0 { &[1, 2, 5] } else { &[1] };
        for power in 0..19_u32 {
            for step in steps {
                let value = 10_u64.pow(power) * step;
                let log = log2(value);
                if log < self.low || log > self.high {
                    continue;
                }
                let (column, text) = (self.place(log), short(value));
                let begins = marks.last().map_or(0, |(at, text)| at + text.chars().count() + 2);
                if column >= begins && column + text.chars().count() <= self.columns {
                    marks.push((column, text));
                }
            }
        }
        marks
    }
}

#[allow(clippy::cast_precision_loss, reason = "for a picture")]
fn count(value: usize) -> f64 {
    value as f64
}

#[allow(clippy::cast_precision_loss, reason = "for a picture")]
fn as_float(value: u64) -> f64 {
    value as f64
}

/// The lowest value of a bucket, which holds all values with the same first five binary digits.
pub(crate) fn lowest(highest: u64) -> u64 {
    let rest = (u64::BITS - highest.leading_zeros()).saturating_sub(5);
    highest & !((1 << rest) - 1)
}

/// A value with its name, which a histogram marks.
pub(crate) struct Mark<'a> {
    pub(crate) value_ns: u64,
    pub(crate) name: &'a str,
    pub(crate) style: Style,
    pub(crate) is_budget: bool,
}

/// What a histogram is drawn of.
pub(crate) struct Histogram<'a> {
    pub(crate) axis: Axis,
    pub(crate) counts: Vec<f64>,
    /// The counts to compare with.
    pub(crate) other: Option<Vec<f64>>,
    pub(crate) style: Style,
    pub(crate) marks: Vec<Mark<'a>>,
    pub(crate) is_log: bool,
    pub(crate) cursor: Option<usize>,
}

/// Bars above a line of marks and a line with the axis.
pub(crate) fn histogram(buffer: &mut Buffer, area: Rect, picture: &Histogram<'_>, styles: &Styles, glyphs: &Glyphs) {
    if area.height < 4 || area.width < 8 {
        return;
    }
    let bars = Rect { height: area.height - 2, ..area };
    let scale = |counts: &[f64]| -> Vec<f64> {
        let most = counts.iter().copied().fold(0.0, f64::max);
        let height = |count: f64| match (picture.is_log, most > 0.0) {
            (_, false) => 0.0,
            (false, true) => count / most,
            (true, true) => (1.0 + count).ln() / (1.0 + most).ln(),
        };
        counts.iter().map(|count| height(*count)).collect()
    };
    for mark in &picture.marks {
        let x = area.x + cells(picture.axis.column(mark.value_ns));
        let glyph = if mark.is_budget { glyphs.budget } else { glyphs.mark };
        (bars.top()..bars.bottom())
            .for_each(|y| put(buffer, x, y, glyph, if mark.is_budget { mark.style } else { styles.faint }));
    }
    let heights = scale(&picture.counts);
    for (x, height) in (area.x..area.right()).zip(&heights) {
        column(buffer, x, bars, *height, picture.style, glyphs);
    }
    for (x, height) in (area.x..area.right()).zip(picture.other.as_deref().map(scale).unwrap_or_default()) {
        if height > 0.0 {
            let y = bars.bottom() - 1 - lines(height, bars.height - 1);
            put(buffer, x, y, glyphs.dot, styles.warn);
        }
    }
    if let Some(cursor) = picture.cursor {
        let x = area.x + cells(cursor);
        (bars.top()..bars.bottom()).for_each(|y| _ = buffer[(x, y)].set_style(styles.selected));
    }
    marks(buffer, Rect { y: bars.bottom(), height: 1, ..area }, picture, glyphs);
    for (column, text) in picture.axis.marks() {
        buffer.set_string(area.x + cells(column), bars.bottom() + 1, text, styles.faint);
    }
}

/// The names of the marks, each below its column: the budget's first, and of the others those for which there is room.
fn marks(buffer: &mut Buffer, area: Rect, picture: &Histogram<'_>, glyphs: &Glyphs) {
    let mut taken: Vec<(u16, u16)> = Vec::new();
    let mut sorted: Vec<&Mark<'_>> = picture.marks.iter().collect();
    sorted.sort_by_key(|mark| (!mark.is_budget, mark.value_ns));
    for mark in sorted {
        let text = format!("{}{}", if mark.is_budget { glyphs.budget } else { glyphs.mark }, mark.name);
        let width = cells(text.chars().count());
        let x = (area.x + cells(picture.axis.column(mark.value_ns))).min(area.right().saturating_sub(width));
        if taken.iter().all(|(from, to)| x + width < *from || *to < x) {
            buffer.set_string(x, area.y, text, mark.style);
            taken.push((x, x + width));
        }
    }
}

fn column(buffer: &mut Buffer, x: u16, area: Rect, height: f64, style: Style, glyphs: &Glyphs) {
    let all = usize::from(area.height) * 8;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "eighths of a few lines")]
    let eighths = (height.clamp(0.0, 1.0) * count(all)).round() as usize;
    // What is there is seen, however little.
    let eighths = if height > 0.0 { eighths.max(1) } else { 0 };
    for (step, y) in (area.top()..area.bottom()).rev().enumerate() {
        let filled = eighths.saturating_sub(step * 8).min(8);
        if filled > 0 {
            put(buffer, x, y, glyphs.bars[filled], style);
        }
    }
}

/// Density over time: columns of time, each with its buckets, and lines of latency, the slowest on top.
pub(crate) fn heat(
    buffer: &mut Buffer,
    area: Rect,
    columns: &[Vec<(u64, u64)>],
    axis: &Axis,
    styles: &Styles,
    glyphs: &Glyphs,
) {
    let axis = Axis { columns: usize::from(area.height), ..*axis };
    let cells: Vec<Vec<f64>> = columns.iter().map(|buckets| axis.counts(buckets)).collect();
    let most = cells.iter().flatten().copied().fold(0.0, f64::max);
    for (x, column) in (area.x..area.right()).zip(&cells) {
        for (y, count) in (area.top()..area.bottom()).rev().zip(column) {
            if *count > 0.0 && most > 0.0 {
                let share = (1.0 + count).ln() / (1.0 + most).ln();
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in four")]
                let shade = ((share * 4.0).ceil() as usize).clamp(1, 4);
                put(buffer, x, y, glyphs.shades[shade], styles.heat(share));
            }
        }
    }
}

/// A line of bars, one a value, as high as the highest of them.
pub(crate) fn spark(values: &[Option<u64>], glyphs: &Glyphs) -> String {
    let most = values.iter().flatten().copied().max().unwrap_or(0);
    let glyph = |value: &Option<u64>| match value {
        None => ' ',
        Some(_) if most == 0 => glyphs.bars[1],
        Some(value) => {
            let eighths = usize::try_from(u128::from(*value) * 8 / u128::from(most)).unwrap_or(8);
            glyphs.bars[eighths.clamp(1, 8)]
        }
    };
    values.iter().map(glyph).collect()
}

/// The curve of percentiles: to the right 1/(1 - p) on a logarithmic axis, from none to one in `one_in`, upwards the latency.
pub(crate) fn curve(
    buffer: &mut Buffer,
    area: Rect,
    (buckets, axis, nines): (&[(u64, u64)], &Axis, f64),
    (glyph, style): (char, Style),
    glyphs: &Glyphs,
) {
    let n: u64 = buckets.iter().map(|(_, count)| count).sum();
    if n == 0 || area.height < 2 || area.width < 4 {
        return;
    }
    let axis = Axis { columns: usize::from(area.height), ..*axis };
    let mut before: Option<u16> = None;
    for x in area.x..area.right() {
        let share = 1.0 - 10_f64.powf(-nines * f64::from(x - area.x) / f64::from(area.width - 1));
        // Beyond that there is nobody any more who could have been slower.
        if (1.0 - share) * as_float(n) < 0.5 {
            break;
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "millionths")]
        let value = crate::history::percentile(buckets, (share * 1e6) as u64);
        let y = area.bottom() - 1 - cells(axis.column(value));
        if let Some(before) = before {
            (y + 1..before).for_each(|y| put(buffer, x, y, glyphs.rise, style));
        }
        put(buffer, x, y, glyph, style);
        before = Some(y);
    }
}

/// So many nines the axis of a curve has for so many samples: to where the slowest of them stands.
pub(crate) fn nines(n: u64) -> f64 {
    (as_float(n.max(1)).log10() + 0.4).clamp(1.0, 7.0)
}

/// Percentiles with their columns on the axis of a curve.
pub(crate) fn curve_marks(columns: u16, nines: f64) -> Vec<(u16, &'static str)> {
    let at = |place: f64| {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a column")]
        let column = (place / nines * f64::from(columns.max(2) - 1)).round() as u16;
        column
    };
    let all = [
        (0.0, "0 %"),
        (0.301, "50 %"),
        (1.0, "90 %"),
        (2.0, "99 %"),
        (3.0, "99.9 %"),
        (4.0, "99.99 %"),
        (5.0, "99.999 %"),
        (6.0, "99.9999 %"),
    ];
    all.into_iter().filter(|(place, _)| *place <= nines).map(|(place, text)| (at(place), text)).collect()
}

pub(crate) fn put(buffer: &mut Buffer, x: u16, y: u16, glyph: char, style: Style) {
    if let Some(cell) = buffer.cell_mut((x, y)) {
        cell.set_char(glyph).set_style(style);
    }
}

/// Screens have at most 65,535 cells in a line.
pub(crate) fn cells(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few lines")]
fn lines(share: f64, most: u16) -> u16 {
    (share.clamp(0.0, 1.0) * f64::from(most)).round() as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_falls_into_a_column() {
        let buckets = [(31, 3), (1023, 5), (67, 2), (20_479, 100)];
        let mut sorted = buckets.to_vec();
        sorted.sort_unstable();
        for columns in [1, 7, 40, 500] {
            let axis = Axis::over(&sorted, None, columns).unwrap();
            let sum: f64 = axis.counts(&sorted).iter().sum();
            assert!((sum - 110.0).abs() < 1e-6, "{columns}: {sum}");
        }
    }

    #[test]
    fn buckets_begin_where_the_one_before_ends() {
        for (highest, first) in [(31, 31), (33, 32), (67, 64), (1023, 992), (u64::MAX, 0xF8 << 56)] {
            assert_eq!(lowest(highest), first, "{highest}");
        }
    }

    #[test]
    fn lines_of_bars_are_as_high_as_their_highest() {
        let glyphs = Glyphs::new(false);
        assert_eq!(spark(&[Some(0), Some(4), None, Some(8)], &glyphs), "▁▄ █");
        assert_eq!(spark(&[Some(0), Some(0)], &glyphs), "▁▁");
        assert!(spark(&[Some(3)], &Glyphs::new(true)).is_ascii());
    }

    #[test]
    fn the_axis_has_round_values() {
        let axis = Axis::over(&[(10_239, 1), (2_097_151, 1)], None, 60).unwrap();
        let texts: Vec<String> = axis.marks().into_iter().map(|(_, text)| text).collect();
        assert!(texts.contains(&"100 µs".to_owned()) && texts.contains(&"1 ms".to_owned()), "{texts:?}");
    }
}
