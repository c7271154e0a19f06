//! Copies of what an interface sends and receives, through AF_PACKET sockets with a TPACKET_V3 ring (packet(7);
//! Documentation/networking/packet_mmap.rst). Works with every driver, needs CAP_NET_RAW, takes nothing away from the host.

mod block;
mod filter;
mod ring;
#[cfg(test)]
pub(crate) mod samples;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use libc::sock_filter;

use crate::counters::{Kernel, Tally};
use crate::error::OpenError;
use crate::link::Link;
use crate::options::{Options, PacketOptions};
use crate::sys::{self, Plain};
pub(crate) use ring::Ring;

/// A block holds the largest super-frame (64 KiB) several times, and is small enough to be full soon.
const BLOCK_BYTES: usize = 256 << 10;
/// No frame takes less of the ring: its header and the shortest frame.
const FRAME_BYTES_MIN: usize = 112;
const FANOUT_HASH: i32 = 0;
/// The kernel chooses a number that nobody uses; since Linux 4.12.
const FANOUT_UNIQUE: i32 = 0x2000;
const EVERY_PROTOCOL: u16 = 0x0003; // ETH_P_ALL

const NOTHING: [sock_filter; 1] = [sock_filter { code: 0x06, jt: 0, jf: 0, k: 0 }];

/// The open sockets; dropping them ends the capture.
pub(crate) struct Sockets(Vec<Arc<OwnedFd>>);

impl Sockets {
    /// Lets nothing more in. What is in the rings can still be read.
    pub(crate) fn stop(&self) {
        for socket in &self.0 {
            // A socket that has a filter takes another one; there is nothing to do where it does not.
            let _ = attach(socket, &NOTHING);
        }
    }
}

fn attach(socket: &OwnedFd, program: &[sock_filter]) -> io::Result<()> {
    let mut program = program.to_vec();
    let length = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = libc::sock_fprog { len: length, filter: program.as_mut_ptr() };
    sys::set_option(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}

/// Rings, each with what it is counted by.
pub(crate) type Opened = (Sockets, Vec<(Ring, Arc<Tally>)>);

/// Opens the rings, each with what it is counted by.
pub(crate) fn open(options: &Options, link: &Link, wants_hardware: bool) -> Result<Opened, OpenError> {
    let name = options.interface.as_str();
    let program = match filter::assemble(&options.filter) {
        _ if options.filter.is_empty() => None,
        Some(program) => Some(program),
        None => return Err(OpenError::options(name, "a filter of AF_PACKET has room for some 500 ports; list fewer")),
    };
    let blocks = options.packet.ring_bytes / BLOCK_BYTES;
    if options.packet.rings == 0 || blocks < 2 || u32::try_from(blocks).is_err() {
        let problem = format!("AF_PACKET needs at least one ring, and {} bytes for each", 2 * BLOCK_BYTES);
        return Err(OpenError::options(name, problem));
    }
    let mut group = None;
    let mut sockets = Vec::new();
    let mut rings = Vec::new();
    for queue in 0..u32::from(options.packet.rings) {
        let socket = Arc::new(socket(options, link, wants_hardware)?);
        if options.packet.rings > 1 {
            group = Some(join(&socket, group).map_err(|error| {
                OpenError::system(name, "dividing frames over several rings (PACKET_FANOUT)", error, "use one ring")
            })?);
        }
        let ring = Ring::new(Arc::clone(&socket), BLOCK_BYTES, blocks, queue).map_err(|error| {
            OpenError::system(name, "mapping the ring", error, "ask for less memory (`ring_bytes`)")
        })?;
        let zero = || AtomicU64::new(0);
        let kernel = Kernel::Packet { socket: Arc::clone(&socket), seen: zero(), dropped: zero(), freezes: zero() };
        let capacity = blocks * (BLOCK_BYTES / FRAME_BYTES_MIN);
        rings.push((ring, Arc::new(Tally::new(queue, capacity as u64, kernel))));
        sockets.push(socket);
    }
    // All rings are there and share the work: now let frames in.
    for socket in &sockets {
        let result = match &program {
            Some(program) => attach(socket, program),
            None => sys::set_option(socket, libc::SOL_SOCKET, libc::SO_DETACH_FILTER, &0i32),
        };
        result.map_err(|error| OpenError::system(name, "setting the filter", error, "list fewer ports"))?;
    }
    Ok((Sockets(sockets), rings))
}

/// A socket with its ring, bound, that lets nothing in yet.
fn socket(options: &Options, link: &Link, wants_hardware: bool) -> Result<OwnedFd, OpenError> {
    let name = options.interface.as_str();
    let system =
        |what: &'static str, advice: &'static str| move |error: io::Error| OpenError::system(name, what, error, advice);
    // Protocol 0: it hears nothing before it is bound.
    let socket = sys::socket(libc::AF_PACKET, libc::SOCK_RAW, 0)
        .map_err(system("opening an AF_PACKET socket", "CAP_NET_RAW is needed: run as root, or grant it by setcap"))?;
    let set = |option, value: i32| sys::set_option(&socket, libc::SOL_PACKET, option, &value);
    let too_old = "AF_PACKET with TPACKET_V3 is there since Linux 3.2";
    let version = libc::tpacket_versions::TPACKET_V3 as i32;
    set(libc::PACKET_VERSION, version).map_err(system("choosing TPACKET_V3", too_old))?;
    let tag_bytes = i32::try_from(block::TAG).expect("4");
    set(libc::PACKET_RESERVE, tag_bytes).map_err(system("making room for VLAN tags", too_old))?;
    if wants_hardware {
        let raw = libc::SOF_TIMESTAMPING_RAW_HARDWARE.cast_signed();
        set(libc::PACKET_TIMESTAMP, raw).map_err(system("asking for hardware stamps", too_old))?;
    }
    // The kernel then stamps a frame when the driver hands it over, not when it reaches this socket.
    let one = 1i32;
    sys::set_option(&socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, &one)
        .map_err(system("asking for stamps", too_old))?;
    sys::set_option(&socket, libc::SOL_PACKET, libc::PACKET_RX_RING, &request(&options.packet))
        .map_err(system("making the ring", "ask for less memory (`ring_bytes`)"))?;
    attach(&socket, &NOTHING).map_err(system("setting the first filter", too_old))?;
    let mut address = libc::sockaddr_ll::zero();
    address.sll_family = u16::try_from(libc::AF_PACKET).expect("17");
    address.sll_protocol = EVERY_PROTOCOL.to_be();
    address.sll_ifindex = link.index.cast_signed();
    sys::bind(&socket, &address).map_err(system("binding the socket", "`ip link` shows whether it is still there"))?;
    if options.promiscuous {
        promiscuous(&socket, link.index).map_err(system("receiving frames for others", "switch `promiscuous` off"))?;
    }
    Ok(socket)
}

/// Lets the interface take frames for other hosts for as long as the socket is open.
pub(crate) fn promiscuous(socket: &OwnedFd, index: u32) -> io::Result<()> {
    let mut membership = libc::packet_mreq::zero();
    membership.mr_ifindex = index.cast_signed();
    membership.mr_type = u16::try_from(libc::PACKET_MR_PROMISC).expect("1");
    sys::set_option(socket, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &membership)
}

fn request(options: &PacketOptions) -> libc::tpacket_req3 {
    let small = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    let blocks = options.ring_bytes / BLOCK_BYTES;
    let mut request = libc::tpacket_req3::zero();
    // Frames have no size of their own in this version; the kernel only checks that these numbers agree.
    let frame_bytes = 2048;
    request.tp_block_size = small(BLOCK_BYTES);
    request.tp_block_nr = small(blocks);
    request.tp_frame_size = small(frame_bytes);
    request.tp_frame_nr = small(blocks * (BLOCK_BYTES / frame_bytes));
    request.tp_retire_blk_tov = options.block_timeout_ms.max(1);
    request
}

/// Joins the group of sockets that share an interface's frames; the first one makes it. Its number.
fn join(socket: &OwnedFd, group: Option<u16>) -> io::Result<u16> {
    let flags = if group.is_none() { FANOUT_UNIQUE } else { 0 };
    let argument = i32::from(group.unwrap_or(0)) | (FANOUT_HASH | flags) << 16;
    sys::set_option(socket, libc::SOL_PACKET, libc::PACKET_FANOUT, &argument)?;
    let (answer, _) = sys::option::<i32>(socket, libc::SOL_PACKET, libc::PACKET_FANOUT)?;
    let [low, high, ..] = answer.to_le_bytes();
    Ok(u16::from_le_bytes([low, high]))
}
