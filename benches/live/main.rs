//! What `tickscope live` keeps up with, beside tcpdump and dumpcap, on the same veth pair with the same sender: `cargo bench
//! --bench live`. Needs root and `ip`, since it makes network namespaces. `-- soak SECONDS` instead runs it for so long at 100,000
//! packets a second, and says what its memory does; `-- compare` measures several builds beside each other (`compare.rs`).
//!
//! The others only write to /dev/null; `live` does the whole analysis. What is sent is the simulator's `opening-rush`: market
//! data of three hundred symbols on two lines, and orders of four sessions.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark talks to its user")]
#![allow(clippy::unwrap_used, reason = "what does not work ends the benchmark")]
#![allow(clippy::doc_markdown, reason = "names of the kernel are words here: AF_XDP, AF_PACKET")]
#![allow(clippy::disallowed_methods, reason = "a sender lives by the clock")]
#![allow(dead_code, reason = "the tests' laboratory can do more than is needed here")]

mod compare;
#[path = "../../tests/live/daemon.rs"]
mod daemon;
#[path = "../../tests/live/lab.rs"]
mod lab;
#[path = "../../nic/tests/live/net.rs"]
mod net;
mod programs;
mod send;
mod stamps;

use std::process::ExitCode;
use std::time::Duration;

use lab::Lab;
use programs::{PROGRAMS, Program};
use send::Load;

/// Packets a second that are tried, one after the other, until a program loses some each time.
const RATES: [u64; 9] = [35_000, 50_000, 70_000, 100_000, 140_000, 200_000, 280_000, 400_000, 560_000];
/// Each for so long, so often: other users of the machine make losses, too.
const SPELL: Duration = Duration::from_secs(3);
const TRIES: usize = 3;
/// tcpdump throws away at its end what it has not read yet, and reads once a second where little comes.
const SETTLING: Duration = Duration::from_millis(1500);
/// Packets a second that come before the processor's share is measured, and for how long: what a daemon needs once in its day is not
/// counted (memory that books and tape grow into, the first lessons of the model).
const WARM: (u64, Duration) = (100_000, Duration::from_secs(10));
/// Market-data messages a second at which it is measured.
const SHARES: [u64; 2] = [35_000, 200_000];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let Some(lab) = Lab::new() else { return ExitCode::FAILURE };
    let load = Load::new();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {
            rates(&lab, &load);
            shares(&lab, &load);
            stamps::errors(&lab, &load);
        }
        ["shares"] => shares(&lab, &load),
        ["compare", ref arguments @ ..] => compare::compare(&lab, &load, arguments),
        ["soak", seconds] => soak(&lab, &load, seconds.parse().expect("SECONDS")),
        _ => {
            eprintln!("cargo bench --bench live [-- shares | soak SECONDS | compare DRIVER MESSAGES ROUNDS PROGRAM…]");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// The highest rate at which a program loses nothing.
fn rates(lab: &Lab, load: &Load) {
    println!("Lossless packets a second, {} s each, best of {TRIES} tries:\n", SPELL.as_secs());
    println!("| program | lossless up to | really sent | x tcpdump |\n| --- | ---: | ---: | ---: |");
    let mut tcpdump = None;
    for program in PROGRAMS {
        let (mut best, mut sent) = (0, 0.0);
        for rate in RATES {
            let Some(really) = (0..TRIES).find_map(|_| lossless(lab, load, program, rate)) else { break };
            (best, sent) = (rate, really);
            if really < 0.9 * f64::from(u32::try_from(rate).unwrap()) {
                break; // the sender cannot do more
            }
        }
        let reference = *tcpdump.get_or_insert(sent);
        println!("| {} | {best} | {sent:.0} | {:.2} |", program.name(), sent / reference);
    }
}

/// The rate that was really sent, if nothing of it was lost.
fn lossless(lab: &Lab, load: &Load, program: Program, rate: u64) -> Option<f64> {
    let running = program.start(lab);
    let sent = lab.in_sender(|| load.send(0, rate, SPELL));
    std::thread::sleep(SETTLING);
    let got = program.end(running);
    (got.frames == sent.frames).then_some(sent.per_second())
}

/// How much of a core `live` takes.
fn shares(lab: &Lab, load: &Load) {
    println!("\nProcessor time of the process, as a share of one core:\n");
    println!("| program | messages/s | packets/s | share of a core | lost |\n| --- | ---: | ---: | ---: | ---: |");
    for messages in SHARES {
        for program in PROGRAMS {
            let running = program.start(lab);
            let rate = load.packets_for(messages);
            let warm = lab.in_sender(|| load.send(0, WARM.0, WARM.1));
            // What still waits of those frames is not of these.
            std::thread::sleep(SETTLING);
            let before = programs::processor_time(&running);
            let sent = lab.in_sender(|| load.send(warm.frames, rate, 2 * SPELL));
            std::thread::sleep(SETTLING);
            let used = programs::processor_time(&running).saturating_sub(before);
            let got = program.end(running);
            let share = used.as_secs_f64() / sent.time.as_secs_f64();
            let lost = (warm.frames + sent.frames).saturating_sub(got.frames);
            println!(
                "| {} | {messages} | {:.0} | {:.1} % | {lost} |",
                program.name(),
                sent.per_second(),
                share * 100.0
            );
        }
    }
}

/// A long run: memory must not grow.
fn soak(lab: &Lab, load: &Load, seconds: u64) {
    let program = Program::Live("afpacket");
    let running = program.start(lab);
    println!("| seconds | packets sent | resident memory |\n| ---: | ---: | ---: |");
    let (mut sent, mut past) = (0, 0);
    while past < seconds {
        let spell = 10.min(seconds - past);
        sent += lab.in_sender(|| load.send(sent, 100_000, Duration::from_secs(spell))).frames;
        past += spell;
        println!("| {past} | {sent} | {} MB |", programs::resident_bytes(&running) / 1_000_000);
    }
    std::thread::sleep(SETTLING);
    let got = program.end(running);
    println!("\nused {} of {sent} packets; violations of the account: {}", got.frames, got.violations);
}
