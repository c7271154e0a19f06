//! What one market-data message costs, decoding and the virtual call to `Output::market` included. For people:
//! `cargo test --release -p tickscope-decoders --test market_speed -- --ignored --nocapture`.

use std::ops::Range;

use tickscope_decoders::{Described, Fresh, Output, PROTOCOLS, Sequenced};
use tickscope_model::{Loss, MarketEvent, OrderEvent, SymbolId, Timestamp};

/// Counts, so that the work cannot be left out.
#[derive(Default)]
struct Counter {
    symbols: u32,
    events: u64,
    sum: u64,
    losses: u64,
}

impl Output for Counter {
    fn wants_fields(&self) -> bool {
        false
    }
    fn now(&self) -> Timestamp {
        Timestamp::MIN
    }
    fn symbol(&mut self, _: &[u8]) -> SymbolId {
        self.symbols += 1;
        SymbolId(self.symbols)
    }
    fn sequenced(&mut self, _: &Sequenced<'_>) -> Fresh {
        Fresh::All
    }
    fn market(&mut self, event: &MarketEvent) {
        self.events += 1;
        self.sum = self.sum.wrapping_add(event.quantity ^ u64::from(event.symbol.0) ^ event.exchange_ns);
    }
    fn market_other(&mut self) {}
    fn order(&mut self, _: Range<usize>, _: &OrderEvent<'_>) {}
    fn described(&mut self, _: Range<usize>, _: Described) {}
    fn loss(&mut self, _: Loss) {
        self.losses += 1;
    }
    fn loss_many(&mut self, _: Loss, count: u64) {
        self.losses += count;
    }
}

/// In 4000 packets of 8.
const MESSAGES: u32 = 32_000;

/// Deterministic, and good enough to mix message types and stocks.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

/// A message of the mix of a trading day: adds and deletes first, some replacements, cancels, executions and trades.
fn itch_message(random: &mut u64, locate: u64) -> Vec<u8> {
    let (kind, size) = match next(random) % 100 {
        0..=44 => (b'A', 36),
        45..=84 => (b'D', 19),
        85..=89 => (b'U', 35),
        90..=94 => (b'E', 31),
        95..=97 => (b'X', 23),
        _ => (b'P', 44),
    };
    let mut message: Vec<u8> = (0..size).map(|_| next(random).to_le_bytes()[0]).collect();
    message[0] = kind;
    message[1..3].copy_from_slice(&locate.to_be_bytes()[6..]);
    if matches!(kind, b'A' | b'P') {
        message[19] = b'B';
        message[24..32].copy_from_slice(format!("S{locate:<7}").as_bytes());
    }
    message
}

/// What every session begins with: a Stock Directory message for each stock.
fn directory() -> Vec<u8> {
    let mut bytes = b"000010059B\0\0\0\0\0\0\0\x01".to_vec();
    bytes.extend(9000_u16.to_be_bytes());
    for locate in 1..=9000_u16 {
        bytes.extend([0, 39, b'R']);
        bytes.extend(locate.to_be_bytes());
        bytes.extend([0; 8]);
        bytes.extend(format!("S{locate:<7}").as_bytes());
        bytes.extend([b' '; 20]);
    }
    bytes
}

fn itch_packets() -> Vec<Vec<u8>> {
    let mut random = 1;
    let mut packets: Vec<Vec<u8>> = vec![directory()];
    for packet in 0..4000_u64 {
        let mut bytes = b"000010059B".to_vec();
        bytes.extend((1 + packet * 8).to_be_bytes());
        bytes.extend(8_u16.to_be_bytes());
        for _ in 0..8 {
            let locate = 1 + next(&mut random) % 9000;
            let message = itch_message(&mut random, locate);
            bytes.extend(u16::try_from(message.len()).expect("short").to_be_bytes());
            bytes.extend(message);
        }
        packets.push(bytes);
    }
    packets
}

fn iex_packets() -> Vec<Vec<u8>> {
    let mut random = 1;
    let mut packets: Vec<Vec<u8>> = vec![Vec::new()];
    for packet in 0..4000_u64 {
        let mut payload = Vec::new();
        for _ in 0..8 {
            payload.extend([30, 0, if next(&mut random).is_multiple_of(2) { b'8' } else { b'5' }, 1]);
            payload.extend(1_493_132_712_550_145_608_u64.to_le_bytes());
            payload.extend(format!("S{:<7}", next(&mut random) % 9000).as_bytes());
            payload.extend([100, 0, 0, 0, 0x10, 0x27, 0, 0, 0, 0, 0, 0]);
        }
        let mut bytes = vec![1, 0, 4, 0x80, 1, 0, 0, 0, 0, 0, 0xDD, 0x48];
        bytes.extend(u16::try_from(payload.len()).expect("short").to_le_bytes());
        bytes.extend([8, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend((1 + packet * 8).to_le_bytes());
        bytes.extend([0; 8]);
        bytes.extend(payload);
        packets.push(bytes);
    }
    packets
}

#[test]
#[ignore = "a measurement for people, in release builds"]
#[allow(clippy::disallowed_methods, clippy::print_stdout, reason = "it measures time and prints it")]
fn nanoseconds_a_message() {
    for (name, packets) in [("itch50", itch_packets()), ("iex_deep", iex_packets())] {
        let protocol = PROTOCOLS.iter().find(|protocol| protocol.name == name).expect("a known protocol");
        let mut decoder = (protocol.open)();
        let mut best = f64::MAX;
        let mut last = Counter::default();
        decoder.decode(&packets[0], &mut Counter::default());
        for _ in 0..50 {
            let mut counter = Counter::default();
            let start = std::time::Instant::now();
            for packet in &packets[1..] {
                let out: &mut dyn Output = std::hint::black_box(&mut counter);
                decoder.decode(packet, out);
            }
            let elapsed = start.elapsed();
            best = best.min(elapsed.as_secs_f64() * 1e9 / f64::from(MESSAGES));
            last = counter;
        }
        println!("{name}: {best:.1} ns a message, best of 50 rounds ({} events)", last.events);
        assert_eq!((last.events, last.losses), (u64::from(MESSAGES), 0));
    }
}
