//! What a run rests on, as JSON: taps and their stamps, clocks, hops, feeds, sessions, and the account of what was lost.

use serde_json::{Map, Value, json};
use tickscope_model::{Level, Nanos, TapId, Timestamp};

use super::super::across::drift_bounds;
use super::{distribution, time};
use crate::capture::stamp::{Counts, Edge, Undecided};
use crate::stats::{
    ClockRelation, Feed, Histogram, LiveTap, Piece, QueueFrames, Recorded, Relation, StampSource, Summary, Tap,
};

pub(in super::super) fn tap(tap: &Tap) -> Value {
    let mut object = json!({
        "name": tap.name,
        "file": tap.file,
        "frames": tap.frames,
        "bytes": tap.bytes,
        "first": time(tap.first),
        "last": time(tap.last),
        "point": tap.point.map(String::from),
        "has_market_data": tap.has_market,
        "has_orders": tap.has_orders,
        "resolution_ns": (tap.resolution_ns > 0).then_some(tap.resolution_ns),
        "clock": (!tap.clock_name.is_empty()).then_some(&tap.clock_name),
        "offset_ns": tap.offset.0,
        "ahead_of_exchange_ns": tap.exchange.map(|ahead| ahead.median.0),
        "looks_like_tai": tap.exchange.is_some_and(|ahead| ahead.is_tai()),
        "stamps": stamps(tap),
        "cut": tap.cut,
    });
    if let Some(interface) = &tap.live {
        object["live"] = live(interface);
    }
    object
}

/// What became of every frame of an interface.
pub(super) fn recorded(recorded: &Recorded) -> Value {
    json!({
        "folder": recorded.folder,
        "frames": recorded.frames,
        "bytes": recorded.bytes,
        "files": recorded.files,
        "lost": lost(&recorded.losses),
        "stopped": recorded.is_stopped,
        "slow_orders": recorded.slow_orders,
        "flights": recorded.flights,
        "flights_failed": recorded.flights_failed,
    })
}

fn lost(losses: &[(&'static str, u64)]) -> Map<String, Value> {
    losses.iter().map(|(name, frames)| ((*name).to_owned(), (*frames).into())).collect()
}

fn queue(frames: &QueueFrames) -> Value {
    json!({ "queue": frames.queue, "seen": frames.seen, "used": frames.used, "lost": lost(&frames.losses) })
}

fn live(live: &LiveTap) -> Value {
    let stamp = |source: &StampSource| {
        json!({
            "source": source.name,
            "direction": source.direction,
            "frames": source.frames,
            "about": source.about,
        })
    };
    json!({
        "interface": live.interface,
        "driver": live.driver,
        "stamps": live.stamps.iter().map(stamp).collect::<Vec<Value>>(),
        "clock_error_ns": live.clock_error.map(|error| error.0),
        "tai_offset_s": live.tai_offset_s,
        "seen": live.seen,
        "used": live.used,
        "waiting": live.waiting,
        "queue_fill": f64::from(live.fill_permille) / 1000.0,
        "lost": lost(&live.losses),
        "queues": live.queues.iter().map(queue).collect::<Vec<Value>>(),
        "late": live.late,
        "cut": live.cut,
        "super_frames": live.super_frames,
        "interface_dropped": live.dropped,
        "interface_missed": live.missed,
        "interface_errors": live.damaged,
        "events": live.event_count,
        "last_events": live.events,
        "violations": live.violations,
    })
}

/// How two clocks are related.
pub(in super::super) fn clock(relation: &ClockRelation) -> Value {
    let (how, pieces) = match &relation.how {
        Relation::Given => ("given", &[][..]),
        Relation::Unknown => ("unknown", &[][..]),
        Relation::Bounded(pieces) => ("bounded", pieces.as_slice()),
    };
    let bounds = |(least, most): (Nanos, Nanos)| json!({ "least_ns": least.0, "most_ns": most.0 });
    let piece = |piece: &Piece| {
        json!({
            "from": time(Some(piece.from)),
            "to": time(Some(piece.to)),
            "at_start": bounds(piece.at_start),
            "at_end": bounds(piece.at_end),
            "width_ns": piece.width().0,
            "drift_ns_per_s": piece.drift(),
            "drift_ns_per_s_min": drift_bounds(piece).map(|(least, _)| least),
            "drift_ns_per_s_max": drift_bounds(piece).map(|(_, most)| most),
            "taken_off_at_start_ns": piece.middle(piece.from).0,
            "taken_off_at_end_ns": piece.middle(piece.to).0,
            "causes": piece.most,
            "effects": piece.least,
            "set_before": piece.is_set,
        })
    };
    let unknown = |&(from, to): &(Timestamp, Timestamp)| json!({ "from": time(Some(from)), "to": time(Some(to)) });
    json!({
        "clock": relation.names[1],
        "reference": relation.names[0],
        "relation": how,
        "error_ns": relation.error.map(|error| error.0),
        "pieces": pieces.iter().map(piece).collect::<Vec<Value>>(),
        "unknown": relation.blind.iter().map(unknown).collect::<Vec<Value>>(),
    })
}

/// Packets that two taps saw.
pub(in super::super) fn hops(summary: &Summary) -> Value {
    let pair = |(from, to, latencies): &(TapId, TapId, Histogram)| {
        let mut object = distribution(latencies);
        object.insert("from".into(), summary.tap_name(*from).into());
        object.insert("to".into(), summary.tap_name(*to).into());
        let error = summary.error_between(*from, *to);
        object.insert("error_ns".into(), error.map(|error| error.0).into());
        Value::from(object)
    };
    let hops = &summary.hops;
    json!({
        "pairs": hops.pairs.iter().map(pair).collect::<Vec<Value>>(),
        "ambiguous": hops.ambiguous,
        "unrelated": hops.unrelated,
        "evicted": hops.evicted,
        "beyond": hops.beyond,
        "overlooked": hops.overlooked,
    })
}

/// Whose times a tap's are. The keys are always the same; what nobody knows is `null`.
fn stamps(tap: &Tap) -> Value {
    let stamps = tap.stamps.as_ref();
    // What a format says beyond the capture's own times.
    let device = stamps.filter(|stamps| stamps.format.is_some());
    let edge = stamps.map_or(Edge::Unknown, |stamps| stamps.edge);
    let edge = if device.is_none() && edge == Edge::Unknown { tap.edge.unwrap_or(edge) } else { edge };
    let without = |counts: &Counts| {
        json!({
            "none": counts.nothing,
            "cut": counts.cut,
            "doubtful": counts.doubtful,
            "no_keyframe": counts.no_keyframe,
        })
    };
    let since = device.and_then(|stamps| stamps.since);
    json!({
        "source": device.and_then(|stamps| stamps.format).unwrap_or("capture"),
        "edge": edge.name(),
        "moved_to_start": stamps.is_some_and(|stamps| stamps.is_moved),
        "speed_bps": stamps.and_then(|stamps| stamps.speed),
        "undecided": stamps.and_then(|stamps| stamps.undecided.as_ref()).map(undecided),
        "title": device.map(|stamps| stamps.title),
        "found": device.map(|stamps| &stamps.because),
        "since_ns": since.map(|since| since.0),
        "since": since.map(|since| since.to_string()),
        "proven": device.map(|stamps| stamps.is_proven),
        "stamped": device.map(|stamps| stamps.counts.stamped),
        "keyframes": device.map(|stamps| stamps.counts.keyframes),
        "without": device.map(|stamps| without(&stamps.counts)),
        "ahead_of_capture_ns": device.and_then(|stamps| stamps.difference).map(|difference| difference.0),
        "taken_off_ns": device.map(|stamps| stamps.tai.0),
        "warnings": device.map_or(&[][..], |stamps| &stamps.warnings),
    })
}

/// A vote on stamps that no format won.
fn undecided(undecided: &Undecided) -> Value {
    json!({
        "nearest": undecided.format,
        "frames": undecided.frames,
        "of": undecided.of,
        "why": undecided.why,
    })
}

pub(in super::super) fn feed(feed: &Feed) -> Value {
    let line = |line: &crate::stats::Line| {
        json!({
            "line": line.letter,
            "address": line.address,
            "messages": line.messages,
            "first": line.first,
            "heartbeats": line.heartbeats,
            "last": time(line.last),
        })
    };
    let gap = |gap: &crate::stats::Gap| {
        json!({
            "t_ns": gap.time.0,
            "t": gap.time.to_string(),
            "seq": gap.sequence,
            "missing": gap.missing,
            "recovered": gap.recovered,
        })
    };
    let delay = (!feed.line_delay.is_empty()).then(|| Value::from(distribution(&feed.line_delay)));
    json!({
        "feed": feed.label,
        "protocol": feed.protocol,
        "title": feed.title,
        "messages": feed.messages,
        "duplicates": feed.duplicates,
        "lines": feed.lines.iter().map(line).collect::<Vec<Value>>(),
        "line_delay": delay,
        "gaps": {
            "count": feed.gap_count,
            "missing": feed.missing,
            "recovered": feed.recovered,
            "first": feed.gaps.iter().map(gap).collect::<Vec<Value>>(),
        },
    })
}

pub(in super::super) fn order_sessions(summary: &Summary) -> Value {
    summary
        .sessions
        .iter()
        .map(|session| {
            json!({
                "session": session.name,
                "protocol": session.title,
                "client": session.client,
                "server": session.server,
                "requests": session.requests,
                "answers": session.answers,
                "state": session.state,
                "logons": session.logons,
                "heartbeats": session.heartbeats,
                "retransmitted": session.retransmissions,
                "gaps": session.gaps,
                "last": time(session.last),
                "last_msg": session.last_type,
            })
        })
        .collect()
}

pub(in super::super) fn quality(summary: &Summary) -> Value {
    let (totals, losses) = (&summary.totals, &summary.losses);
    let discrepancies: Vec<Value> = summary
        .accounting()
        .into_iter()
        .map(|found| json!({ "what": found.what, "left": found.left, "right": found.right }))
        .collect();
    let reasons: Vec<Value> = losses
        .nonzero()
        .map(|(loss, count)| {
            json!({ "reason": loss.name(), "level": loss.level().name(), "count": count, "text": loss.text() })
        })
        .collect();
    json!({
        "frames": { "in": totals.frames_read, "used": totals.frames_used, "lost": losses.total(Level::Frame) },
        "stream_bytes": {
            "in": totals.stream_bytes,
            "used": totals.stream_bytes_used,
            "lost": losses.total(Level::Stream),
        },
        "messages": { "in": totals.messages, "used": totals.messages_used, "lost": losses.total(Level::Message) },
        "requests": { "in": totals.requests, "reported": summary.requests(), "unanswered": summary.unanswered() },
        "answers": { "in": totals.answers, "matched": totals.answers_matched },
        "tcp_ack_with_answer": summary.ack_with_answer(),
        "losses": reasons,
        "adds_up": discrepancies.is_empty(),
        "discrepancies": discrepancies,
    })
}
