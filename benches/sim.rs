//! How many market-data messages a second `tickscope sim SCENARIO --write DIR` writes on one core: the very program on
//! two scenarios, market data alone and the capture that `offline` is measured on, which has orders in it.
//! `cargo bench --bench sim` prints both, by the clock on the wall and by the processor's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// The fastest run counts, since noise only ever adds.
const ROUNDS: usize = 5;

/// Messages of each run; both scenarios are cut to it.
const MESSAGES: u64 = 4_000_000;

const TICKSCOPE: &str = env!("CARGO_BIN_EXE_tickscope");

/// A stock exchange's feed in packets of about four messages, as it is in a busy minute.
const MARKET: &str = "duration = \"100s\"\n[market]\nsymbols = 100\nrate = 1000000.0\nbranching = 0.0\nmessages = 4000000\n\
                      collect = \"3us\"\n";

struct Run {
    wall: Duration,
    processor: Duration,
    messages: u64,
    bytes: u64,
}

#[allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark talks to its user")]
fn main() -> ExitCode {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sim-bench");
    let result = scenarios(&folder).and_then(|scenarios| {
        for (name, scenario) in &scenarios {
            let mut runs = Vec::new();
            for _ in 0..ROUNDS {
                runs.push(run(scenario, &folder.join("out"))?);
            }
            let best = |time: fn(&Run) -> Duration| runs.iter().map(time).min().unwrap_or_default();
            let (wall, processor) = (best(|run| run.wall), best(|run| run.processor));
            let (messages, bytes) = (runs[0].messages, runs[0].bytes);
            println!(
                "{name}: {messages} messages, {} MB; best of {ROUNDS}: {:.2} s = {:.2} M messages/s of wall time, \
                 {:.2} s = {:.2} M messages/s of processor time",
                bytes / 1_000_000,
                wall.as_secs_f64(),
                rate(messages, wall),
                processor.as_secs_f64(),
                rate(messages, processor)
            );
        }
        fs::remove_dir_all(&folder)
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot measure: {error}");
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "for people")]
fn rate(messages: u64, time: Duration) -> f64 {
    messages as f64 / time.as_secs_f64() / 1e6
}

/// The two scenarios as files.
fn scenarios(folder: &Path) -> std::io::Result<Vec<(&'static str, PathBuf)>> {
    fs::create_dir_all(folder)?;
    let offline = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/offline.toml");
    let mut with_orders = String::new();
    for line in fs::read_to_string(offline)?.lines() {
        let line = if line.starts_with("messages = ") { format!("messages = {MESSAGES}") } else { line.to_owned() };
        with_orders += &(line + "\n");
    }
    let mut files = Vec::new();
    for (name, text) in [("market data alone", MARKET), ("offline.toml, with orders", &with_orders)] {
        let file = folder.join(format!("{}.toml", files.len()));
        fs::write(&file, text)?;
        files.push((name, file));
    }
    Ok(files)
}

/// Writes a scenario once.
#[allow(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn run(scenario: &Path, out: &Path) -> std::io::Result<Run> {
    let before = children_time()?;
    let start = Instant::now();
    let output =
        Command::new(TICKSCOPE).arg("sim").arg(scenario).arg("--write").arg(out).stderr(Stdio::inherit()).output()?;
    let wall = start.elapsed();
    if !output.status.success() {
        return Err(std::io::Error::other("tickscope sim failed"));
    }
    let processor = children_time()?.saturating_sub(before);
    let text = String::from_utf8_lossy(&output.stdout);
    let number = text.split_whitespace().next().and_then(|word| word.parse().ok());
    let messages = number.ok_or_else(|| std::io::Error::other(format!("no number of messages in {text:?}")))?;
    let bytes = fs::metadata(out.join("tap.pcap"))?.len();
    Ok(Run { wall, processor, messages, bytes })
}

/// Processor time of the programs that were run so far and are over: fields 16 and 17 of `/proc/self/stat` (proc(5)), in
/// hundredths of a second on every Linux.
fn children_time() -> std::io::Result<Duration> {
    let text = fs::read_to_string("/proc/self/stat")?;
    let behind_name = text.rsplit(')').next().unwrap_or("");
    let ticks: u64 =
        behind_name.split_whitespace().skip(13).take(2).map(|field| field.parse::<u64>().unwrap_or(0)).sum();
    Ok(Duration::from_millis(ticks * 10))
}
