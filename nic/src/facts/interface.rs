//! An interface: what rtnetlink(7), the `netdev` family of generic netlink (Linux Documentation/netlink/specs/netdev.yaml) and
//! its driver say of it.

use std::fs;
use std::io;
use std::net::IpAddr;

use super::ethtool::{self, Channels, Coalescing, Feature, RxRing, Stamping};
use super::time::{NicClock, nic_clock};
use super::{Fact, refusal};
use crate::clock;
use crate::link::{self, InterfaceDrops};
use crate::netlink::{self, attribute, attributes, u16_at, u32_at, u64_at};
use crate::sys;

const IFLA_XDP: u16 = 43;
const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_PROGRAM: u16 = 4;
const ETHERNET: u16 = 1;
const LOOPBACK: u16 = 772;
/// The family that knows all others, and what it is asked.
const CONTROL: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
const DEVICE_GET: u8 = 1;
const DEVICE_INTERFACE: u16 = 1;
const DEVICE_XDP_FEATURES: u16 = 3;
const DEVICE_METADATA: u16 = 5;

/// Everything that is known of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    pub name: String,
    pub state: Fact<State>,
    /// Of this host, without link-local ones.
    pub addresses: Fact<Vec<IpAddr>>,
    pub driver: Fact<String>,
    pub xdp: Fact<XdpAbility>,
    pub channels: Fact<Channels>,
    pub rx_ring: Fact<RxRing>,
    pub features: Fact<Vec<Feature>>,
    pub coalescing: Fact<Coalescing>,
    pub stamping: Fact<Stamping>,
    /// Whether the NIC stamps received frames now.
    pub stamps: Fact<bool>,
    /// `None` where it has none.
    pub clock: Option<Fact<NicClock>>,
}

/// What the interface is at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(clippy::struct_excessive_bools, reason = "four things that are so or not")]
pub struct State {
    /// Switched on by somebody.
    pub is_on: bool,
    pub has_carrier: bool,
    pub is_ethernet: bool,
    pub is_loopback: bool,
    pub mtu: u32,
    /// Queues that the driver has allocated.
    pub rx_queues: u32,
    pub drops: InterfaceDrops,
    /// The number of the XDP program that somebody attached.
    pub program: Option<u32>,
}

/// What the driver says it can do for XDP programs; kernels say it since 6.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct XdpAbility {
    /// Runs programs itself, and redirects to AF_XDP sockets.
    pub is_native: bool,
    pub has_zero_copy: bool,
    /// Frames longer than a buffer.
    pub has_fragments: bool,
    /// Passes the NIC's stamps on; kernels say it since 6.7.
    pub has_stamps: Option<bool>,
}

/// Looks everything up.
pub fn interface(name: &str) -> Interface {
    let message = link::message(name);
    let index = message.as_ref().ok().and_then(|message| u32_at(message, 4));
    let state = message.and_then(|message| state(&message).ok_or_else(|| io::ErrorKind::InvalidData.into()));
    let stamping = ethtool::stamping(name);
    let clock = stamping.known().and_then(|stamping| stamping.clock).map(nic_clock);
    let xdp = index.ok_or_else(|| "there is no such interface".to_owned()).and_then(ability);
    Interface {
        name: name.to_owned(),
        state: Fact::new("RTM_GETLINK", state),
        addresses: Fact::new("getifaddrs(3)", sys::host_addresses(name)),
        driver: ethtool::driver(name).map(|(driver, _)| driver),
        xdp: Fact::new("netdev netlink, dev-get", xdp),
        channels: ethtool::channels(name),
        rx_ring: ethtool::rx_ring(name),
        features: ethtool::features(name),
        coalescing: ethtool::coalescing(name),
        stamping,
        stamps: Fact::new("SIOCGHWTSTAMP", clock::rx_stamps(name).map_err(|error| refusal(&error))),
        clock,
    }
}

/// Interfaces that a capture may be meant for, where none is named: those that are switched on and have a device behind them; where
/// there is none, as in a container, every Ethernet interface that is on. And the Ethernet interfaces that were passed over.
pub fn interface_names() -> Fact<(Vec<String>, Vec<String>)> {
    const FROM: &str = "/proc/thread-self/net/dev";
    let found = fs::read_to_string(FROM).map(|text| {
        let mut names: Vec<(String, bool, bool)> = Vec::new();
        for name in names_in(&text) {
            let Some(state) = link::message(&name).ok().and_then(|message| state(&message)) else { continue };
            if state.is_ethernet {
                let is_device = ethtool::driver(&name).known().is_some_and(|(_, bus)| is_device(bus));
                names.push((name, state.is_on, is_device));
            }
        }
        choose(names)
    });
    Fact::new(FROM, found)
}

/// Software has no place on a bus, or says so: a bridge "N/A", a tunnel its own kind.
fn is_device(bus: &str) -> bool {
    !matches!(bus, "" | "N/A" | "tap" | "tun")
}

/// Of names, with whether each is on and has a device.
fn choose(names: Vec<(String, bool, bool)>) -> (Vec<String>, Vec<String>) {
    let has_device = names.iter().any(|(_, is_on, is_device)| *is_on && *is_device);
    let (chosen, others): (Vec<_>, Vec<_>) =
        names.into_iter().partition(|(_, is_on, is_device)| *is_on && (*is_device || !has_device));
    let names = |list: Vec<(String, bool, bool)>| list.into_iter().map(|(name, ..)| name).collect();
    (names(chosen), names(others))
}

/// Two lines of titles, then `name: numbers`.
fn names_in(text: &str) -> impl Iterator<Item = String> {
    text.lines().skip(2).filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim().to_owned())
}

fn state(message: &[u8]) -> Option<State> {
    const ON: u32 = libc::IFF_UP.cast_unsigned();
    const CARRIER: u32 = 1 << 16; // IFF_LOWER_UP
    let link = link::parse(message)?;
    let (kind, flags) = (u16_at(message, 2)?, u32_at(message, 8)?);
    let mut state = State {
        is_on: flags & ON != 0,
        has_carrier: flags & CARRIER != 0,
        is_ethernet: kind == ETHERNET,
        is_loopback: kind == LOOPBACK,
        mtu: link.mtu,
        rx_queues: link.rx_queues,
        drops: link.drops,
        program: None,
    };
    for (_, xdp) in attributes(message.get(16..)?).filter(|(kind, _)| *kind == IFLA_XDP) {
        let value = |wanted: u16| attributes(xdp).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
        if value(IFLA_XDP_ATTACHED).and_then(|value| value.first()).is_some_and(|attached| *attached != 0) {
            // In several modes at once there is a number for each, and none for all.
            state.program = Some(value(IFLA_XDP_PROGRAM).and_then(|value| u32_at(value, 0)).unwrap_or(0));
        }
    }
    Some(state)
}

pub(crate) fn ability(index: u32) -> Result<XdpAbility, String> {
    let family = family().map_err(|error| match error.raw_os_error() {
        Some(libc::ENOENT) => "this kernel does not say (Linux 6.3 and later do)".to_owned(),
        _ => error.to_string(),
    })?;
    let mut body = vec![DEVICE_GET, 1, 0, 0];
    attribute(&mut body, DEVICE_INTERFACE, &index.to_ne_bytes());
    let answer = netlink::ask(libc::NETLINK_GENERIC, &netlink::request(family, &body), family);
    let answer = answer.map_err(|error| error.to_string())?;
    parse_ability(&answer).ok_or_else(|| "the answer is not understood".to_owned())
}

/// The number of the family `netdev`, which differs from boot to boot.
fn family() -> io::Result<u16> {
    let mut body = vec![GET_FAMILY, 1, 0, 0];
    attribute(&mut body, FAMILY_NAME, &netlink::zero_ended("netdev"));
    let answer = netlink::ask(libc::NETLINK_GENERIC, &netlink::request(CONTROL, &body), CONTROL)?;
    let id = attributes(answer.get(4..).unwrap_or(&[])).find(|(kind, _)| *kind == FAMILY_ID);
    id.and_then(|(_, value)| u16_at(value, 0)).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn parse_ability(answer: &[u8]) -> Option<XdpAbility> {
    const BASIC_AND_REDIRECT: u64 = 1 | 1 << 1;
    const ZERO_COPY: u64 = 1 << 3;
    const FRAGMENTS: u64 = 1 << 5;
    const STAMPS: u64 = 1;
    let word = |wanted: u16| {
        attributes(answer.get(4..)?).find(|(kind, _)| *kind == wanted).and_then(|(_, value)| u64_at(value, 0))
    };
    let features = word(DEVICE_XDP_FEATURES)?;
    Some(XdpAbility {
        is_native: features & BASIC_AND_REDIRECT == BASIC_AND_REDIRECT,
        has_zero_copy: features & ZERO_COPY != 0,
        has_fragments: features & FRAGMENTS != 0,
        has_stamps: word(DEVICE_METADATA).map(|metadata| metadata & STAMPS != 0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_with_a_device_come_first_and_others_where_there_is_none() {
        let entry = |name: &str, is_on, is_device| (name.to_owned(), is_on, is_device);
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let machine = vec![entry("eth0", true, true), entry("eth1", false, true), entry("veth0", true, false)];
        assert_eq!(choose(machine), (names(&["eth0"]), names(&["eth1", "veth0"])));
        let container = vec![entry("eth0", true, false), entry("dummy0", false, false)];
        assert_eq!(choose(container), (names(&["eth0"]), names(&["dummy0"])));
        let dark = vec![entry("eth1", false, true), entry("veth0", true, false)];
        assert_eq!(choose(dark), (names(&["veth0"]), names(&["eth1"])));
        for (bus, expected) in [("0000:01:00.0", true), ("virtio2", true), ("", false), ("N/A", false), ("tun", false)]
        {
            assert_eq!(is_device(bus), expected, "{bus}");
        }
    }

    #[test]
    fn names_stand_before_their_colon() {
        let text = "Inter-|   Receive\n face |bytes\n    lo: 1 2\n  eth0:3 4\nbroken\n";
        assert_eq!(names_in(text).collect::<Vec<_>>(), ["lo", "eth0"]);
    }

    fn message(kind: u16, flags: u32, xdp: &[(u16, &[u8])]) -> Vec<u8> {
        let mut message = vec![0; 16];
        message[2..4].copy_from_slice(&kind.to_ne_bytes());
        message[8..12].copy_from_slice(&flags.to_ne_bytes());
        let mut nested = Vec::new();
        for (kind, value) in xdp {
            attribute(&mut nested, *kind, value);
        }
        attribute(&mut message, IFLA_XDP | 0x8000, &nested);
        message
    }

    #[test]
    fn a_program_that_is_attached_is_seen() {
        for (xdp, program) in [
            (&[(IFLA_XDP_ATTACHED, &[0u8][..])][..], None),
            (&[(IFLA_XDP_ATTACHED, &[2]), (IFLA_XDP_PROGRAM, &77u32.to_ne_bytes())], Some(77)),
            (&[(IFLA_XDP_ATTACHED, &[4])], Some(0)),
            (&[], None),
        ] {
            assert_eq!(state(&message(1, 0, xdp)).unwrap().program, program, "{xdp:?}");
        }
        let up = state(&message(1, 0x1_0001, &[])).unwrap();
        assert!(up.is_on && up.has_carrier && up.is_ethernet && !up.is_loopback);
        let dark = state(&message(772, 1, &[])).unwrap();
        assert!(dark.is_on && !dark.has_carrier && !dark.is_ethernet && dark.is_loopback);
    }

    #[test]
    fn what_a_driver_can_is_told_bit_by_bit() {
        let answer = |features: u64, metadata: Option<u64>| {
            let mut answer = vec![0; 4];
            attribute(&mut answer, DEVICE_XDP_FEATURES, &features.to_ne_bytes());
            if let Some(metadata) = metadata {
                attribute(&mut answer, DEVICE_METADATA, &metadata.to_ne_bytes());
            }
            parse_ability(&answer).unwrap()
        };
        assert_eq!(answer(0, None), XdpAbility::default());
        assert!(!answer(1, None).is_native, "without redirect there is no AF_XDP");
        assert!(answer(3, None).is_native && !answer(3, None).has_zero_copy);
        assert!(answer(3 | 8, None).has_zero_copy && answer(3 | 32, None).has_fragments);
        assert_eq!((answer(3, Some(2)).has_stamps, answer(3, Some(3)).has_stamps), (Some(false), Some(true)));
        assert_eq!(parse_ability(&[0; 4]), None);
        assert_eq!(parse_ability(&[]), None);
    }

    #[test]
    fn loopback_is_read_and_what_is_not_there_says_so() {
        let lo = interface("lo");
        assert!(lo.state.known().is_some_and(|state| state.is_loopback && state.rx_queues == 1), "{lo:?}");
        let none = interface("no-such-if");
        assert!(none.state.found.is_err() && none.xdp.found.is_err() && none.clock.is_none());
        assert!(none.state.found.unwrap_err().contains("No such device"));
    }
}
