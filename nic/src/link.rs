//! What the kernel says of an interface (rtnetlink(7)): asked once, then told of every change. Survives renaming, since an
//! interface is known by its number.

use std::io;
use std::os::fd::OwnedFd;

use crate::events::Event;
use crate::netlink::{self, ANSWER_BYTES, attribute, attributes, messages, u32_at, u64_at};
use crate::sys::{self, Plain};

const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_STATS64: u16 = 23;
const IFLA_NUM_RX_QUEUES: u16 = 32;
const IFLA_EXT_MASK: u16 = 29;
/// Leaves counters of virtual functions and the like out of the answer.
const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;

/// An interface at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Link {
    pub index: u32,
    pub name: String,
    pub mtu: u32,
    /// Switched on, and with a carrier.
    pub is_up: bool,
    /// Queues that the driver has allocated; fewer may be in use.
    pub rx_queues: u32,
    /// What the NIC and its driver dropped, where they count it; since the interface was made.
    pub drops: InterfaceDrops,
}

/// Drops that the interface counts for all its traffic, whether a filter would have matched or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InterfaceDrops {
    /// Received and not handed on (`rx_dropped`).
    pub dropped: u64,
    /// The NIC had no memory for them (`rx_missed_errors`).
    pub missed: u64,
    /// Damaged on the wire (`rx_errors`).
    pub errors: u64,
}

impl InterfaceDrops {
    pub(crate) fn since(self, start: InterfaceDrops) -> InterfaceDrops {
        InterfaceDrops {
            dropped: self.dropped.saturating_sub(start.dropped),
            missed: self.missed.saturating_sub(start.missed),
            errors: self.errors.saturating_sub(start.errors),
        }
    }
}

/// RTM_NEWLINK or RTM_DELLINK: `struct ifinfomsg`, then attributes.
pub(crate) fn parse(message: &[u8]) -> Option<Link> {
    const UP: u32 = libc::IFF_UP.cast_unsigned() | 1 << 16; // IFF_LOWER_UP: there is a carrier
    let mut link = Link { index: u32_at(message, 4)?, is_up: u32_at(message, 8)? & UP == UP, ..Link::default() };
    for (kind, value) in attributes(message.get(16..)?) {
        match kind {
            IFLA_IFNAME => link.name = String::from_utf8_lossy(value.split(|byte| *byte == 0).next()?).into_owned(),
            IFLA_MTU => link.mtu = u32_at(value, 0)?,
            IFLA_NUM_RX_QUEUES => link.rx_queues = u32_at(value, 0)?,
            // struct rtnl_link_stats64: errors at 4, dropped at 6, missed at 14 of its u64.
            IFLA_STATS64 => {
                let at = |index: usize| u64_at(value, index * 8).unwrap_or(0);
                link.drops = InterfaceDrops { dropped: at(6), missed: at(14), errors: at(4) };
            }
            _ => {}
        }
    }
    Some(link)
}

/// RTM_GETLINK by name or, where it is empty, by number.
fn request(name: &str, index: u32, wants_drops: bool) -> Vec<u8> {
    let mut body = vec![0; 16];
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    if !name.is_empty() {
        attribute(&mut body, IFLA_IFNAME, &netlink::zero_ended(name));
    }
    if !wants_drops {
        attribute(&mut body, IFLA_EXT_MASK, &RTEXT_FILTER_SKIP_STATS.to_ne_bytes());
    }
    netlink::request(libc::RTM_GETLINK, &body)
}

fn ask(name: &str, index: u32) -> io::Result<Vec<u8>> {
    netlink::ask(libc::NETLINK_ROUTE, &request(name, index, true), libc::RTM_NEWLINK)
}

fn link(name: &str, index: u32) -> io::Result<Link> {
    parse(&ask(name, index)?).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// What the kernel says of the interface of this name: `struct ifinfomsg`, then attributes.
pub(crate) fn message(name: &str) -> io::Result<Vec<u8>> {
    if name.is_empty() || name.len() >= libc::IFNAMSIZ {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    ask(name, 0)
}

/// The interface of this name.
pub(crate) fn by_name(name: &str) -> io::Result<Link> {
    parse(&message(name)?).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Listens to what happens to one interface.
pub(crate) struct Watch {
    socket: OwnedFd,
    known: Link,
    is_there: bool,
    buffer: Vec<u8>,
}

impl Watch {
    /// Listens first and asks then, so that nothing falls between.
    pub(crate) fn open(name: &str) -> io::Result<Watch> {
        let socket = sys::socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE)?;
        let mut address = libc::sockaddr_nl::zero();
        address.nl_family = u16::try_from(libc::AF_NETLINK).expect("16");
        address.nl_groups = libc::RTMGRP_LINK.cast_unsigned();
        sys::bind(&socket, &address)?;
        let known = by_name(name)?;
        Ok(Watch { socket, known, is_there: true, buffer: vec![0; ANSWER_BYTES] })
    }

    pub(crate) fn known(&self) -> &Link {
        &self.known
    }

    /// As it is now, with its drops; what is remembered does not change. An error where it is gone.
    pub(crate) fn now(&self) -> io::Result<Link> {
        link("", self.known.index)
    }

    /// Tells what changed since the last call.
    pub(crate) fn changes(&mut self, tell: &mut dyn FnMut(Event)) -> io::Result<()> {
        loop {
            match sys::receive(&self.socket, &mut self.buffer) {
                Ok(Some(length)) => {
                    let index = self.known.index;
                    let mut seen = Vec::new(); // a change of an interface is no packet: allocating is fine
                    for (kind, message) in messages(&self.buffer[..length]) {
                        let link = parse(message).filter(|link| link.index == index);
                        seen.extend(link.map(|link| (kind, link)));
                    }
                    for (kind, link) in seen {
                        self.update(kind == libc::RTM_DELLINK, link, tell);
                    }
                }
                Ok(None) => return Ok(()),
                // Messages were lost because there were too many: ask anew.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => match self.now() {
                    Ok(link) => self.update(false, link, tell),
                    Err(_) => self.update(true, self.known.clone(), tell),
                },
                Err(error) => return Err(error),
            }
        }
    }

    fn update(&mut self, is_gone: bool, now: Link, tell: &mut dyn FnMut(Event)) {
        if is_gone {
            if self.is_there {
                tell(Event::Removed);
            }
            self.is_there = false;
            return;
        }
        self.is_there = true;
        if now.name != self.known.name && !now.name.is_empty() {
            tell(Event::Renamed { from: self.known.name.clone(), to: now.name.clone() });
        }
        if now.mtu != self.known.mtu && now.mtu > 0 {
            tell(Event::MtuChanged { from: self.known.mtu, to: now.mtu });
        }
        if now.is_up != self.known.is_up {
            tell(if now.is_up { Event::LinkUp } else { Event::LinkDown });
        }
        self.known = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link_message(index: u32, flags: u32, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut message = vec![0; 16];
        message[4..8].copy_from_slice(&index.to_ne_bytes());
        message[8..12].copy_from_slice(&flags.to_ne_bytes());
        for (kind, value) in attributes {
            attribute(&mut message, *kind, value);
        }
        message
    }

    #[test]
    fn a_message_about_a_link_is_read_and_any_cut_of_it_is_harmless() {
        let message = link_message(7, 0x1_0001, &[(IFLA_IFNAME, b"eth7\0"), (IFLA_MTU, &1500u32.to_ne_bytes())]);
        let expected = Link { index: 7, name: "eth7".into(), mtu: 1500, is_up: true, ..Link::default() };
        assert_eq!(parse(&message), Some(expected));
        for length in 0..message.len() {
            let _ = parse(&message[..length]);
        }
        let mut hostile = message.clone();
        hostile[16..18].copy_from_slice(&0u16.to_ne_bytes()); // an attribute of length 0
        assert_eq!(parse(&hostile).map(|link| link.mtu), Some(0));
        hostile[16..18].copy_from_slice(&u16::MAX.to_ne_bytes());
        assert_eq!(parse(&hostile).map(|link| link.mtu), Some(0));
    }

    #[test]
    fn lengths_that_lie_end_the_reading() {
        let mut datagram = request("eth0", 0, true);
        assert_eq!(messages(&datagram).count(), 1);
        for length in [0u32, 15, 1000, u32::MAX] {
            datagram[0..4].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(messages(&datagram).count(), 0, "{length}");
        }
    }

    #[test]
    fn the_loopback_interface_is_there_and_another_is_not() {
        assert_eq!(by_name("lo").unwrap().name, "lo");
        assert_eq!(by_name("no-such-if").unwrap_err().raw_os_error(), Some(libc::ENODEV));
        assert_eq!(by_name("a-name-that-is-far-too-long").unwrap_err().raw_os_error(), Some(libc::ENODEV));
    }
}
