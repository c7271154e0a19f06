//! The programs that capture: how they are started, and what they say at their end.

use std::process::Command;
use std::time::Duration;

use super::daemon::{Running, program};
use super::lab::{ARRIVES, Lab};

/// Each has a buffer of so many MiB in the kernel, which is more than tcpdump takes by itself.
const BUFFER_MIB: u32 = 64;

#[derive(Clone, Copy)]
pub(crate) enum Program {
    Tcpdump,
    Dumpcap,
    /// By its driver.
    Live(&'static str),
}

pub(crate) const PROGRAMS: [Program; 4] =
    [Program::Tcpdump, Program::Dumpcap, Program::Live("afpacket"), Program::Live("xdp")];

/// What came of it.
pub(crate) struct Got {
    pub(crate) frames: u64,
    pub(crate) violations: usize,
}

impl Program {
    pub(crate) fn name(self) -> String {
        match self {
            Program::Tcpdump => "`tcpdump -w /dev/null`".to_owned(),
            Program::Dumpcap => "`dumpcap -w /dev/null`".to_owned(),
            Program::Live(driver) => format!("`tickscope live`, {driver}"),
        }
    }

    /// Starts it where frames arrive, and waits until it captures.
    pub(crate) fn start(self, lab: &Lab) -> Running {
        let interface = ARRIVES[0];
        let own = |name: &str, ready: &str, arguments: &[&str]| {
            let mut command: Command = Lab::command(&lab.receiver, name);
            command.args(arguments);
            Running::start(command, ready)
        };
        match self {
            Program::Tcpdump => {
                let kib = (BUFFER_MIB * 1024).to_string();
                own("tcpdump", "listening on", &["-i", interface, "-B", &kib, "-s0", "-Z", "root", "-w", "/dev/null"])
            }
            Program::Dumpcap => {
                let mib = BUFFER_MIB.to_string();
                own("dumpcap", "File:", &["-i", interface, "-B", &mib, "-w", "/dev/null"])
            }
            Program::Live(driver) => live(lab, program(), driver),
        }
    }

    pub(crate) fn end(self, running: Running) -> Got {
        let (_, output, said) = running.end(libc::SIGINT);
        // `5 packets captured`; `Packets received/dropped on interface 'x': 5/0 (…)`.
        let number = |part: &str, before: char| {
            let line = said.iter().find(|line| line.contains(part));
            let line = line.unwrap_or_else(|| panic!("it never said {part:?}, but {said:#?}"));
            let text = if before == ':' { line.rsplit_once("': ").unwrap().1 } else { line };
            text.trim_start().split([' ', '/']).next().unwrap().parse::<u64>().unwrap()
        };
        match self {
            Program::Tcpdump => Got { frames: number("packets captured", ' '), violations: 0 },
            Program::Dumpcap => Got { frames: number("Packets received/dropped", ':'), violations: 0 },
            Program::Live(_) => {
                let report: serde_json::Value = serde_json::from_str(&output).expect("the report");
                let live = &report["taps"][0]["live"];
                let violations = live["violations"].as_array().map_or(0, Vec::len);
                Got { frames: live["used"].as_u64().expect("used"), violations }
            }
        }
    }
}

/// A build of tickscope, once it captures.
pub(crate) fn live(lab: &Lab, program: &str, driver: &str) -> Running {
    let mut command = Lab::command(&lab.receiver, program);
    let tap = format!("all={},driver={driver}", ARRIVES[0]);
    command.args(["live", "--headless", "--json", "--tap", &tap]);
    Running::start(command, "capturing")
}

/// Processor time of a process so far.
pub(crate) fn processor_time(running: &Running) -> Duration {
    // Fields 14 and 15, behind the name in brackets, in hundredths of a second.
    let text = std::fs::read_to_string(format!("/proc/{}/stat", running.id())).unwrap();
    let fields: Vec<&str> = text.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

/// Memory that is really there.
pub(crate) fn resident_bytes(running: &Running) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", running.id())).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
