//! What is checked, and why it matters: the list that checks and the manual are made from.

/// A check, whatever comes out of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// For scripts.
    pub name: &'static str,
    /// For people.
    pub title: &'static str,
    /// Why it matters.
    pub why: &'static str,
}

macro_rules! kinds {
    ($list:ident: $($constant:ident = $name:literal, $title:literal, $why:literal;)*) => {
        $(pub(super) static $constant: Kind = Kind { name: $name, title: $title, why: $why };)*
        pub static $list: &[&Kind] = &[$(&$constant),*];
    };
}

kinds! { MACHINE_KINDS:
    KERNEL = "kernel", "kernel", "AF_PACKET captures with every driver, in both directions";
    AF_XDP = "af_xdp", "AF_XDP", "frames are taken and stamped in the driver, before the stack";
    STAMP_FUNCTION = "stamp_function", "NIC stamps, AF_XDP", "without it AF_XDP cannot use the NIC's stamps, only its own";
    PRIVILEGES = "privileges", "privileges", "capturing needs them, and nothing else is needed";
    LOCKED_MEMORY = "locked_memory", "locked memory", "rings of AF_XDP count against this limit where CAP_IPC_LOCK is missing";
    JIT = "bpf_jit", "BPF compiler", "filter and XDP program run for every frame, many times slower where they are interpreted";
    CLOCK = "clock", "clock", "times are UTC, and comparable with other machines', only as far as the clock is kept";
    TIME_DAEMON = "time_daemon", "time daemon", "one daemon has to keep each clock, and only one";
    TAI = "tai_offset", "TAI − UTC", "AF_XDP stamps count TAI: set while capturing, it moves up to a second of stamps by as much";
    CLOCKSOURCE = "clocksource", "clock source", "every stamp reads it, and hpet and acpi_pm are many times slower than tsc";
    ISOLATION = "isolation", "isolated CPUs", "whatever else runs on a capture thread's processor lets its ring fill up";
    GOVERNOR = "governor", "CPU frequency", "a processor that has to speed up first is late when a burst begins";
    SMT = "smt", "SMT", "two threads that share a core slow each other";
    IRQBALANCE = "irqbalance", "irqbalance", "it moves interrupts of queues to other processors while capturing";
}

kinds! { INTERFACE_KINDS:
    LINK = "link", "link", "nothing arrives where it is down or dark";
    DRIVER = "driver", "driver=auto", "AF_XDP takes frames away from the host, AF_PACKET copies them, sent ones too";
    XDP = "xdp", "XDP", "without native XDP, AF_XDP has no advantage over AF_PACKET";
    QUEUES = "queues", "queues", "AF_XDP needs a thread for each queue";
    RX_RING = "rx_ring", "receive ring", "what arrives while it is full is lost before anybody counts packets";
    MERGING = "merging", "merging offloads", "merged packets were never on the wire, and all have the time of one";
    SPLITTING = "splitting", "splitting offloads", "what is sent is seen in pieces that never were on the wire, before the NIC cuts them";
    COALESCING = "coalescing", "interrupts", "a stamp of the kernel is late by as long as the NIC waits with its interrupt";
    STAMPS = "hardware_stamps", "NIC stamps", "a stamp of the NIC is not late, one of the kernel is by NIC and interrupt";
    NIC_CLOCK = "nic_clock", "NIC clock", "its stamps are brought to UTC by comparing the clocks every second";
    MTU = "mtu", "MTU", "AF_XDP loses frames that are longer than its buffers";
    DROPS = "drops", "drops", "frames that the NIC or its driver dropped are in no capture";
}
