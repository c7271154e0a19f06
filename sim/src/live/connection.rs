//! One client of the live exchange: its TCP connection and its FIX session.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use super::{Shared, now};
use crate::encode::fix::{Framer, Received, Version};
use crate::exchange::{Answer, Outcome, Report};
use crate::random::{to_count, to_float};
use crate::session::{Happened, Session};
use crate::time::MILLI;

/// A client that sends no logon for so long is hung up on.
const PATIENCE: u64 = 10_000_000_000;

/// What is due within this time is waited for by sleeping shortly and watching the clock.
const PRECISE: u64 = 20_000_000;
/// The last part of such a wait, in which the clock is watched; new requests are looked for in between.
const WATCHED: u64 = 100_000;

/// At most so many requests of one client wait for the exchange.
const WAITING: usize = 100_000;

struct Client<'a> {
    stream: &'a TcpStream,
    shared: &'a Shared<'a>,
    framer: Framer,
    session: Option<(usize, Session)>,
    /// Requests, with when they arrived and when the exchange has worked on them.
    work: VecDeque<(u64, Received)>,
    /// `SENDER->TARGET` of the client.
    name: String,
    begun: u64,
    drops: u64,
}

/// Serves one connection to its end.
pub(super) fn serve(stream: &TcpStream, shared: &Shared<'_>) {
    let drops = shared.drops.load(Ordering::Relaxed);
    let begun = now();
    let mut client = Client {
        stream,
        shared,
        framer: Framer::default(),
        session: None,
        work: VecDeque::new(),
        name: String::new(),
        begun,
        drops,
    };
    // An error is the client's hanging up, or the network's: the session waits for it to come back.
    let _ = client.run();
    if let Some((_, mut session)) = client.session.take() {
        session.disconnected();
        shared.core().leave(session);
    }
}

impl Client<'_> {
    fn run(&mut self) -> io::Result<()> {
        self.stream.set_nodelay(true)?;
        self.stream.set_nonblocking(false)?;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            if self.shared.drops.load(Ordering::Relaxed) != self.drops {
                return self.stream.shutdown(std::net::Shutdown::Both);
            }
            if self.shared.is_over() {
                return self.say_goodbye(&mut buffer);
            }
            if self.session.is_none() && now() > self.begun + PATIENCE {
                return Ok(());
            }
            let is_over = self.read(&mut buffer)?;
            self.work_off()?;
            self.send_mail();
            let silent = match &mut self.session {
                Some((_, session)) => session.tick(now()).is_some(),
                None => false,
            };
            self.flush()?;
            // Public data may come behind the private reports that just left.
            self.shared.core().release()?;
            if is_over || silent {
                return Ok(());
            }
        }
    }

    /// The exchange closes: log out, and wait a moment for the answer.
    fn say_goodbye(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        if let Some((_, session)) = &mut self.session {
            session.logout(now(), "the exchange closes");
        }
        self.flush()?;
        let until = now() + 500_000_000;
        while now() < until {
            if self.read(buffer)? {
                break;
            }
        }
        self.flush()
    }

    /// Waits for bytes, but not past what is due; true when the connection is over.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        let due = self.work.front().map(|(due, _)| *due);
        let mail = self.session.as_ref().and_then(|(at, _)| {
            self.shared.core().mailboxes.get(*at).and_then(|mailbox| mailbox.iter().map(|(due, _)| *due).min())
        });
        let held = {
            let core = self.shared.core();
            (!core.held.is_empty()).then_some(core.hold_until)
        };
        let next = due.into_iter().chain(mail).chain(held).min();
        let wait = next.map_or(u64::MAX, |next| next.saturating_sub(now()));
        // A timeout of a socket is as coarse as the system's tick, several milliseconds: only where nothing is due soon.
        if wait > PRECISE {
            self.stream.set_nonblocking(false)?;
            self.stream.set_read_timeout(Some(Duration::from_millis(1)))?;
        } else {
            self.stream.set_nonblocking(true)?;
            let until = now() + wait.min(WATCHED);
            if wait > WATCHED {
                thread::sleep(Duration::from_nanos((wait - WATCHED).min(WATCHED)));
            }
            while wait <= WATCHED && now() < until {
                std::hint::spin_loop();
            }
        }
        let mut stream = self.stream;
        let got = match stream.read(buffer) {
            Ok(0) => return Ok(true),
            Ok(got) => got,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        self.framer.push(buffer.get(..got).unwrap_or_default());
        while let Some(message) = self.framer.pop() {
            if self.take(message) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes one message in; true when it ended the session.
    fn take(&mut self, message: Received) -> bool {
        let time = now();
        if self.session.is_none() && !self.begin(&message, time) {
            return true;
        }
        let Some((at, session)) = &mut self.session else { return true };
        match session.receive(time, message) {
            None | Some(Happened::Up) => false,
            Some(Happened::Down) => {
                self.shared.core().summary.logouts += 1;
                true
            }
            Some(Happened::Application(message)) => {
                // Rejects of the client are not for the matching engine.
                if message.kind() == "3" || message.kind() == "j" {
                    self.shared.core().summary.session_rejects += 1;
                } else if self.work.len() < WAITING {
                    let settings = &self.shared.options.scenario.exchange;
                    if let Some(record) = self.shared.record {
                        record.arrived(&self.name, message.text(11), time);
                    }
                    let mut core = self.shared.core();
                    core.summary.requests += 1;
                    let elapsed = time.saturating_sub(self.shared.start);
                    let latency = settings.latency.draw(&mut core.random, elapsed);
                    let due = self.work.back().map_or(0, |(due, _)| *due).max(time + latency);
                    if let Some(report) = core.exchange.pending(time, *at, session.version, &message) {
                        core.deliver(vec![report], time + (due - time) / 2, 0);
                    }
                    self.work.push_back((due, message));
                }
                false
            }
        }
    }

    /// The first message names the session; false where there is none to be had.
    fn begin(&mut self, message: &Received, time: u64) -> bool {
        let Some(version) = Version::from_begin_string(message.text(8).as_bytes()) else { return false };
        let orders = &self.shared.options.scenario.orders;
        if message.kind() != "A" || message.text(56) != orders.target {
            return false;
        }
        let (client, exchange) = (message.text(49), message.text(56));
        let digits = self.shared.digits(version);
        self.name = format!("{client}->{exchange}");
        let make = || Session::acceptor(version, exchange, client, digits);
        self.session = self.shared.core().session(client, exchange, make);
        if let Some((_, session)) = &mut self.session {
            session.connected(time);
        }
        self.session.is_some()
    }

    /// Lets the exchange work on what is due.
    fn work_off(&mut self) -> io::Result<()> {
        let Some((at, session)) = &self.session else { return Ok(()) };
        let (at, version) = (*at, session.version);
        while let Some((due, message)) = self.work.pop_front() {
            let time = now();
            if due > time {
                self.work.push_front((due, message));
                return Ok(());
            }
            let mut guard = self.shared.core();
            let core = &mut *guard;
            let outcome = core.exchange.request(time, at, version, &message, &mut core.market);
            let settings = &self.shared.options.scenario.exchange;
            let gap = settings.report_gap.draw(&mut core.random, time.saturating_sub(self.shared.start));
            if message.kind() == "D" && core.exchange.will_cancel(at, message.text(11)) {
                let wait = MILLI + to_count(to_float(200 * MILLI) * core.random.exponential());
                core.cancels.push((time + wait, at, message.text(11).to_owned()));
            }
            let (refused, reports): (Vec<Report>, Vec<Report>) =
                outcome.reports.into_iter().partition(|report| report.session_reject.is_some());
            core.settle(Outcome { reports, changes: outcome.changes }, settings, gap)?;
            drop(guard);
            if let (Some(record), false) = (self.shared.record, refused.is_empty()) {
                record.answered(&self.name, message.text(11), time);
            }
            if let (Some((tag, reason)), Some((_, session))) =
                (refused.first().and_then(|report| report.session_reject), &mut self.session)
            {
                session.reject(time, &message, tag, reason, "rejected by the exchange");
            }
        }
        Ok(())
    }

    /// Sends the reports that are due.
    fn send_mail(&mut self) {
        let Some((at, session)) = &mut self.session else { return };
        let time = now();
        let mut core = self.shared.core();
        let Some(mailbox) = core.mailboxes.get_mut(*at) else { return };
        let ready = mailbox.iter().take_while(|(due, _)| *due <= time).count();
        let due: Vec<Report> = mailbox.drain(..ready).map(|(_, report)| report).collect();
        core.summary.reports += due.len() as u64;
        drop(core);
        for report in due {
            if let (Some(record), Some((id, answer))) = (self.shared.record, &report.answers)
                && !matches!(answer, Answer::Fill { .. })
            {
                record.answered(&self.name, id, now());
            }
            session.send(now(), report.kind, report.body);
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let Some((_, session)) = &mut self.session else { return Ok(()) };
        if session.out.is_empty() {
            return Ok(());
        }
        let bytes: Vec<u8> = session.out.drain(..).flat_map(|one| one.bytes).collect();
        self.stream.set_nonblocking(false)?;
        self.stream.set_write_timeout(Some(Duration::from_secs(5)))?;
        let mut stream = self.stream;
        stream.write_all(&bytes)
    }
}
