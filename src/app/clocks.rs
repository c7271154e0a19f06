//! Which clocks stamp the taps, and how they are related: the same one, by an offset that the user gives, by bounds that
//! causes and effects set (then the captures are read once more in front), or not at all.

use std::collections::HashMap;

use tickscope_model::{Nanos, Timestamp};

use super::config::Settings;
use super::config::keys::Table;
use super::config::settings;
use super::open::{self, Prepared};
use crate::capture::stamp::Lead;
use crate::pair::RelatedClock;
use crate::pipeline::Pipeline;
use crate::pipeline::clocks::{ClockLane, TapClock};
use crate::pipeline::hops::Hops;
use crate::stats::{self, Piece, Relation};

/// The clocks of a run.
pub(super) struct Clocks {
    /// For each tap, by its number, the name of its clock; related clocks have the name of the first of them.
    pub of_tap: Vec<String>,
    /// The name of its own clock, for people.
    pub labels: Vec<String>,
    /// What the report says of each clock beside the first.
    pub relations: Vec<stats::ClockRelation>,
}

impl Clocks {
    /// Finds out what is known, and opens the captures anew where a clock is to be brought onto another.
    pub(super) fn relate(settings: &Settings, prepared: &mut Prepared) -> anyhow::Result<Clocks> {
        let taps = prepared.captures.taps().to_vec();
        let named = |name: &str| settings.tap(name).and_then(|tap| tap.clock.clone()).unwrap_or_default();
        let own: Vec<String> = taps.iter().map(|tap| named(&tap.name)).collect();
        let mut distinct: Vec<String> = Vec::new();
        for name in &own {
            if !distinct.contains(name) {
                distinct.push(name.clone());
            }
        }
        let labels = own.iter().map(|clock| label(clock, &taps, &own)).collect();
        let mut clocks = Clocks { of_tap: own.clone(), labels, relations: Vec::new() };
        let Some((first, others)) = distinct.split_first().filter(|(_, others)| !others.is_empty()) else {
            return Ok(clocks);
        };
        let given = |clock: &String| is_given(settings, &taps, &own, clock);
        let needs_bounds = others.iter().any(|clock| !given(clock) && !given(first));
        let bounds = if needs_bounds { estimate(settings, prepared, &own, &distinct)? } else { HashMap::new() };
        let mut leads: Vec<(String, Vec<Lead>)> = Vec::new();
        for (number, clock) in (1..).zip(others) {
            let how = if given(clock) || given(first) {
                Relation::Given
            } else {
                let pieces = bounds.get(&(0, number)).map(|bounds| stats::pieces(bounds)).unwrap_or_default();
                if pieces.is_empty() { Relation::Unknown } else { Relation::Bounded(pieces) }
            };
            if let Relation::Bounded(pieces) = &how {
                let of = taps.iter().zip(&own).filter(|(_, own)| *own == clock);
                leads.extend(of.map(|(tap, _)| (tap.name.clone(), pieces.iter().map(lead).collect())));
            }
            if !matches!(how, Relation::Unknown) {
                clocks.of_tap.iter_mut().filter(|own| *own == clock).for_each(|own| own.clone_from(first));
            }
            let error = error(settings, &taps, &own, [first, clock], &how);
            let names = [first, clock].map(|clock| label(clock, &taps, &own));
            clocks.relations.push(stats::ClockRelation { names, how, error });
        }
        if needs_bounds {
            prepared.captures = open::open_all(settings, &leads)?;
        }
        Ok(clocks)
    }
}

impl Clocks {
    /// What figures between taps need; nothing where there is one clock.
    pub(super) fn tap_clocks(&self) -> Vec<RelatedClock> {
        if self.relations.is_empty() {
            return Vec::new();
        }
        let number = |all: &[String], name: &String| {
            let at = all.iter().position(|other| other == name).unwrap_or(usize::MAX);
            u16::try_from(at).unwrap_or(u16::MAX)
        };
        let clock = |(label, related): (&String, &String)| {
            let relation = self.relations.iter().find(|relation| relation.names[1] == *label);
            RelatedClock {
                own: number(&self.labels, label),
                related: number(&self.of_tap, related),
                // The clock that the others are brought onto has no error.
                error: relation.map_or(Some(Nanos(0)), |relation| relation.error),
            }
        };
        self.labels.iter().zip(&self.of_tap).map(clock).collect()
    }
}

/// A clock by its name, or as that of its first tap.
fn label(clock: &str, taps: &[crate::capture::Tap], own: &[String]) -> String {
    let tap = taps.iter().zip(own).find(|(_, own)| *own == clock).map_or("", |(tap, _)| tap.name.as_str());
    if clock.is_empty() { format!("the clock of {tap}") } else { clock.to_owned() }
}

/// Whether the user gave an offset for all taps of this clock.
fn is_given(settings: &Settings, taps: &[crate::capture::Tap], own: &[String], clock: &str) -> bool {
    let has_offset = |name: &str| {
        let index = settings.taps.iter().position(|tap| tap.name == name);
        index.is_some_and(|index| settings.entry(Table::Tap, index, "offset").is_some())
    };
    taps.iter().zip(own).filter(|(_, own)| *own == clock).all(|(tap, _)| has_offset(&tap.name))
}

fn lead(piece: &Piece) -> Lead {
    let Piece { from, to, .. } = *piece;
    Lead { from, to, at_from: piece.middle(from), at_to: piece.middle(to) }
}

/// How far figures between two clocks may be wrong; `None` where nobody knows.
fn error(
    settings: &Settings,
    taps: &[crate::capture::Tap],
    own: &[String],
    clocks: [&String; 2],
    how: &Relation,
) -> Option<Nanos> {
    let of = |clock: &String| {
        let taps = taps.iter().zip(own).filter(|(_, own)| *own == clock).map(|(tap, _)| tap);
        let error = taps.clone().filter_map(|tap| settings.tap(&tap.name)?.error).max();
        let tick = taps.filter_map(|tap| i64::try_from(tap.tick_ns).ok()).max().unwrap_or(1);
        (error, tick)
    };
    let [first, second] = clocks.map(of);
    let kept = first.0.map_or(0, |error| error.0) + second.0.map_or(0, |error| error.0);
    let ticks = first.1.max(second.1) - 1;
    match how {
        Relation::Unknown => None,
        // The bounds hold for the clocks as they are, however they are kept.
        Relation::Bounded(pieces) => pieces.iter().map(Piece::error).max().map(|error| Nanos(error.0 + ticks)),
        Relation::Given if first.0.is_none() && second.0.is_none() => None,
        Relation::Given => Some(Nanos(kept + ticks)),
    }
}

/// Reads the captures for what bounds the differences of their clocks, by pairs of numbers of `distinct`.
fn estimate(
    settings: &Settings,
    prepared: &Prepared,
    own: &[String],
    distinct: &[String],
) -> anyhow::Result<HashMap<(usize, usize), Vec<stats::Bound>>> {
    // Standard input cannot be read twice.
    if settings.captures.iter().any(|capture| capture.input == settings::Input::Stdin) {
        return Ok(HashMap::new());
    }
    let nearness = |name: &str| match settings.tap(name)?.point? {
        'E' | 'J' => Some(0),
        _ => Some(1),
    };
    let taps = prepared.captures.taps().iter().zip(own).map(|(tap, own)| TapClock {
        clock: distinct.iter().position(|clock| clock == own).unwrap_or(0),
        tick_ns: i64::try_from(tap.tick_ns).unwrap_or(1).max(1),
        nearness: nearness(&tap.name),
    });
    let mut lane = ClockLane::new(taps.collect(), open::symbols(settings)?);
    let mut captures = open::open_all(settings, &[])?;
    let mut pipeline = Pipeline::new(open::configured(settings)?, None, prepared.points.clone());
    pipeline.hops = Some(Hops::default());
    let mut latest = Timestamp::MIN;
    while let Some(captured) = captures.next() {
        latest = latest.max(captured.frame.time);
        lane.advance(latest);
        pipeline.frame(&captured, &mut lane);
    }
    pipeline.finish(&captures, &mut lane);
    let hops = pipeline.hops.take().unwrap_or_default();
    Ok(lane.finish(&hops).into_iter().collect())
}
