//! Sections of tickscope-tui(1). Its keys come from the map of keys that the screen itself goes by.

use clap_mangen::roff::bold;
use tickscope_tui::{Screen, key_table};

use super::Writer;

/// What is on each screen.
fn about(screen: Screen) -> &'static str {
    match screen {
        Screen::Overview => {
            "Which side slowed, since when and by how much; internal and external latency as histograms and over time; rates, losses and clocks."
        }
        Screen::Segments => {
            "Every latency with its percentiles, of all requests or by session, symbol, venue, outcome or method."
        }
        Screen::Histogram => {
            "One latency: its histogram and percentiles, beside those of another group or of a moment before."
        }
        Screen::Orders => {
            "Requests as they are done, filtered and sorted; one of them with its timeline, what could have caused it, and its packets."
        }
        Screen::Sessions => "Order-entry sessions, and market-data feeds with their lines.",
        Screen::Health => "What became of every frame, byte, message and order, by tap and reason; clocks and stamps.",
    }
}

pub(super) fn sections(page: &mut Writer) {
    page.section("SCREENS");
    for screen in Screen::ALL {
        page.item(vec![bold(screen.name())], about(screen));
    }
    page.section("FIGURES");
    page.paragraph(
        "Latencies are nanoseconds, shown in the unit of their size with three decimals as in the report, or all in one unit (u): in ns \
         they are the integers of --json. * stands behind a percentile with fewer than ten samples above it; ~ before those of a part of \
         the run (w), which rest on buckets a sixteenth of a power of two wide: they are at most 6.25 % too high. Charts over time have \
         a column for a moment or several; darker is fewer.",
    );
    page.paragraph(
        "lost, in the first line, counts frames that NIC, kernel, a ring or a queue lost or that no stage could read, and messages that \
         could not be used; bytes that are missing in TCP streams and messages that are missing in feeds stand on the overview by \
         themselves, and every reason on the screen health. A request without a trigger is not lost. answer, of an order, is the first \
         of ack, reject, first_fill, cancel_ack and replace_ack.",
    );
    page.section("KEYS");
    for (group, keys) in key_table() {
        page.subsection(group);
        for (key, text) in keys {
            page.item(vec![bold(key)], text);
        }
    }
    page.section("CAPTURES");
    page.paragraph(
        "Captures are read as by tickscope-analyze(1), with the same configuration, and the figures of their end are those of its \
         report, digit for digit. Then up to 300 moments of their time can be seen, evenly apart: each with the figures of the \
         requests that were sent up to then. Taps, feeds, conversations, losses and which side slowed are those of the whole.",
    );
    page.paragraph(
        "All requests are in the figures. At most 500,000 can be looked at one by one: of more, the 10,000 slowest by tick-to-trade, \
         as many by the exchange's first answer, and the newest. What could have caused a request is kept for fewer, of more than a \
         million such messages. The packets of a request are read from the captures once more; those of standard input are gone.",
    );
    page.section("DAEMONS");
    page.paragraph(
        "The screen is a reader of the socket of tickscope-live(1) like any other, see tickscope-socket(7), and may read and write \
         it: a daemon's socket is for its owner and group. tickscope live at a terminal shows the same screen of itself, where \
         leaving it ends the run. Notes and warnings are printed when the screen is gone.",
    );
}
