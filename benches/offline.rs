//! How long `tickscope analyze` takes on about 1 GiB, beside programs that everybody knows, in one run on one machine.
//! `cargo bench --bench offline [-- CAPTURE]` prints times, ratios and the peak of memory that is not the mapped file.
//! *Without triggers*: `[trigger] model = "none"`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// Each program runs so many times, in turns, forwards and backwards; the fastest run counts, since noise only ever adds.
const ROUNDS: usize = 22;

const TICKSCOPE: &str = env!("CARGO_BIN_EXE_tickscope");
const ANALYZE: &str = "analyze";
const WITHOUT: &str = "analyze without triggers";

struct Program {
    /// How it is called in what is printed.
    title: &'static str,
    name: &'static str,
    arguments: Vec<String>,
    is_stdout_dropped: bool,
    times: Vec<Duration>,
}

#[allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark talks to its user")]
fn main() -> ExitCode {
    let given = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let capture = given.map_or_else(generated, |path| Ok(PathBuf::from(path)));
    let capture = match capture {
        Ok(capture) => capture,
        Err(error) => {
            eprintln!("no capture to measure on: {error}");
            return ExitCode::FAILURE;
        }
    };
    let size = fs::metadata(&capture).map_or(0, |file| file.len());
    let file = capture.display().to_string();
    let program = |title: &'static str, arguments: &[&str]| Program {
        title,
        name: if title.starts_with("analyze") { TICKSCOPE } else { title },
        arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
        is_stdout_dropped: true,
        times: Vec::new(),
    };
    let config = match without_triggers() {
        Ok(config) => config.display().to_string(),
        Err(error) => {
            eprintln!("no configuration to measure with: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut programs = vec![
        program("cat", &[&file]),
        program("capinfos", &["-c", &file]),
        program("tcpdump", &["-r", &file, "-w", "/dev/null"]),
        program(ANALYZE, &["analyze", &file, "--no-progress"]),
        program(WITHOUT, &["analyze", &file, "--no-progress", "--config", &config]),
    ];
    programs.retain(|program| {
        Command::new(program.name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
    });
    for _ in 0..ROUNDS {
        for program in &mut programs {
            let time = run(program);
            program.times.push(time);
        }
        // Whoever runs behind a program that has just used as much memory finds it warm, which is worth up to 100 ms on a
        // virtual machine: so each of two neighbours runs behind the other one.
        programs.reverse();
    }
    println!("{file}: {:.2} GiB", gib(size));
    let find = |title: &str| programs.iter().find(|program| program.title == title);
    let best = |title: &str| find(title).and_then(|program| program.times.iter().min());
    for program in &programs {
        let Some(best) = program.times.iter().min() else { continue };
        println!("{:<24} best of {ROUNDS}: {:>7.1} ms", program.title, best.as_secs_f64() * 1e3);
    }
    if let Some(ours) = best(ANALYZE) {
        for other in ["cat", "capinfos", "tcpdump", WITHOUT] {
            match best(other) {
                Some(theirs) => println!("analyze / {other:<24} {:>6.2}", ours.as_secs_f64() / theirs.as_secs_f64()),
                None => println!("analyze / {other:<24} {other} is not installed"),
            }
        }
    }
    if let Some(ours) = find(ANALYZE) {
        println!("peak of anonymous memory: {} MB", peak(ours) / 1_000_000);
    }
    ExitCode::SUCCESS
}

#[allow(clippy::cast_precision_loss, reason = "for people")]
fn gib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}

fn command(program: &Program) -> Command {
    let mut command = Command::new(program.name);
    command.args(&program.arguments).stderr(Stdio::null());
    if program.is_stdout_dropped {
        command.stdout(Stdio::null());
    }
    command
}

/// Runs a program once.
#[allow(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn run(program: &Program) -> Duration {
    let start = Instant::now();
    // A program that fails is faster than one that works; its time must not count.
    let worked = command(program).status().is_ok_and(|status| status.success());
    if worked { start.elapsed() } else { Duration::MAX }
}

/// The peak of memory without file pages, in bytes, in a run of its own: watching takes time.
#[allow(clippy::disallowed_methods, reason = "a benchmark watches another program")]
fn peak(program: &Program) -> u64 {
    let Ok(mut child) = command(program).spawn() else { return 0 };
    let mut peak = 0;
    let status = format!("/proc/{}/status", child.id());
    while let Ok(None) = child.try_wait() {
        peak = peak.max(anonymous(&status));
        std::thread::sleep(Duration::from_millis(1));
    }
    peak
}

fn anonymous(status: &str) -> u64 {
    let text = fs::read_to_string(status).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("RssAnon:"));
    line.and_then(|line| line.split_whitespace().nth(1)).and_then(|kb| kb.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// A configuration that looks for no triggers.
fn without_triggers() -> std::io::Result<PathBuf> {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("without-triggers.toml");
    fs::write(&path, "[trigger]\nmodel = \"none\"\n")?;
    Ok(path)
}

/// The capture of `benches/offline.toml`, made once.
fn generated() -> std::io::Result<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("offline");
    let capture = folder.join("tap.pcap");
    if !capture.exists() {
        let scenario = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/offline.toml");
        let log = File::create(Path::new(env!("CARGO_TARGET_TMPDIR")).join("offline.log"))?;
        let status =
            Command::new(TICKSCOPE).arg("sim").arg(scenario).arg("--write").arg(&folder).stdout(log).status()?;
        if !status.success() {
            return Err(std::io::Error::other("tickscope sim failed"));
        }
    }
    Ok(capture)
}
