//! AF_XDP: what matches is taken from the driver exactly once with its time, everything else reaches the host; trouble is told
//! and counted.

#![allow(clippy::disallowed_methods, reason = "a test of live capture lives in real time")]

use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tickscope_nic::{BusyPoll, Capture, Driver, Event, Filter, OpenError, Options, Source, Waited, XdpMode};

use super::lab::{A_ADDRESS, B_ADDRESS, LINK, Lab, Setup};
use super::packet::expect;
use super::traffic::{HEADERS, PAYLOAD, Seen, await_seen, check_stamps, finish, read, send, send_raw, tagged_frames};

const IDLE: Duration = Duration::from_millis(300);
/// The host has an address, so that what the program passes can be received.
const STEAL: Setup = Setup { has_address: true, queues: 1, has_offloads: false, mtu: 1500 };

fn options(ports: &[u16], mode: XdpMode) -> Options {
    let mut options = Options::new(LINK);
    options.driver = Driver::Xdp;
    options.filter = Filter { ports: ports.to_vec(), addresses: Vec::new() };
    options.xdp.mode = mode;
    options.xdp.steal = true;
    options.xdp.ring_frames = 8192;
    options
}

/// Frames of port `port` are taken, with their stamps; those of the next one reach the host.
fn takes_its_port(mode: XdpMode, port: u16) {
    let Some(lab) = Lab::new(STEAL) else { return };
    let mut capture = lab.in_b(|| Capture::open(&options(&[port], mode)).unwrap());
    let chosen = capture.chosen().to_string();
    let word =
        if mode == XdpMode::Native { "native, copied, 1 of 1 queues with 8192 frames" } else { "generic, copied" };
    assert!(chosen.starts_with("AF_XDP (") && chosen.contains(word), "{chosen}");
    // The program that asks the driver for the NIC's stamp: veth has that function (Linux 6.3), and no NIC.
    let kernel = std::fs::read("/sys/kernel/btf/vmlinux").unwrap_or_default();
    let function = b"bpf_xdp_metadata_rx_timestamp";
    let has_function = kernel.windows(function.len()).any(|found| found == function);
    assert_eq!(chosen.contains("would pass on the NIC's"), has_function && mode == XdpMode::Native, "{chosen}");
    let mut receivers = capture.receivers();
    let host = lab.in_b(|| UdpSocket::bind((B_ADDRESS, port + 1)).unwrap());
    let host_port = lab.in_b(|| UdpSocket::bind((B_ADDRESS, port)).unwrap());
    thread::scope(|scope| {
        scope.spawn(|| {
            lab.in_a(|| {
                let socket = UdpSocket::bind((A_ADDRESS, 0)).unwrap();
                send(&socket, port, 20_000, 20_000);
                // As many as a socket's buffer holds where each takes a page (native mode, Linux 6.1).
                send(&socket, port + 1, 40, 20_000);
            });
        });
        let seen = read(&mut receivers[0], IDLE);
        assert!(seen.iter().map(Seen::number).eq(0..20_000), "{} frames", seen.len());
        assert!(seen.iter().all(|seen| seen.source == Source::KernelXdpTai && !seen.is_out));
        assert!(seen.iter().all(|seen| seen.bytes.len() == HEADERS + PAYLOAD && seen.wire_len == 142));
        assert!(seen.windows(2).all(|pair| pair[0].time_ns <= pair[1].time_ns));
        check_stamps(&chosen, &seen);
    });
    let (rest, counters) = finish(&mut capture, &mut receivers, 20_000);
    assert_eq!((rest.len(), counters[0].seen, counters[0].delivered, counters[0].lost()), (0, 20_000, 20_000, 0));
    for (socket, expected) in [(host, 40), (host_port, 0)] {
        socket.set_nonblocking(true).unwrap();
        let got = std::iter::from_fn(|| socket.recv(&mut [0; 200]).ok()).count();
        assert_eq!(got, expected);
    }
}

#[test]
fn native_mode_takes_its_port_and_passes_the_rest() {
    takes_its_port(XdpMode::Native, 7101);
}

#[test]
fn generic_mode_takes_its_port_and_passes_the_rest() {
    takes_its_port(XdpMode::Generic, 7111);
}

#[test]
fn a_stamp_inside_the_frame_is_taken_out_again() {
    let Some(lab) = Lab::new(STEAL) else { return };
    for mode in [XdpMode::Native, XdpMode::Generic] {
        let mut options = options(&[7115], mode);
        options.xdp.is_note_inside = true;
        let mut capture = lab.in_b(|| Capture::open(&options).unwrap());
        let mut receivers = capture.receivers();
        lab.in_a(|| send(&UdpSocket::bind((A_ADDRESS, 0)).unwrap(), 7115, 1000, 20_000));
        let (seen, _) = finish(&mut capture, &mut receivers, 1000);
        assert!(seen.iter().map(Seen::number).eq(0..1000));
        assert!(seen.iter().all(|seen| seen.source == Source::KernelXdpTai && seen.wire_len == 142));
        check_stamps("written into the frame", &seen);
    }
}

#[test]
fn vlan_tags_are_as_on_the_wire() {
    let Some(lab) = Lab::new(STEAL) else { return };
    for mode in [XdpMode::Native, XdpMode::Generic] {
        let mut capture = lab.in_b(|| Capture::open(&options(&[7120], mode)).unwrap());
        let mut receivers = capture.receivers();
        let frames = tagged_frames(lab.macs(), 7120);
        lab.in_a(|| send_raw(LINK, &frames));
        let (seen, _) = finish(&mut capture, &mut receivers, 5);
        let bytes: Vec<_> = seen.into_iter().map(|seen| seen.bytes).collect();
        assert_eq!(bytes, frames, "{mode:?}");
    }
}

#[test]
fn destination_addresses_match_and_an_empty_filter_takes_everything() {
    let Some(lab) = Lab::new(STEAL) else { return };
    for (addresses, expected) in [(vec![B_ADDRESS, "ff02::5"], 5), (vec!["10.77.0.9"], 0), (vec![], 5)] {
        let mut options = options(&[], XdpMode::Native);
        options.filter.addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        let mut capture = lab.in_b(|| Capture::open(&options).unwrap());
        let mut receivers = capture.receivers();
        lab.in_a(|| send_raw(LINK, &tagged_frames(lab.macs(), 7130)));
        let (seen, _) = finish(&mut capture, &mut receivers, expected);
        // Neighbour discovery comes by itself.
        let ours = seen.iter().filter(|seen| seen.bytes.ends_with(&[0x5A; PAYLOAD])).count();
        assert_eq!(ours as u64, expected, "{addresses:?}");
    }
}

#[test]
fn a_reader_that_is_too_slow_loses_frames_and_every_one_is_counted() {
    let Some(lab) = Lab::new(STEAL) else { return };
    for mode in [XdpMode::Native, XdpMode::Generic] {
        let mut options = options(&[7140], mode);
        options.xdp.ring_frames = 1024;
        let mut capture = lab.in_b(|| Capture::open(&options).unwrap());
        let mut receivers = capture.receivers();
        let socket = lab.in_a(|| UdpSocket::bind((A_ADDRESS, 0)).unwrap());
        // Not so fast that veth's own queue of 256 frames overflows, which comes before all counters.
        send(&socket, 7140, 5_000, 20_000);
        await_seen(&capture, 5_000);
        let before = capture.counters().unwrap()[0];
        before.check().unwrap();
        assert_eq!((before.seen, before.delivered, before.ring_full), (5_000, 0, 5_000 - 1024), "{before:?}");
        let mut seen = read(&mut receivers[0], IDLE);
        assert!(seen.iter().map(Seen::number).eq(0..1024));
        send(&socket, 7140, 10, 20_000);
        let (rest, counters) = finish(&mut capture, &mut receivers, 5_010);
        assert_eq!((rest.len(), counters[0].lost()), (10, before.lost()), "{counters:?}");
        seen.extend(rest);
        let is_marked = |at: &usize| seen[*at].flags.contains(tickscope_nic::Flags::LOSS_BEFORE);
        assert_eq!((0..seen.len()).filter(is_marked).collect::<Vec<_>>(), [1024]);
    }
}

#[test]
fn frames_that_are_too_long_are_counted() {
    // Generic mode: a driver's own limit for native programs is lower.
    let Some(lab) = Lab::new(Setup { mtu: 6000, ..STEAL }) else { return };
    let mut capture = lab.in_b(|| Capture::open(&options(&[7150], XdpMode::Generic)).unwrap());
    let mut receivers = capture.receivers();
    let socket = lab.in_a(|| UdpSocket::bind((A_ADDRESS, 0)).unwrap());
    for (length, count) in [(3840 - HEADERS, 3), (3841 - HEADERS, 2), (5000, 2)] {
        for _ in 0..count {
            socket.send_to(&vec![1; length], (B_ADDRESS, 7150)).unwrap();
        }
    }
    let (seen, counters) = finish(&mut capture, &mut receivers, 7);
    assert!(capture.chosen().how.contains("of 3840 bytes at most"), "{}", capture.chosen());
    assert_eq!((seen.len(), counters[0].too_long, counters[0].lost()), (3, 4, 4), "{counters:?}");
}

#[test]
fn every_queue_has_its_receiver_and_one_that_is_left_out_passes_its_frames() {
    let Some(lab) = Lab::new(Setup { queues: 2, ..STEAL }) else { return };
    let mut options = options(&[7160], XdpMode::Native);
    let mut capture = lab.in_b(|| Capture::open(&options).unwrap());
    let mut receivers = capture.receivers();
    assert_eq!(receivers.len(), 2);
    let flows = || {
        lab.in_a(|| {
            for _ in 0..32 {
                send(&UdpSocket::bind((A_ADDRESS, 0)).unwrap(), 7160, 50, 20_000);
            }
        });
    };
    flows();
    let (seen, counters) = finish(&mut capture, &mut receivers, 1600);
    assert_eq!((seen.len(), counters.len()), (1600, 2));
    assert!(seen.iter().all(|seen| seen.queue < 2));
    let first = counters[0].seen;
    drop((capture, receivers));

    options.xdp.queues = vec![1];
    let mut capture = lab.in_b(|| Capture::open(&options).unwrap());
    let mut receivers = capture.receivers();
    assert_eq!((receivers.len(), receivers[0].queue()), (1, 1));
    flows();
    let (seen, counters) = finish(&mut capture, &mut receivers, 1600);
    assert_eq!(counters[0].seen + counters[1].seen, 1600);
    assert_eq!((counters[0].no_socket, counters[1].delivered), (counters[0].seen, seen.len() as u64), "{first} before");
}

#[test]
fn a_link_that_goes_down_is_told_and_frames_come_again_when_it_is_back() {
    let Some(lab) = Lab::new(STEAL) else { return };
    let mut capture = lab.in_b(|| Capture::open(&options(&[7170], XdpMode::Native)).unwrap());
    let mut receivers = capture.receivers();
    let socket = lab.in_a(|| UdpSocket::bind((A_ADDRESS, 0)).unwrap());
    send(&socket, 7170, 10, 1000);
    assert_eq!(read(&mut receivers[0], IDLE).len(), 10);
    lab.ip_b("link set veth0 down");
    expect(&mut capture, &Event::LinkDown);
    assert_eq!(receivers[0].wait(Duration::from_millis(5)).unwrap(), Waited::LinkDown);
    lab.ip_b("link set veth0 up");
    expect(&mut capture, &Event::LinkUp);
    send(&socket, 7170, 10, 1000);
    let (seen, counters) = finish(&mut capture, &mut receivers, 20);
    assert_eq!((seen.len(), counters[0].seen), (10, 20));
}

#[test]
fn an_interface_of_the_host_is_refused_and_so_is_a_second_program() {
    let Some(lab) = Lab::new(STEAL) else { return };
    lab.in_b(|| {
        let mut kind = options(&[7180], XdpMode::Auto);
        kind.xdp.steal = false;
        let error = Capture::open(&kind).err().unwrap();
        assert!(matches!(&error, OpenError::InUse { address, .. } if address == B_ADDRESS), "{error}");
        kind.driver = Driver::Auto;
        let capture = Capture::open(&kind).unwrap();
        let chosen = capture.chosen();
        assert_eq!(chosen.driver, Driver::AfPacket);
        assert!(chosen.why.contains("carries 10.77.0.2 of this host"), "{chosen}");

        kind.xdp.steal = true;
        let first = Capture::open(&kind).unwrap();
        assert_eq!(first.chosen().driver, Driver::Xdp);
        let second = Capture::open(&options(&[7181], XdpMode::Auto)).err().unwrap();
        assert!(matches!(second, OpenError::Busy { .. }), "{second}");
        assert_eq!(second.errno(), Some(libc::EBUSY), "{second}");
    });
}

#[test]
fn a_receiver_that_lets_frames_gather_is_woken_before_there_are_too_many() {
    for mode in [XdpMode::Native, XdpMode::Generic] {
        let Some(lab) = Lab::new(STEAL) else { return };
        let mut capture = lab.in_b(|| Capture::open(&options(&[7183], mode)).unwrap());
        let mut receivers = capture.receivers();
        let receiver = &mut receivers[0];
        let socket = lab.in_a(|| UdpSocket::bind((A_ADDRESS, 0)).unwrap());
        let (short, long) = (Duration::from_millis(100), Duration::from_secs(20));
        let start = Instant::now();
        let mut seen = Vec::new();
        thread::scope(|scope| {
            // More than twice as many as the ring has room for.
            let sender = scope.spawn(|| lab.in_a(|| send(&socket, 7183, 20_000, 40_000)));
            while seen.len() < 18_000 {
                receiver.gather(long).unwrap();
                while receiver.each(256, &mut |frame| seen.push(Seen::of(&frame))) > 0 {}
            }
            sender.join().unwrap();
        });
        assert!(start.elapsed() < long, "nobody woke it");
        while receiver.wait(short).unwrap() == Waited::Ready {
            receiver.each(256, &mut |frame| seen.push(Seen::of(&frame)));
        }
        assert!(seen.iter().map(Seen::number).eq(0..20_000), "{} frames", seen.len());
        // Few frames wake nobody, nor do words of the past.
        send(&socket, 7183, 10, 1_000_000);
        let start = Instant::now();
        receiver.gather(short).unwrap();
        assert!(start.elapsed() >= short);
        finish(&mut capture, &mut receivers, 20_010);
    }
}

#[test]
fn busy_polling_gives_the_same_frames() {
    let Some(lab) = Lab::new(STEAL) else { return };
    let mut options = options(&[7185], XdpMode::Native);
    options.xdp.busy_poll = Some(BusyPoll { time: Duration::from_micros(20), budget: 64 });
    let mut capture = lab.in_b(|| Capture::open(&options).unwrap());
    let mut receivers = capture.receivers();
    lab.in_a(|| send(&UdpSocket::bind((A_ADDRESS, 0)).unwrap(), 7185, 1000, 20_000));
    let seen = read(&mut receivers[0], IDLE);
    assert!(seen.iter().map(Seen::number).eq(0..1000));
    finish(&mut capture, &mut receivers, 1000);
}

/// Whether the interface of `b` has a program, by `ip`.
fn has_program(lab: &Lab) -> bool {
    lab.ip_b("link show veth0").contains("xdp")
}

#[test]
fn a_process_that_is_killed_leaves_nothing_behind() {
    let Some(lab) = Lab::new(STEAL) else { return };
    // Beside this test's own binary, where cargo puts examples.
    let example = std::env::current_exe().unwrap().parent().unwrap().join("../examples/count");
    assert!(example.exists(), "build it: cargo build -p tickscope-nic --example count");
    let mut child = Command::new("ip")
        .args(["netns", "exec", lab.b_name(), example.to_str().unwrap(), LINK, "xdp", "steal", "7190"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("ready: AF_XDP (native, copied"), "{line}");
    assert!(has_program(&lab));
    // `ip netns exec` becomes the example, so this is its number.
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!has_program(&lab));
    // And the queue can be had again.
    let mut capture = lab.in_b(|| Capture::open(&options(&[7190], XdpMode::Native)).unwrap());
    assert!(has_program(&lab));
    capture.stop();
    assert!(!has_program(&lab));
}

#[test]
fn memory_that_is_used_again_and_again_gives_every_frame_once() {
    let Some(lab) = Lab::new(STEAL) else { return };
    let mut options = options(&[7195], XdpMode::Native);
    options.xdp.ring_frames = 64;
    let mut capture = lab.in_b(|| Capture::open(&options).unwrap());
    let mut receivers = capture.receivers();
    let socket = lab.in_a(|| UdpSocket::bind((A_ADDRESS, 0)).unwrap());
    let mut seen = Vec::new();
    for _ in 0..200 {
        send(&socket, 7195, 50, 1_000_000);
        // A small budget: what is left stays where it is.
        while receivers[0].each(7, &mut |frame| seen.push(Seen::of(&frame))) > 0 {}
    }
    let (rest, counters) = finish(&mut capture, &mut receivers, 10_000);
    assert_eq!((seen.len() + rest.len()) as u64 + counters[0].ring_full, 10_000, "{counters:?}");
    assert!(seen.windows(2).all(|pair| pair[0].time_ns < pair[1].time_ns), "a stamp is its own frame's");
    let right = seen.chunks(50).all(|chunk| chunk.iter().map(Seen::number).eq(0..50));
    assert!(right || counters[0].ring_full > 0);
}
