//! Which taps are one observation point. Optical taps deliver each direction by itself: where one tap saw only one
//! direction of a conversation and another tap only the other, the two belong together. The configuration's `group`
//! decides before what is found.

use std::collections::HashMap;

use tickscope_model::TapId;

use super::hops::Hops;
use crate::capture::Merged;
use crate::dissect::{Transport, dissect};
use crate::flow::FlowKey;

/// So many frames of each capture are looked at; more than enough to see both directions of what is there.
const FRAMES: u64 = 200_000;

/// A tap's number and the group that the user gave it.
pub struct TapGroup {
    pub name: String,
    pub group: Option<String>,
}

/// What the beginning of the captures shows.
#[derive(Default)]
pub struct Found {
    /// The point of each tap, in the order of taps.
    pub points: Vec<u16>,
    /// Some packets were seen by several taps.
    pub is_shared: bool,
}

/// Looks at the beginning of fresh readers of the same captures.
pub fn find(mut captures: Merged, groups: &[TapGroup]) -> Found {
    let mut hops = Hops::default();
    let mut ways: HashMap<FlowKey, HashMap<TapId, [bool; 2]>> = HashMap::new();
    let mut seen = 0;
    while seen < FRAMES
        && let Some(captured) = captures.next()
    {
        seen += 1;
        let frame = captured.frame;
        // What cannot be read here is counted when the frames are read for good.
        let Ok(packet) = dissect(&frame) else { continue };
        hops.see(frame.tap, frame.time, &packet);
        if matches!(packet.transport, Transport::Tcp { .. }) && ways.len() < 1 << 16 {
            let (key, swapped) = FlowKey::of(0, &packet).conversation();
            ways.entry(key).or_default().entry(frame.tap).or_default()[usize::from(swapped)] = true;
        }
    }
    let taps = captures.taps();
    let named = |name: &str| {
        groups
            .iter()
            .find(|tap| tap.name == name || name.starts_with(&format!("{}:", tap.name)))
            .and_then(|tap| tap.group.clone())
    };
    let group: Vec<Option<String>> = taps.iter().map(|tap| named(&tap.name)).collect();
    let mut points: Vec<u16> = (0..taps.len()).map(|tap| u16::try_from(tap).unwrap_or(u16::MAX)).collect();
    join_named(&mut points, &group);
    for (one, other) in complements(&ways) {
        let (one, other) = (usize::from(one.0), usize::from(other.0));
        let is_free = |tap: usize| group.get(tap).is_none_or(Option::is_none);
        if is_free(one) && is_free(other) {
            let (keep, replace) = (points[one].min(points[other]), points[one].max(points[other]));
            points.iter_mut().filter(|point| **point == replace).for_each(|point| *point = keep);
        }
    }
    hops.finish();
    Found { points, is_shared: !hops.ways().is_empty() }
}

/// The same of conversations that are kept by point: pairs of points that see opposite directions, and one conversation of each.
pub fn split(conversations: impl Iterator<Item = (FlowKey, [bool; 2])>) -> Vec<(u16, u16, FlowKey)> {
    let mut ways: HashMap<FlowKey, HashMap<TapId, [bool; 2]>> = HashMap::new();
    for (key, seen) in conversations {
        ways.entry(FlowKey { point: 0, ..key }).or_default().insert(TapId(key.point), seen);
    }
    // Of what came once only nothing is to be said.
    ways.retain(|_, points| points.len() > 1);
    let example = |(one, other): (TapId, TapId)| {
        let (key, _) = ways.iter().find(|(_, points)| points.contains_key(&one) && points.contains_key(&other))?;
        Some((one.0, other.0, *key))
    };
    complements(&ways).into_iter().filter_map(example).collect()
}

fn join_named(points: &mut [u16], groups: &[Option<String>]) {
    for tap in 0..points.len() {
        let first = groups.iter().position(|group| group.is_some() && *group == groups[tap]);
        if let Some(first) = first {
            points[tap] = points[first];
        }
    }
}

/// Pairs of taps that saw opposite directions of some conversation and never the same one of any.
fn complements(ways: &HashMap<FlowKey, HashMap<TapId, [bool; 2]>>) -> Vec<(TapId, TapId)> {
    let mut votes: HashMap<(TapId, TapId), (u64, u64)> = HashMap::new();
    for taps in ways.values() {
        for (&one, &[one_out, one_back]) in taps {
            for (&other, &[other_out, other_back]) in taps.iter().filter(|(other, _)| one < **other) {
                let vote = votes.entry((one, other)).or_default();
                if (one_out && other_out) || (one_back && other_back) {
                    vote.1 += 1;
                } else {
                    vote.0 += 1;
                }
            }
        }
    }
    let mut pairs: Vec<_> =
        votes.into_iter().filter(|(_, (apart, same))| *apart > 0 && *same == 0).map(|(pair, _)| pair).collect();
    pairs.sort();
    pairs
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::flow::Endpoint;

    #[test]
    fn points_that_see_opposite_directions_are_found_and_those_that_see_the_same_are_not() {
        let end = |port| Endpoint { address: IpAddr::V4(Ipv4Addr::LOCALHOST), port };
        let key = |point, port| FlowKey { point, source: end(1), target: end(port) };
        let found = |seen: &[(u16, u16, [bool; 2])]| -> Vec<(u16, u16)> {
            let all = seen.iter().map(|(point, port, seen)| (key(*point, *port), *seen));
            split(all).into_iter().map(|(one, other, _)| (one, other)).collect()
        };
        assert_eq!(found(&[(0, 5, [true, false]), (1, 5, [false, true])]), [(0, 1)]);
        assert_eq!(found(&[(0, 5, [true, false]), (1, 6, [false, true])]), [], "two conversations");
        assert_eq!(found(&[(0, 5, [true, true]), (1, 5, [false, true])]), [], "the same packets at two taps");
        let mixed = [(0, 5, [true, false]), (1, 5, [false, true]), (0, 6, [true, true]), (1, 6, [true, true])];
        assert_eq!(found(&mixed), [], "somewhere they see the same");
    }
}
