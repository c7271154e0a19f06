//! State to screen: one file a screen, and here what surrounds them: the first line (what, when, how it is with the other side),
//! the tabs, and the last line (a message, or the keys that matter here).

mod health;
mod help;
mod histogram;
mod order;
mod orders;
mod overview;
mod parts;
mod segments;
mod sessions;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Alignment, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Widget, Wrap};

use crate::Screen;
use crate::app::{App, Link, Moment};
use crate::chart::{Glyphs, cells};
use crate::keys::{Action, KEYS, written};
use crate::theme::Styles;
use crate::units::{age, grouped};

/// What all screens fit into.
pub(crate) const LEAST: (u16, u16) = (80, 24);

/// What panels draw with.
pub(crate) struct Look<'a> {
    pub(crate) app: &'a App,
    pub(crate) styles: Styles,
    pub(crate) glyphs: Glyphs,
}

pub(crate) fn draw(frame: &mut Frame<'_>, app: &App) {
    let (area, look) = (frame.area(), Look { app, styles: app.styles(), glyphs: Glyphs::new(app.is_ascii) });
    let buffer = frame.buffer_mut();
    app.list.set(None);
    if area.width < LEAST.0 || area.height < LEAST.1 {
        too_small(buffer, area, &look);
    } else {
        head(buffer, Rect { height: 1, ..area }, &look);
        tabs(buffer, Rect { y: 1, height: 1, ..area }, &look);
        let inner = Rect { y: 2, height: area.height - 3, ..area };
        if app.is_ready() {
            panel(buffer, inner, &look);
        } else {
            waiting(buffer, inner, &look);
        }
        foot(buffer, Rect { y: area.bottom() - 1, height: 1, ..area }, &look);
        if let Some(above) = app.help {
            help::draw(buffer, area, &look, above);
        }
    }
    if app.is_ascii {
        to_ascii(buffer);
    }
}

fn panel(buffer: &mut Buffer, area: Rect, look: &Look<'_>) {
    match look.app.screen {
        Screen::Overview => overview::draw(buffer, area, look),
        Screen::Segments => segments::draw(buffer, area, look),
        Screen::Histogram => histogram::draw(buffer, area, look),
        Screen::Orders => match &look.app.drill {
            Some(drill) => order::draw(buffer, area, look, drill),
            None => orders::draw(buffer, area, look),
        },
        Screen::Sessions => sessions::draw(buffer, area, look),
        Screen::Health => health::draw(buffer, area, look),
    }
}

fn too_small(buffer: &mut Buffer, area: Rect, look: &Look<'_>) {
    let text = format!(
        "tickscope needs {}×{} characters; this window has {}×{}. `tickscope tui --once --size 120x40` prints a frame.",
        LEAST.0, LEAST.1, area.width, area.height
    );
    Paragraph::new(text).style(look.styles.warn).wrap(Wrap { trim: true }).render(area, buffer);
}

/// Nothing has come yet.
fn waiting(buffer: &mut Buffer, area: Rect, look: &Look<'_>) {
    let text = match &look.app.link {
        Link::Waiting => format!("waiting for {}", look.app.title),
        Link::Up => format!("{}: {} moments of it so far", look.app.title, look.app.history.len()),
        Link::Reading(progress) => {
            let share = progress.done.map_or(String::new(), |done| format!("  {:.0} %", done * 100.0));
            let width = usize::from(area.width / 2);
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "a bar"
            )]
            let filled = (progress.done.unwrap_or(0.0).clamp(0.0, 1.0) * width as f64) as usize;
            let bar = format!("{}{}", "█".repeat(filled), "░".repeat(width - filled));
            format!("{}{share}\n\n{bar}", progress.text)
        }
        Link::Lost(why) => format!("{}: {why}\n\nIt is looked for again twice a second; q leaves.", look.app.title),
        Link::Refused(why) => format!("{}: {why}", look.app.title),
    };
    let height = 3.min(area.height);
    let middle = Rect { y: area.y + (area.height - height) / 2, height, ..area };
    Paragraph::new(text)
        .style(look.styles.text)
        .alignment(Alignment::Center)
        .wrap(Wrap { trim: true })
        .render(middle, buffer);
}

/// `tickscope  exchange-slows.pcap      14:31:22.123  playing ×2.0     lost 0`
fn head(buffer: &mut Buffer, area: Rect, look: &Look<'_>) {
    let Look { app, styles, .. } = look;
    let lost = app.snapshot().map(|shown| {
        let lost = shown.lost();
        let style = if lost > 0 { styles.bad } else { styles.good };
        Span::styled(if lost > 0 { format!("! lost {} ", grouped(lost)) } else { "lost 0 ".to_owned() }, style)
    });
    let mut right = vec![state(look)];
    if let Some(shown) = app.snapshot() {
        right.push(Span::styled(format!("  {}  ", parts::clock(look, shown.t_ns, 3)), styles.text));
    }
    right.extend(lost);
    let right = Line::from(right);
    let width = cells(right.width()).min(area.width);
    let room = usize::from(area.width - width).saturating_sub(14);
    let left = Line::from(vec![
        Span::styled(" tickscope  ", styles.title),
        Span::styled(parts::cut(&app.title, room), styles.faint),
    ]);
    left.render(area, buffer);
    right.render(Rect { x: area.right() - width, width, ..area }, buffer);
}

/// Whether what is shown is of now.
fn state(look: &Look<'_>) -> Span<'static> {
    let Look { app, styles, .. } = look;
    let shown = app.snapshot().filter(|_| app.is_ready());
    let behind = |t_ns: u64| {
        let (last, at) = (app.history.last().map_or(0, |last| last.requests), shown.map_or(0, |shown| shown.requests));
        format!("FROZEN {}  +{} requests since", parts::clock(look, t_ns, 3), grouped(last.saturating_sub(at)))
    };
    let age_of = |since: std::time::Duration| age(u64::try_from(app.now.saturating_sub(since).as_nanos()).unwrap_or(0));
    match (&app.link, app.moment) {
        (Link::Lost(..), _) if shown.is_some() => {
            Span::styled(format!("CONNECTION LOST, state of {} ago", age_of(app.came)), styles.bad)
        }
        (_, Moment::Playing { speed, .. }) => Span::styled(format!("PLAYING ×{speed:.2}"), styles.key),
        (_, Moment::At(t_ns)) => Span::styled(behind(t_ns), styles.warn),
        _ => match shown {
            Some(shown) if shown.of_capture => Span::styled("whole capture", styles.faint),
            Some(shown) if shown.is_last => Span::styled("the run has ended", styles.warn),
            Some(_) => Span::styled("live", styles.good),
            None => Span::raw(""),
        },
    }
}

/// Columns of the tabs, for the mouse.
pub(crate) fn tab_at(column: u16) -> Option<Screen> {
    let mut x = 1;
    for screen in Screen::ALL {
        let width = cells(screen.name().len()) + 4;
        if (x..x + width).contains(&column) {
            return Some(screen);
        }
        x += width;
    }
    None
}

fn tabs(buffer: &mut Buffer, area: Rect, look: &Look<'_>) {
    let Look { app, styles, .. } = look;
    let mut spans = vec![Span::raw(" ")];
    for screen in Screen::ALL {
        let (number, name) = (screen.number(), screen.name());
        let is_shown = screen == app.screen;
        let style = if is_shown { styles.selected.patch(styles.key) } else { styles.faint };
        spans.push(Span::styled(format!(" {number} {name}"), style));
        spans.push(Span::styled(" ", if is_shown { style } else { styles.faint }));
    }
    let has_span = app.span != crate::app::Span::Whole;
    if has_span {
        spans.push(Span::styled(format!("  {}", app.span.name()), styles.warn));
    }
    Line::from(spans).render(area, buffer);
}

fn foot(buffer: &mut Buffer, area: Rect, look: &Look<'_>) {
    let Look { app, styles, .. } = look;
    if let Some((text, wrong)) = &app.orders.editing {
        let mut spans = vec![Span::styled(" /", styles.key), Span::styled(format!("{text}▏"), styles.title)];
        if let Some(wrong) = wrong {
            spans.push(Span::styled(format!("  ! character {}: {}", wrong.at + 1, wrong.text), styles.bad));
        }
        return Line::from(spans).render(area, buffer);
    }
    if let Some((text, _)) = &app.message {
        return Line::styled(format!(" {text}"), styles.key).render(area, buffer);
    }
    let mut spans = Vec::new();
    let mut width = 0;
    for action in hints(app) {
        let Some(binding) = KEYS.iter().find(|binding| binding.action == action) else { continue };
        let key = written(binding).split(", ").next().unwrap_or_default().to_owned();
        let hint = if action == Action::Freeze && app.snapshot().is_some_and(|shown| shown.of_capture) {
            "play"
        } else {
            binding.hint
        };
        let text = format!(" {hint} ");
        width += key.chars().count() + text.chars().count() + 1;
        if width > usize::from(area.width) {
            break;
        }
        spans.extend([Span::styled(format!(" {key}"), styles.key), Span::styled(text, styles.faint)]);
    }
    Line::from(spans).render(area, buffer);
}

/// The keys that matter most on a screen.
fn hints(app: &App) -> Vec<Action> {
    let mut all = vec![Action::Help];
    all.extend_from_slice(match (app.screen, &app.drill) {
        (Screen::Overview, _) => &[Action::Enter, Action::Filter, Action::Freeze, Action::Span],
        (Screen::Segments, _) => &[Action::Enter, Action::Sort, Action::Group, Action::Span, Action::Export],
        (Screen::Histogram, _) => &[Action::Enter, Action::Curve, Action::Baseline, Action::Span, Action::Export],
        (Screen::Orders, None) => &[Action::Enter, Action::Filter, Action::Sort, Action::Packets, Action::Export],
        (Screen::Orders, Some(_)) => &[Action::Enter, Action::Packets, Action::Export],
        (Screen::Sessions | Screen::Health, _) => &[Action::Freeze],
    });
    all.push(Action::Quit);
    all
}

/// What no old font has becomes what every one has.
fn to_ascii(buffer: &mut Buffer) {
    for cell in &mut buffer.content {
        let plain = match cell.symbol() {
            symbol if symbol.is_ascii() => continue,
            "µ" => "u",
            "×" => "x",
            "→" | "≥" => ">",
            "…" | "░" => ".",
            "│" | "▏" | "┆" => "|",
            "─" | "–" | "━" => "-",
            "┌" | "┐" | "└" | "┘" | "├" | "┤" | "┬" | "┴" | "┼" | "╭" | "╮" | "╰" | "╯" => {
                "+"
            }
            "█" => "#",
            "±" | "~" => "~",
            "▲" => "^",
            "▼" => "v",
            _ => "?",
        };
        cell.set_symbol(plain);
    }
}
