//! `tickscope live` on real kernel interfaces: network namespaces with veth pairs, made here and taken away again. Needs root,
//! `ip` and `tcpdump`; says `SKIPPED: reason` where that is not there, which `TICKSCOPE_REQUIRE_LIVE=1` makes a failure.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::print_stderr, reason = "what was measured, and why a test was skipped, is said on the terminal")]
#![allow(clippy::disallowed_methods, reason = "a test of live capture lives in real time")]

mod daemon;
mod engine;
mod equal;
mod faults;
mod flows;
mod garbage;
mod hops;
mod lab;
mod memory;
#[path = "../../nic/tests/live/net.rs"]
mod net;
mod open_metrics;
mod packets;
#[path = "../../sim/tests/engine/mod.rs"]
mod quickfix;
mod readers;
mod record;
mod rotated;
mod screen;
mod send;
mod stamps;
#[path = "../tui/terminal.rs"]
mod terminal;
mod threads;
mod verdict;
mod wire;
