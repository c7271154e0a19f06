//! Keys that are about `live` only: `[live]`, what others read and what is recorded, and `[pairing]`.

use std::net::SocketAddr;
use std::path::PathBuf;

use tickscope_model::{Nanos, SegmentKind};

use super::duration;
use super::keys::{Key, Kind, Table, key};
use super::settings::{self, Settings, SocketSetting};
use crate::app::interval_log::Rotate;

/// What a size is, for messages and the manual.
const SIZE: &str = "a number of bytes, such as \"1GiB\" or \"500MB\" (units: B, kB, MB, GB, KiB, MiB, GiB)";
const OVER: &str = "latencies and durations, such as \"t2t=50us,ack=1ms\"";

/// `[live]`; the command line replaces single values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveSetting {
    pub socket: SocketSetting,
    /// Where metrics are to be had.
    pub metrics: Option<SocketAddr>,
    /// Folder of recordings.
    pub record: Option<PathBuf>,
    pub record_size: u64,
    pub record_time: Nanos,
    pub record_total: Option<u64>,
    /// What the flight recorder goes back; without it there is none.
    pub flight: Option<Nanos>,
    pub flight_memory: u64,
    pub flight_over: Vec<(SegmentKind, Nanos)>,
    pub flight_dir: Option<PathBuf>,
    pub hlog_interval: Nanos,
    pub hlog_rotate: Rotate,
}

impl Default for LiveSetting {
    fn default() -> LiveSetting {
        LiveSetting {
            socket: SocketSetting::Default,
            metrics: None,
            record: None,
            record_size: 1 << 30,
            record_time: Nanos(3_600_000_000_000),
            record_total: None,
            flight: None,
            flight_memory: 64 << 20,
            flight_over: Vec::new(),
            flight_dir: None,
            hlog_interval: Nanos(10_000_000_000),
            hlog_rotate: Rotate::Daily,
        }
    }
}

const fn size(set: fn(&mut Settings, u64)) -> Kind {
    Kind::Bytes(SIZE, set)
}

pub static LIVE_KEYS: &[Key] = &[
    // ── [pairing] ──
    key(
        Table::Pairing,
        "answer_timeout",
        Kind::Span(|settings, timeout| settings.pairing.answer_timeout = timeout),
        "\"10s\"",
        "\"10s\"",
        "Live: a row is written a second after its request was done, and when it is this old at the latest; what comes later \
         goes to --segments. Captures are read to their end for answers, whatever this says.",
    ),
    // ── [live] ──
    key(
        Table::Live,
        "socket",
        Kind::Socket(|settings, path| settings.live.socket = settings::socket(path)),
        "",
        "\"/run/tickscope/live.sock\"",
        "Where the Unix socket is made that gives snapshots and answers, see tickscope-socket(7); none: nowhere. Without it \
         live.sock in the first of $RUNTIME_DIRECTORY, $XDG_RUNTIME_DIR/tickscope and /run/tickscope that is set, and none \
         where that cannot be made. --socket on the command line replaces it.",
    ),
    key(
        Table::Live,
        "metrics",
        Kind::Listen(|settings, address| settings.live.metrics = Some(address)),
        "",
        "\"127.0.0.1:9464\"",
        "Where metrics are given to those who scrape them, see tickscope-socket(7). A port alone is one of this host that \
         other hosts do not reach. --metrics on the command line replaces it.",
    ),
    key(
        Table::Live,
        "record",
        Kind::File(|settings, folder| settings.live.record = Some(folder)),
        "",
        "\"/var/lib/tickscope\"",
        "Everything that is captured is recorded into this folder, as --record says.",
    ),
    key(
        Table::Live,
        "record_size",
        size(|settings, bytes| settings.live.record_size = bytes),
        "\"1GiB\"",
        "\"1GiB\"",
        "A file of the recording is ended once it has so many bytes, packed; it may get a mebibyte larger.",
    ),
    key(
        Table::Live,
        "record_time",
        Kind::Span(|settings, span| settings.live.record_time = span),
        "\"3600s\"",
        "\"900s\"",
        "A file of the recording is ended once it is so old.",
    ),
    key(
        Table::Live,
        "record_total",
        size(|settings, bytes| settings.live.record_total = Some(bytes)),
        "",
        "\"200GiB\"",
        "When a file is ended, the oldest files of recordings in the folder are deleted until all have no more bytes than this.",
    ),
    key(
        Table::Live,
        "flight",
        Kind::Span(|settings, span| settings.live.flight = Some(span)),
        "",
        "\"30s\"",
        "The frames of so much time are kept in memory: the flight recorder, as --flight says.",
    ),
    key(
        Table::Live,
        "flight_memory",
        size(|settings, bytes| settings.live.flight_memory = bytes),
        "\"64MiB\"",
        "\"1GiB\"",
        "… but no more than fit into so many bytes, which are taken at the start.",
    ),
    key(
        Table::Live,
        "flight_over",
        Kind::Over(OVER, |settings, over| settings.live.flight_over = over),
        "",
        "\"t2t=50us,ack=1ms\"",
        "Where a latency of an order is longer than this, what the flight recorder holds is written to a file, as \
         --flight-over says.",
    ),
    key(
        Table::Live,
        "flight_dir",
        Kind::File(|settings, folder| settings.live.flight_dir = Some(folder)),
        "",
        "\"/var/lib/tickscope\"",
        "The folder of those files; without it that of the recording.",
    ),
    key(
        Table::Live,
        "hlog_interval",
        Kind::Span(|settings, interval| settings.live.hlog_interval = interval),
        "\"10s\"",
        "\"10s\"",
        "--hlog of live grows this often by a line for each latency, of the rows that were written meanwhile.",
    ),
    key(
        Table::Live,
        "hlog_rotate",
        Kind::Choice(Rotate::NAMES, |settings, name| settings.live.hlog_rotate = Rotate::of(name)),
        "\"daily\"",
        "\"hourly\"",
        "When --hlog of live begins a new file, by UTC. The file before is renamed: latency.hlog to \
         latency-20260301T000000.000000000Z.hlog, by its first time.",
    ),
];

/// `1GiB`, `500MB`, `64KiB`, `1000B`.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let units = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("kB", 1000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("B", 1_u64),
    ];
    let size = units.iter().find_map(|(name, unit)| {
        let digits = text.strip_suffix(name)?;
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| digits.parse::<u64>().ok()?.checked_mul(*unit))?
    });
    size.filter(|size| *size > 0).ok_or_else(|| format!("\"{text}\" is not a size: expected {SIZE}"))
}

/// `t2t=50us,ack=1ms`.
pub fn parse_over(text: &str) -> Result<Vec<(SegmentKind, Nanos)>, String> {
    let one = |part: &str| {
        let (name, most) = part.split_once('=').ok_or_else(|| format!("\"{part}\" is not NAME=DURATION"))?;
        let kind = SegmentKind::ALL.into_iter().find(|kind| kind.name() == name);
        let names = SegmentKind::ALL.map(SegmentKind::name).join(", ");
        let kind = kind.ok_or_else(|| format!("\"{name}\" is no latency: expected one of {names}"))?;
        Ok((kind, duration::parse_span(most)?))
    };
    text.split(',').map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        for (text, expected) in [
            ("1GiB", Some(1 << 30)),
            ("500MB", Some(500_000_000)),
            ("7B", Some(7)),
            ("0B", None),
            ("7", None),
            ("1.5GiB", None),
            ("GiB", None),
            ("-1B", None),
            ("99999999999GiB", None),
        ] {
            assert_eq!(parse_size(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn thresholds_are_read() {
        let expected = vec![(SegmentKind::TickToTrade, Nanos(50_000)), (SegmentKind::Ack, Nanos(1_000_000))];
        assert_eq!(parse_over("t2t=50us,ack=1ms"), Ok(expected));
        for text in ["", "t2t", "t2t=50", "nothing=1ms", "t2t=1ms,"] {
            assert!(parse_over(text).is_err(), "{text}");
        }
    }
}
