//! What the user asked for by name, and nothing in the captures answered to: said in the report, since a slip of the pen
//! would otherwise change the figures silently.

use tickscope_model::Loss;

use super::args::SelectionArgs;
use super::config::Settings;
use super::config::settings::Endpoint as Named;
use crate::flow::Endpoint;
use crate::pipeline::correlator::Correlator;

/// A note for each.
pub(super) fn notes(
    settings: &Settings,
    selection: &SelectionArgs,
    taps: &[&str],
    correlator: &Correlator,
) -> Vec<String> {
    let mut notes = Vec::new();
    // A file's name stands for its interfaces, `NAME:INTERFACE`.
    let is_there = |name: &str| {
        taps.iter().any(|tap| tap.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(':')))
    };
    for tap in settings.taps.iter().filter(|tap| !is_there(&tap.name)) {
        notes.push(format!("[[tap]] \"{}\": there is no such tap; the taps are {}", tap.name, taps.join(", ")));
    }
    let groups = settings.feeds.iter().filter_map(|feed| feed.group);
    for group in groups.filter(|group| !has_feed(correlator, Endpoint { address: group.ip(), port: group.port() })) {
        notes.push(format!("[[feed]] {group}: no market data of such a feed in the captures"));
    }
    for session in &settings.sessions {
        let ends: Vec<String> = [session.client, session.server].into_iter().flatten().map(text).collect();
        if !has_session(correlator, session.client, session.server) {
            notes.push(format!("[[session]] {}: no order entry of such a session in the captures", ends.join(" → ")));
        }
    }
    notes.extend(triggers(correlator));
    notes.extend(selected(selection, correlator));
    notes
}

fn has_feed(correlator: &Correlator, group: Endpoint) -> bool {
    correlator.feeds.lines.iter().any(|line| line.endpoint == group && line.packets > 0)
}

fn has_session(correlator: &Correlator, client: Option<Named>, server: Option<Named>) -> bool {
    let is_it = |named: Option<Named>, end: &str| {
        named.is_none_or(|named| match named.port {
            Some(_) => text(named) == end,
            None => end.rsplit_once(':').is_some_and(|(address, _)| address == text(named)),
        })
    };
    correlator.pairer.sessions().any(|session| is_it(client, session.client) && is_it(server, session.server))
}

fn text(end: Named) -> String {
    let Named { address, port } = end;
    let address = if address.is_ipv6() { format!("[{address}]") } else { address.to_string() };
    port.map_or(address.clone(), |port| format!("{address}:{port}"))
}

/// Rules of `[trigger]` that never came to anything.
fn triggers(correlator: &Correlator) -> Vec<String> {
    let mut notes = Vec::new();
    let rule = &correlator.pairer.rules().trigger;
    for link in &rule.links {
        let unknown: Vec<&str> =
            link.symbols().filter(|name| correlator.symbols.known(name.as_bytes()).is_none()).collect();
        if !unknown.is_empty() {
            notes.push(format!("[[trigger.link]] {link}: no market data about {}", unknown.join(", ")));
        } else if correlator.links().causes_of(link) == 0 {
            notes.push(format!("[[trigger.link]] {link}: its condition never came true"));
        }
    }
    if !rule.ids.is_empty() && correlator.pairer.named == 0 {
        notes.push("[[trigger.id]]: no request carries such an id".to_owned());
    }
    notes
}

/// What was left out on the command line, and names that no request has.
fn selected(selection: &SelectionArgs, correlator: &Correlator) -> Vec<String> {
    let mut words = Vec::new();
    for (name, values) in [("symbol", &selection.symbols), ("session", &selection.sessions)] {
        if !values.is_empty() {
            words.push(format!("{name} {}", values.join(", ")));
        }
    }
    for (name, is_given) in [("--from", selection.from.is_some()), ("--to", selection.to.is_some())] {
        if is_given {
            words.push(name.to_owned());
        }
    }
    if words.is_empty() {
        return Vec::new();
    }
    let mut notes = vec![format!("only requests of {}; the others are counted as outside", words.join(", "))];
    let requests = correlator.pairer.requests_seen;
    if requests > 0 && requests == correlator.pairer.losses().count(Loss::OutsideWindow) {
        notes.push("no request is left by this selection".to_owned());
    }
    notes
}
