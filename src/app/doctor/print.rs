//! Findings on the screen and as JSON. Of each check: verdict, title, what was found and where; of what is not ok also why it
//! matters, and the commands, which are never broken into lines, so that they can be copied.

use serde_json::{Value, json};

use super::{Check, Findings, Verdict};
use crate::write::{Style, printable, wrapped};

const VERDICT_WIDTH: usize = 7;
const TITLE_WIDTH: usize = 19;
/// Two blanks before each line and between columns.
const TEXT_AT: usize = 2 + VERDICT_WIDTH + 2 + TITLE_WIDTH + 2;
/// Commands stand further left than text, since most are long.
const COMMAND_AT: usize = 2 + VERDICT_WIDTH + 2;
const VERDICTS: [Verdict; 4] = [Verdict::Bad, Verdict::Warn, Verdict::Unknown, Verdict::Ok];

/// How much is said.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Detail {
    /// Only what is not ok.
    pub(super) is_quiet: bool,
    /// Also of what is ok why it matters.
    pub(super) is_verbose: bool,
}

/// Lines of at most `width` characters, but for commands.
pub(super) fn text(findings: &Findings, style: &Style, width: usize, detail: Detail) -> Vec<String> {
    let mut lines = Vec::new();
    for group in &findings.groups {
        let shown: Vec<&Check> =
            group.checks.iter().filter(|check| !detail.is_quiet || check.verdict != Verdict::Ok).collect();
        if shown.is_empty() {
            continue;
        }
        let title =
            group.interface.as_deref().map_or("MACHINE".to_owned(), |name| format!("INTERFACE {}", printable(name)));
        lines.push(style.heading(&title));
        for check in shown {
            lines.extend(check_lines(check, style, width, detail));
        }
        lines.push(String::new());
    }
    if !findings.left_out.is_empty() {
        let names = findings.left_out.join(", ");
        let text = format!("Not checked, since off or without a device: {names}");
        lines.extend(wrapped(&printable(&text), width, 2).iter().map(|line| style.faint(line)));
    }
    lines.push(summary(findings, style));
    lines
}

fn painted(verdict: Verdict, style: &Style, text: &str) -> String {
    match verdict {
        Verdict::Ok => style.good(text),
        Verdict::Unknown => style.faint(text),
        Verdict::Warn => style.warning(text),
        Verdict::Bad => style.bad(text),
    }
}

fn check_lines(check: &Check, style: &Style, width: usize, detail: Detail) -> Vec<String> {
    let room = width - TEXT_AT;
    let verdict = painted(check.verdict, style, &format!("{:VERDICT_WIDTH$}", check.verdict.name()));
    let head = format!("  {verdict}  {:TITLE_WIDTH$}  ", check.kind.title);
    let margin = " ".repeat(TEXT_AT);
    let mut lines = Vec::new();
    for (at, line) in found_lines(check, style, room).into_iter().enumerate() {
        lines.push(format!("{}{line}", if at == 0 { &head } else { &margin }));
    }
    if check.verdict != Verdict::Ok || detail.is_verbose {
        let why = format!("why: {}", check.kind.why);
        lines.extend(wrapped(&why, room, 5).iter().map(|line| format!("{margin}{line}")));
    }
    let margin = " ".repeat(COMMAND_AT);
    lines.extend(check.commands.iter().map(|command| format!("{margin}→ {}", style.heading(&printable(command)))));
    lines
}

/// What was found, and behind it, faint, where.
fn found_lines(check: &Check, style: &Style, room: usize) -> Vec<String> {
    let found = printable(&check.found);
    let mut lines = wrapped(&found, room, 0);
    let from = format!("[{}]", printable(&check.from));
    let last = lines.last_mut().expect("a text has a line");
    if last.chars().count() + 2 + from.chars().count() <= room {
        *last = format!("{last}  {}", style.faint(&from));
    } else {
        lines.extend(wrapped(&from, room, 1).iter().map(|line| style.faint(line)));
    }
    lines
}

/// `1 bad, 3 warn, 2 unknown, 20 ok`
fn summary(findings: &Findings, style: &Style) -> String {
    let counts: Vec<String> = VERDICTS
        .into_iter()
        .map(|verdict| (verdict, findings.count(verdict)))
        .filter(|(_, count)| *count > 0)
        .map(|(verdict, count)| painted(verdict, style, &format!("{count} {}", verdict.name())))
        .collect();
    counts.join(", ")
}

pub(super) fn json(findings: &Findings) -> Value {
    let counts: serde_json::Map<String, Value> =
        VERDICTS.into_iter().map(|verdict| (verdict.name().to_owned(), findings.count(verdict).into())).collect();
    let checks: Vec<Value> = findings
        .groups
        .iter()
        .flat_map(|group| group.checks.iter().map(|check| check_json(group.interface.as_deref(), check)))
        .collect();
    json!({
        "tickscope": env!("CARGO_PKG_VERSION"),
        "verdict": findings.verdict().name(),
        "counts": counts,
        "not_checked": findings.left_out,
        "checks": checks,
    })
}

fn check_json(interface: Option<&str>, check: &Check) -> Value {
    let values: serde_json::Map<String, Value> =
        check.values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    json!({
        "name": check.kind.name,
        "interface": interface,
        "verdict": check.verdict.name(),
        "found": check.found,
        "values": values,
        "from": check.from,
        "why": check.kind.why,
        "commands": check.commands,
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Group, examine, samples};
    use super::*;

    fn findings() -> Findings {
        let bad = samples::interface_with(|interface| {
            samples::state(interface).is_on = false;
            samples::switch_on(interface, "rx-gro");
            interface.addresses.found = Ok(vec!["10.0.0.1".parse().unwrap()]);
        });
        Findings { left_out: vec!["ifb0".into()], ..examine(&samples::machine(), &[bad], true) }
    }

    #[test]
    fn lines_fit_at_any_width_but_for_commands() {
        for width in [80, 100, 120] {
            let detail = Detail { is_verbose: true, ..Detail::default() };
            let lines = text(&findings(), &Style::default(), width, detail);
            let long: Vec<&String> =
                lines.iter().filter(|line| line.chars().count() > width && !line.contains("→ ")).collect();
            assert!(long.is_empty(), "{width}: {long:#?}");
        }
    }

    #[test]
    fn a_check_says_verdict_finding_place_reason_and_command() {
        let lines = text(&findings(), &Style::default(), 100, Detail::default());
        let at = lines.iter().position(|line| line.starts_with("  bad      link")).expect("the link is down");
        assert_eq!(lines[at], "  bad      link                 switched off  [RTM_GETLINK]");
        assert_eq!(lines[at + 1].trim(), "why: nothing arrives where it is down or dark");
        assert_eq!(lines[at + 2], "           → sudo ip link set dev eth0 up");
        assert!(lines.last().is_some_and(|line| line.starts_with("1 bad, 1 warn, ")), "{lines:#?}");
        assert!(lines.contains(&"Not checked, since off or without a device: ifb0".to_owned()));
    }

    #[test]
    fn quiet_says_only_what_is_not_ok() {
        let detail = Detail { is_quiet: true, ..Detail::default() };
        let lines = text(&findings(), &Style::default(), 100, detail);
        assert!(!lines.iter().any(|line| line.starts_with("  ok") || line == "MACHINE"), "{lines:#?}");
        assert!(lines.iter().any(|line| line == "INTERFACE eth0"));
    }

    #[test]
    fn colours_only_repeat_what_words_say() {
        let plain = text(&findings(), &Style::default(), 100, Detail::default());
        let colored = text(&findings(), &Style { color: true, ..Style::default() }, 100, Detail::default());
        let mut stripped = colored.join("\n");
        assert!(stripped.contains("\x1b[1;31mbad"), "{stripped}");
        for code in ["1;31", "1", "2", "31", "32", "33", "0"] {
            stripped = stripped.replace(&format!("\x1b[{code}m"), "");
        }
        assert_eq!(stripped, plain.join("\n"));
    }

    #[test]
    fn json_has_every_key_that_the_manual_lists() {
        let document = json(&findings());
        assert_eq!((&document["verdict"], &document["counts"]["bad"]), (&json!("bad"), &json!(1)));
        let link = document["checks"].as_array().unwrap().iter().find(|check| check["name"] == "link").unwrap();
        assert_eq!(
            (&link["interface"], &link["commands"][0]),
            (&json!("eth0"), &json!("sudo ip link set dev eth0 up"))
        );
        for (key, _) in crate::app::man::tables::DOCTOR {
            let key = key.split(' ').next().unwrap();
            assert!(document.get(key).is_some() || link.get(key).is_some(), "{key}");
        }
    }

    #[test]
    fn what_comes_from_the_machine_cannot_steer_the_terminal() {
        let mut findings = findings();
        let group: &mut Group = &mut findings.groups[1];
        group.interface = Some("e\x1b[2J".into());
        group.checks[0].found = "x\x07".into();
        assert!(
            text(&findings, &Style::default(), 80, Detail::default())
                .iter()
                .all(|line| !line.contains(['\x1b', '\x07']))
        );
    }
}
