//! The same request seen again: in the same session at another tap (a `hop`), or in another session with the same
//! ClOrdID, symbol, side and quantity, which is how a gateway passes a request on (`w2w`).

use std::sync::Arc;

use tickscope_model::{Nanos, Side, TapId, Timestamp};

use super::requests::{Open, RequestId, Requests};

use crate::hash::HashMap;

/// Two sightings of one request lie no further apart than this.
const HOP_WINDOW: Nanos = Nanos(10_000_000_000);
/// A gateway passes a request on within this time.
const WALL_WINDOW: Nanos = Nanos(1_000_000_000);
/// So many open requests of one ClOrdID are told apart, the newest ones.
const SAME_NAME: usize = 1024;

/// What a new request turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Relation {
    /// Nothing like it was seen before.
    Alone,
    /// Also seen at another tap; that sighting, and its time.
    Hop(RequestId, TapId, Timestamp),
    /// Passed on by a gateway: the sighting that was read before, its tap and its time.
    Wall(RequestId, TapId, Timestamp),
    /// Several requests could be the other side of the gateway.
    Ambiguous,
}

/// A request that is open; what else it says stands there.
#[derive(Clone, Copy)]
struct Sighting {
    id: RequestId,
    time: Timestamp,
    tap: TapId,
    point: u16,
    echo: bool,
}

/// Those with the same ClOrdID, in the order in which they came. Nearly always it is one.
struct Sightings {
    first: Sighting,
    others: Vec<Sighting>,
}

impl Sightings {
    fn iter_mut(&mut self) -> impl Iterator<Item = &mut Sighting> {
        std::iter::once(&mut self.first).chain(&mut self.others)
    }

    fn iter(&self) -> impl Iterator<Item = &Sighting> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

/// Open requests by ClOrdID. A request stays open for longer than any window here.
#[derive(Default)]
pub(super) struct Walls {
    recent: HashMap<Arc<str>, Sightings>,
}

impl Walls {
    /// Relates a request to those seen before, and remembers it.
    pub(super) fn relate(&mut self, id: RequestId, open: &Open, requests: &Requests) -> Relation {
        let row = &open.row;
        let mut sighting = Sighting { id, time: row.t_out, tap: row.tap, point: open.point, echo: false };
        let Some(sightings) = self.recent.get_mut(&row.clordid) else {
            self.recent.insert(Arc::clone(&row.clordid), Sightings { first: sighting, others: Vec::new() });
            return Relation::Alone;
        };
        let near = |other: &Sighting, window: Nanos| row.t_out.since(other.time).0.abs() <= window.0;
        let is_hop = |other: &Sighting| {
            !other.echo
                && other.point != open.point
                && near(other, HOP_WINDOW)
                && requests.get(other.id).is_some_and(|other| {
                    other.row.session == row.session
                        && other.sequence == open.sequence
                        && other.row.request == row.request
                })
        };
        let side = |side: Option<Side>| side.map_or("", Side::text);
        let is_wall = |other: &Sighting| {
            !other.echo
                && near(other, WALL_WINDOW)
                && requests.get(other.id).is_some_and(|other| {
                    other.row.session != row.session
                        && other.row.request == row.request
                        && other.row.symbol == row.symbol
                        && side(other.row.side) == side(row.side)
                        && other.row.quantity == row.quantity
                })
        };
        let relation = if let Some(other) = sightings.iter().find(|other| is_hop(other)) {
            Relation::Hop(other.id, other.tap, other.time)
        } else {
            let mut walls = sightings.iter().filter(|other| is_wall(other));
            match (walls.next(), walls.next()) {
                (None, _) => Relation::Alone,
                (Some(other), None) => Relation::Wall(other.id, other.tap, other.time),
                (Some(_), Some(_)) => Relation::Ambiguous,
            }
        };
        // Of two sightings the tap that was named first keeps the row.
        match &relation {
            Relation::Hop(other, tap, _) if row.tap < *tap => {
                let other = *other;
                sightings.iter_mut().filter(|sighting| sighting.id == other).for_each(|sighting| sighting.echo = true);
            }
            Relation::Hop(..) => sighting.echo = true,
            _ => {}
        }
        if sightings.others.len() >= SAME_NAME {
            sightings.first = sightings.others.remove(0);
        }
        sightings.others.push(sighting);
        relation
    }

    /// A request is closed.
    pub(super) fn forget(&mut self, id: RequestId, clordid: &str) {
        let Some(sightings) = self.recent.get_mut(clordid) else { return };
        if sightings.first.id != id {
            sightings.others.retain(|sighting| sighting.id != id);
        } else if sightings.others.is_empty() {
            self.recent.remove(clordid);
        } else {
            sightings.first = sightings.others.remove(0);
        }
    }
}
