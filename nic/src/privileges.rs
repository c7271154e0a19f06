//! Which capabilities (capabilities(7)) a capture needs, which of them are missing, and giving up all others.

use std::fmt;
use std::io;

/// The capabilities that capturing needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Capability {
    /// Sockets that see whole frames: AF_PACKET and AF_XDP.
    NetRaw,
    /// Attaching an XDP program, hardware stamps.
    NetAdmin,
    /// Loading an XDP program.
    Bpf,
    /// That program looks into frames at places that it computes.
    Perfmon,
    /// Memory of AF_XDP beyond RLIMIT_MEMLOCK.
    IpcLock,
}

/// What this process has of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Privileges {
    pub missing: Vec<Capability>,
}

impl Capability {
    pub const ALL: [Capability; 5] =
        [Capability::NetRaw, Capability::NetAdmin, Capability::Bpf, Capability::Perfmon, Capability::IpcLock];

    /// Its number in Linux `capability.h`.
    fn number(self) -> u32 {
        match self {
            Capability::NetRaw => 13,
            Capability::NetAdmin => 12,
            Capability::Bpf => 39,
            Capability::Perfmon => 38,
            Capability::IpcLock => 14,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Capability::NetRaw => "CAP_NET_RAW",
            Capability::NetAdmin => "CAP_NET_ADMIN",
            Capability::Bpf => "CAP_BPF",
            Capability::Perfmon => "CAP_PERFMON",
            Capability::IpcLock => "CAP_IPC_LOCK",
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl Privileges {
    pub fn has(&self, capability: Capability) -> bool {
        !self.missing.contains(&capability)
    }

    pub fn can_capture_packets(&self) -> bool {
        self.has(Capability::NetRaw)
    }

    /// CAP_IPC_LOCK is needed for large rings only, so its absence is no reason not to try.
    pub fn can_capture_xdp(&self) -> bool {
        self.missing.iter().all(|capability| *capability == Capability::IpcLock)
    }

    /// The missing ones in words: "CAP_BPF and CAP_PERFMON".
    pub fn missing_names(&self) -> String {
        let names: Vec<&str> = self.missing.iter().map(|capability| capability.name()).collect();
        names.join(" and ")
    }

    /// The line that grants what is needed to this program's file.
    pub fn setcap_line(&self) -> String {
        let names: Vec<String> = Capability::ALL.iter().map(|capability| capability.name().to_lowercase()).collect();
        let program = std::env::current_exe().map_or("PROGRAM".to_owned(), |path| path.display().to_string());
        format!("sudo setcap {}=ep {program}", names.join(","))
    }

    /// The line that grants it to a service, in the `[Service]` section of its systemd unit.
    pub fn systemd_line(&self) -> String {
        let names: Vec<&str> = Capability::ALL.iter().map(|capability| capability.name()).collect();
        format!("AmbientCapabilities={}", names.join(" "))
    }
}

fn bits(capabilities: &[Capability]) -> u64 {
    capabilities.iter().fold(0, |bits, capability| bits | 1 << capability.number())
}

/// The missing of what `/proc/self/status` calls `CapEff`.
fn missing(status: &str) -> Vec<Capability> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    Capability::ALL.into_iter().filter(|capability| effective & bits(&[*capability]) == 0).collect()
}

/// What the calling thread may do. Where /proc cannot be read, nothing is known to be there.
pub fn privileges() -> Privileges {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    Privileges { missing: missing(&status) }
}

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

/// Low and high words of the three sets.
#[repr(C)]
#[derive(Clone, Copy)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const VERSION: u32 = 0x2008_0522;
/// The number of CAP_SYS_NICE.
const SYS_NICE: u64 = 23;

/// Gives up every capability that capturing does not need, for good: children cannot get them back either. What
/// [`crate::realtime`] needs is kept where that is asked for. To be called before other threads are started, since each thread
/// has its own. Returns what is left.
#[allow(unsafe_code, reason = "capset(2) and prctl(2) have no safe interface")]
pub fn drop_other_capabilities(keeps_realtime: bool) -> io::Result<Privileges> {
    let mut header = Header { version: VERSION, pid: 0 };
    let mut sets = [Sets { effective: 0, permitted: 0, inheritable: 0 }; 2];
    // SAFETY: version 3 reads one header and writes two sets.
    if unsafe { libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let keep = bits(&Capability::ALL) | if keeps_realtime { 1 << SYS_NICE } else { 0 };
    for number in 0..64u64 {
        // SAFETY: no memory is passed. Numbers that the kernel does not know, and a process that may not, are refused.
        if keep & 1 << number == 0 && unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) } != 0 {
            break;
        }
    }
    for (set, keep) in sets.iter_mut().zip([keep & 0xFFFF_FFFF, keep >> 32]) {
        let keep = u32::try_from(keep).expect("32 bits");
        *set = Sets { effective: set.effective & keep, permitted: set.permitted & keep, inheritable: 0 };
    }
    // SAFETY: no memory is passed.
    let result = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: version 3 reads one header and two sets.
    if unsafe { libc::syscall(libc::SYS_capset, &raw mut header, sets.as_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(privileges())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_capabilities_are_named() {
        for (effective, expected) in [
            ("000001ffffffffff", ""),
            ("0000000000000000", "CAP_NET_RAW and CAP_NET_ADMIN and CAP_BPF and CAP_PERFMON and CAP_IPC_LOCK"),
            ("0000000000003000", "CAP_BPF and CAP_PERFMON and CAP_IPC_LOCK"),
            ("000000c000003000", "CAP_IPC_LOCK"),
            ("nonsense", "CAP_NET_RAW and CAP_NET_ADMIN and CAP_BPF and CAP_PERFMON and CAP_IPC_LOCK"),
        ] {
            let privileges = Privileges { missing: missing(&format!("Name:\tx\nCapEff:\t{effective}\n")) };
            assert_eq!(privileges.missing_names(), expected, "{effective}");
            assert_eq!(privileges.can_capture_xdp(), matches!(expected, "" | "CAP_IPC_LOCK"));
        }
        let line = Privileges { missing: Vec::new() }.setcap_line();
        assert!(
            line.starts_with("sudo setcap cap_net_raw,cap_net_admin,cap_bpf,cap_perfmon,cap_ipc_lock=ep /"),
            "{line}"
        );
        let line = Privileges { missing: Vec::new() }.systemd_line();
        assert_eq!(line, "AmbientCapabilities=CAP_NET_RAW CAP_NET_ADMIN CAP_BPF CAP_PERFMON CAP_IPC_LOCK");
    }

    /// On a thread of its own: capabilities are a thread's.
    #[test]
    fn others_are_dropped_for_good() {
        let before = privileges();
        std::thread::spawn(move || {
            let left = drop_other_capabilities(false).unwrap();
            assert_eq!(left, before);
            let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
            for name in ["CapEff:", "CapPrm:"] {
                let hex = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
                let found = u64::from_str_radix(hex.trim(), 16).unwrap();
                assert_eq!(found & !bits(&Capability::ALL), 0, "{name}");
            }
        })
        .join()
        .unwrap();
    }
}
