//! Groups: the reports that a switch would hear, and their end.

use std::time::Duration;

use tickscope_nic::{Capture, Driver, Filter, Group, Options};

use super::lab::{LINK, Lab, Setup};
use super::traffic::{finish, read};

/// Groups of which `b` was a member, as the kernel's table says.
fn is_member(lab: &Lab, group: &str) -> bool {
    lab.ip_b("maddr show dev veth0").split_whitespace().any(|word| word == group)
}

#[test]
fn groups_are_joined_with_a_report_and_left_at_the_end() {
    let Some(lab) = Lab::new(Setup { has_address: false, ..Setup::default() }) else { return };
    // IGMPv3 reports of any group go to 224.0.0.22, MLDv2's to ff02::16.
    let mut reports = Options::new(LINK);
    reports.driver = Driver::AfPacket;
    let addresses = vec!["224.0.0.22".parse().unwrap(), "ff02::16".parse().unwrap()];
    reports.filter = Filter { ports: Vec::new(), addresses };
    let mut listener = lab.in_a(|| Capture::open(&reports).unwrap());
    let mut receivers = listener.receivers();

    let mut options = Options::new(LINK);
    options.driver = Driver::AfPacket;
    let group = |address: &str, source: Option<&str>| Group {
        address: address.parse().unwrap(),
        source: source.map(|source| source.parse().unwrap()),
    };
    options.groups = vec![group("239.77.1.1", None), group("232.77.1.2", Some("10.9.9.9"))];
    options.groups.extend((0..30).map(|number| group(&format!("239.78.0.{number}"), None)));
    options.groups.push(group("ff15::77", None));
    let capture = lab.in_b(|| Capture::open(&options).unwrap());
    let joined = ["239.77.1.1", "232.77.1.2", "239.78.0.29", "ff15::77"];
    assert!(joined.iter().all(|group| is_member(&lab, group)), "{}", lab.ip_b("maddr show dev veth0"));
    let seen = read(&mut receivers[0], Duration::from_millis(1500));
    let has = |wanted: &[u8]| seen.iter().any(|seen| seen.bytes.windows(wanted.len()).any(|found| found == wanted));
    assert!(has(&[239, 77, 1, 1]) && has(&[232, 77, 1, 2, 10, 9, 9, 9]) && has(&[239, 78, 0, 29]));
    drop(capture);
    assert!(!joined.iter().any(|group| is_member(&lab, group)));
    finish(&mut listener, &mut receivers, 0);
}

#[test]
fn what_is_no_group_is_refused() {
    let Some(lab) = Lab::new(Setup::default()) else { return };
    let mut options = Options::new(LINK);
    options.groups = vec![Group { address: "10.1.1.1".parse().unwrap(), source: None }];
    let error = lab.in_b(|| Capture::open(&options)).err().unwrap().to_string();
    assert!(error.contains("veth0") && error.contains("10.1.1.1 is a group"), "{error}");
}
