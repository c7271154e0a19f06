//! The few system calls that everything here is made of, with their results as `io::Result`, and memory shared with the
//! kernel. What is generic over a C structure asks for [`Plain`], so that no padding or pointer is ever read as a number.
#![allow(unsafe_code, reason = "sockets, ioctl(2) and mmap(2) have no safe interface in the standard library")]

use std::ffi::{CStr, c_int, c_short, c_ulong, c_void};
use std::io;
use std::mem;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::{AtomicU32, AtomicU64};

/// Types that may be filled by the kernel: any bytes are a value, and all zero is one.
///
/// # Safety
/// No references, no enums, no booleans inside; pointers only where all zero is valid and nothing follows them.
pub(crate) unsafe trait Plain: Copy {
    fn zero() -> Self {
        // SAFETY: what this trait promises.
        unsafe { mem::zeroed() }
    }
}

macro_rules! plain {
    ($($name:ty),* $(,)?) => { $(
        // SAFETY: integers, arrays of them, and C structures of these.
        unsafe impl Plain for $name {}
    )* };
}
plain!(u8, u32, i32, u64, [u64; 3], [u64; 6], libc::ifreq, libc::hwtstamp_config);
plain!(
    libc::sockaddr_ll,
    libc::sockaddr_nl,
    libc::sockaddr_xdp,
    libc::tpacket_req3,
    libc::xdp_mmap_offsets,
    libc::xdp_umem_reg
);
plain!(libc::packet_mreq, libc::sock_fprog, libc::ptp_sys_offset_extended, libc::ptp_sys_offset_precise, libc::timex);

// SAFETY: integers.
unsafe impl<const N: usize> Plain for [u32; N] {}

pub(crate) fn checked(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Sizes of C structures are small.
fn size_of<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(mem::size_of::<T>()).expect("a small structure")
}

/// A socket that is closed on exec and never blocks.
pub(crate) fn socket(family: c_int, kind: c_int, protocol: c_int) -> io::Result<OwnedFd> {
    // SAFETY: no memory is passed.
    let socket = checked(unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, protocol) })?;
    // SAFETY: the descriptor is new and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(socket) })
}

pub(crate) fn set_option<T: Plain>(socket: &OwnedFd, level: c_int, name: c_int, value: &T) -> io::Result<()> {
    let value = ptr::from_ref(value).cast::<c_void>();
    // SAFETY: `value` is valid for its size during the call.
    checked(unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value, size_of::<T>()) }).map(drop)
}

/// The option's value, and how many bytes of it this kernel filled.
pub(crate) fn option<T: Plain>(socket: &OwnedFd, level: c_int, name: c_int) -> io::Result<(T, usize)> {
    let (mut value, mut length) = (T::zero(), size_of::<T>());
    let place = ptr::from_mut(&mut value).cast::<c_void>();
    // SAFETY: the kernel writes at most `length` bytes, which is the size of the place.
    checked(unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, place, &raw mut length) })?;
    Ok((value, length as usize))
}

/// What happened to a socket since it was asked last, for example ENETDOWN.
pub(crate) fn take_error(socket: &OwnedFd) -> io::Result<Option<io::Error>> {
    let (error, _) = option::<i32>(socket, libc::SOL_SOCKET, libc::SO_ERROR)?;
    Ok((error != 0).then(|| io::Error::from_raw_os_error(error)))
}

pub(crate) fn bind<T: Plain>(socket: &OwnedFd, address: &T) -> io::Result<()> {
    let address = ptr::from_ref(address).cast::<libc::sockaddr>();
    // SAFETY: `address` is valid for its size during the call.
    checked(unsafe { libc::bind(socket.as_raw_fd(), address, size_of::<T>()) }).map(drop)
}

pub(crate) fn send(socket: &OwnedFd, bytes: &[u8]) -> io::Result<()> {
    // SAFETY: `bytes` is valid for its length during the call.
    let sent = unsafe { libc::send(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// What has arrived; `None` where nothing has.
pub(crate) fn receive(socket: &OwnedFd, into: &mut [u8]) -> io::Result<Option<usize>> {
    // SAFETY: the kernel writes at most `into.len()` bytes.
    let got = unsafe { libc::recv(socket.as_raw_fd(), into.as_mut_ptr().cast(), into.len(), libc::MSG_DONTWAIT) };
    match usize::try_from(got) {
        Ok(got) => Ok(Some(got)),
        Err(_) => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            error => Err(error),
        },
    }
}

/// Lets a driver busy-poll or wakes it where it waits for that; an empty receive on an AF_XDP socket does it.
pub(crate) fn kick(socket: &OwnedFd) {
    // SAFETY: no memory is passed. What it answers says nothing that reading the ring does not.
    unsafe {
        libc::recvfrom(socket.as_raw_fd(), ptr::null_mut(), 0, libc::MSG_DONTWAIT, ptr::null_mut(), ptr::null_mut())
    };
}

/// Waits until one of `events` is there; the events that are, 0 after the timeout or a signal.
pub(crate) fn poll(socket: &OwnedFd, events: c_short, timeout_ms: u32) -> io::Result<c_short> {
    let mut entry = libc::pollfd { fd: socket.as_raw_fd(), events, revents: 0 };
    let timeout_ms = c_int::try_from(timeout_ms).unwrap_or(c_int::MAX);
    // SAFETY: one entry, valid during the call.
    match checked(unsafe { libc::poll(&raw mut entry, 1, timeout_ms) }) {
        Ok(_) => Ok(entry.revents),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
        Err(error) => Err(error),
    }
}

/// Bytes of a page of memory.
pub(crate) fn page_bytes() -> u32 {
    // SAFETY: no memory is passed.
    u32::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// Waits for nothing but time.
pub(crate) fn pause(milliseconds: u32) {
    // SAFETY: no entries, so no memory.
    unsafe { libc::poll(ptr::null_mut(), 0, c_int::try_from(milliseconds).unwrap_or(c_int::MAX)) };
}

pub(crate) fn ioctl<T: Plain>(socket: &OwnedFd, request: c_ulong, argument: &mut T) -> io::Result<()> {
    // SAFETY: callers pair each request with the structure that the kernel documents for it.
    checked(unsafe { libc::ioctl(socket.as_raw_fd(), request as _, ptr::from_mut(argument)) }).map(drop)
}

/// An ioctl of an interface: `ifreq` with its name and a pointer to `argument`.
pub(crate) fn interface_ioctl<T: Plain>(interface: &str, request: c_ulong, argument: &mut T) -> io::Result<()> {
    let socket = socket(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
    let mut name = libc::ifreq::zero();
    if interface.len() >= name.ifr_name.len() {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, from) in name.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from.cast_signed();
    }
    name.ifr_ifru.ifru_data = ptr::from_mut(argument).cast();
    ioctl(&socket, request, &mut name)
}

/// A clock of the system in nanoseconds. Clocks that a kernel does not have read 0.
pub(crate) fn clock_ns(clock: libc::clockid_t) -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// Bytes that nobody can guess.
pub(crate) fn random() -> io::Result<[u64; 2]> {
    let mut words = [0u64; 2];
    // SAFETY: the kernel writes at most 16 bytes, which never waits once the machine has booted.
    let got = unsafe { libc::getrandom(words.as_mut_ptr().cast(), 16, 0) };
    if got == 16 { Ok(words) } else { Err(io::Error::last_os_error()) }
}

/// Addresses of this host on an interface, without those that every interface has by itself (IPv6 link-local).
pub(crate) fn host_addresses(interface: &str) -> io::Result<Vec<IpAddr>> {
    let mut first = ptr::null_mut::<libc::ifaddrs>();
    // SAFETY: the library writes the begin of a list, which is freed below.
    checked(unsafe { libc::getifaddrs(&raw mut first) })?;
    let mut found = Vec::new();
    let mut next = first;
    // SAFETY: entries of the list are valid until it is freed; a name ends in zero, an address is as long as its family says.
    #[allow(clippy::cast_ptr_alignment, reason = "read without assuming any alignment")]
    unsafe {
        while let Some(entry) = next.as_ref() {
            next = entry.ifa_next;
            let Some(family) = entry.ifa_addr.as_ref().map(|address| i32::from(address.sa_family)) else { continue };
            if CStr::from_ptr(entry.ifa_name).to_bytes() != interface.as_bytes() {
                continue;
            }
            if family == libc::AF_INET {
                let address = entry.ifa_addr.cast::<libc::sockaddr_in>().read_unaligned();
                found.push(IpAddr::from(address.sin_addr.s_addr.to_ne_bytes()));
            } else if family == libc::AF_INET6 {
                let address = entry.ifa_addr.cast::<libc::sockaddr_in6>().read_unaligned();
                found.push(IpAddr::from(address.sin6_addr.s6_addr));
            }
        }
        libc::freeifaddrs(first);
    }
    found.retain(|address| !matches!(address, IpAddr::V6(address) if address.is_unicast_link_local()));
    Ok(found)
}

const WRITABLE: c_int = libc::PROT_READ | libc::PROT_WRITE;
const SHARED: c_int = libc::MAP_SHARED | libc::MAP_POPULATE;

/// Memory shared with the kernel: a ring of a socket, or memory that a socket fills.
pub(crate) struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the memory is the process's; nothing in it belongs to a thread.
unsafe impl Send for Mapping {}
// SAFETY: shared access is through atomics only; `bytes_mut` asks for `&mut`.
unsafe impl Sync for Mapping {}

impl Mapping {
    pub(crate) fn of(file: &OwnedFd, length: usize, offset: i64) -> io::Result<Mapping> {
        Mapping::new(length, WRITABLE, SHARED, file.as_raw_fd(), offset)
    }

    /// What only the kernel writes: to write there ends the process.
    pub(crate) fn read_only(file: &OwnedFd, length: usize, offset: i64) -> io::Result<Mapping> {
        Mapping::new(length, libc::PROT_READ, SHARED, file.as_raw_fd(), offset)
    }

    pub(crate) fn anonymous(length: usize) -> io::Result<Mapping> {
        Mapping::new(length, WRITABLE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE, -1, 0)
    }

    fn new(length: usize, protection: c_int, flags: c_int, file: c_int, offset: i64) -> io::Result<Mapping> {
        // SAFETY: a new mapping at a place that the kernel chooses touches nobody's memory.
        let start = unsafe { libc::mmap(ptr::null_mut(), length, protection, flags, file, offset) };
        match NonNull::new(start.cast::<u8>()) {
            Some(start) if start.as_ptr().cast() != libc::MAP_FAILED => Ok(Mapping { start, length }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    pub(crate) fn address(&self) -> u64 {
        self.start.as_ptr() as u64
    }

    /// Asks for bytes that will be read soon, without waiting for them: another processor wrote them, and each line takes as long to
    /// come as all that is done with a frame. Where they are outside, nothing happens; nor where stable Rust lacks the instruction.
    #[inline]
    pub(crate) fn prefetch(&self, offset: u64, bytes: usize) {
        let first = self.start.as_ptr().wrapping_add(usize::try_from(offset).unwrap_or_default());
        #[cfg(target_arch = "x86_64")]
        for at in (0..bytes).step_by(64) {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: the instruction reads nothing, has no result, and does not fail, whatever the address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(first.wrapping_add(at).cast()) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (first, bytes);
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// A word that the kernel may change at any time.
    pub(crate) fn word(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4) && offset.checked_add(4).is_some_and(|end| end <= self.length));
        // SAFETY: inside the mapping and aligned, since a mapping begins at a page.
        unsafe { AtomicU32::from_ptr(self.start.as_ptr().add(offset).cast()) }
    }

    /// The same of eight bytes.
    pub(crate) fn long(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8) && offset.checked_add(8).is_some_and(|end| end <= self.length));
        // SAFETY: as above.
        unsafe { AtomicU64::from_ptr(self.start.as_ptr().add(offset).cast()) }
    }

    /// Bytes that are ours for now.
    ///
    /// # Safety
    /// The kernel must have given these bytes to us (by an acquire load that said so) and not get them back while the slice lives.
    pub(crate) unsafe fn bytes_mut(&mut self, offset: usize, length: usize) -> &mut [u8] {
        assert!(offset.checked_add(length).is_some_and(|end| end <= self.length));
        // SAFETY: inside the mapping; nobody else writes there, as the caller promises.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr().add(offset), length) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nothing borrows from it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}
