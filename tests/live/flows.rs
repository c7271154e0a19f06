//! A million flows, each with other addresses and ports: a scan, a storm, or a link that carries the whole exchange. What is
//! kept of flows has a limit, and an order conversation beside them is still followed.

use std::net::Ipv4Addr;
use std::path::Path;

use serde_json::Value;

use super::daemon::{Folder, live};
use super::equal::rows;
use super::lab::{Lab, SENT};
use super::memory::{Peak, Watch};
use super::wire::{Burst, Ends, PUSH_ACK, SYN, fix, itch, tcp, udp};

const FLOWS: u32 = 1_000_000;
/// So many of the datagrams belong to one feed, on lines of their own. Few, because a new line is looked for among all others.
const LINES: u32 = 20_000;
/// Room for all frames between NIC and stages: none is lost, however slow the stages are.
const BUFFER_MIB: u64 = 512;

/// The only frame of a flow: half of them datagrams, half of them segments, and of each half are nothing that anybody knows.
fn frame(number: u32) -> Vec<u8> {
    let [_, high, middle, low] = number.to_be_bytes();
    let port = |base: u32| u16::try_from(base + number % 40_000).unwrap();
    let source = (Ipv4Addr::new(10, high, middle, low), port(2_000));
    let id = u16::try_from(number % 60_000 + 1).unwrap();
    let group = Ends { source, target: (Ipv4Addr::new(239, high, middle, low), port(20_000)) };
    let host = Ends { source, target: (Ipv4Addr::new(172, 16 + high, middle, low), port(10_000)) };
    match number % 8 {
        0 | 1 => udp(group, id, format!("nobody knows what {number} is").as_bytes()),
        2 if number / 8 < LINES => udp(group, id, &itch("ONE FEED", u64::from(number / 8 + 1))),
        2 | 3 => udp(group, id, &itch(&format!("S{number}"), 1)),
        4 | 5 => tcp(host, id, SYN, (number, 0), &[]),
        6 => tcp(host, id, PUSH_ACK, (number, 1), format!("nobody knows what {number} is").as_bytes()),
        _ => tcp(host, id, PUSH_ACK, (number, 1), &order(&format!("CLIENT{number}"), number, 2)),
    }
}

fn order(client: &str, name: u32, message: u32) -> Vec<u8> {
    fix(&format!(
        "35=D|49={client}|56=VENUE|34={message}|52=20260105-15:00:00.000|11=N{name}|55=ALPHA|54=1|38=100|40=2|44=10.25|59=0|\
         60=20260105-15:00:00.000|"
    ))
}

fn answer(client: &str, name: u32, message: u32) -> Vec<u8> {
    fix(&format!(
        "35=8|49=VENUE|56={client}|34={message}|52=20260105-15:00:00.001|37=V{name}|11=N{name}|17=E{name}|150=0|39=0|55=ALPHA|\
         54=1|38=100|151=100|14=0|6=0|60=20260105-15:00:00.001|"
    ))
}

/// Both directions of a conversation that is well.
struct Trader {
    burst: Burst,
    sequence: [u32; 2],
    orders: u32,
}

impl Trader {
    fn open() -> Trader {
        Trader { burst: Burst::open(SENT[1]), sequence: [1_000, 9_000], orders: 0 }
    }

    /// An order, and its answer.
    fn trade(&mut self) {
        let there =
            Ends { source: (Ipv4Addr::new(10, 200, 0, 1), 40_001), target: (Ipv4Addr::new(10, 200, 0, 2), 9_001) };
        self.orders += 1;
        let id = u16::try_from(self.orders).unwrap();
        let number = self.orders;
        let [mine, theirs] = self.sequence;
        let message = order("GOOD", number, number);
        self.burst.push(tcp(there, id, PUSH_ACK, (mine, theirs), &message));
        self.sequence[0] += u32::try_from(message.len()).unwrap();
        let message = answer("GOOD", number, number);
        self.burst.push(tcp(there.back(), id, PUSH_ACK, (theirs, self.sequence[0]), &message));
        self.sequence[1] += u32::try_from(message.len()).unwrap();
        self.burst.flush();
    }
}

/// Sends everything; how many frames on each interface, and how many orders were among them.
fn send(lab: &Lab) -> ([u64; 2], u32) {
    lab.in_sender(|| {
        let start = std::time::Instant::now();
        let (mut flood, mut trader) = (Burst::open(SENT[0]), Trader::open());
        for number in 0..FLOWS {
            flood.push(frame(number));
            // Before, in between, and …
            if number % 10_000 == 0 {
                trader.trade();
            }
        }
        flood.flush();
        // … after all of them.
        (0..10).for_each(|_| trader.trade());
        let elapsed = start.elapsed();
        eprintln!("{} frames sent in {elapsed:.1?}", flood.sent);
        ([flood.sent, trader.burst.sent], trader.orders)
    })
}

/// Memory beyond frames that wait. A TCP conversation that was recognised needs some three KiB, and 32,768 are kept; 65,536
/// UDP flows and 16,384 lines with their histograms, 4,096 feeds, 65,536 sessions, 100,000 open requests need less than one
/// KiB each or are fewer; the ring of ticks has its 80 MB in any run.
const REST_MIB: u64 = 1_536;

fn a_million_flows(driver: &str) {
    let Some(lab) = Lab::new() else { return };
    let folder = Folder::new(&format!("flows-{driver}"));
    let orders = folder.file("orders.csv");
    let buffer = (BUFFER_MIB * 1024).to_string();
    let running = live(&lab, driver, &["--json", "--buffer", &buffer, "--orders", &orders]);
    let watch = Watch::start(running.id());
    let (sent, traded) = send(&lab);
    let (status, report, said) = running.end(libc::SIGTERM);
    let peak = watch.end();
    assert!(status.success(), "{said:#?}");
    let report: Value = serde_json::from_str(&report).unwrap_or_else(|error| panic!("{error}: {report}"));
    check(&report, sent);
    let rows = rows(Path::new(&orders));
    let good: Vec<_> = rows.iter().filter(|((session, _), _)| session == "GOOD->VENUE").collect();
    eprintln!("{driver}: {peak:?}, {} rows, {} of them of the good conversation", rows.len(), good.len());
    assert_eq!(good.len(), traded as usize);
    assert!(good.iter().all(|(_, row)| !row["ack_ns"].is_empty()));
    let Peak { own_kib, .. } = peak;
    assert!(own_kib < (BUFFER_MIB + REST_MIB) << 10, "{own_kib} KiB");
}

/// Every frame is accounted for, and those that nobody knows are counted as that.
fn check(report: &Value, sent: [u64; 2]) {
    let mut all_lost = 0;
    for (tap, sent) in report["taps"].as_array().unwrap().iter().zip(sent) {
        let live = &tap["live"];
        let lost: u64 = live["lost"].as_object().unwrap().values().map(|value| value.as_u64().unwrap()).sum();
        assert_eq!((live["seen"].as_u64(), live["waiting"].as_u64()), (Some(sent), Some(0)), "{live:#}");
        assert_eq!(live["used"].as_u64(), Some(sent - lost), "{live:#}");
        assert_eq!(live["violations"], serde_json::json!([]));
        all_lost += lost;
    }
    let quality = &report["quality"];
    assert_eq!(quality["adds_up"], true, "{:#}", quality["discrepancies"]);
    let count = |reason: &str| {
        let losses = quality["losses"].as_array().unwrap();
        losses.iter().find(|loss| loss["reason"] == reason).map_or(0, |loss| loss["count"].as_u64().unwrap())
    };
    // See `frame`: two of eight are datagrams that nobody knows, three are segments.
    let eighth = u64::from(FLOWS / 8);
    for (reason, most) in [("unknown_udp", 2 * eighth), ("unknown_tcp", 3 * eighth), ("unanswered", eighth)] {
        assert!((most - all_lost..=most).contains(&count(reason)), "{reason}: {} of {most}", count(reason));
    }
    assert!(count("order_evicted") > 0, "{quality:#}");
}

#[test]
fn memory_stays_bounded_with_a_million_flows() {
    a_million_flows("afpacket");
}
