//! The command line as a person meets it: texts and exit codes from `tests/cmd/` (TRYCMD=overwrite rewrites them; read
//! the difference), and what a text file cannot say: closed pipes, streams, who runs it.

use std::fs;
use std::process::{Command, Output, Stdio};

fn tickscope() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tickscope"));
    // Nothing of the machine that runs the tests may show.
    command.env_clear().env("HOME", "/nonexistent").env("COLUMNS", "100");
    command
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("output is UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("output is UTF-8")
}

#[test]
fn texts_and_exit_codes_are_as_written_down() {
    trycmd::TestCases::new()
        .env("HOME", "/nonexistent")
        .env("XDG_CONFIG_HOME", "/nonexistent")
        .env("COLUMNS", "100")
        .case("tests/cmd/*.trycmd");
}

#[test]
fn a_closed_pipe_is_success() {
    for arguments in [&["completions", "bash"][..], &["config", "show"], &["--help"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = tickscope().args(arguments).stdout(writer).stderr(Stdio::piped()).output().expect("it runs");
        assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""), "{arguments:?}");
    }
}

#[test]
fn asked_for_help_is_output_and_wrong_usage_is_not() {
    let asked = tickscope().args(["help", "decode"]).output().expect("it runs");
    assert!(asked.status.success() && stderr(&asked).is_empty() && stdout(&asked).contains("--filter"));
    let wrong = tickscope().arg("--no-such-option").output().expect("it runs");
    assert!(wrong.status.code() == Some(2) && stdout(&wrong).is_empty() && !stderr(&wrong).is_empty());
}

#[test]
fn a_screen_needs_a_terminal() {
    let output = tickscope().arg("tui").stdin(Stdio::null()).output().expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--once prints it once"), "{}", stderr(&output));
}

#[test]
fn every_shell_gets_a_script_that_knows_the_options() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = tickscope().args(["completions", shell]).output().expect("it runs");
        let script = stdout(&output);
        assert!(output.status.success() && script.contains("segments") && script.contains("no-progress"), "{shell}");
    }
}

#[test]
fn root_does_not_read_the_file_of_the_working_directory() {
    let folder = std::env::temp_dir().join(format!("tickscope-cli-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder for the test");
    fs::write(folder.join("tickscope.toml"), "[trigger]\nwindow = \"7us\"\n").expect("a file for the test");
    let output = tickscope().args(["config", "show"]).current_dir(&folder).output().expect("it runs");
    let text = stdout(&output);
    if rustix::process::geteuid().is_root() {
        assert!(text.contains("./tickscope.toml is not read as root") && !text.contains("7us"), "{text}");
    } else {
        assert!(text.contains("# file: tickscope.toml (working directory)") && text.contains("7us"), "{text}");
    }
    fs::remove_dir_all(&folder).expect("the test's own folder can go");
}

#[test]
fn an_error_is_one_line_and_stays_off_stdout() {
    let output = tickscope().args(["analyze", "--config", "/nonexistent/x.toml", "x.pcap"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).is_empty());
    assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
    assert!(stderr(&output).starts_with("tickscope: error: /nonexistent/x.toml: "), "{}", stderr(&output));
}
