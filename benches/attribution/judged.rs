//! The scenarios that judge attribution: what was said of each request, against the truth and against the bound.

use std::collections::BTreeMap;
use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;

use tickscope::pair::OrderRow;
use tickscope::pair::attribution::{Case, Learning, verdict};
use tickscope_sim::{Scenario, attribution_scenarios, write};

use super::bound::Bound;
use super::run::{self, Given};
use super::tally::{self, Tally};

/// One scenario, all seeds.
#[derive(Default)]
struct Judged {
    new: Tally,
    all: Tally,
    bound_new: Tally,
    causal_new: Tally,
    methods: BTreeMap<&'static str, (u64, u64)>,
}

/// Prints the tables; false where a target was missed.
#[allow(clippy::print_stdout, reason = "a benchmark talks to its user")]
pub(crate) fn all(is_wanted: impl Fn(&str) -> bool, seeds: &RangeInclusive<u64>) -> Result<bool, String> {
    let mut judged = Vec::new();
    for (name, text) in attribution_scenarios().iter().filter(|(name, _)| is_wanted(name)) {
        let scenario = Scenario::parse(text, name).map_err(|error| error.to_string())?;
        let mut sum = Judged::default();
        for seed in seeds.clone() {
            one(&scenario, seed, &mut sum).map_err(|error| format!("{name}, seed {seed}: {error}"))?;
        }
        judged.push((*name, sum));
    }
    if judged.is_empty() {
        return Ok(true);
    }
    println!(
        "New orders, seeds {} to {}; *bound*: a model that knows the scenario's parameters.\n",
        seeds.start(),
        seeds.end()
    );
    println!(
        "| scenario | new orders | precision | bound | recall | bound | untriggered given ≥ 0.5 | bound | causal: precision | recall | by method (all requests) |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |");
    let mut missed = Vec::new();
    for (name, sum) in &judged {
        let methods: Vec<String> =
            sum.methods.iter().map(|(name, (right, given))| format!("`{name}` {right} of {given}")).collect();
        println!(
            "| `{name}` | {} | {:.4} | {:.4} | {:.4} | {:.4} | {:.4} | {:.4} | {:.4} | {:.4} | {} |",
            sum.new.requests,
            sum.new.precision(),
            sum.bound_new.precision(),
            sum.new.recall(),
            sum.bound_new.recall(),
            sum.new.misled(),
            sum.bound_new.misled(),
            sum.causal_new.precision(),
            sum.causal_new.recall(),
            methods.join("; ")
        );
        missed.extend(targets(name, sum));
    }
    missed.extend(tally::calibration(judged.iter().map(|(name, sum)| (*name, &sum.all))));
    println!();
    for text in &missed {
        println!("MISSED: {text}");
    }
    Ok(missed.is_empty())
}

/// What the tables are for.
fn targets(name: &str, sum: &Judged) -> Vec<String> {
    let (precision, recall) = (sum.new.precision(), sum.new.recall());
    let mut missed = Vec::new();
    let mut must = |holds: bool, text: String| {
        if !holds {
            missed.push(format!("{name}: {text}"));
        }
    };
    if ["attribution-10", "attribution-100", "attribution-1000"].contains(&name) {
        must(precision >= 0.98, format!("precision {precision:.4}, wanted 0.98"));
        must(recall >= 0.95, format!("recall {recall:.4}, wanted 0.95"));
    } else {
        let (best_precision, best_recall) = (sum.bound_new.precision(), sum.bound_new.recall());
        must(precision >= best_precision - 0.05, format!("precision {precision:.4}, bound {best_precision:.4}"));
        must(recall >= best_recall - 0.05, format!("recall {recall:.4}, bound {best_recall:.4}"));
    }
    if name == "attribution-burst" {
        must(sum.new.misled() <= 0.25, format!("{:.4} of the untriggered were given a trigger", sum.new.misled()));
    }
    must(sum.all.requests >= 3000, format!("{} requests are too few to judge", sum.all.requests));
    missed
}

fn one(scenario: &Scenario, seed: u64, sum: &mut Judged) -> Result<(), String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("attribution-judged");
    write(scenario, seed, &folder).map_err(|error| error.to_string())?;
    let files: Vec<_> =
        scenario.tap.iter().map(|tap| folder.join(format!("{}.{}", tap.name, tap.format.extension()))).collect();
    let causes = run::truth(&folder)?;
    let bound = Bound::new(scenario);
    let find = |row: &OrderRow| causes.get(&(row.session.to_string(), row.clordid.to_string()));
    for row in run::rows(&files, Learning::TwoPass)? {
        let Some(cause) = find(&row) else { continue };
        let given = given(&row);
        sum.all.count(cause, given);
        if let Some(trigger) = &row.trigger {
            let method = sum.methods.entry(trigger.method.name()).or_default();
            let is_right = given.is_some_and(|(named, _)| cause.trigger == Some(named));
            *method = (method.0 + u64::from(is_right), method.1 + 1);
        }
        if cause.is_new {
            sum.new.count(cause, given);
            let case = row.case.as_deref().cloned().unwrap_or_default();
            sum.bound_new.count(cause, bounded(&bound, &row, &case));
        }
    }
    for row in run::rows(&files, Learning::Causal)? {
        if let Some(cause) = find(&row).filter(|cause| cause.is_new) {
            sum.causal_new.count(cause, given(&row));
        }
    }
    fs::remove_dir_all(&folder).map_err(|error| error.to_string())
}

fn given(row: &OrderRow) -> Given {
    let trigger = row.trigger.as_ref()?;
    Some(((trigger.time.0, trigger.sequence), f64::from(trigger.confidence)))
}

/// What the bound says, by the same rule of decision.
fn bounded(bound: &Bound<'_>, row: &OrderRow, case: &Case) -> Given {
    let (weights, nothing) = bound.weigh(row, case);
    let (at, weight) = verdict(&weights, nothing).chosen?;
    let tick = case.candidates.get(at)?.tick;
    Some(((tick.time.0, tick.sequence), weight))
}
