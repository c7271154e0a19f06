//! `tickscope sim`: captures whose truth is known, or a market on real sockets.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, anyhow};
use tickscope_sim::live::{Live, MarketData, Options};
use tickscope_sim::{Scenario, scenarios, shipped};
use tracing::info;

use super::args::{SimArgs, TraderChoice};
use super::{Outcome, WrongUsage, stop, watch_signals};

pub(super) fn run(arguments: &SimArgs) -> anyhow::Result<Outcome> {
    let mut out = io::stdout().lock();
    if arguments.list {
        for (name, text) in scenarios() {
            let scenario = Scenario::parse(text, name).map_err(|error| anyhow!("{error}"))?;
            writeln!(out, "{name:<22} {}", scenario.title)?;
        }
        return Ok(Outcome::Done);
    }
    let name = arguments.scenario.as_deref().ok_or_else(|| WrongUsage("which SCENARIO? see --list".to_owned()))?;
    let text = text_of(name)?;
    if arguments.print {
        out.write_all(text.as_bytes())?;
        return Ok(Outcome::Done);
    }
    let scenario = Scenario::parse(&text, name).map_err(|error| anyhow!("{error}"))?;
    match &arguments.write {
        _ if arguments.live => live(scenario, arguments, &mut out),
        Some(folder) => write(&scenario, arguments.seed, folder, &mut out),
        None => Err(WrongUsage("say what to do: --write DIR, --live or --print".to_owned()).into()),
    }
}

/// A file where there is one of this name, else a shipped scenario.
fn text_of(name: &str) -> anyhow::Result<String> {
    if Path::new(name).is_file() {
        return fs::read_to_string(name).with_context(|| name.to_owned());
    }
    shipped(name).map(str::to_owned).ok_or_else(|| {
        let names: Vec<&str> = scenarios().iter().map(|(name, _)| *name).collect();
        anyhow!("{name}: neither a file nor a shipped scenario; those are: {}", names.join(", "))
    })
}

fn write(scenario: &Scenario, seed: u64, folder: &Path, out: &mut impl Write) -> anyhow::Result<Outcome> {
    let summary = tickscope_sim::write(scenario, seed, folder).with_context(|| folder.display().to_string())?;
    writeln!(
        out,
        "{} market-data messages in {} packets, {} order requests, into {}:",
        summary.messages,
        summary.packets,
        summary.requests,
        folder.display()
    )?;
    for (name, frames, bytes) in &summary.captures {
        writeln!(out, "  {name}: {frames} frames, {bytes} bytes")?;
    }
    writeln!(out, "  truth.csv, instruments.csv{}", if summary.has_config { ", tickscope.toml" } else { "" })?;
    Ok(Outcome::Done)
}

fn live(scenario: Scenario, arguments: &SimArgs, out: &mut impl Write) -> anyhow::Result<Outcome> {
    let (Some(md), Some(fix)) = (&arguments.md, arguments.fix) else {
        return Err(WrongUsage("--live needs --md and --fix".to_owned()).into());
    };
    let reference_trader = arguments.trader == TraderChoice::Reference;
    if arguments.write.is_some() && !reference_trader {
        let reason = "--write with --live writes what is true of the reference trader's orders: not with --trader own";
        return Err(WrongUsage(reason.to_owned()).into());
    }
    if arguments.recovery.is_some() && scenario.market.recover.is_none() {
        return Err(WrongUsage("--recovery: the scenario has no `recover`".to_owned()).into());
    }
    if arguments.gateway.is_some() && scenario.gateway.is_none() {
        return Err(WrongUsage("--gateway: the scenario has no [gateway]".to_owned()).into());
    }
    watch_signals()?;
    let options = Options {
        seed: arguments.seed,
        reference: arguments.reference,
        speed: arguments.speed,
        reference_trader,
        gateway: arguments.gateway,
        connect: arguments.connect,
        recovery: arguments.recovery,
        ..Options::new(scenario, MarketData::parse(md), fix)
    };
    let live = Live::bind(options)?;
    info!("the exchange listens on {}; Ctrl-C ends the market", live.fix_address()?);
    for (what, address) in [
        ("the gateway listens on", live.gateway_address()),
        ("instruments are served on", live.reference_address()),
        ("lost market data are asked for at", live.recovery_address()),
    ] {
        if let Some(address) = address {
            info!("{what} {address}");
        }
    }
    let summary = match &arguments.write {
        Some(folder) => live.run_and_write(stop(), folder).with_context(|| folder.display().to_string())?,
        None => live.run(stop())?,
    };
    writeln!(
        out,
        "{} market-data messages in {} packets; {} connections, {} requests, {} reports, {} session rejects, {} logouts",
        summary.messages,
        summary.packets,
        summary.connections,
        summary.requests,
        summary.reports,
        summary.session_rejects,
        summary.logouts
    )?;
    if reference_trader {
        writeln!(
            out,
            "the reference trader sent {} requests, on average {} ns (at most {} ns) later than the latency drawn",
            summary.orders, summary.late_mean_ns, summary.late_most_ns
        )?;
    }
    Ok(Outcome::Done)
}
