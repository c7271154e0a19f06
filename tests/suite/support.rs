//! What the tests share: the foreign captures, tables of text, and running the program.

use std::collections::HashMap;
use std::io::Read;
use std::ops::Index;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;

use serde_json::Value;
use tickscope::pair::{Rules, TriggerRule};

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folder of foreign captures. Where it is absent the test says so and passes, unless they are required.
#[expect(clippy::print_stderr, reason = "a skip has to be seen")]
pub(crate) fn captures() -> Option<PathBuf> {
    let folder =
        std::env::var_os("TICKSCOPE_CAPTURES").map_or_else(|| root().join("../shared/captures"), PathBuf::from);
    if folder.join("INDEX.tsv").exists() {
        return Some(folder);
    }
    let required = std::env::var_os("TICKSCOPE_REQUIRE_CAPTURES").is_some_and(|value| value == "1");
    assert!(!required, "TICKSCOPE_REQUIRE_CAPTURES=1, but there are no captures in {}", folder.display());
    eprintln!("SKIPPED: no foreign captures (TICKSCOPE_CAPTURES, default ../shared/captures)");
    None
}

/// A line of a table, read by the names of its columns.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    columns: Rc<HashMap<String, usize>>,
    cells: Vec<String>,
}

impl Row {
    pub(crate) fn number(&self, column: &str) -> i64 {
        let text = &self[column];
        text.parse().unwrap_or_else(|_| panic!("{column}: {text:?} is no number"))
    }
}

impl Index<&str> for Row {
    type Output = str;

    fn index(&self, column: &str) -> &str {
        let at = self.columns.get(column).unwrap_or_else(|| panic!("no column {column}"));
        self.cells.get(*at).map_or("", String::as_str)
    }
}

/// The text of a file, plain or gzip.
pub(crate) fn text(file: &Path) -> String {
    let bytes = std::fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return String::from_utf8(bytes).expect("UTF-8");
    }
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(&*bytes).read_to_string(&mut text).expect("gzip");
    text
}

/// A table with a header line. None of the tables at hand quotes its cells.
pub(crate) fn table(text: &str, separator: char) -> Vec<Row> {
    let mut lines = text.lines();
    let header = lines.next().expect("a header");
    let columns = Rc::new(header.split(separator).enumerate().map(|(at, name)| (name.to_owned(), at)).collect());
    lines
        .map(|line| Row { columns: Rc::clone(&columns), cells: line.split(separator).map(str::to_owned).collect() })
        .collect()
}

/// An oracle's table, with or without `.gz`.
pub(crate) fn oracle(file: &Path) -> Vec<Row> {
    let zipped = PathBuf::from(format!("{}.gz", file.display()));
    table(&text(if file.exists() { file } else { &zipped }), '\t')
}

/// How a run of the program ended.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs the program with nothing of this machine's settings.
pub(crate) fn tickscope<A: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = A>) -> Ran {
    tickscope_in(root(), arguments)
}

/// The same in a folder of the caller's choice.
pub(crate) fn tickscope_in<A: AsRef<std::ffi::OsStr>>(folder: &Path, arguments: impl IntoIterator<Item = A>) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tickscope"));
    command.env_clear().env("HOME", "/nonexistent").env("COLUMNS", "100").args(arguments).stdin(Stdio::null());
    let output = command.current_dir(folder).output().expect("it runs");
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("output is UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("output is UTF-8"),
    }
}

/// Output of a command that has to succeed.
pub(crate) fn succeeds(command: &str, options: &[&str], files: &[&Path]) -> String {
    let files = files.iter().map(|file| file.as_os_str());
    let ran = tickscope([command, "-q"].iter().chain(options).map(std::ffi::OsStr::new).chain(files));
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{command} {options:?}");
    ran.stdout
}

/// Rows of `--orders`.
pub(crate) fn orders(files: &[&Path]) -> Vec<Row> {
    table(&succeeds("analyze", &["--orders", "-"], files), ',')
}

/// The report as JSON. That everything adds up is checked here, so every test that reads a report checks it.
pub(crate) fn report(files: &[&Path]) -> Value {
    let report: Value = serde_json::from_str(&succeeds("analyze", &["--json"], files)).expect("JSON");
    assert_sound(&report, &format!("{files:?}"));
    report
}

pub(crate) fn assert_sound(report: &Value, context: &str) {
    let quality = &report["quality"];
    assert_eq!(quality["discrepancies"], Value::Array(Vec::new()), "{context}");
    assert_eq!(quality["adds_up"], Value::Bool(true), "{context}");
    let reasons: Vec<&Value> = quality["losses"].as_array().expect("an array").iter().collect();
    for (level, name) in [("frames", "frame"), ("stream_bytes", "stream"), ("messages", "message")] {
        let of = |key: &str| quality[level][key].as_u64().expect("a number");
        let lost: u64 = reasons
            .iter()
            .filter(|reason| reason["level"] == name)
            .map(|reason| reason["count"].as_u64().expect("a number"))
            .sum();
        assert_eq!((of("in"), of("lost")), (of("used") + lost, lost), "{level}: {context}");
    }
}

/// Lines of `decode`.
pub(crate) fn decoded(options: &[&str], file: &Path) -> Vec<Value> {
    let text = succeeds("decode", options, &[file]);
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

/// A loss of the report's account; 0 where it is not listed.
pub(crate) fn loss(report: &Value, reason: &str) -> u64 {
    let losses = report["quality"]["losses"].as_array().expect("an array");
    losses.iter().find(|loss| loss["reason"] == reason).map_or(0, |loss| loss["count"].as_u64().expect("a number"))
}

/// Compares a text with a file beside the tests; `BLESS=1` rewrites the file.
pub(crate) fn check_file(file: &Path, text: &str) {
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(file, text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
    let expected = std::fs::read_to_string(file).unwrap_or_default();
    if expected != text {
        let line = expected.lines().zip(text.lines()).position(|(one, other)| one != other);
        let line = line.unwrap_or_else(|| expected.lines().count().min(text.lines().count()));
        let at = |text: &str| text.lines().nth(line).unwrap_or("(end)").chars().take(400).collect::<String>();
        panic!(
            "{} is out of date, first in line {}; BLESS=1 rewrites it.\nfile: {}\nnow:  {}",
            file.display(),
            line + 1,
            at(&expected),
            at(text)
        );
    }
}

/// Pairing as without a configuration.
pub(crate) fn rules() -> Rules {
    Rules {
        // Books need every message, and tests read ahead.
        trigger: TriggerRule { keeps_books: false, ..TriggerRule::default() },
        ..Rules::default()
    }
}
