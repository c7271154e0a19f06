//! Messages of netlink(7), which links and facts are asked by: a header, attributes of a length and a kind, and one answer.

use std::io;
use std::os::fd::OwnedFd;

use crate::sys;

/// An answer about one thing fits.
pub(crate) const ANSWER_BYTES: usize = 64 << 10;
/// Nested, or in network byte order: what is left is the kind.
const KIND: u16 = 0x3FFF;

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_ne_bytes)
}

/// Messages of a netlink datagram: type and what follows its header.
pub(crate) fn messages(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::try_from(u32_at(rest, 0)?).ok()?;
        let kind = u16_at(rest, 4)?;
        let message = rest.get(16..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, message))
    })
}

/// Attributes, up to one whose length lies.
pub(crate) fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (length, kind) = (usize::from(u16_at(rest, 0)?), u16_at(rest, 2)?);
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind & KIND, value))
    })
}

pub(crate) fn attribute(into: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).expect("a short attribute");
    into.extend_from_slice(&length.to_ne_bytes());
    into.extend_from_slice(&kind.to_ne_bytes());
    into.extend_from_slice(value);
    into.resize(into.len().next_multiple_of(4), 0);
}

/// A name as the kernel wants it: with a zero behind.
pub(crate) fn zero_ended(name: &str) -> Vec<u8> {
    let mut value = name.as_bytes().to_vec();
    value.push(0);
    value
}

/// A request: its header before `body`.
pub(crate) fn request(kind: u16, body: &[u8]) -> Vec<u8> {
    let mut message = vec![0; 16];
    message.extend_from_slice(body);
    let length = u32::try_from(message.len()).expect("a short message");
    message[0..4].copy_from_slice(&length.to_ne_bytes());
    message[4..6].copy_from_slice(&kind.to_ne_bytes());
    message[6..8].copy_from_slice(&u16::try_from(libc::NLM_F_REQUEST).expect("1").to_ne_bytes());
    message
}

/// Sends a request and waits for its answer, of type `expected`; what follows the header comes back.
pub(crate) fn ask(protocol: i32, request: &[u8], expected: u16) -> io::Result<Vec<u8>> {
    let socket: OwnedFd = sys::socket(libc::AF_NETLINK, libc::SOCK_RAW, protocol)?;
    sys::send(&socket, request)?;
    sys::poll(&socket, libc::POLLIN, 1000)?;
    let mut answer = vec![0; ANSWER_BYTES];
    let length = sys::receive(&socket, &mut answer)?.ok_or(io::ErrorKind::TimedOut)?;
    for (kind, message) in messages(&answer[..length]) {
        if kind == expected {
            return Ok(message.to_vec());
        }
        if i32::from(kind) == libc::NLMSG_ERROR {
            let error = u32_at(message, 0).map_or(libc::EIO, |code| code.cast_signed().saturating_neg());
            return Err(io::Error::from_raw_os_error(error));
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}
