//! The requests that the list of orders shows. Texts that come again and again are kept once; of more requests than there is room
//! for, the oldest are forgotten and counted.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use serde_json::Value;

use crate::wire::RowsAnswer;

/// Requests beyond these are forgotten: some 150 MB.
const MOST: usize = 500_000;
/// Texts beyond these are kept as often as they come.
const MOST_TEXTS: usize = 65_536;

/// A request that is done.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    pub(crate) t_out_ns: u64,
    pub(crate) tap: Arc<str>,
    pub(crate) session: Arc<str>,
    pub(crate) clordid: Box<str>,
    pub(crate) request: Arc<str>,
    pub(crate) symbol: Arc<str>,
    pub(crate) side: Arc<str>,
    pub(crate) price: Box<str>,
    pub(crate) qty: Box<str>,
    pub(crate) method: Arc<str>,
    pub(crate) confidence: f32,
    pub(crate) t2t_ns: Option<i64>,
    pub(crate) tcp_ack_ns: Option<i64>,
    pub(crate) ack_ns: Option<i64>,
    pub(crate) reject_ns: Option<i64>,
    pub(crate) first_fill_ns: Option<i64>,
    pub(crate) cancel_ack_ns: Option<i64>,
    pub(crate) replace_ack_ns: Option<i64>,
    pub(crate) flags: Arc<str>,
    pub(crate) outcome: Arc<str>,
}

impl Row {
    /// The column of that name, as it is called in a filter.
    pub(crate) fn text(&self, name: &str) -> &str {
        match name {
            "tap" => &self.tap,
            "session" => &self.session,
            "clordid" => &self.clordid,
            "request" => &self.request,
            "symbol" => &self.symbol,
            "side" => &self.side,
            "outcome" => &self.outcome,
            "method" => &self.method,
            "flags" => &self.flags,
            _ => "",
        }
    }

    pub(crate) fn latency(&self, name: &str) -> Option<i64> {
        match name {
            "t2t" => self.t2t_ns,
            "answer" => self.answer_ns(),
            "tcp_ack" => self.tcp_ack_ns,
            "ack" => self.ack_ns,
            "reject" => self.reject_ns,
            "first_fill" => self.first_fill_ns,
            "cancel_ack" => self.cancel_ack_ns,
            "replace_ack" => self.replace_ack_ns,
            _ => None,
        }
    }

    /// The first answer of the exchange.
    pub(crate) fn answer_ns(&self) -> Option<i64> {
        let all = [self.ack_ns, self.reject_ns, self.first_fill_ns, self.cancel_ack_ns, self.replace_ack_ns];
        all.into_iter().flatten().min()
    }

    /// The other side of its session.
    pub(crate) fn venue(&self) -> &str {
        self.session.rsplit_once("->").map_or(&*self.session, |(_, venue)| venue)
    }
}

/// See the head of this file.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    all: VecDeque<Arc<Row>>,
    texts: HashSet<Arc<str>>,
    /// The newest number that came.
    pub(crate) last: u64,
    /// The newest that there is on the other side.
    pub(crate) known: u64,
    /// Rows that could not be had any more, or were forgotten here.
    pub(crate) missed: u64,
    /// Those that were forgotten here.
    forgotten: u64,
    /// Grows with every change.
    pub(crate) version: u64,
}

impl Rows {
    pub(crate) fn extend(&mut self, answer: &RowsAnswer) {
        if answer.last < self.last {
            // Another run.
            *self = Rows { version: self.version, ..Rows::default() };
        }
        (self.known, self.missed) = (answer.last, self.missed + answer.missed);
        let columns = Columns::new(&answer.columns);
        let Some(first) = answer.first else {
            self.last = answer.last;
            return;
        };
        for (number, cells) in (first..).zip(&answer.rows) {
            let row = columns.row(cells, |text| self.shared(text));
            self.all.push_back(Arc::new(row));
            self.last = number;
        }
        while self.all.len() > MOST {
            self.all.pop_front();
            (self.missed, self.forgotten) = (self.missed + 1, self.forgotten + 1);
        }
        self.version += 1;
    }

    /// Up to so many rows from a place on, and the place behind them. Places stay when rows are forgotten.
    pub(crate) fn from(&self, place: u64, most: usize) -> (impl Iterator<Item = &Arc<Row>>, u64) {
        let begin = usize::try_from(place.saturating_sub(self.forgotten)).unwrap_or(usize::MAX).min(self.all.len());
        let end = begin.saturating_add(most).min(self.all.len());
        (self.all.range(begin..end), self.forgotten + end as u64)
    }

    /// The place behind the last.
    pub(crate) fn end(&self) -> u64 {
        self.forgotten + self.all.len() as u64
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    fn shared(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        let text: Arc<str> = text.into();
        if self.texts.len() < MOST_TEXTS {
            self.texts.insert(Arc::clone(&text));
        }
        text
    }
}

/// Where the columns stand in a row.
struct Columns<'a>(&'a [String]);

impl Columns<'_> {
    fn new(names: &[String]) -> Columns<'_> {
        Columns(names)
    }

    fn row(&self, cells: &[Value], mut shared: impl FnMut(&str) -> Arc<str>) -> Row {
        let mut row = Row::default();
        for (name, cell) in self.0.iter().zip(cells) {
            let text = cell.as_str().unwrap_or_default();
            let target = match name.as_str() {
                "tap" => &mut row.tap,
                "session" => &mut row.session,
                "request" => &mut row.request,
                "symbol" => &mut row.symbol,
                "side" => &mut row.side,
                "trigger_method" => &mut row.method,
                "flags" => &mut row.flags,
                "outcome" => &mut row.outcome,
                _ => {
                    other(&mut row, name, cell);
                    continue;
                }
            };
            *target = shared(text);
        }
        row
    }
}

#[allow(clippy::cast_possible_truncation, reason = "three decimals")]
fn other(row: &mut Row, name: &str, cell: &Value) {
    let text =
        || cell.as_str().map_or_else(|| if cell.is_null() { String::new() } else { cell.to_string() }, Into::into);
    match name {
        "clordid" => row.clordid = text().into(),
        "price" => row.price = text().into(),
        "qty" => row.qty = text().into(),
        "t_out_ns" => row.t_out_ns = cell.as_u64().unwrap_or(0),
        "trigger_confidence" => row.confidence = cell.as_f64().unwrap_or(0.0) as f32,
        "t2t_ns" => row.t2t_ns = cell.as_i64(),
        "tcp_ack_ns" => row.tcp_ack_ns = cell.as_i64(),
        "ack_ns" => row.ack_ns = cell.as_i64(),
        "reject_ns" => row.reject_ns = cell.as_i64(),
        "first_fill_ns" => row.first_fill_ns = cell.as_i64(),
        "cancel_ack_ns" => row.cancel_ack_ns = cell.as_i64(),
        "replace_ack_ns" => row.replace_ack_ns = cell.as_i64(),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(first: u64, rows: u64, last: u64) -> RowsAnswer {
        let row = |number: u64| vec![json!(format!("C{number}")), json!("A->B"), json!(7_u64), json!(null), json!(120)];
        RowsAnswer {
            columns: ["clordid", "session", "t_out_ns", "t2t_ns", "ack_ns"].map(str::to_owned).to_vec(),
            rows: (first..first + rows).map(row).collect(),
            first: (rows > 0).then_some(first),
            last,
            ..RowsAnswer::default()
        }
    }

    #[test]
    fn rows_follow_each_other_and_another_run_begins_anew() {
        let mut rows = Rows::default();
        rows.extend(&answer(1, 3, 5));
        rows.extend(&answer(4, 2, 5));
        assert_eq!((rows.len(), rows.last, rows.known), (5, 5, 5));
        assert_eq!(rows.end(), 5);
        let first = rows.from(0, 9).0.next().unwrap();
        assert_eq!((&*first.clordid, first.t2t_ns, first.answer_ns(), first.venue()), ("C1", None, Some(120), "B"));
        rows.extend(&answer(1, 1, 1));
        assert_eq!((rows.len(), rows.last), (1, 1));
    }
}
