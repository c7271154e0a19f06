//! A real FIX engine talks to the live mock exchange: `QuickFIX` logs on, trades, is dropped, resends, logs out, in FIX
//! 4.2, 4.4 and 5.0 SP2, and neither side sends a session-level reject. See engine/mod.rs for where the engine comes from.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test, which says where it cannot run")]

use std::path::Path;
use std::process::Command;

use tickscope_sim::Scenario;
use tickscope_sim::live::{Live, MarketData, Options};

mod engine;

fn talk(version: &str) {
    let Some(engine) = engine::engine(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")) else { return };
    let scenario = Scenario::parse(engine::SCENARIO, "quickfix").unwrap();
    let options = Options::new(scenario, MarketData::parse("127.0.0.1:36477"), "127.0.0.1:0".parse().unwrap());
    let live = Live::bind(options).unwrap();
    let folder = std::env::temp_dir().join(format!("tickscope-quickfix-{}-{version}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut client = Command::new(&engine[0]);
    client.args(&engine[1..]).args(engine::arguments(version, live.fix_address().unwrap(), &folder));
    let (seen, summary) = engine::trade(live, client);
    for at_least_one in ["fills", "cancelled", "replaced", "copies", "resend_requests"] {
        assert!(seen[at_least_one].as_u64().unwrap() > 0, "{at_least_one}: {seen}");
    }
    assert!(summary.messages > 1_000, "{summary:?}");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn quickfix_talks_fix_42() {
    talk("4.2");
}

#[test]
fn quickfix_talks_fix_44() {
    talk("4.4");
}

#[test]
fn quickfix_talks_fix_50_sp2() {
    talk("5.0sp2");
}
