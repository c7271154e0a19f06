//! `tickscope doctor`: is this machine fit to capture, and what to change. Facts come from `tickscope_nic::facts`; everything here
//! is a function of them: `machine`, `clocks` and `interface` judge, `print` shows. Nothing is changed on the machine.

mod clocks;
mod interface;
mod kinds;
mod machine;
mod print;
#[cfg(test)]
mod samples;

use std::io::{self, IsTerminal, Write};

use serde_json::Value;
use tickscope_nic::facts::{self, Fact, Interface, Machine};

pub use self::kinds::{INTERFACE_KINDS, Kind, MACHINE_KINDS};
use super::Outcome;
use super::args::{DisplayArgs, DoctorArgs};
use crate::write::Style;

/// From the best to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Ok,
    /// It may not be looked at, or nobody says.
    Unknown,
    /// Captures, but worse than it could.
    Warn,
    /// Does not capture, or gives wrong times.
    Bad,
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Unknown => "unknown",
            Verdict::Warn => "warn",
            Verdict::Bad => "bad",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq)]
struct Check {
    kind: &'static Kind,
    verdict: Verdict,
    /// What was found, with its unit.
    found: String,
    /// Where that stands.
    from: String,
    /// The same for scripts.
    values: Vec<(&'static str, Value)>,
    /// What changes it, each by itself.
    commands: Vec<String>,
}

impl Check {
    fn new(kind: &'static Kind, verdict: Verdict, found: impl Into<String>, from: &str) -> Check {
        Check { kind, verdict, found: found.into(), from: from.to_owned(), values: Vec::new(), commands: Vec::new() }
    }

    fn value(mut self, name: &'static str, value: impl Into<Value>) -> Check {
        self.values.push((name, value.into()));
        self
    }

    fn command(mut self, command: impl Into<String>) -> Check {
        self.commands.push(command.into());
        self
    }
}

/// Judges what is known; what is not known is said with its reason.
fn judged<T>(kind: &'static Kind, fact: &Fact<T>, judge: impl FnOnce(&T) -> Check) -> Check {
    match &fact.found {
        Ok(found) => judge(found),
        Err(why) => Check::new(kind, Verdict::Unknown, format!("not known: {why}"), &fact.from),
    }
}

/// Checks of the machine or of one interface.
struct Group {
    interface: Option<String>,
    checks: Vec<Check>,
}

/// Everything that was checked.
struct Findings {
    groups: Vec<Group>,
    /// Interfaces that nobody named and that are not in use.
    left_out: Vec<String>,
}

impl Findings {
    fn checks(&self) -> impl Iterator<Item = &Check> {
        self.groups.iter().flat_map(|group| &group.checks)
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.checks().filter(|check| check.verdict == verdict).count()
    }

    fn verdict(&self) -> Verdict {
        self.checks().map(|check| check.verdict).max().unwrap_or(Verdict::Unknown)
    }
}

pub(super) fn run(arguments: &DoctorArgs) -> anyhow::Result<Outcome> {
    let (names, left_out) = if arguments.interfaces.is_empty() {
        facts::interface_names().found.map_err(|why| anyhow::anyhow!("the interfaces cannot be listed: {why}"))?
    } else {
        (arguments.interfaces.clone(), Vec::new())
    };
    let machine = facts::machine();
    let interfaces: Vec<Interface> = names.iter().map(|name| facts::interface(name)).collect();
    let mut findings = examine(&machine, &interfaces, !arguments.interfaces.is_empty());
    findings.left_out = left_out;
    let mut out = io::stdout().lock();
    if arguments.json {
        serde_json::to_writer_pretty(&mut out, &print::json(&findings))?;
        writeln!(out)?;
    } else {
        let display = DisplayArgs { color: arguments.color, ..DisplayArgs::default() };
        let style = Style { color: display.is_colored(&io::stdout()), ..Style::default() };
        let detail = print::Detail { is_quiet: arguments.quiet, is_verbose: arguments.verbose };
        for line in print::text(&findings, &style, width(), detail) {
            writeln!(out, "{line}")?;
        }
    }
    Ok(if findings.verdict() == Verdict::Bad { Outcome::CheckFailed } else { Outcome::Done })
}

/// All checks, a function of the facts. Of an interface that somebody named more is expected.
fn examine(machine: &Machine, interfaces: &[Interface], is_named: bool) -> Findings {
    let mut checks = machine::checks(machine, interfaces);
    checks.extend(clocks::checks(machine));
    checks.extend(machine::processors(machine));
    let mut groups = vec![Group { interface: None, checks }];
    for interface in interfaces {
        let checks = interface::checks(interface, machine, is_named);
        groups.push(Group { interface: Some(interface.name.clone()), checks });
    }
    Findings { groups, left_out: Vec::new() }
}

/// As wide as the terminal, within what reads well. Elsewhere COLUMNS counts.
fn width() -> usize {
    let stdout = io::stdout();
    let terminal = stdout.is_terminal().then(|| rustix::termios::tcgetwinsize(&stdout).ok()).flatten();
    let columns = || std::env::var("COLUMNS").ok()?.parse().ok();
    terminal
        .map(|size| usize::from(size.ws_col))
        .filter(|width| *width > 0)
        .or_else(columns)
        .unwrap_or(100)
        .clamp(80, 120)
}

/// Checks with this name, for tests.
#[cfg(test)]
fn only<'a>(checks: &'a [Check], name: &str) -> &'a Check {
    checks.iter().find(|check| check.kind.name == name).unwrap_or_else(|| panic!("there is no check {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_verdict_is_that_of_the_whole() {
        let machine = samples::machine();
        let whole = |interfaces: &[Interface], is_named| examine(&machine, interfaces, is_named).verdict();
        assert_eq!(whole(&[samples::interface()], true), Verdict::Ok, "the samples are a fit machine");
        let dark = samples::interface_with(|interface| samples::state(interface).has_carrier = false);
        assert_eq!(whole(&[samples::interface(), dark], true), Verdict::Bad);
        let nothing = Findings { groups: Vec::new(), left_out: Vec::new() };
        assert_eq!(nothing.verdict(), Verdict::Unknown);
    }

    /// What the manual lists is what is checked, each once.
    #[test]
    fn every_kind_of_check_is_made() {
        let findings = examine(&samples::machine(), &[samples::interface()], true);
        for (group, kinds) in findings.groups.iter().zip([MACHINE_KINDS, INTERFACE_KINDS]) {
            let made: Vec<&str> = group.checks.iter().map(|check| check.kind.name).collect();
            let listed: Vec<&str> = kinds.iter().map(|kind| kind.name).collect();
            assert_eq!(made, listed);
        }
    }

    #[test]
    fn this_machine_is_examined() {
        let names = facts::interface_names().found.expect("/proc is there").0;
        let interfaces: Vec<Interface> = names.iter().map(|name| facts::interface(name)).collect();
        let findings = examine(&facts::machine(), &interfaces, false);
        assert_eq!(findings.groups.len(), names.len() + 1);
        let is_said = |check: &Check| !check.found.is_empty() && !check.from.is_empty();
        assert!(findings.checks().all(is_said));
    }
}
