//! `tickscope live` on real kernel interfaces: network namespaces with veth pairs, made here and taken away again. Needs root,
//! `ip` and `tcpdump`; says `SKIPPED: reason` where that is not there, which `TICKSCOPE_REQUIRE_LIVE=1` makes a failure.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::print_stderr, reason = "what was measured, and why a test was skipped, is said on the terminal")]
#![allow(clippy::disallowed_methods, reason = "a test of live capture lives in real time")]

mod daemon;
mod equal;
mod faults;
mod lab;
#[path = "../../nic/tests/live/net.rs"]
mod net;
mod open_metrics;
mod packets;
mod readers;
mod record;
mod send;
mod stamps;
mod threads;
mod verdict;
