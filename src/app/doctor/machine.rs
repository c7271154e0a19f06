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
    let is_limited = !limit.is_some_and(|limit| limit.is_none_or(|bytes| bytes >= needs(MTU, 1, false).locked_bytes));
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
        let has_zero_copy = interface.xdp.known().is_some_and(|ability| ability.has_zero_copy);
        needs(mtu, queues(interface), has_zero_copy).locked_bytes
    };
    let all: u64 = interfaces
        .iter()
        .filter(|interface| matches!(captured_by(interface, machine), By::Xdp))
        .map(need)
        .fold(0, u64::saturating_add);
    let needed = if all > 0 { all } else { needs(MTU, 1, false).locked_bytes };
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

/// The last two processors, of at least four: the first ones usually serve more interrupts.
fn last_processors(online: u64) -> String {
    format!("{}-{}", online - 2, online - 1)
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
            let list = last_processors(online);
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

#[cfg(test)]
mod tests {
    use super::super::only;
    use super::super::samples::{interface, machine, machine_with, unknown};
    use super::*;

    /// Verdict, and a part of what was found, after one change of a fit machine.
    fn check(name: &str, verdict: Verdict, part: &str, change: impl FnOnce(&mut Machine)) -> Check {
        let machine = machine_with(change);
        let mut all = checks(&machine, &[interface()]);
        all.extend(processors(&machine));
        let check = only(&all, name).clone();
        assert_eq!(check.verdict, verdict, "{check:?}");
        assert!(check.found.contains(part), "{part}: {check:?}");
        assert!(check.commands.is_empty() || !matches!(verdict, Verdict::Ok | Verdict::Unknown), "{check:?}");
        check
    }

    #[test]
    fn a_fit_machine_is_ok_in_everything() {
        let machine = machine();
        let all: Vec<Check> = checks(&machine, &[interface()]).into_iter().chain(processors(&machine)).collect();
        assert!(all.iter().all(|check| check.verdict == Verdict::Ok && check.commands.is_empty()), "{all:#?}");
    }

    #[test]
    fn kernels_without_what_is_needed() {
        check("kernel", Verdict::Bad, "no AF_PACKET", |machine| machine.packet_sockets.found = Ok(false));
        check("kernel", Verdict::Unknown, "too many files", |machine| {
            unknown(&mut machine.packet_sockets, "too many files");
        });
        check("af_xdp", Verdict::Warn, "has no AF_XDP", |machine| machine.xdp_sockets.found = Ok(false));
        check("af_xdp", Verdict::Ok, "CLOCK_MONOTONIC", |machine| machine.program.found = Ok(false));
        check("af_xdp", Verdict::Warn, "refuses the XDP program (EPERM)", |machine| {
            unknown(&mut machine.program, "EPERM");
        });
        check("af_xdp", Verdict::Unknown, "cannot be tried (EPERM)", |machine| {
            machine.privileges.missing = vec![Capability::Bpf];
            unknown(&mut machine.program, "EPERM");
        });
        check("stamp_function", Verdict::Warn, "Linux 6.3", |machine| machine.stamp_function.found = Ok(false));
        check("stamp_function", Verdict::Unknown, "hidden", |machine| unknown(&mut machine.stamp_function, "hidden"));
        check("bpf_jit", Verdict::Unknown, "No such file", |machine| unknown(&mut machine.jit, "No such file"));
        let jit = check("bpf_jit", Verdict::Warn, "off", |machine| machine.jit.found = Ok(0));
        assert_eq!(jit.commands, ["sudo sysctl net.core.bpf_jit_enable=1"]);
        check("bpf_jit", Verdict::Ok, "on", |machine| machine.jit.found = Ok(2));
    }

    #[test]
    fn privileges_that_are_missing_are_named_with_both_lines_that_grant_them() {
        let missing = |list: &[Capability]| {
            let list = list.to_vec();
            move |machine: &mut Machine| machine.privileges.missing = list
        };
        let all = check("privileges", Verdict::Bad, "CAP_NET_RAW", missing(&Capability::ALL));
        assert!(all.commands[0].starts_with("sudo setcap cap_net_raw,"), "{all:?}");
        assert!(all.commands[1].starts_with("AmbientCapabilities=CAP_NET_RAW "), "{all:?}");
        let xdp = check(
            "privileges",
            Verdict::Warn,
            "CAP_BPF, CAP_PERFMON missing: AF_XDP is out",
            missing(&[Capability::Bpf, Capability::Perfmon]),
        );
        assert_eq!(xdp.commands.len(), 2);
        check("privileges", Verdict::Ok, "CAP_IPC_LOCK missing", missing(&[Capability::IpcLock]));
        check("privileges", Verdict::Warn, "CAP_IPC_LOCK missing", |machine| {
            machine.privileges.missing = vec![Capability::IpcLock];
            machine.locked_bytes_max.found = Ok(Some(8 << 20));
        });
    }

    /// 32,768 frames of a ring, twice as many chunks of 4 KiB for zero copy: 256 MiB a queue, and the sample has four.
    #[test]
    fn locked_memory_suffices_for_all_queues_or_not() {
        let limited = |bytes: u64| {
            move |machine: &mut Machine| {
                machine.privileges.missing = vec![Capability::IpcLock];
                machine.locked_bytes_max.found = Ok(Some(bytes));
            }
        };
        let few = check(
            "locked_memory",
            Verdict::Warn,
            "1023 MiB, but AF_XDP on these interfaces takes 1024 MiB",
            limited(1023 << 20),
        );
        assert_eq!(few.commands.len(), 2);
        check("locked_memory", Verdict::Ok, "1024 MiB", limited(1024 << 20));
        check("locked_memory", Verdict::Ok, "CAP_IPC_LOCK", |machine| machine.locked_bytes_max.found = Ok(Some(1)));
        check("locked_memory", Verdict::Unknown, "hidden", |machine| unknown(&mut machine.locked_bytes_max, "hidden"));
        check("locked_memory", Verdict::Warn, "a queue of AF_XDP takes 128 MiB", |machine| {
            machine.privileges.missing = vec![Capability::Bpf, Capability::IpcLock];
            machine.locked_bytes_max.found = Ok(Some(8 << 20));
        });
    }

    #[test]
    fn processors_that_are_shared() {
        let none = check("isolation", Verdict::Warn, "none of 8 processors", |machine| {
            machine.processors.isolated.found = Ok(String::new());
        });
        assert!(none.commands[0].contains("isolcpus=6-7 nohz_full=6-7"), "{none:?}");
        check("isolation", Verdict::Warn, "2 processors are too few", |machine| {
            machine.processors.isolated.found = Ok(String::new());
            machine.processors.online.found = Ok("0-1".into());
        });
        let ticks = check("isolation", Verdict::Warn, "timer interrupts go on", |machine| {
            unknown(&mut machine.processors.tickless, "No such file");
        });
        assert!(ticks.commands[0].contains("nohz_full=6-7"), "{ticks:?}");
        check("governor", Verdict::Warn, "powersave on 2", |machine| {
            machine.processors.governors.found = Ok([("performance".into(), 6), ("powersave".into(), 2)].into());
        });
        check("governor", Verdict::Unknown, "a hypervisor", |machine| {
            unknown(&mut machine.processors.governors, "a hypervisor");
        });
        let smt = check("smt", Verdict::Warn, "on", |machine| machine.processors.smt.found = Ok(true));
        assert_eq!(smt.commands.len(), 1);
        check("smt", Verdict::Unknown, "No such file", |machine| unknown(&mut machine.processors.smt, "No such file"));
        let moving = check("irqbalance", Verdict::Warn, "is running", |machine| {
            machine.daemons.found.as_mut().unwrap().running.push("irqbalance".into());
        });
        assert_eq!(moving.commands, ["sudo systemctl disable --now irqbalance"]);
        check("irqbalance", Verdict::Unknown, "hidden", |machine| unknown(&mut machine.daemons, "hidden"));
    }
}
