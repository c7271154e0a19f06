//! The screen of tickscope. It draws what a socket tells, one JSON document a line (tickscope-socket(7)): snapshots of figures and
//! answers to questions. It computes no latency of its own, so what it shows is what the others show. Lines come in at `link`, are
//! read in `wire`, remembered in `history` and `rows`, changed by keys in `app`, and drawn by one file a screen in `panel`.

mod app;
mod chart;
mod export;
mod filter;
mod history;
mod keys;
mod link;
mod panel;
mod rows;
mod terminal;
mod theme;
mod units;
mod wire;

#[cfg(test)]
mod tests;

use std::os::unix::net::UnixStream;
use std::path::PathBuf;

pub use keys::key_table;
pub use link::newest_line as once_json;
pub use terminal::{Ended, once, run};
pub use theme::Theme;

/// Where snapshots come from.
#[derive(Debug)]
pub enum Connection {
    /// A daemon's socket. Where it is lost, it is looked for again.
    Daemon(PathBuf),
    /// Somebody in this process. Where it ends, so does the screen.
    Given(UnixStream),
}

/// A frame of a request, for people.
#[derive(Clone, Debug, Default)]
pub struct FrameView {
    pub title: String,
    pub t_ns: u64,
    pub tap: String,
    pub bytes: Vec<u8>,
    /// Names and values; an inner name is indented by two spaces a level.
    pub fields: Vec<(String, String)>,
}

/// Reads the frames of a pcapng that the socket answers; the error is for people.
pub type Dissect = Box<dyn Fn(&[u8]) -> Result<Vec<FrameView>, String> + Send>;

/// A time of day of nanoseconds since the epoch, in the user's time zone: `14:31:22.123456789`.
pub type Zone = Box<dyn Fn(u64) -> String + Send>;

/// The screens, in the order of their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Screen {
    Overview,
    Segments,
    Histogram,
    Orders,
    Sessions,
    Health,
}

impl Screen {
    pub const ALL: [Screen; 6] =
        [Screen::Overview, Screen::Segments, Screen::Histogram, Screen::Orders, Screen::Sessions, Screen::Health];

    pub fn name(self) -> &'static str {
        match self {
            Screen::Overview => "overview",
            Screen::Segments => "segments",
            Screen::Histogram => "histogram",
            Screen::Orders => "orders",
            Screen::Sessions => "sessions",
            Screen::Health => "health",
        }
    }

    pub fn parse(name: &str) -> Option<Screen> {
        Screen::ALL.into_iter().find(|screen| screen.name() == name)
    }

    /// The number that chooses it.
    fn number(self) -> usize {
        Screen::ALL.iter().position(|screen| *screen == self).map_or(1, |at| at + 1)
    }
}

/// How the screen looks and what it is told.
pub struct Options {
    /// The first one.
    pub screen: Screen,
    pub theme: Theme,
    /// No characters beyond ASCII.
    pub is_ascii: bool,
    pub has_mouse: bool,
    /// Limits that are marked: a segment's name, and nanoseconds.
    pub budgets: Vec<(String, u64)>,
    pub zone: Zone,
    /// Of this program.
    pub version: &'static str,
    /// What is shown: files, interfaces, or a socket.
    pub title: String,
}

/// That of a list by which another follows this one, and the first behind the last; backwards where `by` is negative.
fn beside<T: Copy + PartialEq>(all: &[T], one: T, by: isize) -> T {
    let at = all.iter().position(|known| *known == one).unwrap_or(0);
    let count = all.len().cast_signed();
    all[(at.cast_signed() + by).rem_euclid(count).cast_unsigned()]
}
