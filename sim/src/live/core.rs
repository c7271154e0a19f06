//! The exchange's state in a live run, behind one lock: books, sessions, reports on their way, changes that become public.

use std::collections::HashMap;
use std::io;

use super::publisher::Publisher;
use super::{LiveSummary, now};
use crate::book::Change;
use crate::exchange::{Exchange, Outcome, Report};
use crate::market::Market;
use crate::random::Random;
use crate::scenario::{Exchange as Settings, Public};
use crate::session::Session;

/// What all threads share. One lock is enough for a mock: matching takes a microsecond.
pub(super) struct Core {
    pub(super) market: Market,
    pub(super) exchange: Exchange,
    pub(super) publisher: Publisher,
    pub(super) random: Random,
    /// Sessions whose connection is gone wait here for their client to come back.
    pub(super) sessions: HashMap<(String, String), (usize, Option<Session>)>,
    /// By session: reports and when they are due.
    pub(super) mailboxes: Vec<Vec<(u64, Report)>>,
    /// Changes that become public after the private report of them, and when.
    pub(super) held: Vec<Change>,
    pub(super) hold_until: u64,
    /// Orders that the exchange will cancel by itself: when, session, `ClOrdID`.
    pub(super) cancels: Vec<(u64, usize, String)>,
    pub(super) summary: LiveSummary,
}

impl Core {
    pub(super) fn new(market: Market, exchange: Exchange, publisher: Publisher, seed: u64) -> Core {
        Core {
            market,
            exchange,
            publisher,
            random: Random::new(seed, "live"),
            sessions: HashMap::new(),
            mailboxes: Vec::new(),
            held: Vec::new(),
            hold_until: 0,
            cancels: Vec::new(),
            summary: LiveSummary::default(),
        }
    }

    /// The number of a client's session, and the session itself if nobody else is using it.
    pub(super) fn session(
        &mut self,
        sender: &str,
        target: &str,
        make: impl FnOnce() -> Session,
    ) -> Option<(usize, Session)> {
        let next = self.mailboxes.len();
        let key = (sender.to_owned(), target.to_owned());
        let entry = self.sessions.entry(key).or_insert_with(|| (next, Some(make())));
        if entry.0 == next {
            self.mailboxes.push(Vec::new());
        }
        entry.1.take().map(|session| (entry.0, session))
    }

    /// The connection of a session is gone. What was on its way is numbered and kept, for when the client asks again.
    pub(super) fn leave(&mut self, mut session: Session) {
        let key = (session.target.clone(), session.sender.clone());
        if let Some(entry) = self.sessions.get_mut(&key) {
            for (due, report) in self.mailboxes.get_mut(entry.0).map(std::mem::take).unwrap_or_default() {
                session.send(due, report.kind, report.body);
            }
            entry.1 = Some(session);
        }
    }

    pub(super) fn crowd_acted(&mut self, changes: &mut Vec<Change>) -> io::Result<()> {
        let time = now();
        if self.held.is_empty() {
            self.publisher.publish(changes, &self.market, time)?;
            changes.clear();
        } else {
            // Changes become public in the order in which they happened.
            self.held.append(changes);
        }
        if !self.market.struck.is_empty() {
            let outcome = self.exchange.struck(time, &mut self.market);
            self.deliver(outcome.reports, time, 0);
        }
        Ok(())
    }

    /// What one request led to: reports to their sessions, changes to the feed, in the order that the scenario wants.
    pub(super) fn settle(&mut self, outcome: Outcome, settings: &Settings, gap: u64) -> io::Result<()> {
        let time = now();
        if settings.public == Public::Before {
            self.hold_until = 0;
            self.release()?;
            self.publisher.publish(&outcome.changes, &self.market, time)?;
            self.deliver(outcome.reports, time + settings.public_gap.0, gap);
        } else {
            self.deliver(outcome.reports, time, gap);
            if !outcome.changes.is_empty() {
                self.held.extend(outcome.changes);
                self.hold_until = self.hold_until.max(time + settings.public_gap.0);
            }
        }
        Ok(())
    }

    /// Publishes what was held back long enough.
    pub(super) fn release(&mut self) -> io::Result<()> {
        let time = now();
        if self.held.is_empty() || time < self.hold_until {
            return Ok(());
        }
        let held = std::mem::take(&mut self.held);
        self.publisher.publish(&held, &self.market, time)
    }

    /// Cancels of the exchange's own that are due.
    pub(super) fn cancel_unasked(&mut self) {
        let time = now();
        let due: Vec<_> = self.cancels.extract_if(.., |(due, ..)| *due <= time).collect();
        for (_, session, clordid) in due {
            let outcome = self.exchange.cancel_unasked(time, &clordid, session, &mut self.market);
            self.held.extend(outcome.changes);
            self.deliver(outcome.reports, time, 0);
        }
    }

    /// Puts reports into their mailboxes, one `gap` after the other.
    pub(super) fn deliver(&mut self, reports: Vec<Report>, time: u64, gap: u64) {
        let mut due = time;
        for report in reports {
            let absent = self.sessions.values_mut().find(|(at, session)| *at == report.session && session.is_some());
            if let Some((_, Some(session))) = absent {
                session.send(due, report.kind, report.body);
            } else if let Some(mailbox) = self.mailboxes.get_mut(report.session) {
                // A pending state of a later request may be due after the answer to this one.
                let place = mailbox.partition_point(|(other, _)| *other <= due);
                mailbox.insert(place, (due, report));
            }
            due += gap;
        }
    }
}
