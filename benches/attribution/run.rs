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
use tickscope_model::Timestamp;

/// The rows of captures that are one observation point.
pub(crate) fn rows(files: &[PathBuf], learning: Learning) -> Result<Vec<OrderRow>, String> {
    let inputs: Vec<Input> = files.iter().map(|path| Input { name: None, path: path.clone() }).collect();
    let open = || Merged::open(&inputs, &[]).map_err(|error| error.to_string());
    let points = vec![0; files.len()];
    let looked = first_look::symbols(open()?, Configured::default(), points.clone());
    let rules = Rules {
        trigger: TriggerRule { learning, keeps_cases: true, ..TriggerRule::default() },
        from: Timestamp::MIN,
        to: Timestamp::MAX,
        symbols: Vec::new(),
        sessions: Vec::new(),
        clocks: Vec::new(),
        tap_clocks: Vec::new(),
    };
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

/// By session and ClOrdID.
pub(crate) fn truth(folder: &Path) -> Result<HashMap<(String, String), Cause>, String> {
    let text = fs::read_to_string(folder.join("truth.csv")).map_err(|error| error.to_string())?;
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    let at = |name: &str| header.iter().position(|column| *column == name).ok_or(format!("no column {name}"));
    let (session, clordid, time, sequence, request) =
        (at("session")?, at("clordid")?, at("trigger_t_ns")?, at("trigger_seq")?, at("request")?);
    let mut causes = HashMap::new();
    for line in lines {
        // No cell before these is quoted.
        let cells: Vec<&str> = line.split(',').collect();
        let cell = |at: usize| cells.get(at).copied().unwrap_or_default();
        let trigger = cell(time).parse().ok().zip(cell(sequence).parse().ok());
        let cause = Cause { trigger, is_new: cell(request) == "new" };
        causes.insert((cell(session).to_owned(), cell(clordid).to_owned()), cause);
    }
    Ok(causes)
}
