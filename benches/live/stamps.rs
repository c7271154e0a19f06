//! How far the stamps of captured orders are from the time at which they were handed to the kernel.

use std::time::Duration;

use super::daemon::{Folder, Running, program};
use super::lab::{ARRIVES, Lab};
use super::send::Load;

/// Frames, and how many a second: so few that nothing waits for anything else.
const FRAMES: usize = 60_000;
const RATE: u64 = 10_000;

#[allow(clippy::cast_possible_wrap, reason = "times of this century")]
pub(crate) fn errors(lab: &Lab, load: &Load) {
    println!(
        "\nStamps against the sender's clock just before it sends, {RATE} packets/s, messages of orders' clients:\n"
    );
    println!("| driver | requests | p50 | p99 | most |\n| --- | ---: | ---: | ---: | ---: |");
    for driver in ["afpacket", "xdp"] {
        let folder = Folder::new(&format!("stamps-{driver}"));
        let orders = folder.file("orders.csv");
        let mut command = Lab::command(&lab.receiver, program());
        let tap = format!("all={},driver={driver}", ARRIVES[0]);
        command.args(["live", "--headless", "--tap", &tap, "--orders", &orders]);
        let running = Running::start(command, "capturing");
        let sent = lab.in_sender(|| load.send_timed(RATE, FRAMES));
        std::thread::sleep(Duration::from_millis(500));
        running.end(libc::SIGINT);
        let text = std::fs::read_to_string(&orders).expect("the rows");
        let mut lines = text.lines();
        let column = lines.next().and_then(|names| names.split(',').position(|name| name == "t_out_ns")).unwrap();
        let stamps = lines.filter_map(|line| line.split(',').nth(column)?.parse::<u64>().ok());
        // The frame that was sent last before the stamp is the request's own.
        let error = |stamp: u64| {
            let behind = sent.times.partition_point(|time| *time <= stamp);
            Some(stamp as i64 - *sent.times.get(behind.checked_sub(1)?)? as i64)
        };
        let mut errors: Vec<i64> = stamps.filter_map(error).collect();
        errors.sort_unstable();
        let at = |percent: usize| errors.get((errors.len().saturating_sub(1)) * percent / 100).copied().unwrap_or(0);
        println!("| {driver} | {} | {} ns | {} ns | {} ns |", errors.len(), at(50), at(99), at(100));
    }
}
