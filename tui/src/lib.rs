//! The screen. A stand-in with the interface of the real one, which replaces it: it prints a few words instead of drawing.

use std::io::{self, BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use serde_json::Value;

/// Where snapshots come from.
pub enum Connection {
    Daemon(PathBuf),
    Given(UnixStream),
}

/// A frame of a request, for people. `fields` are name and value, indented by two spaces a level.
pub struct FrameView {
    pub title: String,
    pub t_ns: u64,
    pub tap: String,
    pub bytes: Vec<u8>,
    pub fields: Vec<(String, String)>,
}

/// Reads the pcapng that the query `packets` answers.
pub type Dissect = Box<dyn Fn(&[u8]) -> Result<Vec<FrameView>, String> + Send>;

/// Nanoseconds since the epoch to a text.
pub type Zone = Box<dyn Fn(u64) -> String + Send>;

macro_rules! names {
    ($(#[$doc:meta])* $type:ident: $($variant:ident = $name:literal),*) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $type { $($variant),* }
        impl $type {
            pub const ALL: &'static [$type] = &[$($type::$variant),*];
            pub fn name(self) -> &'static str { match self { $($type::$variant => $name),* } }
        }
    };
}

names! {
    /// Which screen.
    Screen: Overview = "overview", Segments = "segments", Histogram = "histogram", Orders = "orders", Sessions = "sessions", Health = "health"
}
names! {
    /// Which colours.
    Theme: Dark = "dark", Light = "light", ColourBlind = "colour-blind", None = "none"
}

/// How it looks.
pub struct Options {
    pub screen: Screen,
    pub theme: Theme,
    pub is_ascii: bool,
    pub has_mouse: bool,
    pub budgets: Vec<(String, u64)>,
    pub zone: Zone,
    pub version: &'static str,
    pub title: String,
}

/// How the screen ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Quit,
    Closed,
    /// By this signal, which the process is to end by.
    Signal(i32),
}

/// Until the user quits.
#[allow(clippy::needless_pass_by_value, reason = "the real one keeps them")]
pub fn run(connection: Connection, _options: Options, _dissect: Dissect) -> io::Result<Ended> {
    lines(connection)?.try_for_each(|line| line.map(drop))?;
    Ok(Ended::Closed)
}

/// One frame as text.
#[allow(clippy::needless_pass_by_value, reason = "the real one keeps them")]
pub fn once(connection: Connection, options: Options, _dissect: Dissect, size: (u16, u16)) -> Result<String, String> {
    let line = once_json(connection)?;
    let snapshot: Value = serde_json::from_str(&line).map_err(|error| error.to_string())?;
    Ok(format!("{} {}x{} requests {}", options.title, size.0, size.1, snapshot["requests"]))
}

/// The newest snapshot line.
pub fn once_json(connection: Connection) -> Result<String, String> {
    let mut error = "nothing was told".to_owned();
    for line in lines(connection).map_err(|error| error.to_string())? {
        let line = line.map_err(|error| error.to_string())?;
        let value: Value = serde_json::from_str(&line).map_err(|error| error.to_string())?;
        if let Some(text) = value["error"].as_str() {
            text.clone_into(&mut error);
        }
        if value["is_last"] == true || value["of_capture"] == false {
            return Ok(line);
        }
    }
    Err(error)
}

fn lines(connection: Connection) -> io::Result<io::Lines<BufReader<UnixStream>>> {
    let stream = match connection {
        Connection::Daemon(path) => UnixStream::connect(path)?,
        Connection::Given(stream) => stream,
    };
    Ok(BufReader::new(stream).lines())
}

/// For the manual page: groups of keys, each key (as it is written) with what it does.
pub fn key_table() -> Vec<(&'static str, Vec<(String, &'static str)>)> {
    vec![("Everywhere", vec![("q".to_owned(), "leave the screen; a daemon goes on")])]
}
