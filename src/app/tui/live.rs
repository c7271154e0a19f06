//! The screen of a run of `live` at a terminal: it reads from the run's own publisher, over a pair, on a thread of its own. When
//! the user leaves it the run ends; when the run ends, so does its stream, and with it the screen.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};

use signal_hook::consts::SIGHUP;
use tickscope_tui::{Connection, Ended};
use tracing::{info, warn};

use super::args::ScreenArgs;
use super::{dissect, options};
use crate::app::args::{ClockArgs, DisplayArgs};
use crate::app::config::Settings;
use crate::app::log::Hold;
use crate::app::stop;

/// See the head of this file.
pub(in crate::app) struct LiveScreen(JoinHandle<()>);

impl LiveScreen {
    pub(in crate::app) fn start(
        stream: UnixStream,
        settings: &Settings,
        screen: &ScreenArgs,
        display: (&ClockArgs, &DisplayArgs),
        title: String,
    ) -> io::Result<LiveScreen> {
        let (options, dissect) = (options(screen, settings, display, title), dissect::dissector(settings));
        let hold = Hold::new();
        let run = move || {
            let shown = tickscope_tui::run(Connection::Given(stream), options, dissect);
            drop(hold);
            match shown {
                // By SIGHUP the configuration is read again; where it was the terminal that went, the run goes on without.
                Ok(Ended::Signal(SIGHUP)) => info!("the screen ended by SIGHUP; the run goes on"),
                Ok(Ended::Quit | Ended::Signal(_)) => stop().store(true, Ordering::Relaxed),
                Ok(Ended::Closed) => (),
                // What is measured can be read elsewhere, and is reported at the end.
                Err(error) => warn!("there is no screen: {error}; the run goes on"),
            }
        };
        thread::Builder::new().name("screen".to_owned()).spawn(run).map(LiveScreen)
    }

    /// Waits until the terminal is as it was.
    pub(in crate::app) fn end(self) {
        if let Err(panicked) = self.0.join() {
            std::panic::resume_unwind(panicked);
        }
    }
}
