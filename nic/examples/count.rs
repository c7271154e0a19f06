//! Counts the frames of an interface, once a second, with where their times come from: for trying a driver by hand.
//!
//! `count IF [xdp|afpacket|auto] [generic|native] [steal] [PORT…]`
#![allow(clippy::doc_markdown, reason = "names of the kernel are words here: AF_XDP, CLOCK_TAI")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "that is what it is for")]
#![allow(clippy::disallowed_methods, reason = "it prints once a second of real time")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tickscope_nic::{Capture, Driver, Options, Waited, XdpMode};

fn main() -> std::process::ExitCode {
    match run() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let interface = arguments.next().ok_or("count IF [xdp|afpacket|auto] [generic|native] [steal] [PORT...]")?;
    let mut options = Options::new(&interface);
    for argument in arguments {
        match argument.as_str() {
            "xdp" => options.driver = Driver::Xdp,
            "afpacket" => options.driver = Driver::AfPacket,
            "auto" => options.driver = Driver::Auto,
            "generic" => options.xdp.mode = XdpMode::Generic,
            "native" => options.xdp.mode = XdpMode::Native,
            "steal" => options.xdp.steal = true,
            port => options.filter.ports.push(port.parse().map_err(|_| format!("{port} is no port and no word"))?),
        }
    }
    let mut capture = Capture::open(&options)?;
    println!("ready: {}", capture.chosen());
    let mut receivers = capture.receivers();
    let mut next = Instant::now();
    loop {
        let mut sources: BTreeMap<&str, u64> = BTreeMap::new();
        next += Duration::from_secs(1);
        while Instant::now() < next {
            for receiver in &mut receivers {
                if receiver.wait(Duration::from_millis(20))? == Waited::Ready {
                    receiver.each(1024, &mut |frame| *sources.entry(frame.source.name()).or_default() += 1);
                }
            }
        }
        capture.advance(&mut |event| println!("{event}"))?;
        for counters in capture.counters()? {
            counters.check()?;
            let losses: Vec<_> = counters.losses().into_iter().filter(|(_, frames)| *frames > 0).collect();
            println!(
                "queue {}: seen {} delivered {} lost {losses:?}; now {sources:?}",
                counters.queue, counters.seen, counters.delivered
            );
        }
    }
}
