//! AF_PACKET: everything arrives exactly once, as it was on the wire, with its direction; trouble is told and counted.
#![allow(clippy::disallowed_methods, reason = "a test of live capture lives in real time")]

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use tickscope_nic::{Capture, Driver, Event, Filter, Flags, HardwareStamps, Options, Source, Waited, XdpMode};

use super::lab::{A_ADDRESS, B_ADDRESS, LINK, Lab, Setup};
use super::traffic::{HEADERS, PAYLOAD, Seen, await_seen, check_stamps, finish, read, send, send_raw, tagged_frames};

const IDLE: Duration = Duration::from_millis(300);

fn options(ports: &[u16]) -> Options {
    let mut options = Options::new(LINK);
    options.driver = Driver::AfPacket;
    options.filter = Filter { ports: ports.to_vec(), addresses: Vec::new() };
    // Several tests read only when everything is sent, which may take seconds on a busy machine.
    options.packet.block_timeout_ms = 50;
    options
}

#[test]
fn every_frame_arrives_once_in_order_with_its_time() {
    let Some(lab) = Lab::new(Setup::default()) else { return };
    let mut options = options(&[7001]);
    options.packet = Options::new(LINK).packet;
    let mut capture = lab.in_b(|| Capture::open(&options).unwrap());
    let mut receivers = capture.receivers();
    assert_eq!(receivers.len(), 1);
    thread::scope(|scope| {
        scope.spawn(|| {
            lab.in_a(|| {
                let socket = UdpSocket::bind((A_ADDRESS, 0)).unwrap();
                send(&socket, 7001, 20_000, 20_000);
                send(&socket, 7002, 100, 20_000); // what the filter leaves out
            });
        });
        let seen = read(&mut receivers[0], IDLE);
        let numbers: Vec<u64> = seen.iter().map(Seen::number).collect();
        assert_eq!(numbers, (0..20_000).collect::<Vec<_>>());
        assert!(seen.iter().all(|seen| seen.source == Source::KernelSoftware && !seen.is_out && seen.queue == 0));
        assert!(seen.iter().all(|seen| seen.bytes.len() == HEADERS + PAYLOAD && seen.wire_len == 142));
        assert!(seen.windows(2).all(|pair| pair[0].time_ns <= pair[1].time_ns));
        check_stamps("AF_PACKET", &seen);
    });
    let (rest, counters) = finish(&mut capture, &mut receivers, 20_000);
    assert_eq!((rest.len(), counters[0].seen, counters[0].delivered, counters[0].lost()), (0, 20_000, 20_000, 0));
}

#[test]
fn both_directions_are_seen() {
    let Some(lab) = Lab::new(Setup::default()) else { return };
    let mut capture = lab.in_b(|| Capture::open(&options(&[7010])).unwrap());
    let mut receivers = capture.receivers();
    let echo = lab.in_b(|| UdpSocket::bind((B_ADDRESS, 7010)).unwrap());
    let client = lab.in_a(|| UdpSocket::bind((A_ADDRESS, 0)).unwrap());
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut buffer = [0; 200];
    for number in 0..500u64 {
        let mut payload = [7; PAYLOAD];
        payload[..8].copy_from_slice(&number.to_be_bytes());
        client.send_to(&payload, (B_ADDRESS, 7010)).unwrap();
        let (length, from) = echo.recv_from(&mut buffer).unwrap();
        echo.send_to(&buffer[..length], from).unwrap();
        assert_eq!(client.recv(&mut buffer).unwrap(), length);
    }
    let (seen, counters) = finish(&mut capture, &mut receivers, 1000);
    assert_eq!(counters[0].seen, 1000);
    for (place, seen) in seen.iter().enumerate() {
        assert_eq!((seen.number(), seen.is_out), (place as u64 / 2, place % 2 == 1));
    }
    assert_eq!(seen.len(), 1000);
}

#[test]
fn vlan_tags_are_as_on_the_wire() {
    let Some(lab) = Lab::new(Setup::default()) else { return };
    let mut capture = lab.in_b(|| Capture::open(&options(&[7020])).unwrap());
    let mut receivers = capture.receivers();
    let frames = tagged_frames(lab.macs(), 7020);
    lab.in_a(|| send_raw(LINK, &frames));
    let (seen, _) = finish(&mut capture, &mut receivers, 5);
    assert_eq!(seen.len(), frames.len());
    for (seen, sent) in seen.iter().zip(&frames) {
        assert_eq!(&seen.bytes, sent);
        assert_eq!(seen.wire_len as usize, sent.len());
        let is_tagged = sent[12..14] != [8, 0];
        assert_eq!(seen.flags.contains(Flags::VLAN_PUT_BACK), is_tagged);
    }
}

#[test]
fn a_reader_that_is_too_slow_loses_frames_and_every_one_is_counted() {
    let Some(lab) = Lab::new(Setup::default()) else { return };
    let mut options = options(&[7030]);
    options.packet.ring_bytes = 1 << 20;
    let mut capture = lab.in_b(|| Capture::open(&options).unwrap());
    let mut receivers = capture.receivers();
    lab.in_a(|| send(&UdpSocket::bind((A_ADDRESS, 0)).unwrap(), 7030, 30_000, 1_000_000));
    await_seen(&capture, 30_000);
    let before = capture.counters().unwrap()[0];
    before.check().unwrap();
    assert_eq!((before.seen, before.delivered), (30_000, 0));
    assert!(before.ring_full > 10_000 && before.freezes > 0, "{before:?}");
    let mut seen = read(&mut receivers[0], IDLE);
    assert_eq!(seen.len() as u64 + before.ring_full, 30_000);
    lab.in_a(|| send(&UdpSocket::bind((A_ADDRESS, 0)).unwrap(), 7030, 10, 1_000_000));
    let (rest, counters) = finish(&mut capture, &mut receivers, 30_010);
    assert_eq!((rest.len(), counters[0].ring_full), (10, before.ring_full));
    // The frames' own numbers say the same, and the mark is where the gap is.
    assert!(seen.iter().zip(0..).all(|(seen, number)| seen.number() == number));
    seen.extend(rest);
    let marked: Vec<usize> = (0..seen.len()).filter(|at| seen[*at].flags.contains(Flags::LOSS_BEFORE)).collect();
    assert_eq!(marked, [seen.len() - 10]);
}

#[test]
fn several_rings_share_the_flows() {
    let Some(lab) = Lab::new(Setup::default()) else { return };
    let mut options = options(&[7040]);
    options.packet.rings = 2;
    let mut capture = lab.in_b(|| Capture::open(&options).unwrap());
    let mut receivers = capture.receivers();
    assert_eq!(receivers.len(), 2);
    lab.in_a(|| {
        for _ in 0..32 {
            send(&UdpSocket::bind((A_ADDRESS, 0)).unwrap(), 7040, 100, 100_000);
        }
    });
    let (seen, counters) = finish(&mut capture, &mut receivers, 3200);
    assert_eq!(seen.len(), 3200);
    assert!(counters.iter().all(|counters| counters.delivered > 0 && counters.delivered % 100 == 0), "{counters:?}");
}

/// Waits for an event, which the kernel tells soon.
pub(crate) fn expect(capture: &mut Capture, expected: &Event) {
    let start = Instant::now();
    let mut events = Vec::new();
    while start.elapsed() < Duration::from_secs(5) {
        capture.advance(&mut |event| events.push(event)).unwrap();
        if events.contains(expected) {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("{expected:?} is not among {events:?}");
}

#[test]
fn a_link_that_goes_down_is_told_and_frames_come_again_when_it_is_back() {
    let Some(lab) = Lab::new(Setup::default()) else { return };
    let mut capture = lab.in_b(|| Capture::open(&options(&[7050])).unwrap());
    let mut receivers = capture.receivers();
    let sender = lab.in_a(|| UdpSocket::bind((A_ADDRESS, 0)).unwrap());
    send(&sender, 7050, 10, 1000);
    lab.ip_b("link set veth0 down");
    expect(&mut capture, &Event::LinkDown);
    let mut was_down = false;
    let mut count = 0;
    for _ in 0..20 {
        match receivers[0].wait(Duration::from_millis(10)).unwrap() {
            Waited::LinkDown => was_down = true,
            Waited::Ready => count += receivers[0].each(100, &mut |_| {}),
            _ => {}
        }
    }
    assert!(was_down);
    lab.ip_b("link set veth0 up");
    expect(&mut capture, &Event::LinkUp);
    lab.ip_a("neigh replace 10.77.0.2 lladdr 02:00:00:00:00:01 dev veth0 nud permanent");
    send(&sender, 7050, 10, 1000);
    let (seen, counters) = finish(&mut capture, &mut receivers, 20);
    assert_eq!((count + seen.len(), counters[0].seen), (20, 20));
}

#[test]
fn a_link_that_is_changed_renamed_or_removed_is_told() {
    let Some(lab) = Lab::new(Setup::default()) else { return };
    lab.in_b(|| {
        let mut capture = Capture::open(&options(&[])).unwrap();
        lab.ip_b("link set veth0 mtu 9000");
        expect(&mut capture, &Event::MtuChanged { from: 1500, to: 9000 });
        lab.ip_b("link set veth0 down");
        lab.ip_b("link set veth0 name feed7");
        expect(&mut capture, &Event::Renamed { from: "veth0".into(), to: "feed7".into() });
        assert_eq!(capture.link().name, "feed7");
        lab.ip_b("link del feed7");
        expect(&mut capture, &Event::Removed);
        assert_eq!(capture.interface_drops(), tickscope_nic::InterfaceDrops::default());
    });
}

#[test]
fn frames_that_were_never_on_the_wire_are_flagged() {
    let Some(lab) = Lab::new(Setup { has_offloads: true, ..Setup::default() }) else { return };
    let mut capture = lab.in_b(|| Capture::open(&options(&[7060])).unwrap());
    let mut receivers = capture.receivers();
    let listener = lab.in_b(|| std::net::TcpListener::bind((B_ADDRESS, 7060)).unwrap());
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut stream = listener.accept().unwrap().0;
            std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
        });
        let mut stream = lab.in_a(|| std::net::TcpStream::connect((B_ADDRESS, 7060)).unwrap());
        std::io::Write::write_all(&mut stream, &vec![1; 1 << 20]).unwrap();
    });
    let (seen, counters) = finish(&mut capture, &mut receivers, 1);
    let flagged = seen.iter().filter(|seen| seen.flags.contains(Flags::SUPER_FRAME)).count() as u64;
    assert!(flagged > 0 && flagged == counters[0].super_frames, "{flagged} {counters:?}");
    assert!(seen.iter().all(|seen| seen.wire_len <= 1514 || seen.flags.contains(Flags::SUPER_FRAME)));
}

#[test]
fn what_cannot_be_opened_says_what_to_do() {
    let error = Capture::open(&Options::new("no-such-if")).err().unwrap().to_string();
    assert!(error.contains("no-such-if") && error.contains("`ip link`"), "{error}");
}

#[test]
fn stamps_of_a_nic_that_has_none_are_refused_where_they_are_demanded() {
    let Some(lab) = Lab::new(Setup::default()) else { return };
    let mut options = options(&[]);
    options.hardware = HardwareStamps::SwitchOn;
    let error = lab.in_b(|| Capture::open(&options)).err().unwrap();
    assert!(error.to_string().contains("veth0") && error.to_string().contains("`ethtool -T`"), "{error}");
    assert_eq!(error.errno(), Some(libc::EOPNOTSUPP));
}

#[test]
fn the_account_holds_at_any_moment_also_while_frames_are_lost() {
    let Some(lab) = Lab::new(Setup::default()) else { return };
    let mut packet = options(&[7070]);
    packet.packet.ring_bytes = 512 << 10;
    let mut native = packet.clone();
    native.driver = Driver::Xdp;
    native.xdp.steal = true;
    native.xdp.ring_frames = 256;
    let mut generic = native.clone();
    generic.xdp.mode = XdpMode::Generic;
    for options in [packet, native, generic] {
        let mut capture = lab.in_b(|| Capture::open(&options).unwrap());
        let mut receiver = capture.receivers().remove(0);
        let is_slow = Arc::new(AtomicBool::new(true));
        let reader_is_slow = Arc::clone(&is_slow);
        let reader = thread::spawn(move || {
            let mut count = 0;
            while receiver.wait(Duration::from_millis(5)).unwrap() != Waited::Ended {
                count += receiver.each(10, &mut |_| {});
                if reader_is_slow.load(Relaxed) {
                    thread::sleep(Duration::from_millis(5));
                }
            }
            count as u64
        });
        let sent = thread::scope(|scope| {
            let sender = scope.spawn(|| {
                lab.in_a(|| send(&UdpSocket::bind((A_ADDRESS, 0)).unwrap(), 7070, 20_000, 60_000));
            });
            while !sender.is_finished() {
                for counters in capture.counters().unwrap() {
                    counters.check().unwrap();
                }
                thread::sleep(Duration::from_micros(300));
            }
            20_000
        });
        capture.stop();
        is_slow.store(false, Relaxed);
        let delivered = reader.join().unwrap();
        let counters = capture.counters().unwrap()[0];
        counters.check_finished().unwrap();
        assert_eq!((counters.delivered, counters.ring_full), (delivered, counters.lost()), "{counters:?}");
        assert!(counters.seen <= sent && counters.ring_full > 0, "{counters:?}");
    }
}
