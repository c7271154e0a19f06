//! The screen in a real terminal, on captures that ship.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::print_stderr, reason = "why a test was skipped is said on the terminal")]
#![allow(clippy::disallowed_methods, reason = "a terminal lives in real time")]

mod terminal;

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use terminal::Terminal;

fn capture(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("captures").join(name).display().to_string()
}

fn analyzed(arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_tickscope"))
        .args(["analyze", "--json", "--quiet", "--no-progress"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The ClOrdID of the selected line, which is the first.
fn first_order(shown: &str) -> String {
    let line = shown.lines().skip_while(|line| !line.contains("clordid")).nth(1).unwrap();
    let name = line.split_whitespace().find(|word| word.starts_with("T01-"));
    name.unwrap_or_else(|| panic!("no order:\n{shown}")).to_owned()
}

#[test]
fn from_the_overview_to_the_packets_of_one_order_and_back() {
    let Some(terminal) = Terminal::open(120, 40) else { return };
    terminal.run(&format!("tui {}", capture("exchange-slows.pcap")));
    terminal.wait("IT IS THE EXCHANGE");
    terminal.keys(&["4"]);
    let all = terminal.wait("368 of 368 requests");
    // Whoever was slowest comes first.
    let slowest = first_order(&all);
    terminal.keys(&["/"]);
    terminal.keys(&["-l", "symbol:KRCK ack>200us"]);
    let filtered = terminal.wait("/symbol:KRCK ack>200us");
    terminal.keys(&["Enter"]);
    assert!(!filtered.contains("368 of 368"), "{filtered}");
    assert_eq!(first_order(&filtered), slowest, "it was in that symbol");
    terminal.keys(&["Enter"]);
    let order = terminal.wait("could have caused it");
    assert!(order.contains("trigger") && order.contains("+16.577 µs request"), "{order}");
    terminal.keys(&["Enter"]);
    terminal.wait("packet 1 of");
    // What was decoded stands above the bytes.
    terminal.keys(&["End"]);
    terminal.wait("   0000  01 00 5e");
    terminal.keys(&["p"]);
    let name = format!("tickscope-{slowest}.pcapng");
    terminal.wait(&format!("wrote packets to {name}"));
    terminal.keys(&["Escape"]);
    terminal.keys(&["x"]);
    terminal.wait("wrote order to");
    terminal.keys(&["q"]);
    terminal.wait("ended with 0.");
    terminal.is_sane();
    let file = terminal.folder.join(name);
    let report = analyzed(&[&file.display().to_string()]);
    assert_eq!((&report["requests"], &report["quality"]["adds_up"]), (&1.into(), &true.into()));
    assert_eq!(report["slowest"]["answer"][0]["clordid"], slowest.as_str());
    let ack = analyzed(&[&capture("exchange-slows.pcap")])["slowest"]["answer"][0]["ack_ns"].clone();
    assert_eq!(report["slowest"]["answer"][0]["ack_ns"], ack);
}

#[test]
fn figures_on_the_screen_are_those_of_the_report_digit_for_digit() {
    for name in ["exchange-slows.pcap", "calm.pcap"] {
        let Some(terminal) = Terminal::open(250, 50) else { return };
        terminal.run(&format!("tui --screen segments {}", capture(name)));
        terminal.wait("whole run");
        terminal.keys(&["u"]);
        let shown = terminal.wait("latencies in ns");
        let report = analyzed(&[&capture(name)]);
        let mut compared = 0;
        for (segment, figures) in report["segments"].as_object().unwrap() {
            let line = shown.lines().find(|line| line.trim_start_matches('│').starts_with(&format!("{segment} ")));
            let line = line.unwrap_or_else(|| panic!("no {segment}:\n{shown}"));
            // Name, n, p50, p99, p99/p50, max, trend, p99.9, p90, p99.99, min, mean: numbers are followed by ns.
            let words: Vec<&str> = line.trim_matches('│').split_whitespace().collect();
            let is_latency = |two: &&[&str]| two[1].starts_with("ns");
            let latencies: Vec<u64> =
                words.windows(2).filter(is_latency).map(|two| two[0].replace(',', "").parse().unwrap()).collect();
            let keys = ["p50_ns", "p99_ns", "max_ns", "p99_9_ns", "p90_ns", "p99_99_ns", "min_ns", "mean_ns"];
            let expected: Vec<u64> = keys.iter().map(|key| figures[key].as_u64().unwrap()).collect();
            assert_eq!(latencies, expected, "{line}");
            assert_eq!(words[1].replace(',', ""), figures["n"].to_string(), "{line}");
            compared += 1;
        }
        assert!(compared > 5);
        terminal.keys(&["q"]);
        terminal.wait("ended with 0.");
    }
}

#[test]
fn the_terminal_is_given_back_whatever_happens() {
    let Some(terminal) = Terminal::open(100, 30) else { return };
    // Where a child ends by SIGINT the shell leaves the rest of the line out.
    for (signal, ended) in [("TERM", "ended with 143."), ("HUP", "ended with 129."), ("INT", "ready>")] {
        terminal.run(&format!("tui {}", capture("calm.pcap")));
        terminal.wait("ALL NORMAL");
        let killed = Command::new("kill").args([&format!("-{signal}"), terminal.process().as_str()]).status().unwrap();
        assert!(killed.success());
        terminal.wait(ended);
        terminal.is_sane();
    }
    terminal.line("export TICKSCOPE_TEST_PANIC=1");
    terminal.run(&format!("tui {}", capture("calm.pcap")));
    terminal.wait("ALL NORMAL");
    terminal.keys(&["F12"]);
    let shown = terminal.wait("ended with 101.");
    assert!(shown.contains("a panic that a test asked for"), "{shown}");
    terminal.is_sane();
}

#[test]
fn it_can_be_suspended_and_comes_back() {
    let Some(terminal) = Terminal::open(100, 30) else { return };
    terminal.line("set -m");
    terminal.run(&format!("tui {}", capture("calm.pcap")));
    terminal.wait("ALL NORMAL");
    terminal.keys(&["C-z"]);
    terminal.wait("Stopped");
    terminal.is_sane();
    terminal.line("clear; fg");
    terminal.wait("ALL NORMAL");
    terminal.tmux(&["resize-window", "-x", "70", "-y", "20"]);
    terminal.wait("tickscope needs 80×24");
    terminal.tmux(&["resize-window", "-x", "90", "-y", "28"]);
    terminal.wait("ALL NORMAL");
    terminal.keys(&["C-c"]);
    terminal.wait("ready>");
    terminal.is_sane();
}
