//! The screen of a run: at its own terminal, and connected to a daemon, which outlives it.

use std::process::Command;

use serde_json::Value;

use super::daemon::{Folder, live, program};
use super::lab::Lab;
use super::readers::{is_done, play, reader};
use super::terminal::Terminal;

fn once(socket: &str, arguments: &[&str]) -> String {
    let output = Command::new(program()).args(["tui", "--connect", socket, "--once"]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_screen_reads_from_a_daemon_and_leaves_it_running() {
    let Some(lab) = Lab::new() else { return };
    let Some(terminal) = Terminal::open(120, 40) else { return };
    let folder = Folder::new("screen");
    let socket = folder.file("live.sock");
    let running = live(&lab, "afpacket", &["--json", "--socket", &socket]);
    terminal.run(&format!("tui --connect {socket}"));
    terminal.wait("TOO FEW REQUESTS");
    let done = reader(&socket, is_done);
    play(&lab, &folder);
    done.join().unwrap();
    let snapshot: Value = serde_json::from_str(&once(&socket, &["--json"])).unwrap();
    let requests = snapshot["requests"].as_u64().unwrap();
    assert!(requests > 300 && snapshot["of_capture"] == false);
    assert!(once(&socket, &["--size", "120x40"]).contains(&format!("{requests} in all")));
    terminal.keys(&["4"]);
    terminal.wait(&format!("{requests} of {requests} requests"));
    terminal.keys(&["Enter"]);
    terminal.wait("could have caused it");
    terminal.keys(&["Enter"]);
    // Without a flight recorder there are no packets, and it says how there would be.
    terminal.wait("--flight");
    terminal.keys(&["2", "b", "b"]);
    terminal.wait("t2t by symbol");
    terminal.keys(&["6"]);
    terminal.wait("AF_PACKET");
    terminal.keys(&["q"]);
    terminal.wait("ended with 0.");
    terminal.is_sane();
    // The daemon goes on; a screen that is there when it ends shows that, greyed, and waits.
    terminal.run(&format!("tui --connect {socket}"));
    terminal.wait("live");
    let (status, _, said) = running.end(libc::SIGTERM);
    assert!(status.success(), "{said:#?}");
    terminal.wait("CONNECTION LOST");
    let again = live(&lab, "afpacket", &["--json", "--socket", &socket]);
    let shown = terminal.wait("TOO FEW REQUESTS");
    assert!(!shown.contains("CONNECTION LOST"), "{shown}");
    terminal.keys(&["q"]);
    terminal.wait("ended with 0.");
    again.end(libc::SIGTERM);
}

#[test]
fn live_at_a_terminal_shows_the_screen_and_ends_with_its_report() {
    let Some(lab) = Lab::new() else { return };
    let Some(terminal) = Terminal::open(120, 40) else { return };
    let folder = Folder::new("at-terminal");
    let taps = "--tap md=md1,driver=afpacket --tap ord=or1,driver=afpacket --socket none";
    terminal.line(&format!(
        "ip netns exec {} {} live {taps} --flight 60s; echo ended with $?.",
        lab.receiver,
        program()
    ));
    terminal.wait("1 overview");
    play(&lab, &folder);
    terminal.keys(&["4"]);
    terminal.wait("requests  slowest first");
    terminal.keys(&["Enter"]);
    terminal.wait("could have caused it");
    terminal.keys(&["Enter"]);
    terminal.wait("packet 1 of");
    terminal.keys(&["q"]);
    terminal.wait("ended with 0.");
    let report = terminal.whole();
    assert!(report.contains("LATENCY"), "{report}");
    terminal.is_sane();
}
