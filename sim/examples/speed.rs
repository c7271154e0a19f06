//! `cargo run --release -p tickscope-sim --example speed -- FILE`: how many market-data messages a second the simulator
//! writes to a file on one core, with and without a trader.
#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a stopwatch")]

use std::fs::File;
use std::io::BufWriter;
use std::time::Instant;

use tickscope_sim::{Scenario, generate};

const MARKET: &str = "duration = \"100s\"\n[market]\nsymbols = 100\nrate = 1e6\nbranching = 0.0\nmessages = 4000000\ncollect = \"3us\"\n";
const TRADER: &str = "[[strategy]]\nkind = \"react\"\non = \"trade\"\nshare = 0.001\npause = \"5ms\"\n";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "/dev/null".into());
    for (name, text) in [("market data alone", MARKET.to_owned()), ("with a trader", format!("{MARKET}{TRADER}"))] {
        let scenario = Scenario::parse(&text, "speed")?;
        let begun = Instant::now();
        let (summary, _) =
            generate(&scenario, 1, &mut |_tap| Ok(BufWriter::with_capacity(1 << 20, File::create(&path)?)))?;
        let seconds = begun.elapsed().as_secs_f64();
        let bytes: u64 = summary.captures.iter().map(|(_, _, bytes)| bytes).sum();
        #[allow(clippy::cast_precision_loss, reason = "for people")]
        let rate = summary.messages as f64 / seconds / 1e6;
        println!(
            "{name}: {} messages, {} packets, {bytes} bytes in {seconds:.2} s: {rate:.2} M messages/s",
            summary.messages, summary.packets
        );
    }
    Ok(())
}
