//! Judging one interface: what arrives there, how it would be captured, and what its NIC does to frames and times.

use tickscope_nic::facts::{Feature, Interface, Machine, NicClock, State, needs, processors_in};

use super::kinds::{COALESCING, DRIVER, DROPS, LINK, MERGING, MTU, NIC_CLOCK, QUEUES, RX_RING, SPLITTING, STAMPS, XDP};
use super::{Check, Verdict, judged};
use crate::write::{grouped, latency, plural, signed_latency};

/// More than that holds a millisecond at ten million frames a second; drivers do not get faster with more.
const RING_FRAMES: u32 = 4096;
/// A comparison of the clocks that is this wide says that reading the NIC's clock is slow.
const COMPARISON_NS: i64 = 5_000;
/// Ethernet header, a VLAN tag, and the checksum, which some NICs leave in the frame.
const FRAME_OVERHEAD_BYTES: u32 = 14 + 4 + 4;
/// Received packets become one, before the kernel sees them, and within it.
const MERGED_BY_NIC: [&str; 2] = ["rx-lro", "rx-gro-hw"];
const MERGED_BY_KERNEL: [&str; 3] = ["rx-gro", "rx-gro-list", "rx-udp-gro-forwarding"];
const SPLIT: [&str; 6] = [
    "tx-tcp-segmentation",
    "tx-tcp6-segmentation",
    "tx-tcp-ecn-segmentation",
    "tx-tcp-mangleid-segmentation",
    "tx-generic-segmentation",
    "tx-udp-segmentation",
];

pub(super) fn checks(interface: &Interface, machine: &Machine, is_named: bool) -> Vec<Check> {
    if interface.state.found.is_err() {
        // Nothing else is known of what is not there.
        return vec![link(interface, is_named)];
    }
    let by = captured_by(interface, machine);
    vec![
        link(interface, is_named),
        driver(interface, &by),
        xdp(interface),
        queue_count(interface, machine, &by),
        rx_ring(interface),
        merging(interface, &by),
        splitting(interface, &by),
        coalescing(interface),
        stamps(interface, &by),
        nic_clock(interface),
        mtu(interface, &by),
        drops(interface),
    ]
}

/// What `driver=auto` would come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum By {
    Xdp,
    /// `AF_PACKET`, and why not `AF_XDP`.
    Packet(String),
    /// Not even by `AF_PACKET`.
    Nothing(&'static str),
}

pub(super) fn captured_by(interface: &Interface, machine: &Machine) -> By {
    let packet = |why: String| By::Packet(why);
    let is_missing = |has: Option<&bool>| has.is_some_and(|has| !has);
    if interface.state.found.is_err() {
        return By::Nothing("there is no such interface");
    }
    if !machine.privileges.can_capture_packets() || is_missing(machine.packet_sockets.known()) {
        return By::Nothing("see privileges and kernel above");
    }
    if !machine.privileges.can_capture_xdp() {
        return packet(format!("it may not have AF_XDP: {} missing", machine.privileges.missing_names()));
    }
    if is_missing(machine.xdp_sockets.known()) || machine.program.found.is_err() {
        return packet("the kernel takes no XDP program of ours, see above".to_owned());
    }
    if let Some(address) = interface.addresses.known().and_then(|addresses| addresses.first()) {
        return packet(format!("it carries {address} of this host"));
    }
    if interface.state.known().is_some_and(|state| state.program.is_some()) {
        return packet("somebody else's XDP program is there".to_owned());
    }
    match interface.xdp.known() {
        Some(ability) if !ability.is_native => packet("its driver runs no XDP programs".to_owned()),
        // Where nobody says, it is tried.
        _ => By::Xdp,
    }
}

/// Queues for received frames that are in use.
pub(super) fn queues(interface: &Interface) -> u32 {
    let channels = interface.channels.known().map(|channels| channels.rx.saturating_add(channels.combined));
    channels.filter(|queues| *queues > 0).or(interface.state.known().map(|state| state.rx_queues)).unwrap_or(1)
}

fn link(interface: &Interface, is_named: bool) -> Check {
    let (name, fact) = (&interface.name, &interface.state);
    // What nobody asked for may well be dark.
    let dark = if is_named { Verdict::Bad } else { Verdict::Warn };
    match &fact.found {
        Err(why) => {
            Check::new(&LINK, Verdict::Bad, format!("there is no {name} in this network namespace ({why})"), &fact.from)
                .command("ip -br link")
        }
        Ok(state) if !state.is_on => {
            Check::new(&LINK, dark, "switched off", &fact.from).command(format!("sudo ip link set dev {name} up"))
        }
        Ok(state) if !state.has_carrier => Check::new(
            &LINK,
            dark,
            "switched on, without a carrier: nothing is connected, or the other end is off",
            &fact.from,
        ),
        Ok(_) => Check::new(&LINK, Verdict::Ok, "up, with a carrier", &fact.from),
    }
}

fn driver(interface: &Interface, by: &By) -> Check {
    let fact = &interface.driver;
    let driver = fact.known().map_or("a driver of unknown name", String::as_str);
    let (verdict, choice, found) = match by {
        By::Xdp if interface.xdp.known().is_some() => (
            Verdict::Ok,
            "xdp",
            "AF_XDP, since no address of this host is on it and its driver has native XDP".to_owned(),
        ),
        By::Xdp => {
            (Verdict::Ok, "xdp", "AF_XDP, if its driver turns out to have native XDP; else AF_PACKET".to_owned())
        }
        By::Packet(why) => (Verdict::Ok, "afpacket", format!("AF_PACKET, since {why}")),
        By::Nothing(why) => (Verdict::Bad, "none", format!("nothing, {why}")),
    };
    let from = format!("{}, {}", fact.from, interface.addresses.from);
    let check = Check::new(&DRIVER, verdict, format!("{driver}; {found}"), &from);
    check.value("driver", fact.known().map(String::as_str)).value("auto", choice)
}

fn xdp(interface: &Interface) -> Check {
    let (name, fact) = (&interface.name, &interface.xdp);
    if let Some(program) = interface.state.known().and_then(|state: &State| state.program) {
        let found = format!("somebody's XDP program (number {program}) is attached, and only one can be");
        return Check::new(&XDP, Verdict::Warn, found, &interface.state.from)
            .value("program", program)
            .command(format!("sudo ip link set dev {name} xdp off  (or end what loaded it)"));
    }
    judged(&XDP, fact, |ability| {
        let found = if ability.is_native {
            let zero_copy = if ability.has_zero_copy { "zero-copy" } else { "frames are copied" };
            let fragments = if ability.has_fragments { "" } else { ", no frames longer than a buffer" };
            let stamps = match ability.has_stamps {
                Some(true) => ", passes the NIC's stamps on",
                Some(false) => ", does not pass the NIC's stamps on",
                None => "",
            };
            format!("native, {zero_copy}{stamps}{fragments}, says the driver")
        } else {
            "generic only, says the driver".to_owned()
        };
        Check::new(&XDP, Verdict::Ok, found, &fact.from)
            .value("native", ability.is_native)
            .value("zero_copy", ability.has_zero_copy)
            .value("fragments", ability.has_fragments)
            .value("nic_stamps", ability.has_stamps)
    })
}

fn queue_count(interface: &Interface, machine: &Machine, by: &By) -> Check {
    let (name, count) = (&interface.name, queues(interface));
    let channels = interface.channels.known();
    let most = channels.map(|channels| channels.rx_max.saturating_add(channels.combined_max));
    let from = if channels.is_some() { &interface.channels.from } else { &interface.state.from };
    let processors = machine.processors.online.known().map_or(u64::MAX, |online| processors_in(online));
    let found = match most {
        Some(most) => format!("{count} of at most {most}"),
        None => count.to_string(),
    };
    let is_too_many = *by == By::Xdp && u64::from(count) > processors;
    let check = if is_too_many {
        let kind = if channels.is_some_and(|channels| channels.combined > 0) { "combined" } else { "rx" };
        Check::new(&QUEUES, Verdict::Warn, format!("{found}, for {processors} processors"), from)
            .command(format!("sudo ethtool -L {name} {kind} {processors}"))
    } else {
        Check::new(&QUEUES, Verdict::Ok, found, from)
    };
    check.value("queues", count).value("queues_max", most)
}

fn rx_ring(interface: &Interface) -> Check {
    let (name, fact) = (&interface.name, &interface.rx_ring);
    judged(&RX_RING, fact, |ring| {
        let wanted = ring.frames_max.min(RING_FRAMES);
        let (now, most) = (grouped(ring.frames.into()), grouped(ring.frames_max.into()));
        let found = format!("{now} of at most {most} frames");
        let check = if ring.frames < wanted {
            Check::new(&RX_RING, Verdict::Warn, found, &fact.from)
                .command(format!("sudo ethtool -G {name} rx {wanted}"))
        } else {
            Check::new(&RX_RING, Verdict::Ok, found, &fact.from)
        };
        check.value("frames", ring.frames).value("frames_max", ring.frames_max)
    })
}

/// Those of a list that are on.
fn on<'a>(features: &'a [Feature], names: &[&str]) -> Vec<&'a Feature> {
    features.iter().filter(|feature| feature.is_on && names.contains(&feature.name.as_str())).collect()
}

fn names_of(features: &[&Feature]) -> Vec<String> {
    features.iter().map(|feature| feature.name.clone()).collect()
}

/// The command that switches off those that can be, and a word about the others.
fn switched_off(mut check: Check, interface: &str, features: &[&Feature]) -> Check {
    let fixed: Vec<&str> =
        features.iter().filter(|feature| feature.is_fixed).map(|feature| feature.name.as_str()).collect();
    if !fixed.is_empty() {
        let names = fixed.join(", ");
        check.found = format!("{}; {names} cannot be switched off here, only another NIC helps", check.found);
    }
    let list: Vec<String> =
        features.iter().filter(|feature| !feature.is_fixed).map(|feature| format!("{} off", feature.name)).collect();
    if list.is_empty() { check } else { check.command(format!("sudo ethtool -K {interface} {}", list.join(" "))) }
}

fn merging(interface: &Interface, by: &By) -> Check {
    let fact = &interface.features;
    judged(&MERGING, fact, |features| {
        let (by_nic, by_kernel) = (on(features, &MERGED_BY_NIC), on(features, &MERGED_BY_KERNEL));
        let all: Vec<&Feature> = by_nic.iter().chain(&by_kernel).copied().collect();
        let names = names_of(&all).join(", ");
        let check =
            |verdict, found: String| Check::new(&MERGING, verdict, found, &fact.from).value("on", names_of(&all));
        match (by, by_nic.is_empty(), by_kernel.is_empty()) {
            (_, true, true) => check(Verdict::Ok, "off".to_owned()),
            (By::Xdp, true, false) => check(Verdict::Ok, format!("{names}: the XDP program comes before")),
            (By::Xdp, false, _) => {
                let found = format!("{}: drivers refuse XDP programs with it", names_of(&by_nic).join(", "));
                switched_off(check(Verdict::Warn, found), &interface.name, &by_nic)
            }
            (_, false, _) => {
                let found = format!("{names}: the NIC merges packets before anything can stamp them");
                switched_off(check(Verdict::Bad, found), &interface.name, &all)
            }
            (_, true, false) => {
                let found = format!("{names}: TCP packets that come together are seen as one (flagged super_frame)");
                switched_off(check(Verdict::Warn, found), &interface.name, &all)
            }
        }
    })
}

fn splitting(interface: &Interface, by: &By) -> Check {
    let fact = &interface.features;
    judged(&SPLITTING, fact, |features| {
        let all = on(features, &SPLIT);
        let names = names_of(&all).join(", ");
        let check =
            |verdict, found: String| Check::new(&SPLITTING, verdict, found, &fact.from).value("on", names_of(&all));
        if all.is_empty() {
            check(Verdict::Ok, "off".to_owned())
        } else if *by == By::Xdp {
            check(Verdict::Ok, format!("{names}: AF_XDP sees received frames only"))
        } else {
            switched_off(check(Verdict::Warn, names.clone()), &interface.name, &all)
        }
    })
}

/// Whether received frames are stamped by the NIC.
fn has_nic_stamps(interface: &Interface) -> bool {
    let can = interface.stamping.known().is_some_and(|stamping| stamping.has_hardware && stamping.stamps_all);
    can && interface.stamps.known() == Some(&true)
}

fn coalescing(interface: &Interface) -> Check {
    let (name, fact) = (&interface.name, &interface.coalescing);
    judged(&COALESCING, fact, |coalescing| {
        let wait = if coalescing.is_adaptive {
            "adaptive: the NIC waits longer the more comes".to_owned()
        } else if coalescing.rx_us > 0 && coalescing.rx_frames > 0 {
            let frames = plural(coalescing.rx_frames.into(), "frame", "frames");
            format!("the NIC waits up to {} µs, or for {frames}", coalescing.rx_us)
        } else if coalescing.rx_us > 0 {
            format!("the NIC waits up to {} µs", coalescing.rx_us)
        } else {
            "at once".to_owned()
        };
        let waits = coalescing.is_adaptive || coalescing.rx_us > 0;
        let check = if waits && has_nic_stamps(interface) {
            Check::new(&COALESCING, Verdict::Ok, format!("{wait}; the NIC's stamps are taken before"), &fact.from)
        } else if waits {
            let check = Check::new(&COALESCING, Verdict::Warn, wait, &fact.from);
            let adaptive = if coalescing.is_adaptive { " adaptive-rx off" } else { "" };
            check.command(format!("sudo ethtool -C {name}{adaptive} rx-usecs 0"))
        } else {
            Check::new(&COALESCING, Verdict::Ok, wait, &fact.from)
        };
        check
            .value("rx_us", coalescing.rx_us)
            .value("rx_frames", coalescing.rx_frames)
            .value("adaptive", coalescing.is_adaptive)
    })
}

fn stamps(interface: &Interface, by: &By) -> Check {
    let (name, fact) = (&interface.name, &interface.stamping);
    judged(&STAMPS, fact, |stamping| {
        let is_on = interface.stamps.known() == Some(&true);
        let passes_on = interface.xdp.known().and_then(|ability| ability.has_stamps);
        let check = |verdict, found: &str| {
            Check::new(&STAMPS, verdict, found, &fact.from)
                .value("hardware", stamping.has_hardware)
                .value("all_frames", stamping.stamps_all)
                .value("on", interface.stamps.known().copied())
                .value("clock", stamping.clock)
        };
        if !stamping.has_hardware {
            check(
                Verdict::Warn,
                "this NIC has none: times are the kernel's. Another NIC, or stamps of a tap or switch, are better",
            )
        } else if !stamping.stamps_all {
            check(Verdict::Warn, "this NIC stamps frames of PTP only: times are the kernel's")
        } else if !is_on {
            check(Verdict::Warn, "this NIC stamps every frame, but that is off")
                .command(format!("sudo hwstamp_ctl -i {name} -t 0 -r 1  (package linuxptp)"))
        } else if *by == By::Xdp && passes_on == Some(false) {
            check(
                Verdict::Warn,
                "on, but this driver does not pass them on to AF_XDP; capture with driver=afpacket to have them",
            )
        } else {
            check(Verdict::Ok, "on, every received frame")
        }
    })
}

fn nic_clock(interface: &Interface) -> Check {
    let Some(fact) = &interface.clock else {
        return judged(&NIC_CLOCK, &interface.stamping, |_| {
            Check::new(
                &NIC_CLOCK,
                Verdict::Ok,
                "it has none, and none is needed for the kernel's stamps",
                &interface.stamping.from,
            )
        });
    };
    judged(&NIC_CLOCK, fact, |clock| {
        let NicClock { offset_ns, plus_minus_ns, .. } = *clock;
        let found =
            format!("{} to UTC, read within ± {}", signed_latency(offset_ns), latency(plus_minus_ns.unsigned_abs()));
        let (verdict, found) = if plus_minus_ns > COMPARISON_NS {
            (Verdict::Warn, format!("{found}: the bus is slow or busy, and stamps are no better than that"))
        } else {
            (Verdict::Ok, found)
        };
        let check = Check::new(&NIC_CLOCK, verdict, found, &fact.from);
        check.value("number", clock.number).value("offset_ns", offset_ns).value("plus_minus_ns", plus_minus_ns)
    })
}

fn mtu(interface: &Interface, by: &By) -> Check {
    let (name, fact) = (&interface.name, &interface.state);
    judged(&MTU, fact, |state| {
        let longest = needs(state.mtu, 1, false).frame_bytes_max;
        let check = |verdict, found: String| {
            Check::new(&MTU, verdict, found, &fact.from).value("bytes", state.mtu).value("xdp_frame_bytes_max", longest)
        };
        let mtu = grouped(state.mtu.into());
        if state.mtu.saturating_add(FRAME_OVERHEAD_BYTES) <= longest {
            check(Verdict::Ok, format!("{mtu} bytes"))
        } else if *by == By::Xdp {
            let fits = longest - FRAME_OVERHEAD_BYTES;
            let found = format!(
                "{mtu} bytes: frames over {} are lost; or capture with driver=afpacket",
                grouped(longest.into())
            );
            check(Verdict::Warn, found).command(format!("sudo ip link set dev {name} mtu {fits}"))
        } else {
            check(Verdict::Ok, format!("{mtu} bytes, which AF_PACKET takes whole"))
        }
    })
}

fn drops(interface: &Interface) -> Check {
    let (name, fact) = (&interface.name, &interface.state);
    judged(&DROPS, fact, |state| {
        let drops = state.drops;
        let count = |value: u64| grouped(value);
        let found = format!(
            "{} not received (rx_missed), {} damaged (rx_errors), {} dropped (rx_dropped)",
            count(drops.missed),
            count(drops.errors),
            count(drops.dropped)
        );
        let check = |verdict, found: String| {
            Check::new(&DROPS, verdict, found, &fact.from)
                .value("rx_missed_errors", drops.missed)
                .value("rx_errors", drops.errors)
                .value("rx_dropped", drops.dropped)
        };
        if drops.missed > 0 || drops.errors > 0 {
            check(Verdict::Warn, found).command(format!("ip -s link show dev {name}  (do they still grow?)"))
        } else if drops.dropped > 0 {
            check(Verdict::Ok, format!("{found}; frames that nobody listens for are among the last"))
        } else {
            check(Verdict::Ok, "none".to_owned())
        }
    })
}

#[cfg(test)]
mod tests;
