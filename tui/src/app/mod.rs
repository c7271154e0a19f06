//! What is shown, and why: the state of the screen. It changes by lines from the socket, keys and the passing of time, which is
//! told to it; what it wants done outside (a question, a file, the clipboard) it hands out as effects.

mod moment;
mod orders;
mod travel;
mod update;

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use ratatui::style::Style;

pub(crate) use moment::{Moment, Span};
pub(crate) use orders::{Drill, Orders, Part};

use crate::history::{History, figures_between};
use crate::rows::Rows;
use crate::theme::{Depth, Styles};
use crate::units::Unit;
use crate::wire::{Figures, Group, Progress, Snapshot, Stretch};
use crate::{Dissect, Options, Screen, beside};

/// Something to be done outside.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
    Ask(String),
    /// A file of that name in the working directory; the message says what it is.
    Write {
        name: String,
        bytes: Vec<u8>,
        what: &'static str,
    },
    Copy(String),
    Redraw,
    Suspend,
    Quit,
}

/// Latencies of our own side: tick-to-trade, that of a gateway, that behind a fill.
const INTERNAL: [&str; 3] = ["t2t", "w2w", "fill_to_request"];

/// How it is with the other side.
#[derive(Clone, Debug, Default)]
pub(crate) enum Link {
    /// Nothing has come yet.
    #[default]
    Waiting,
    /// Captures are being read.
    Reading(Progress),
    Up,
    /// And why.
    Lost(String),
    /// Its lines cannot be read.
    Refused(String),
}

/// What the table of segments is by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum By {
    #[default]
    Segment,
    Session,
    Symbol,
    Venue,
    Outcome,
    Method,
}

impl By {
    const ALL: [By; 6] = [By::Segment, By::Session, By::Symbol, By::Venue, By::Outcome, By::Method];

    pub(crate) fn name(self) -> &'static str {
        match self {
            By::Segment => "segment",
            By::Session => "session",
            By::Symbol => "symbol",
            By::Venue => "venue",
            By::Outcome => "outcome",
            By::Method => "method",
        }
    }

    fn next(self) -> By {
        beside(&By::ALL, self, 1)
    }
}

/// The columns that the table of segments can be sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum SegmentSort {
    /// As they come: in the order of a request's life, groups by their requests.
    #[default]
    Given,
    Count,
    P50,
    P99,
    P999,
    Max,
    /// p99 divided by p50.
    Consistency,
}

impl SegmentSort {
    const ALL: [SegmentSort; 7] = [
        SegmentSort::Given,
        SegmentSort::Count,
        SegmentSort::P50,
        SegmentSort::P99,
        SegmentSort::P999,
        SegmentSort::Max,
        SegmentSort::Consistency,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            SegmentSort::Given => "as they come",
            SegmentSort::Count => "n",
            SegmentSort::P50 => "p50",
            SegmentSort::P99 => "p99",
            SegmentSort::P999 => "p99.9",
            SegmentSort::Max => "max",
            SegmentSort::Consistency => "p99/p50",
        }
    }

    fn next(self) -> SegmentSort {
        beside(&SegmentSort::ALL, self, 1)
    }

    fn key(self, figures: &Figures) -> u64 {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a ratio above zero, for an order")]
        match self {
            SegmentSort::Given => 0,
            SegmentSort::Count => figures.n,
            SegmentSort::P50 => figures.p50_ns,
            SegmentSort::P99 => figures.p99_ns,
            SegmentSort::P999 => figures.p99_9_ns,
            SegmentSort::Max => figures.max_ns,
            SegmentSort::Consistency => (figures.p99_over_p50.unwrap_or(0.0) * 100.0) as u64,
        }
    }
}

/// Figures to compare with.
#[derive(Clone, Debug)]
pub(crate) struct Baseline {
    pub(crate) segment: String,
    pub(crate) label: String,
    pub(crate) figures: Figures,
}

/// What the histogram's screen shows of its segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Shown {
    #[default]
    Both,
    Histogram,
    Curve,
}

/// See the head of this file.
#[allow(clippy::struct_excessive_bools, reason = "they are independent of each other")]
pub(crate) struct App {
    pub(crate) budgets: Vec<(String, u64)>,
    pub(crate) zone: crate::Zone,
    pub(crate) version: &'static str,
    pub(crate) title: String,
    pub(crate) is_ascii: bool,
    pub(crate) styles: Styles,
    pub(crate) depth: Depth,
    dissect: Dissect,
    pub(crate) screen: Screen,
    /// The help is open, and so many of its lines are above the window.
    pub(crate) help: Option<usize>,
    pub(crate) history: History,
    pub(crate) rows: Rows,
    pub(crate) moment: Moment,
    pub(crate) span: Span,
    pub(crate) link: Link,
    pub(crate) unit: Unit,
    pub(crate) is_log: bool,
    /// The selected line of each screen, and lines of help and of tables that are above the window.
    pub(crate) selected: [usize; Screen::ALL.len()],
    pub(crate) by: By,
    pub(crate) sort: SegmentSort,
    pub(crate) is_reversed: bool,
    /// The groups that came last, and what they are by.
    pub(crate) groups: Option<(String, Vec<Group>, u64)>,
    /// The segment of the histogram and of grouped tables; empty as long as nobody chose one.
    pub(crate) segment: String,
    /// The group of the histogram, where it is not all requests.
    pub(crate) group: Option<(By, String)>,
    pub(crate) cursor: Option<usize>,
    pub(crate) shown: Shown,
    pub(crate) baseline: Option<Baseline>,
    pub(crate) is_compared: bool,
    pub(crate) orders: Orders,
    pub(crate) drill: Option<Drill>,
    /// A sentence for the bottom line, and since when it stands there.
    pub(crate) message: Option<(String, Duration)>,
    pub(crate) now: Duration,
    /// When the newest snapshot came.
    pub(crate) came: Duration,
    /// When they were asked for last.
    asked_groups: Option<Duration>,
    asked_rows: Option<Duration>,
    /// The second that was looked at last.
    second: u64,
    /// A question for rows waits for its answer.
    awaits_rows: bool,
    effects: Vec<Effect>,
    /// What drawing has found out, for keys and the mouse: lines of a page, lines below the window, columns of the histogram and that
    /// of its median, the value below its cursor, and where the list begins with which line.
    pub(crate) page: Cell<usize>,
    pub(crate) below: Cell<usize>,
    pub(crate) columns: Cell<usize>,
    pub(crate) median: Cell<usize>,
    pub(crate) cursor_ns: Cell<Option<u64>>,
    pub(crate) list: Cell<Option<(u16, usize)>>,
}

impl App {
    pub(crate) fn new(options: Options, depth: Depth, dissect: Dissect) -> App {
        App {
            budgets: options.budgets,
            zone: options.zone,
            version: options.version,
            title: options.title,
            is_ascii: options.is_ascii,
            styles: Styles::new(options.theme, depth),
            depth,
            dissect,
            screen: options.screen,
            help: None,
            history: History::default(),
            rows: Rows::default(),
            moment: Moment::Latest,
            span: Span::Whole,
            link: Link::Waiting,
            unit: Unit::Fitting,
            is_log: false,
            selected: [0; Screen::ALL.len()],
            by: By::Segment,
            sort: SegmentSort::Given,
            is_reversed: false,
            groups: None,
            segment: String::new(),
            group: None,
            cursor: None,
            shown: Shown::Both,
            baseline: None,
            is_compared: true,
            orders: Orders::default(),
            drill: None,
            message: None,
            now: Duration::ZERO,
            came: Duration::ZERO,
            asked_groups: None,
            asked_rows: None,
            second: 0,
            awaits_rows: false,
            effects: Vec::new(),
            page: Cell::new(1),
            below: Cell::new(0),
            columns: Cell::new(0),
            median: Cell::new(0),
            cursor_ns: Cell::new(None),
            list: Cell::new(None),
        }
    }

    /// What is to be done outside since this was asked last.
    pub(crate) fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    pub(crate) fn selected(&self) -> usize {
        self.selected[self.screen.number() - 1]
    }

    /// There is something to show: a snapshot, and of a capture its last, for those before are parts of it.
    pub(crate) fn is_ready(&self) -> bool {
        self.history.last().is_some_and(|last| last.is_last || !last.of_capture)
    }

    /// What is shown changes with time alone: a capture plays, or a message goes away.
    pub(crate) fn is_moving(&self) -> bool {
        matches!(self.moment, Moment::Playing { .. }) || self.message.is_some()
    }

    /// A second is over since this was asked last and said so.
    pub(crate) fn is_second_over(&mut self) -> bool {
        let second = self.now.as_secs();
        std::mem::replace(&mut self.second, second) != second
    }

    /// Colours, grey where the other side is lost.
    pub(crate) fn styles(&self) -> Styles {
        if matches!(self.link, Link::Lost(..)) { self.styles.stale() } else { self.styles }
    }

    /// The snapshot that is shown.
    pub(crate) fn snapshot(&self) -> Option<&Arc<Snapshot>> {
        match self.moment.time() {
            None => self.history.last(),
            Some(t_ns) => self.history.get(self.history.at_time(t_ns)),
        }
    }

    /// The one from which the shown span begins; `None` where that is the beginning of the run.
    pub(crate) fn before(&self) -> Option<&Arc<Snapshot>> {
        let (span_ns, shown) = (self.span.nanos()?, self.snapshot()?);
        self.history.until(shown.t_ns.checked_sub(span_ns)?)
    }

    /// The times that charts over time reach over.
    pub(crate) fn time_range(&self) -> Option<(u64, u64)> {
        let (oldest, last) = (self.history.get(0)?, self.history.last()?);
        let shown = self.snapshot()?;
        Some(match self.span.nanos() {
            Some(span_ns) => (shown.t_ns.saturating_sub(span_ns), shown.t_ns),
            // A capture's axis stays where it is while it plays.
            None if shown.of_capture => (oldest.first.as_ref().map_or(oldest.t_ns, |first| first.t_ns), last.t_ns),
            None => (oldest.t_ns.saturating_sub(1), shown.t_ns),
        })
    }

    /// Figures of a segment in the shown span.
    pub(crate) fn figures(&self, segment: &str) -> Option<Figures> {
        let now = self.snapshot()?.segments.get(segment)?;
        match self.before() {
            None => Some(now.clone()),
            Some(before) => Some(figures_between(before.segments.get(segment), now)),
        }
    }

    /// Figures of the histogram's screen: of its segment, and of its group where it has one.
    pub(crate) fn chosen_figures(&self) -> Option<Figures> {
        match &self.group {
            None => self.figures(self.chosen()),
            Some((by, name)) => {
                let (known, groups, _) = self.groups.as_ref()?;
                let group = groups.iter().find(|group| known == by.name() && group.name == *name)?;
                group.segments.get(self.chosen()).cloned()
            }
        }
    }

    /// Whether percentiles rest on buckets alone.
    pub(crate) fn is_rough(&self) -> bool {
        self.before().is_some()
    }

    /// The first latency of our own side that there is.
    pub(crate) fn internal(&self) -> &'static str {
        let has_samples = |name: &&'static str| {
            let figures = self.history.last().and_then(|shown| shown.segments.get(name));
            figures.is_some_and(|figures| figures.n > 0)
        };
        INTERNAL.into_iter().find(has_samples).unwrap_or(INTERNAL[0])
    }

    /// The colour of a segment's side.
    pub(crate) fn side_style(&self, segment: &str) -> Style {
        let styles = self.styles();
        if INTERNAL.contains(&segment) { styles.internal } else { styles.external }
    }

    /// The latency of the exchange that most requests have.
    pub(crate) fn external(&self) -> &'static str {
        let all = ["ack", "reject", "first_fill", "cancel_ack", "replace_ack"];
        let Some(shown) = self.history.last() else { return all[0] };
        let count = |name: &&str| shown.segments.get(name).map_or(0, |figures| figures.n);
        // The first of those that have as many.
        all.into_iter().rev().max_by_key(count).unwrap_or(all[0])
    }

    /// The segment of the histogram.
    pub(crate) fn chosen(&self) -> &str {
        if self.segment.is_empty() { self.internal() } else { &self.segment }
    }

    pub(crate) fn budget(&self, segment: &str) -> Option<u64> {
        self.budgets.iter().find_map(|(name, limit_ns)| (name == segment).then_some(*limit_ns))
    }

    /// The lines of the table of segments: a name and its figures.
    pub(crate) fn segment_lines(&self) -> Vec<(String, Figures)> {
        let mut lines: Vec<(String, Figures)> = match (self.by, &self.groups) {
            (By::Segment, _) => {
                let names = self.snapshot().map(|shown| shown.segments.0.iter().map(|(name, _)| name.clone()));
                let figures = |name: String| self.figures(&name).map(|figures| (name, figures));
                names.into_iter().flatten().filter_map(figures).collect()
            }
            (by, Some((known, groups, _))) if known == by.name() => {
                let line = |group: &Group| {
                    let figures = group.segments.get(self.chosen()).cloned().unwrap_or_default();
                    (group.name.clone(), figures)
                };
                groups.iter().map(line).collect()
            }
            _ => Vec::new(),
        };
        if self.sort != SegmentSort::Given {
            lines.sort_by_key(|(_, figures)| std::cmp::Reverse(self.sort.key(figures)));
        }
        if self.is_reversed {
            lines.reverse();
        }
        lines
    }

    /// The stretch that the first screen tells of: the one that holds the shown moment, else the worst of all.
    pub(crate) fn stretch(&self) -> Option<(&Stretch, bool)> {
        let shown = self.snapshot()?;
        let verdict = shown.verdict.as_ref()?;
        let is_now = |it: &&Stretch| it.from.t_ns <= shown.t_ns && (it.to_the_end || shown.t_ns <= it.to.t_ns);
        if let Some(now) = verdict.slow.iter().find(is_now).filter(|_| !self.is_summary()) {
            return Some((now, true));
        }
        let worst = shown.slowed.as_ref();
        let is_worst =
            |it: &&Stretch| worst.is_some_and(|worst| worst.from.t_ns == it.from.t_ns && worst.sentence == it.sentence);
        verdict.slow.iter().find(is_worst).or(verdict.slow.last()).map(|it| (it, it.to_the_end))
    }

    /// A capture as a whole is shown, and no moment of it.
    pub(crate) fn is_summary(&self) -> bool {
        self.moment == Moment::Latest && self.snapshot().is_some_and(|shown| shown.of_capture)
    }
}
