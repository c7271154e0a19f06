//! A TCP conversation between two simulated hosts (RFC 9293): handshake, sequence numbers, acknowledgements that are
//! delayed or ride on data, repetition after loss (RFC 6298 timer, three duplicate ACKs), and the end by FIN or RST.
//! Positions in a stream are 64-bit offsets: 0 is the SYN, data begin at 1.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::wire::{Node, TcpHeader, flag, tcp_frame};

/// One segment on its way.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub start: u64,
    pub payload: Rc<[u8]>,
    pub ack: u64,
    pub flags: u8,
    /// `TSval` of its sender.
    pub stamp: u32,
}

impl Segment {
    /// The offset behind its last byte.
    pub(crate) fn end(&self) -> u64 {
        self.start + self.payload.len() as u64
    }

    fn counted(&self) -> u64 {
        self.end() + u64::from(self.flags & (flag::SYN | flag::FIN) != 0)
    }
}

/// What the host of an end has to do next.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "independent things to do, not the states of a machine")]
pub(crate) struct Todo {
    pub send: Vec<Segment>,
    /// Bytes for the application, in order.
    pub deliver: Vec<u8>,
    /// An ACK is due, but may wait.
    pub ack_later: bool,
    /// Something is not acknowledged: (re)start the timer.
    pub arm: bool,
    pub connected: bool,
    pub finished: bool,
}

/// One end of a conversation.
#[derive(Debug)]
pub(crate) struct End {
    pub node: Node,
    first: u32,
    ip_id: u16,
    /// First offset that is not acknowledged.
    una: u64,
    next: u64,
    /// From `una` on, without SYN and FIN.
    unacked: Vec<u8>,
    received: u64,
    ahead: BTreeMap<u64, Rc<[u8]>>,
    peer_stamp: u32,
    repeated_acks: u32,
    fin_at: Option<u64>,
    peer_fin: Option<u64>,
    pub is_open: bool,
    pub ack_pending: bool,
    /// Counts up with every restart, so that old timers are recognised.
    pub timer: u64,
    pub ack_timer: u64,
    pub tries: u32,
    mss: usize,
}

impl End {
    pub(crate) fn new(node: Node, first: u32, mss: u16) -> End {
        End {
            node,
            first,
            ip_id: u16::try_from(first >> 16).expect("16 bits"),
            una: 0,
            next: 0,
            unacked: Vec::new(),
            received: 0,
            ahead: BTreeMap::new(),
            peer_stamp: 0,
            repeated_acks: 0,
            fin_at: None,
            peer_fin: None,
            is_open: false,
            ack_pending: false,
            timer: 0,
            ack_timer: 0,
            tries: 0,
            mss: usize::from(mss),
        }
    }

    /// The frame of a segment that this end sends, and where its payload begins.
    pub(crate) fn frame(&mut self, to: &End, segment: &Segment) -> (Vec<u8>, usize) {
        self.ip_id = self.ip_id.wrapping_add(1);
        let is_first = segment.flags & flag::SYN != 0;
        let has_ack = segment.flags & flag::ACK != 0;
        let header = TcpHeader {
            sequence: self.first.wrapping_add(low(segment.start)),
            acknowledgement: if has_ack { to.first.wrapping_add(low(segment.ack)) } else { 0 },
            flags: segment.flags,
            window: if is_first { 64_240 } else { 501 },
            stamps: (segment.stamp, self.peer_stamp),
            mss: is_first.then_some(1460),
        };
        tcp_frame(&self.node, &to.node, self.ip_id, &header, &segment.payload)
    }

    fn segment(&self, start: u64, payload: &[u8], flags: u8, now: u64) -> Segment {
        Segment { start, payload: payload.into(), ack: self.received, flags, stamp: stamp(now) }
    }

    /// The first segment of a conversation.
    pub(crate) fn connect(&mut self, now: u64) -> Todo {
        self.next = 1;
        Todo { send: vec![self.segment(0, &[], flag::SYN, now)], arm: true, ..Todo::default() }
    }

    /// Bytes of the application, cut into segments of at most the MSS; `first_cut` ends the first one earlier.
    pub(crate) fn write(&mut self, now: u64, bytes: &[u8], first_cut: Option<usize>) -> (std::ops::Range<u64>, Todo) {
        let range = self.next..self.next + bytes.len() as u64;
        let mut todo = Todo { arm: true, ..Todo::default() };
        let mut rest = bytes;
        let mut limit = first_cut.unwrap_or(self.mss).clamp(1, self.mss);
        while !rest.is_empty() {
            let (now_part, later) = rest.split_at(limit.min(rest.len()));
            let flags = flag::ACK | if later.is_empty() { flag::PSH } else { 0 };
            todo.send.push(self.segment(self.next, now_part, flags, now));
            self.next += now_part.len() as u64;
            (rest, limit) = (later, self.mss);
        }
        self.unacked.extend_from_slice(bytes);
        self.ack_pending = false;
        (range, todo)
    }

    /// No more data will be written.
    pub(crate) fn finish(&mut self, now: u64) -> Todo {
        if self.fin_at.is_some() {
            return Todo::default();
        }
        self.fin_at = Some(self.next);
        let segment = self.segment(self.next, &[], flag::FIN | flag::ACK, now);
        self.next += 1;
        self.ack_pending = false;
        Todo { send: vec![segment], arm: true, ..Todo::default() }
    }

    /// The segment that cuts a conversation off.
    pub(crate) fn reset(&self, now: u64) -> Segment {
        Segment { flags: flag::RST, ..self.segment(self.next, &[], 0, now) }
    }

    /// A pure acknowledgement.
    pub(crate) fn acknowledge(&mut self, now: u64) -> Segment {
        self.ack_pending = false;
        self.segment(self.next, &[], flag::ACK, now)
    }

    /// The timer ran out: the first segment that is not acknowledged goes out again.
    pub(crate) fn repeat(&mut self, now: u64) -> Todo {
        if self.una >= self.next {
            return Todo::default();
        }
        self.tries += 1;
        let segment = if self.una == 0 {
            let answer = if self.received > 0 { flag::ACK } else { 0 };
            self.segment(0, &[], flag::SYN | answer, now)
        } else if self.unacked.is_empty() {
            self.segment(self.una, &[], flag::FIN | flag::ACK, now)
        } else {
            let length = self.unacked.len().min(self.mss);
            self.segment(self.una, &self.unacked[..length], flag::ACK | flag::PSH, now)
        };
        Todo { send: vec![segment], arm: true, ..Todo::default() }
    }

    /// A segment of the other end arrives.
    pub(crate) fn arrive(&mut self, now: u64, segment: &Segment) -> Todo {
        let mut todo = Todo::default();
        self.peer_stamp = segment.stamp;
        if segment.flags & flag::SYN != 0 {
            return self.arrive_syn(now, segment);
        }
        self.take_ack(now, segment, &mut todo);
        if segment.flags & flag::FIN != 0 {
            self.peer_fin = Some(segment.end());
        }
        if segment.payload.is_empty() && segment.flags & flag::FIN == 0 {
            todo.finished = self.is_finished();
            return todo;
        }
        let in_order = segment.start <= self.received && segment.counted() > self.received;
        if segment.end() > self.received {
            self.ahead.insert(segment.start, Rc::clone(&segment.payload));
        }
        self.collect(&mut todo.deliver);
        if self.peer_fin == Some(self.received) {
            self.received += 1;
            todo.send.push(self.acknowledge(now));
        } else if in_order && self.ahead.is_empty() {
            todo.ack_later = true;
        } else {
            // RFC 5681, section 4.2: data out of order, and data that fill a hole, are acknowledged at once.
            todo.send.push(self.acknowledge(now));
        }
        todo.finished = self.is_finished();
        todo
    }

    fn is_finished(&self) -> bool {
        let heard_end = self.peer_fin.is_some_and(|at| self.received > at);
        heard_end && self.fin_at.is_some_and(|at| self.una > at)
    }

    fn arrive_syn(&mut self, now: u64, segment: &Segment) -> Todo {
        let was_open = self.is_open;
        self.received = self.received.max(1);
        self.is_open = true;
        if segment.flags & flag::ACK == 0 {
            self.next = self.next.max(1);
            let answer = self.segment(0, &[], flag::SYN | flag::ACK, now);
            return Todo { send: vec![answer], arm: true, ..Todo::default() };
        }
        self.una = self.una.max(1);
        let ack = self.acknowledge(now);
        Todo { send: vec![ack], connected: !was_open, ..Todo::default() }
    }

    fn take_ack(&mut self, now: u64, segment: &Segment, todo: &mut Todo) {
        if segment.ack > self.una {
            let syn = u64::from(self.una == 0);
            let bytes = usize::try_from(segment.ack - self.una - syn).unwrap_or(usize::MAX).min(self.unacked.len());
            self.unacked.drain(..bytes);
            self.una = segment.ack;
            (self.repeated_acks, self.tries) = (0, 0);
            self.timer += 1;
            todo.arm = self.una < self.next;
        } else if segment.ack == self.una && self.una < self.next && segment.payload.is_empty() {
            self.repeated_acks += 1;
            if self.repeated_acks == 3 {
                let again = self.repeat(now);
                todo.send.extend(again.send);
            }
        }
    }

    fn collect(&mut self, out: &mut Vec<u8>) {
        while let Some((&start, _)) = self.ahead.first_key_value() {
            if start > self.received {
                return;
            }
            let payload = self.ahead.remove(&start).expect("just seen");
            let known = usize::try_from(self.received - start).expect("less than a segment or it is dropped below");
            if let Some(new) = payload.get(known..) {
                out.extend_from_slice(new);
                self.received += new.len() as u64;
            }
        }
    }
}

fn low(offset: u64) -> u32 {
    u32::try_from(offset & u64::from(u32::MAX)).expect("masked")
}

/// `TSval`: milliseconds, as Linux counts.
fn stamp(now: u64) -> u32 {
    low(now / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (End, End) {
        let mut client = End::new(Node::host([10, 0, 0, 1], 1), u32::MAX - 5, 100);
        let mut server = End::new(Node::host([10, 0, 0, 2], 2), 77, 100);
        let syn = client.connect(0).send.remove(0);
        let answer = server.arrive(0, &syn).send.remove(0);
        let done = client.arrive(0, &answer);
        assert!(done.connected);
        server.arrive(0, &done.send[0]);
        (client, server)
    }

    #[test]
    fn data_arrive_once_and_in_order_whatever_happens_on_the_way() {
        let (mut client, mut server) = pair();
        let bytes: Vec<u8> = (0..=249).collect();
        let (range, todo) = client.write(0, &bytes, Some(30));
        assert_eq!((range, todo.send.len()), (1..251, 4));
        assert!(server.arrive(0, &todo.send[2]).deliver.is_empty());
        let mut got = server.arrive(0, &todo.send[0]).deliver;
        got.extend(server.arrive(0, &todo.send[0]).deliver);
        got.extend(server.arrive(0, &todo.send[1]).deliver);
        got.extend(server.arrive(0, &todo.send[3]).deliver);
        assert_eq!(got, bytes);
        let ack = server.acknowledge(0);
        assert_eq!(ack.ack, 251);
        client.arrive(0, &ack);
        assert!(client.repeat(0).send.is_empty(), "nothing is left to repeat");
    }

    #[test]
    fn three_duplicate_acks_repeat_the_lost_segment() {
        let (mut client, mut server) = pair();
        let sent: Vec<Segment> = (0..5_u8).flat_map(|n| client.write(0, &[n; 10], None).1.send).collect();
        let mut repeated = Vec::new();
        for segment in &sent[1..] {
            for ack in server.arrive(0, segment).send {
                repeated.extend(client.arrive(0, &ack).send);
            }
        }
        assert_eq!(repeated.len(), 1);
        assert_eq!(repeated[0].start, 1);
        assert_eq!(server.arrive(0, &repeated[0]).deliver.len(), 50);
    }

    #[test]
    fn both_ends_finish() {
        let (mut client, mut server) = pair();
        let fin = client.finish(0).send.remove(0);
        let ack = server.arrive(0, &fin).send.remove(0);
        client.arrive(0, &ack);
        let fin = server.finish(0).send.remove(0);
        let last = client.arrive(0, &fin);
        assert!(last.finished);
        assert!(server.arrive(0, &last.send[0]).finished);
    }
}
