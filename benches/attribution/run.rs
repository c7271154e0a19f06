//! One scenario and seed through the library, with the candidates of every request kept.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use tickscope::capture::{Input, Merged};
use tickscope::merge::{Feeds, Symbols};
use tickscope::pair::attribution::Learning;
use tickscope::pair::{OrderRow, Pairer, Rules, TriggerRule};
use tickscope::pipeline::correlator::Correlator;
use tickscope::pipeline::{Configured, Pipeline, first_look};

/// The rows of captures that are one observation point.
pub(crate) fn rows(files: &[PathBuf], learning: Learning) -> Result<Vec<OrderRow>, String> {
    let inputs: Vec<Input> = files.iter().map(|path| Input { name: None, path: path.clone() }).collect();
    let open = || Merged::open(&inputs, &[]).map_err(|error| error.to_string());
    let points = vec![0; files.len()];
    let looked = first_look::symbols(open()?, Configured::default(), points.clone());
    let rules =
        Rules { trigger: TriggerRule { learning, keeps_cases: true, ..TriggerRule::default() }, ..Rules::default() };
    let mut lane =
        Correlator::new(Symbols::default(), Feeds::new(Vec::new()), Pairer::new(rules), vec![vec![0]; files.len()]);
    for name in &looked {
        lane.watch(name);
    }
    let (mut captures, mut pipeline) = (open()?, Pipeline::new(Configured::default(), None, points));
    let mut rows = Vec::new();
    let take = |lane: &mut Correlator, rows: &mut Vec<OrderRow>| {
        rows.extend(lane.take().into_iter().filter(|paired| !paired.is_echo).map(|paired| *paired.row));
    };
    let mut advance = |lane: &mut Correlator, now| -> Result<(), String> {
        lane.advance(now);
        take(lane, &mut rows);
        Ok(())
    };
    while pipeline.step(&mut captures, &mut lane, &mut advance)? {}
    captures.finish();
    pipeline.finish(&captures, &mut lane);
    while lane.finish_some() {
        take(&mut lane, &mut rows);
    }
    take(&mut lane, &mut rows);
    Ok(rows)
}

/// What truth.csv says of a request's cause.
#[derive(Clone, Debug)]
pub(crate) struct Cause {
    /// Time and sequence of the trigger, where it was seen.
    pub(crate) trigger: Option<(u64, u64)>,
    pub(crate) is_new: bool,
}

/// Session and `ClOrdID`.
type Request = (String, String);
/// Time and sequence of a trigger that was named, and the confidence.
pub(crate) type Given = Option<((u64, u64), f64)>;

pub(crate) fn truth(folder: &Path) -> Result<HashMap<Request, Cause>, String> {
    let columns = ["session", "clordid", "trigger_t_ns", "trigger_seq", "request"];
    let cells = cells(&folder.join("truth.csv"), columns)?;
    let cause = |[session, clordid, time, sequence, request]: [String; 5]| {
        let trigger = time.parse().ok().zip(sequence.parse().ok());
        ((session, clordid), Cause { trigger, is_new: request == "new" })
    };
    Ok(cells.into_iter().map(cause).collect())
}

/// What a file of `--orders` says of each request.
pub(crate) fn said(orders: &Path) -> Result<Vec<(Request, Given)>, String> {
    let columns = ["session", "clordid", "trigger_t_ns", "trigger_seq", "trigger_confidence"];
    let given = |[session, clordid, time, sequence, confidence]: [String; 5]| {
        let trigger = time.parse().ok().zip(sequence.parse().ok());
        ((session, clordid), trigger.zip(confidence.parse().ok()))
    };
    Ok(cells(orders, columns)?.into_iter().map(given).collect())
}

/// Some columns of a table. No cell before them is quoted.
fn cells<const N: usize>(path: &Path, columns: [&str; N]) -> Result<Vec<[String; N]>, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    let mut places = [0; N];
    for (place, column) in places.iter_mut().zip(columns) {
        *place = header.iter().position(|one| *one == column).ok_or(format!("{}: no {column}", path.display()))?;
    }
    let cells = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        places.map(|place| cells.get(place).copied().unwrap_or_default().to_owned())
    };
    Ok(lines.map(cells).collect())
}
