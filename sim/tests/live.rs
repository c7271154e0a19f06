#![allow(clippy::unwrap_used, reason = "a test")]
//! The live market over the loopback interface: datagrams arrive, reference data are handed out, a stop is obeyed, and
//! a recording is played again. (The FIX side is tested by a real engine in quickfix.rs.)

use std::io::Read;
use std::net::{TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tickscope_sim::live::{Live, LiveSummary, MarketData, Options};
use tickscope_sim::{Scenario, write};

/// Runs a scenario until so many datagrams came; what came, and the reference data.
fn receive(text: &str, wanted: usize) -> (Vec<Vec<u8>>, String, LiveSummary) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let live = Live::bind(Options {
        scenario: Scenario::parse(text, "live").unwrap(),
        seed: 1,
        market_data: MarketData::parse(&socket.local_addr().unwrap().to_string()),
        fix: "127.0.0.1:0".parse().unwrap(),
        reference: Some("127.0.0.1:0".parse().unwrap()),
        speed: 1.0,
    })
    .unwrap();
    let reference = live.reference_address().unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let run = scope.spawn(|| live.run(&stop));
        let mut buffer = [0; 2048];
        let mut packets = Vec::new();
        while packets.len() < wanted {
            let length = socket.recv(&mut buffer).unwrap();
            packets.push(buffer[..length].to_vec());
        }
        let mut table = String::new();
        TcpStream::connect(reference).unwrap().read_to_string(&mut table).unwrap();
        stop.store(true, Ordering::Relaxed);
        (packets, table, run.join().unwrap().unwrap())
    })
}

#[test]
fn datagrams_and_reference_data_arrive() {
    let (packets, table, summary) = receive("duration = \"60s\"\n[market]\nrate = 500.0\nsymbols = 7", 50);
    assert!(summary.packets >= 50, "{summary:?}");
    // MoldUDP64: the sequence number of each packet is that of the one before plus its count.
    let numbers = |packet: &[u8]| {
        let first = u64::from_be_bytes(packet[10..18].try_into().unwrap());
        (first, u64::from(u16::from_be_bytes(packet[18..20].try_into().unwrap())))
    };
    for pair in packets.windows(2) {
        let (first, count) = numbers(&pair[0]);
        assert_eq!(numbers(&pair[1]).0, first + count);
    }
    assert_eq!(table.lines().count(), 8, "{table}");
    assert!(table.starts_with("symbol,security_id,internal_id,tick_size,lot\n"));
}

#[test]
fn a_recording_is_played_again() {
    let folder = std::env::temp_dir().join(format!("tickscope-live-{}", std::process::id()));
    write(&Scenario::parse("duration = \"1s\"", "short").unwrap(), 1, &folder).unwrap();
    let file = folder.join("tap.pcap");
    let text = format!("[market]\nreplay = {{ file = \"{}\", speed = 10.0 }}", file.display());
    let (packets, ..) = receive(&text, 20);
    let recorded = std::fs::read(&file).unwrap();
    for packet in packets {
        assert!(recorded.windows(packet.len()).any(|window| window == packet));
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
#[allow(clippy::disallowed_methods, reason = "a consumer that is slow by the clock")]
fn a_recording_is_played_as_fast_as_the_consumer_keeps_up() {
    let folder = std::env::temp_dir().join(format!("tickscope-keep-up-{}", std::process::id()));
    let scenario = "duration = \"20s\"\n[market]\nrate = 400.0\n";
    write(&Scenario::parse(scenario, "busy").unwrap(), 1, &folder).unwrap();
    let file = folder.join("tap.pcap");
    let text = format!("duration = \"60s\"\n[market]\nreplay = {{ file = \"{}\", keep_up = true }}", file.display());
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let options = Options {
        scenario: Scenario::parse(&text, "live").unwrap(),
        seed: 1,
        market_data: MarketData::parse(&socket.local_addr().unwrap().to_string()),
        fix: "127.0.0.1:0".parse().unwrap(),
        reference: None,
        speed: 1.0,
    };
    let live = Live::bind(options).unwrap();
    let begun = std::time::Instant::now();
    let (received, summary) = std::thread::scope(|scope| {
        let run = scope.spawn(move || live.run(&AtomicBool::new(false)));
        let mut buffer = [0; 2048];
        let mut received = 0_u64;
        // Until nothing more comes.
        while socket.recv(&mut buffer).is_ok() {
            received += 1;
            if received.is_multiple_of(64) {
                std::thread::sleep(Duration::from_millis(2)); // a consumer that has something else to do
            }
            if received == 1 {
                socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
            }
        }
        (received, run.join().unwrap().unwrap())
    });
    assert!(summary.packets > 6000, "{summary:?}");
    assert_eq!(received, summary.packets, "none was too fast for the consumer");
    assert!(begun.elapsed() < Duration::from_secs(15), "faster than the 20 s that were recorded");
    std::fs::remove_dir_all(folder).unwrap();
}
