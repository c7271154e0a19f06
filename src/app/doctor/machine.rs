//! Judging the machine: what its kernel takes, what this process may do, its processors.

use tickscope_nic::facts::{Interface, Machine, needs, processors_in};
use tickscope_nic::{Capability, Privileges};

use super::interface::{By, captured_by, queues};
use super::kinds::{
    AF_XDP, GOVERNOR, IRQBALANCE, ISOLATION, JIT, KERNEL, LOCKED_MEMORY, PRIVILEGES, SMT, STAMP_FUNCTION,
};
use super::{Check, Verdict, judged};

const MIB: u64 = 1 << 20;
/// Ethernet's usual.
const MTU: u32 = 1500;
/// Below that nothing is left for the rest of the machine.
const PROCESSORS_TO_ISOLATE: u64 = 4;

pub(super) fn checks(machine: &Machine, interfaces: &[Interface]) -> Vec<Check> {
    vec![
        kernel(machine),
        af_xdp(machine),
        stamp_function(machine),
        privileges(machine),
        locked_memory(machine, interfaces),
        jit(machine),
    ]
}

pub(super) fn processors(machine: &Machine) -> Vec<Check> {
    vec![isolation(machine), governor(machine), smt(machine), irqbalance(machine)]
}

fn kernel(machine: &Machine) -> Check {
    let release = machine.kernel.known().map_or("of an unknown release", String::as_str);
    judged(&KERNEL, &machine.packet_sockets, |has| {
        let (verdict, what) = if *has { (Verdict::Ok, "has AF_PACKET") } else { (Verdict::Bad, "has no AF_PACKET") };
        Check::new(&KERNEL, verdict, format!("Linux {release} {what}"), &machine.packet_sockets.from)
    })
    .value("release", release)
}

fn af_xdp(machine: &Machine) -> Check {
    let from = &machine.program.from;
    match (&machine.xdp_sockets.found, &machine.program.found) {
        (Ok(false), _) => {
            let found = "this kernel has no AF_XDP (CONFIG_XDP_SOCKETS), AF_PACKET is left";
            Check::new(&AF_XDP, Verdict::Warn, found, &machine.xdp_sockets.from)
        }
        (_, Ok(true)) => Check::new(&AF_XDP, Verdict::Ok, "the XDP program loads, and stamps in TAI", from),
        (_, Ok(false)) => {
            let found = "the XDP program loads; stamps are CLOCK_MONOTONIC and brought to UTC (Linux 6.1 has TAI)";
            Check::new(&AF_XDP, Verdict::Ok, found, from)
        }
        (_, Err(why)) if machine.privileges.can_capture_xdp() => {
            // In a container a process may seem to have every capability.
            let found = format!(
                "the kernel refuses the XDP program ({why}), AF_PACKET is left; in a container, ask on the host"
            );
            Check::new(&AF_XDP, Verdict::Warn, found, from)
        }
        (_, Err(why)) => {
            let found = format!("not known: without the privileges below the program cannot be tried ({why})");
            Check::new(&AF_XDP, Verdict::Unknown, found, from)
        }
    }
}

fn stamp_function(machine: &Machine) -> Check {
    let fact = &machine.stamp_function;
    judged(&STAMP_FUNCTION, fact, |has| {
        let (verdict, found) = if *has {
            (Verdict::Ok, "the kernel has bpf_xdp_metadata_rx_timestamp")
        } else {
            (Verdict::Warn, "the kernel has no bpf_xdp_metadata_rx_timestamp: it needs Linux 6.3 or later")
        };
        Check::new(&STAMP_FUNCTION, verdict, found, &fact.from)
    })
}

fn privileges(machine: &Machine) -> Check {
    let Privileges { missing } = &machine.privileges;
    let limit = machine.locked_bytes_max.known();
    let is_limited = !limit.is_some_and(|limit| limit.is_none_or(|bytes| bytes >= needs(MTU, 1).locked_bytes));
    let names = |list: &[Capability]| list.iter().map(|one| one.name()).collect::<Vec<_>>().join(", ");
    let (verdict, found) = if missing.is_empty() {
        (Verdict::Ok, format!("{} are there", names(&Capability::ALL)))
    } else if !machine.privileges.can_capture_packets() {
        (Verdict::Bad, format!("{} missing: nothing can be captured", names(missing)))
    } else if !machine.privileges.can_capture_xdp() {
        (Verdict::Warn, format!("{} missing: AF_XDP is out, AF_PACKET is left", names(missing)))
    } else if is_limited {
        (Verdict::Warn, format!("{} missing: AF_XDP has only the locked memory below", names(missing)))
    } else {
        (Verdict::Ok, format!("{} missing, which the limit of locked memory makes up for", names(missing)))
    };
    let missing: Vec<&str> = missing.iter().map(|one| one.name()).collect();
    let check = Check::new(&PRIVILEGES, verdict, found, "CapEff of /proc/thread-self/status").value("missing", missing);
    if verdict == Verdict::Ok {
        return check;
    }
    check
        .command(machine.privileges.setcap_line())
        .command(format!("{}  (in [Service] of its systemd unit)", machine.privileges.systemd_line()))
}

fn locked_memory(machine: &Machine, interfaces: &[Interface]) -> Check {
    let fact = &machine.locked_bytes_max;
    let need = |interface: &Interface| {
        let mtu = interface.state.known().map_or(MTU, |state| state.mtu);
        needs(mtu, queues(interface).unwrap_or(1)).locked_bytes
    };
    let all: u64 = interfaces
        .iter()
        .filter(|interface| matches!(captured_by(interface, machine), By::Xdp))
        .map(need)
        .fold(0, u64::saturating_add);
    let needed = if all > 0 { all } else { needs(MTU, 1).locked_bytes };
    judged(&LOCKED_MEMORY, fact, |limit| {
        let check = |verdict, found: String| Check::new(&LOCKED_MEMORY, verdict, found, &fact.from);
        let what = if all > 0 { "AF_XDP on these interfaces takes" } else { "a queue of AF_XDP takes" };
        let needed_text = format!("{what} {} MiB", needed.div_ceil(MIB));
        let check = match *limit {
            None => check(Verdict::Ok, "no limit".to_owned()),
            Some(_) if machine.privileges.has(Capability::IpcLock) => {
                check(Verdict::Ok, "does not count with CAP_IPC_LOCK".to_owned())
            }
            Some(bytes) if bytes >= needed => check(Verdict::Ok, format!("{} MiB; {needed_text}", bytes / MIB)),
            Some(bytes) => check(Verdict::Warn, format!("{} MiB, but {needed_text}", bytes / MIB))
                .command("ulimit -l unlimited  (as root, in the shell that starts it)")
                .command("LimitMEMLOCK=infinity  (in [Service] of its systemd unit)"),
        };
        check.value("limit_bytes", *limit).value("needed_bytes", needed)
    })
}

fn jit(machine: &Machine) -> Check {
    judged(&JIT, &machine.jit, |jit| {
        let check = |verdict, found| Check::new(&JIT, verdict, found, &machine.jit.from).value("bpf_jit_enable", *jit);
        match jit {
            0 => check(Verdict::Warn, "off").command("sudo sysctl net.core.bpf_jit_enable=1"),
            _ => check(Verdict::Ok, "on"),
        }
    })
}

/// The last `count` processors of a machine, which usually serve the fewest interrupts.
fn last_processors(online: u64, count: u64) -> String {
    let first = online - count;
    if count == 1 { first.to_string() } else { format!("{first}-{}", online - 1) }
}

fn boot_parameters(parameters: &str) -> String {
    format!(
        "sudo sed -i 's/^GRUB_CMDLINE_LINUX=\"/&{parameters} /' /etc/default/grub && sudo update-grub && sudo reboot"
    )
}

fn isolation(machine: &Machine) -> Check {
    let processors = &machine.processors;
    judged(&ISOLATION, &processors.isolated, |isolated| {
        let online = processors.online.known().map_or(0, |online| processors_in(online));
        let tickless = processors.tickless.known().map_or("", String::as_str);
        let check = |verdict, found: String| {
            Check::new(&ISOLATION, verdict, found, &processors.isolated.from)
                .value("online", online)
                .value("isolated", isolated.as_str())
                .value("nohz_full", tickless)
        };
        if isolated.is_empty() && online < PROCESSORS_TO_ISOLATE {
            check(Verdict::Warn, format!("none, and {online} processors are too few to set one apart"))
        } else if isolated.is_empty() {
            let list = last_processors(online, 2);
            check(Verdict::Warn, format!("none of {online} processors"))
                .command(boot_parameters(&format!("isolcpus={list} nohz_full={list} rcu_nocbs={list}")))
        } else if tickless.is_empty() {
            check(
                Verdict::Warn,
                format!("{isolated} of {online} processors, whose timer interrupts go on (no nohz_full)"),
            )
            .command(boot_parameters(&format!("nohz_full={isolated} rcu_nocbs={isolated}")))
        } else {
            check(Verdict::Ok, format!("{isolated} of {online} processors, without timer interrupts {tickless}"))
        }
    })
}

fn governor(machine: &Machine) -> Check {
    let fact = &machine.processors.governors;
    judged(&GOVERNOR, fact, |governors| {
        let names: Vec<&str> = governors.keys().map(String::as_str).collect();
        let found = governors.iter().map(|(name, count)| format!("{name} on {count}")).collect::<Vec<_>>().join(", ");
        let is_fast = names == ["performance"];
        let verdict = if is_fast { Verdict::Ok } else { Verdict::Warn };
        let check = Check::new(&GOVERNOR, verdict, format!("{found} processors"), &fact.from).value("governors", names);
        if is_fast {
            return check;
        }
        check.command(format!("echo performance | sudo tee {}", fact.from))
    })
}

fn smt(machine: &Machine) -> Check {
    let fact = &machine.processors.smt;
    judged(&SMT, fact, |is_active| {
        if *is_active {
            Check::new(&SMT, Verdict::Warn, "on", &fact.from)
                .value("active", true)
                .command("echo off | sudo tee /sys/devices/system/cpu/smt/control")
        } else {
            Check::new(&SMT, Verdict::Ok, "off, or there is none", &fact.from).value("active", false)
        }
    })
}

fn irqbalance(machine: &Machine) -> Check {
    let fact = &machine.daemons;
    judged(&IRQBALANCE, fact, |daemons| {
        if daemons.has("irqbalance") {
            Check::new(&IRQBALANCE, Verdict::Warn, "is running", &fact.from)
                .value("running", true)
                .command("sudo systemctl disable --now irqbalance")
        } else {
            Check::new(&IRQBALANCE, Verdict::Ok, "is not running", &fact.from).value("running", false)
        }
    })
}
