//! The screen in a real terminal: tmux types, and says what stands there. Where it is absent the tests say `SKIPPED`, which
//! `TICKSCOPE_REQUIRE_TMUX=1` makes a failure.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::print_stderr, reason = "why a test was skipped is said on the terminal")]
#![allow(clippy::disallowed_methods, reason = "a terminal lives in real time")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

static NUMBER: AtomicU32 = AtomicU32::new(0);
/// So long something may take to appear, on a busy machine and in a debug build.
const PATIENCE: Duration = Duration::from_secs(120);

/// A terminal with a shell in a folder of its own.
struct Terminal {
    name: String,
    folder: PathBuf,
}

impl Terminal {
    fn open(columns: u16, rows: u16) -> Option<Terminal> {
        let required = std::env::var("TICKSCOPE_REQUIRE_TMUX").is_ok_and(|value| value == "1");
        if Command::new("tmux").arg("-V").output().is_err() {
            assert!(!required, "tmux is required");
            eprintln!("SKIPPED: there is no tmux");
            return None;
        }
        let name = format!("tickscope-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(&name);
        fs::create_dir_all(&folder).unwrap();
        let terminal = Terminal { name, folder };
        let size = [columns.to_string(), rows.to_string()];
        let folder = terminal.folder.display().to_string();
        terminal.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", &size[0], "-y", &size[1], "-c", &folder, "sh"]);
        terminal.line("PS1='ready> '; export TERM=screen-256color; clear");
        terminal.wait("ready>");
        Some(terminal)
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let output = Command::new("tmux").args(["-L", &self.name]).args(arguments).env_remove("TMUX").output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Keys by their names, as tmux calls them.
    fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    fn line(&self, text: &str) {
        self.tmux(&["send-keys", "-l", text]);
        self.keys(&["Enter"]);
    }

    fn shown(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Waits until that stands there.
    fn wait(&self, part: &str) -> String {
        let start = Instant::now();
        loop {
            let shown = self.shown();
            if shown.contains(part) {
                return shown;
            }
            assert!(start.elapsed() < PATIENCE, "{part:?} never came:\n{shown}");
            sleep(Duration::from_millis(50));
        }
    }

    fn run(&self, arguments: &str) {
        self.line(&format!("clear; {} {arguments}; echo ended with $?.", env!("CARGO_BIN_EXE_tickscope")));
    }

    /// The program's process.
    fn process(&self) -> String {
        let shell = self.tmux(&["display", "-p", "#{pane_pid}"]);
        let output = Command::new("pgrep").args(["-P", shell.trim()]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// The terminal is as it was: no other screen, a cursor, no mouse, lines and echo.
    fn is_sane(&self) {
        let flags = self.tmux(&["display", "-p", "#{alternate_on} #{cursor_flag} #{mouse_any_flag}"]);
        assert_eq!(flags.trim(), "0 1 0", "{}", self.shown());
        self.line("clear; stty -a");
        let modes = self.wait("icanon");
        assert!(!modes.contains("-icanon") && !modes.contains("-echo ") && !modes.contains("-isig"), "{modes}");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new("tmux").args(["-L", &self.name, "kill-server"]).output();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

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
    let packet = terminal.wait("packet 1 of");
    assert!(packet.contains("0000  "), "{packet}");
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
        let Some(terminal) = Terminal::open(200, 50) else { return };
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
