//! How long `tickscope analyze` takes on about 1 GiB, beside programs that everybody knows, in one run on one machine.
//! `cargo bench --bench offline [-- CAPTURE]` prints times, ratios and the peak of memory that is not the mapped file.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// Each program runs so many times, in turns; the fastest run counts, since noise only ever adds.
const ROUNDS: usize = 21;

const TICKSCOPE: &str = env!("CARGO_BIN_EXE_tickscope");

struct Program {
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
    let program = |name: &'static str, arguments: &[&str]| Program {
        name,
        arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
        is_stdout_dropped: true,
        times: Vec::new(),
    };
    let mut programs = vec![
        program("cat", &[&file]),
        program("capinfos", &["-c", &file]),
        program("tcpdump", &["-r", &file, "-w", "/dev/null"]),
        program(TICKSCOPE, &["analyze", &file, "--no-progress"]),
    ];
    programs.retain(|program| {
        Command::new(program.name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
    });
    for _ in 0..ROUNDS {
        for program in &mut programs {
            let time = run(program);
            program.times.push(time);
        }
    }
    println!("{file}: {:.2} GiB", gib(size));
    let best = |name: &str| {
        programs.iter().find(|program| program.name == name).and_then(|program| program.times.iter().min())
    };
    for program in &programs {
        let (Some(best), name) =
            (program.times.iter().min(), if program.name == TICKSCOPE { "tickscope analyze" } else { program.name })
        else {
            continue;
        };
        println!("{name:<20} best of {ROUNDS}: {:>7.1} ms", best.as_secs_f64() * 1e3);
    }
    if let Some(ours) = best(TICKSCOPE) {
        for other in ["cat", "capinfos", "tcpdump"] {
            match best(other) {
                Some(theirs) => println!("analyze / {other:<10} {:>6.2}", ours.as_secs_f64() / theirs.as_secs_f64()),
                None => println!("analyze / {other:<10} {other} is not installed"),
            }
        }
    }
    if let Some(ours) = programs.iter().find(|program| program.name == TICKSCOPE) {
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
