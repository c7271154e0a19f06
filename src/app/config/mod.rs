//! The configuration: which file is read, what it says, and how the command line changes it.
//! Format: INTERFACE.md and tickscope-config(5).

mod budget_keys;
pub mod command;
pub mod duration;
pub mod instruments;
pub mod keys;
mod kinds;
pub mod live_keys;
mod order_tag;
mod parse;
pub mod settings;
mod show;
mod tap;

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use tickscope_model::Nanos;

use self::keys::{Table, known};
pub use self::parse::Problem;
pub use self::settings::Settings;
use self::settings::{Entry, Origin, TapSetting};
pub use self::tap::TapArg;
use crate::capture::stamp::Trailer;

/// The file that is read where nothing names one, in the working directory.
const LOCAL: &str = "tickscope.toml";

/// Why a file is read that the command line names.
pub const NAMED: &str = "command line";

/// A configuration file, and what made us read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub path: PathBuf,
    /// For people: [`NAMED`], `environment, $TICKSCOPE_CONFIG`, `working directory` …
    pub because: &'static str,
}

/// The result of looking for a configuration file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    pub found: Option<Found>,
    /// `./tickscope.toml` exists and is not read, since root should not obey whoever wrote to the folder.
    pub is_local_refused: bool,
}

/// What the search depends on; a value, so that tests need no process of their own.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// `$TICKSCOPE_CONFIG`, `$XDG_CONFIG_HOME` and `$HOME`; a variable that is empty is as good as absent.
    pub tickscope_config: Option<OsString>,
    pub xdg_config_home: Option<OsString>,
    pub home: Option<OsString>,
    pub is_root: bool,
}

impl Surroundings {
    pub fn of_process() -> Surroundings {
        let variable = |name| env::var_os(name).filter(|value| !value.is_empty());
        Surroundings {
            tickscope_config: variable("TICKSCOPE_CONFIG"),
            xdg_config_home: variable("XDG_CONFIG_HOME"),
            home: variable("HOME"),
            is_root: rustix::process::geteuid().is_root(),
        }
    }
}

/// Looks for the file in the order of INTERFACE.md. A file that is named must exist, which reading it tells.
pub fn search(option: Option<&Path>, around: &Surroundings, exists: impl Fn(&Path) -> bool) -> Search {
    let found = |path: PathBuf, because| Search { found: Some(Found { path, because }), is_local_refused: false };
    if let Some(path) = option {
        return found(path.to_owned(), NAMED);
    }
    if let Some(path) = &around.tickscope_config {
        return found(path.into(), "environment, $TICKSCOPE_CONFIG");
    }
    let is_local = exists(Path::new(LOCAL));
    if is_local && !around.is_root {
        return found(LOCAL.into(), "working directory");
    }
    // The XDG base directory specification: a relative path in the variable is to be ignored.
    let xdg = around.xdg_config_home.as_ref().map(PathBuf::from).filter(|path| path.is_absolute());
    let user = xdg.or_else(|| around.home.as_ref().map(|home| Path::new(home).join(".config")));
    let places = [
        (user.map(|folder| folder.join("tickscope/config.toml")), "user's configuration"),
        (Some(PathBuf::from("/etc/tickscope/config.toml")), "system's configuration"),
    ];
    let first = places.into_iter().find_map(|(path, because)| path.filter(|path| exists(path)).map(|p| (p, because)));
    Search { found: first.map(|(path, because)| Found { path, because }), is_local_refused: is_local }
}

/// Reads a file. The settings hold what was understood; problems are sorted by place.
/// An error is only that the file cannot be read.
pub fn read(path: &Path) -> anyhow::Result<(Settings, Vec<Problem>)> {
    let text = read_text(path, "configuration", 1 << 20)?;
    let (mut settings, problems) = parse::parse(&text, path.parent().unwrap_or(Path::new("")));
    settings.file = Some(path.to_owned());
    Ok((settings, problems))
}

/// Reads a text file of at most this many bytes; `what` names it in errors.
fn read_text(path: &Path, what: &str, limit: u64) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(limit + 1).read_to_end(&mut bytes))
        .with_context(|| format!("{}: cannot read the {what}", path.display()))?;
    if bytes.len() as u64 > limit {
        bail!("{}: byte {limit}: too long for the {what}", path.display());
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(error) => bail!("{}: byte {}: not UTF-8 text", path.display(), error.utf8_error().valid_up_to()),
    }
}

/// Reads the file that a search found, all of which must be right; without one, the defaults.
pub fn load(search: &Search) -> anyhow::Result<Settings> {
    let Some(found) = &search.found else { return Ok(Settings::default()) };
    let path = found.path.display();
    let (settings, problems) = read(&found.path)?;
    match problems.as_slice() {
        [] => Ok(settings),
        [only] => bail!("{path}:{only}"),
        [first, rest @ ..] => {
            bail!("{path}:{first} (and {} more: tickscope config check {path})", rest.len())
        }
    }
}

/// What the command line says on top of a file.
#[derive(Clone, Debug, Default)]
pub struct Overrides<'a> {
    /// `--offset`.
    pub offsets: &'a [TapOffset],
    /// `--trailer`.
    pub trailers: &'a [TapTrailer],
    /// `--window`.
    pub window: Option<Nanos>,
    /// `--instruments`.
    pub instruments: Option<&'a Path>,
    /// `--socket`.
    pub socket: Option<&'a Path>,
    /// `--metrics`.
    pub metrics: Option<SocketAddr>,
}

/// One `--offset TAP=DURATION`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapOffset {
    pub tap: String,
    pub offset: Nanos,
}

/// One `--trailer [TAP=]FORMAT`; without a tap, for all that have none of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapTrailer {
    pub tap: Option<String>,
    pub name: &'static str,
    pub trailer: Trailer,
}

impl Settings {
    /// Puts the command line on top of the file: it replaces, it does not add.
    pub fn apply(&mut self, overrides: &Overrides<'_>) {
        for TapTrailer { tap, name, trailer } in overrides.trailers {
            let Some(tap) = tap else {
                self.trailer = Some(*trailer);
                continue;
            };
            let index = self.tap_index(tap, "--trailer");
            self.taps[index].trailer = Some(*trailer);
            self.say(Table::Tap, index, "trailer", parse::quote(name), "--trailer");
        }
        for TapOffset { tap, offset } in overrides.offsets {
            let index = self.tap_index(tap, "--offset");
            self.taps[index].offset = *offset;
            self.say(Table::Tap, index, "offset", parse::quote(&duration::text(*offset)), "--offset");
        }
        if let Some(window) = overrides.window {
            self.trigger.window = window;
            self.say(Table::Trigger, 0, "window", parse::quote(&duration::text(window)), "--window");
        }
        if let Some(path) = overrides.instruments {
            self.instruments = Some(path.to_owned());
            self.say(Table::Instruments, 0, "file", parse::quote(&path.to_string_lossy()), "--instruments");
        }
        if let Some(path) = overrides.socket {
            self.live.socket = settings::socket(path.to_owned());
            self.say(Table::Live, 0, "socket", parse::quote(&path.to_string_lossy()), "--socket");
        }
        if let Some(address) = overrides.metrics {
            self.live.metrics = Some(address);
            self.say(Table::Live, 0, "metrics", parse::quote(&address.to_string()), "--metrics");
        }
    }

    /// Where the tap of this name is, or is from now on.
    fn tap_index(&mut self, tap: &str, option: &'static str) -> usize {
        self.taps.iter().position(|known| known.name == tap).unwrap_or_else(|| {
            self.taps.push(TapSetting { name: tap.to_owned(), ..TapSetting::default() });
            let index = self.taps.len() - 1;
            self.say(Table::Tap, index, "name", parse::quote(tap), option);
            index
        })
    }

    fn say(&mut self, table: Table, index: usize, name: &str, value: String, option: &'static str) {
        self.set_entry(Entry { key: known(table, name), index, value, origin: Origin::CommandLine(option) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_the_promised_places_is_read() {
        let around = Surroundings {
            tickscope_config: None,
            xdg_config_home: Some("/x".into()),
            home: Some("/home/u".into()),
            is_root: false,
        };
        let all = |_: &Path| true;
        let path = |search: Search| search.found.map(|found| found.path.display().to_string());
        assert_eq!(path(search(Some(Path::new("a")), &around, all)).as_deref(), Some("a"));
        let named = Surroundings { tickscope_config: Some("b".into()), ..around.clone() };
        assert_eq!(path(search(None, &named, all)).as_deref(), Some("b"));
        assert_eq!(path(search(None, &around, all)).as_deref(), Some("tickscope.toml"));
        let not_local = |path: &Path| path != Path::new(LOCAL);
        assert_eq!(path(search(None, &around, not_local)).as_deref(), Some("/x/tickscope/config.toml"));
        let no_xdg = Surroundings { xdg_config_home: Some("relative".into()), ..around.clone() };
        assert_eq!(path(search(None, &no_xdg, not_local)).as_deref(), Some("/home/u/.config/tickscope/config.toml"));
        let etc = |path: &Path| path.starts_with("/etc");
        assert_eq!(path(search(None, &around, etc)).as_deref(), Some("/etc/tickscope/config.toml"));
        assert_eq!(search(None, &around, |_| false), Search::default());
        // Root does not read the working directory's file, and is told.
        let root = Surroundings { is_root: true, ..around };
        let result = search(None, &root, all);
        assert!(result.is_local_refused);
        assert_eq!(path(result).as_deref(), Some("/x/tickscope/config.toml"));
    }

    #[test]
    fn the_command_line_replaces_what_the_file_says() {
        let (mut settings, _) = parse::parse("[[tap]]\nname = \"md\"\noffset = \"1us\"\n", Path::new(""));
        let offsets =
            [TapOffset { tap: "md".into(), offset: Nanos(5) }, TapOffset { tap: "new".into(), offset: Nanos(-6) }];
        let trailers = [
            TapTrailer { tap: None, name: "none", trailer: Trailer::None },
            TapTrailer { tap: Some("md".into()), name: "ixia", trailer: Trailer::named("ixia").expect("a format") },
        ];
        settings.apply(&Overrides {
            offsets: &offsets,
            trailers: &trailers,
            window: Some(Nanos(7)),
            instruments: Some(Path::new("i")),
            socket: Some(Path::new("none")),
            metrics: settings::metrics_address("9464").ok(),
        });
        assert_eq!(settings.live.socket, settings::SocketSetting::None);
        assert_eq!(settings.live.metrics.map(|address| address.to_string()).as_deref(), Some("127.0.0.1:9464"));
        assert_eq!(settings.trailer, Some(Trailer::None));
        assert_eq!(settings.tap("md").and_then(|tap| tap.trailer), Trailer::named("ixia"));
        assert_eq!(settings.tap("md").map(|tap| tap.offset), Some(Nanos(5)));
        assert_eq!(settings.tap("new").map(|tap| tap.offset), Some(Nanos(-6)));
        assert_eq!((settings.trigger.window, settings.instruments.as_deref()), (Nanos(7), Some(Path::new("i"))));
        let entry = settings.entry(Table::Tap, 0, "offset").expect("an entry");
        assert_eq!((entry.value.as_str(), entry.origin), ("\"5ns\"", Origin::CommandLine("--offset")));
        let absent: Vec<&str> = settings.absent_taps(&["md"]).iter().map(|tap| tap.name.as_str()).collect();
        assert_eq!(absent, ["new"]);
    }
}
