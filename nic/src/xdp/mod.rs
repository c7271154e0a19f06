//! Frames taken from the driver, before the host's stack, through AF_XDP sockets. The program that decides is our own, written
//! in [`program`] and loaded by bpf(2). Needs Linux 5.9 (a link that holds the program), is better from 6.1 on (stamps in TAI).

mod alarm;
mod asm;
mod bpf;
mod btf;
mod open;
mod program;
mod socket;

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use crate::error::OpenError;
use crate::options::Filter;
use alarm::Alarm;
pub(crate) use btf::KERNEL as KERNEL_TYPES;
pub use open::{Needs, needs};
pub(crate) use open::{has_stamp_function, open, try_out};
use program::{COUNTERS_BYTES, FRAGMENTS, MATCHED, NO_SOCKET, REDIRECTED, REFUSED};
pub(crate) use socket::Socket;

/// What the program counted for a queue, on all processors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct QueueMatches {
    pub(crate) matched: u64,
    pub(crate) redirected: u64,
    pub(crate) no_socket: u64,
    pub(crate) refused: u64,
    pub(crate) fragments: u64,
}

/// The map in which the program counts.
pub(crate) struct Matches {
    map: OwnedFd,
    processors: usize,
}

impl Matches {
    fn new(queues: u32) -> io::Result<Matches> {
        let map = bpf::create_map(bpf::MapKind::PerCpuArray, 4, COUNTERS_BYTES, queues)?;
        Ok(Matches { map, processors: possible_processors() })
    }

    pub(crate) fn of_queue(&self, queue: u32) -> io::Result<QueueMatches> {
        let words = COUNTERS_BYTES as usize / 8;
        let mut values = vec![0; words * self.processors];
        bpf::look_up(&self.map, &queue.to_ne_bytes(), &mut values)?;
        let sum = |place: i16| values.chunks(words).map(|counters| counters[place.unsigned_abs() as usize / 8]).sum();
        Ok(QueueMatches {
            matched: sum(MATCHED),
            redirected: sum(REDIRECTED),
            no_socket: sum(NO_SOCKET),
            refused: sum(REFUSED),
            fragments: sum(FRAGMENTS),
        })
    }
}

/// The kernel copies a value for every processor that may ever be there. "0-7" are eight.
fn possible_processors() -> usize {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/possible").unwrap_or_default();
    let last = text.trim().rsplit(['-', ',']).next().and_then(|last| last.parse::<usize>().ok());
    // More than there are costs a few bytes; fewer would let the kernel write beyond the end.
    last.map_or(8192, |last| last + 1)
}

/// The maps of one capture.
struct Maps {
    sockets: OwnedFd,
    alarms: OwnedFd,
    matches: Arc<Matches>,
    ports: Option<OwnedFd>,
    addresses: Option<OwnedFd>,
}

impl Maps {
    fn new(interface: &str, filter: &Filter, queues: u32) -> Result<Maps, OpenError> {
        let refused = |what: &'static str| {
            move |error: io::Error| {
                let advice = "AF_XDP needs CAP_BPF and Linux 5.9; capture by AF_PACKET";
                OpenError::system(interface, what, error, advice)
            }
        };
        let sockets =
            bpf::create_map(bpf::MapKind::Sockets, 4, 4, queues).map_err(refused("making the map of sockets"))?;
        let alarms = Alarm::new().and_then(|model| bpf::create_array_of(model.map(), queues));
        let alarms = alarms.map_err(refused("making the map of alarms"))?;
        let matches = Matches::new(queues).map_err(refused("making the map of counters"))?;
        let ports = (!filter.ports.is_empty()).then(|| port_map(&filter.ports)).transpose();
        let addresses = (!filter.addresses.is_empty()).then(|| address_map(&filter.addresses)).transpose();
        Ok(Maps {
            sockets,
            alarms,
            matches: Arc::new(matches),
            ports: ports.map_err(refused("making the map of ports"))?,
            addresses: addresses.map_err(refused("making the map of addresses"))?,
        })
    }

    fn spec(
        &self,
        clock: program::Clock,
        hardware: Option<i32>,
        [magic_before, magic_inside]: [u64; 2],
        alarm_every: u32,
    ) -> program::Spec {
        program::Spec {
            sockets: self.sockets.as_raw_fd(),
            alarms: self.alarms.as_raw_fd(),
            alarm_every,
            counters: self.matches.map.as_raw_fd(),
            ports: self.ports.as_ref().map(AsRawFd::as_raw_fd),
            addresses: self.addresses.as_ref().map(AsRawFd::as_raw_fd),
            clock,
            hardware,
            magic_before,
            magic_inside,
            is_inside_forced: false,
        }
    }
}

/// A bit for each of the 65536 ports: asking costs the same for one port and for all.
fn port_map(ports: &[u16]) -> io::Result<OwnedFd> {
    let mut bits = vec![0u8; 8192];
    for port in ports {
        bits[usize::from(port >> 3)] |= 1 << (port & 7);
    }
    let map = bpf::create_map(bpf::MapKind::Array, 4, 8192, 1)?;
    bpf::update(&map, &[0; 4], &bits)?;
    Ok(map)
}

fn address_map(addresses: &[IpAddr]) -> io::Result<OwnedFd> {
    let entries = u32::try_from(addresses.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let map = bpf::create_map(bpf::MapKind::Hash, 16, 1, entries)?;
    for address in addresses {
        let key = match address {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => *address,
        };
        bpf::update(&map, &key.octets(), &[1])?;
    }
    Ok(map)
}
