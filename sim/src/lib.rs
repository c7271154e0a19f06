//! A small fake market whose truth is known: market data, the orders that it caused, the exchange's answers, and a
//! table of what really happened. Everything here has encoders of its own and shares nothing with the decoders; a
//! scenario and a seed give the same bytes on every machine.
//!
//! ```
//! use tickscope_sim::Scenario;
//! let scenario = Scenario::parse("duration = \"1s\"", "example").unwrap();
//! let (summary, truth) = tickscope_sim::generate(&scenario, 1, &mut |_tap| Ok(Vec::new())).unwrap();
//! assert!(summary.messages > 0 && truth.rows() == 0, "a trader without a strategy sends nothing");
//! ```

mod book;
mod capture;
mod defaults;
mod encode;
mod exchange;
mod follow;
mod leg;
pub mod live;
mod market;
mod market_data;
mod pieces;
mod random;
mod replay;
mod scenario;
mod scenario_check;
mod scenario_error;
pub mod score;
mod session;
mod table;
mod tap;
mod tcp;
mod time;
mod trader;
mod truth;
mod wire;
mod world;

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

pub use capture::Format;
use pieces::InPieces;
pub use scenario::{
    During, Kind, On, Scenario, Shipped, Strategy, Style, Tap, Trailer, attribution_scenarios, scenarios, shipped,
};
pub use scenario_error::ScenarioError;
pub use time::Latency;
pub use truth::COLUMNS;
pub use world::Summary;

/// What really happened in a run.
#[derive(Debug)]
pub struct Truth {
    rows: Vec<truth::Row>,
}

impl Truth {
    /// How many requests there were.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Writes truth.csv.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        truth::write_rows(&self.rows, out)
    }
}

/// Runs a scenario; the capture of each tap is written to what `open` gives for it, while the run goes on.
pub fn generate<W: Write>(
    scenario: &Scenario,
    seed: u64,
    open: &mut dyn FnMut(&Tap) -> io::Result<W>,
) -> io::Result<(Summary, Truth)> {
    let (summary, recorder) = world::World::new(scenario, seed, open)?.run()?;
    Ok((summary, Truth { rows: recorder.rows(scenario) }))
}

/// Runs a scenario and writes its files into a folder: a capture for each tap, `truth.csv` and `instruments.csv`; and
/// `tickscope.toml`, where the scenario has something that must be said to tickscope.
pub fn write(scenario: &Scenario, seed: u64, folder: &Path) -> io::Result<Summary> {
    fs::create_dir_all(folder)?;
    let (mut summary, truth) = generate(scenario, seed, &mut |tap| {
        let path = folder.join(format!("{}.{}", tap.name, tap.format.extension()));
        Ok(InPieces::new(File::create(path)?))
    })?;
    let mut out = BufWriter::new(File::create(folder.join("truth.csv"))?);
    truth.write(&mut out)?;
    out.flush()?;
    let mut out = BufWriter::new(File::create(folder.join("instruments.csv"))?);
    out.write_all(market::instruments_csv(scenario, seed).as_bytes())?;
    out.flush()?;
    if let Some(config) = market::config_toml(scenario, seed) {
        fs::write(folder.join("tickscope.toml"), config)?;
        summary.has_config = true;
    }
    Ok(summary)
}
