//! From a wish to running sockets: the program is loaded in the best variant that this kernel takes, every queue has its socket,
//! the sockets are in the map, and the program is attached last. (Frames that match earlier would be lost without a trace.)

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::program::{Clock, Spec, assemble};
use super::socket::{Plan, Socket, Stamps, chunk_bytes, fits_zero_copy, frame_bytes_max};
use super::{Maps, alarm, bpf, btf};
use crate::afpacket;
use crate::counters::{Kernel, Tally};
use crate::error::OpenError;
use crate::facts;
use crate::link::Link;
use crate::options::{Filter, HardwareStamps, Options, XdpMode};
use crate::sys;

/// Beyond what any NIC has.
const QUEUES_MAX: u32 = 1024;
const RING_FRAMES_MIN: u32 = 64;
const RING_FRAMES_MAX: u32 = 1 << 20;
const HARDWARE_FUNCTION: &str = "bpf_xdp_metadata_rx_timestamp";

/// What keeps the program attached, and what it turned out to be.
pub(crate) struct Opened {
    /// Detaches when it is dropped, also when the process is killed.
    pub(crate) link: OwnedFd,
    /// Keeps the interface promiscuous.
    pub(crate) promiscuous: Option<OwnedFd>,
    /// One for each queue that is captured, and counters for every queue.
    pub(crate) sockets: Vec<(Socket, Arc<Tally>)>,
    pub(crate) left_out: Vec<Arc<Tally>>,
    pub(crate) is_native: bool,
    pub(crate) zero_copy_queues: usize,
    pub(crate) is_tai: bool,
    /// The driver can pass the NIC's stamps on.
    pub(crate) has_hardware: bool,
    pub(crate) frame_bytes_max: u32,
    pub(crate) ring_frames: u32,
}

/// One way of capturing, from the best to the one that always works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Attempt {
    is_native: bool,
    wants_zero_copy: bool,
}

fn attempts(mode: XdpMode, wants_zero_copy: bool) -> Vec<Attempt> {
    let native = |wants_zero_copy| Attempt { is_native: true, wants_zero_copy };
    let generic = Attempt { is_native: false, wants_zero_copy: false };
    let mut attempts = Vec::new();
    if mode != XdpMode::Generic {
        attempts.extend(wants_zero_copy.then(|| native(true)));
        attempts.push(native(false));
    }
    if mode != XdpMode::Native {
        attempts.push(generic);
    }
    attempts
}

pub(crate) fn open(options: &Options, link: &Link) -> Result<Opened, OpenError> {
    let name = options.interface.as_str();
    let rings = RING_FRAMES_MIN..=RING_FRAMES_MAX;
    if !options.xdp.ring_frames.is_power_of_two() || !rings.contains(&options.xdp.ring_frames) {
        return Err(OpenError::options(name, "`ring_frames` of AF_XDP is a power of two from 64 to 1048576"));
    }
    refuse_if_in_use(options)?;
    let queues = queues(name, link);
    let mut wanted: Vec<u32> =
        if options.xdp.queues.is_empty() { (0..queues).collect() } else { options.xdp.queues.clone() };
    wanted.sort_unstable();
    wanted.dedup();
    if let Some(queue) = wanted.iter().find(|queue| **queue >= queues) {
        return Err(OpenError::options(name, format!("there is no queue {queue}: the last one is {}", queues - 1)));
    }
    let mut last = None;
    for attempt in attempts(options.xdp.mode, options.xdp.zero_copy && fits_zero_copy(link.mtu)) {
        match try_open(options, link, attempt, queues, &wanted) {
            Ok(opened) => return Ok(opened),
            // No other attempt would do better.
            Err(error @ (OpenError::Busy { .. } | OpenError::Options { .. })) => return Err(error),
            Err(error) => last = Some(error),
        }
    }
    Err(last.expect("there is an attempt in every mode"))
}

/// The largest ring, at most the one that was asked for, with which all queues stay within the memory that they may have.
fn ring_frames(options: &Options, chunk_bytes: u32, queues: usize) -> u32 {
    let bytes = |frames: u32| frames as usize * 2 * chunk_bytes as usize * queues;
    let mut frames = options.xdp.ring_frames;
    while frames > RING_FRAMES_MIN && bytes(frames) > options.xdp.memory_bytes_max {
        frames /= 2;
    }
    frames
}

fn refuse_if_in_use(options: &Options) -> Result<(), OpenError> {
    let name = options.interface.as_str();
    let addresses = sys::host_addresses(name)
        .map_err(|error| OpenError::system(name, "asking for its addresses", error, "say `steal` to go on without"))?;
    match addresses.first() {
        Some(address) if !options.xdp.steal => {
            Err(OpenError::InUse { interface: name.to_owned(), address: address.to_string() })
        }
        _ => Ok(()),
    }
}

/// Queues in use: ETHTOOL_GCHANNELS where the driver knows it, else those that it has allocated.
fn queues(interface: &str, link: &Link) -> u32 {
    const ETHTOOL_GCHANNELS: u32 = 0x3C;
    const SIOCETHTOOL: libc::c_ulong = 0x8946;
    // struct ethtool_channels: command, four maxima, then rx, tx, other, combined.
    let mut channels = [0u32; 14];
    channels[0] = ETHTOOL_GCHANNELS;
    let in_use = match sys::interface_ioctl(interface, SIOCETHTOOL, &mut channels) {
        Ok(()) => channels[5].saturating_add(channels[8]),
        Err(_) => 0,
    };
    let count = if in_use > 0 { in_use } else { link.rx_queues };
    count.clamp(1, QUEUES_MAX)
}

fn try_open(
    options: &Options,
    link: &Link,
    attempt: Attempt,
    queues: u32,
    wanted: &[u32],
) -> Result<Opened, OpenError> {
    let name = options.interface.as_str();
    // A driver may have more queues once a program is attached, see `more_sockets`. All are counted.
    let maps = Maps::new(name, &options.filter, queues.max(link.rx_queues).min(QUEUES_MAX))?;
    let magics =
        sys::random().map_err(|error| OpenError::system(name, "asking for random bytes", error, "try again"))?;
    let ring_frames = ring_frames(options, chunk_bytes(link.mtu, attempt.wants_zero_copy), wanted.len());
    let loaded = load(options, link, attempt, &maps, (magics, alarm::every(ring_frames)))?;
    let stamps = Stamps { magic_before: magics[0], magic_inside: magics[1], is_tai: loaded.is_tai };
    let mut plan = Plan {
        interface: link.index,
        queue: 0,
        mtu: link.mtu,
        ring_frames,
        wants_zero_copy: attempt.wants_zero_copy,
        busy_poll: options.xdp.busy_poll,
    };
    let mut sockets = Vec::new();
    for queue in wanted {
        plan.queue = *queue;
        sockets.push((*queue, socket(name, &plan, stamps, &maps)?));
    }
    let promiscuous = options.promiscuous.then(|| promiscuous(name, link.index)).transpose()?;
    // Last: from here on frames come.
    let mode = if attempt.is_native { bpf::DRIVER_MODE } else { bpf::SKB_MODE };
    let held = bpf::attach(&loaded.program, link.index, mode).map_err(|error| attach_error(name, link.mtu, error))?;
    let queues = self::queues(name, link).max(queues);
    if options.xdp.queues.is_empty() {
        more_sockets(name, &plan, stamps, &maps, queues, &mut sockets)?;
    }
    let zero_copy_queues = sockets.iter().filter(|(_, socket)| socket.is_zero_copy).count();
    let kernel = |socket: Option<&Socket>| Kernel::Xdp {
        socket: socket.map(|socket| Arc::clone(&socket.file)),
        matches: Arc::clone(&maps.matches),
        is_zero_copy: socket.is_some_and(|socket| socket.is_zero_copy),
    };
    // A ring full of frames, and the one that the program has just counted.
    let capacity = u64::from(ring_frames) + 1;
    let tally = |queue: u32, socket| Arc::new(Tally::new(queue, capacity, kernel(socket)));
    let is_left_out = |queue: &u32| sockets.iter().all(|(number, _)| number != queue);
    let left_out = (0..queues).filter(is_left_out).map(|queue| tally(queue, None)).collect();
    let tallies: Vec<_> = sockets.iter().map(|(queue, socket)| tally(*queue, Some(socket))).collect();
    Ok(Opened {
        link: held,
        promiscuous,
        sockets: sockets.into_iter().map(|(_, socket)| socket).zip(tallies).collect(),
        left_out,
        is_native: attempt.is_native,
        zero_copy_queues,
        is_tai: loaded.is_tai,
        has_hardware: loaded.has_hardware,
        frame_bytes_max: frame_bytes_max(link.mtu, zero_copy_queues > 0),
        ring_frames,
    })
}

/// The socket of a queue, in the program's map, and its alarm.
fn socket(name: &str, plan: &Plan, stamps: Stamps, maps: &Maps) -> Result<Socket, OpenError> {
    let socket = Socket::open(plan, stamps).map_err(|error| socket_error(name, error))?;
    bpf::update_queue(&maps.alarms, plan.queue, socket.alarm.map())
        .and_then(|()| bpf::update_queue(&maps.sockets, plan.queue, &socket.file))
        .map_err(|error| OpenError::system(name, "giving a queue its AF_XDP socket", error, "capture by AF_PACKET"))?;
    Ok(socket)
}

/// `virtio_net` takes further queues into use with a program, for what the program sends, and then receives by them too. Frames that
/// come before their socket is there are counted as `no_socket`. Copied: the driver would not let these sockets go after the
/// program, since it gives the queues up with it.
fn more_sockets(
    name: &str,
    plan: &Plan,
    stamps: Stamps,
    maps: &Maps,
    queues: u32,
    sockets: &mut Vec<(u32, Socket)>,
) -> Result<(), OpenError> {
    let first = u32::try_from(sockets.len()).unwrap_or(u32::MAX);
    for queue in first..queues {
        let plan = Plan { queue, wants_zero_copy: false, ..*plan };
        sockets.push((queue, socket(name, &plan, stamps, maps)?));
    }
    Ok(())
}

fn promiscuous(name: &str, index: u32) -> Result<OwnedFd, OpenError> {
    let open = || {
        let socket = sys::socket(libc::AF_PACKET, libc::SOCK_RAW, 0)?;
        afpacket::promiscuous(&socket, index)?;
        Ok(socket)
    };
    open().map_err(|error: io::Error| {
        OpenError::system(name, "receiving frames for others", error, "switch `promiscuous` off")
    })
}

struct Loaded {
    program: OwnedFd,
    is_tai: bool,
    has_hardware: bool,
}

/// The best variant that this kernel takes: with the NIC's stamp (Linux 6.3, native mode, drivers that have it), with TAI
/// (6.1), with MONOTONIC.
fn load(
    options: &Options,
    link: &Link,
    attempt: Attempt,
    maps: &Maps,
    (magics, alarm_every): ([u64; 2], u32),
) -> Result<Loaded, OpenError> {
    let wants_hardware = attempt.is_native && options.hardware != HardwareStamps::Never;
    let function = (wants_hardware && may_pass_stamps_on(link.index)).then(hardware_function).flatten();
    let mut refused = None;
    for (clock, hardware) in [(Clock::Tai, function), (Clock::Tai, None), (Clock::Monotonic, None)] {
        // A program that calls the driver's functions is bound to the interface, and cannot be attached in generic mode.
        let bound_to = hardware.map(|_| link.index);
        let spec =
            Spec { is_inside_forced: options.xdp.is_note_inside, ..maps.spec(clock, hardware, magics, alarm_every) };
        match bpf::load(&assemble(&spec), bound_to) {
            Ok(program) => {
                let has_hardware = hardware.is_some();
                return Ok(Loaded { program, is_tai: clock == Clock::Tai, has_hardware });
            }
            Err(error) => refused = Some(error),
        }
    }
    let (error, reason) = refused.expect("three variants were tried");
    let advice = format!("the kernel says \"{reason}\"; CAP_BPF and CAP_PERFMON are needed, else capture by AF_PACKET");
    Err(OpenError::system(&options.interface, "loading the XDP program", error, &advice))
}

/// The kernel loads a program that asks for the NIC's stamps for every driver, and answers itself, with "none", where the driver
/// has no such function. Since 6.7 it says which drivers have.
fn may_pass_stamps_on(interface: u32) -> bool {
    facts::ability(interface).ok().and_then(|ability| ability.has_stamps) != Some(false)
}

fn hardware_function() -> Option<i32> {
    btf::function(&std::fs::read(btf::KERNEL).ok()?, HARDWARE_FUNCTION)
}

/// Whether the kernel can pass the NIC's stamps on, if the driver does.
pub(crate) fn has_stamp_function() -> io::Result<bool> {
    std::fs::read(btf::KERNEL).map(|types| btf::function(&types, HARDWARE_FUNCTION).is_some())
}

/// Loads the program and lets it go again, without attaching it anywhere: whether it stamps in TAI, or why it is refused.
pub(crate) fn try_out() -> Result<bool, String> {
    let maps = Maps::new("none", &Filter::default(), 1).map_err(|error| match error {
        OpenError::System { what, source, .. } => format!("{what}: {source}"),
        other => other.to_string(),
    })?;
    let mut refused = String::new();
    for clock in [Clock::Tai, Clock::Monotonic] {
        match bpf::load(&assemble(&maps.spec(clock, None, [1, 2], 1)), None) {
            Ok(_) => return Ok(clock == Clock::Tai),
            Err((error, reason)) => refused = format!("{error}: {reason}"),
        }
    }
    Err(refused)
}

/// What AF_XDP takes for all queues of an interface, as [`Options::new`] has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// Of a queue's ring.
    pub ring_frames: u32,
    /// Of all queues, which counts as locked memory.
    pub locked_bytes: u64,
    /// Longer frames are lost.
    pub frame_bytes_max: u32,
}

/// By a driver that has zero copy or not. Where that much memory is not to be had frames are copied, which takes half of it for the
/// usual MTU.
pub fn needs(mtu: u32, queues: u32, has_zero_copy: bool) -> Needs {
    let queues = queues.clamp(1, QUEUES_MAX);
    let is_zero_copy = has_zero_copy && fits_zero_copy(mtu);
    let chunk = chunk_bytes(mtu, is_zero_copy);
    let ring_frames = ring_frames(&Options::new(""), chunk, queues as usize);
    let locked_bytes = u64::from(ring_frames) * 2 * u64::from(chunk) * u64::from(queues);
    Needs { ring_frames, locked_bytes, frame_bytes_max: frame_bytes_max(mtu, is_zero_copy) }
}

fn socket_error(name: &str, error: io::Error) -> OpenError {
    let advice = match error.raw_os_error() {
        Some(libc::EBUSY) => return OpenError::Busy { interface: name.to_owned() },
        // Without CAP_IPC_LOCK memory counts against RLIMIT_MEMLOCK, and this is how the kernel says so.
        Some(libc::ENOBUFS | libc::ENOMEM) => {
            "grant CAP_IPC_LOCK, raise `ulimit -l`, or ask for a smaller `ring_frames`"
        }
        Some(libc::EOPNOTSUPP) => "the driver has no zero-copy: switch `zero_copy` off",
        Some(libc::EAFNOSUPPORT) => "this kernel has no AF_XDP (CONFIG_XDP_SOCKETS): capture by AF_PACKET",
        _ => "capture by AF_PACKET",
    };
    OpenError::system(name, "opening an AF_XDP socket", error, advice)
}

fn attach_error(name: &str, mtu: u32, error: io::Error) -> OpenError {
    match error.raw_os_error() {
        Some(libc::EBUSY | libc::EEXIST) => OpenError::Busy { interface: name.to_owned() },
        Some(libc::ERANGE) => {
            let advice = format!("its driver takes no XDP program with an MTU of {mtu}: use generic mode or AF_PACKET");
            OpenError::system(name, "attaching the XDP program", error, &advice)
        }
        Some(libc::EOPNOTSUPP) => OpenError::system(
            name,
            "attaching the XDP program",
            error,
            "its driver has no XDP: use generic mode or AF_PACKET",
        ),
        _ => OpenError::system(name, "attaching the XDP program", error, "capture by AF_PACKET"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_go_from_best_to_what_always_works() {
        let attempt = |is_native, wants_zero_copy| Attempt { is_native, wants_zero_copy };
        let (best, native, generic) = (attempt(true, true), attempt(true, false), attempt(false, false));
        assert_eq!(attempts(XdpMode::Auto, true), [best, native, generic]);
        assert_eq!(attempts(XdpMode::Auto, false), [native, generic]);
        assert_eq!(attempts(XdpMode::Native, true), [best, native]);
        assert_eq!(attempts(XdpMode::Generic, true), [generic]);
    }

    #[test]
    fn many_queues_share_the_memory() {
        let options = Options::new("eth0");
        for (mtu, queues, expected) in
            [(1500, 1, 32_768), (1500, 8, 32_768), (1500, 9, 16_384), (9000, 64, 2048), (1500, 1 << 20, 64)]
        {
            assert_eq!(ring_frames(&options, chunk_bytes(mtu, false), queues), expected, "{mtu} {queues}");
        }
        assert_eq!(needs(1500, 1, false).locked_bytes, 128 << 20);
        assert_eq!(needs(1500, 1, true).locked_bytes, 256 << 20);
        assert_eq!(needs(1500, 9, false), Needs { ring_frames: 16_384, ..needs(1500, 9, false) });
        assert_eq!(needs(9000, 8, true), needs(9000, 8, false));
        assert!(needs(9000, 8, false).locked_bytes <= 1 << 30 && needs(9000, 8, false).frame_bytes_max < 4096);
    }
}
