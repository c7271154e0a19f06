//! Rules of ARCHITECTURE.md and STYLE.md that no other tool knows. Lists of exceptions may only shrink: an exception
//! that is not needed any more fails as well. (That the manual names every loss and flag is checked by tests/man.rs.)

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::support::root;

const FILE_LINES: usize = 600;
const FUNCTION_LINES: usize = 70;

/// Files that are longer and still have to be divided.
const LONG_FILES: &[&str] = &[];
/// Functions that are longer and still have to be divided.
const LONG_FUNCTIONS: &[&str] = &["src/merge/lines.rs: other", "src/pair/pairer.rs: opened"];
/// Files that do not say what they are: lists of modules, whose folder says it.
const SILENT: &[&str] = &["tests/suite/mod.rs"];

/// The stages in the order of the data flow; each may use itself and what stands before it.
const STAGES: [&str; 7] = ["capture", "dissect", "flow", "merge", "pair", "stats", "write"];
/// A stage that uses one on its right, and why.
const UPSTREAM: &[(&str, &str, &str)] = &[("merge", "stats", "the delay of the other line is a histogram")];

/// Crates of others, and the only places in `src/` that may name them.
const ROOMS: &[(&str, &[&str])] = &[
    ("anyhow", &["app"]),
    ("base64", &["write"]),
    ("clap", &["app"]),
    ("clap_complete", &["app"]),
    ("clap_mangen", &["app"]),
    ("flate2", &["capture"]),
    ("foldhash", &["hash"]),
    ("hdrhistogram", &["stats"]),
    ("indicatif", &["app"]),
    ("jiff", &["app", "write"]),
    ("libc", &["capture"]),
    ("liblzma", &["capture"]),
    ("lz4", &["capture"]),
    ("mimalloc", &["main"]),
    ("parquet", &["write"]),
    ("regex_lite", &["app", "pair"]),
    ("rustix", &["app", "live"]),
    ("serde_json", &["app", "pipeline", "write"]),
    ("signal_hook", &["app"]),
    ("strsim", &["app"]),
    ("tempfile", &["write"]),
    ("thiserror", &["capture", "dissect"]),
    // `capture` holds what a decoder's skimmer saw in a block, and never calls one.
    ("tickscope_decoders", &["app", "capture", "flow", "merge", "pipeline"]),
    ("tickscope_nic", &["app", "live"]),
    ("tickscope_sim", &["app"]),
    ("tickscope_tui", &["app"]),
    ("toml", &["app"]),
    ("tracing", &["app"]),
    ("zstd", &["capture", "live"]),
];

/// Crates of our own that the members of the workspace may use.
const OWN: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("decoders", &["tickscope-model"]),
    ("nic", &[]),
    ("tui", &[]), // it draws what a reader of the socket is told
    ("sim", &[]), // its own encoders: with shared code a mistake in both directions would cancel out
];

/// Where `unsafe` may stand.
const UNSAFE: &[&str] =
    &["src/capture/", "src/prefetch.rs", "nic/", "fuzz/src/memory.rs", "tests/live/", "tests/suite/allocation.rs"];

/// Every Rust file of the project: path below the root, and its text.
fn sources() -> Vec<(String, String)> {
    let mut folders: Vec<PathBuf> = ["src", "model", "decoders", "nic", "sim", "tui", "tests", "fuzz", "benches"]
        .map(|name| root().join(name))
        .to_vec();
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.expect("a readable entry").path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).expect("below it").to_string_lossy().into_owned();
                found.push((name, std::fs::read_to_string(&path).expect("UTF-8")));
            }
        }
    }
    found.sort();
    assert!(found.len() > 100, "{} files", found.len());
    found
}

/// Fails where the findings are not exactly the exceptions.
fn check(rule: &str, found: &BTreeSet<String>, exceptions: &[&str]) {
    let exceptions: BTreeSet<String> = exceptions.iter().map(|&name| name.to_owned()).collect();
    let new: Vec<&String> = found.difference(&exceptions).collect();
    let gone: Vec<&String> = exceptions.difference(found).collect();
    assert!(new.is_empty(), "{rule}: {new:#?}");
    assert!(gone.is_empty(), "{rule}: these exceptions are not needed any more, take them out: {gone:#?}");
}

#[test]
fn no_file_is_too_long() {
    let long = sources().into_iter().filter(|(_, text)| text.lines().count() > FILE_LINES);
    check("files over 600 lines", &long.map(|(name, _)| name).collect(), LONG_FILES);
}

/// Functions of formatted code: name and number of lines, from the line with `fn` to the brace in the same column.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let trimmed = line.trim_start();
        let words: Vec<&str> = trimmed.split_whitespace().collect();
        let Some(at) = words.iter().position(|&word| word == "fn") else { continue };
        let is_item = words[..at]
            .iter()
            .all(|word| word.starts_with("pub") || matches!(*word, "const" | "unsafe" | "extern" | "\"C\"" | "async"));
        let Some(name) = words.get(at + 1).filter(|_| is_item) else { continue };
        let signature_end = lines[start..].iter().position(|line| line.ends_with(['{', ';', '}']));
        let has_body = signature_end.is_some_and(|end| lines[start + end].ends_with('{'));
        let close = format!("{}}}", &line[..line.len() - trimmed.len()]);
        if let Some(length) = lines[start..].iter().position(|line| *line == close).filter(|_| has_body) {
            let name: String = name.chars().take_while(|&letter| letter.is_alphanumeric() || letter == '_').collect();
            found.push((name, length + 1));
        }
    }
    found
}

#[test]
fn no_function_is_too_long() {
    let mut long = BTreeSet::new();
    let mut seen = 0;
    for (file, text) in sources() {
        for (name, lines) in functions(&text) {
            seen += 1;
            if lines > FUNCTION_LINES {
                long.insert(format!("{file}: {name}"));
            }
        }
    }
    assert!(seen > 1000, "only {seen} functions were found");
    check("functions over 70 lines", &long, LONG_FUNCTIONS);
}

/// `src/pair/row.rs` is of stage `pair`.
fn stage_of(file: &str) -> Option<&str> {
    file.strip_prefix("src/")?.split(['/', '.']).next()
}

/// Stages that a text names behind `crate::`, also in `use crate::{a, b}`.
fn used_stages(text: &str) -> BTreeSet<&'static str> {
    let mut found = BTreeSet::new();
    for rest in code(text).split("crate::").skip(1) {
        let names: Vec<&str> = match rest.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap_or(list).split(',').collect(),
            None => vec![rest],
        };
        for name in names {
            let is_name = |letter: &char| letter.is_alphanumeric() || *letter == '_';
            let name: String = name.trim().chars().take_while(is_name).collect();
            found.extend(STAGES.iter().find(|stage| **stage == name));
        }
    }
    found
}

/// The text without comments and without its unit tests, which stand last.
fn code(text: &str) -> String {
    let before_tests = text.split("#[cfg(test)]\nmod tests {").next().expect("split gives one");
    before_tests.lines().map(|line| line.split("//").next().expect("split gives one")).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_stage_uses_only_what_lies_left_of_it() {
    let mut wrong = BTreeSet::new();
    let (mut excepted, mut uses) = (BTreeSet::new(), 0);
    for (file, text) in sources() {
        let Some(stage) = stage_of(&file).filter(|stage| STAGES.contains(stage)) else { continue };
        let place = |name: &str| STAGES.iter().position(|stage| *stage == name).expect("a stage");
        for other in used_stages(&text) {
            uses += 1;
            if place(other) <= place(stage) {
                continue;
            }
            if UPSTREAM.iter().any(|(from, to, _)| (*from, *to) == (stage, other)) {
                excepted.insert((stage.to_owned(), other));
            } else {
                wrong.insert(format!("{file} uses {other}"));
            }
        }
    }
    assert!(uses > 15, "only {uses} uses were found");
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(excepted.len(), UPSTREAM.len(), "an exception is not needed any more: {UPSTREAM:?}");
}

/// Whether code names a crate: `name::` that no longer word ends in.
fn names(code: &str, name: &str) -> bool {
    code.match_indices(&format!("{name}::")).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        !before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_' || letter == ':')
    })
}

#[test]
fn crates_of_others_stay_in_their_rooms() {
    let mut rooms: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (file, text) in sources() {
        let Some(stage) = stage_of(&file) else { continue };
        let code = code(&text);
        for (name, _) in ROOMS.iter().filter(|(name, _)| names(&code, name)) {
            rooms.entry(name).or_default().insert(stage.to_owned());
        }
    }
    for (name, allowed) in ROOMS {
        let found = rooms.remove(name).unwrap_or_default();
        let allowed: BTreeSet<String> = allowed.iter().map(|&room| room.to_owned()).collect();
        assert_eq!(found, allowed, "where {name} is named in src/");
    }
}

/// Keys of the `[dependencies]` of a manifest.
fn dependencies(manifest: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(manifest).unwrap_or_else(|error| panic!("{}: {error}", manifest.display()));
    let table: toml::Table = text.parse().expect("TOML");
    table.get("dependencies").and_then(toml::Value::as_table).expect("dependencies").keys().cloned().collect()
}

#[test]
fn every_crate_of_others_has_a_room() {
    let known: BTreeSet<String> = ROOMS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let mut used: BTreeSet<String> =
        dependencies(&root().join("Cargo.toml")).into_iter().map(|name| name.replace('-', "_")).collect();
    assert!(used.remove("tickscope_model"), "everybody speaks in the model's words");
    assert_eq!(used, known, "Cargo.toml, and ROOMS of tests/suite/tidy.rs");
}

#[test]
fn members_know_only_whom_they_may() {
    for (member, allowed) in OWN {
        let own = dependencies(&root().join(member).join("Cargo.toml"));
        let own: Vec<&str> = own.iter().map(String::as_str).filter(|name| name.starts_with("tickscope")).collect();
        assert_eq!(own, *allowed, "{member}/Cargo.toml");
    }
}

#[test]
fn unsafe_code_stays_where_it_is_allowed() {
    let mut seen = BTreeSet::new();
    for (file, text) in sources() {
        let code = code(&text);
        let has = ["unsafe {", "unsafe impl", "unsafe fn"].iter().any(|word| code.contains(word));
        if has && file != "tests/suite/tidy.rs" {
            let place = UNSAFE.iter().find(|place| file.starts_with(**place));
            seen.insert(place.unwrap_or_else(|| panic!("{file} has unsafe code")));
        }
    }
    assert_eq!(seen.len(), UNSAFE.len(), "a place is not needed any more: {UNSAFE:?}");
}

#[test]
fn what_is_left_to_do_names_its_issue() {
    // Put together here, so that this file does not find itself.
    let marks = [["TO", "DO"], ["FIX", "ME"], ["XX", "X"]].map(|parts| parts.concat());
    for (file, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            let comment = line.split_once("//").map_or("", |(_, comment)| comment);
            if marks.iter().any(|mark| comment.contains(mark.as_str())) {
                let has_issue = comment.contains("issue ") || comment.contains('#');
                assert!(has_issue, "{file}:{}: without an issue: {line}", number + 1);
            }
        }
    }
}

#[test]
fn every_file_opens_with_what_it_is() {
    let is_silent = |text: &str| !text.lines().take(3).any(|line| line.starts_with("//!"));
    let silent = sources().into_iter().filter(|(_, text)| is_silent(text)).map(|(name, _)| name);
    check("files that do not open with a sentence", &silent.collect(), SILENT);
}

#[test]
fn protocols_name_their_specification() {
    let mut names = BTreeSet::new();
    for protocol in tickscope_decoders::PROTOCOLS {
        assert!(!protocol.title.is_empty() && protocol.spec.len() > 10, "{}", protocol.name);
        assert!(names.insert(protocol.name), "{} is there twice", protocol.name);
    }
}

#[test]
fn captures_that_ship_are_small() {
    let mut folders = vec![root().join("captures")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a readable folder") {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                assert!(path.metadata().expect("it is there").len() < 1 << 20, "{} is over 1 MiB", path.display());
            }
        }
    }
}
