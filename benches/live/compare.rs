//! Several builds of the program beside each other, in turns: `-- compare DRIVER MESSAGES ROUNDS PROGRAM…`. Each gets the same load,
//! and the processor time of its threads is told apart.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::WARM;
use super::daemon::Running;
use super::lab::Lab;
use super::programs::live;
use super::send::Load;

/// So long each is fed while it is measured.
const MEASURED: Duration = Duration::from_secs(6);

/// By kind of thread: time on a processor in nanoseconds, and how often it went to sleep.
type Threads = BTreeMap<&'static str, [u64; 2]>;

/// What the threads of a process have used so far.
fn threads(running: &Running) -> Threads {
    let mut all = Threads::new();
    for task in std::fs::read_dir(format!("/proc/{}/task", running.id())).unwrap() {
        let task = task.unwrap().path();
        let read = |name: &str| std::fs::read_to_string(task.join(name)).unwrap_or_default();
        let kind = match read("comm") {
            _ if task.ends_with(running.id().to_string()) => "engine",
            name if name.contains('/') => "receivers",
            _ => "others",
        };
        let time: u64 = read("schedstat").split(' ').next().and_then(|time| time.parse().ok()).unwrap_or(0);
        let status = read("status");
        let sleeps = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        let used = all.entry(kind).or_default();
        used[0] += time;
        used[1] += sleeps.and_then(|sleeps| sleeps.trim().parse::<u64>().ok()).unwrap_or(0);
    }
    all
}

#[allow(clippy::cast_precision_loss, reason = "shares")]
pub(crate) fn compare(lab: &Lab, load: &Load, arguments: &[&str]) {
    let [driver, messages, rounds, programs @ ..] = arguments else { panic!("DRIVER MESSAGES ROUNDS PROGRAM…") };
    let (messages, rounds): (u64, usize) = (messages.parse().expect("MESSAGES"), rounds.parse().expect("ROUNDS"));
    let rate = load.packets_for(messages);
    println!("{driver}, {messages} messages/s, {rate} packets/s:\n");
    println!("| program | share of a core | engine | receivers | others | naps of the engine, of receivers | lost |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    let mut best: BTreeMap<&str, f64> = BTreeMap::new();
    for program in (0..rounds).flat_map(|_| programs) {
        let running = live(lab, program, driver);
        let warm = lab.in_sender(|| load.send(0, WARM.0, WARM.1));
        std::thread::sleep(super::SETTLING);
        let before = threads(&running);
        let start = std::time::Instant::now();
        let sent = match rate {
            0 => 0,
            _ => lab.in_sender(|| load.send(warm.frames, rate, MEASURED)).frames,
        };
        std::thread::sleep(MEASURED.saturating_sub(start.elapsed()));
        let time = start.elapsed().as_secs_f64();
        let after = threads(&running);
        std::thread::sleep(super::SETTLING);
        let got = super::Program::Live("").end(running);
        let used = |kind: &str| {
            let of = |threads: &Threads| threads.get(kind).copied().unwrap_or_default();
            let (before, after) = (of(&before), of(&after));
            [0, 1].map(|at: usize| after[at].saturating_sub(before[at]) as f64 / time)
        };
        let percent = |kind: &str| used(kind)[0] / 1e7;
        let share = ["engine", "receivers", "others"].map(percent);
        let all: f64 = share.iter().sum();
        let name = Path::new(program).file_name().map_or("", |name| name.to_str().unwrap());
        let lost = (warm.frames + sent).saturating_sub(got.frames);
        let [engine, receivers, others] = share;
        println!(
            "| {name} | {all:.2} % | {engine:.2} % | {receivers:.2} % | {others:.2} % | {:.0}, {:.0} /s | {lost} |",
            used("engine")[1],
            used("receivers")[1]
        );
        let least = best.entry(program).or_insert(f64::MAX);
        *least = least.min(all);
    }
    println!("\nbest: {best:.2?}");
}
