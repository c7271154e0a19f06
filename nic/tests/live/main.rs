//! Captures on real kernel interfaces: two network namespaces with a veth pair between them, made here and taken away again.
//! Needs root (CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN) and `ip`; says `SKIPPED: reason` where that is not there, which
//! `TICKSCOPE_REQUIRE_LIVE=1` makes a failure.
#![allow(clippy::doc_markdown, reason = "names of the kernel are words here: AF_XDP, CLOCK_TAI")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::print_stderr, reason = "what was measured, and why a test was skipped, is said on the terminal")]

mod facts;
mod lab;
mod multicast;
mod net;
mod packet;
mod privileges;
mod rates;
mod traffic;
mod xdp;
