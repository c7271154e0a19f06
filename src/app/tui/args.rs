//! The options of the screen.
#![allow(clippy::doc_markdown, reason = "these comments are the help text, where backticks would be noise")]
#![allow(rustdoc::broken_intra_doc_links, reason = "likewise: [budget] is a table of the configuration")]

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueHint};
use tickscope_model::{Nanos, SegmentKind};
use tickscope_tui::{Screen, Theme};

use crate::app::args::{ClockArgs, DisplayArgs, FileArgs, PairingArgs, SelectionArgs};
use crate::app::config::live_keys::parse_over;
use crate::app::values::{self, CaptureArg};

/// See it on a screen: captures, or a daemon while it runs
///
/// Reads captures as `analyze` does, or connects to the socket of a running `live`, and shows the figures on a screen of the
/// terminal: which side slowed, every latency, the orders with what could have caused them and their packets, sessions, feeds
/// and losses. The time of captures can be played and stepped through. q leaves it, and never stops a daemon.
#[derive(Args, Debug, Default)]
#[command(after_help = values::EXAMPLES_TUI)]
pub struct TuiArgs {
    /// Capture files, as for `analyze`; without any, the running daemon is shown
    #[arg(value_name = "CAPTURE", help_heading = None, value_parser = values::capture(), value_hint = ValueHint::FilePath)]
    pub captures: Vec<CaptureArg>,

    /// Show the daemon of this Unix socket
    ///
    /// Without it and captures: live.sock in the first of $RUNTIME_DIRECTORY, $XDG_RUNTIME_DIR/tickscope and /run/tickscope
    /// that has one.
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath, help_heading = "Input", conflicts_with = "captures")]
    pub connect: Option<PathBuf>,

    #[command(flatten)]
    pub file: FileArgs,

    /// Print the screen once as text, and exit
    #[arg(long, help_heading = "Screen")]
    pub once: bool,

    /// With --once: print the snapshot as JSON instead, see tickscope-socket(7)
    #[arg(long, requires = "once", help_heading = "Screen")]
    pub json: bool,

    /// With --once: how large the screen is [default: the terminal's, else 120x40]
    #[arg(long, value_name = "COLSxROWS", requires = "once", value_parser = size, help_heading = "Screen")]
    pub size: Option<(u16, u16)>,

    #[command(flatten)]
    pub screen: ScreenArgs,

    #[command(flatten)]
    pub pairing: PairingArgs,

    #[command(flatten)]
    pub selection: SelectionArgs,

    #[command(flatten)]
    pub clock: ClockArgs,

    #[command(flatten)]
    pub display: DisplayArgs,
}

/// How the screen looks, whoever shows it.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Screen")]
pub struct ScreenArgs {
    /// Which screen comes first [default: overview]
    #[arg(long, value_name = "NAME", value_parser = screen())]
    pub screen: Option<Screen>,

    /// Its colours [default: dark, and none where --color or NO_COLOR wants none]
    ///
    /// What colours say is never said by colour alone.
    #[arg(long, value_name = "NAME", value_parser = theme())]
    pub theme: Option<Theme>,

    /// Draw with ASCII alone, for fonts without lines and blocks
    #[arg(long)]
    pub ascii: bool,

    /// Leave the mouse to the terminal
    #[arg(long)]
    pub no_mouse: bool,

    /// Mark this in the histograms and tables of a latency: t2t=50us; may be given several times
    ///
    /// Replaces the one in [budget] of the configuration.
    #[arg(long = "budget", value_name = "LATENCY=DURATION", value_parser = parse_over)]
    pub budgets: Vec<Vec<(SegmentKind, Nanos)>>,
}

fn screen() -> impl TypedValueParser<Value = Screen> {
    let names = PossibleValuesParser::new(Screen::ALL.iter().map(|one| one.name()));
    names.map(|name| Screen::parse(&name).expect("one of the names"))
}

fn theme() -> impl TypedValueParser<Value = Theme> {
    let names = PossibleValuesParser::new(Theme::ALL.iter().map(|one| one.name()));
    names.map(|name| Theme::parse(&name).expect("one of the names"))
}

/// `120x40`.
fn size(text: &str) -> Result<(u16, u16), String> {
    let number = |text: &str| text.parse::<u16>().ok().filter(|number| (1..=1000).contains(number));
    let size = text.split_once('x').and_then(|(columns, rows)| Some((number(columns)?, number(rows)?)));
    size.ok_or_else(|| "expected columns and rows, such as 120x40, each from 1 to 1000".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        for (text, expected) in [
            ("120x40", Some((120, 40))),
            ("1x1000", Some((1, 1000))),
            ("120", None),
            ("0x40", None),
            ("120x1001", None),
            ("120X40", None),
            ("ax40", None),
        ] {
            assert_eq!(size(text).ok(), expected, "{text}");
        }
    }
}
