//! `cargo run -p tickscope-sim --example write -- SCENARIO SEED DIR`: what `tickscope sim --write` does, without the rest.

use std::path::Path;

use tickscope_sim::{Scenario, scenarios, write};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, seed, folder] = arguments.as_slice() else { return Err("usage: write SCENARIO SEED DIR".into()) };
    let shipped = scenarios().iter().find(|(known, _)| known == name);
    let text = match shipped {
        Some((_, text)) => (*text).to_owned(),
        None => std::fs::read_to_string(name)?,
    };
    let summary = write(&Scenario::parse(&text, name)?, seed.parse()?, Path::new(folder))?;
    std::io::Write::write_all(&mut std::io::stdout(), format!("{summary:#?}\n").as_bytes())?;
    Ok(())
}
