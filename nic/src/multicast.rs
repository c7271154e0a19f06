//! Multicast groups: the kernel tells the switch (IGMP, MLD) and lets the NIC take their frames for as long as a membership
//! lives. Without a host address on the interface the reports come from 0.0.0.0, which snooping switches accept.
#![allow(unsafe_code, reason = "socket addresses are C structures that overlap")]

use std::io;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use crate::options::Group;
use crate::sys;

// Linux `in.h`; the same for IPv4 and IPv6.
const MCAST_JOIN_GROUP: libc::c_int = 42;
const MCAST_JOIN_SOURCE_GROUP: libc::c_int = 46;

#[repr(C)]
struct GroupRequest {
    interface: u32,
    group: libc::sockaddr_storage,
}

#[repr(C)]
struct SourceRequest {
    interface: u32,
    group: libc::sockaddr_storage,
    source: libc::sockaddr_storage,
}

/// Member of a group until it is dropped. A socket of its own for each: a kernel limits the groups of one socket (20).
#[derive(Debug)]
pub struct Membership {
    _socket: OwnedFd,
}

fn family(family: libc::c_int) -> libc::sa_family_t {
    libc::sa_family_t::try_from(family).expect("a small number")
}

fn storage(address: IpAddr) -> libc::sockaddr_storage {
    // SAFETY: all zero is a sockaddr_storage.
    let mut storage: libc::sockaddr_storage = unsafe { mem::zeroed() };
    match address {
        IpAddr::V4(address) => {
            let place = std::ptr::from_mut(&mut storage).cast::<libc::sockaddr_in>();
            // SAFETY: a sockaddr_storage has room and alignment for every address.
            unsafe {
                (*place).sin_family = family(libc::AF_INET);
                (*place).sin_addr.s_addr = u32::from_ne_bytes(address.octets());
            }
        }
        IpAddr::V6(address) => {
            let place = std::ptr::from_mut(&mut storage).cast::<libc::sockaddr_in6>();
            // SAFETY: as above.
            unsafe {
                (*place).sin6_family = family(libc::AF_INET6);
                (*place).sin6_addr.s6_addr = address.octets();
            }
        }
    }
    storage
}

impl Membership {
    /// Joins on the interface with this number.
    pub fn join(interface: u32, group: &Group) -> io::Result<Membership> {
        let is_mixed = group.source.is_some_and(|source| source.is_ipv4() != group.address.is_ipv4());
        if !group.address.is_multicast() || is_mixed {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let (family, level) = match SocketAddr::new(group.address, 0) {
            SocketAddr::V4(_) => (libc::AF_INET, libc::IPPROTO_IP),
            SocketAddr::V6(_) => (libc::AF_INET6, libc::IPPROTO_IPV6),
        };
        let socket = sys::socket(family, libc::SOCK_DGRAM, 0)?;
        let address = storage(group.address);
        match group.source {
            None => set(&socket, level, MCAST_JOIN_GROUP, &GroupRequest { interface, group: address })?,
            Some(source) => {
                let request = SourceRequest { interface, group: address, source: storage(source) };
                set(&socket, level, MCAST_JOIN_SOURCE_GROUP, &request)?;
            }
        }
        Ok(Membership { _socket: socket })
    }
}

fn set<T>(socket: &OwnedFd, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>()).expect("a small structure");
    // SAFETY: `value` is valid for its size during the call.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, std::ptr::from_ref(value).cast(), length) };
    sys::checked(result).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_groups_can_be_joined() {
        for (address, source) in [("10.0.0.1", None), ("239.1.1.1", Some("fe80::1")), ("::1", None)] {
            let source = source.map(|source| source.parse().unwrap());
            let group = Group { address: address.parse().unwrap(), source };
            assert_eq!(Membership::join(1, &group).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{address}");
        }
    }
}
