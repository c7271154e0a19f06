//! `cargo run -p tickscope-sim --example write -- SCENARIO SEED DIR`: what `tickscope sim --write` does, without the rest.

use std::path::Path;

use tickscope_sim::{Scenario, shipped, write};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, seed, folder] = arguments.as_slice() else { return Err("usage: write SCENARIO SEED DIR".into()) };
    let text = shipped(name).map_or_else(|| std::fs::read_to_string(name), |text| Ok(text.to_owned()))?;
    let summary = write(&Scenario::parse(&text, name)?, seed.parse()?, Path::new(folder))?;
    std::io::Write::write_all(&mut std::io::stdout(), format!("{summary:#?}\n").as_bytes())?;
    Ok(())
}
