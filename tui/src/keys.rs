//! The keys: one table, which the screen obeys, and which the help, the line at the bottom and the manual page are made of.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::Screen;

/// What a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Quit,
    Help,
    Go(Screen),
    NextScreen,
    PreviousScreen,
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    Home,
    End,
    Enter,
    Back,
    Filter,
    Freeze,
    StepBack,
    StepForward,
    SlowerOrderBack,
    SlowerOrderForward,
    VerdictBack,
    VerdictForward,
    Latest,
    Faster,
    Slower,
    Sort,
    Reverse,
    Group,
    Segment,
    Span,
    Unit,
    Scale,
    Curve,
    Baseline,
    Compare,
    Export,
    Packets,
    Copy,
    NextOrder,
    PreviousOrder,
    Theme,
    Redraw,
    Suspend,
}

/// A key as it is pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Char(char),
    Ctrl(char),
    Named(KeyCode, &'static str),
}

impl Key {
    fn matches(self, event: KeyEvent) -> bool {
        let is_ctrl = event.modifiers.contains(KeyModifiers::CONTROL);
        match self {
            Key::Char(char) => event.code == KeyCode::Char(char) && !is_ctrl,
            Key::Ctrl(char) => event.code == KeyCode::Char(char) && is_ctrl,
            Key::Named(code, _) => event.code == code,
        }
    }

    pub(crate) fn text(self) -> String {
        match self {
            Key::Char(' ') => "Space".to_owned(),
            Key::Char(char) => char.to_string(),
            Key::Ctrl(char) => format!("Ctrl-{}", char.to_ascii_uppercase()),
            Key::Named(_, name) => name.to_owned(),
        }
    }
}

/// A line of the table.
pub(crate) struct Binding {
    pub(crate) keys: &'static [Key],
    pub(crate) action: Action,
    pub(crate) group: Group,
    /// One or two words for the bottom line; empty where it does not stand there.
    pub(crate) hint: &'static str,
    pub(crate) about: &'static str,
}

/// Keys that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    General,
    Moving,
    Time,
    Figures,
    Orders,
}

impl Group {
    pub(crate) const ALL: [Group; 5] = [Group::General, Group::Moving, Group::Time, Group::Figures, Group::Orders];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Group::General => "Everywhere",
            Group::Moving => "Moving",
            Group::Time => "Time",
            Group::Figures => "Segments and histograms",
            Group::Orders => "Orders",
        }
    }
}

const fn binding(
    keys: &'static [Key],
    action: Action,
    group: Group,
    hint: &'static str,
    about: &'static str,
) -> Binding {
    Binding { keys, action, group, hint, about }
}

const UP: Key = Key::Named(KeyCode::Up, "Up");
const DOWN: Key = Key::Named(KeyCode::Down, "Down");
const LEFT: Key = Key::Named(KeyCode::Left, "Left");
const RIGHT: Key = Key::Named(KeyCode::Right, "Right");
const ENTER: Key = Key::Named(KeyCode::Enter, "Enter");
const ESCAPE: Key = Key::Named(KeyCode::Esc, "Esc");

/// All keys.
#[rustfmt::skip]
pub(crate) static KEYS: &[Binding] = &[
    binding(&[Key::Char('q'), Key::Ctrl('c')], Action::Quit, Group::General, "quit", "Leave the screen. A daemon that is connected to goes on; `tickscope live` ends and prints its report."),
    binding(&[Key::Char('?'), Key::Named(KeyCode::F(1), "F1")], Action::Help, Group::General, "help", "This list."),
    binding(&[Key::Char('1')], Action::Go(Screen::Overview), Group::General, "", "Overview: which side slowed, and how both sides are."),
    binding(&[Key::Char('2')], Action::Go(Screen::Segments), Group::General, "", "Segments: every latency, or one by session, symbol, venue, outcome, method."),
    binding(&[Key::Char('3')], Action::Go(Screen::Histogram), Group::General, "", "Histogram and percentile curve of one segment."),
    binding(&[Key::Char('4')], Action::Go(Screen::Orders), Group::General, "", "Orders: requests, filtered and sorted."),
    binding(&[Key::Char('5')], Action::Go(Screen::Sessions), Group::General, "", "Sessions and feeds."),
    binding(&[Key::Char('6')], Action::Go(Screen::Health), Group::General, "", "Health: what was lost, clocks, queues."),
    binding(&[Key::Named(KeyCode::Tab, "Tab")], Action::NextScreen, Group::General, "", "Next screen."),
    binding(&[Key::Named(KeyCode::BackTab, "Shift-Tab")], Action::PreviousScreen, Group::General, "", "Previous screen."),
    binding(&[Key::Char('u')], Action::Unit, Group::General, "", "Unit of latencies: fitting, ns (exact), µs, ms."),
    binding(&[Key::Char('t')], Action::Theme, Group::General, "", "Next theme: dark, light, colour-blind, none."),
    binding(&[Key::Ctrl('l')], Action::Redraw, Group::General, "", "Draw everything again."),
    binding(&[Key::Ctrl('z')], Action::Suspend, Group::General, "", "Suspend; `fg` brings the screen back."),
    binding(&[Key::Char('k'), UP], Action::Up, Group::Moving, "", "Up."),
    binding(&[Key::Char('j'), DOWN], Action::Down, Group::Moving, "", "Down."),
    binding(&[Key::Char('h'), LEFT], Action::Left, Group::Moving, "", "Left: the cursor of a histogram, the segment of a grouped table, the frame of an order."),
    binding(&[Key::Char('l'), RIGHT], Action::Right, Group::Moving, "", "Right, likewise."),
    binding(&[Key::Named(KeyCode::PageUp, "PgUp"), Key::Ctrl('b')], Action::PageUp, Group::Moving, "", "A page up."),
    binding(&[Key::Named(KeyCode::PageDown, "PgDn"), Key::Ctrl('f')], Action::PageDown, Group::Moving, "", "A page down."),
    binding(&[Key::Named(KeyCode::Home, "Home")], Action::Home, Group::Moving, "", "To the first line."),
    binding(&[Key::Named(KeyCode::End, "End"), Key::Char('G')], Action::End, Group::Moving, "", "To the last line."),
    binding(&[ENTER], Action::Enter, Group::Moving, "open", "Open what is selected: a segment's histogram, an order."),
    binding(&[ESCAPE], Action::Back, Group::Moving, "", "Back: close the help, an order, the filter's line."),
    binding(&[Key::Char('f'), Key::Char(' ')], Action::Freeze, Group::Time, "freeze", "Freeze, and go on. In a capture: play from here, and pause."),
    binding(&[Key::Char('[')], Action::StepBack, Group::Time, "", "One moment back."),
    binding(&[Key::Char(']')], Action::StepForward, Group::Time, "", "One moment forward."),
    binding(&[Key::Char('{')], Action::SlowerOrderBack, Group::Time, "", "Back to the last outlier: one of the slowest requests."),
    binding(&[Key::Char('}')], Action::SlowerOrderForward, Group::Time, "", "Forward to the next outlier."),
    binding(&[Key::Char('V')], Action::VerdictBack, Group::Time, "", "Back to where the verdict changed."),
    binding(&[Key::Char('v')], Action::VerdictForward, Group::Time, "", "Forward to where the verdict changes; behind the last to the first again."),
    binding(&[Key::Char('L')], Action::Latest, Group::Time, "", "To the newest moment, and on with it."),
    binding(&[Key::Char('>')], Action::Faster, Group::Time, "", "Play faster."),
    binding(&[Key::Char('<')], Action::Slower, Group::Time, "", "Play slower."),
    binding(&[Key::Char('w')], Action::Span, Group::Time, "span", "What figures and charts are of: the whole run, or its last minute, 5 or 15 minutes. Percentiles of a part rest on buckets a sixteenth of a power of two wide and are marked ~."),
    binding(&[Key::Char('s')], Action::Sort, Group::Figures, "sort", "Sort by the next column."),
    binding(&[Key::Char('r')], Action::Reverse, Group::Figures, "", "Reverse the order."),
    binding(&[Key::Char('b')], Action::Group, Group::Figures, "by", "Group by the next: segment, session, symbol, venue, outcome, method."),
    binding(&[Key::Char('m')], Action::Segment, Group::Figures, "", "Next segment (histogram)."),
    binding(&[Key::Char('g')], Action::Scale, Group::Figures, "", "Counts on a linear or a logarithmic scale."),
    binding(&[Key::Char('e')], Action::Curve, Group::Figures, "curve", "Histogram, percentile curve, or both."),
    binding(&[Key::Char('c')], Action::Baseline, Group::Figures, "baseline", "Keep these figures as the baseline to compare with."),
    binding(&[Key::Char('C')], Action::Compare, Group::Figures, "", "Show the baseline, and hide it."),
    binding(&[Key::Char('/')], Action::Filter, Group::Orders, "filter", "Filter: words that must all hold, as symbol:MSFT t2t>50us reject -session:TEST confidence<0.9."),
    binding(&[Key::Char('n')], Action::NextOrder, Group::Orders, "", "In an order: the next one of the list."),
    binding(&[Key::Char('N')], Action::PreviousOrder, Group::Orders, "", "In an order: the one before."),
    binding(&[Key::Char('p')], Action::Packets, Group::Orders, "packets", "Write the packets of the order to a pcapng for Wireshark, into the working directory."),
    binding(&[Key::Char('x')], Action::Export, Group::Orders, "export", "Write what is shown to a file in the working directory: figures as JSON, orders as CSV, an order as JSON."),
    binding(&[Key::Char('y')], Action::Copy, Group::Orders, "", "Copy the order's ClOrdID to the clipboard (OSC 52)."),
];

/// What a pressed key does.
pub(crate) fn action(event: KeyEvent) -> Option<Action> {
    KEYS.iter().find(|binding| binding.keys.iter().any(|key| key.matches(event))).map(|binding| binding.action)
}

/// For the manual page: groups of keys, each key as it is written, with what it does.
pub fn key_table() -> Vec<(&'static str, Vec<(String, &'static str)>)> {
    let of_group = |group: Group| {
        let keys = KEYS.iter().filter(|binding| binding.group == group);
        (group.title(), keys.map(|binding| (written(binding), binding.about)).collect())
    };
    Group::ALL.into_iter().map(of_group).collect()
}

/// `k, Up`
pub(crate) fn written(binding: &Binding) -> String {
    binding.keys.iter().map(|key| key.text()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_does_two_things() {
        let all: Vec<String> = KEYS.iter().flat_map(|binding| binding.keys.iter().map(|key| key.text())).collect();
        let mut unique = all.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), all.len());
    }

    #[test]
    fn control_is_not_the_letter() {
        let press = |code, modifiers| action(KeyEvent::new(code, modifiers));
        assert_eq!(press(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Action::Quit));
        assert_eq!(press(KeyCode::Char('c'), KeyModifiers::NONE), Some(Action::Baseline));
        assert_eq!(press(KeyCode::Char('C'), KeyModifiers::SHIFT), Some(Action::Compare));
        assert_eq!(press(KeyCode::Char('%'), KeyModifiers::NONE), None);
    }

    #[test]
    fn every_group_has_keys() {
        assert!(key_table().iter().all(|(_, keys)| !keys.is_empty()));
        assert_eq!(key_table().iter().map(|(_, keys)| keys.len()).sum::<usize>(), KEYS.len());
    }
}
