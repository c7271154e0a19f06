//! What is true of a live run, as far as it is known without a capture: which message caused which request, the latencies
//! that were drawn, and what the exchange measured. Times at capture points stay empty: no tap of ours saw them.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use crate::truth::{Row, write_rows};

/// At most so many requests are recorded.
const MOST: usize = 2_000_000;

#[derive(Default)]
struct Known {
    rows: Vec<Row>,
    /// By session and `ClOrdID`.
    by_id: HashMap<(String, String), usize>,
    /// When requests reached the exchange, until they are answered.
    arrived: HashMap<(String, String), u64>,
}

/// The rows of truth.csv while they are made.
#[derive(Default)]
pub(super) struct Record {
    known: Mutex<Known>,
}

impl Record {
    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request went out on this session.
    pub(super) fn sent(&self, session: &str, clordid: &str, row: Row) {
        let mut all = self.known();
        if all.rows.len() < MOST {
            let at = all.rows.len();
            all.rows.push(row);
            all.by_id.insert((session.to_owned(), clordid.to_owned()), at);
        }
    }

    /// A gateway passed a request on: the same one on another session.
    pub(super) fn passed_on(&self, from: &str, to: &str, clordid: &str) {
        let known = self.known().by_id.get(&(from.to_owned(), clordid.to_owned())).copied();
        let copy = known.and_then(|at| self.known().rows.get(at).cloned());
        if let Some(mut row) = copy {
            row.set("session", to);
            self.sent(to, clordid, row);
        }
    }

    /// A request reached the exchange.
    pub(super) fn arrived(&self, session: &str, clordid: &str, now: u64) {
        let mut all = self.known();
        let key = (session.to_owned(), clordid.to_owned());
        if all.by_id.contains_key(&key) {
            all.arrived.entry(key).or_insert(now);
        }
    }

    /// The exchange's first answer leaves.
    pub(super) fn answered(&self, session: &str, clordid: &str, now: u64) {
        let mut all = self.known();
        let key = (session.to_owned(), clordid.to_owned());
        let Some(arrived) = all.arrived.remove(&key) else { return };
        let at = all.by_id.get(&key).copied();
        if let Some(row) = at.and_then(|at| all.rows.get_mut(at)) {
            row.set("exchange_ns", &now.saturating_sub(arrived).to_string());
        }
    }

    pub(super) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        write_rows(&self.known().rows, out)
    }
}
