//! What the values of keys look like, for messages and the manual, and those that are lists.

use tickscope_decoders::{PROTOCOLS, Role};
use tickscope_nic::Group;
use toml::de::DeValue;

use super::keys::Kind;
use super::settings;

impl Kind {
    /// What is expected, for messages and the manual.
    pub fn expected(&self) -> String {
        match self {
            Kind::Text(_) => "a text".into(),
            Kind::Choice(choices, _) => one_of(choices),
            Kind::Choices(choices, _) => format!("a list of {}", quoted(choices, ", ")),
            Kind::Shift(_) => "a duration, such as \"-37us\" (units: ns, us, ms, s)".into(),
            Kind::Speed(_) => "a speed in bits per second, such as \"10G\" or \"100M\"".into(),
            Kind::Span(_) => "a duration of 0 or more, such as \"250us\" (units: ns, us, ms, s)".into(),
            Kind::Number(most, _) => format!("a number from 0 to {most}"),
            Kind::Numbers(most, _) => format!("a number from 0 to {most}, or a list of them"),
            Kind::Flag(_) => "true or false".into(),
            Kind::Bytes(expected, _) | Kind::Over(expected, _) => (*expected).into(),
            Kind::Groups(_) => "a list of multicast groups, such as [\"233.54.12.111\", \"232.1.1.1@10.0.0.9\"]".into(),
            Kind::OrderTag(_) => {
                "a FIX tag, such as \"9717\" or { tag = 11, regex = \"-(\\\\d+)$\", base = 10 }".into()
            }
            Kind::Fraction(_) => "a number from 0 to 1".into(),
            Kind::File(_) => "the path of a file".into(),
            Kind::Socket(_) => "the path of a socket, or \"none\"".into(),
            Kind::Listen(_) => "an address and port, such as \"127.0.0.1:9464\", or a port alone".into(),
            Kind::Address(_) => "an address and port, such as \"233.54.12.111:26477\" or \"[ff02::1]:26477\"".into(),
            Kind::Endpoint(_) => "an address, or address and port, such as \"10.0.0.10\" or \"10.0.0.10:9876\"".into(),
            Kind::Protocol(role, _) => one_of(&protocols(*role)),
        }
    }
}

/// Names of the protocols of one role.
pub(super) fn protocols(role: Role) -> Vec<&'static str> {
    PROTOCOLS.iter().filter(|protocol| protocol.role == role).map(|protocol| protocol.name).collect()
}

fn one_of(choices: &[&str]) -> String {
    match choices {
        [] => "nothing: this version decodes no such protocol".into(),
        [only] => format!("\"{only}\""),
        [first @ .., last] => format!("{} or \"{last}\"", quoted(first, ", ")),
    }
}

fn quoted(choices: &[&str], between: &str) -> String {
    choices.iter().map(|choice| format!("\"{choice}\"")).collect::<Vec<_>>().join(between)
}

/// A whole number, or a list of them that is not empty.
pub(super) fn numbers(value: &DeValue<'_>, most: u64) -> Option<Vec<u64>> {
    let one = |value: &DeValue<'_>| match value {
        DeValue::Integer(integer) if integer.radix() == 10 => {
            integer.as_str().parse().ok().filter(|number| *number <= most)
        }
        _ => None,
    };
    let all: Vec<u64> = match value {
        DeValue::Array(list) => list.iter().map(|value| one(value.get_ref())).collect::<Option<_>>()?,
        value => vec![one(value)?],
    };
    (!all.is_empty()).then_some(all)
}

/// Multicast groups.
pub(super) fn groups(value: &DeValue<'_>) -> Option<Vec<Group>> {
    let DeValue::Array(list) = value else { return None };
    list.iter().map(|one| one.get_ref().as_str().and_then(settings::group)).collect()
}
