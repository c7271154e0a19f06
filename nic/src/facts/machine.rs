//! The machine: what its kernel takes, what this process may do, its clocks and its processors.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use super::time::{ClockState, Daemons, clock_state, daemons};
use super::{Fact, number, text};
use crate::privileges::{Privileges, privileges};
use crate::sys;
use crate::xdp;

const PROCESSORS: &str = "/sys/devices/system/cpu";
const CLOCKSOURCE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    pub kernel: Fact<String>,
    /// Whether the kernel has such sockets, whoever may open them.
    pub packet_sockets: Fact<bool>,
    pub xdp_sockets: Fact<bool>,
    /// The XDP program was loaded, and not attached: whether it stamps in TAI.
    pub program: Fact<bool>,
    /// The kernel has the function with which the program asks the driver for the NIC's stamp (since 6.3).
    pub stamp_function: Fact<bool>,
    pub privileges: Privileges,
    /// `None` where there is no limit.
    pub locked_bytes_max: Fact<Option<u64>>,
    /// 0: programs in the kernel are interpreted.
    pub jit: Fact<u64>,
    pub clock: Fact<ClockState>,
    pub daemons: Fact<Daemons>,
    pub clocksource: Fact<String>,
    pub processors: Processors,
}

/// Lists are as the kernel writes them: "2-5,8".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Processors {
    pub online: Fact<String>,
    /// `isolcpus=`: nothing runs there that was not sent there.
    pub isolated: Fact<String>,
    /// `nohz_full=`: no timer interrupts where one thread runs.
    pub tickless: Fact<String>,
    /// Two threads share a core.
    pub smt: Fact<bool>,
    /// Governors of their frequency, each with how many processors it has.
    pub governors: Fact<BTreeMap<String, usize>>,
}

/// Looks everything up.
pub fn machine() -> Machine {
    Machine {
        kernel: text("/proc/sys/kernel/osrelease"),
        packet_sockets: has_family("socket(AF_PACKET)", libc::AF_PACKET),
        xdp_sockets: has_family("socket(AF_XDP)", libc::AF_XDP),
        program: Fact::new("BPF_PROG_LOAD", xdp::try_out()),
        stamp_function: Fact::new(xdp::KERNEL_TYPES, xdp::has_stamp_function()),
        privileges: privileges(),
        locked_bytes_max: locked_bytes_max(),
        jit: number("/proc/sys/net/core/bpf_jit_enable"),
        clock: clock_state(),
        daemons: daemons(),
        clocksource: text(CLOCKSOURCE),
        processors: processors(),
    }
}

fn has_family(from: &str, family: i32) -> Fact<bool> {
    Fact::new(from, is_known(sys::socket(family, libc::SOCK_RAW, 0).map(drop)))
}

/// A family that is not there is refused before anybody asks who wants it.
fn is_known(opened: io::Result<()>) -> io::Result<bool> {
    match opened {
        Ok(()) => Ok(true),
        Err(error) => match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Ok(true),
            Some(libc::EAFNOSUPPORT | libc::ESOCKTNOSUPPORT) => Ok(false),
            _ => Err(error),
        },
    }
}

fn locked_bytes_max() -> Fact<Option<u64>> {
    let limits = text("/proc/thread-self/limits");
    let found = limits.found.and_then(|limits| locked(&limits));
    Fact { from: "/proc/thread-self/limits".to_owned(), found }
}

/// "Max locked memory   soft   hard   bytes"; `None` is no limit.
fn locked(limits: &str) -> Result<Option<u64>, String> {
    let rest = limits.lines().find_map(|line| line.strip_prefix("Max locked memory"));
    match rest.and_then(|rest| rest.split_whitespace().next()) {
        Some("unlimited") => Ok(None),
        Some(soft) => soft.parse().map(Some).map_err(|_| format!("\"{soft}\" is no limit of locked memory")),
        None => Err("it has no line of locked memory".to_owned()),
    }
}

fn processors() -> Processors {
    Processors {
        online: text(&format!("{PROCESSORS}/online")),
        isolated: text(&format!("{PROCESSORS}/isolated")),
        tickless: tickless(text(&format!("{PROCESSORS}/nohz_full"))),
        smt: number(&format!("{PROCESSORS}/smt/active")).map(|active| active != 0),
        governors: Fact::new(&format!("{PROCESSORS}/cpu*/cpufreq/scaling_governor"), governors()),
    }
}

/// A kernel that could, and was not told to, writes "(null)".
fn tickless(fact: Fact<String>) -> Fact<String> {
    fact.map(|list| if list == "(null)" { String::new() } else { list })
}

fn governors() -> Result<BTreeMap<String, usize>, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(PROCESSORS).map_err(|error| error.to_string())?.flatten() {
        if let Ok(name) = fs::read_to_string(entry.path().join("cpufreq/scaling_governor")) {
            *found.entry(name.trim().to_owned()).or_insert(0) += 1;
        }
    }
    if found.is_empty() {
        Err("no processor has one: the firmware or a hypervisor decides".to_owned())
    } else {
        Ok(found)
    }
}

/// How many processors a list names: "2-5,8" are five.
pub fn processors_in(list: &str) -> u64 {
    let count = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.trim().parse::<u64>().ok()?, last.trim().parse::<u64>().ok()?);
        last.checked_sub(first)?.checked_add(1)
    };
    list.split(',').filter_map(count).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_counted_in_lists() {
        for (list, expected) in
            [("", 0), ("3", 1), ("2-5,8", 5), ("0-1", 2), ("5-2", 0), ("x", 0), ("0-18446744073709551615", 0)]
        {
            assert_eq!(processors_in(list), expected, "{list}");
        }
    }

    #[test]
    fn the_limit_of_locked_memory_is_the_soft_one() {
        let line = |soft: &str| format!("Max cpu time  unlimited\nMax locked memory         {soft}   99  bytes\n");
        assert_eq!(locked(&line("8388608")), Ok(Some(8_388_608)));
        assert_eq!(locked(&line("unlimited")), Ok(None));
        assert!(locked(&line("much")).is_err() && locked("").is_err());
    }

    #[test]
    fn who_may_not_open_a_socket_still_learns_whether_the_kernel_has_it() {
        let refused = |code| Err(io::Error::from_raw_os_error(code));
        assert!(is_known(Ok(())).unwrap() && is_known(refused(libc::EPERM)).unwrap());
        assert!(!is_known(refused(libc::EAFNOSUPPORT)).unwrap());
        assert!(is_known(refused(libc::EMFILE)).is_err());
    }

    #[test]
    fn a_kernel_that_was_not_told_has_no_tickless_processors() {
        let fact = |text: &str| tickless(Fact::new::<String>("x", Ok(text.to_owned()))).found.unwrap();
        assert_eq!((fact("(null)"), fact("2-3")), (String::new(), "2-3".to_owned()));
    }

    /// Whoever runs the tests: every fact is known or says why not.
    #[test]
    fn this_machine_is_read() {
        let machine = machine();
        assert!(
            machine.kernel.found.as_ref().is_ok_and(|kernel| kernel.starts_with(|first: char| first.is_ascii_digit()))
        );
        assert_eq!(machine.packet_sockets.found, Ok(true));
        assert!(machine.processors.online.known().is_some_and(|online| processors_in(online) > 0));
        if !machine.privileges.can_capture_xdp() {
            assert!(machine.program.found.is_err(), "loading needs what is missing");
        }
    }
}
