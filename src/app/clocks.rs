//! Which clocks stamp the taps, and how they are related: the same one, by an offset that the user gives, by bounds that
//! causes and effects set (then the captures are read once more in front), or not at all.

use tickscope_model::{Nanos, Timestamp};

use super::config::Settings;
use super::config::keys::Table;
use super::config::settings;
use super::open::{self, Prepared};
use crate::capture::stamp::Lead;
use crate::pair::{Across, TapClocks};
use crate::pipeline::Pipeline;
use crate::pipeline::clocks::{ClockLane, TapClock};
use crate::pipeline::hops::Hops;
use crate::stats::{self, BoundsOfPairs, ClockRelations, Piece, Relation};

/// The clocks of a run.
#[derive(Default)]
pub(super) struct Clocks {
    /// For each tap, by its number, the name of its clock; related clocks have the name of their reference.
    pub of_tap: Vec<String>,
    /// What the report says of each clock beside the first.
    pub relations: Vec<stats::ClockRelation>,
    /// For each tap, what the report calls its clock.
    pub labels: Vec<String>,
    /// What figures between taps need.
    pub between: TapClocks,
    /// How far taps are ahead of the clock that counts, by their names: what captures are opened with.
    pub leads: Vec<(String, Vec<Lead>)>,
}

impl Clocks {
    /// Finds out what is known, and opens the captures anew where a clock is to be brought onto another.
    pub(super) fn relate(settings: &Settings, prepared: &mut Prepared) -> anyhow::Result<Clocks> {
        let taps: Vec<(String, u64)> =
            prepared.captures.taps().iter().map(|tap| (tap.name.clone(), tap.tick_ns)).collect();
        let named = |name: &String| settings.tap(name).and_then(|tap| tap.clock.clone()).unwrap_or_default();
        let names: Vec<String> = taps.iter().map(|(name, _)| named(name)).collect();
        let (distinct, of_tap) = numbers(&names);
        if distinct.len() < 2 {
            return Ok(Clocks { of_tap: names, ..Clocks::default() });
        }
        let clocks = clocks(settings, &distinct, &of_tap, &taps);
        let needs_bounds = clocks.iter().skip(1).any(|clock| !clock.is_given);
        let bounds = if needs_bounds { estimate(settings, prepared, &of_tap)? } else { BoundsOfPairs::new() };
        let found = Found::new(clocks, bounds);
        let mut ahead = Vec::new();
        if needs_bounds {
            let of =
                |tap: usize| found.related.clocks.get(of_tap[tap]).map_or(&[][..], |clock| clock.pieces.as_slice());
            let leads =
                (0..taps.len()).filter(|tap| !of(*tap).is_empty()).map(|tap| (taps[tap].0.clone(), leads(of(tap))));
            ahead = leads.collect();
            prepared.captures = open::open_all(settings, &ahead)?;
        }
        Ok(Clocks { leads: ahead, ..Clocks::of(&found, &distinct, of_tap) })
    }

    /// Those of interfaces: for each its name, and whether a device's stamps count. All others have the clock of this host.
    /// Nothing is said where that is the only one.
    pub(super) fn live(settings: &Settings, taps: &[(&str, bool)]) -> Clocks {
        if taps.iter().all(|(_, is_stamped)| !is_stamped) {
            return Clocks::default();
        }
        let named = |name: &str| settings.tap(name).and_then(|tap| tap.clock.clone());
        let host = taps.iter().filter(|(_, is_stamped)| !is_stamped).find_map(|(name, _)| named(name));
        let host = host.unwrap_or_else(|| "UTC of this host".to_owned());
        let clock = |(name, is_stamped): &(&str, bool)| {
            if *is_stamped { named(name).unwrap_or_default() } else { host.clone() }
        };
        let names: Vec<String> = taps.iter().map(clock).collect();
        let (distinct, of_tap) = numbers(&names);
        let taps: Vec<(String, u64)> = taps.iter().map(|(name, _)| ((*name).to_owned(), 1)).collect();
        let found = Found::new(clocks(settings, &distinct, &of_tap, &taps), BoundsOfPairs::new());
        Clocks::of(&found, &distinct, of_tap)
    }

    fn of(found: &Found, distinct: &[String], of_tap: Vec<usize>) -> Clocks {
        let labels = of_tap.iter().map(|clock| found.clocks[*clock].label.clone()).collect();
        let references = of_tap.iter().map(|clock| distinct[found.reference(*clock)].clone());
        let (of_tap_names, relations) = (references.collect(), found.relations());
        Clocks { of_tap: of_tap_names, relations, labels, between: found.between(of_tap), leads: Vec::new() }
    }

    /// The clock of each point.
    pub(super) fn by_point(&self, point: impl Fn(usize) -> u16) -> Vec<String> {
        let mut by_point: Vec<String> = Vec::new();
        for (at, clock) in self.of_tap.iter().enumerate() {
            let point = usize::from(point(at));
            if by_point.len() <= point {
                by_point.resize(point + 1, String::new());
            }
            by_point[point].clone_from(clock);
        }
        by_point
    }
}

/// The distinct names of the taps' clocks, and the number of each tap's.
fn numbers(names: &[String]) -> (Vec<String>, Vec<usize>) {
    let mut distinct: Vec<String> = Vec::new();
    for name in names {
        if !distinct.contains(name) {
            distinct.push(name.clone());
        }
    }
    let number = |name: &String| distinct.iter().position(|other| other == name).unwrap_or(0);
    let of_tap = names.iter().map(number).collect();
    (distinct, of_tap)
}

/// What is known of each clock by itself. `taps`: name and tick of each.
fn clocks(settings: &Settings, distinct: &[String], of_tap: &[usize], taps: &[(String, u64)]) -> Vec<Clock> {
    let clock = |(number, name): (usize, &String)| {
        let taps = taps.iter().zip(of_tap).filter(|(_, clock)| **clock == number).map(|(tap, _)| tap);
        Clock::new(settings, name, &taps.collect::<Vec<_>>())
    };
    let mut clocks: Vec<Clock> = distinct.iter().enumerate().map(clock).collect();
    // Where the first clock's offset is given, so is the difference of each other one to it.
    let is_all = clocks[0].is_given;
    for clock in &mut clocks {
        clock.is_given |= is_all;
    }
    clocks[0].is_given = false;
    clocks
}

/// What is known of a clock by itself.
struct Clock {
    /// For people.
    label: String,
    /// How well it is kept.
    error: Option<Nanos>,
    /// The longest tick of its taps.
    tick_ns: i64,
    /// The user gave an offset for all of its taps.
    is_given: bool,
}

impl Clock {
    /// `taps`: name and tick of each that it stamps.
    fn new(settings: &Settings, name: &str, taps: &[&(String, u64)]) -> Clock {
        let has_offset = |(tap, _): &&(String, u64)| {
            let index = settings.taps.iter().position(|setting| setting.name == *tap);
            index.is_some_and(|index| settings.entry(Table::Tap, index, "offset").is_some())
        };
        let first = taps.first().map_or("", |(tap, _)| tap.as_str());
        Clock {
            label: if name.is_empty() { format!("the clock of {first}") } else { name.to_owned() },
            error: taps.iter().filter_map(|(tap, _)| settings.tap(tap)?.error).max(),
            tick_ns: taps.iter().filter_map(|(_, tick_ns)| i64::try_from(*tick_ns).ok()).max().unwrap_or(1),
            is_given: taps.iter().all(has_offset),
        }
    }
}

/// What was found out about the clocks of a run.
struct Found {
    clocks: Vec<Clock>,
    related: ClockRelations,
}

impl Found {
    fn new(clocks: Vec<Clock>, mut bounds: BoundsOfPairs) -> Found {
        let mut found = Found { clocks, related: ClockRelations::default() };
        let is_given = |clock: usize| found.clocks[clock].is_given;
        let given = |clock: usize| Some((clock, found.given_error(0, clock)?));
        let trusted: Vec<(usize, Nanos)> =
            (1..found.clocks.len()).filter(|clock| is_given(*clock)).filter_map(given).collect();
        let is_trusted = |clock: usize| !is_given(clock) || trusted.iter().any(|(other, _)| *other == clock);
        // Between clocks that the user brought onto each other his word counts.
        bounds.retain(|&(one, other), _| {
            let is_told = (one == 0 || is_given(one)) && is_given(other);
            !is_told && is_trusted(one) && is_trusted(other)
        });
        let related = stats::relate(found.clocks.len(), &bounds, &trusted);
        found.related = related;
        found
    }

    /// The clock that a clock is brought onto, its own where that is none.
    fn reference(&self, clock: usize) -> usize {
        let found = self.related.clocks.get(clock).map_or(clock, |related| related.reference);
        if self.clocks[clock].is_given { 0 } else { found }
    }

    /// How far figures between clocks may be wrong that the user brought onto each other.
    fn given_error(&self, one: usize, other: usize) -> Option<Nanos> {
        let errors = [one, other].map(|clock| self.clocks[clock].error);
        let sum = errors.iter().flatten().map(|error| error.0).sum();
        errors.iter().any(Option::is_some).then_some(Nanos(sum))
    }

    /// What figures between two clocks span.
    fn across(&self, one: usize, other: usize) -> Option<Across> {
        if self.reference(one) != self.reference(other) {
            return None;
        }
        let is_given = |clock: usize| clock == 0 || self.clocks[clock].is_given;
        let ticks = self.clocks[one].tick_ns.max(self.clocks[other].tick_ns) - 1;
        let within = |error: Nanos| Across::Within(Nanos(error.0.saturating_add(ticks)));
        if is_given(one) && is_given(other) {
            return Some(self.given_error(one, other).map_or(Across::Unknown, within));
        }
        // Whoever is brought onto another without a word on how well that is kept is so for all.
        let is_told = |clock: usize| !self.clocks[clock].is_given || self.given_error(0, clock).is_some();
        if !is_told(one) || !is_told(other) {
            return Some(Across::Unknown);
        }
        // The bounds hold for the clocks as they are, however they are kept.
        self.related.error(one, other).map(within)
    }

    fn between(&self, of_tap: Vec<usize>) -> TapClocks {
        let all = 0..self.clocks.len();
        let between = all.clone().map(|one| all.clone().map(|other| self.across(one, other)).collect());
        TapClocks { of_tap, between: between.collect(), blind: self.related.blind.clone() }
    }

    fn relations(&self) -> Vec<stats::ClockRelation> {
        let relation = |clock: usize| {
            let reference = self.reference(clock);
            let how = if self.clocks[clock].is_given {
                Relation::Given
            } else if reference == clock {
                Relation::Unknown
            } else {
                Relation::Bounded(self.related.clocks[clock].pieces.clone())
            };
            let reference = if reference == clock { 0 } else { reference };
            let names = [reference, clock].map(|clock| self.clocks[clock].label.clone());
            let error = self.across(reference, clock).and_then(Across::error);
            let concerns = |blind: &&crate::pair::Blind| {
                !matches!(how, Relation::Given | Relation::Unknown)
                    && (blind.clocks.contains(&clock) || blind.clocks.contains(&reference))
            };
            let blind = self.related.blind.iter().filter(concerns).map(|blind| (blind.from, blind.to)).collect();
            stats::ClockRelation { names, how, error, blind }
        };
        (1..self.clocks.len()).map(relation).collect()
    }
}

/// How far a clock is ahead, by its own times; in gaps, in which nobody knows, as a line that keeps the order of frames.
fn leads(pieces: &[Piece]) -> Vec<Lead> {
    let own = |piece: &Piece, time: Timestamp| time.shifted(piece.middle(time));
    let lead = |piece: &Piece| Lead {
        from: own(piece, piece.from),
        to: own(piece, piece.to),
        at_from: piece.middle(piece.from),
        at_to: piece.middle(piece.to),
    };
    let mut leads: Vec<Lead> = Vec::new();
    for lead in pieces.iter().map(lead) {
        if let Some(last) = leads.last().copied()
            && last.to < lead.from
        {
            leads.push(Lead { from: last.to, to: lead.from, at_from: last.at_to, at_to: lead.at_from });
        }
        leads.push(lead);
    }
    leads
}

/// Reads the captures for what bounds the differences of their clocks.
fn estimate(settings: &Settings, prepared: &Prepared, of_tap: &[usize]) -> anyhow::Result<BoundsOfPairs> {
    // Standard input cannot be read twice.
    if settings.captures.iter().any(|capture| capture.input == settings::Input::Stdin) {
        return Ok(BoundsOfPairs::new());
    }
    let nearness = |name: &str| match settings.tap(name)?.point? {
        'E' | 'J' => Some(0),
        _ => Some(1),
    };
    let taps = prepared.captures.taps().iter().zip(of_tap).map(|(tap, clock)| TapClock {
        clock: *clock,
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
    Ok(lane.finish(&hops))
}
