//! A made-up machine and interface that are fit in every way; tests change one thing of them.

use std::collections::BTreeMap;

use tickscope_nic::Privileges;
use tickscope_nic::facts::{
    Channels, ClockState, Coalescing, Daemons, Fact, Feature, Interface, Machine, NicClock, Processors, RxRing,
    Stamping, State, XdpAbility,
};

pub(super) fn fact<T>(from: &str, found: T) -> Fact<T> {
    Fact { from: from.to_owned(), found: Ok(found) }
}

pub(super) fn unknown<T>(fact: &mut Fact<T>, why: &str) {
    fact.found = Err(why.to_owned());
}

pub(super) fn machine() -> Machine {
    Machine {
        kernel: fact("/proc/sys/kernel/osrelease", "6.12.0".into()),
        packet_sockets: fact("socket(AF_PACKET)", true),
        xdp_sockets: fact("socket(AF_XDP)", true),
        program: fact("BPF_PROG_LOAD", true),
        stamp_function: fact("/sys/kernel/btf/vmlinux", true),
        privileges: Privileges { missing: Vec::new() },
        locked_bytes_max: fact("/proc/thread-self/limits", None),
        jit: fact("/proc/sys/net/core/bpf_jit_enable", 1),
        clock: fact(
            "adjtimex(2)",
            ClockState { is_synchronised: true, estimated_error_us: 2, maximum_error_us: 900, tai_offset_s: 37 },
        ),
        daemons: fact("/proc/*/comm", Daemons { running: vec!["phc2sys".into(), "ptp4l".into()], chrony: None }),
        clocksource: fact("current_clocksource", "tsc".into()),
        processors: Processors {
            online: fact("online", "0-7".into()),
            isolated: fact("isolated", "6-7".into()),
            tickless: fact("nohz_full", "6-7".into()),
            smt: fact("active", false),
            governors: fact("scaling_governor", BTreeMap::from([("performance".into(), 8)])),
        },
    }
}

pub(super) fn machine_with(change: impl FnOnce(&mut Machine)) -> Machine {
    let mut machine = machine();
    change(&mut machine);
    machine
}

const FEATURES: [&str; 8] = [
    "rx-gro",
    "rx-lro",
    "rx-gro-hw",
    "tx-tcp-segmentation",
    "tx-tcp6-segmentation",
    "tx-generic-segmentation",
    "rx-checksum",
    "rx-udp-gro-forwarding",
];

pub(super) fn interface() -> Interface {
    let features = FEATURES.map(|name| Feature { name: name.into(), is_on: name == "rx-checksum", is_fixed: false });
    Interface {
        name: "eth0".into(),
        state: fact(
            "RTM_GETLINK",
            State { is_on: true, has_carrier: true, is_ethernet: true, mtu: 1500, rx_queues: 8, ..State::default() },
        ),
        addresses: fact("getifaddrs(3)", Vec::new()),
        driver: fact("ETHTOOL_GDRVINFO", "ice".into()),
        xdp: fact(
            "dev-get",
            XdpAbility { is_native: true, has_zero_copy: true, has_fragments: true, has_stamps: Some(true) },
        ),
        channels: fact("ETHTOOL_GCHANNELS", Channels { combined: 4, combined_max: 8, ..Channels::default() }),
        rx_ring: fact("ETHTOOL_GRINGPARAM", RxRing { frames: 4096, frames_max: 8160 }),
        features: fact("ETHTOOL_GFEATURES", features.to_vec()),
        coalescing: fact("ETHTOOL_GCOALESCE", Coalescing::default()),
        stamping: fact("ETHTOOL_GET_TS_INFO", Stamping { has_hardware: true, stamps_all: true, clock: Some(0) }),
        stamps: fact("SIOCGHWTSTAMP", true),
        clock: Some(fact("/dev/ptp0", NicClock { number: 0, offset_ns: 37_000_000_012, plus_minus_ns: 400 })),
    }
}

pub(super) fn interface_with(change: impl FnOnce(&mut Interface)) -> Interface {
    let mut interface = interface();
    change(&mut interface);
    interface
}

pub(super) fn state(interface: &mut Interface) -> &mut State {
    interface.state.found.as_mut().expect("the sample has a state")
}

pub(super) fn switch_on(interface: &mut Interface, feature: &str) {
    let features = interface.features.found.as_mut().expect("the sample has features");
    features.iter_mut().find(|known| known.name == feature).expect("a feature of the sample").is_on = true;
}

/// An address of this host, so that it is captured by `AF_PACKET`.
pub(super) fn in_use(interface: &mut Interface) {
    interface.addresses.found = Ok(vec!["10.0.0.1".parse().expect("an address")]);
}
