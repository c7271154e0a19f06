#![allow(clippy::unwrap_used, reason = "a test")]
//! The live market over the loopback interface: datagrams arrive, reference data are handed out, a stop is obeyed, and
//! a recording is played again; lines delay, lost messages come again; the reference trader trades, through a gateway
//! too, and says what is true. (The exchange's FIX side is tested by a real engine in quickfix.rs.)

use std::io::Read;
use std::net::{TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tickscope_sim::live::{Live, LiveSummary, MarketData, Options};
use tickscope_sim::{Scenario, write};

/// A scenario whose market data go to this socket.
fn options(text: &str, socket: &UdpSocket) -> Options {
    let to = MarketData::parse(&socket.local_addr().unwrap().to_string());
    Options::new(Scenario::parse(text, "live").unwrap(), to, "127.0.0.1:0".parse().unwrap())
}

/// Runs a scenario until so many datagrams came; what came, and the reference data.
fn receive(text: &str, wanted: usize) -> (Vec<Vec<u8>>, String, LiveSummary) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let reference = Some("127.0.0.1:0".parse().unwrap());
    let live = Live::bind(Options { reference, ..options(text, &socket) }).unwrap();
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
    let options = options(&text, &socket);
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

/// First message and number of messages of a `MoldUDP64` packet.
fn numbers(packet: &[u8]) -> (u64, u64) {
    let count = u64::from(u16::from_be_bytes(packet[18..20].try_into().unwrap()));
    (u64::from_be_bytes(packet[10..18].try_into().unwrap()), count)
}

const SECOND: u128 = 1_000_000_000;

/// Nanoseconds since the Unix epoch.
#[allow(clippy::disallowed_methods, reason = "a live market runs by the clock")]
fn now() -> u128 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos()
}

#[test]
fn a_line_delays_its_packets_and_keeps_their_order() {
    let first = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = first.local_addr().unwrap().port();
    let Ok(second) = UdpSocket::bind(("127.0.0.1", port + 1)) else {
        return a_line_delays_its_packets_and_keeps_their_order();
    };
    let text = "duration = \"60s\"\n[market]\nrate = 200.0\n[[line]]\nname = \"A\"\ndelay = \"0\"\n\
                [[line]]\nname = \"B\"\ndelay = \"20ms\"\njitter = \"5ms\"";
    let live = Live::bind(options(text, &first)).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let run = scope.spawn(|| live.run(&stop));
        let hear = |socket: UdpSocket| {
            let mut buffer = [0; 2048];
            let mut heard = Vec::new();
            while heard.len() < 60 {
                let length = socket.recv(&mut buffer).unwrap();
                let stamp = buffer[27..33].iter().fold(0, |sum, &byte| sum << 8 | u128::from(byte));
                heard.push((numbers(&buffer[..length]), now(), stamp));
            }
            heard
        };
        let (fast, slow) = (scope.spawn(move || hear(first)), scope.spawn(move || hear(second)));
        let (fast, slow) = (fast.join().unwrap(), slow.join().unwrap());
        stop.store(true, Ordering::Relaxed);
        run.join().unwrap().unwrap();
        for (fast, slow) in fast.iter().zip(&slow) {
            assert_eq!(fast.0, slow.0, "the same packets in the same order");
            // A message's own stamp is when it was made, in nanoseconds since New York's midnight.
            let behind = (slow.1 - 5 * 3_600 * SECOND) % (86_400 * SECOND) - slow.2;
            assert!((20 * SECOND / 1000..SECOND).contains(&behind), "{behind} ns behind");
        }
    });
}

#[test]
fn lost_messages_come_again() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let text = "duration = \"60s\"\n[market]\nrate = 200.0\nrecover = { fixed = \"3ms\" }";
    let live = Live::bind(options(text, &socket)).unwrap();
    let server = live.recovery_address().unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let run = scope.spawn(|| live.run(&stop));
        let mut buffer = [0; 2048];
        let length = socket.recv(&mut buffer).unwrap();
        let (lost, (first, count)) = (buffer[..length].to_vec(), numbers(&buffer[..length]));
        let asker = UdpSocket::bind("127.0.0.1:0").unwrap();
        asker.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut request = lost[..10].to_vec();
        request.extend(first.to_be_bytes());
        request.extend(u16::try_from(count).unwrap().to_be_bytes());
        let asked = now();
        asker.send_to(&request, server).unwrap();
        let length = asker.recv(&mut buffer).unwrap();
        assert!(now() >= asked + 3_000_000);
        assert_eq!(buffer[..length], lost);
        stop.store(true, Ordering::Relaxed);
        assert_eq!(run.join().unwrap().unwrap().asked_again, 1);
    });
}

/// A free port for market data, and a run of the reference trader until the scenario is over: what it did, and the
/// truth by session, each row by column.
fn trade(name: &str, text: &str) -> (LiveSummary, Vec<std::collections::HashMap<String, String>>) {
    let port = UdpSocket::bind("127.0.0.1:0").unwrap();
    let options = options(text, &port);
    drop(port);
    let folder = std::env::temp_dir().join(format!("tickscope-live-{name}-{}", std::process::id()));
    let live = Live::bind(options).unwrap();
    let summary = live.run_and_write(&AtomicBool::new(false), &folder).unwrap();
    let truth = std::fs::read_to_string(folder.join("truth.csv")).unwrap();
    let mut lines = truth.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
    let head = lines.next().unwrap();
    let rows = lines.map(|cells| head.iter().cloned().zip(cells).collect()).collect();
    assert!(folder.join("instruments.csv").exists());
    std::fs::remove_dir_all(folder).unwrap();
    (summary, rows)
}

const TRADING: &str = "duration = \"3s\"\n[market]\nrate = 300.0\nsymbols = 5\n[trader]\nlatency = { fixed = \"2ms\" }\n\
    [[strategy]]\nkind = \"react\"\non = \"trade\"\nstyle = \"take\"\npause = \"5ms\"\n\
    [[strategy]]\nkind = \"react\"\non = \"best\"\nshare = 0.2\nstyle = \"join\"\ncancel = 0.4\n\
    [[strategy]]\nkind = \"timer\"\nevery = \"100ms\"\n";

#[test]
fn the_reference_trader_trades_over_sockets_and_says_what_caused_its_orders() {
    for version in ["4.2", "4.4", "5.0sp2"] {
        let (summary, rows) = trade("trader", &format!("{TRADING}[orders]\nversion = \"{version}\""));
        assert!(summary.orders > 50, "{summary:?}");
        assert_eq!((summary.orders, summary.requests), (rows.len() as u64, rows.len() as u64), "{summary:?}");
        assert!(summary.reports >= summary.requests, "{summary:?}");
        assert_eq!((summary.connections, summary.logouts, summary.session_rejects), (1, 1, 0), "{summary:?}");
        let caused = rows.iter().filter(|row| row["cause"] == "market_data");
        for row in caused.clone() {
            assert_eq!(row["internal_ns"], "2000000");
            assert!(!row["trigger_seq"].is_empty() && !row["trigger_msg"].is_empty(), "{row:?}");
        }
        let uncaused = rows.len() - caused.count();
        // Thirty are expected in three seconds, more on a machine that is so busy that the run lasts longer.
        assert!((5..200).contains(&uncaused), "{uncaused} timer orders");
        for row in &rows {
            assert!(row["t_out_ns"].is_empty() && row["ack_ns"].is_empty(), "no tap saw it: {row:?}");
            assert!(row["exchange_ns"].parse::<u64>().unwrap() >= 20_000, "{row:?}");
        }
    }
}

#[test]
fn through_the_gateway_each_request_is_true_on_both_sides() {
    let gateway = "[gateway]\nlatency = { fixed = \"1ms\" }\n[orders]\nsessions = 2\ndrops = [\"1500ms\"]\n\
                   [exchange]\nreject_session = 0.05\nreject_business = 0.05";
    let (summary, rows) = trade("gateway", &format!("{TRADING}{gateway}"));
    let (inside, outside): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row["session"].ends_with("->GATEWAY"));
    assert!(summary.orders > 50 && inside.len() as u64 == summary.orders, "{summary:?}");
    // The connections are cut once: what was under way in the gateway then goes no further.
    assert!(outside.len() <= inside.len() && outside.len() > inside.len() / 2, "{} {}", inside.len(), outside.len());
    assert_eq!((summary.connections, summary.logouts), (4, 2), "{summary:?}");
    for row in outside {
        let same = inside.iter().find(|other| other["clordid"] == row["clordid"]).unwrap();
        for column in ["symbol", "side", "price", "qty", "trigger_seq", "internal_ns"] {
            assert_eq!(row[column], same[column]);
        }
    }
}

#[test]
fn a_trader_on_lossy_lines_asks_again() {
    let lossy = "[market]\nrate = 300.0\nrecover = { fixed = \"2ms\" }\n[[line]]\nloss = 0.05\n\
                 [[strategy]]\nkind = \"react\"\npause = \"1ms\"";
    let (summary, rows) = trade("lossy", &format!("duration = \"3s\"\n{lossy}"));
    assert!(summary.asked_again > 5 && !rows.is_empty(), "{summary:?}");
}
