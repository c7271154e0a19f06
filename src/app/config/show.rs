//! `config show`: the configuration in force as a TOML file that can be read again, each line with its origin.

use std::fmt::Write;

use super::Search;
use super::keys::{Key, Table, keys_of};
use super::settings::{Entry, Origin, Settings};

/// Width of `key = value` before the comment with its origin.
const VALUE_WIDTH: usize = 36;

/// The whole text.
pub(super) fn text(settings: &Settings, search: &Search) -> String {
    let mut text = String::new();
    let file = search.found.as_ref().map(|found| (found.path.display(), found.because));
    match file {
        Some((path, because)) => line(&mut text, &format!("# file: {path} ({because})")),
        None => line(&mut text, "# no configuration file: defaults"),
    }
    if search.is_local_refused {
        line(&mut text, "# ./tickscope.toml is not read as root; name it with --config");
    }
    for &table in Table::ALL {
        if table.is_repeated() {
            let count = settings.entries.iter().filter(|entry| entry.key.table == table).map(|entry| entry.index + 1);
            for index in 0..count.max().unwrap_or(0) {
                one_table(&mut text, settings, table, index);
            }
        } else {
            one_table(&mut text, settings, table, 0);
        }
    }
    text
}

fn one_table(text: &mut String, settings: &Settings, table: Table, index: usize) {
    let lines: Vec<String> =
        keys_of(table).filter_map(|key| one_key(settings, key, settings.entry(table, index, key.name))).collect();
    if !lines.is_empty() {
        line(text, &format!("\n{}", table.header()));
        for one in &lines {
            line(text, one);
        }
    }
}

/// `key = value  # origin`; nothing for a key that has neither a value nor a default.
fn one_key(settings: &Settings, key: &Key, entry: Option<&Entry>) -> Option<String> {
    let (value, origin) = match entry {
        Some(entry) => (entry.value.as_str(), origin(settings, entry)),
        None if key.default.is_empty() => return None,
        None => (key.default, "default".to_owned()),
    };
    Some(format!("{:VALUE_WIDTH$} # {origin}", format!("{} = {value}", key.name)))
}

fn origin(settings: &Settings, entry: &Entry) -> String {
    match entry.origin {
        Origin::File { line, .. } => {
            let file = settings.file.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
            format!("{file}:{line}")
        }
        Origin::CommandLine(option) => format!("command line, {option}"),
    }
}

fn line(text: &mut String, one: &str) {
    writeln!(text, "{one}").expect("writing to a String does not fail");
}
