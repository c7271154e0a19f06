//! How the state changes: by keys and the mouse, by lines from the socket, and by time.

use std::sync::Arc;
use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseEvent, MouseEventKind};
use serde_json::json;

use super::{App, Baseline, By, Drill, Effect, Link, Part, Shown};
use crate::export;
use crate::filter::Filter;
use crate::keys::{Action, action};
use crate::theme::Styles;
use crate::units::grouped;
use crate::wire::{Message, PacketsAnswer, Snapshot};
use crate::{Screen, beside};

/// How often groups are asked for while they are shown, and rows as long as there may be more.
const GROUPS_EVERY: Duration = Duration::from_secs(1);
const ROWS_EVERY: Duration = Duration::from_millis(250);
/// Rows in an answer.
const ROWS_AT_ONCE: u64 = 1000;
/// A message stands so long.
const MESSAGE: Duration = Duration::from_secs(6);

impl App {
    // ------------------------------------------------------------------------------------------------ what comes in

    pub(crate) fn line(&mut self, line: Result<Message, String>, now: Duration) {
        self.now = now;
        match line {
            Ok(Message::Snapshot(snapshot)) => self.take(snapshot),
            Ok(Message::Progress(progress)) => self.link = Link::Reading(progress),
            Ok(Message::Rows(answer)) => {
                self.awaits_rows = false;
                match &answer.error {
                    Some(error) => self.say(error.clone()),
                    None => self.rows.extend(&answer),
                }
                // There are more: at once, not at the next look.
                if self.rows.last < self.rows.known {
                    self.ask_rows();
                }
            }
            Ok(Message::Groups(answer)) => match answer.error {
                Some(error) => self.say(error),
                None => self.groups = Some((answer.by, answer.groups, answer.left_out)),
            },
            Ok(Message::Order(answer)) => {
                let named =
                    |drill: &Drill| answer.order.as_ref().is_none_or(|order| *order.clordid == *drill.row.clordid);
                if let Some(drill) = self.drill.as_mut().filter(|drill| named(drill)) {
                    drill.answer = Some(*answer);
                }
            }
            Ok(Message::Packets(answer)) => self.take_packets(&answer),
            Err(error) if self.history.len() == 0 => self.link = Link::Refused(error),
            Err(error) => self.say(error),
        }
    }

    fn take(&mut self, snapshot: Box<Snapshot>) {
        let is_first = self.history.len() == 0;
        self.link = Link::Up;
        self.came = self.now;
        if is_first && snapshot.version != self.version {
            let text = format!("the other side is tickscope {}, this is {}", snapshot.version, self.version);
            self.say(text);
        }
        self.history.push(Arc::new(*snapshot));
    }

    fn take_packets(&mut self, answer: &PacketsAnswer) {
        let Some(drill) =
            self.drill.as_mut().filter(|drill| *drill.row.clordid == *answer.clordid || answer.clordid.is_empty())
        else {
            return;
        };
        let file = answer.file();
        if std::mem::take(&mut drill.is_to_be_written) {
            match &file {
                Ok(bytes) => {
                    let name = export::file_name(&drill.row.clordid, "pcapng");
                    self.effects.push(Effect::Write { name, bytes: bytes.clone(), what: "packets" });
                }
                Err(error) => {
                    let error = format!("no packets were written: {error}");
                    self.message = Some((error, self.now));
                }
            }
        }
        let frames = file.and_then(|bytes| (self.dissect)(&bytes));
        if let Some(drill) = &mut self.drill {
            drill.frames = Some(frames);
        }
    }

    /// The other side is gone.
    pub(crate) fn lost(&mut self, why: String, now: Duration) {
        self.now = now;
        if !matches!(self.link, Link::Lost(..) | Link::Refused(_)) {
            self.link = Link::Lost(why);
        }
        self.awaits_rows = false;
    }

    /// It is there again.
    pub(crate) fn found(&mut self, now: Duration) {
        self.now = now;
        self.effects.push(Effect::Ask(json!({ "query": "stream" }).to_string()));
        (self.asked_groups, self.asked_rows) = (None, None);
        self.awaits_rows = false;
    }

    // ----------------------------------------------------------------------------------------------------- the time

    /// To be called ten times a second, and before drawing.
    pub(crate) fn advance(&mut self, now: Duration) {
        self.now = now;
        if self.message.as_ref().is_some_and(|(_, since)| now.saturating_sub(*since) > MESSAGE) {
            self.message = None;
        }
        let end_ns = self.history.last().map_or(0, |last| last.t_ns);
        self.moment.advance(now, end_ns);
        let is_due = |last: Option<Duration>, every| last.is_none_or(|last| now.saturating_sub(last) >= every);
        if self.is_ready() && !self.awaits_rows && is_due(self.asked_rows, ROWS_EVERY) {
            self.ask_rows();
        }
        if let Some(by) = self.wanted_groups().filter(|_| is_due(self.asked_groups, GROUPS_EVERY)) {
            self.asked_groups = Some(now);
            self.effects.push(Effect::Ask(json!({ "query": "groups", "by": by.name() }).to_string()));
        }
        self.go_on(now);
    }

    /// A slice of what takes long; whether there is more.
    pub(crate) fn go_on(&mut self, now: Duration) -> bool {
        self.orders.renew(&self.rows, self.moment.time(), now);
        self.orders.is_at_work()
    }

    fn ask_rows(&mut self) {
        // A capture's do not grow any more.
        let is_whole = self.history.last().is_some_and(|last| last.is_last) && self.rows.last > 0;
        if is_whole && self.rows.last == self.rows.known {
            return;
        }
        (self.asked_rows, self.awaits_rows) = (Some(self.now), true);
        let question = json!({ "query": "rows", "after": self.rows.last, "most": ROWS_AT_ONCE });
        self.effects.push(Effect::Ask(question.to_string()));
    }

    /// What the other side is to be asked by, as long as that is shown.
    fn wanted_groups(&self) -> Option<By> {
        let by = match self.screen {
            Screen::Segments => self.by,
            Screen::Histogram => self.group.as_ref().map_or(By::Segment, |(by, _)| *by),
            _ => By::Segment,
        };
        (by != By::Segment && self.history.len() > 0).then_some(by)
    }

    pub(crate) fn say(&mut self, text: String) {
        self.message = Some((text, self.now));
    }

    // ----------------------------------------------------------------------------------------------------- the keys

    pub(crate) fn key(&mut self, event: KeyEvent, now: Duration) {
        self.now = now;
        if event.kind == KeyEventKind::Release {
            return;
        }
        if self.orders.editing.is_none() || !self.edit(event) {
            match (action(event), self.help) {
                (None, _) => return,
                (Some(action), None) => self.act(action),
                (Some(action), Some(_)) => self.help_key(action),
            }
        }
        self.go_on(now);
    }

    fn help_key(&mut self, action: Action) {
        match action {
            Action::Help | Action::Back | Action::Quit | Action::Enter => self.help = None,
            Action::Go(_) => {
                self.help = None;
                self.act(action);
            }
            Action::Up | Action::Down | Action::PageUp | Action::PageDown | Action::Home | Action::End => {
                self.act(action);
            }
            Action::Redraw | Action::Suspend | Action::Theme => self.act(action),
            _ => {}
        }
    }

    /// A key of the filter's line. False where it is none.
    fn edit(&mut self, event: KeyEvent) -> bool {
        let Some((mut text, _)) = self.orders.editing.take() else { return false };
        let is_ctrl = event.modifiers.contains(KeyModifiers::CONTROL);
        match event.code {
            KeyCode::Char('u') if is_ctrl => text.clear(),
            KeyCode::Char('w') if is_ctrl => text.truncate(text.trim_end().rfind(' ').map_or(0, |at| at + 1)),
            KeyCode::Char(_) if is_ctrl => {
                self.orders.editing = Some((text, None));
                return false;
            }
            KeyCode::Char(char) => text.push(char),
            KeyCode::Backspace => _ = text.pop(),
            KeyCode::Esc => return true,
            KeyCode::Enter => {
                if let Err(wrong) = Filter::parse(&text) {
                    self.orders.editing = Some((text, Some(wrong)));
                } else {
                    self.selected[Screen::Orders.number() - 1] = 0;
                }
                return true;
            }
            _ => {}
        }
        // What is selected follows what is written; where that is wrong, the last good filter stays.
        let parsed = Filter::parse(&text);
        if let Ok(filter) = &parsed {
            (self.orders.filter, self.orders.text) = (filter.clone(), text.clone());
            self.orders.forget_lines();
            self.selected[Screen::Orders.number() - 1] = 0;
        }
        self.orders.editing = Some((text, parsed.err()));
        true
    }

    pub(crate) fn mouse(&mut self, event: MouseEvent, tab: Option<Screen>, line: Option<usize>, now: Duration) {
        self.now = now;
        match event.kind {
            MouseEventKind::ScrollUp => self.act(Action::Up),
            MouseEventKind::ScrollDown => self.act(Action::Down),
            MouseEventKind::Down(_) => {
                if let Some(screen) = tab {
                    self.act(Action::Go(screen));
                } else if let Some(line) = line.filter(|_| self.help.is_none() && self.drill.is_none()) {
                    // A second click opens what the first one has selected.
                    if self.selected() == line { self.act(Action::Enter) } else { self.select(line) }
                }
            }
            _ => {}
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Quit => self.effects.push(Effect::Quit),
            // Its moments still come: there is nothing yet that one could look at.
            _ if !self.is_ready()
                && !matches!(action, Action::Go(_) | Action::Help | Action::Suspend | Action::Redraw) => {}
            Action::Suspend => self.effects.push(Effect::Suspend),
            Action::Redraw => self.effects.push(Effect::Redraw),
            Action::Help => self.help = Some(0),
            Action::Go(screen) => self.go(screen),
            Action::NextScreen => self.go(beside(&Screen::ALL, self.screen, 1)),
            Action::PreviousScreen => self.go(beside(&Screen::ALL, self.screen, -1)),
            Action::Up => self.step(-1),
            Action::Down => self.step(1),
            Action::PageUp => self.step(-(i64::try_from(self.page.get()).unwrap_or(1))),
            Action::PageDown => self.step(i64::try_from(self.page.get()).unwrap_or(1)),
            Action::Home => self.step(i64::MIN / 2),
            Action::End => self.step(i64::MAX / 2),
            Action::Left => self.aside(-1),
            Action::Right => self.aside(1),
            Action::Enter => self.enter(),
            Action::Back => self.back(),
            Action::Unit => {
                self.unit = self.unit.next();
                self.say(format!("latencies in {}", self.unit.name()));
            }
            Action::Scale => self.is_log = !self.is_log,
            Action::Theme => {
                self.styles = Styles::new(self.styles.theme.next(), self.depth);
                self.say(format!("theme: {}", self.styles.theme.name()));
            }
            Action::Span => {
                self.span = self.span.next();
                self.say(format!("figures and charts are of the {}", self.span.name()));
            }
            Action::Freeze
            | Action::StepBack
            | Action::StepForward
            | Action::SlowerOrderBack
            | Action::SlowerOrderForward
            | Action::VerdictBack
            | Action::VerdictForward
            | Action::Latest
            | Action::Faster
            | Action::Slower => self.travel(action),
            _ => self.figure(action),
        }
    }

    /// Keys that are about what is shown on one screen.
    fn figure(&mut self, action: Action) {
        match action {
            Action::Sort if self.screen == Screen::Orders => {
                self.orders.sort = self.orders.sort.next();
                self.orders.forget_lines();
            }
            Action::Reverse if self.screen == Screen::Orders => {
                self.orders.is_reversed = !self.orders.is_reversed;
                self.orders.forget_lines();
            }
            Action::Sort => self.sort = self.sort.next(),
            Action::Reverse => self.is_reversed = !self.is_reversed,
            Action::Group => {
                (self.by, self.asked_groups) = (self.by.next(), None);
                self.selected[Screen::Segments.number() - 1] = 0;
                self.go(Screen::Segments);
            }
            Action::Segment => self.next_segment(1),
            Action::Curve => {
                self.shown = beside(&[Shown::Both, Shown::Histogram, Shown::Curve], self.shown, 1);
            }
            Action::Baseline => self.keep_baseline(),
            Action::Compare => self.is_compared = !self.is_compared,
            Action::Filter => {
                self.drill = None;
                self.go(Screen::Orders);
                self.orders.editing = Some((self.orders.text.clone(), None));
            }
            Action::NextOrder => self.other_order(1),
            Action::PreviousOrder => self.other_order(-1),
            Action::Packets => self.ask_packets(true),
            Action::Export => match export::shown(self) {
                Ok((name, bytes, what)) => self.effects.push(Effect::Write { name, bytes, what }),
                Err(text) => self.say(text.to_owned()),
            },
            Action::Copy => {
                if let Some(row) = self.selected_order() {
                    let text = row.clordid.to_string();
                    self.say(format!("copied {text}"));
                    self.effects.push(Effect::Copy(text));
                }
            }
            _ => {}
        }
    }

    fn go(&mut self, screen: Screen) {
        if screen != self.screen {
            self.drill = None;
            self.orders.editing = None;
        }
        self.screen = screen;
    }

    // ------------------------------------------------------------------------------------------------------- moving

    fn select(&mut self, line: usize) {
        self.selected[self.screen.number() - 1] = line;
    }

    fn step(&mut self, by: i64) {
        let moved = |from: usize, last: usize| {
            let from = i64::try_from(from).unwrap_or(0);
            let last = i64::try_from(last).unwrap_or(0);
            usize::try_from(from.saturating_add(by).clamp(0, last.max(0))).unwrap_or(0)
        };
        if let Some(above) = self.help.as_mut().or(self.drill.as_mut().map(|drill| &mut drill.above)) {
            *above = moved(*above, self.below.get());
            return;
        }
        let last = match self.screen {
            Screen::Overview | Screen::Histogram => 0,
            Screen::Segments => self.segment_lines().len().saturating_sub(1),
            Screen::Orders => self.orders.lines.len().saturating_sub(1),
            Screen::Sessions | Screen::Health => self.below.get(),
        };
        if self.screen == Screen::Histogram {
            self.next_segment(if by < 0 { -1 } else { 1 });
        } else {
            self.select(moved(self.selected(), last));
        }
    }

    fn aside(&mut self, by: i64) {
        let moved = |from: usize| usize::try_from(i64::try_from(from).unwrap_or(0) + by).unwrap_or(0);
        if let Some(drill) = &mut self.drill {
            let last = drill
                .frames
                .as_ref()
                .and_then(|frames| frames.as_ref().ok())
                .map_or(0, |all| all.len().saturating_sub(1));
            (drill.frame, drill.above) = (moved(drill.frame).min(last), 0);
            return;
        }
        match self.screen {
            Screen::Histogram => {
                let last = self.columns.get().saturating_sub(1);
                self.cursor = Some(self.cursor.map_or(self.median.get(), |cursor| moved(cursor.min(last))).min(last));
            }
            Screen::Segments if self.by != By::Segment => self.next_segment(if by < 0 { -1 } else { 1 }),
            Screen::Overview => self.travel(if by < 0 { Action::StepBack } else { Action::StepForward }),
            _ => {}
        }
    }

    /// The next one that has samples.
    fn next_segment(&mut self, by: isize) {
        let Some(last) = self.history.last() else { return };
        let names: Vec<&str> =
            last.segments.0.iter().filter(|(_, it)| it.n > 0).map(|(name, _)| name.as_str()).collect();
        if !names.is_empty() {
            self.segment = beside(&names, self.chosen(), by).to_owned();
        }
        self.cursor = None;
    }

    fn enter(&mut self) {
        match self.screen {
            Screen::Overview => self.go(Screen::Orders),
            Screen::Segments => {
                let lines = self.segment_lines();
                let Some((name, _)) = lines.get(self.selected()) else { return };
                match self.by {
                    By::Segment => (self.segment, self.group) = (name.clone(), None),
                    by => self.group = Some((by, name.clone())),
                }
                self.cursor = None;
                self.go(Screen::Histogram);
            }
            Screen::Orders if self.drill.is_none() => {
                if let Some(row) = self.orders.lines.get(self.selected()).cloned() {
                    self.open(row);
                }
            }
            Screen::Orders => self.toggle_part(),
            Screen::Histogram => self.list_from_cursor(),
            Screen::Sessions | Screen::Health => {}
        }
    }

    /// The orders that are at least as slow as the value below the cursor.
    fn list_from_cursor(&mut self) {
        let segment = self.chosen().to_owned();
        let Some(value_ns) = self.cursor_ns.get() else { return };
        let text = format!("{segment}>{value_ns}ns");
        let text = match &self.group {
            Some((by, name)) if *by != By::Method || name != "none" => format!("{}:{name} {text}", by.name()),
            _ => text,
        };
        match Filter::parse(&text) {
            Ok(filter) => {
                (self.orders.filter, self.orders.text) = (filter, text);
                self.orders.forget_lines();
                self.selected[Screen::Orders.number() - 1] = 0;
                self.go(Screen::Orders);
            }
            Err(_) => self.say(format!("orders have no column {segment}")),
        }
    }

    fn back(&mut self) {
        if self.drill.as_ref().is_some_and(|drill| drill.part == Part::Packets) {
            self.toggle_part();
        } else if self.drill.take().is_some() {
        } else if self.screen == Screen::Orders && !self.orders.filter.is_empty() {
            (self.orders.filter, self.orders.text) = (Filter::default(), String::new());
            self.orders.forget_lines();
        } else if self.screen == Screen::Histogram {
            self.group = None;
            self.go(Screen::Segments);
        } else {
            self.go(Screen::Overview);
        }
    }

    // ------------------------------------------------------------------------------------------------------- orders

    fn open(&mut self, row: Arc<crate::rows::Row>) {
        let question = json!({ "query": "order", "session": &*row.session, "clordid": &*row.clordid });
        self.effects.push(Effect::Ask(question.to_string()));
        self.drill = Some(Drill::new(row));
    }

    fn selected_order(&self) -> Option<&Arc<crate::rows::Row>> {
        self.drill
            .as_ref()
            .map(|drill| &drill.row)
            .or_else(|| self.orders.lines.get(self.selected()).filter(|_| self.screen == Screen::Orders))
    }

    fn other_order(&mut self, by: i64) {
        let Some(drill) = &self.drill else { return };
        let part = drill.part;
        let at = self.orders.lines.iter().position(|row| Arc::ptr_eq(row, &drill.row)).unwrap_or(self.selected());
        let next = usize::try_from(i64::try_from(at).unwrap_or(0) + by).ok();
        let Some((next, row)) = next.and_then(|next| Some((next, self.orders.lines.get(next)?.clone()))) else {
            return self.say("that was the last one of the list".to_owned());
        };
        self.select(next);
        self.open(row);
        if part == Part::Packets {
            self.toggle_part();
        }
    }

    fn toggle_part(&mut self) {
        let Some(drill) = &mut self.drill else { return };
        drill.above = 0;
        drill.part = match drill.part {
            Part::Candidates => Part::Packets,
            Part::Packets => Part::Candidates,
        };
        if drill.part == Part::Packets && drill.frames.is_none() {
            self.ask_packets(false);
        }
    }

    /// Asks for the packets of the order that is looked into, or that is selected.
    fn ask_packets(&mut self, is_to_be_written: bool) {
        if self.drill.is_none() {
            let Some(row) = self.selected_order().cloned() else {
                return self.say("packets are those of an order: choose one on screen 4".to_owned());
            };
            self.open(row);
        }
        let Some(drill) = &mut self.drill else { return };
        drill.is_to_be_written |= is_to_be_written;
        let (session, clordid) = (&*drill.row.session, &*drill.row.clordid);
        let question = json!({ "query": "packets", "session": session, "clordid": clordid });
        self.effects.push(Effect::Ask(question.to_string()));
        if is_to_be_written {
            self.say(format!("looking for the packets of {}", self.drill.as_ref().map_or("it", |it| &it.row.clordid)));
        }
    }

    fn keep_baseline(&mut self) {
        let Some(figures) = self.chosen_figures() else { return };
        let at = self.snapshot().map_or(0, |shown| shown.t_ns);
        let label = format!("{} up to {}", self.span.name(), (self.zone)(at));
        self.say(format!("baseline: {} requests of the {label}", grouped(figures.n)));
        self.baseline = Some(Baseline { segment: self.chosen().to_owned(), label, figures });
        self.is_compared = true;
    }
}
