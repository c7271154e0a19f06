//! TCP conversations: both directions back in order, the protocol found out from the first bytes, and the ACKs that
//! say when the other side's kernel had a message.

use std::collections::VecDeque;
use std::ops::Range;

use tickscope_decoders::{Carrier, Decoder, Described, Fresh, Guess, Output, PROTOCOLS, Protocol, Sequenced};
use tickscope_model::{Loss, MarketEvent, OrderEvent, SymbolId, Timestamp};

use super::history::{Arrival, History};
use super::stream::{Stream, StreamSink, Taken};
use super::{Direction, FlowKey, Lane, NamedEnd, Seen};
use crate::dissect::TcpFlags;
use crate::hash::HashMap;

/// At most this many conversations are kept; beyond that the longest idle are closed.
const CONVERSATION_LIMIT: usize = 1 << 15;
/// A stream whose first bytes nobody recognises is left alone after so many bytes …
const PROBE_BYTES: usize = 16 << 10;
/// … or segments.
const PROBE_SEGMENTS: u8 = 16;
/// The second copy of a frame from a mirror port comes within this time.
const DUPLICATE_NS: i64 = 1_000_000;

/// What the user has said about a conversation: which side is the client, and perhaps the protocol.
#[derive(Clone, Copy)]
pub struct NamedSession {
    pub client: Option<NamedEnd>,
    pub server: Option<NamedEnd>,
    pub protocol: Option<&'static Protocol>,
}

/// A segment as it was captured.
#[derive(Clone, Copy)]
pub struct Peer<'a> {
    pub sequence: u32,
    pub acknowledgement: u32,
    pub flags: TcpFlags,
    pub payload: &'a [u8],
    pub missing: u32,
    pub ip_id: u16,
}

enum State {
    Probing { segments: u8 },
    Known { protocol: &'static Protocol, decoders: [Box<dyn Decoder>; 2] },
    Unknown,
    Encrypted,
}

/// What makes two captured segments copies of one frame.
#[derive(PartialEq, Eq)]
struct Print {
    way: usize,
    ip_id: u16,
    sequence: u32,
    acknowledgement: u32,
    flags: u8,
    length: usize,
    sum: u64,
}

struct Conversation {
    /// The lower end is the source of direction 0.
    key: FlowKey,
    number: u32,
    streams: [Stream; 2],
    /// Whether frames of each direction were seen.
    seen: [bool; 2],
    state: State,
    /// Which direction comes from the side that opened the connection.
    client: Option<usize>,
    /// Frames that wait for the decision whether the conversation is one that we read.
    frames: u64,
    bytes: StreamBytes,
    /// Bytes lost before it was known what they are: missing, and given up.
    lost_early: (u64, u64),
    last: Timestamp,
    prints: VecDeque<(Timestamp, Arrival, Print)>,
}

/// All TCP conversations of a run.
pub struct Conversations {
    all: Vec<Conversation>,
    index: HashMap<FlowKey, usize>,
    named: Vec<NamedSession>,
    next_number: u32,
    used_frames: u64,
    bytes: StreamBytes,
}

/// Bytes of the TCP streams that were followed.
#[derive(Clone, Copy, Debug, Default)]
pub struct StreamBytes {
    /// From the first captured byte to the last, holes included.
    pub spanned: u64,
    /// Handed to a decoder and used, bytes that the decoder passed over included.
    pub consumed: u64,
    /// Begun messages that were given up because a hole followed.
    pub discarded: u64,
}

impl Conversations {
    pub fn new(named: Vec<NamedSession>) -> Conversations {
        Conversations {
            all: Vec::new(),
            index: HashMap::default(),
            named,
            next_number: 0,
            used_frames: 0,
            bytes: StreamBytes::default(),
        }
    }

    /// Frames of conversations that a decoder reads.
    pub fn used_frames(&self) -> u64 {
        self.used_frames
    }

    /// Complete once [`Conversations::finish`] was called.
    pub fn bytes(&self) -> StreamBytes {
        self.bytes
    }

    /// The newest conversations, up to so many, and which of their directions were seen; the lower end is the source of the first.
    pub fn newest(&self, most: usize) -> impl Iterator<Item = (FlowKey, [bool; 2])> {
        self.all.iter().rev().take(most).map(|conversation| (conversation.key, conversation.seen))
    }

    pub fn segment<L: Lane>(&mut self, key: &FlowKey, peer: &Peer<'_>, arrival: Arrival, lane: &mut L) {
        let (conversation_key, swapped) = key.conversation();
        let at = match self.index.get(&conversation_key) {
            Some(&at) => at,
            None => self.add(conversation_key, lane),
        };
        let Some(conversation) = self.all.get_mut(at) else { return };
        let way = usize::from(swapped);
        if conversation.is_copy(way, peer, arrival) {
            lane.loss(Loss::CaptureDuplicate, 1);
            return;
        }
        conversation.frames += 1;
        conversation.seen[way] = true;
        conversation.last = arrival.time;
        if peer.flags.syn() {
            conversation.open(way, peer, &mut self.next_number, lane);
        }
        if peer.flags.fin() {
            let length = u32::try_from(peer.payload.len()).unwrap_or(0) + peer.missing;
            conversation.streams[way].close(peer.sequence.wrapping_add(length));
        }
        if !peer.payload.is_empty() || peer.missing > 0 {
            conversation.payload(way, peer, arrival, lane);
        }
        if peer.flags.ack() && !peer.flags.syn() {
            conversation.acknowledge(1 - way, peer.acknowledgement, arrival, lane);
        }
        self.used_frames += conversation.settle(lane);
    }

    /// The end of the capture: what waits is read or given up, what is undecided is unknown.
    pub fn finish<L: Lane>(&mut self, lane: &mut L) {
        for conversation in &mut self.all {
            self.used_frames += conversation.close(lane);
            self.bytes.add(conversation.bytes);
        }
        self.all.clear();
        self.index.clear();
    }

    fn add<L: Lane>(&mut self, key: FlowKey, lane: &mut L) -> usize {
        if self.all.len() >= CONVERSATION_LIMIT {
            self.evict(lane);
        }
        let mut conversation = Conversation {
            key,
            number: self.next_number,
            streams: [Stream::default(), Stream::default()],
            seen: [false; 2],
            state: State::Probing { segments: 0 },
            client: None,
            frames: 0,
            bytes: StreamBytes::default(),
            lost_early: (0, 0),
            last: Timestamp::MIN,
            prints: VecDeque::new(),
        };
        self.next_number += 1;
        for session in &self.named {
            for (way, source, target) in [(0, key.source, key.target), (1, key.target, key.source)] {
                if session.client.is_none_or(|end| end.holds(source))
                    && session.server.is_none_or(|end| end.holds(target))
                {
                    conversation.client = Some(way);
                    conversation.state = session.protocol.map_or(conversation.state, State::known);
                    break;
                }
            }
        }
        self.all.push(conversation);
        self.index.insert(key, self.all.len() - 1);
        self.all.len() - 1
    }

    /// Closes the longest idle quarter, conversations that nobody reads first.
    fn evict<L: Lane>(&mut self, lane: &mut L) {
        self.all.sort_by_key(|conversation| (conversation.is_read(), conversation.last));
        for mut conversation in self.all.drain(..CONVERSATION_LIMIT / 4) {
            self.used_frames += conversation.close(lane);
            self.bytes.add(conversation.bytes);
        }
        self.index = self.all.iter().enumerate().map(|(at, conversation)| (conversation.key, at)).collect();
    }
}

impl StreamBytes {
    fn add(&mut self, other: StreamBytes) {
        self.spanned += other.spanned;
        self.consumed += other.consumed;
        self.discarded += other.discarded;
    }
}

impl State {
    fn known(protocol: &'static Protocol) -> State {
        State::Known { protocol, decoders: [(protocol.open)(), (protocol.open)()] }
    }
}

impl Conversation {
    fn is_read(&self) -> bool {
        matches!(self.state, State::Known { .. })
    }

    /// A mirror port may deliver a frame twice: same tap, same IP id, same bytes, within a millisecond.
    /// A TCP retransmission is a new IP packet and has another id.
    fn is_copy(&mut self, way: usize, peer: &Peer<'_>, arrival: Arrival) -> bool {
        let print = Print {
            way,
            ip_id: peer.ip_id,
            sequence: peer.sequence,
            acknowledgement: peer.acknowledgement,
            flags: peer.flags.0,
            length: peer.payload.len(),
            sum: fingerprint(peer.payload),
        };
        while self.prints.front().is_some_and(|(time, _, _)| arrival.time.since(*time).0 > DUPLICATE_NS)
            || self.prints.len() >= 64
        {
            self.prints.pop_front();
        }
        // Pure ACKs of one system may share id and content (an IP id of 0 with DF), and copies of them change nothing.
        let copy = self.prints.iter().any(|(time, other, seen)| {
            other.tap == arrival.tap && *seen == print && arrival.time.since(*time).0.abs() <= DUPLICATE_NS
        }) && (!peer.payload.is_empty() || peer.ip_id != 0);
        if !copy {
            self.prints.push_back((arrival.time, arrival, print));
        }
        copy
    }

    /// A SYN: perhaps a new connection between the same ends.
    fn open<L: Lane>(&mut self, way: usize, peer: &Peer<'_>, next_number: &mut u32, lane: &mut L) {
        let is_answer = peer.flags.ack();
        let had_started = self.streams[way].has_started();
        if had_started && !is_answer {
            // The old connection's last bytes are read before the new one takes its place.
            let mut probe = Stream::default();
            std::mem::swap(&mut probe, &mut self.streams[way]);
            let renewed = probe.open(peer.sequence);
            std::mem::swap(&mut probe, &mut self.streams[way]);
            if renewed {
                self.number = *next_number;
                *next_number += 1;
                self.finish_streams(lane);
                self.streams = [Stream::default(), Stream::default()];
                self.streams[way].open(peer.sequence);
                if let State::Known { protocol, .. } = self.state {
                    self.state = State::known(protocol);
                } else {
                    self.state = State::Probing { segments: 0 };
                }
            }
        } else {
            self.streams[way].open(peer.sequence);
        }
        self.client = Some(if is_answer { 1 - way } else { way });
    }

    fn payload<L: Lane>(&mut self, way: usize, peer: &Peer<'_>, arrival: Arrival, lane: &mut L) {
        if matches!(self.state, State::Unknown | State::Encrypted) {
            return;
        }
        let was_probing = matches!(self.state, State::Probing { .. });
        let (stream, mut reader) = self.reader(way, lane);
        let before = stream.spanned();
        stream.segment(peer.sequence, peer.payload, peer.missing, arrival, &mut reader);
        if was_probing && stream.held() >= PROBE_BYTES {
            // A hole at the beginning that nobody acknowledges: what lies behind it tells more.
            stream.give_up_hole(&mut reader);
        }
        let has_moved = stream.spanned() > before;
        if let State::Probing { segments } = &mut self.state {
            // Bytes that wait behind a hole have not been looked at.
            *segments = segments.saturating_add(u8::from(has_moved));
        }
        self.decide(was_probing, way, lane);
    }

    /// Stream and reader of one direction, borrowed apart.
    fn reader<'a, L: Lane>(&'a mut self, way: usize, lane: &'a mut L) -> (&'a mut Stream, StreamReader<'a, L>) {
        let key =
            if way == 0 { self.key } else { FlowKey { source: self.key.target, target: self.key.source, ..self.key } };
        let reader = StreamReader {
            lane,
            state: &mut self.state,
            counts: &mut self.bytes,
            lost_early: &mut self.lost_early,
            way,
            ends: Ends { key, conversation: self.number, from_client: self.client.map(|client| client == way) },
        };
        (&mut self.streams[way], reader)
    }

    /// Gives up on a conversation that nobody has recognised; reads what waited for one that somebody has.
    fn decide<L: Lane>(&mut self, was_probing: bool, way: usize, lane: &mut L) {
        let waiting = self.streams.iter().map(Stream::unread).max().unwrap_or(0);
        if let State::Probing { segments } = self.state
            && (segments >= PROBE_SEGMENTS || waiting >= PROBE_BYTES)
        {
            self.state = State::Unknown;
        }
        match self.state {
            State::Known { .. } if was_probing => {
                let (missing, discarded) = std::mem::take(&mut self.lost_early);
                lane.loss(Loss::StreamGap, missing);
                lane.loss(Loss::StreamSkipped, discarded);
                self.bytes.discarded += discarded;
                let (stream, mut reader) = self.reader(1 - way, lane);
                stream.reread(&mut reader);
            }
            State::Unknown | State::Encrypted => self.streams = [Stream::default(), Stream::default()],
            State::Known { .. } | State::Probing { .. } => {}
        }
    }

    fn acknowledge<L: Lane>(&mut self, way: usize, number: u32, arrival: Arrival, lane: &mut L) {
        if matches!(self.state, State::Unknown | State::Encrypted) {
            return;
        }
        let (stream, mut reader) = self.reader(way, lane);
        if let Some(place) = stream.acknowledge(number, arrival) {
            reader.acknowledged(place, arrival);
        }
        stream.expire(arrival.time, &mut reader);
    }

    /// Counts frames once it is clear what they were. Returns the used ones.
    fn settle<L: Lane>(&mut self, lane: &mut L) -> u64 {
        let loss = match self.state {
            State::Probing { .. } => return 0,
            State::Known { .. } => return std::mem::take(&mut self.frames),
            State::Unknown => Loss::UnknownTcp,
            State::Encrypted => Loss::Encrypted,
        };
        lane.loss(loss, std::mem::take(&mut self.frames));
        0
    }

    fn finish_streams<L: Lane>(&mut self, lane: &mut L) {
        for way in 0..2 {
            let (stream, mut reader) = self.reader(way, lane);
            stream.finish(&mut reader);
            let (tail, spanned) = (stream.unread() as u64, stream.spanned());
            if self.is_read() {
                self.bytes.spanned += spanned;
                lane.loss(Loss::StreamTail, tail);
            }
        }
    }

    fn close<L: Lane>(&mut self, lane: &mut L) -> u64 {
        self.finish_streams(lane);
        if matches!(self.state, State::Probing { .. }) {
            self.state = State::Unknown;
        }
        self.settle(lane)
    }
}

/// FNV-1a over the payload, eight bytes at a time: cheap, and only ever compared within a millisecond.
fn fingerprint(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut sum = 0xcbf2_9ce4_8422_2325_u64;
    for word in words {
        sum = (sum ^ u64::from_le_bytes(*word)).wrapping_mul(0x0100_0000_01b3);
    }
    rest.iter().fold(sum, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// TLS records (RFC 8446, section 5.1) and SSH's greeting (RFC 4253, section 4.2).
fn is_encrypted(bytes: &[u8]) -> bool {
    matches!(bytes, [0x14..=0x17, 0x03, 0x00..=0x04, high, _, ..] if *high <= 0x48) || bytes.starts_with(b"SSH-")
}

/// Reads one direction: asks the protocols who it is, then hands the bytes to the decoder.
struct StreamReader<'a, L: Lane> {
    lane: &'a mut L,
    state: &'a mut State,
    counts: &'a mut StreamBytes,
    lost_early: &'a mut (u64, u64),
    way: usize,
    ends: Ends,
}

/// What is known of a direction before its protocol is.
struct Ends {
    key: FlowKey,
    conversation: u32,
    from_client: Option<bool>,
}

impl Ends {
    fn direction(&self, protocol: &'static Protocol) -> Direction<'_> {
        Direction { protocol, key: &self.key, conversation: self.conversation, from_client: self.from_client }
    }
}

impl<L: Lane> StreamReader<'_, L> {
    fn acknowledged(&mut self, place: u64, arrival: Arrival) {
        if let State::Known { protocol, .. } = self.state {
            let direction = self.ends.direction(protocol);
            self.lane.acknowledged(&direction, place, arrival);
        }
    }

    fn probe(&mut self, bytes: &[u8]) {
        if is_encrypted(bytes) {
            *self.state = State::Encrypted;
            return;
        }
        for protocol in PROTOCOLS.iter().filter(|protocol| protocol.carrier == Carrier::Tcp) {
            if (protocol.probe)(bytes) == Guess::Yes {
                *self.state = State::known(protocol);
                return;
            }
        }
    }
}

impl<L: Lane> StreamSink for StreamReader<'_, L> {
    fn bytes(&mut self, base: u64, bytes: &[u8], history: &History) -> Taken {
        if matches!(self.state, State::Probing { .. }) {
            self.probe(bytes);
        }
        let State::Known { protocol, decoders } = self.state else { return Taken::default() };
        let direction = self.ends.direction(protocol);
        let Some(decoder) = decoders.get_mut(self.way) else { return Taken::default() };
        let mut output = StreamOutput { lane: self.lane, direction, base, history, first: None, mended: None };
        let used = decoder.decode(bytes, &mut output);
        self.counts.consumed += used as u64;
        Taken { used, first: output.first }
    }

    fn mended(&mut self, base: u64, bytes: &[u8], history: &History) -> Option<Vec<Range<u64>>> {
        if matches!(self.state, State::Probing { .. }) {
            self.probe(bytes);
        }
        let State::Known { protocol, .. } = self.state else { return None };
        let direction = self.ends.direction(protocol);
        let mended = Some(Vec::new());
        let mut output = StreamOutput { lane: self.lane, direction, base, history, first: None, mended };
        // The decoder of the stream is somewhere else already.
        let mut decoder = (protocol.open)();
        decoder.gap();
        decoder.decode(bytes, &mut output);
        output.mended
    }

    fn gap(&mut self, missing: u64, discarded: u64) {
        let State::Known { protocol, decoders } = self.state else {
            self.lost_early.0 += missing;
            self.lost_early.1 += discarded;
            return;
        };
        self.lane.loss(Loss::StreamGap, missing);
        self.lane.loss(Loss::StreamSkipped, discarded);
        self.counts.discarded += discarded;
        if let Some(decoder) = decoders.get_mut(self.way) {
            decoder.gap();
        }
        let direction = self.ends.direction(protocol);
        self.lane.stream_gap(&direction);
    }

    fn retransmitted(&mut self, start: u64, end: u64) {
        if let State::Known { protocol, .. } = self.state {
            let direction = self.ends.direction(protocol);
            self.lane.retransmitted(&direction, start..end);
        }
    }
}

/// [`Output`] of a decoder that reads a stream: turns spans into times.
struct StreamOutput<'a, L: Lane> {
    lane: &'a mut L,
    direction: Direction<'a>,
    base: u64,
    history: &'a History,
    /// Where the first message begins.
    first: Option<u64>,
    /// The messages, where bytes are read that came late. What they lose has been counted when they were given up.
    mended: Option<Vec<Range<u64>>>,
}

impl<L: Lane> StreamOutput<'_, L> {
    fn seen(&mut self, span: &Range<usize>) -> Seen {
        let (start, end) = (self.base + span.start as u64, self.base + span.end as u64);
        self.first.get_or_insert(start);
        if let Some(mended) = &mut self.mended {
            mended.push(start..end);
        }
        let last = self.history.brought(end.saturating_sub(1).max(start)).expect("bytes in hand have an arrival");
        let first = self.history.brought(start).unwrap_or(last);
        Seen {
            tap: last.tap,
            frame: last.frame,
            time: last.time,
            first_frame: first.frame,
            first: first.time,
            end,
            length: end - start,
            early: last.early,
            cut: self.history.was_cut(start, end),
            acked: self.history.acknowledged(end, last.time),
        }
    }
}

impl<L: Lane> Output for StreamOutput<'_, L> {
    fn wants_fields(&self) -> bool {
        self.lane.wants_fields()
    }
    fn now(&self) -> Timestamp {
        self.history.latest()
    }
    fn symbol(&mut self, name: &[u8]) -> SymbolId {
        self.lane.symbol(name)
    }
    fn sequenced(&mut self, _unit: &Sequenced<'_>) -> Fresh {
        Fresh::All
    }
    fn market(&mut self, _event: &MarketEvent) {
        debug_assert!(false, "market data over TCP is no protocol that we have");
    }
    fn market_other(&mut self) {}
    fn order(&mut self, span: Range<usize>, event: &OrderEvent<'_>) {
        let seen = self.seen(&span);
        self.lane.order(&self.direction, &seen, event);
    }
    fn described(&mut self, span: Range<usize>, message: Described) {
        let seen = self.seen(&span);
        self.lane.order_described(&self.direction, &seen, message);
    }
    fn loss(&mut self, loss: Loss) {
        self.loss_many(loss, 1);
    }
    fn loss_many(&mut self, loss: Loss, count: u64) {
        if self.mended.is_none() || loss != Loss::StreamSkipped {
            self.lane.loss(loss, count);
        }
    }
    fn stray(&mut self, loss: Loss, count: u64) {
        if self.mended.is_none() {
            self.lane.stray(loss, count);
        }
    }
}
