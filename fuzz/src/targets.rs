//! The readers that get random input. Each target panics where a promise is broken.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::sink;
use std::ops::Range;

use tickscope::capture::{Input, Merged, open};
use tickscope::dissect::{Dissector, Transport, dissect};
use tickscope::flow::{Arrival, Datagram, Endpoint, FlowKey, History, Stream, StreamSink, Taken};
use tickscope::merge::{Feed, Feeds, Symbols};
use tickscope::pair::{Paired, Pairer, Rules, TriggerRule};
use tickscope::pipeline::correlator::Correlator;
use tickscope::pipeline::printer::{Printer, Wanted};
use tickscope::pipeline::{Configured, Pipeline};
use tickscope_decoders::{Carrier, Described, Fresh, Output, PROTOCOLS, Protocol, Sequenced, UnitKind};
use tickscope_model::{Frame, Level, LinkType, Loss, MarketEvent, OrderEvent, SymbolId, TapId, Timestamp};

use crate::seeds::Seeds;

/// A reader under test.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&[u8]),
    /// Where its inputs come from.
    pub(crate) seeds: fn(&Seeds) -> Vec<Vec<u8>>,
    /// Most bytes that it may hold while it reads one input.
    pub(crate) memory: usize,
}

pub(crate) static TARGETS: &[Target] = &[
    Target { name: "capture_file", run: capture_file, seeds: |seeds| seeds.files.clone(), memory: 64 << 20 },
    Target { name: "frame", run: frame, seeds: |seeds| seeds.frames.clone(), memory: 4 << 20 },
    Target { name: "stream", run: stream, seeds: scripts, memory: 16 << 20 },
    Target { name: "feeds", run: feeds, seeds: packets, memory: 64 << 20 },
    Target { name: "decoder", run: decoder, seeds: payloads, memory: 64 << 20 },
    Target { name: "analyze", run: analyze, seeds: |seeds| seeds.files.clone(), memory: 400 << 20 },
];

const LINKS: [LinkType; 5] =
    [LinkType::Ethernet, LinkType::LinuxSll, LinkType::LinuxSll2, LinkType::RawIp, LinkType::Loopback];

pub(crate) fn link_byte(link: LinkType) -> u8 {
    let at = LINKS.iter().position(|known| *known == link).unwrap_or(0);
    u8::try_from(at).expect("five of them")
}

/// The file of the thread's current input.
fn with_file<T>(input: &[u8], read: impl FnOnce(&std::path::Path) -> T) -> T {
    thread_local!(static FILE: tempfile::NamedTempFile = tempfile::NamedTempFile::new().expect("a temporary file"));
    FILE.with(|file| {
        std::fs::write(file.path(), input).expect("the temporary file can be written");
        read(file.path())
    })
}

/// Whatever a file holds: frames, then an end. Frames are never larger than the file could have packed.
fn capture_file(input: &[u8]) {
    with_file(input, |path| {
        let Ok(mut file) = open(path) else { return };
        let mut number = 0;
        while file.advance() {
            let frame = file.frame(TapId(0));
            assert!(number < frame.number, "frames are numbered upwards");
            number = frame.number;
        }
    });
}

/// A frame: taken apart alone, and by a dissector that remembers the fragments of the one before.
fn frame(input: &[u8]) {
    let Some((&link, rest)) = input.split_first() else { return };
    let link = LINKS[usize::from(link) % LINKS.len()];
    let half = rest.len() / 2;
    let mut dissector = Dissector::new();
    for bytes in [rest, rest.get(..half).unwrap_or_default(), rest] {
        let wire_len = u32::try_from(bytes.len()).expect("small");
        let frame = Frame { tap: TapId(0), link, time: Timestamp(1), number: 1, wire_len, bytes };
        let alone = dissect(&frame).map(|packet| payload_len(packet.transport));
        if let Ok(length) = alone {
            assert!(length <= bytes.len(), "a payload longer than its frame");
        }
        let held = dissector.dissect(&frame).map(|packet| payload_len(packet.transport));
        assert!(alone.is_err() || alone == held, "both ways say the same: {alone:?} {held:?}");
    }
    dissector.give_up();
}

fn payload_len(transport: Transport<'_>) -> usize {
    match transport {
        Transport::Udp { payload } | Transport::Tcp { payload, .. } => payload.len(),
    }
}

/// Instructions for `stream`: what a peer might send.
fn scripts(seeds: &Seeds) -> Vec<Vec<u8>> {
    let mut script = vec![0, 0, 0, 0, 1];
    for number in 0..40_u8 {
        script.extend([1, number.wrapping_mul(7), 0, number, 9, number]);
    }
    seeds.streams.iter().take(40).cloned().chain([script]).collect()
}

/// Where streams count from.
const BEGINNING: u64 = 1 << 32;

/// Bytes in order, each given once, in a stream without end.
#[derive(Default)]
struct Reader {
    next: Option<u64>,
    greed: usize,
}

impl StreamSink for Reader {
    fn bytes(&mut self, base: u64, bytes: &[u8], history: &History) -> Taken {
        if let Some(next) = self.next {
            // Another connection on the same ports counts from its own beginning.
            assert!(next <= base || base == BEGINNING, "bytes come back: {base} after {next}");
        }
        let end = base + bytes.len() as u64;
        assert!(bytes.is_empty() || history.brought(end - 1).is_some(), "a byte that nothing brought");
        let used = bytes.len() * self.greed / 4;
        self.next = Some(base + used as u64);
        Taken { used, first: (used > 100).then_some(base) }
    }
    fn mended(&mut self, base: u64, bytes: &[u8], history: &History) -> Option<Vec<Range<u64>>> {
        let end = base + bytes.len() as u64;
        for place in [base, end - 1] {
            assert!(history.brought(place).is_some(), "a byte that nothing brought");
        }
        // Every other hundred of bytes is a message.
        let is_message = |place: &u64| (place / 100).is_multiple_of(2) && place + 100 <= end;
        let starts = (base.next_multiple_of(100)..end).step_by(100).filter(is_message);
        (self.greed > 0).then(|| starts.map(|start| start..start + 100).collect())
    }
    fn gap(&mut self, _missing: u64, _discarded: u64) {}
    fn retransmitted(&mut self, start: u64, end: u64) {
        assert!(start < end);
    }
}

/// The input is a list of instructions of six bytes: kind, sequence number (three bytes), length, time.
fn stream(input: &[u8]) {
    const TEXT: [u8; 256] = [b'x'; 256];
    let (mut stream, mut reader) = (Stream::default(), Reader { greed: 4, ..Reader::default() });
    let mut time = 0;
    for (number, step) in input.chunks_exact(6).enumerate() {
        let [kind, high, middle, low, length, later] = step.try_into().expect("six bytes");
        time += i64::from(later) * 1_000_000;
        // Near the wrap-around, and sometimes far away.
        let far = if kind & 0x80 == 0 { 0 } else { u32::from(high) << 24 };
        let sequence = u32::MAX.wrapping_sub(5000).wrapping_add(far + (u32::from(middle) << 8) + u32::from(low));
        let time = Timestamp(u64::try_from(time).expect("grows"));
        let arrival = Arrival { tap: TapId(0), frame: number as u64, time, early: false, cut: kind & 0x40 != 0 };
        match kind % 8 {
            0 => {
                if stream.open(sequence) {
                    reader.next = None;
                }
            }
            1 => drop(stream.acknowledge(sequence, arrival)),
            2 => stream.close(sequence),
            3 => {
                reader.greed = usize::from(length % 5);
                stream.reread(&mut reader);
            }
            4 => stream.expire(time, &mut reader),
            _ => {
                let missing = if kind & 0x40 == 0 { 0 } else { u32::from(high) };
                stream.segment(sequence, &TEXT[..usize::from(length)], missing, arrival, &mut reader);
            }
        }
        assert!(stream.waiting_bytes() <= (5 << 20), "{} bytes wait", stream.waiting_bytes());
    }
    stream.finish(&mut reader);
}

/// Instructions for `feeds`: five of a quiet feed on two lines, then chance.
fn packets(_seeds: &Seeds) -> Vec<Vec<u8>> {
    (0..4_u8)
        .map(|line| (0..200_u8).flat_map(|number| [number % 2, line, number / 2, 1 + number % 3, 1]).collect())
        .collect()
}

/// Packets of feeds: kind, line, number, count and time, a byte each. Whatever comes, each message of a packet is new or
/// a repetition, and the numbers stay within their types.
fn feeds(input: &[u8]) {
    let protocol = PROTOCOLS[0];
    let mut feeds = Feeds::new(Vec::new());
    let (mut told, mut time) = (0, 1_u64);
    let mut first = 1_u64;
    for (number, step) in input.chunks_exact(5).enumerate() {
        let [kind, line, place, count, later] = step.try_into().expect("five bytes");
        time += u64::from(later) * 1000;
        first = match kind >> 4 {
            0 => u64::from(place),
            1 => first.wrapping_add(u64::from(place)),
            2 => first.wrapping_sub(u64::from(place)),
            3 => 1_u64.rotate_right(u32::from(place)).wrapping_sub(u64::from(line >> 6)),
            4 => u64::MAX - u64::from(place),
            _ => first.wrapping_add(u64::from(count)),
        };
        let host = if line & 4 == 0 { [233, 0, 0, 1 + (line & 3)] } else { [10, 0, 0, 1 + (line & 3)] };
        let end = |host: [u8; 4], port| Endpoint { address: host.into(), port };
        let key = FlowKey { point: 0, source: end([10, 1, 1, 1], 5000), target: end(host, 26_477) };
        let flow = u32::from(line & 7);
        let (tap, frame) = (TapId(0), number as u64 + 1);
        let at = Datagram { protocol, key: &key, flow, tap, frame, time: Timestamp(time), ip_id: u16::from(kind) };
        let kind = [UnitKind::Data, UnitKind::Data, UnitKind::Heartbeat, UnitKind::End][usize::from(kind & 3)];
        let count = if kind == UnitKind::Data { 1 + u64::from(count) } else { 0 };
        let session = [b'S', line >> 3 & 1];
        let verdict = feeds.packet(&at, &Sequenced { session: &session, first, count, kind });
        if let Fresh::Some(ranges) = &verdict.fresh {
            let mut before = 0;
            for range in ranges {
                assert!(
                    before <= range.start && range.start < range.end && range.end <= count,
                    "{ranges:?} of {count}"
                );
                before = range.end;
            }
        }
        if !verdict.copy {
            told += count;
        }
    }
    let counted: u64 = feeds.feeds.iter().map(|feed| feed.messages + feed.duplicates).sum();
    assert_eq!(counted, told, "each message is new or a repetition");
    let _: u64 = feeds.feeds.iter().map(Feed::lost).sum();
    for feed in &feeds.feeds {
        drop(feed.open_gaps());
    }
}

/// Payloads behind a byte that picks the protocol.
fn payloads(seeds: &Seeds) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for (number, protocol) in PROTOCOLS.iter().enumerate() {
        let (sources, kept) = match protocol.carrier {
            Carrier::Udp => (&seeds.datagrams, 200),
            Carrier::Tcp => (&seeds.streams, 40),
        };
        let fitting = sources.iter().filter(|payload| is_for(protocol, payload)).take(kept);
        let number = u8::try_from(number).expect("few protocols");
        found.extend(fitting.map(|payload| [&[number][..], payload].concat()));
    }
    found
}

fn is_for(protocol: &Protocol, payload: &[u8]) -> bool {
    (protocol.probe)(payload) == tickscope_decoders::Guess::Yes
}

/// Notes nothing, but holds the decoder to what it promises about places.
struct Checked {
    length: usize,
    fields: bool,
    names: HashMap<Vec<u8>, SymbolId>,
}

impl Output for Checked {
    fn wants_fields(&self) -> bool {
        self.fields
    }
    fn now(&self) -> Timestamp {
        Timestamp(1_704_189_600_000_000_000)
    }
    fn symbol(&mut self, name: &[u8]) -> SymbolId {
        let next = SymbolId(u32::try_from(self.names.len()).expect("few"));
        *self.names.entry(name.to_vec()).or_insert(next)
    }
    fn sequenced(&mut self, unit: &Sequenced<'_>) -> Fresh {
        match unit.first % 3 {
            0 => Fresh::None,
            1 => Fresh::All,
            _ => Fresh::Some(vec![0..unit.count / 2, unit.count / 2..unit.count]),
        }
    }
    fn market(&mut self, event: &MarketEvent) {
        assert!((event.symbol.0 as usize) < self.names.len(), "a symbol that was never asked for");
    }
    fn market_other(&mut self) {}
    fn order(&mut self, span: Range<usize>, _event: &OrderEvent<'_>) {
        assert!(span.start < span.end && span.end <= self.length, "{span:?} of {}", self.length);
    }
    fn described(&mut self, span: Range<usize>, message: Described) {
        assert!(span.start <= span.end && span.end <= self.length, "{span:?} of {}", self.length);
        let text = serde_json::to_string(&message.fields).expect("JSON can hold it");
        assert!(text.len() < 1 << 24);
    }
    fn loss(&mut self, _loss: Loss) {}
    fn loss_many(&mut self, _loss: Loss, _count: u64) {}
}

/// One decoder: datagrams whole and twice, streams in two cuts and after a gap.
fn decoder(input: &[u8]) {
    let Some((&number, payload)) = input.split_first() else { return };
    let protocol = PROTOCOLS[usize::from(number) % PROTOCOLS.len()];
    let _ = (protocol.probe)(payload);
    for fields in [false, true] {
        let mut out = Checked { length: payload.len(), fields, names: HashMap::new() };
        let mut decoder = (protocol.open)();
        let used = decoder.decode(payload, &mut out);
        assert!(used <= payload.len(), "used {used} of {}", payload.len());
        assert!(protocol.carrier == Carrier::Tcp || used == payload.len(), "a datagram is always used up");
        if protocol.carrier == Carrier::Udp {
            decoder.decode(payload, &mut out);
            continue;
        }
        assert!(decoder.decode(&payload[used..], &mut out) == 0, "what was left over has to wait for more");
        let mut cut = (protocol.open)();
        let half = payload.len() / 2;
        let first = cut.decode(&payload[..half], &mut out);
        assert!(first <= half);
        let second = cut.decode(&payload[first..], &mut out);
        assert!(first + second <= payload.len());
        cut.gap();
        cut.decode(&payload[half..], &mut out);
    }
}

fn rules(keeps_books: bool) -> Rules {
    Rules { trigger: TriggerRule { keeps_books, ..TriggerRule::default() }, ..Rules::default() }
}

/// What `analyze` makes of captures, in a few words; `ahead` is threads and bytes of a block.
fn analyzed(inputs: &[Input], keeps_books: bool, ahead: Option<(usize, usize)>) -> Option<String> {
    let mut captures = Merged::open(inputs, &[]).ok()?;
    let mut pipeline = Pipeline::new(Configured::default(), None, Vec::new());
    let mut lane =
        Correlator::new(Symbols::default(), Feeds::new(Vec::new()), Pairer::new(rules(keeps_books)), vec![vec![0]]);
    if let Some((threads, block)) = ahead {
        pipeline.read_ahead(&mut captures, threads, block);
    }
    let (mut rows, mut triggers) = (0_u64, 0_u64);
    let mut take = |lane: &mut Correlator| {
        for Paired { row, is_echo } in lane.take() {
            rows += 1;
            triggers += u64::from(!is_echo && row.trigger.is_some());
        }
    };
    let mut each = |lane: &mut Correlator, now: Timestamp| -> Result<(), Infallible> {
        lane.advance(now);
        take(lane);
        Ok(())
    };
    while let Ok(true) = pipeline.step(&mut captures, &mut lane, &mut each) {}
    captures.finish();
    pipeline.finish(&captures, &mut lane);
    while lane.finish_some() {
        take(&mut lane);
    }
    take(&mut lane);
    let lost = lane.losses.total(Level::Frame);
    assert_eq!(pipeline.frames_read(), pipeline.frames_used() + lost, "frames: read = used + lost");
    Some(format!("{rows} {triggers} {:?} {:?} {:?}", lane.messages, lane.losses, pipeline.taps))
}

/// The whole pipeline on a capture, for `analyze` and for `decode`; each frame is used or has a reason.
fn analyze(input: &[u8]) {
    with_file(input, |path| {
        let inputs = [Input { name: Some("fuzz".to_owned()), path: path.to_owned() }];
        // Read frame by frame, and ahead in small blocks: the same comes out.
        let ahead = Some((input.len() % 3, 700 + input.len() % 5000));
        assert_eq!(analyzed(&inputs, false, None), analyzed(&inputs, false, ahead));
        // With books nothing is read ahead.
        analyzed(&inputs, true, None);

        let Ok(mut captures) = Merged::open(&inputs, &[]) else { return };
        let mut pipeline = Pipeline::new(Configured::default(), None, Vec::new());
        let wanted = Wanted { to: Timestamp::MAX, from: Timestamp::MIN, ..Wanted::default() };
        let mut printer = Printer::new(sink(), vec!["fuzz".to_owned()], wanted);
        while let Some(captured) = captures.next() {
            pipeline.frame(&captured, &mut printer);
        }
        captures.finish();
        pipeline.finish(&captures, &mut printer);
        assert!(printer.error.is_none());
    });
}
