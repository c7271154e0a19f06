//! The systemd unit gives what capturing asks for, and nothing else; systemd(1) itself finds no mistake in it.

use std::collections::BTreeSet;
use std::process::Command;

use tickscope_nic::{Capability, Privileges};

use super::support::root;

fn unit() -> String {
    std::fs::read_to_string(root().join("packaging/tickscope.service")).expect("the unit is there")
}

/// What stands behind `name=` in the unit, once.
fn value(name: &str) -> String {
    let unit = unit();
    let found: Vec<&str> = unit.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('=')).collect();
    let [value] = found[..] else { panic!("{name} stands there {} times", found.len()) };
    value.to_owned()
}

fn words(name: &str) -> BTreeSet<String> {
    value(name).split_whitespace().map(str::to_owned).collect()
}

#[test]
fn the_unit_has_exactly_the_capabilities_that_are_asked_for() {
    let asked: BTreeSet<String> = Capability::ALL.iter().map(|capability| capability.name().to_owned()).collect();
    assert_eq!(words("AmbientCapabilities"), asked);
    assert_eq!(words("CapabilityBoundingSet"), asked);
    let line = Privileges { missing: Vec::new() }.systemd_line();
    assert!(unit().lines().any(|there| there == line), "what error messages recommend: {line}");
}

#[test]
fn what_capturing_does_is_not_forbidden() {
    let calls = words("SystemCallFilter");
    for call in ["@system-service", "bpf", "adjtimex", "clock_adjtime"] {
        assert!(calls.contains(call), "{call}");
    }
    let families = ["AF_XDP", "AF_PACKET", "AF_NETLINK", "AF_UNIX", "AF_INET", "AF_INET6"];
    assert_eq!(words("RestrictAddressFamilies"), families.map(str::to_owned).into());
    assert_eq!(value("DeviceAllow"), "char-ptp r");
    let unit = unit();
    // The first hides the clocks of NICs, the second the kernel's offset of TAI, the others where capturing happens.
    for forbidden in ["PrivateDevices", "ProtectClock", "PrivateUsers", "PrivateNetwork"] {
        assert!(!unit.lines().any(|line| line.starts_with(&format!("{forbidden}="))), "{forbidden}");
    }
}

#[test]
#[expect(clippy::print_stderr, reason = "a skip has to be seen")]
fn systemd_finds_no_mistake_in_the_unit() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let copy = folder.path().join("tickscope.service");
    // It wants to see the program; who installs it decides where it is.
    let unit = unit().replace("/usr/local/bin/tickscope", env!("CARGO_BIN_EXE_tickscope"));
    std::fs::write(&copy, unit).expect("a copy of the unit");
    let Ok(output) = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&copy).output() else {
        eprintln!("SKIPPED: systemd-analyze is not there");
        return;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    let about_it: Vec<&str> = said.lines().filter(|line| line.contains("tickscope")).collect();
    assert!(about_it.is_empty(), "{said}");
}
