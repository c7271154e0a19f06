//! Every verdict about an interface, from made-up facts.

use tickscope_nic::Capability;
use tickscope_nic::facts::{Channels, Coalescing, RxRing};

use super::*;
use crate::app::doctor::only;
use crate::app::doctor::samples::{
    in_use, interface, interface_with, machine, machine_with, state, switch_on, unknown,
};

/// Verdict, and a part of what was found, after one change of a fit interface.
fn check(name: &str, verdict: Verdict, part: &str, change: impl FnOnce(&mut Interface)) -> Check {
    let all = checks(&interface_with(change), &machine(), true);
    let check = only(&all, name).clone();
    assert_eq!(check.verdict, verdict, "{check:?}");
    assert!(check.found.contains(part), "{part}: {check:?}");
    assert!(check.commands.is_empty() || !matches!(verdict, Verdict::Ok | Verdict::Unknown), "{check:?}");
    check
}

fn command(name: &str, part: &str, expected: &str, change: impl FnOnce(&mut Interface)) {
    assert_eq!(check(name, Verdict::Warn, part, change).commands, [expected]);
}

#[test]
fn a_fit_interface_is_ok_in_everything() {
    let all = checks(&interface(), &machine(), true);
    assert!(all.iter().all(|check| check.verdict == Verdict::Ok && check.commands.is_empty()), "{all:#?}");
}

#[test]
fn links_that_bring_nothing() {
    check("link", Verdict::Bad, "there is no eth0", |interface| unknown(&mut interface.state, "No such device"));
    check("link", Verdict::Bad, "without a carrier", |interface| state(interface).has_carrier = false);
    let off = check("link", Verdict::Bad, "switched off", |interface| state(interface).is_on = false);
    assert_eq!(off.commands, ["sudo ip link set dev eth0 up"]);
    let gone = interface_with(|interface| unknown(&mut interface.state, "No such device"));
    assert_eq!(checks(&gone, &machine(), true).len(), 1, "nothing else is said of it");
    assert_eq!(captured_by(&gone, &machine()), By::Nothing("there is no such interface"));
    let dark = interface_with(|interface| state(interface).has_carrier = false);
    assert_eq!(only(&checks(&dark, &machine(), false), "link").verdict, Verdict::Warn, "nobody named it");
}

/// The rule of `driver=auto`: native `AF_XDP` on an interface that the host does not use, else `AF_PACKET`.
#[test]
fn the_driver_that_auto_comes_to() {
    check("driver", Verdict::Ok, "ice; AF_XDP, since no address", |_| ());
    check("driver", Verdict::Ok, "AF_XDP, if its driver", |interface| {
        unknown(&mut interface.xdp, "this kernel does not say");
    });
    check("driver", Verdict::Ok, "AF_PACKET, since it carries 10.0.0.1", in_use);
    check("driver", Verdict::Ok, "AF_PACKET, since somebody else's", |interface| state(interface).program = Some(7));
    check("driver", Verdict::Ok, "AF_PACKET, since its driver runs no", |interface| {
        interface.xdp.found.as_mut().unwrap().is_native = false;
    });
    for (missing, part, verdict) in [
        (Capability::Perfmon, "AF_PACKET, since it may not have AF_XDP: CAP_PERFMON missing", Verdict::Ok),
        (Capability::NetRaw, "nothing, see privileges", Verdict::Bad),
        (Capability::IpcLock, "AF_XDP", Verdict::Ok),
    ] {
        let machine = machine_with(|machine| machine.privileges.missing = vec![missing]);
        let all = checks(&interface(), &machine, true);
        let driver = only(&all, "driver");
        assert!(driver.found.contains(part) && driver.verdict == verdict, "{driver:?}");
    }
    let refused = machine_with(|machine| unknown(&mut machine.program, "EPERM"));
    assert!(matches!(captured_by(&interface(), &refused), By::Packet(_)));
}

#[test]
fn what_the_driver_can_do_for_xdp() {
    check("xdp", Verdict::Ok, "native, zero-copy, passes the NIC's stamps on, says", |_| ());
    check("xdp", Verdict::Ok, "generic only", |interface| interface.xdp.found.as_mut().unwrap().is_native = false);
    check("xdp", Verdict::Unknown, "Linux 6.3", |interface| unknown(&mut interface.xdp, "Linux 6.3 says it"));
    let busy = check("xdp", Verdict::Warn, "number 7", |interface| state(interface).program = Some(7));
    assert!(busy.commands[0].starts_with("sudo ip link set dev eth0 xdp off"), "{busy:?}");
}

#[test]
fn queues_and_rings() {
    let many = |interface: &mut Interface| {
        interface.channels.found = Ok(Channels { combined: 16, combined_max: 16, ..Channels::default() });
    };
    check("queues", Verdict::Ok, "4 of at most 8", |_| ());
    command("queues", "16 of at most 16, for 8 processors", "sudo ethtool -L eth0 combined 8", many);
    check("queues", Verdict::Ok, "16 of at most 16", |interface| {
        many(interface);
        in_use(interface);
    });
    check("queues", Verdict::Ok, "8", |interface| unknown(&mut interface.channels, "the driver does not say"));
    let ring = |frames, frames_max| {
        move |interface: &mut Interface| interface.rx_ring.found = Ok(RxRing { frames, frames_max })
    };
    command("rx_ring", "512 of at most 8,192 frames", "sudo ethtool -G eth0 rx 4096", ring(512, 8192));
    command("rx_ring", "512 of at most 1,024", "sudo ethtool -G eth0 rx 1024", ring(512, 1024));
    check("rx_ring", Verdict::Ok, "256 of at most 256", ring(256, 256));
    check("rx_ring", Verdict::Unknown, "does not say", |interface| {
        unknown(&mut interface.rx_ring, "the driver does not say");
    });
}

#[test]
fn packets_that_are_merged_or_split() {
    check("merging", Verdict::Ok, "rx-gro: the XDP program comes before", |interface| switch_on(interface, "rx-gro"));
    command("merging", "rx-lro: drivers refuse", "sudo ethtool -K eth0 rx-lro off", |interface| {
        switch_on(interface, "rx-lro");
    });
    command("merging", "rx-gro: TCP", "sudo ethtool -K eth0 rx-gro off", |interface| {
        in_use(interface);
        switch_on(interface, "rx-gro");
    });
    let lro = check("merging", Verdict::Bad, "rx-gro-hw, rx-gro: the NIC merges", |interface| {
        in_use(interface);
        switch_on(interface, "rx-gro-hw");
        switch_on(interface, "rx-gro");
    });
    assert_eq!(lro.commands, ["sudo ethtool -K eth0 rx-gro-hw off rx-gro off"]);
    let fixed = check("merging", Verdict::Warn, "rx-gro", |interface| {
        in_use(interface);
        switch_on(interface, "rx-gro");
        interface.features.found.as_mut().unwrap()[0].is_fixed = true;
    });
    assert!(fixed.commands.is_empty(), "what cannot be changed has no command");
    assert!(fixed.found.ends_with("; rx-gro cannot be switched off here, only another NIC helps"), "{fixed:?}");
    check("merging", Verdict::Unknown, "EPERM", |interface| unknown(&mut interface.features, "EPERM"));
    let tso = |interface: &mut Interface| switch_on(interface, "tx-tcp-segmentation");
    check("splitting", Verdict::Ok, "received frames only", tso);
    command("splitting", "tx-tcp-segmentation", "sudo ethtool -K eth0 tx-tcp-segmentation off", |interface| {
        in_use(interface);
        tso(interface);
    });
}

#[test]
fn interrupts_that_wait_make_the_kernels_stamps_late() {
    let waits = |interface: &mut Interface| {
        interface.coalescing.found = Ok(Coalescing { rx_us: 50, rx_frames: 1, is_adaptive: false });
    };
    check("coalescing", Verdict::Ok, "up to 50 µs, or for 1 frame; the NIC's stamps are taken before", waits);
    // Without a limit of frames, as igb and e1000e say it.
    check("coalescing", Verdict::Ok, "the NIC waits up to 3 µs; the NIC's stamps are taken before", |interface| {
        interface.coalescing.found = Ok(Coalescing { rx_us: 3, rx_frames: 0, is_adaptive: false });
    });
    command("coalescing", "50 µs", "sudo ethtool -C eth0 rx-usecs 0", |interface| {
        waits(interface);
        interface.stamps.found = Ok(false);
    });
    command("coalescing", "adaptive", "sudo ethtool -C eth0 adaptive-rx off rx-usecs 0", |interface| {
        interface.coalescing.found = Ok(Coalescing { is_adaptive: true, ..Coalescing::default() });
        interface.stamps.found = Ok(false);
    });
    check("coalescing", Verdict::Unknown, "does not say", |interface| {
        unknown(&mut interface.coalescing, "does not say");
    });
}

#[test]
fn stamps_of_the_nic() {
    let stamping = |interface: &mut Interface| interface.stamping.found.as_mut().unwrap().stamps_all = false;
    check("hardware_stamps", Verdict::Ok, "every received frame", |_| ());
    check("hardware_stamps", Verdict::Warn, "PTP only", stamping);
    check("hardware_stamps", Verdict::Warn, "has none", |interface| {
        interface.stamping.found.as_mut().unwrap().has_hardware = false;
    });
    let off = check("hardware_stamps", Verdict::Warn, "that is off", |interface| interface.stamps.found = Ok(false));
    assert!(off.commands[0].starts_with("sudo hwstamp_ctl -i eth0 -t 0 -r 1"), "{off:?}");
    let held_back = |interface: &mut Interface| interface.xdp.found.as_mut().unwrap().has_stamps = Some(false);
    check("hardware_stamps", Verdict::Warn, "does not pass them on to AF_XDP", held_back);
    check("hardware_stamps", Verdict::Ok, "every received frame", |interface| {
        held_back(interface);
        in_use(interface);
    });
    check("hardware_stamps", Verdict::Unknown, "EPERM", |interface| unknown(&mut interface.stamping, "EPERM"));
}

#[test]
fn the_clock_of_the_nic() {
    let read = |plus_minus_ns| {
        move |interface: &mut Interface| {
            interface.clock.as_mut().unwrap().found = Ok(NicClock { number: 0, offset_ns: -1_500, plus_minus_ns });
        }
    };
    check("nic_clock", Verdict::Ok, "-1.500 µs to UTC, read within ± 5.000 µs", read(5_000));
    check("nic_clock", Verdict::Warn, "± 5.001 µs", read(5_001));
    check("nic_clock", Verdict::Ok, "has none", |interface| interface.clock = None);
    check("nic_clock", Verdict::Unknown, "Permission denied", |interface| {
        unknown(interface.clock.as_mut().unwrap(), "Permission denied");
    });
}

#[test]
fn frames_that_are_too_long_for_af_xdp() {
    check("mtu", Verdict::Ok, "1,500 bytes", |_| ());
    let long = check("mtu", Verdict::Warn, "9,000 bytes: frames over", |interface| state(interface).mtu = 9000);
    let longest = needs(9000, 1, false).frame_bytes_max;
    assert_eq!(long.commands, [format!("sudo ip link set dev eth0 mtu {}", longest - 22)]);
    check("mtu", Verdict::Ok, "AF_PACKET takes whole", |interface| {
        state(interface).mtu = 9000;
        in_use(interface);
    });
    // The MTU that the command sets is one that fits.
    check("mtu", Verdict::Ok, "bytes", |interface| state(interface).mtu = longest - 22);
    check("mtu", Verdict::Warn, "bytes", |interface| state(interface).mtu = longest - 21);
}

#[test]
fn frames_that_were_dropped() {
    check("drops", Verdict::Ok, "none", |_| ());
    check(
        "drops",
        Verdict::Ok,
        "0 not received (rx_missed), 0 damaged (rx_errors), 3 dropped (rx_dropped); frames that nobody",
        |interface| {
            state(interface).drops.dropped = 3;
        },
    );
    check("drops", Verdict::Warn, "1,234 not received", |interface| state(interface).drops.missed = 1234);
    check("drops", Verdict::Warn, "5 damaged", |interface| state(interface).drops.errors = 5);
}
