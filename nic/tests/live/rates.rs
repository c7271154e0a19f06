//! How fast each driver can be fed here without loss, beside each other. Figures depend on the machine, so it is run by hand:
//! `cargo test --profile quick -p tickscope-nic --test live rates -- --ignored --nocapture`
#![allow(unsafe_code, reason = "sendmmsg(2) has no safe interface")]
#![allow(clippy::disallowed_methods, reason = "a measurement lives in real time")]
#![allow(clippy::cast_precision_loss, reason = "percentages for the screen")]

use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::thread;
use std::time::{Duration, Instant};

use tickscope_nic::{Capture, Driver, Filter, Options, Waited, XdpMode};

use super::lab::{A_ADDRESS, B_ADDRESS, LINK, Lab, Setup};
use super::traffic::{HEADERS, PAYLOAD};

const BATCH: usize = 32;
const SECONDS: u64 = 2;

/// Sends datagrams that carry the time before their batch was sent; how many were sent.
fn flood(socket: &UdpSocket, rate: u64) -> u64 {
    let mut payloads = [[0u8; PAYLOAD]; BATCH];
    let mut parts: Vec<libc::iovec> = payloads
        .iter_mut()
        .map(|payload| libc::iovec { iov_base: payload.as_mut_ptr().cast(), iov_len: PAYLOAD })
        .collect();
    // SAFETY: all zero is a message header without anything.
    let mut messages: Vec<libc::mmsghdr> = (0..BATCH).map(|_| unsafe { std::mem::zeroed() }).collect();
    for (message, part) in messages.iter_mut().zip(&mut parts) {
        message.msg_hdr.msg_iov = part;
        message.msg_hdr.msg_iovlen = 1;
    }
    let start = Instant::now();
    let mut sent = 0;
    while start.elapsed() < Duration::from_secs(SECONDS) {
        let due = Duration::from_nanos(sent * 1_000_000_000 / rate);
        let ahead = due.saturating_sub(start.elapsed());
        if ahead > Duration::from_micros(100) {
            thread::sleep(ahead);
        }
        let count = u32::try_from(BATCH).unwrap();
        // SAFETY: headers, parts and payloads live until the end of this function.
        let result = unsafe { libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), count, 0) };
        // Nobody listens: the host's answer to an earlier datagram (ECONNREFUSED) comes instead of sending.
        sent += u64::try_from(result).unwrap_or(0);
    }
    sent
}

fn connected_flood(rate: u64) -> u64 {
    let socket = UdpSocket::bind((A_ADDRESS, 0)).unwrap();
    socket.connect((B_ADDRESS, 7200)).unwrap();
    flood(&socket, rate)
}

#[test]
#[ignore = "a measurement, not a check"]
fn rates_without_loss() {
    let Some(lab) = Lab::new(Setup { has_address: true, ..Setup::default() }) else { return };
    for rate in [50_000, 200_000, 10_000_000] {
        let alone = lab.in_a(|| connected_flood(rate));
        eprintln!("nobody captures: sent {} per second", alone / SECONDS);
        for (driver, mode) in
            [(Driver::AfPacket, XdpMode::Auto), (Driver::Xdp, XdpMode::Native), (Driver::Xdp, XdpMode::Generic)]
        {
            let mut options = Options::new(LINK);
            options.driver = driver;
            options.xdp.mode = mode;
            options.xdp.steal = true;
            options.filter = Filter { ports: vec![7200], addresses: Vec::new() };
            let mut capture = lab.in_b(|| Capture::open(&options).unwrap());
            let mut receiver = capture.receivers().remove(0);
            let reader = thread::spawn(move || {
                let mut bytes = 0;
                while receiver.wait(Duration::from_millis(10)).unwrap() != Waited::Ended {
                    receiver.each(1024, &mut |frame| bytes += frame.bytes.len());
                }
                bytes
            });
            let sent = lab.in_a(|| connected_flood(rate));
            capture.stop();
            let bytes = reader.join().unwrap();
            let counters = capture.counters().unwrap()[0];
            counters.check_finished().unwrap();
            assert_eq!(bytes as u64, counters.delivered * (HEADERS + PAYLOAD) as u64);
            eprintln!(
                "{driver:?} {mode:?}: sent {} per second, seen {:.2} %, delivered {:.2} %, lost {:?}",
                sent / SECONDS,
                counters.seen as f64 * 100.0 / sent as f64,
                counters.delivered as f64 * 100.0 / sent as f64,
                counters.losses().into_iter().filter(|(_, frames)| *frames > 0).collect::<Vec<_>>(),
            );
        }
    }
}
