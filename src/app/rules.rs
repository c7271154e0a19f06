//! What pairing goes by, from the configuration: which messages may be triggers, ids, links, and whether books are kept.

use anyhow::{anyhow, bail};
use regex_lite::Regex;
use tickscope_model::MarketKind;

use super::config::settings::{Books, OrderTag};
use super::config::{Settings, instruments};
use crate::flow::Endpoint;
use crate::merge::Feeds;
use crate::pair::attribution::Learning;
use crate::pair::{IdRule, LinkRule, Named, TriggerRule};
use crate::pipeline::correlator::Correlator;

/// Books are kept of captures that have at most so many bytes, unless the user says otherwise.
const BOOKS_BYTES: u64 = 256 << 20;

pub(super) fn trigger(settings: &Settings, keeps_books: bool) -> anyhow::Result<TriggerRule> {
    Ok(TriggerRule {
        window: settings.trigger.window,
        min: settings.trigger.min,
        kinds: kinds(&settings.trigger.messages),
        learning: settings.trigger.learning,
        ids: ids(settings)?,
        links: links(settings)?,
        keeps_books,
        keeps_cases: false,
    })
}

/// Feeds, with the letters of the lines that the user has named.
pub(super) fn feeds(settings: &Settings) -> Feeds {
    let lines = settings.feeds.iter().filter_map(|feed| {
        let (group, letter) = (feed.group?, feed.line.as_deref()?.chars().next()?);
        Some((Endpoint { address: group.ip(), port: group.port() }, letter))
    });
    Feeds::new(lines.collect())
}

/// The instruments that the user has listed have books from the beginning on.
pub(super) fn watch_instruments(settings: &Settings, correlator: &mut Correlator) -> anyhow::Result<()> {
    if let Some(path) = &settings.instruments {
        for instrument in instruments::read(path)? {
            instrument.names().for_each(|name| correlator.watch(name.as_bytes()));
        }
    }
    Ok(())
}

/// Whether the symbols of requests have books, where captures have so many bytes.
pub(super) fn keeps_books(settings: &Settings, bytes: u64) -> anyhow::Result<bool> {
    let trigger = &settings.trigger;
    let needs_books = !trigger.ids.is_empty() || !trigger.links.is_empty();
    match trigger.books {
        _ if trigger.learning == Learning::None => Ok(false),
        Books::Never if needs_books => {
            bail!("[[trigger.id]] and [[trigger.link]] need books; [trigger] books is \"never\"")
        }
        Books::Never => Ok(false),
        Books::Always => Ok(true),
        Books::Auto => Ok(needs_books || bytes <= BOOKS_BYTES),
    }
}

/// The kinds of messages behind the names of `[trigger] messages`. Without a book every change of an order book may
/// have moved the best price, so `bbo` means those too.
fn kinds(names: &[String]) -> Vec<MarketKind> {
    let kinds = |name: &str| match name {
        "trade" => vec![MarketKind::Trade],
        "quote" => vec![MarketKind::Quote],
        "book" => vec![MarketKind::Book],
        "auction" => vec![MarketKind::Auction],
        "status" => vec![MarketKind::Status],
        _ => vec![MarketKind::Quote, MarketKind::Book],
    };
    let mut all: Vec<MarketKind> = names.iter().flat_map(|name| kinds(name)).collect();
    all.dedup();
    all
}

/// `[[trigger.id]]`, which the configuration has checked.
fn ids(settings: &Settings) -> anyhow::Result<Vec<IdRule>> {
    let mut rules = Vec::new();
    for id in &settings.trigger.ids {
        let named = Named::NAMES.iter().find(|(name, _)| Some(*name) == id.market_data);
        if let (Some(OrderTag { tag, regex, base }), Some((_, names))) = (&id.order, named) {
            let regex = regex.as_deref().map(Regex::new).transpose()?;
            rules.push(IdRule { tag: *tag, regex, base: *base, names: *names });
        }
    }
    Ok(rules)
}

/// `[[trigger.link]]`, likewise.
fn links(settings: &Settings) -> anyhow::Result<Vec<LinkRule>> {
    let rules = settings.trigger.links.iter().map(|link| LinkRule::parse(&link.orders, &link.when));
    rules.collect::<Result<_, String>>().map_err(|text| anyhow!(text))
}
