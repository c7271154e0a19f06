//! `tickscope decode`: each decoded message as one line of JSON on standard output.

use std::io::{self, BufWriter};

use tickscope_model::{Level, Loss};
use tracing::info;

use super::args::DecodeArgs;
use super::config::Settings;
use super::{Outcome, open};
use crate::pipeline::printer::{Printer, Wanted};

pub fn run(arguments: &DecodeArgs, settings: &Settings) -> anyhow::Result<Outcome> {
    let mut prepared = open::prepare(settings, &arguments.selection, &arguments.clock)?;
    let (from, to) = prepared.window;
    let wanted = Wanted {
        from,
        to,
        protocols: arguments.protocols.clone(),
        symbols: arguments.selection.symbols.clone(),
        sessions: arguments.selection.sessions.clone(),
    };
    let files = prepared.captures.files().map(|file| file.path().display().to_string()).collect();
    let out = BufWriter::with_capacity(1 << 20, io::stdout().lock());
    let mut printer = Printer::new(out, files, wanted);
    open::run(&mut prepared, &arguments.display, &mut printer, |printer, _| {
        printer.error.take().map_or(Ok(()), |error| Err(error.into()))
    })?;
    printer.flush()?;
    let was_cut = open::say_cuts(&prepared, &arguments.display);
    if arguments.display.verbose > 0 {
        info!("{} messages", printer.printed);
        for (loss, count) in printer.losses.nonzero() {
            info!("{count} × {}", loss.text());
        }
    }
    let lost = was_cut || is_lossy(&printer.losses);
    Ok(if lost { Outcome::DataLost } else { Outcome::Done })
}

/// Whether data was lost, cut or could not be decoded, as against left out on purpose or of no concern to us.
pub fn is_lossy(losses: &tickscope_model::Losses) -> bool {
    let harmful = [Loss::FrameMalformed, Loss::FrameCut, Loss::FragmentLost, Loss::NoTimestamp, Loss::FlowEvicted];
    let messages = [Loss::Malformed, Loss::UnknownMessage, Loss::BadChecksum, Loss::FeedGap, Loss::NoSymbol];
    let orders = [Loss::TickEvicted, Loss::OrderEvicted];
    harmful.into_iter().chain(messages).chain(orders).any(|loss| losses.count(loss) > 0)
        || losses.total(Level::Stream) > 0
}
