//! What the market-data tests share: a reader of classic pcap, and an `Output` that keeps everything it is told.
#![allow(dead_code, reason = "each test file is a crate of its own and uses a part")]

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use tickscope_decoders::{Described, Fresh, Output, Protocol, Sequenced, UnitKind};
use tickscope_model::{Loss, Losses, MarketEvent, OrderEvent, SymbolId, Timestamp};

/// The folder of foreign captures. Without it a test says so and passes, unless it is required.
pub(crate) fn captures() -> Option<PathBuf> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/captures");
    let folder = std::env::var_os("TICKSCOPE_CAPTURES").map_or(default, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    let required = std::env::var("TICKSCOPE_REQUIRE_CAPTURES").is_ok_and(|value| value == "1");
    assert!(!required, "{} is not there, and TICKSCOPE_REQUIRE_CAPTURES=1", folder.display());
    #[allow(clippy::print_stderr, reason = "a skipped test must be seen")]
    {
        eprintln!("SKIPPED: no foreign captures at {} (set TICKSCOPE_CAPTURES)", folder.display());
    }
    None
}

/// A UDP datagram of a capture.
pub(crate) struct Datagram {
    pub(crate) frame: u64,
    pub(crate) time: Timestamp,
    pub(crate) payload: Vec<u8>,
}

/// The UDP datagrams over IPv4 and Ethernet in a classic pcap, at most one VLAN tag, no fragments.
pub(crate) fn datagrams(file: &Path) -> Vec<Datagram> {
    let bytes = std::fs::read(file).expect("readable capture");
    let number = |at: usize, length: usize| {
        let field = &bytes[at..at + length];
        let is_big = bytes[0] == 0xA1;
        field
            .iter()
            .enumerate()
            .map(|(i, &byte)| u64::from(byte) << (8 * if is_big { length - 1 - i } else { i }))
            .sum::<u64>()
    };
    let tick_ns = match number(0, 4) {
        0xA1B2_C3D4 => 1000,
        0xA1B2_3C4D => 1,
        magic => panic!("{}: magic {magic:x}", file.display()),
    };
    let (mut at, mut frame, mut found) = (24, 0, Vec::new());
    while at + 16 <= bytes.len() {
        let time = Timestamp(number(at, 4) * 1_000_000_000 + number(at + 4, 4) * tick_ns);
        let length = usize::try_from(number(at + 8, 4)).expect("32 bits");
        let packet = &bytes[at + 16..at + 16 + length];
        (at, frame) = (at + 16 + length, frame + 1);
        let ip = if packet[12..14] == [0x81, 0] { 18 } else { 14 };
        if packet[ip - 2..ip] == [8, 0] && packet[ip + 9] == 17 {
            let udp = ip + usize::from(packet[ip] & 15) * 4;
            let end = udp + usize::from(u16::from_be_bytes([packet[udp + 4], packet[udp + 5]]));
            found.push(Datagram { frame, time, payload: packet[udp + 8..end].to_vec() });
        }
    }
    found
}

/// Keeps everything that a decoder says.
#[derive(Default)]
pub(crate) struct Collector {
    pub(crate) wants_fields: bool,
    pub(crate) now: Timestamp,
    pub(crate) frame: u64,
    /// What `sequenced` answers; `None` is all.
    pub(crate) fresh: Option<Fresh>,
    pub(crate) symbols: Vec<String>,
    pub(crate) units: Vec<(UnitKind, u64, u64)>,
    pub(crate) events: Vec<MarketEvent>,
    pub(crate) others: u64,
    pub(crate) described: Vec<(u64, Range<usize>, Described)>,
    pub(crate) losses: Losses,
    pub(crate) numbers: HashMap<String, SymbolId>,
}

impl Collector {
    pub(crate) fn symbol_of(&self, event: &MarketEvent) -> &str {
        &self.symbols[event.symbol.0 as usize]
    }

    /// Decodes a whole file with one decoder; every datagram must be used up.
    pub(crate) fn decode_all(&mut self, protocol: &Protocol, file: &Path) {
        let mut decoder = (protocol.open)();
        for datagram in datagrams(file) {
            (self.frame, self.now) = (datagram.frame, datagram.time);
            assert_eq!(decoder.decode(&datagram.payload, self), datagram.payload.len());
        }
    }
}

impl Output for Collector {
    fn wants_fields(&self) -> bool {
        self.wants_fields
    }
    fn now(&self) -> Timestamp {
        self.now
    }
    fn symbol(&mut self, name: &[u8]) -> SymbolId {
        let name = String::from_utf8_lossy(name).trim_end().to_owned();
        let next = SymbolId(u32::try_from(self.symbols.len()).expect("few symbols"));
        *self.numbers.entry(name.clone()).or_insert_with(|| {
            self.symbols.push(name);
            next
        })
    }
    fn sequenced(&mut self, unit: &Sequenced<'_>) -> Fresh {
        self.units.push((unit.kind, unit.first, unit.count));
        self.fresh.clone().unwrap_or(Fresh::All)
    }
    fn market(&mut self, event: &MarketEvent) {
        self.events.push(*event);
    }
    fn market_other(&mut self) {
        self.others += 1;
    }
    fn order(&mut self, _: Range<usize>, _: &OrderEvent<'_>) {
        panic!("market data has no orders");
    }
    fn described(&mut self, span: Range<usize>, message: Described) {
        self.described.push((self.frame, span, message));
    }
    fn loss(&mut self, loss: Loss) {
        self.losses.add(loss);
    }
    fn loss_many(&mut self, loss: Loss, count: u64) {
        self.losses.add_many(loss, count);
    }
}
