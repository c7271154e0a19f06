//! The FIX session layer (FIX 4.2/4.4 volume 2, FIXT 1.1) as a plain state machine: messages and times go in, messages
//! to be sent come out. The simulated exchange, trader and gateway use it, and the live exchange with real sockets too.

use std::collections::VecDeque;

use crate::encode::fix::{Fields, Header, Received, Version, encode};

/// At most so many sent messages are kept for resending; older ones are filled as gaps.
const KEPT: usize = 100_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Down,
    /// A logon was sent, or is awaited.
    Waiting,
    Up,
    LogoutSent,
}

/// A message to be written to the connection.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub bytes: Vec<u8>,
    pub sequence: u64,
    /// An application message that is sent for the first time.
    pub is_new: bool,
}

/// What the application should know.
#[derive(Debug)]
pub(crate) enum Happened {
    Up,
    Application(Received),
    /// The session ended; the connection is to be closed once everything is written.
    Down,
}

#[derive(Debug)]
struct Sent {
    sequence: u64,
    kind: String,
    body: Fields,
    time: u64,
}

/// One end of a session.
#[derive(Debug)]
pub(crate) struct Session {
    pub version: Version,
    pub sender: String,
    pub target: String,
    is_acceptor: bool,
    digits: u8,
    state: State,
    next_out: u64,
    next_in: u64,
    sent: VecDeque<Sent>,
    heartbeat: u64,
    last_sent: u64,
    last_heard: u64,
    test_sent: bool,
    /// A resend was asked for; messages that come ahead are ignored until they come again.
    asked: bool,
    pub out: Vec<Outgoing>,
}

impl Session {
    /// The end that connects.
    pub(crate) fn initiator(version: Version, sender: &str, target: &str, heartbeat: u64, digits: u8) -> Session {
        Session::new(version, sender, target, heartbeat, digits, false)
    }

    /// The end that is connected to; an empty `target` takes whoever logs on.
    pub(crate) fn acceptor(version: Version, sender: &str, target: &str, digits: u8) -> Session {
        Session::new(version, sender, target, 0, digits, true)
    }

    fn new(version: Version, sender: &str, target: &str, heartbeat: u64, digits: u8, is_acceptor: bool) -> Session {
        Session {
            version,
            sender: sender.to_owned(),
            target: target.to_owned(),
            is_acceptor,
            digits,
            state: State::Down,
            next_out: 1,
            next_in: 1,
            sent: VecDeque::new(),
            heartbeat,
            last_sent: 0,
            last_heard: 0,
            test_sent: false,
            asked: false,
            out: Vec::new(),
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.state == State::Up
    }

    /// A logout was sent and is not answered yet.
    pub(crate) fn is_leaving(&self) -> bool {
        self.state == State::LogoutSent
    }

    /// A connection exists; the initiator logs on.
    pub(crate) fn connected(&mut self, now: u64) {
        self.state = State::Waiting;
        (self.last_heard, self.test_sent, self.asked) = (now, false, false);
        if !self.is_acceptor {
            let reset = self.next_out == 1 && self.next_in == 1;
            self.send_logon(now, reset);
        }
    }

    /// The connection is gone; sequence numbers stay.
    pub(crate) fn disconnected(&mut self) {
        self.state = State::Down;
        self.out.clear();
    }

    fn send_logon(&mut self, now: u64, reset: bool) {
        let mut body = Fields::new().number(98, 0).number(108, self.heartbeat / 1_000_000_000);
        if reset {
            body = body.text(141, "Y");
        }
        if self.version == Version::Fix50Sp2 {
            body = body.number(1137, 9);
        }
        self.send_admin(now, "A", &body);
    }

    /// Sends an application message; while the session is down it is kept, and goes out when the other side asks.
    pub(crate) fn send(&mut self, now: u64, kind: &str, body: Fields) -> u64 {
        let sequence = self.next_out;
        if self.state == State::Up {
            self.write(now, kind, &body, sequence, None, true);
        }
        self.next_out += 1;
        if self.sent.len() == KEPT {
            self.sent.pop_front();
        }
        self.sent.push_back(Sent { sequence, kind: kind.to_owned(), body, time: now });
        sequence
    }

    fn send_admin(&mut self, now: u64, kind: &str, body: &Fields) {
        let sequence = self.next_out;
        self.next_out += 1;
        self.write(now, kind, body, sequence, None, false);
    }

    fn write(&mut self, now: u64, kind: &str, body: &Fields, sequence: u64, first_sent: Option<u64>, is_new: bool) {
        let header = Header {
            version: self.version,
            kind,
            sender: &self.sender,
            target: &self.target,
            sequence,
            sending: now,
            first_sent,
            digits: self.digits,
        };
        self.out.push(Outgoing { bytes: encode(&header, &body.0), sequence, is_new });
        self.last_sent = now;
    }

    /// Says goodbye; the other side answers, then the connection is closed.
    pub(crate) fn logout(&mut self, now: u64, text: &str) {
        if matches!(self.state, State::Up | State::Waiting) {
            let body = if text.is_empty() { Fields::new() } else { Fields::new().text(58, text) };
            self.send_admin(now, "5", &body);
            self.state = State::LogoutSent;
        }
    }

    /// A session-level reject of a message (35=3).
    pub(crate) fn reject(&mut self, now: u64, message: &Received, tag: u32, reason: u32, text: &str) -> u64 {
        let sequence = self.next_out;
        let mut body = Fields::new().number(45, message.sequence());
        if tag > 0 {
            body = body.number(371, tag.into());
        }
        body = body.text(372, message.kind()).number(373, reason.into()).text(58, text);
        self.send_admin(now, "3", &body);
        sequence
    }

    /// When [`Session::tick`] is to be called at the latest.
    pub(crate) fn deadline(&self) -> u64 {
        if self.state != State::Up || self.heartbeat == 0 {
            return u64::MAX;
        }
        let patience = if self.test_sent { self.heartbeat * 12 / 5 } else { self.heartbeat * 6 / 5 };
        (self.last_sent + self.heartbeat).min(self.last_heard + patience)
    }

    /// Heartbeats, test requests, and giving up on a silent peer.
    pub(crate) fn tick(&mut self, now: u64) -> Option<Happened> {
        if self.state != State::Up || self.heartbeat == 0 {
            return None;
        }
        if now >= self.last_heard + self.heartbeat * 12 / 5 {
            self.state = State::Down;
            return Some(Happened::Down);
        }
        if now >= self.last_heard + self.heartbeat * 6 / 5 && !self.test_sent {
            self.test_sent = true;
            self.send_admin(now, "1", &Fields::new().text(112, "TEST"));
        }
        if now >= self.last_sent + self.heartbeat {
            self.send_admin(now, "0", &Fields::new());
        }
        None
    }

    /// Takes one message in.
    pub(crate) fn receive(&mut self, now: u64, message: Received) -> Option<Happened> {
        (self.last_heard, self.test_sent) = (now, false);
        let sequence = message.sequence();
        if self.state == State::Waiting && message.kind() != "A" {
            // FIX volume 2: the first message must be a logon; anything else ends the connection.
            self.state = State::Down;
            return Some(Happened::Down);
        }
        if let Some(wrong) = self.identity_error(&message) {
            self.reject_identity(now, &message, wrong);
            return Some(Happened::Down);
        }
        match message.kind() {
            "A" => return self.receive_logon(now, &message),
            "4" if message.text(123) != "Y" => {
                self.receive_reset(now, &message);
                return None;
            }
            _ => {}
        }
        if sequence < self.next_in {
            return self.refuse_low(now, &message, sequence);
        }
        if sequence > self.next_in {
            self.ask_again(now);
            // These two are acted upon whatever their number; they will be filled as a gap when they come again.
            return match message.kind() {
                "2" => self.dispatch(now, message),
                "5" => Some(self.receive_logout(now)),
                _ => None,
            };
        }
        self.next_in += 1;
        self.asked &= message.text(43) == "Y" || message.kind() == "4";
        self.dispatch(now, message)
    }

    fn identity_error(&mut self, message: &Received) -> Option<&'static str> {
        if self.is_acceptor && self.target.is_empty() && message.kind() == "A" {
            message.text(49).clone_into(&mut self.target);
        }
        if message.text(49) != self.target {
            return Some("SenderCompID");
        }
        (message.text(56) != self.sender).then_some("TargetCompID")
    }

    fn reject_identity(&mut self, now: u64, message: &Received, wrong: &str) {
        if self.state == State::Up {
            self.reject(now, message, if wrong == "SenderCompID" { 49 } else { 56 }, 9, "CompID problem");
        }
        self.logout(now, wrong);
        self.state = State::Down;
    }

    fn dispatch(&mut self, now: u64, message: Received) -> Option<Happened> {
        match message.kind() {
            "0" => None,
            "1" => {
                let body = Fields::new().text(112, message.text(112));
                self.send_admin(now, "0", &body);
                None
            }
            "2" => {
                self.resend(now, message.number(7).unwrap_or(1), message.number(16).unwrap_or(0));
                None
            }
            "4" => {
                self.receive_reset(now, &message);
                None
            }
            "5" => Some(self.receive_logout(now)),
            _ => Some(Happened::Application(message)),
        }
    }

    /// A number that was used before: fine in a copy, else the end of the session (FIX 4.4, Volume 2).
    fn refuse_low(&mut self, now: u64, message: &Received, sequence: u64) -> Option<Happened> {
        if message.text(43) == "Y" {
            return None;
        }
        let text = format!("MsgSeqNum too low, expecting {} but received {sequence}", self.next_in);
        self.logout(now, &text);
        self.state = State::Down;
        Some(Happened::Down)
    }

    fn receive_logon(&mut self, now: u64, message: &Received) -> Option<Happened> {
        let sequence = message.sequence();
        if message.text(141) == "Y" {
            self.next_in = 1;
            if self.is_acceptor {
                self.next_out = 1;
                self.sent.clear();
            }
        }
        if sequence < self.next_in {
            return self.refuse_low(now, message, sequence);
        }
        if self.is_acceptor {
            self.heartbeat = message.number(108).unwrap_or(30).min(3_600) * 1_000_000_000;
            self.send_logon(now, message.text(141) == "Y");
        }
        self.state = State::Up;
        if sequence > self.next_in {
            self.ask_again(now);
        } else {
            self.next_in = sequence + 1;
        }
        Some(Happened::Up)
    }

    fn receive_logout(&mut self, now: u64) -> Happened {
        if self.state != State::LogoutSent {
            self.send_admin(now, "5", &Fields::new());
        }
        self.state = State::Down;
        Happened::Down
    }

    /// `SequenceReset`: a gap fill when it is its turn, a reset whatever its own number.
    fn receive_reset(&mut self, now: u64, message: &Received) {
        match message.number(36) {
            Some(next) if next >= self.next_in => self.next_in = next,
            _ => {
                self.reject(now, message, 36, 5, "NewSeqNo is missing or too low");
            }
        }
        self.asked = false;
    }

    fn ask_again(&mut self, now: u64) {
        if !self.asked {
            self.asked = true;
            let body = Fields::new().number(7, self.next_in).number(16, 0);
            self.send_admin(now, "2", &body);
        }
    }

    /// Sends again what was asked for: application messages as possible duplicates, the rest as gaps.
    fn resend(&mut self, now: u64, first: u64, last: u64) {
        let last = if last == 0 { self.next_out - 1 } else { last.min(self.next_out - 1) };
        let wanted: Vec<Sent> = {
            let kept = self.sent.iter().filter(|sent| (first..=last).contains(&sent.sequence));
            kept.map(|s| Sent { sequence: s.sequence, kind: s.kind.clone(), body: s.body.clone(), time: s.time })
                .collect()
        };
        let mut next = first;
        for sent in wanted {
            if next < sent.sequence {
                self.fill_gap(now, next, sent.sequence);
            }
            self.write(now, &sent.kind, &sent.body, sent.sequence, Some(sent.time), false);
            next = sent.sequence + 1;
        }
        if next <= last {
            self.fill_gap(now, next, last + 1);
        }
    }

    fn fill_gap(&mut self, now: u64, from: u64, to: u64) {
        self.write(now, "4", &Fields::new().text(123, "Y").number(36, to), from, Some(now), false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::fix::Framer;

    const NOW: u64 = 1_767_623_400_000_000_000;

    fn pair() -> (Session, Session) {
        let client = Session::initiator(Version::Fix44, "C", "S", 30_000_000_000, 3);
        let server = Session::acceptor(Version::Fix44, "S", "", 3);
        (client, server)
    }

    fn deliver(from: &mut Session, to: &mut Session) -> Vec<Happened> {
        let mut framer = Framer::default();
        for message in from.out.drain(..) {
            framer.push(&message.bytes);
        }
        std::iter::from_fn(|| framer.pop()).filter_map(|message| to.receive(NOW, message)).collect()
    }

    fn log_on(client: &mut Session, server: &mut Session) {
        client.connected(NOW);
        server.connected(NOW);
        assert!(matches!(deliver(client, server)[..], [Happened::Up]));
        assert!(matches!(deliver(server, client)[..], [Happened::Up]));
    }

    #[test]
    fn log_on_talk_log_out() {
        let (mut client, mut server) = pair();
        log_on(&mut client, &mut server);
        client.send(NOW, "D", Fields::new().text(11, "X"));
        assert!(matches!(&deliver(&mut client, &mut server)[..], [Happened::Application(m)] if m.text(11) == "X"));
        client.logout(NOW, "");
        assert!(matches!(deliver(&mut client, &mut server)[..], [Happened::Down]));
        assert!(matches!(deliver(&mut server, &mut client)[..], [Happened::Down]));
    }

    #[test]
    fn what_was_lost_comes_again_as_a_copy_and_admin_messages_as_a_gap() {
        let (mut client, mut server) = pair();
        log_on(&mut client, &mut server);
        server.send(NOW, "8", Fields::new().text(11, "lost"));
        server.disconnected();
        client.disconnected();
        server.send(NOW, "8", Fields::new().text(11, "while down"));
        client.connected(NOW);
        server.connected(NOW);
        deliver(&mut client, &mut server);
        deliver(&mut server, &mut client); // its logon is ahead: the client asks
        deliver(&mut client, &mut server);
        let copies: Vec<String> =
            server.out.iter().map(|m| String::from_utf8_lossy(&m.bytes).replace('\u{1}', "|")).collect();
        assert!(copies.iter().all(|copy| copy.contains("|43=Y|")), "{copies:?}");
        let got = deliver(&mut server, &mut client);
        let ids: Vec<&str> = got
            .iter()
            .map(|one| match one {
                Happened::Application(message) => message.text(11),
                _ => "?",
            })
            .collect();
        assert_eq!(ids, ["lost", "while down"]);
        server.send(NOW, "8", Fields::new().text(11, "next"));
        assert_eq!(deliver(&mut server, &mut client).len(), 1);
        assert!(client.out.is_empty(), "nothing more to ask for");
    }

    #[test]
    fn silence_is_tested_then_given_up() {
        let (mut client, mut server) = pair();
        log_on(&mut client, &mut server);
        let hour = |tenths: u64| NOW + tenths * 3_000_000_000;
        assert!(client.tick(hour(10)).is_none());
        assert_eq!(client.out.len(), 1); // heartbeat
        assert!(client.tick(hour(12)).is_none());
        assert_eq!(client.out.len(), 2); // test request
        assert!(matches!(client.tick(hour(24)), Some(Happened::Down)));
    }

    #[test]
    fn low_sequence_numbers_end_the_session() {
        let (mut client, mut server) = pair();
        log_on(&mut client, &mut server);
        client.next_out = 1;
        client.send(NOW, "D", Fields::new());
        assert!(matches!(deliver(&mut client, &mut server)[..], [Happened::Down]));
        assert!(String::from_utf8_lossy(&server.out[0].bytes).contains("MsgSeqNum too low"));
    }
}
