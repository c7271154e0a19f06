//! A real FIX engine for tests: the `QuickFIX` initiator, found or compiled, and the market that it trades in. It is the Python
//! package, where an interpreter has it (`TICKSCOPE_QUICKFIX_PYTHON`, else `python3`), else the C++ library (Debian:
//! libquickfix-dev g++). `QUICKFIX_DICTIONARIES` is a folder with its data dictionaries; the package brings them, Debian's
//! library does not.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use tickscope_sim::live::{Live, LiveSummary};

/// A connection is dropped, so that what was missed is sent again.
pub(crate) const SCENARIO: &str = r#"
duration = "120s"
[market]
symbols = 3
names = ["ALPHA"]
prices = [100.0]
rate = 2000.0
[orders]
drops = ["4s"]
[exchange]
pending = 0.2
unsolicited = 0.1
# Answers take long while the connection is dropped: some are due then for certain, and must come again afterwards.
latency = { median = "100us", sigma = 0.3, slow = [{ from = "3500ms", to = "6s", add = "400ms" }] }
"#;

/// The engine: a program and its first arguments. `None` after saying why there is none, which
/// `TICKSCOPE_REQUIRE_QUICKFIX=1` makes a failure. `tests` is the folder of the initiators.
pub(crate) fn engine(tests: &Path) -> Option<&'static [String]> {
    // Compiled once, whichever of the tests comes first.
    static ENGINE: OnceLock<Result<Vec<String>, String>> = OnceLock::new();
    match ENGINE.get_or_init(|| find(tests)) {
        Ok(engine) => Some(engine),
        Err(reason) => {
            let required = std::env::var("TICKSCOPE_REQUIRE_QUICKFIX").is_ok_and(|value| value == "1");
            assert!(!required, "QuickFIX is required: {reason}");
            eprintln!("SKIPPED: no QuickFIX: {reason}");
            None
        }
    }
}

/// Its other arguments: FIX's version, where the exchange listens, and where stores and logs go.
pub(crate) fn arguments(version: &str, address: SocketAddr, folder: &Path) -> Vec<String> {
    let dictionaries = std::env::var("QUICKFIX_DICTIONARIES").unwrap_or_default();
    let folder = folder.display().to_string();
    vec![version.to_owned(), address.to_string(), "ALPHA".to_owned(), folder, dictionaries]
}

/// Lets the engine trade at an exchange until it has logged out; what it says of that, and what the exchange does. Neither may
/// have sent a session-level reject.
pub(crate) fn trade(live: Live, mut client: Command) -> (Value, LiveSummary) {
    let stop = AtomicBool::new(false);
    let mut client = client.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(client.stdout.take().unwrap()).lines();
    let ready = lines.next().and_then(Result::ok);
    let (output, seen, summary) = std::thread::scope(|scope| {
        let exchange = scope.spawn(|| live.run(&stop));
        let seen = lines.map_while(Result::ok).last().unwrap_or_default();
        let output = client.wait_with_output().unwrap();
        stop.store(true, Ordering::Relaxed);
        (output, seen, exchange.join().unwrap().unwrap())
    });
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    assert_eq!(ready.as_deref(), Some("ready"));
    let seen: Value = serde_json::from_str(&seen).unwrap();
    assert_eq!(seen["rejects"], serde_json::json!([]), "{seen}");
    // One drop is arranged; a machine that stands still for seconds loses heartbeats, and then there are more.
    assert!(seen["logons"].as_u64().unwrap() >= 2, "{seen}");
    assert!(summary.connections >= 2);
    assert_eq!(summary.session_rejects, 0);
    (seen, summary)
}

/// The same, or why there is none.
fn find(tests: &Path) -> Result<Vec<String>, String> {
    let python = std::env::var("TICKSCOPE_QUICKFIX_PYTHON").unwrap_or_else(|_| "python3".into());
    let tried = Command::new(&python).args(["-c", "import quickfix"]).output();
    if tried.is_ok_and(|output| output.status.success()) {
        return Ok(vec![python, tests.join("quickfix_initiator.py").display().to_string()]);
    }
    let (source, folder) = (tests.join("quickfix_initiator.cpp"), Path::new(env!("CARGO_TARGET_TMPDIR")));
    let program = folder.join("quickfix_initiator");
    let written = |path: &Path| path.metadata().and_then(|file| file.modified()).ok();
    if written(&program).is_some_and(|made| written(&source).is_some_and(|source| source < made)) {
        return Ok(vec![program.display().to_string()]);
    }
    // Tests run in processes of their own, side by side: each compiles its own file, and the last one gives it its name.
    let unfinished = folder.join(format!("quickfix_initiator.{}", std::process::id()));
    // QuickFIX 1.15 of Debian 12 has exception specifications, which C++17 no longer knows.
    let mut compiler = Command::new("c++");
    compiler.args(["-std=c++14", "-w", "-o"]).arg(&unfinished).arg(source);
    match compiler.args(["-lquickfix", "-lpthread"]).output() {
        Ok(output) if output.status.success() => {
            std::fs::rename(unfinished, &program).unwrap();
            Ok(vec![program.display().to_string()])
        }
        Ok(_) => Err(format!("`{python}` has no package `quickfix`, and there is no C++ library (libquickfix-dev)")),
        Err(error) => Err(format!("`{python}` has no package `quickfix`, and c++: {error}")),
    }
}
