//! What the types of a scenario cannot say: ranges, names, and what goes together. Every complaint names the place by its
//! path in the file (`tap.1.loss`), from which the line is found.

use std::path::Path;

use crate::replay::Recording;
use crate::scenario::{During, Exchange, Kind, Line, Network, Scenario, Strategy, Tap, Trailer};
use crate::time::{DAY, Instant, Latency, MICRO, MILLI, SECOND, Span};

/// Where something is wrong, and what.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub(crate) path: String,
    pub(crate) message: String,
}

type Checked = Result<(), Wrong>;

fn need(is_so: bool, path: impl Into<String>, message: impl Into<String>) -> Checked {
    if is_so { Ok(()) } else { Err(Wrong { path: path.into(), message: message.into() }) }
}

fn key_of(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

fn share(path: &str, value: f64) -> Checked {
    need((0.0..=1.0).contains(&value), path, format!("`{}` is a share from 0 to 1", key_of(path)))
}

fn within(path: &str, value: impl Into<u64>, low: u64, high: u64) -> Checked {
    let is_so = (low..=high).contains(&value.into());
    need(is_so, path, format!("`{}` is a number from {low} to {high}", key_of(path)))
}

fn events(path: &str, value: f64) -> Checked {
    let message = format!("`{}` is a number of events a second from 0 to 1e8", key_of(path));
    need((0.0..=1e8).contains(&value), path, message)
}

fn later(path: &str, from: Span, to: Span) -> Checked {
    need(from < to, path, "`to` is later than `from`")
}

/// Text that becomes the value of a FIX field.
fn word(path: &str, value: &str) -> Checked {
    let is_so = !value.is_empty() && value.len() <= 32 && value.bytes().all(|byte| byte.is_ascii_graphic());
    need(is_so, path, format!("`{value}` is no name: 1 to 32 ASCII letters, digits and signs, no space"))
}

fn address(path: &str, value: &str, example: &str) -> Checked {
    let what = if key_of(path) == "group" { "group" } else { "address" };
    need(parse_address(value).is_some(), path, format!("`{value}` is no {what} like {example}"))
}

/// `address:port`.
pub(crate) fn parse_address(text: &str) -> Option<([u8; 4], u16)> {
    let address: std::net::SocketAddrV4 = text.parse().ok()?;
    Some((address.ip().octets(), address.port()))
}

fn latency(path: &str, value: &Latency) -> Checked {
    let message = "`sigma` is a deviation of the logarithm from 0 to 5";
    need((0.0..=5.0).contains(&value.sigma), format!("{path}.sigma"), message)?;
    share(&format!("{path}.tail_share"), value.tail_share)?;
    for (at, slow) in value.slow.iter().enumerate() {
        later(&format!("{path}.slow.{at}.to"), slow.from, slow.to)?;
        let message = "`factor` is a number from 0 to 1e6";
        need((0.0..=1e6).contains(&slow.factor), format!("{path}.slow.{at}.factor"), message)?;
    }
    Ok(())
}

impl Scenario {
    /// The first thing that is wrong.
    pub(crate) fn check(&self) -> Checked {
        let Instant(start) = self.start;
        need(start >= DAY, "start", "`start` is at least a day after 1970-01-01")?;
        need(self.duration.0 > 0, "duration", "`duration` is more than nothing")?;
        self.check_market()?;
        self.check_events()?;
        self.check_replay()?;
        for (at, line) in self.line.iter().enumerate() {
            self.check_line(&format!("line.{at}"), at, line)?;
        }
        self.check_orders()?;
        check_network(&self.network)?;
        latency("trader.latency", &self.trader.latency)?;
        within("trader.digits", self.trader.digits, 0, 9)?;
        let heard = &self.trader.line;
        let is_line = heard.is_empty() || self.line.iter().any(|line| line.name == *heard);
        need(is_line, "trader.line", format!("there is no line `{heard}`"))?;
        for (at, strategy) in self.strategy.iter().enumerate() {
            self.check_strategy(&format!("strategy.{at}"), strategy)?;
        }
        check_exchange(&self.exchange)?;
        for (at, tap) in self.tap.iter().enumerate() {
            self.check_tap(&format!("tap.{at}"), at, tap)?;
        }
        Ok(())
    }

    fn check_market(&self) -> Checked {
        let market = &self.market;
        within("market.symbols", market.symbols, 1, 10_000)?;
        let symbols = usize::from(market.symbols);
        need(market.names.len() <= symbols, format!("market.names.{symbols}"), "more names than `symbols`")?;
        for (at, name) in market.names.iter().enumerate() {
            let path = format!("market.names.{at}");
            let is_symbol = (1..=8).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic());
            need(is_symbol, path.as_str(), format!("`{name}` is no symbol: 1 to 8 ASCII letters, digits and signs"))?;
            need(!market.names[..at].contains(name), path, format!("`{name}` stands twice among the names"))?;
        }
        need(market.prices.len() <= symbols, format!("market.prices.{symbols}"), "more prices than `symbols`")?;
        for (at, price) in market.prices.iter().enumerate() {
            let message = "`prices` are from 1 to 10000";
            need((1.0..=10_000.0).contains(price), format!("market.prices.{at}"), message)?;
        }
        let message = "`heartbeat` is at least a millisecond";
        need(market.heartbeat.0 >= MILLI, "market.heartbeat", message)?;
        need(market.west.0 <= DAY, "market.west", "`west` is at most 24 hours")
    }

    fn check_events(&self) -> Checked {
        let market = &self.market;
        events("market.rate", market.rate)?;
        let message = "`branching` is at least 0 and below 0.99";
        need((0.0..0.99).contains(&market.branching), "market.branching", message)?;
        for (at, rush) in market.rush.iter().enumerate() {
            later(&format!("market.rush.{at}.to"), rush.from, rush.to)?;
            events(&format!("market.rush.{at}.rate"), rush.rate)?;
        }
        if let Some(burst) = &market.burst {
            need(burst.every.0 > 0, "market.burst.every", "`every` is more than nothing")?;
            need(burst.length.0 > 0, "market.burst.length", "`length` is more than nothing")?;
            events("market.burst.rate", burst.rate)?;
        }
        market.recover.as_ref().map_or(Ok(()), |recover| latency("market.recover", recover))
    }

    fn check_replay(&self) -> Checked {
        let Some(replay) = &self.market.replay else { return Ok(()) };
        if let Err(error) = Recording::open(Path::new(&replay.file)) {
            return need(false, "market.replay.file", error.to_string());
        }
        let message = "`speed` is a factor from 0.001 to 1e6";
        need((0.001..=1e6).contains(&replay.speed), "market.replay.speed", message)?;
        let other = self.strategy.iter().position(|strategy| strategy.kind != Kind::Timer);
        other.map_or(Ok(()), |at| {
            let message = "with `replay`, only timer strategies: recorded messages are not decoded here";
            need(false, format!("strategy.{at}.kind"), message)
        })
    }

    fn check_line(&self, path: &str, at: usize, line: &Line) -> Checked {
        let name = format!("{path}.name");
        word(&name, &line.name)?;
        let is_taken = ["md", "orders", "client"].contains(&line.name.as_str());
        need(!is_taken, name.as_str(), format!("a line cannot be called `{}`: taps use that word", line.name))?;
        let is_new = self.line[..at].iter().all(|other| other.name != line.name);
        need(is_new, name, format!("two lines are called `{}`", line.name))?;
        address(&format!("{path}.group"), &line.group, "233.54.12.111:26477")?;
        for (number, late) in line.late.iter().enumerate() {
            later(&format!("{path}.late.{number}.to"), late.from, late.to)?;
        }
        share(&format!("{path}.loss"), line.loss)
    }

    fn check_orders(&self) -> Checked {
        let orders = &self.orders;
        word("orders.sender", &orders.sender)?;
        word("orders.target", &orders.target)?;
        within("orders.sessions", orders.sessions, 1, 100)?;
        let message = "`heartbeat` is a whole number of seconds, at most an hour";
        let seconds = orders.heartbeat.0;
        need(seconds.is_multiple_of(SECOND) && seconds <= 3_600 * SECOND, "orders.heartbeat", message)?;
        address("orders.client", &orders.client, "10.0.0.10:41000")?;
        address("orders.server", &orders.server, "10.0.1.20:9876")?;
        // A gateway's own connections leave 1000 ports further on.
        let last = u32::from(parse_address(&orders.client).map_or(0, |(_, port)| port)) + u32::from(orders.sessions);
        let message = "`client` leaves no room for a port a session: take a port below 60000";
        need(last <= 60_000, "orders.client", message)?;
        let Some(gateway) = &self.gateway else { return Ok(()) };
        latency("gateway.latency", &gateway.latency)?;
        word("gateway.name", &gateway.name)?;
        address("gateway.address", &gateway.address, "10.0.0.30:9800")
    }

    fn check_strategy(&self, path: &str, strategy: &Strategy) -> Checked {
        let at = |key: &str| format!("{path}.{key}");
        share(&at("share"), strategy.share)?;
        share(&at("cancel"), strategy.cancel)?;
        if let Some(seen) = strategy.seen {
            share(&at("seen"), seen)?;
            let is_so = matches!(strategy.kind, Kind::React | Kind::Timer);
            need(is_so, at("seen"), "`seen` is for react and timer strategies")?;
        }
        within(&at("away"), strategy.away, 1, 255)?;
        let is_so = strategy.during == During::Always || strategy.kind == Kind::Timer;
        need(is_so, at("during"), "`during` is for timer strategies")?;
        need(strategy.every.0 >= MICRO, at("every"), "`every` is at least a microsecond")?;
        within(&at("orders"), strategy.orders, 1, 50)?;
        within(&at("quantity"), strategy.quantity, 1, 1_000_000)?;
        let known = |symbol: &String| symbol.is_empty() || self.market.names.contains(symbol);
        for (key, symbol) in [("when", &strategy.when), ("over", &strategy.over), ("sell", &strategy.sell)] {
            need(known(symbol), at(key), format!("`{symbol}` is not among the market's `names`"))?;
        }
        for (place, symbol) in strategy.symbols.iter().enumerate() {
            let message = format!("`{symbol}` is not among the market's `names`");
            need(self.market.names.contains(symbol), format!("{path}.symbols.{place}"), message)?;
        }
        let is_whole = !strategy.when.is_empty() && !strategy.sell.is_empty();
        let is_so = strategy.kind != Kind::Conditional || is_whole;
        need(is_so, at("kind"), "a conditional strategy needs `when` and `sell`")
    }

    fn check_tap(&self, path: &str, at: usize, tap: &Tap) -> Checked {
        for (key, value) in [("place", tap.place), ("loss", tap.loss), ("duplicate", tap.duplicate)] {
            share(&format!("{path}.{key}"), value)?;
        }
        let name = format!("{path}.name");
        let is_file = !tap.name.is_empty() && !tap.name.contains(['/', '\\', ',', '\0']);
        let message = "a tap's name becomes the name of its file: not empty, no slash, no comma";
        need(is_file, name.as_str(), message)?;
        let is_new = self.tap[..at].iter().all(|other| other.name != tap.name);
        need(is_new, name, format!("two taps are called `{}`", tap.name))?;
        for (place, seen) in tap.sees.iter().enumerate() {
            let is_known =
                ["md", "orders", "client"].contains(&seen.as_str()) || self.line.iter().any(|line| line.name == *seen);
            let message = format!("`{seen}` is none of md, orders, client and the lines' names");
            need(is_known, format!("{path}.sees.{place}"), message)?;
        }
        within(&format!("{path}.vlan"), tap.vlan, 0, 4_094)?;
        need(tap.resolution.0 > 0, format!("{path}.resolution"), "`resolution` is at least a nanosecond")?;
        let message = "`drift` is at most 1000000 ns a second in either direction";
        need(tap.drift.unsigned_abs() <= 1_000_000, format!("{path}.drift"), message)?;
        let is_so = tap.lag.0 == 0 || tap.trailer != Trailer::None;
        need(is_so, format!("{path}.lag"), "`lag` is behind a trailer's time: the tap needs a `trailer`")
    }
}

fn check_network(network: &Network) -> Checked {
    within("network.mss", network.mss, 100, 1_448)?;
    latency("network.ack", &network.ack)?;
    share("network.loss", network.loss)?;
    share("network.reorder", network.reorder)?;
    share("network.cut", network.cut)?;
    share("network.coalesce", network.coalesce)
}

fn check_exchange(exchange: &Exchange) -> Checked {
    latency("exchange.latency", &exchange.latency)?;
    latency("exchange.report_gap", &exchange.report_gap)?;
    share("exchange.reject", exchange.reject)?;
    share("exchange.reject_change", exchange.reject_change)?;
    share("exchange.reject_session", exchange.reject_session)?;
    share("exchange.reject_business", exchange.reject_business)?;
    share("exchange.unsolicited", exchange.unsolicited)?;
    share("exchange.pending", exchange.pending)
}
