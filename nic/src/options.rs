//! What a capture is asked to do.

use std::net::IpAddr;
use std::time::Duration;

/// How frames are taken from the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Driver {
    /// AF_XDP where it fits, else AF_PACKET; [`crate::Capture::chosen`] says which and why.
    #[default]
    Auto,
    /// Takes frames that match away from the host's stack: for ports that a tap or a mirror feeds. A NIC that takes VLAN tags
    /// out (`ethtool -k`: rx-vlan-offload) keeps them from the program; switch that off where tags matter.
    Xdp,
    /// Copies of what the host sends and receives.
    AfPacket,
}

/// A frame is captured if one of its TCP or UDP ports is listed, **or** its destination address is. An empty filter lets
/// everything through. Up to two VLAN tags are looked behind.
///
/// Packets without ports: behind extension headers of IPv6 ports are not looked for. Later fragments of IPv4 are captured by
/// AF_PACKET whatever their ports are; AF_XDP, which would take them away from the host, leaves them there and counts them
/// ([`crate::Counters::fragments_passed`]).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    pub ports: Vec<u16>,
    pub addresses: Vec<IpAddr>,
}

impl Filter {
    pub fn is_empty(&self) -> bool {
        self.ports.is_empty() && self.addresses.is_empty()
    }
}

/// Whether the NIC's own stamps are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HardwareStamps {
    Never,
    /// Where somebody has switched them on already (`ptp4l` and `hwstamp_ctl` do).
    #[default]
    WhereOn,
    /// Switches them on for all received frames (SIOCSHWTSTAMP), and back at the end. Fails where the NIC cannot.
    SwitchOn,
}

/// A multicast group to join while capturing, with its source for source-specific multicast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    pub address: IpAddr,
    pub source: Option<IpAddr>,
}

/// Where in the kernel the XDP program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum XdpMode {
    /// Native, else generic.
    #[default]
    Auto,
    /// In the driver.
    Native,
    /// In the network stack: works with every driver, and is slower.
    Generic,
}

/// Polling instead of interrupts (SO_PREFER_BUSY_POLL); needs `napi_defer_hard_irqs` and `gro_flush_timeout` of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BusyPoll {
    pub time: Duration,
    /// Frames for one poll.
    pub budget: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PacketOptions {
    /// More than one: the kernel divides flows among them (PACKET_FANOUT), both directions of a flow to the same.
    pub rings: u16,
    /// Memory of one ring.
    pub ring_bytes: usize,
    /// How long a frame may wait in a block that is not full. A reader that stalls loses frames, at any rate, once every block
    /// of 256 KiB has a frame: after 256 times this with 64 MiB.
    pub block_timeout_ms: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XdpOptions {
    pub mode: XdpMode,
    /// Zero-copy where the driver has it.
    pub zero_copy: bool,
    /// Empty: all of them. A queue that is left out passes its frames to the host, counted as `no_socket`.
    pub queues: Vec<u32>,
    /// Frames that fit into the ring of a queue, a power of two. Twice as many chunks of memory (2 or 4 KiB) are there.
    pub ring_frames: u32,
    /// Memory for all queues together: with many of them, rings are made smaller until it suffices.
    pub memory_bytes_max: usize,
    pub busy_poll: Option<BusyPoll>,
    /// Take frames even from an interface that carries addresses of this host.
    pub steal: bool,
    /// Write stamps into the frame (they are taken out again), as where a driver has no room before it. For trying that.
    #[doc(hidden)]
    pub is_note_inside: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    pub interface: String,
    pub driver: Driver,
    pub filter: Filter,
    /// Frames for other hosts too, as a tap sends them.
    pub promiscuous: bool,
    pub groups: Vec<Group>,
    pub hardware: HardwareStamps,
    pub packet: PacketOptions,
    pub xdp: XdpOptions,
}

impl Options {
    /// Everything on the interface, with the driver that fits. The sizes are those that lost nothing where it was measured.
    pub fn new(interface: &str) -> Options {
        Options {
            interface: interface.to_owned(),
            driver: Driver::default(),
            filter: Filter::default(),
            promiscuous: true,
            groups: Vec::new(),
            hardware: HardwareStamps::default(),
            packet: PacketOptions { rings: 1, ring_bytes: 64 << 20, block_timeout_ms: 25 },
            xdp: XdpOptions {
                mode: XdpMode::default(),
                zero_copy: true,
                queues: Vec::new(),
                ring_frames: 32_768,
                memory_bytes_max: 1 << 30,
                busy_poll: None,
                steal: false,
                is_note_inside: false,
            },
        }
    }
}
