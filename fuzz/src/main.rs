//! Mutated captures, frames, streams and payloads for every reader: no panic, no hang, bounded memory, and the promises
//! that each target checks. README.md says how to run it.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a tool for developers that reports on the terminal")]

mod memory;
mod mutate;
mod seeds;
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use mutate::{Random, mutate};
use targets::{TARGETS, Target};

/// An input may use a processor for so long …
const PATIENCE: Duration = Duration::from_secs(2);
/// … and may take so long in all: on a busy machine it waits, and where it waits for nothing it uses none.
const STANDSTILL: Duration = Duration::from_secs(20);
/// Between two looks at how long an input takes.
const LOOK: Duration = Duration::from_millis(100);
/// Inputs are cut to this.
const INPUT_LIMIT: usize = 128 << 10;

/// The input at work, for the watchdog: target, bytes, and the milliseconds at which it began (0: none).
static CURRENT: Mutex<(String, Vec<u8>)> = Mutex::new((String::new(), Vec::new()));
static BEGAN_MS: AtomicU64 = AtomicU64::new(0);

#[expect(clippy::disallowed_methods, reason = "this program measures itself, no capture's time is involved")]
fn now() -> Instant {
    Instant::now()
}

struct Arguments {
    seconds: u64,
    seed: u64,
    replay: Option<PathBuf>,
    targets: Vec<&'static Target>,
}

fn arguments() -> Result<Arguments, String> {
    let mut found = Arguments { seconds: 30, seed: 1, replay: None, targets: Vec::new() };
    let mut rest = std::env::args().skip(1);
    while let Some(word) = rest.next() {
        let mut value = || rest.next().ok_or(format!("{word} needs a value"));
        let number = |text: String| text.parse().map_err(|_| format!("{text} is no number"));
        match word.as_str() {
            "--seconds" => found.seconds = number(value()?)?,
            "--seed" => found.seed = number(value()?)?,
            "--replay" => found.replay = Some(value()?.into()),
            name => found.targets.push(target(name)?),
        }
    }
    if found.targets.is_empty() {
        found.targets = TARGETS.iter().collect();
    }
    Ok(found)
}

fn target(name: &str) -> Result<&'static Target, String> {
    let known: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    TARGETS.iter().find(|target| target.name == name).ok_or(format!("{name}: no target; there are {}", known.join(" ")))
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(text) => {
            eprintln!("{text}");
            return ExitCode::from(2);
        }
    };
    watch();
    if let Some(path) = &arguments.replay {
        return replay(path);
    }
    let seeds = seeds::read();
    for target in &arguments.targets {
        if let Err(text) = run(target, &(target.seeds)(&seeds), &arguments) {
            eprintln!("{text}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn replay(path: &Path) -> ExitCode {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let target = target(name.rsplit_once('-').map_or(name.as_str(), |(target, _)| target));
    match (target, std::fs::read(path)) {
        (Ok(target), Ok(input)) => {
            if let Err(text) = one(target, &input) {
                eprintln!("{text}");
                return ExitCode::FAILURE;
            }
            println!("{}: passes", path.display());
            ExitCode::SUCCESS
        }
        (Err(text), _) => {
            eprintln!("{text}");
            ExitCode::from(2)
        }
        (_, Err(error)) => {
            eprintln!("{}: {error}", path.display());
            ExitCode::from(2)
        }
    }
}

/// Seeds as they are, then damaged ones until the time is over.
fn run(target: &Target, seeds: &[Vec<u8>], arguments: &Arguments) -> Result<(), String> {
    if seeds.is_empty() {
        return Err(format!("{}: no seeds", target.name));
    }
    std::panic::set_hook(Box::new(|_| {}));
    let began = now();
    let mut random = Random::new(arguments.seed);
    let (mut count, mut peak) = (0_u64, 0);
    let over = Duration::from_secs(arguments.seconds);
    let mut plain = seeds.iter();
    while began.elapsed() < over {
        let input = plain.next().cloned().unwrap_or_else(|| {
            let mut input = seeds[random.below(seeds.len())].clone();
            let other = random.below(seeds.len());
            mutate(&mut random, &mut input, &seeds[other], INPUT_LIMIT);
            input
        });
        let held = one(target, &input).map_err(|text| format!("{text}\n  kept as {}", keep(target.name, &input)))?;
        peak = peak.max(held);
        count += 1;
    }
    let _ = std::panic::take_hook();
    println!(
        "{:<13} {count} inputs from {} seeds in {} s, at most {} KiB held, no failure",
        target.name,
        seeds.len(),
        began.elapsed().as_secs(),
        peak >> 10
    );
    Ok(())
}

/// Runs one input. Gives the most memory that it held.
fn one(target: &Target, input: &[u8]) -> Result<usize, String> {
    {
        let mut current = CURRENT.lock().expect("the watchdog only reads");
        current.0.clear();
        current.0.push_str(target.name);
        current.1.clear();
        current.1.extend(input);
    }
    let start = memory::start();
    BEGAN_MS.store(milliseconds(), Relaxed);
    let result = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    BEGAN_MS.store(0, Relaxed);
    let held = memory::peak_since(start);
    if let Err(panic) = result {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        return Err(format!("{}: panic: {}", target.name, text.unwrap_or("?")));
    }
    if held > target.memory {
        return Err(format!("{}: held {held} bytes, may hold {}", target.name, target.memory));
    }
    Ok(held)
}

fn milliseconds() -> u64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let elapsed = START.get_or_init(now).elapsed().as_millis();
    u64::try_from(elapsed).unwrap_or(u64::MAX).max(1)
}

/// Processor time of the thread that runs inputs, the program's first; none where Linux does not tell it.
fn used() -> Duration {
    let path = format!("/proc/self/task/{}/schedstat", std::process::id());
    let text = std::fs::read_to_string(path).unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|time| time.parse().ok()).unwrap_or(0))
}

/// A thread that ends the program when an input takes too long; there is no way to stop the reader itself. It counts its own
/// looks at the input instead of trusting the clock, which goes on where a busy machine lets neither of them run.
fn watch() {
    milliseconds();
    std::thread::spawn(|| {
        let (mut last, mut looks, mut before) = (0, 0, Duration::ZERO);
        loop {
            std::thread::park_timeout(LOOK);
            let began = BEGAN_MS.load(Relaxed);
            if began == 0 || began != last {
                (looks, before) = (0, used());
            }
            (last, looks) = (began, looks + 1);
            let used = used().saturating_sub(before);
            if began > 0 && (used > PATIENCE || LOOK * looks > STANDSTILL) {
                let current = CURRENT.lock().expect("nobody panics while holding it");
                let kept = keep(&current.0, &current.1);
                eprintln!(
                    "{}: longer than {PATIENCE:?} of a processor, or {STANDSTILL:?}\n  kept as {kept}",
                    current.0
                );
                std::process::exit(1);
            }
        }
    });
}

/// Writes an input that failed into `fuzz/crashes`.
fn keep(target: &str, input: &[u8]) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("crashes");
    // FNV-1a: the same input gets the same name.
    let hash = input
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let path = folder.join(format!("{target}-{hash:016x}"));
    let written = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&path, input));
    match written {
        Ok(()) => path.display().to_string(),
        Err(error) => format!("nothing, since {}: {error}", path.display()),
    }
}
