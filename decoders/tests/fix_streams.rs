//! What must hold for every FIX stream, whole or damaged: cutting it does not change what is said,
//! every byte is used, skipped and counted, or kept for later, and nothing panics or stands still.

mod fix_support;

use fix_support::{Memory, Random, feed, feed_to, message, message_of};
use proptest::prelude::*;
use tickscope_decoders::orders;
use tickscope_model::{Loss, OrderKind};

fn samples() -> Vec<Vec<u8>> {
    let mut samples: Vec<_> = [
        ("FIX.4.2", "35=D|49=A|56=B|34=2|52=20261122-03:35:23.913|11=c1|55=IBM|54=1|38=100|40=2|44=1.25|60=20261122-03:35:23|"),
        ("FIX.4.4", "35=8|49=B|56=A|34=3|52=20261122-03:35:23.913969|37=o1|17=e1|150=F|39=2|11=c1|55=IBM|54=1|151=0|31=1.25|32=100|"),
        ("FIX.4.4", "35=0|49=A|56=B|34=4|52=20261122-03:35:24|"),
        ("FIXT.1.1", "35=A|49=A|56=B|34=1|52=20261122-03:35:20|98=0|108=30|141=Y|1137=9|"),
        ("FIX.4.4", "35=E|49=A|56=B|34=5|66=L1|394=3|68=2|73=2|11=x1|67=1|453=1|448=P|447=D|452=1|55=IBM|54=1|38=5|11=x2|67=2|55=MSFT|54=5|38=7|"),
        ("FIX.4.4", "35=i|49=A|56=B|34=6|117=Q1|296=1|302=S1|304=2|295=2|299=1|55=A|132=1|299=2|55=B|132=2|"),
        ("FIX.4.4", "35=s|49=A|56=B|34=7|548=X1|549=1|550=0|552=2|54=1|11=b1|38=10|54=2|11=s1|38=10|55=IBM|44=9.5|60=20261122-03:35:23|"),
        ("FIX.4.0", "35=8|49=B|56=A|34=8|37=o1|17=e2|20=0|39=2|11=c1|55=IBM|54=1|38=100|32=100|31=1.25|14=100|6=1.25|"),
    ]
    .iter()
    .map(|(begin, body)| message(begin, body))
    .collect();
    samples.push(message_of(
        "FIX.4.4",
        b"35=B\x0149=A\x0156=B\x0134=9\x0195=30\x0196=8=FIX.4.4\x019=5\x0135=0\x0110=000\x01xx\x01148=h\x01",
    ));
    samples
}

/// A stream of messages, some of them damaged, with noise between.
fn stream(random: &mut Random, messages: usize, damage: usize) -> Vec<u8> {
    let samples = samples();
    let mut stream = Vec::new();
    for _ in 0..messages {
        stream.extend_from_slice(&samples[random.below(samples.len())]);
    }
    for _ in 0..damage {
        let at = random.below(stream.len());
        let bytes: &[u8] = match random.below(6) {
            0 => b"8=FIX",
            1 => b"\x0110=123\x01",
            2 => b"\x01",
            3 => b"9=99999",
            _ => b"",
        };
        match random.below(4) {
            0 => stream[at] = u8::try_from(random.below(256)).unwrap(),
            1 => drop(stream.drain(at..(at + random.below(40)).min(stream.len()))),
            2 => drop(stream.splice(at..at, bytes.iter().copied())),
            _ => stream[at] = b"0123456789=\x01.8"[random.below(14)],
        }
        if stream.is_empty() {
            return stream;
        }
    }
    stream
}

/// What is said, and which bytes were left for later.
fn told(stream: &[u8], cuts: &[usize]) -> (Vec<fix_support::Told>, Vec<(Loss, u64)>, usize) {
    let mut memory = Memory::default();
    let used = feed(stream, cuts.iter().copied(), &mut memory);
    (memory.told, memory.losses.nonzero().collect(), used)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cutting_the_stream_does_not_change_events(seed: u64, damage in 0_usize..6, cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..40)) {
        let stream = stream(&mut Random(seed), 12, damage);
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.sort_unstable();
        prop_assert_eq!(told(&stream, &cuts), told(&stream, &[]));
    }

    #[test]
    fn byte_by_byte_is_the_same(seed: u64, damage in 0_usize..6) {
        let stream = stream(&mut Random(seed), 4, damage);
        let every: Vec<_> = (0..stream.len()).collect();
        prop_assert_eq!(told(&stream, &every), told(&stream, &[]));
    }

    #[test]
    fn every_byte_is_accounted_for(seed: u64, damage in 0_usize..10) {
        let stream = stream(&mut Random(seed), 8, damage);
        let mut memory = Memory { wants_fields: true, ..Memory::default() };
        let used = feed(&stream, [], &mut memory);
        let mut in_messages = 0;
        let mut behind = 0;
        for (span, _) in &memory.described {
            prop_assert!(behind <= span.start && span.start < span.end && span.end <= used);
            in_messages += span.len();
            behind = span.end;
        }
        prop_assert_eq!(in_messages as u64 + memory.losses.count(Loss::StreamSkipped), used as u64);
    }
}

/// 200 000 damaged streams from one seed; a decoder lives through many of them, with and without a hole between.
#[test]
fn nothing_panics_and_nothing_stands_still() {
    let mut random = Random(20_261_122);
    let mut decoder = (orders::fix::PROTOCOL.open)();
    let mut found = 0;
    for round in 0..200_000 {
        let messages = 1 + random.below(3);
        let damage = 1 + random.below(8);
        let stream = stream(&mut random, messages, damage);
        let mut memory = Memory { wants_fields: round % 8 == 0, ..Memory::default() };
        let cut = random.below(stream.len() + 1);
        let used = feed_to(decoder.as_mut(), &stream, [cut], &mut memory);
        found += memory.told.len();
        // What was left is left again, and only a bounded tail can be left.
        let rest = &stream[used..];
        assert_eq!(decoder.decode(rest, &mut memory), 0);
        if random.below(2) == 0 {
            decoder.gap();
        }
    }
    assert!(found > 200_000, "only {found} messages were readable");
}

/// Bytes that never end a message are given up after a bounded number, not kept for ever.
#[test]
fn what_cannot_end_is_given_up() {
    for start in [
        "8=FIX.4.2\x019=999999999\x01",
        "8=FIX.4.2\x019=1048576\x01",
        "8=FIX",
        "8=FIX.4.2\x01",
        "8=FIX.4.2\x019=00",
        "",
    ] {
        for filler in [b'x', b'8', 1, b'0', b'='] {
            let mut decoder = (orders::fix::PROTOCOL.open)();
            let mut stream = start.as_bytes().to_vec();
            stream.resize(3 << 20, filler);
            stream.extend_from_slice(&samples()[0]);
            let mut memory = Memory::default();
            let mut kept = 0;
            let mut used = 0;
            for end in (0..stream.len()).step_by(65_536).chain([stream.len()]) {
                memory.base = used;
                used += decoder.decode(&stream[used..end], &mut memory);
                kept = kept.max(end - used);
            }
            assert!(kept <= (1 << 20) + 128, "{start:?} {filler}: {kept} bytes kept");
            assert_eq!(used, stream.len(), "{start:?} {filler}");
            assert_eq!(memory.told.last().map(|told| (told.kind, told.is_damaged)), Some((OrderKind::New, false)));
            assert_eq!(memory.losses.count(Loss::StreamSkipped), (stream.len() - samples()[0].len()) as u64);
        }
    }
}

/// Work grows with the bytes, not with their square: a megabyte of groups within groups is read at once.
#[test]
fn a_huge_message_is_read() {
    let mut body = "35=E|49=A|56=B|34=1|66=L|73=15000|".to_owned();
    for order in 0..15_000 {
        body += &format!("11=c{order}|9001=x|9002=y|453=1|448=P|447=D|452=1|54=1|38=1|");
    }
    let mut memory = Memory { wants_fields: true, ..Memory::default() };
    let stream = message("FIX.4.4", &body);
    assert_eq!(feed(&stream, [], &mut memory), stream.len());
    assert_eq!(memory.told.len(), 15_000);
    let mut hostile = "35=E|73=2|11=a|".to_owned();
    hostile += &"9001=x|".repeat(140_000);
    assert_eq!(feed(&message("FIX.4.4", &hostile), [], &mut memory), message("FIX.4.4", &hostile).len());
}
