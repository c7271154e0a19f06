//! Opening a capture: the driver is chosen, receivers are handed out, and what happens meanwhile is told.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering::Relaxed};

use crate::afpacket;
use crate::clock::{self, Clocks, HardwareClock, Mapping};
use crate::counters::{Counters, Tally};
use crate::error::{CaptureError, OpenError};
use crate::events::Event;
use crate::link::{InterfaceDrops, Link, Watch};
use crate::multicast::Membership;
use crate::options::{Driver, HardwareStamps, Options, XdpMode};
use crate::privileges::{Capability, privileges};
use crate::receiver::{Receiver, Ring, Shared};
use crate::sys;
use crate::xdp;

/// Which driver captures, how, and why it was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// Never [`Driver::Auto`].
    pub driver: Driver,
    /// For example "native, zero-copy, 4 queues".
    pub how: String,
    pub why: String,
    /// Which clock stamps frames, and where.
    pub stamps: String,
}

impl fmt::Display for Chosen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let driver = match self.driver {
            Driver::Xdp => "AF_XDP",
            Driver::AfPacket | Driver::Auto => "AF_PACKET",
        };
        write!(formatter, "{driver} ({}), {}; stamps {}", self.how, self.why, self.stamps)
    }
}

/// What keeps a driver's capture going.
enum Held {
    Packet(afpacket::Sockets),
    /// The program's link, until the capture is stopped, and a socket that keeps the interface promiscuous.
    Xdp {
        link: Option<OwnedFd>,
        _promiscuous: Option<OwnedFd>,
    },
}

/// A driver that was opened.
struct Opened {
    held: Held,
    rings: Vec<(Ring, Arc<Tally>)>,
    /// Queues that have no receiver.
    left_out: Vec<Arc<Tally>>,
    chosen: Chosen,
}

/// A running capture of one interface. Dropping it stops it, as [`Capture::stop`] does.
pub struct Capture {
    held: Held,
    chosen: Chosen,
    watch: Watch,
    clocks: Clocks,
    tallies: Vec<Arc<Tally>>,
    receivers: Vec<Receiver>,
    shared: Arc<Shared>,
    drops_at_start: InterfaceDrops,
    interface: String,
    _memberships: Vec<Membership>,
    _stamps_switched_on: Option<clock::Restore>,
}

impl Capture {
    /// Opens the interface. When this returns, every frame that matches is captured or counted.
    pub fn open(options: &Options) -> Result<Capture, OpenError> {
        let interface = options.interface.clone();
        let watch = Watch::open(&interface)
            .map_err(|source| OpenError::NoInterface { interface: interface.clone(), source })?;
        let (hardware, switched_on) = hardware_clock(options)?;
        let clocks = Clocks::new(hardware);
        let opened = open_driver(options, watch.known(), &clocks)?;
        let memberships = join(options, watch.known())?;
        let shared = Arc::new(Shared {
            mtu: AtomicU32::new(watch.known().mtu),
            is_up: AtomicBool::new(watch.known().is_up),
            stopped_ns: AtomicI64::new(0),
        });
        let (mut tallies, mut receivers) = (Vec::new(), Vec::new());
        for (ring, tally) in opened.rings {
            tallies.push(Arc::clone(&tally));
            let (board, shared, interface) = (clocks.board(), Arc::clone(&shared), interface.clone());
            receivers.push(Receiver { ring, tally, board, shared, interface });
        }
        tallies.extend(opened.left_out);
        tallies.sort_by_key(|tally| tally.queue);
        Ok(Capture {
            held: opened.held,
            chosen: opened.chosen,
            drops_at_start: watch.known().drops,
            watch,
            clocks,
            tallies,
            receivers,
            shared,
            interface,
            _memberships: memberships,
            _stamps_switched_on: switched_on,
        })
    }

    /// Which driver captures, and why; its text is a sentence for users.
    pub fn chosen(&self) -> &Chosen {
        &self.chosen
    }

    /// The interface as it is known now: its name may have changed.
    pub fn link(&self) -> &Link {
        self.watch.known()
    }

    /// The reading ends, one for each queue or ring; empty when they were taken before.
    pub fn receivers(&mut self) -> Vec<Receiver> {
        std::mem::take(&mut self.receivers)
    }

    /// To be called about once a second: compares clocks, and tells what happened to link and clocks.
    pub fn advance(&mut self, tell: &mut dyn FnMut(Event)) -> Result<(), CaptureError> {
        let result = self.watch.changes(tell);
        self.shared.mtu.store(self.watch.known().mtu, Relaxed);
        self.shared.is_up.store(self.watch.known().is_up, Relaxed);
        self.clocks.advance(tell);
        let interface = self.interface.clone();
        result.map_err(|source| CaptureError { interface, what: "listening to changes of the link", source })
    }

    /// What happened to every frame, by queue.
    pub fn counters(&self) -> Result<Vec<Counters>, CaptureError> {
        let error = |source| CaptureError { interface: self.interface.clone(), what: "reading its counters", source };
        self.tallies.iter().map(|tally| tally.counters().map_err(error)).collect()
    }

    /// What NIC and driver dropped since the start, of all traffic: such frames were never seen. Zero when the interface is gone.
    pub fn interface_drops(&self) -> InterfaceDrops {
        self.watch.now().map(|link| link.drops.since(self.drops_at_start)).unwrap_or_default()
    }

    /// How the NIC's clock is brought to UTC, with its ±; `None` without hardware stamps.
    pub fn hardware_mapping(&self) -> Option<Mapping> {
        self.clocks.hardware_mapping()
    }

    /// TAI − UTC in seconds, as the kernel knows it. 0 means that no time daemon has told it.
    pub fn tai_offset_s(&self) -> i64 {
        self.clocks.tai_offset_s()
    }

    /// Takes nothing more from the interface. Receivers show what is in their rings and then answer `Ended`.
    pub fn stop(&mut self) {
        match &mut self.held {
            Held::Packet(sockets) => sockets.stop(),
            Held::Xdp { link, .. } => drop(link.take()),
        }
        let now_ns = sys::clock_ns(libc::CLOCK_MONOTONIC);
        // The first time counts.
        let _ = self.shared.stopped_ns.compare_exchange(0, now_ns, Relaxed, Relaxed);
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        // Receivers have the sockets too, and may live longer.
        self.stop();
    }
}

/// The interface's clock, where its stamps are wanted and on.
fn hardware_clock(options: &Options) -> Result<(Option<HardwareClock>, Option<clock::Restore>), OpenError> {
    let name = options.interface.as_str();
    let (is_wanted, is_forced) = match options.hardware {
        HardwareStamps::Never => (false, false),
        HardwareStamps::WhereOn => (clock::is_on(name), false),
        HardwareStamps::SwitchOn => (true, true),
    };
    if !is_wanted {
        return Ok((None, None));
    }
    let refused = |what, error| {
        OpenError::system(
            name,
            what,
            error,
            "`ethtool -T` shows what the NIC can stamp; capture without hardware stamps",
        )
    };
    let Some(number) = clock::phc_index(name) else {
        if is_forced {
            let error = std::io::Error::from_raw_os_error(libc::EOPNOTSUPP);
            return Err(refused("looking for the clock of the NIC", error));
        }
        return Ok((None, None));
    };
    match HardwareClock::open(number) {
        Ok(clock) if is_forced => {
            let restore = clock::switch_on(name).map_err(|error| refused("switching hardware stamps on", error))?;
            Ok((Some(clock), restore))
        }
        Ok(clock) => Ok((Some(clock), None)),
        Err(error) if is_forced => Err(refused("opening the clock of the NIC", error)),
        Err(_) => Ok((None, None)),
    }
}

fn join(options: &Options, link: &Link) -> Result<Vec<Membership>, OpenError> {
    let joined = options.groups.iter().map(|group| {
        Membership::join(link.index, group).map_err(|error| {
            let what = "joining a multicast group";
            OpenError::system(&options.interface, what, error, &format!("check that {} is a group", group.address))
        })
    });
    joined.collect()
}

fn open_driver(options: &Options, link: &Link, clocks: &Clocks) -> Result<Opened, OpenError> {
    match options.driver {
        Driver::AfPacket => open_packet(options, link, clocks, "as asked".to_owned()),
        Driver::Xdp => open_xdp(options, link, clocks, "as asked".to_owned()),
        Driver::Auto => {
            // In generic mode AF_XDP has no advantage over AF_PACKET, which sees both directions.
            let mut native = options.clone();
            native.xdp.mode = XdpMode::Native;
            let why = "chosen because the interface carries no address of this host and its driver runs XDP programs";
            match open_xdp(&native, link, clocks, why.to_owned()) {
                Ok(opened) => Ok(opened),
                Err(error) => open_packet(options, link, clocks, format!("chosen because AF_XDP is out: {error}")),
            }
        }
    }
}

fn need(options: &Options, driver: &'static str, needed: &[Capability]) -> Result<(), OpenError> {
    let mut privileges = privileges();
    privileges.missing.retain(|capability| needed.contains(capability));
    if privileges.missing.is_empty() {
        return Ok(());
    }
    let interface = options.interface.clone();
    let (file, unit) = (privileges.setcap_line(), privileges.systemd_line());
    let advice = format!("grant it by `{file}`, or by `{unit}` in its systemd unit, or run as root");
    Err(OpenError::Privileges { interface, driver, missing: privileges.missing_names(), advice })
}

fn open_xdp(options: &Options, link: &Link, clocks: &Clocks, why: String) -> Result<Opened, OpenError> {
    let needed = [Capability::NetRaw, Capability::NetAdmin, Capability::Bpf, Capability::Perfmon];
    need(options, "AF_XDP", &needed)?;
    let opened = xdp::open(options, link)?;
    let how = format!(
        "{}, {}, {} of {} queues with {} frames each, of {} bytes at most{}",
        if opened.is_native { "native" } else { "generic" },
        match opened.zero_copy_queues {
            0 => "copied".to_owned(),
            count if count == opened.sockets.len() => "zero-copy".to_owned(),
            count => format!("zero-copy on {count} queues, else copied"),
        },
        opened.sockets.len(),
        opened.sockets.len() + opened.left_out.len(),
        opened.ring_frames,
        opened.frame_bytes_max,
        if options.xdp.busy_poll.is_some() { ", polled busily" } else { "" },
    );
    let has_hardware = opened.has_hardware && clocks.hardware_mapping().is_some();
    let clock = if opened.is_tai { "CLOCK_TAI" } else { "CLOCK_MONOTONIC" };
    let stamps = format!(
        "{}by the XDP program ({clock}): late by the NIC and its interrupt{}",
        if has_hardware { "by the NIC, else " } else { "" },
        if opened.has_hardware && !has_hardware {
            "; the driver would pass on the NIC's, which has none or has them off"
        } else {
            ""
        },
    );
    let rings = opened.sockets.into_iter().map(|(socket, tally)| (Ring::Xdp(socket), tally)).collect();
    let held = Held::Xdp { link: Some(opened.link), _promiscuous: opened.promiscuous };
    let chosen = Chosen { driver: Driver::Xdp, how, why, stamps };
    Ok(Opened { held, rings, left_out: opened.left_out, chosen })
}

fn open_packet(options: &Options, link: &Link, clocks: &Clocks, why: String) -> Result<Opened, OpenError> {
    need(options, "AF_PACKET", &[Capability::NetRaw])?;
    let has_hardware = clocks.hardware_mapping().is_some();
    let (sockets, rings) = afpacket::open(options, link, has_hardware)?;
    let stamps = if has_hardware {
        "by the NIC where it stamps (received frames), else by the network stack (CLOCK_REALTIME)"
    } else {
        "by the network stack (CLOCK_REALTIME): late for received frames, early for sent ones"
    };
    let rings: Vec<_> = rings.into_iter().map(|(ring, tally)| (Ring::Packet(ring), tally)).collect();
    let how = match rings.len() {
        1 => "one ring".to_owned(),
        count => format!("{count} rings, divided by flow"),
    };
    let chosen = Chosen { driver: Driver::AfPacket, how, why, stamps: stamps.to_owned() };
    Ok(Opened { held: Held::Packet(sockets), rings, left_out: Vec::new(), chosen })
}
