//! `tickscope score`: an `--orders` file against a truth. Requests are matched by session and `ClOrdID`; every latency is
//! exact, within a microsecond, wrong, missing, or given where nothing could be observed; attribution is judged by the
//! trigger's time and sequence number, method by method.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::path::Path;

use serde::Serialize;

use crate::table::Table;

/// The external latencies, in table order.
pub const EXTERNAL: [&str; 8] =
    ["tcp_ack_ns", "ack_ns", "reject_ns", "first_fill_ns", "full_fill_ns", "cancel_ack_ns", "replace_ack_ns", "w2w_ns"];

/// What else must agree, though it is no latency.
const FIELDS: [&str; 7] = ["orig_clordid", "chain", "request", "symbol", "side", "price", "qty"];

/// How one column fared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Column {
    /// Rows in which the truth has a value.
    pub expected: u64,
    pub exact: u64,
    pub within_1us: u64,
    pub wrong: u64,
    /// The truth has a value, ORDERS has none.
    pub missing: u64,
    /// It could not be observed, and yet ORDERS has a value.
    pub unobservable_given: u64,
    /// It did not happen, and yet ORDERS has a value.
    pub not_happened_given: u64,
}

impl Column {
    fn count(&mut self, truth: &str, given: &str, is_hidden: bool) {
        if truth.is_empty() {
            self.unobservable_given += u64::from(!given.is_empty() && is_hidden);
            self.not_happened_given += u64::from(!given.is_empty() && !is_hidden);
            return;
        }
        self.expected += 1;
        match (truth.parse::<i128>(), given.parse::<i128>()) {
            _ if given.is_empty() => self.missing += 1,
            (Ok(truth), Ok(given)) if truth == given => self.exact += 1,
            (Ok(truth), Ok(given)) if (truth - given).abs() <= 1_000 => self.within_1us += 1,
            _ => self.wrong += 1,
        }
    }

    /// Values that are not as they should be.
    pub fn failures(&self) -> u64 {
        self.expected - self.exact + self.unobservable_given + self.not_happened_given
    }

    fn add(&mut self, other: &Column) {
        self.expected += other.expected;
        self.exact += other.exact;
        self.within_1us += other.within_1us;
        self.wrong += other.wrong;
        self.missing += other.missing;
        self.unobservable_given += other.unobservable_given;
        self.not_happened_given += other.not_happened_given;
    }
}

/// How the triggers that one method chose fared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Method {
    pub given: u64,
    /// The very message.
    pub right: u64,
    /// Another message of the same packet: the latency is right, the cause is not.
    pub same_time: u64,
    /// Given for a request that nothing, or nothing that was captured, had caused.
    pub untriggered: u64,
}

impl Method {
    /// Share of the given triggers that are right.
    pub fn precision(&self) -> Option<f64> {
        share(self.right, self.given)
    }
}

/// The result of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Score {
    /// Requests that could be seen as a whole.
    pub expected: u64,
    pub found: u64,
    pub missed: u64,
    /// Rows for requests that do not exist, that could not be seen, or that appear twice.
    pub extra: u64,
    pub t_out_ns: Column,
    pub t2t_ns: Column,
    pub external: BTreeMap<&'static str, Column>,
    /// Differences in the columns that describe the request.
    pub fields: BTreeMap<&'static str, u64>,
    /// Requests whose trigger could be seen.
    pub triggered: u64,
    pub attribution: BTreeMap<String, Method>,
    /// Up to ten differences, for people.
    pub examples: Vec<String>,
}

/// What a score has to reach; what is absent is not asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Thresholds {
    /// Share of the external latencies that are exact; 1 also forbids values where there should be none.
    pub external: Option<f64>,
    pub missed: Option<u64>,
    pub extra: Option<u64>,
    pub precision: Option<f64>,
    pub recall: Option<f64>,
}

/// Compares two files.
pub fn score(truth: &Path, orders: &Path) -> Result<Score, String> {
    compare(&Table::read(truth)?, &Table::read(orders)?)
}

fn compare(truth: &Table, orders: &Table) -> Result<Score, String> {
    for (table, name) in [(truth, "the truth"), (orders, "ORDERS")] {
        if let Some(missing) = ["session", "clordid", "t_out_ns"]
            .iter()
            .find(|c| !table.rows.is_empty() && !table.columns.iter().any(|k| k == *c))
        {
            return Err(format!("{name} has no column `{missing}`"));
        }
    }
    let mut given: HashMap<(&str, &str), VecDeque<&HashMap<String, String>>> = HashMap::new();
    for row in &orders.rows {
        given.entry((text(row, "session"), text(row, "clordid"))).or_default().push_back(row);
    }
    let mut score = Score::default();
    for column in EXTERNAL {
        score.external.insert(column, Column::default());
    }
    for row in &truth.rows {
        if text(row, "t_out_ns").is_empty() && text(row, "unobservable").split(' ').any(|column| column == "t_out_ns") {
            continue;
        }
        score.expected += 1;
        let key = (text(row, "session"), text(row, "clordid"));
        if let Some(found) = given.get_mut(&key).and_then(VecDeque::pop_front) {
            score.judge(row, found);
        } else {
            score.missed += 1;
            score.example(|| format!("missed: {} {}", key.0, key.1));
        }
    }
    for ((session, id), rest) in given.iter().filter(|(_, rest)| !rest.is_empty()) {
        score.extra += rest.len() as u64;
        score.example(|| format!("extra: {session} {id}"));
    }
    score.examples.sort();
    Ok(score)
}

fn text<'a>(row: &'a HashMap<String, String>, column: &str) -> &'a str {
    row.get(column).map_or("", String::as_str)
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| crate::random::to_float(part) / crate::random::to_float(whole))
}

impl Score {
    fn judge(&mut self, truth: &HashMap<String, String>, given: &HashMap<String, String>) {
        self.found += 1;
        for column in FIELDS {
            if !same_field(column, text(truth, column), text(given, column)) {
                *self.fields.entry(column).or_default() += 1;
            }
        }
        if text(truth, "t_out_ns").is_empty() {
            return self.judge_live_trigger(truth, given);
        }
        let hidden: Vec<&str> = text(truth, "unobservable").split(' ').collect();
        let is_hidden = |column: &str| hidden.contains(&column);
        self.t_out_ns.count(text(truth, "t_out_ns"), text(given, "t_out_ns"), false);
        self.t2t_ns.count(text(truth, "t2t_ns"), text(given, "t2t_ns"), is_hidden("t2t_ns"));
        for column in EXTERNAL {
            let (was, is) = (text(truth, column), text(given, column));
            self.external.entry(column).or_default().count(was, is, is_hidden(column));
            if was != is {
                self.example(|| format!("{column} of {}: truth `{was}`, given `{is}`", text(truth, "clordid")));
            }
        }
        self.judge_trigger(truth, given);
    }

    /// The truth of a live run knows no times of taps, so no latency can be judged; the trigger is, by its number.
    fn judge_live_trigger(&mut self, truth: &HashMap<String, String>, given: &HashMap<String, String>) {
        let (number, given_number) = (text(truth, "trigger_seq"), text(given, "trigger_seq"));
        self.triggered += u64::from(!number.is_empty());
        if text(given, "trigger_t_ns").is_empty() {
            return;
        }
        let name = text(given, "trigger_method");
        let method = self.attribution.entry(if name.is_empty() { "(none)".into() } else { name.into() }).or_default();
        method.given += 1;
        method.untriggered += u64::from(number.is_empty());
        method.right += u64::from(!number.is_empty() && number == given_number);
    }

    fn judge_trigger(&mut self, truth: &HashMap<String, String>, given: &HashMap<String, String>) {
        let (true_time, time) = (text(truth, "trigger_t_ns"), text(given, "trigger_t_ns"));
        self.triggered += u64::from(!true_time.is_empty());
        if time.is_empty() {
            return;
        }
        let name = text(given, "trigger_method");
        let method = self.attribution.entry(if name.is_empty() { "(none)".into() } else { name.into() }).or_default();
        method.given += 1;
        if true_time.is_empty() {
            method.untriggered += 1;
        } else if true_time == time && text(truth, "trigger_seq") == text(given, "trigger_seq") {
            method.right += 1;
        } else if true_time == time {
            method.same_time += 1;
        }
    }

    fn example(&mut self, say: impl FnOnce() -> String) {
        if self.examples.len() < 10 {
            self.examples.push(say());
        }
    }

    /// All external latencies together.
    pub fn external_total(&self) -> Column {
        let mut total = Column::default();
        for column in self.external.values() {
            total.add(column);
        }
        total
    }

    /// Share of the given triggers that are right.
    pub fn precision(&self) -> Option<f64> {
        let given = self.attribution.values().map(|method| method.given).sum();
        share(self.attribution.values().map(|method| method.right).sum(), given)
    }

    /// Share of the triggers that could be seen and were found.
    pub fn recall(&self) -> Option<f64> {
        share(self.attribution.values().map(|method| method.right).sum(), self.triggered)
    }

    /// What is below the thresholds, one sentence each; empty: passed.
    pub fn failures(&self, wanted: &Thresholds) -> Vec<String> {
        let mut failures = Vec::new();
        let total = self.external_total();
        if let Some(wanted) = wanted.external {
            let bad = total.failures();
            let reached = share(total.exact, total.exact + bad).unwrap_or(1.0);
            if reached < wanted {
                failures.push(format!("external latencies: {reached:.6} exact, wanted {wanted}"));
            }
        }
        for (name, is, most) in [("missed", self.missed, wanted.missed), ("extra", self.extra, wanted.extra)] {
            if let Some(most) = most.filter(|&most| is > most) {
                failures.push(format!("{name} requests: {is}, allowed {most}"));
            }
        }
        for (name, is, least) in
            [("precision", self.precision(), wanted.precision), ("recall", self.recall(), wanted.recall)]
        {
            if let Some(least) = least.filter(|&least| is.unwrap_or(0.0) < least) {
                failures.push(format!("{name} of attribution: {:.4}, wanted {least}", is.unwrap_or(0.0)));
            }
        }
        failures
    }
}

/// Prices are equal as numbers, everything else as text.
fn same_field(column: &str, a: &str, b: &str) -> bool {
    if !["price", "qty"].contains(&column) {
        return a == b;
    }
    let plain = |text: &str| {
        let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text };
        text.to_owned()
    };
    plain(a) == plain(b)
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "requests: {} expected, {} found, {} missed, {} extra",
            self.expected, self.found, self.missed, self.extra
        )?;
        writeln!(f)?;
        writeln!(
            f,
            "{:<16}{:>10}{:>10}{:>10}{:>10}{:>10}{:>14}{:>14}",
            "", "expected", "exact", "<= 1 us", "wrong", "missing", "unobservable", "not happened"
        )?;
        let all = [("t_out_ns", &self.t_out_ns), ("t2t_ns", &self.t2t_ns)];
        let external = self.external.iter().map(|(name, column)| (*name, column));
        for (name, column) in all.into_iter().chain(external) {
            writeln!(
                f,
                "{name:<16}{:>10}{:>10}{:>10}{:>10}{:>10}{:>14}{:>14}",
                column.expected,
                column.exact,
                column.within_1us,
                column.wrong,
                column.missing,
                column.unobservable_given,
                column.not_happened_given
            )?;
        }
        writeln!(f)?;
        writeln!(
            f,
            "{:<16}{:>10}{:>10}{:>12}{:>14}{:>12}",
            "attribution", "given", "right", "same time", "untriggered", "precision"
        )?;
        for (name, method) in &self.attribution {
            let precision = method.precision().unwrap_or(0.0);
            writeln!(
                f,
                "{name:<16}{:>10}{:>10}{:>12}{:>14}{precision:>12.4}",
                method.given, method.right, method.same_time, method.untriggered
            )?;
        }
        let (precision, recall) = (self.precision().unwrap_or(0.0), self.recall().unwrap_or(0.0));
        writeln!(f, "precision {precision:.4}, recall {recall:.4} of {} triggered requests", self.triggered)?;
        for (column, count) in &self.fields {
            writeln!(f, "column {column} differs in {count} rows")?;
        }
        for example in &self.examples {
            writeln!(f, "  {example}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str =
        "session,clordid,t_out_ns,trigger_t_ns,trigger_seq,trigger_method,t2t_ns,tcp_ack_ns,ack_ns,price,unobservable";

    fn judged(truth: &str, orders: &str) -> Score {
        let table = |rows: &str| Table::from_csv(&format!("{HEADER}\n{rows}")).unwrap();
        compare(&table(truth), &table(orders)).unwrap()
    }

    #[test]
    fn what_could_not_be_seen_must_be_empty() {
        let truth = "S,1,100,90,5,,10,7,,1.50,ack_ns\nS,2,,,,,,,,,t_out_ns t2t_ns\nS,3,300,,,,,9,50,,\n";
        let score = judged(truth, "S,1,100,90,5,id,10,7,,1.5,\nS,3,300,,,,,9,50,,\n");
        assert_eq!((score.expected, score.found, score.missed, score.extra), (2, 2, 0, 0));
        assert_eq!(score.external_total().failures(), 0);
        assert_eq!((score.precision(), score.recall()), (Some(1.0), Some(1.0)));
        let strict = Thresholds {
            external: Some(1.0),
            missed: Some(0),
            extra: Some(0),
            precision: Some(1.0),
            recall: Some(1.0),
        };
        assert!(score.failures(&strict).is_empty());
        assert!(score.fields.is_empty(), "1.50 is 1.5");
    }

    #[test]
    fn of_a_live_run_only_what_is_known_is_judged() {
        let truth = "S,1,,,5,,,,,1.5,\nS,2,,,,,,,,1.5,\nS,3,,,7,,,,,1.5,\nS,4,,,,,,,,1.5,t_out_ns\n";
        let orders =
            "S,1,100,90,5,id,10,7,50,1.5,\nS,2,200,190,6,latest,10,7,50,1.5,\nS,3,300,290,6,latest,10,,,1.6,\n";
        let score = judged(truth, orders);
        assert_eq!((score.expected, score.found, score.missed, score.extra), (3, 3, 0, 0));
        assert_eq!((score.external_total().expected, score.external_total().failures()), (0, 0));
        assert_eq!((score.triggered, score.fields["price"]), (2, 1));
        let latest = score.attribution["latest"];
        assert_eq!((score.attribution["id"].right, latest.given, latest.right, latest.untriggered), (1, 2, 0, 1));
    }

    #[test]
    fn every_kind_of_mistake_is_counted() {
        let truth = "S,1,100,90,5,,10,7,,1.5,ack_ns\nS,2,,,,,,,,,t_out_ns\nS,3,300,,,,,9,50,,\nS,4,400,,,,,,,,\n";
        let orders =
            "S,1,100,90,6,latest,10,9000,44,1.6,\nS,2,1,,,,,,,,\nS,3,301,299,9,latest,2,,1000,,\nS,3,301,,,,,,,,\n";
        let score = judged(truth, orders);
        assert_eq!((score.expected, score.found, score.missed, score.extra), (3, 2, 1, 2));
        assert_eq!((score.external["ack_ns"].unobservable_given, score.external["ack_ns"].within_1us), (1, 1));
        assert_eq!((score.external["tcp_ack_ns"].wrong, score.external["tcp_ack_ns"].missing), (1, 1));
        let latest = score.attribution["latest"];
        assert_eq!((latest.given, latest.right, latest.same_time, latest.untriggered), (2, 0, 1, 1));
        assert_eq!(score.fields["price"], 1);
        let strict = Thresholds {
            external: Some(1.0),
            missed: Some(0),
            extra: Some(0),
            precision: Some(1.0),
            recall: Some(1.0),
        };
        assert_eq!(score.failures(&strict).len(), 5);
        assert!(score.to_string().contains("missed: S 4"));
        assert!(serde_json::to_string(&score).unwrap().contains("\"unobservable_given\":1"));
    }
}
