//! What requests can be grouped by for those who ask, and the busiest of such groups. They are copied only where somebody asks.

use std::sync::Arc;

use super::{Group, Groups, Summary};

/// See the head of this file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Session,
    Symbol,
    /// Who is on the other side of a session.
    Venue,
    Outcome,
    /// What decided on the trigger.
    Method,
}

/// The busiest groups, the busiest first.
#[derive(Clone, Debug)]
pub struct Asked {
    pub by: By,
    pub busiest: Vec<Group>,
    /// How many others there are.
    pub left_out: u64,
}

/// So many groups are told of.
const MOST: usize = 64;

impl By {
    pub const ALL: [By; 5] = [By::Session, By::Symbol, By::Venue, By::Outcome, By::Method];

    pub fn name(self) -> &'static str {
        match self {
            By::Session => "session",
            By::Symbol => "symbol",
            By::Venue => "venue",
            By::Outcome => "outcome",
            By::Method => "method",
        }
    }

    pub fn named(name: &str) -> Option<By> {
        By::ALL.into_iter().find(|by| by.name() == name)
    }

    /// A bit of its own.
    pub fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl Asked {
    /// `facts` knows the conversations, where they are told of beside the figures.
    pub fn of(by: By, figures: &Summary, facts: &Summary) -> Asked {
        let take = |groups: &Groups| Asked {
            by,
            busiest: groups.busiest(MOST).into_iter().cloned().collect(),
            left_out: groups.len().saturating_sub(MOST) as u64,
        };
        match by {
            By::Session => take(&figures.by_session),
            By::Symbol => take(&figures.by_symbol),
            By::Outcome => take(&figures.by_outcome),
            By::Venue => take(&venues(figures, facts)),
            By::Method => figures.by_method.as_ref().map_or_else(|| take(&Groups::default()), take),
        }
    }
}

/// The sessions of each counterparty together.
fn venues(figures: &Summary, facts: &Summary) -> Groups {
    let mut venues = Groups::default();
    for session in figures.by_session.iter() {
        let server =
            || facts.sessions.iter().find(|known| *known.name == *session.name).map(|known| known.server.as_str());
        let behind = session.name.rsplit_once("->").map(|(_, target)| target).filter(|target| !target.is_empty());
        let name = behind.or_else(server).filter(|name| !name.is_empty()).unwrap_or(&session.name);
        venues.entry(&Arc::from(name)).merge(session);
    }
    venues
}

#[cfg(test)]
mod tests {
    use super::super::summary_tests::row;
    use super::super::{Histogram, Session};
    use super::*;
    use tickscope_model::SegmentKind;

    #[test]
    fn sessions_of_one_counterparty_are_one_venue() {
        let mut summary = Summary { by_method: Some(Groups::default()), ..Summary::default() };
        for (at, session) in ["A->X", "B->X", "A->Y", "plain", "other"].into_iter().enumerate() {
            for time in 0..=at as u64 {
                let mut row = row("1", time);
                row.session = session.into();
                summary.figures(&row);
            }
        }
        let session = Session { name: "plain".into(), server: "10.0.0.1:9".into(), ..Session::default() };
        let facts = Summary { sessions: vec![session], ..Summary::default() };
        let venues = Asked::of(By::Venue, &summary, &facts);
        let found: Vec<(&str, u64, u64)> = venues
            .busiest
            .iter()
            .map(|group| {
                let ack = group.latencies.of(SegmentKind::Ack).map_or(0, Histogram::n);
                assert_eq!(group.causes.total(), group.requests);
                (&*group.name, group.requests, ack)
            })
            .collect();
        assert_eq!(found, [("other", 5, 5), ("10.0.0.1:9", 4, 4), ("X", 3, 3), ("Y", 3, 3)]);
        let methods = Asked::of(By::Method, &summary, &facts).busiest;
        assert_eq!((methods.len(), &*methods[0].name, methods[0].requests), (1, "none", 15));
    }

    #[test]
    fn names_and_bits_are_different() {
        assert!(By::ALL.iter().all(|by| By::named(by.name()) == Some(*by)));
        assert_eq!(By::ALL.iter().fold(0, |bits, by| bits | by.bit()), 0b1_1111);
    }
}
