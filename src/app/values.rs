//! Values of options that need more than clap knows: times, zones, captures, outputs. Text in, typed value out;
//! the error is a sentence that clap prints behind the option's name. Also the examples at the end of each help text.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::builder::TypedValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use jiff::civil;
use jiff::tz::TimeZone;
use tickscope_model::Timestamp;

use super::WrongUsage;
use super::args::{ClockArgs, SelectionArgs};
use super::config::settings::Input;
use super::config::{TapOffset, TapTrailer, duration};
use crate::capture::stamp::{TRAILERS, Trailer};

pub const EXAMPLES_MAIN: &str = "\
Examples:
  tickscope analyze captures/demo.pcap           report on one capture
  tickscope analyze md=md.pcap ord=orders.pcap   two taps, merged by time
  tickscope decode session.pcap | head           messages as JSON lines
  tickscope help analyze                         all options of a command";

pub const EXAMPLES_ANALYZE: &str = "\
Examples:
  tickscope analyze day.pcap.zst
  tickscope analyze md=md.pcap ord=orders.pcap --offset md=-37us
  tickscope analyze day.pcap --from 09:30 --to 16:00 --tz America/New_York
  tickscope analyze day.pcap --orders orders.csv --segments segments.parquet
  tickscope analyze day.pcap --json | jq .
  ssh tap cat md.pcap | tickscope analyze md=- ord=orders.pcap";

pub const EXAMPLES_DECODE: &str = "\
Examples:
  tickscope decode session.pcap
  tickscope decode day.pcap --symbol INTC --from 09:30 --to 09:31 --tz America/New_York
  tickscope decode day.pcap | jq -c 'select(.clordid == \"A17\")'";

pub const EXAMPLES_LIVE: &str = "\
Examples:
  tickscope live --tap md=eth1,point=D --tap ord=eth2,point=K
  tickscope live --tap nic=eth0,driver=afpacket,ports=9876 --orders orders.csv
  tickscope live --headless --config tickscope.toml --orders orders.jsonl --json > report.json
  tickscope live --tap md=eth1,join=233.54.12.111 --tap ord=eth2 --duration 60s";

pub const EXAMPLES_TUI: &str = "\
Examples:
  tickscope tui captures/exchange-slows.pcap
  tickscope tui --connect /run/tickscope/live.sock
  tickscope tui md=md.pcap ord=orders.pcap --budget t2t=50us --tz America/New_York
  tickscope tui day.pcap --once --size 120x40
  tickscope tui --once --json | jq .segments.t2t.p99_ns";

pub const EXAMPLES_CONFIG: &str = "\
Examples:
  tickscope config check tickscope.toml
  tickscope config show
  tickscope config show --offset md=-37us > tickscope.toml";

pub const EXAMPLES_COMPLETIONS: &str = "\
Examples:
  tickscope completions bash > ~/.local/share/bash-completion/completions/tickscope
  tickscope completions zsh > ~/.zfunc/_tickscope      (with ~/.zfunc in $fpath)
  tickscope completions fish > ~/.config/fish/completions/tickscope.fish";

/// A CAPTURE argument: `FILE`, `NAME=FILE`, `-` or `NAME=-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureArg {
    pub name: Option<String>,
    pub input: Input,
}

/// Where a table goes, and as what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableOutput {
    /// `None` is standard output.
    pub path: Option<PathBuf>,
    pub format: TableFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableFormat {
    Csv,
    Jsonl,
    Parquet,
}

/// `--tz`.
#[derive(Clone, Debug, PartialEq)]
pub struct Zone(pub TimeZone);

impl Default for Zone {
    fn default() -> Self {
        Zone(TimeZone::UTC)
    }
}

/// `--from` or `--to`; what it means in nanoseconds may depend on the first frame and the zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeArg {
    Absolute(Timestamp),
    /// A date and time in the zone of `--tz`.
    Local(civil::DateTime),
    /// A time on the first frame's day, in the zone of `--tz`.
    OfDay(civil::Time),
}

impl TimeArg {
    /// The time it stands for, in a run whose first frame was captured at `first`.
    pub fn resolve(self, first: Timestamp, zone: &Zone) -> anyhow::Result<Timestamp> {
        let local = match self {
            TimeArg::Absolute(time) => return Ok(time),
            TimeArg::Local(local) => local,
            TimeArg::OfDay(time) => {
                let first = jiff::Timestamp::from_nanosecond(i128::from(first.0)).context("time of the first frame")?;
                first.to_zoned(zone.0.clone()).date().to_datetime(time)
            }
        };
        let instant = zone.0.to_zoned(local).with_context(|| format!("{local} in the zone of --tz"))?.timestamp();
        nanos_of(instant).with_context(|| format!("{local} is before 1970"))
    }
}

impl SelectionArgs {
    /// `[from, to)` in nanoseconds, for a run whose first frame was captured at `first`.
    pub fn window(&self, first: Timestamp, zone: &Zone) -> anyhow::Result<(Timestamp, Timestamp)> {
        let from = self.from.map_or(Ok(Timestamp::MIN), |time| time.resolve(first, zone)).context("--from")?;
        let to = self.to.map_or(Ok(Timestamp::MAX), |time| time.resolve(first, zone)).context("--to")?;
        if from >= to {
            return Err(WrongUsage(format!("--from ({from}) is not before --to ({to})")).into());
        }
        Ok((from, to))
    }
}

impl ClockArgs {
    /// Refuses an `--offset` or `--trailer` for a tap that is not there: it would change nothing, silently. To be called once the
    /// captures are open, since a pcapng names its own interfaces.
    pub fn check_taps(&self, taps: &[&str]) -> anyhow::Result<()> {
        let offsets = self.offsets.iter().map(|offset| ("--offset", &offset.tap));
        let trailers = self.trailers.iter().filter_map(|trailer| Some(("--trailer", trailer.tap.as_ref()?)));
        match offsets.chain(trailers).find(|(_, tap)| !taps.contains(&tap.as_str())) {
            None => Ok(()),
            Some((option, tap)) => {
                let text = format!("{option}: there is no tap \"{tap}\"; the taps are: {}", taps.join(", "));
                Err(WrongUsage(text).into())
            }
        }
    }
}

/// Epoch integers are seconds up to 11 digits (the year 5138) and nanoseconds from 17 on (the year 1973);
/// what lies between is most likely milliseconds or microseconds, and guessing would be wrong by a factor.
pub fn time(text: &str) -> Result<TimeArg, String> {
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if is_digits(text) {
        let number: u64 = text.parse().map_err(|_| "later than the year 2554".to_owned())?;
        return match text.len() {
            0..=11 => Ok(TimeArg::Absolute(Timestamp(number * 1_000_000_000))),
            17.. => Ok(TimeArg::Absolute(Timestamp(number))),
            _ => Err("neither seconds (up to 11 digits) nor nanoseconds (17 or more) since the epoch".into()),
        };
    }
    if let Some((seconds, fraction)) = text.split_once('.').filter(|(a, b)| is_digits(a) && is_digits(b)) {
        return epoch_with_fraction(seconds, fraction)
            .ok_or_else(|| "expected at most 11 digits of seconds and 9 of a fraction (nanoseconds)".to_owned());
    }
    if let Some(time) = of_day(text) {
        return Ok(TimeArg::OfDay(time));
    }
    if let Ok(instant) = text.parse::<jiff::Timestamp>() {
        return nanos_of(instant).map(TimeArg::Absolute).ok_or_else(|| "before 1970".to_owned());
    }
    match text.parse::<civil::DateTime>() {
        Ok(local) if text.contains([':']) => Ok(TimeArg::Local(local)),
        _ => Err("expected RFC 3339 (2026-03-02T09:30:00Z), HH:MM[:SS[.frac]], or seconds or nanoseconds since the \
                  epoch"
            .into()),
    }
}

fn epoch_with_fraction(seconds: &str, fraction: &str) -> Option<TimeArg> {
    if seconds.len() > 11 || fraction.len() > 9 {
        return None;
    }
    let whole = seconds.parse::<u64>().ok()?.checked_mul(1_000_000_000)?;
    let part: u64 = format!("{fraction:0<9}").parse().ok()?;
    Some(TimeArg::Absolute(Timestamp(whole.checked_add(part)?)))
}

/// `HH:MM[:SS[.frac]]`.
fn of_day(text: &str) -> Option<civil::Time> {
    let has_form = text.as_bytes().get(2) == Some(&b':')
        && text.len() >= 5
        && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b':' || byte == b'.');
    if has_form { text.parse().ok() } else { None }
}

fn nanos_of(instant: jiff::Timestamp) -> Option<Timestamp> {
    u64::try_from(instant.as_nanosecond()).ok().map(Timestamp)
}

/// `UTC`, `local`, an IANA name, or an offset such as `+02:00`.
pub fn zone(text: &str) -> Result<Zone, String> {
    if text.eq_ignore_ascii_case("utc") || text == "Z" {
        return Ok(Zone(TimeZone::UTC));
    }
    if text.eq_ignore_ascii_case("local") {
        return TimeZone::try_system().map(Zone).map_err(|_| "the zone of this machine cannot be found out".to_owned());
    }
    if text.starts_with(['+', '-']) {
        return fixed_zone(text).map(Zone).ok_or_else(|| "expected an offset such as +02:00".to_owned());
    }
    TimeZone::get(text)
        .map(Zone)
        .map_err(|_| "expected UTC, local, a zone such as Europe/Zurich, or an offset such as +02:00".to_owned())
}

fn fixed_zone(text: &str) -> Option<TimeZone> {
    let (sign, rest) = match text.split_at_checked(1)? {
        ("-", rest) => (-1, rest),
        (_, rest) => (1, rest),
    };
    let (hours, minutes) = rest.split_once(':').unwrap_or((rest, "00"));
    let part = |text: &str, limit: i32| {
        let is_plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<i32>().ok().filter(|&number| is_plain && number < limit)
    };
    let seconds = sign * (part(hours, 24)? * 3600 + part(minutes, 60)? * 60);
    Some(TimeZone::fixed(jiff::tz::Offset::from_seconds(seconds).ok()?))
}

/// `TAP=DURATION`.
pub fn offset(text: &str) -> Result<TapOffset, String> {
    match text.rsplit_once('=') {
        Some((tap, span)) if !tap.is_empty() => Ok(TapOffset { tap: tap.to_owned(), offset: duration::parse(span)? }),
        _ => Err("expected TAP=DURATION, such as md=+37us".into()),
    }
}

/// `[TAP=]FORMAT`.
pub fn trailer(text: &str) -> Result<TapTrailer, String> {
    let (tap, name) = match text.rsplit_once('=') {
        Some((tap, name)) => (Some(tap.to_owned()).filter(|tap| !tap.is_empty()), name),
        None => (None, text),
    };
    let known = TRAILERS.iter().find(|known| **known == name);
    let found = known.and_then(|name| Some(TapTrailer { tap: tap.clone(), name, trailer: Trailer::named(name)? }));
    found
        .filter(|_| !text.starts_with('='))
        .ok_or_else(|| format!("expected [TAP=]FORMAT with one of: {}", TRAILERS.join(", ")))
}

/// A table's file; the format goes by its ending.
pub fn table_output(text: &str) -> Result<TableOutput, String> {
    if text == "-" {
        return Ok(TableOutput { path: None, format: TableFormat::Csv });
    }
    let format = match Path::new(text).extension().and_then(OsStr::to_str) {
        Some("csv") => TableFormat::Csv,
        Some("jsonl") => TableFormat::Jsonl,
        Some("parquet") => TableFormat::Parquet,
        _ => {
            return Err("expected a name that ends in .csv, .jsonl or .parquet, or - for CSV on standard output".into());
        }
    };
    Ok(TableOutput { path: Some(text.into()), format })
}

/// Reads CAPTURE arguments; file names need not be UTF-8.
pub fn capture() -> impl TypedValueParser<Value = CaptureArg> {
    CaptureParser
}

#[derive(Clone)]
struct CaptureParser;

impl TypedValueParser for CaptureParser {
    type Value = CaptureArg;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<Self::Value, clap::Error> {
        split_capture(value, Path::exists).ok_or_else(|| {
            let mut error = clap::Error::new(ErrorKind::InvalidValue).with_cmd(command);
            let name = argument.map(ToString::to_string).unwrap_or_default();
            error.insert(ContextKind::InvalidArg, ContextValue::String(name));
            error.insert(ContextKind::InvalidValue, ContextValue::String(value.to_string_lossy().into_owned()));
            error
        })
    }
}

/// An existing path is a file whatever is in its name; else what stands before the first `=` is a name, if it can be one.
/// So `./a=b.pcap` is always a file: names hold no slash.
fn split_capture(text: &OsStr, exists: impl Fn(&Path) -> bool) -> Option<CaptureArg> {
    let input = |text: &OsStr| match text {
        text if text.is_empty() => None,
        text if text == "-" => Some(Input::Stdin),
        text => Some(Input::File(text.into())),
    };
    let whole = || Some(CaptureArg { name: None, input: input(text)? });
    if exists(Path::new(text)) {
        return whole();
    }
    let bytes = text.as_encoded_bytes();
    let Some(at) = bytes.iter().position(|&byte| byte == b'=') else { return whole() };
    let name = text.to_string_lossy().split_once('=').map(|(name, _)| name.to_owned()).unwrap_or_default();
    if !is_tap_name(&name) {
        return whole();
    }
    Some(CaptureArg { name: Some(name), input: input(&tail(text, at + 1))? })
}

/// The text from a byte position on, which lies behind an ASCII letter.
fn tail(text: &OsStr, from: usize) -> OsString {
    use std::os::unix::ffi::OsStrExt;
    OsStr::from_bytes(text.as_bytes().get(from..).unwrap_or_default()).to_owned()
}

fn is_tap_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|letter| letter.is_alphanumeric() || "_-.".contains(letter))
}

pub const EXAMPLES_SIM: &str = "\
Examples:
  tickscope sim --list
  tickscope sim exchange-slows --seed 7 --write out
  tickscope sim calm --live --md 127.0.0.1:26477 --fix 127.0.0.1:9876 --write out
  tickscope sim calm --live --md eth1 --fix 0.0.0.0:9876 --trader own";

pub const EXAMPLES_SCORE: &str = "\
Examples:
  tickscope analyze out/tap.pcap --orders orders.csv
  tickscope score out/truth.csv orders.csv --external 1 --missed 0 --extra 0";

pub const EXAMPLES_DOCTOR: &str = "\
Examples:
  tickscope doctor
  tickscope doctor eth1 eth2 --quiet
  tickscope doctor --json | jq -r '.checks[] | select(.verdict != \"ok\") | .commands[]'";

/// A share from 0 to 1.
pub fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "expected a share such as 0.98".to_owned())?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err("expected a share from 0 to 1".to_owned()) }
}

/// A factor above 0.
pub fn speed(text: &str) -> Result<f64, String> {
    let text = text.strip_suffix('x').unwrap_or(text);
    let factor: f64 = text.parse().map_err(|_| "expected a factor such as 2 or 10x".to_owned())?;
    if factor.is_finite() && factor > 0.0 { Ok(factor) } else { Err("expected a factor above 0".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-03-02T14:30:00Z is a Monday before the change to summer time in New York.
    const MONDAY: u64 = 1_772_461_800_000_000_000;

    fn resolved(text: &str, tz: &str) -> Result<u64, String> {
        let zone = zone(tz).expect("a zone");
        time(text)?.resolve(Timestamp(MONDAY), &zone).map(|time| time.0).map_err(|error| error.to_string())
    }

    #[test]
    fn every_form_of_a_time_is_exact() {
        let half = 500_000_000;
        for (text, tz, expected) in [
            ("2026-03-02T14:30:00Z", "UTC", MONDAY),
            ("2026-03-02T09:30:00.5-05:00", "UTC", MONDAY + half),
            ("2026-03-02T14:30:00.000000001Z", "UTC", MONDAY + 1),
            ("2026-03-02T09:30", "America/New_York", MONDAY),
            ("2026-03-02 09:30:00", "-05:00", MONDAY),
            ("09:30", "America/New_York", MONDAY),
            ("14:30:00.5", "UTC", MONDAY + half),
            ("15:30:00.000000001", "Europe/Zurich", MONDAY + 1),
            ("1772461800", "UTC", MONDAY),
            ("1772461800.5", "UTC", MONDAY + half),
            ("1772461800.000000001", "UTC", MONDAY + 1),
            ("1772461800500000000", "UTC", MONDAY + half),
        ] {
            assert_eq!(resolved(text, tz), Ok(expected), "{text} in {tz}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "noon",
            "9:30",
            "25:00",
            "09:60",
            "2026-03-02",
            "1772461800500",
            "1772461800500000",
            "1.0000000001",
            "99999999999999999999",
            "-5",
            "1969-12-31T23:59:59Z",
            "2026-02-30T00:00:00Z",
            "09:30:00.1234567890",
        ] {
            assert!(time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_window_must_not_be_empty() {
        let window = |from, to| {
            let selection = SelectionArgs { from: time(from).ok(), to: time(to).ok(), ..SelectionArgs::default() };
            selection.window(Timestamp(MONDAY), &Zone::default())
        };
        assert!(window("14:00", "15:00").is_ok());
        assert!(window("15:00", "15:00").is_err() && window("16:00", "15:00").is_err());
    }

    #[test]
    fn zones_have_names_and_offsets() {
        for text in ["UTC", "utc", "Z", "America/New_York", "+02:00", "-0530", "+02"] {
            assert_eq!(zone(text).is_ok(), text != "-0530", "{text}");
        }
        assert!(zone("Mars/Base").is_err() && zone("+25:00").is_err() && zone("+2").is_err());
    }

    #[test]
    fn a_capture_may_have_a_name_and_its_path_an_equals_sign() {
        let split = |text: &str| {
            let capture = split_capture(OsStr::new(text), |path| path == Path::new("x=y.pcap"))?;
            Some((capture.name.unwrap_or_default(), capture.input.to_string()))
        };
        let expected = |name: &str, input: &str| Some((name.to_owned(), input.to_owned()));
        assert_eq!(split("a.pcap"), expected("", "a.pcap"));
        assert_eq!(split("md=a.pcap"), expected("md", "a.pcap"));
        assert_eq!(split("md=a=b.pcap"), expected("md", "a=b.pcap"));
        assert_eq!(split("md=dir/x=y.pcap"), expected("md", "dir/x=y.pcap"));
        assert_eq!(split("x=y.pcap"), expected("", "x=y.pcap"));
        assert_eq!(split("=a"), expected("", "=a"));
        assert_eq!(split("./q=r.pcap"), expected("", "./q=r.pcap"));
        assert_eq!(split("-"), expected("", "standard input"));
        assert_eq!(split("md=-"), expected("md", "standard input"));
        assert_eq!(split("md="), None);
        assert_eq!(split(""), None);
    }

    #[test]
    fn offsets_and_tables_are_read() {
        assert_eq!(offset("md=-37us").map(|one| (one.tap, one.offset.0)), Ok(("md".into(), -37_000)));
        for text in ["md", "=1us", "md=5", "md=1us=2"] {
            assert!(offset(text).is_err(), "{text}");
        }
        let clock = ClockArgs { offsets: offset("md=1us").into_iter().collect(), ..ClockArgs::default() };
        assert!(clock.check_taps(&["ord", "md"]).is_ok());
        let error = clock.check_taps(&["ord", "md2"]).expect_err("md is no tap").to_string();
        assert_eq!(error, "--offset: there is no tap \"md\"; the taps are: ord, md2");
        for (text, tap, name) in
            [("auto", None, "auto"), ("md=ixia", Some("md"), "ixia"), ("a=b=none", Some("a=b"), "none")]
        {
            let found = trailer(text).expect("a format");
            assert_eq!((found.tap.as_deref(), found.name), (tap, name));
        }
        for text in ["md", "=ixia", "md=", "md=cisco", ""] {
            assert!(trailer(text).is_err(), "{text}");
        }
        assert_eq!(table_output("-").map(|table| table.format), Ok(TableFormat::Csv));
        assert_eq!(table_output("a.b/x.jsonl").map(|table| table.format), Ok(TableFormat::Jsonl));
        assert!(table_output("orders").is_err() && table_output("x.csv.gz").is_err());
    }
}
