//! The same request seen again: in the same session at another tap (a `hop`), or in another session with the same
//! ClOrdID, symbol, side and quantity, which is how a gateway passes a request on (`w2w`).

use std::collections::VecDeque;
use std::sync::Arc;

use tickscope_model::{Nanos, OrderKind, TapId, Timestamp};

use super::requests::{Open, RequestId};

use crate::hash::HashMap;

/// Two sightings of one request lie no further apart than this.
const HOP_WINDOW: Nanos = Nanos(10_000_000_000);
/// A gateway passes a request on within this time.
const WALL_WINDOW: Nanos = Nanos(1_000_000_000);

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

struct Sighting {
    id: RequestId,
    tap: TapId,
    point: u16,
    session: Arc<str>,
    sequence: u64,
    time: Timestamp,
    request: OrderKind,
    symbol: Arc<str>,
    side: &'static str,
    quantity: Option<tickscope_model::Decimal>,
    echo: bool,
}

/// Recent requests by ClOrdID.
#[derive(Default)]
pub(super) struct Walls {
    recent: HashMap<Arc<str>, Vec<Sighting>>,
    order: VecDeque<(Timestamp, Arc<str>)>,
    now: Timestamp,
}

impl Walls {
    /// Relates a request to those seen before, and remembers it.
    pub(super) fn relate(&mut self, id: RequestId, open: &Open) -> Relation {
        let row = &open.row;
        self.forget(row.t_out);
        // Nearly always it is the only one.
        let sightings = self.recent.entry(row.clordid.clone()).or_insert_with(|| Vec::with_capacity(1));
        let near = |other: &Sighting, window: Nanos| row.t_out.since(other.time).0.abs() <= window.0;
        let hop = sightings.iter().find(|other| {
            !other.echo
                && other.point != open.point
                && other.session == row.session
                && other.sequence == open.sequence
                && other.request == row.request
                && near(other, HOP_WINDOW)
        });
        let relation = if let Some(other) = hop {
            Relation::Hop(other.id, other.tap, other.time)
        } else {
            let mut walls = sightings.iter().filter(|other| {
                !other.echo
                    && other.session != row.session
                    && other.request == row.request
                    && other.symbol == row.symbol
                    && other.side == row.side.map_or("", tickscope_model::Side::text)
                    && other.quantity == row.quantity
                    && near(other, WALL_WINDOW)
            });
            match (walls.next(), walls.next()) {
                (None, _) => Relation::Alone,
                (Some(other), None) => Relation::Wall(other.id, other.tap, other.time),
                (Some(_), Some(_)) => Relation::Ambiguous,
            }
        };
        // Of two sightings the tap that was named first keeps the row.
        let echo = match &relation {
            Relation::Hop(other, tap, _) if row.tap < *tap => {
                let other = *other;
                sightings.iter_mut().filter(|sighting| sighting.id == other).for_each(|sighting| sighting.echo = true);
                false
            }
            Relation::Hop(..) => true,
            _ => false,
        };
        sightings.push(Sighting {
            id,
            tap: row.tap,
            point: open.point,
            session: row.session.clone(),
            sequence: open.sequence,
            time: row.t_out,
            request: row.request,
            symbol: row.symbol.clone(),
            side: row.side.map_or("", tickscope_model::Side::text),
            quantity: row.quantity,
            echo,
        });
        self.order.push_back((row.t_out, row.clordid.clone()));
        relation
    }

    fn forget(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        while let Some((time, _)) = self.order.front() {
            if self.now.since(*time).0 <= HOP_WINDOW.0 && self.order.len() < 1 << 17 {
                break;
            }
            let Some((time, clordid)) = self.order.pop_front() else { break };
            if let Some(sightings) = self.recent.get_mut(&clordid) {
                sightings.retain(|sighting| sighting.time > time);
                if sightings.is_empty() {
                    self.recent.remove(&clordid);
                }
            }
        }
    }
}
