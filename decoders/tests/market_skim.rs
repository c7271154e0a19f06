//! What is read ahead is what the decoder would have read: packets are drawn at random, ordinary and damaged ones, and
//! wherever the skimmer says anything, it says of each message what the decoder says.

mod market_support;

use market_support::Collector;
use proptest::prelude::*;
use tickscope_decoders::{Fresh, Marks, PROTOCOLS, PacketMarks, SkimmedPacket, UnitKind};
use tickscope_model::{MarketKind, SymbolId, Timestamp};

/// Types, lengths and where the stock's name stands: the tables of Nasdaq TotalView-ITCH 5.0, sections 1.1 to 1.8.
const MESSAGES: [(u8, usize, Option<usize>); 23] = [
    (b'S', 12, None),
    (b'R', 39, Some(11)),
    (b'H', 25, Some(11)),
    (b'Y', 20, Some(11)),
    (b'L', 26, Some(15)),
    (b'V', 35, None),
    (b'W', 12, None),
    (b'K', 28, Some(11)),
    (b'J', 35, Some(11)),
    (b'h', 21, Some(11)),
    (b'A', 36, Some(24)),
    (b'F', 40, Some(24)),
    (b'E', 31, None),
    (b'C', 36, None),
    (b'X', 23, None),
    (b'D', 19, None),
    (b'U', 35, None),
    (b'P', 44, Some(24)),
    (b'Q', 40, Some(19)),
    (b'B', 19, None),
    (b'I', 50, Some(28)),
    (b'N', 20, Some(11)),
    (b'O', 48, Some(11)),
];

/// Left to the decoder, however ordinary: they are about no stock, or have no locate of their own.
const NEVER: [u8; 4] = *b"SVWK";

/// A message of this type about the stock with this locate; `shift` makes it longer or shorter.
fn message(kind: usize, locate: u16, named: u16, filler: u8, shift: isize) -> Vec<u8> {
    let (code, length, stock) = MESSAGES[kind % MESSAGES.len()];
    let mut bytes = vec![filler; length];
    bytes[0] = code;
    bytes[1..3].copy_from_slice(&locate.to_be_bytes());
    if let Some(at) = stock {
        bytes[at..at + 8].copy_from_slice(name(named).as_bytes());
    }
    bytes.resize(bytes.len().saturating_add_signed(shift).max(1), 0);
    bytes
}

fn name(locate: u16) -> String {
    format!("{:<8}", format!("STK{locate}"))
}

fn packet(first: u64, count: u16, messages: &[Vec<u8>], tail: usize) -> Vec<u8> {
    let mut packet = b"SESSION001".to_vec();
    packet.extend(first.to_be_bytes());
    packet.extend(count.to_be_bytes());
    for message in messages {
        packet.extend(u16::try_from(message.len()).expect("short").to_be_bytes());
        packet.extend(message);
    }
    packet.extend(vec![0; tail]);
    packet
}

/// Type, locate, the stock that it names, filler, change of length. Mostly ordinary.
fn any_message() -> impl Strategy<Value = (usize, u16, u16, u8, isize)> {
    let ordinary = (0..MESSAGES.len(), 1..6_u16, prop_oneof![Just(b'N'), Just(b'Y')])
        .prop_map(|(kind, locate, filler)| (kind, locate, locate, filler, 0));
    let odd = (0..MESSAGES.len(), 0..9_u16, 0..9_u16, any::<u8>(), -12..12_isize);
    prop_oneof![12 => ordinary, 1 => odd]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn a_skimmer_says_what_the_decoder_says_or_nothing(
        drawn in prop::collection::vec(any_message(), 1..5),
        first in prop_oneof![Just(0), 1..1_000_000_u64],
        lie in prop_oneof![20 => Just(0), 1 => -2..3_i32],
        tail in prop_oneof![20 => Just(0_usize), 1 => 1..4_usize],
        behind in prop::collection::vec(prop_oneof![Just(0), any::<u8>()], 70..110),
    ) {
        let itch = PROTOCOLS.iter().find(|protocol| protocol.name == "itch50").expect("there is one");
        let (mut decoder, mut out) = ((itch.open)(), Collector { now: Timestamp(1), ..Collector::default() });
        let directory: Vec<Vec<u8>> = (1..6).map(|locate| message(1, locate, locate, b'Y', 0)).collect();
        decoder.decode(&packet(1, 5, &directory, 0), &mut out);
        let lessons = decoder.lessons();
        prop_assert_eq!((lessons.learned, lessons.corrected), (5, 0));

        let messages: Vec<Vec<u8>> =
            drawn.iter().map(|&(kind, locate, named, filler, shift)| message(kind, locate, named, filler, shift)).collect();
        let count = i32::try_from(messages.len()).expect("few") + lie;
        let bytes = packet(first, u16::try_from(count.max(0)).expect("few"), &messages, tail);
        let skimmer = decoder.skimmer().expect("ITCH has one");
        let mut marks = Marks::default();
        let more = [&bytes[..], &behind].concat();
        let said = skimmer.skim(&more, bytes.len(), &mut marks);
        let zeros = [&bytes[..], &[0; 70]].concat();
        prop_assert_eq!(skimmer.skim(&zeros, bytes.len(), &mut Marks::default()), said, "what stands behind says nothing");
        let cut = bytes.len().saturating_sub(1 + behind.len() % 40);
        let cut_bytes = [bytes.get(..cut).unwrap_or(&[]), &behind].concat();
        let of_cut = skimmer.skim(&cut_bytes, cut, &mut Marks::default());
        prop_assert_eq!(skimmer.skim(&more, cut, &mut Marks::default()), of_cut, "what stands behind says nothing");
        let at_the_end = skimmer.skim(&bytes, bytes.len(), &mut Marks::default());
        prop_assert!(at_the_end.is_none() || at_the_end == said, "at the end of a file");
        let mut glances = Vec::new();
        prop_assert_eq!(skimmer.glances(&bytes, &mut |glance| glances.push(glance)).is_some(), said.is_some());

        let mut out = Collector { now: Timestamp(1), symbols: out.symbols, numbers: out.numbers, ..Collector::default() };
        out.fresh = Some(Fresh::All);
        decoder.decode(&bytes, &mut out);
        let is_ordinary = lie == 0 && tail == 0
            && drawn.iter().all(|&(kind, locate, named, _, shift)| {
                shift == 0 && (1..6).contains(&locate) && named == locate && !NEVER.contains(&MESSAGES[kind].0)
            });
        prop_assert!(said.is_some() || !is_ordinary || first == 0, "an ordinary packet is read ahead");
        let Some(SkimmedPacket { first: number, count, marks: of_packet }) = said else { return Ok(()) };
        prop_assert_eq!(&out.units, &vec![(UnitKind::Data, number.get(), count)]);
        prop_assert_eq!(bytes.get(skimmer.session()), Some(&b"SESSION001"[..]));
        prop_assert_eq!(decoder.lessons(), lessons, "it teaches nothing");
        prop_assert_eq!((out.others, out.losses.total(tickscope_model::Level::Message)), (0, 0));
        let seen: Vec<(u32, MarketKind, u8)> = out.events.iter().map(|event| (event.symbol.0, event.kind, event.code)).collect();
        let read: Vec<(u32, MarketKind, u8)> =
            glances.iter().map(|glance| (glance.symbol.0, glance.kind, glance.code)).collect();
        prop_assert_eq!(&read, &seen);
        for symbol in 0..4096 {
            let is_there = seen.iter().any(|message| message.0 == symbol);
            let is_marked = skimmer.mark_of(SymbolId(symbol)).is_some_and(|mark| marks.may_hold(mark));
            prop_assert_eq!(is_marked, is_there, "symbol {}", symbol);
            let is_of_packet = skimmer.mark_of(SymbolId(symbol)).is_some_and(|mark| of_packet.may_hold(PacketMarks::of(mark)));
            prop_assert!(is_of_packet || !is_there, "symbol {}", symbol);
        }
    }
}
