//! `SIGHUP`: the configuration file is read again. What can change while frames come does; of the rest it is said which key it is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::{error, info, warn};

use super::args::LiveArgs;
use super::config::keys::Table;
use super::config::{Settings, command, load};
use super::recording::Recording;

/// Keys of `[live]` that are applied.
const APPLIED: [&str; 6] =
    ["record_size", "record_time", "record_total", "flight_over", "hlog_interval", "hlog_rotate"];

/// Table, place among tables of its kind, and name of a key, with its value as it stands in the file.
type Values = BTreeMap<(Table, usize, &'static str), (String, String)>;

/// See the head of this file.
pub(super) struct Reload {
    is_asked: Arc<AtomicBool>,
    /// What the file says that is in force.
    values: Values,
}

impl Reload {
    pub(super) fn start(arguments: &LiveArgs) -> anyhow::Result<Reload> {
        let is_asked = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(signal_hook::consts::SIGHUP, Arc::clone(&is_asked))?;
        Ok(Reload { is_asked, values: values(&load(&command::find(arguments.file.config.as_deref()))?) })
    }

    /// To be called again and again.
    pub(super) fn advance(&mut self, arguments: &LiveArgs, recording: &mut Recording) {
        if !self.is_asked.swap(false, Ordering::Relaxed) {
            return;
        }
        match load(&command::find(arguments.file.config.as_deref())) {
            Ok(settings) => self.apply(settings, arguments, recording),
            Err(error) => error!("SIGHUP: {error:#}; what was in force stays"),
        }
    }

    fn apply(&mut self, mut settings: Settings, arguments: &LiveArgs, recording: &mut Recording) {
        let new = values(&settings);
        let mut changed: Vec<_> = new.iter().filter(|(key, value)| self.values.get(key) != Some(value)).collect();
        changed.extend(self.values.iter().filter(|(key, _)| !new.contains_key(key)));
        let (mut applied, mut refused) = (Vec::new(), Vec::new());
        for (key, (path, _)) in changed {
            let is_known = key.0 == Table::Live && APPLIED.contains(&key.2);
            let is_idle = key.2 == "flight_over" && !recording.watches_orders();
            (if is_known && !is_idle { &mut applied } else { &mut refused }).push((*key, path.clone()));
        }
        arguments.record.apply(&mut settings);
        recording.change(&settings);
        for (key, path) in &applied {
            if let Some(value) = new.get(key) {
                info!("SIGHUP: {path} = {}, but for what the command line says", value.1);
                self.values.insert(*key, value.clone());
            } else {
                info!("SIGHUP: {path} has its default again");
                self.values.remove(key);
            }
        }
        for (_, path) in &refused {
            warn!("SIGHUP: {path} cannot change while live runs: restart it");
        }
        if applied.is_empty() && refused.is_empty() {
            info!("SIGHUP: the configuration says nothing new");
        }
    }
}

fn values(settings: &Settings) -> Values {
    let entries = settings.entries.iter();
    entries
        .map(|entry| ((entry.key.table, entry.index, entry.key.name), (entry.key.path(), entry.value.clone())))
        .collect()
}
