//! Bytes that make no sense, as fast as the link takes them: the daemon goes on, says what it could not read and why, needs no
//! more memory than its limits, and the market beside the garbage is followed as if there were none.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::thread;

use serde_json::{Value, json};

use super::daemon::{Folder, live};
use super::equal::{Rows, rows, run};
use super::lab::{Lab, SENT};
use super::memory::Watch;
use super::readers::reader;
use super::send::replay_beside;
use super::wire::{Burst, Ends, Random, ethernet, fix, ipv4, itch, tcp, udp};

/// On each interface, as fast as it goes.
const FLOOD: u32 = 100_000;
/// Then, beside each frame of the market.
const BESIDE: usize = 3;
/// The link's.
const LONGEST_FRAME: usize = 1_514;

/// A kind of garbage, and where it is counted.
struct Kind {
    make: fn(&mut Random) -> Vec<u8>,
    /// Frames of it stand under one of these reasons, …
    frames: &'static [&'static str],
    /// … or are read, and what is in them stands under one of these.
    inside: &'static [&'static str],
}

const KINDS: [Kind; 10] = [
    Kind { make: noise, frames: &["not_ip", "frame_malformed"], inside: &[] },
    Kind { make: cut, frames: &["frame_malformed", "frame_cut"], inside: &[] },
    Kind { make: contradiction, frames: &["frame_malformed"], inside: &[] },
    Kind { make: piece, frames: &["fragment_lost"], inside: &[] },
    Kind { make: tags, frames: &["not_ip", "frame_malformed"], inside: &[] },
    Kind { make: unknown_datagram, frames: &["unknown_udp"], inside: &[] },
    Kind { make: damaged_feed, frames: &["unknown_udp"], inside: &["malformed", "unknown_message"] },
    Kind { make: unknown_segment, frames: &["unknown_tcp"], inside: &[] },
    Kind { make: damaged_order, frames: &[], inside: &["bad_checksum"] },
    Kind { make: half_fix, frames: &[], inside: &["stream_skipped", "stream_tail"] },
];

/// Addresses that nothing of the market has.
fn ends(random: &mut Random) -> Ends {
    let mut end = |first: u8| {
        let bytes = random.next().to_be_bytes();
        (Ipv4Addr::new(first, 77, bytes[0], bytes[1]), u16::from_be_bytes([bytes[2], bytes[3]]))
    };
    Ends { source: end(11), target: end(12) }
}

fn id(random: &mut Random) -> u16 {
    u16::try_from(random.below(60_000) + 1).unwrap()
}

/// Nothing but random bytes.
fn noise(random: &mut Random) -> Vec<u8> {
    let length = 24 + random.below(LONGEST_FRAME - 24);
    random.bytes(length)
}

/// A datagram or a segment that ends within its headers.
fn cut(random: &mut Random) -> Vec<u8> {
    let (ends, id) = (ends(random), id(random));
    let (mut frame, headers) =
        if random.below(2) == 0 { (udp(ends, id, &[0; 40]), 42) } else { (tcp(ends, id, 0x18, (1, 1), &[0; 40]), 54) };
    frame.truncate(14 + random.below(headers - 14));
    frame
}

/// Headers whose lengths are not those of the frame: of IP's header, of the packet, of the datagram, of TCP's header.
fn contradiction(random: &mut Random) -> Vec<u8> {
    let (ends, id) = (ends(random), id(random));
    let low = u8::try_from(random.below(5)).unwrap();
    let mut frame = udp(ends, id, &[0; 60]);
    match random.below(4) {
        0 => frame[14] = 0x40 | low,
        1 => frame[16..18].copy_from_slice(&[0, 10 + low]),
        2 => frame[38..40].copy_from_slice(&[4, low]),
        _ => {
            frame = tcp(ends, id, 0x18, (1, 1), &[0; 10]);
            frame[46] = low << 4;
        }
    }
    frame
}

/// A piece of a datagram of which nothing else comes, at any place.
fn piece(random: &mut Random) -> Vec<u8> {
    // Of few datagrams, so that pieces lie over each other, and always with more to come.
    let ends = Ends { source: (Ipv4Addr::new(11, 77, 0, 1), 0), target: (Ipv4Addr::new(12, 77, 0, 1), 0) };
    let (id, place) =
        (u16::try_from(random.below(3_000) + 1).unwrap(), u16::try_from(1 + random.below(1_000)).unwrap());
    let length = 8 * (1 + random.below(100));
    let payload = random.bytes(length);
    ethernet(0x0800, &ipv4(ends, 17, (id, 0x2000 | place), &payload))
}

/// Up to twelve VLAN tags in front of nothing that is known.
fn tags(random: &mut Random) -> Vec<u8> {
    let mut rest = Vec::new();
    for _ in 0..random.below(12) {
        let kind = if random.below(2) == 0 { [0x81, 0x00] } else { [0x88, 0xa8] };
        rest.extend_from_slice(&[0, u8::try_from(random.below(256)).unwrap()]);
        rest.extend_from_slice(&kind);
    }
    rest.extend_from_slice(&[0, 1, 0x77, 0x77]);
    rest.extend_from_slice(&random.bytes(40));
    ethernet(0x8100, &rest)
}

fn unknown_datagram(random: &mut Random) -> Vec<u8> {
    let length = random.below(1_400);
    // No protocol begins so.
    let mut payload = vec![0xff; 24];
    payload.extend_from_slice(&random.bytes(length));
    udp(ends(random), id(random), &payload)
}

/// Looks like a feed at first; then a byte of the message is another.
fn damaged_feed(random: &mut Random) -> Vec<u8> {
    let source = (Ipv4Addr::new(11, 77, 0, 2), 5_000);
    let ends =
        Ends { source, target: (Ipv4Addr::new(239, 77, 0, 2), 5_000 + u16::try_from(random.below(50)).unwrap()) };
    let mut payload = itch("GARBAGE", random.next() >> 20);
    if random.below(4) > 0 {
        let place = 20 + random.below(3);
        payload[place] = u8::try_from(random.below(256)).unwrap();
    }
    udp(ends, id(random), &payload)
}

/// Any flags, any numbers, any bytes.
fn unknown_segment(random: &mut Random) -> Vec<u8> {
    let (length, numbers) = (random.below(1_400), random.next());
    let mut payload = vec![0xff; 24];
    payload.extend_from_slice(&random.bytes(length));
    let flags = u8::try_from(random.below(64)).unwrap();
    let numbers = (u32::try_from(numbers >> 32).unwrap(), u32::try_from(numbers & 0xffff_ffff).unwrap());
    tcp(ends(random), id(random), flags, numbers, &payload)
}

/// An order whose checksum is wrong.
fn damaged_order(random: &mut Random) -> Vec<u8> {
    let mut payload = fix("35=D|49=GARBAGE|56=VENUE|34=2|52=20260105-15:00:00.000|11=G|55=ALPHA|54=1|38=1|40=1|");
    let place = payload.len() - 2;
    payload[place] = if payload[place] == b'9' { b'0' } else { payload[place] + 1 };
    tcp(ends(random), id(random), 0x18, (1, 1), &payload)
}

/// It begins as FIX does, and goes on with anything: lengths that are none, too large, or of another message.
fn half_fix(random: &mut Random) -> Vec<u8> {
    let mut payload = b"8=FIX.4.4\x019=".to_vec();
    let length: &[u8] = match random.below(4) {
        0 => b"99999999999999999999\x01",
        1 => b"-5\x01",
        2 => b"1200\x0135=D\x01",
        _ => b"\x01",
    };
    payload.extend_from_slice(length);
    let count = random.below(1_300);
    payload.extend_from_slice(&random.bytes(count));
    tcp(ends(random), id(random), 0x18, (1, 1), &payload)
}

/// Sends as fast as it can; how many frames of each kind.
fn flood(lab: &Lab) -> [u64; 2] {
    let one = |interface: &'static str, seed: u64| {
        lab.in_sender(|| {
            let (mut burst, mut random) = (Burst::open(interface), Random(seed));
            let start = std::time::Instant::now();
            for number in 0..FLOOD as usize {
                burst.push((KINDS[number % KINDS.len()].make)(&mut random));
            }
            burst.flush();
            let elapsed = start.elapsed();
            eprintln!("{interface}: {} frames in {elapsed:.1?}", burst.sent);
            burst.sent
        })
    };
    thread::scope(|scope| {
        let first = scope.spawn(move || one(SENT[0], 0x9E37_79B9_7F4A_7C15));
        let second = one(SENT[1], 0xD1B5_4A32_D192_ED03);
        [first.join().unwrap(), second]
    })
}

/// Frames that a tap has dealt with: used, or lost on the way.
fn is_dealt_with(snapshot: &Value, sent: [u64; 2]) -> bool {
    let is_done = |(tap, sent): (&Value, u64)| {
        let live = &tap["live"];
        live["seen"] == sent && live["waiting"] == 0
    };
    snapshot["taps"].as_array().unwrap().iter().zip(sent).all(is_done)
}

fn lost(live: &Value) -> u64 {
    live["lost"].as_object().unwrap().values().map(|value| value.as_u64().unwrap()).sum()
}

/// Counts of decoding by reason.
fn reasons(report: &Value) -> BTreeMap<String, u64> {
    let losses = report["quality"]["losses"].as_array().unwrap();
    losses.iter().map(|loss| (loss["reason"].as_str().unwrap().to_owned(), loss["count"].as_u64().unwrap())).collect()
}

/// The queues of both taps (64 MiB each), the rings of the kernel, what is kept of flows, and the stages themselves.
const MOST_MIB: u64 = 1_024;

fn garbage(driver: &str) {
    let Some(lab) = Lab::new() else { return };
    let folder = Folder::new(&format!("garbage-{driver}"));
    let file = |name: &str| folder.file(name);
    run(&["sim", "calm", "--write", &file("sim")]);
    let (online, socket) = (file("live.csv"), file("live.sock"));
    let running = live(&lab, driver, &["--json", "--orders", &online, "--socket", &socket]);
    let watch = Watch::start(running.id());
    let flooded = flood(&lab);
    let all = reader(&socket, move |snapshot| is_dealt_with(snapshot, flooded));
    let before = all.join().unwrap().pop().unwrap();
    assert!(is_dealt_with(&before, flooded), "{:#}", before["taps"]);
    let mut random = Random(0xA076_1D64_78BD_642F);
    let mut beside = [0_u64; KINDS.len()];
    let capture = folder.0.join("sim/tap.pcap");
    let market = lab.in_sender(|| {
        replay_beside(&capture, |send| {
            for _ in 0..BESIDE {
                let kind = random.below(KINDS.len());
                beside[kind] += 1;
                send(&(KINDS[kind].make)(&mut random));
            }
        })
    });
    let (status, report, said) = running.end(libc::SIGTERM);
    let peak = watch.end();
    assert!(status.success() && !said.iter().any(|line| line.contains("panicked")), "{said:#?}");
    let report: Value = serde_json::from_str(&report).unwrap_or_else(|error| panic!("{error}: {report}"));
    eprintln!("{driver}: {peak:?}\n{:?}", reasons(&report));
    account(&report, [flooded[0] + market[0], flooded[1] + market[1]]);
    for (tap, earlier) in report["taps"].as_array().unwrap().iter().zip(before["taps"].as_array().unwrap()) {
        assert_eq!(lost(&tap["live"]), lost(&earlier["live"]), "nothing is lost behind the flood: {tap:#}");
    }
    counted(&before, &report, &beside);
    as_without_garbage(&folder, rows(Path::new(&online)));
    assert!(peak.own_kib < MOST_MIB << 10 && peak.resident_kib < (2 * MOST_MIB) << 10, "{peak:?}");
}

fn account(report: &Value, sent: [u64; 2]) {
    for (tap, sent) in report["taps"].as_array().unwrap().iter().zip(sent) {
        let live = &tap["live"];
        let number = |name: &str| live[name].as_u64().unwrap();
        eprintln!("{}: seen {sent}, lost {}", tap["name"], live["lost"]);
        assert_eq!((number("seen"), number("waiting")), (sent, 0), "{live:#}");
        assert_eq!(number("seen"), number("used") + lost(live), "{live:#}");
        assert_eq!(live["violations"], json!([]));
        assert_eq!(tap["frames"], live["used"]);
    }
    let quality = &report["quality"];
    assert_eq!(quality["adds_up"], true, "{:#}", quality["discrepancies"]);
    let frames = |name: &str| quality["frames"][name].as_u64().unwrap();
    assert_eq!(frames("in"), frames("used") + frames("lost"));
}

/// What came behind the flood, which lost nothing, stands under the reasons for it.
fn counted(earlier: &Value, report: &Value, beside: &[u64; KINDS.len()]) {
    let (before, after) = (reasons(earlier), reasons(report));
    let sum = |reasons: &BTreeMap<String, u64>, kind: &Kind| -> u64 {
        kind.frames.iter().chain(kind.inside).filter_map(|reason| reasons.get(*reason)).sum()
    };
    for (at, kind) in KINDS.iter().enumerate() {
        let found = sum(&after, kind) - sum(&before, kind);
        let reasons = (kind.frames, kind.inside);
        assert!(beside[at] > 100 && found >= beside[at], "kind {at}: {found} of {} under {reasons:?}", beside[at]);
    }
}

/// The market's requests are those of its capture, and are answered as there.
fn as_without_garbage(folder: &Folder, mut live: Rows) {
    // An order with a wrong checksum is one all the same, and is flagged.
    live.retain(|(session, _), row| {
        let is_garbage = session.starts_with("GARBAGE");
        assert!(!is_garbage || row["flags"].contains("bad_checksum"), "{row:#?}");
        !is_garbage
    });
    let (capture, offline) = (folder.file("sim/tap.pcap"), folder.file("offline.csv"));
    run(&["analyze", &capture, "--orders", &offline]);
    let offline = rows(Path::new(&offline));
    assert!(offline.len() > 300, "{}", offline.len());
    assert!(live.keys().eq(offline.keys()), "{} requests live, {} offline", live.len(), offline.len());
    for (key, row) in &live {
        for column in ["ack_ns", "reject_ns", "first_fill_ns", "full_fill_ns", "cancel_ack_ns", "replace_ack_ns"] {
            assert_eq!(row[column].is_empty(), offline[key][column].is_empty(), "{key:?} {column}");
        }
    }
}

#[test]
fn garbage_at_line_rate_is_counted_and_hides_nothing_by_af_packet() {
    garbage("afpacket");
}

#[test]
fn garbage_at_line_rate_is_counted_and_hides_nothing_by_af_xdp() {
    garbage("xdp");
}
