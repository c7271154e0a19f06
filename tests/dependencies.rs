//! What `deny.toml` says about licences, banned crates and duplicates, held without other tools or network: `cargo tree`
//! names every crate that is compiled and its licence. `cargo deny check`, where it is installed, reads the same file.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Name, version, licence of every crate that is compiled here and is not ours.
fn crates() -> BTreeSet<(String, String, String)> {
    let arguments =
        ["tree", "--workspace", "--locked", "--offline", "--all-features", "--prefix=none", "--format={p}|{l}"];
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(ROOT).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let crates: BTreeSet<_> = text
        .lines()
        .filter_map(|line| line.split_once('|'))
        .filter(|(package, _)| !package.contains(ROOT))
        .map(|(package, licence)| {
            let mut words = package.split(' ');
            let (name, version) = (words.next().unwrap(), words.next().unwrap().trim_start_matches('v'));
            (name.to_owned(), version.to_owned(), licence.trim_end_matches(" (*)").to_owned())
        })
        .collect();
    assert!(crates.iter().any(|(name, _, _)| name == "clap"), "cargo tree says something else than expected:\n{text}");
    crates
}

fn rules() -> toml::Table {
    std::fs::read_to_string(format!("{ROOT}/deny.toml")).unwrap().parse().unwrap()
}

fn strings(rules: &toml::Table, section: &str, list: &str, key: Option<&str>) -> Vec<String> {
    let items = rules[section][list].as_array().unwrap().iter();
    items.map(|item| key.map_or(item, |key| &item[key]).as_str().unwrap().to_owned()).collect()
}

/// Whether an SPDX expression can be met with the allowed licences. The old form with `/` means OR.
fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ").replace(" WITH ", "\u{1}");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let met = either(&tokens, &mut at, allowed);
    met && at == tokens.len()
}

fn either(tokens: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let mut met = both(tokens, at, allowed);
    while tokens.get(*at) == Some(&"OR") {
        *at += 1;
        met |= both(tokens, at, allowed);
    }
    met
}

fn both(tokens: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let mut met = one(tokens, at, allowed);
    while tokens.get(*at) == Some(&"AND") {
        *at += 1;
        met &= one(tokens, at, allowed);
    }
    met
}

fn one(tokens: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let Some(token) = tokens.get(*at) else { return false };
    *at += 1;
    if *token != "(" {
        let name = token.replace('\u{1}', " WITH ");
        return allowed.contains(&name);
    }
    let met = either(tokens, at, allowed);
    *at += 1; // the closing parenthesis
    met
}

#[test]
fn licence_expressions_are_understood() {
    let allowed = ["MIT".to_owned(), "A WITH e".to_owned()];
    for (expression, expected) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0/MIT", true),
        ("MIT AND GPL-3.0", false),
        ("(MIT OR GPL-3.0) AND MIT", true),
        ("(MIT OR GPL-3.0) AND GPL-3.0", false),
        ("A WITH e", true),
        ("A", false),
        ("", false),
    ] {
        assert_eq!(is_allowed(expression, &allowed), expected, "{expression}");
    }
}

#[test]
fn every_licence_is_allowed() {
    let allowed = strings(&rules(), "licenses", "allow", None);
    let bad: Vec<_> = crates().into_iter().filter(|(_, _, licence)| !is_allowed(licence, &allowed)).collect();
    assert!(bad.is_empty(), "not allowed by [licenses] of deny.toml: {bad:?}");
}

#[test]
fn banned_crates_are_not_there() {
    let banned = strings(&rules(), "bans", "deny", Some("crate"));
    let bad: Vec<_> = crates().into_iter().filter(|(name, _, _)| banned.contains(name)).collect();
    assert!(bad.is_empty(), "banned by deny.toml: {bad:?}");
}

#[test]
fn a_crate_is_there_in_one_version_or_has_its_reason() {
    let skipped = strings(&rules(), "bans", "skip", Some("crate"));
    let is_skipped = |name: &str, version: &str| {
        skipped.iter().any(|skip| {
            let (skipped, prefix) = skip.split_once('@').unwrap_or((skip, ""));
            skipped == name && (version == prefix || version.starts_with(&format!("{prefix}.")))
        })
    };
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, version, _) in crates() {
        if !is_skipped(&name, &version) {
            versions.entry(name).or_default().push(version);
        }
    }
    versions.retain(|_, versions| versions.len() > 1);
    assert!(versions.is_empty(), "several versions, and no reason in [bans] skip of deny.toml: {versions:?}");
    for skip in &skipped {
        let name = skip.split('@').next().unwrap_or_default();
        assert!(crates().iter().filter(|(other, _, _)| other == name).count() > 1, "{skip} is no duplicate any more");
    }
}
