//! Damaged market data: whatever the bytes are, a decoder uses the datagram up, does not panic, and accounts for each
//! message that the packet announces. The same seed gives the same damage.

mod market_support;

use std::path::PathBuf;

use market_support::{Collector, captures, datagrams};
use tickscope_decoders::{PROTOCOLS, Role, UnitKind};
use tickscope_model::{Loss, Timestamp};

/// `SplitMix64` (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % (limit.max(1) as u64)).expect("below a usize")
    }
}

/// Real datagrams where there are any, else made-up ones, so that the test can never be empty.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![
        b"000010059B\0\0\0\0\0\0\x73\xC0\0\x01\0\x19H\x23\xD0\0\0\x0A\x30\xE7\x94\x81\x32SHYG    T     ".to_vec(),
        b"000010059B\0\0\0\0\0\0\x73\xC0\0\0".to_vec(),
        b"000010059B\0\0\0\0\0\0\x73\xC0\xFF\xFF".to_vec(),
    ];
    let Some(folder) = captures() else { return seeds };
    let mut files: Vec<PathBuf> =
        ["iex/TOPS16_20170710.pcap", "iex/DEEP10_20170425_a.pcap"].map(|name| folder.join(name)).to_vec();
    let mut folders = vec![folder.join("omi-data-packets/Nasdaq"), folder.join("omi-data-packets/Iex")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("readable folder") {
            let path = entry.expect("readable entry").path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    for file in files {
        seeds.extend(datagrams(&file).into_iter().take(400).map(|datagram| datagram.payload));
    }
    seeds
}

fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        match random.below(6) {
            0 => bytes.truncate(at),
            1 => bytes.extend((0..random.below(50)).map(|byte| u8::try_from(byte).expect("below 50"))),
            2 => bytes.drain(at..(at + random.below(20)).min(bytes.len())).for_each(drop),
            3 => bytes.insert(at, 0xFF),
            // The header decides most: damage it as often as all the rest.
            4 => bytes.get_mut(at % 44).into_iter().for_each(|byte| *byte = [0, 1, 0x7F, 0x80, 0xFF][at % 5]),
            _ => bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= 1 << (at % 8)),
        }
    }
}

#[test]
fn damaged_packets_are_accounted_for_and_never_panic() {
    let seeds = seeds();
    let mut random = Random(1);
    for protocol in PROTOCOLS.iter().filter(|protocol| protocol.role == Role::MarketData) {
        let mut decoder = (protocol.open)();
        let mut out = Collector::default();
        for round in 0..200_000_u64 {
            let mut bytes = seeds[random.below(seeds.len())].clone();
            damage(&mut bytes, &mut random);
            (protocol.probe)(&bytes);
            // Every eighth packet goes the way of `decode` too.
            out.wants_fields = round % 8 == 0;
            out.now = Timestamp(random.next());
            assert_eq!(decoder.decode(&bytes, &mut out), bytes.len());

            let announced: u64 = out.units.iter().filter(|unit| unit.0 == UnitKind::Data).map(|unit| unit.2).sum();
            let lost: u64 = out.losses.nonzero().map(|(_, count)| count).sum();
            let accounted = out.events.len() as u64 + out.others + lost;
            // Bytes after the last message, and a datagram that is no packet at all, count as malformed besides.
            let besides = if out.units.is_empty() { accounted } else { accounted - announced };
            assert!(accounted >= announced, "{bytes:02x?}: {accounted} of {announced}");
            assert!(besides <= 2 || out.losses.count(Loss::UnknownMessage) == besides, "{bytes:02x?}: {besides}");
            assert!(out.described.len() as u64 <= announced + 1);
            for (_, span, _) in &out.described {
                assert!(span.start < span.end && span.end <= bytes.len());
            }
            let (symbols, numbers) = (std::mem::take(&mut out.symbols), std::mem::take(&mut out.numbers));
            out = Collector { symbols, numbers, ..Collector::default() };
        }
    }
}

#[test]
fn every_cut_gives_a_prefix_of_the_events() {
    for seed in seeds().iter().step_by(7) {
        for protocol in PROTOCOLS.iter().filter(|protocol| protocol.role == Role::MarketData) {
            let mut whole = Collector::default();
            (protocol.open)().decode(seed, &mut whole);
            for length in 0..seed.len() {
                let mut cut = Collector::default();
                (protocol.open)().decode(&seed[..length], &mut cut);
                let count = cut.events.len();
                assert!(count <= whole.events.len());
                for (cut, whole) in cut.events.iter().zip(&whole.events) {
                    assert_eq!(format!("{cut:?}"), format!("{whole:?}"));
                }
                if cut.units == whole.units && whole.losses.nonzero().count() == 0 {
                    let missing = cut.losses.count(Loss::Malformed);
                    assert_eq!(count as u64 + cut.others + missing, whole.events.len() as u64 + whole.others);
                }
            }
        }
    }
}
