//! What the tests of live capture, here and of the daemon, and its benchmark need of the network: `ip`, namespaces, and sockets that
//! send whole frames.
#![allow(unsafe_code, reason = "setns(2) and raw sockets have no safe interface")]
#![allow(dead_code, reason = "each of those who share this file needs a part of it")]

use std::ffi::CString;
use std::fs::File;
use std::io::Error;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::thread;

/// `PACKET_QDISC_BYPASS`: straight to the driver.
const QDISC_BYPASS: i32 = 20;

/// What `ip` prints, or what it complains about.
pub(crate) fn ip(arguments: &str) -> Result<String, String> {
    let output = Command::new("ip").args(arguments.split_whitespace()).output();
    let output = output.map_err(|error| format!("`ip` cannot be run: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(format!("ip {arguments}: {}", text(&output.stderr)))
    }
}

/// Says why a test is skipped, where that is allowed.
pub(crate) fn skip(reason: &str) {
    assert!(std::env::var("TICKSCOPE_REQUIRE_LIVE").is_err(), "live capture cannot be tried here: {reason}");
    eprintln!("SKIPPED: {reason}");
}

/// Runs something in a namespace, on a thread of its own.
pub(crate) fn inside<T: Send>(namespace: &str, run: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let file = File::open(format!("/run/netns/{namespace}")).unwrap();
            // SAFETY: no memory is passed; only this thread changes its namespace.
            let result = unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) };
            assert_eq!(result, 0, "setns: {}", Error::last_os_error());
            run()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// A socket that sends whole frames on one interface.
pub(crate) struct Raw {
    socket: i32,
    address: libc::sockaddr_ll,
}

impl Raw {
    pub(crate) fn open(interface: &str) -> Raw {
        let name = CString::new(interface).unwrap();
        // SAFETY: a string with its zero.
        let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
        assert_ne!(index, 0, "{interface}");
        // SAFETY: no memory is passed.
        let socket = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        assert!(socket >= 0, "{}", Error::last_os_error());
        // SAFETY: all zero is an address.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = 17;
        address.sll_ifindex = index.cast_signed();
        Raw { socket, address }
    }

    /// Frames go straight to the driver from now on.
    pub(crate) fn bypass_queues(&self) {
        let (on, length) = (1_i32, libc::socklen_t::try_from(size_of::<i32>()).unwrap());
        // SAFETY: the option is a number, valid during the call.
        let set =
            unsafe { libc::setsockopt(self.socket, libc::SOL_PACKET, QDISC_BYPASS, (&raw const on).cast(), length) };
        assert_eq!(set, 0, "{}", Error::last_os_error());
    }

    /// Whether it was sent: a link that is down takes nothing.
    pub(crate) fn send(&self, frame: &[u8]) -> bool {
        let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).unwrap();
        let (start, address) = (frame.as_ptr().cast(), (&raw const self.address).cast());
        // SAFETY: frame and address are valid during the call.
        let sent = unsafe { libc::sendto(self.socket, start, frame.len(), 0, address, length) };
        usize::try_from(sent) == Ok(frame.len())
    }

    /// Sends with one system call; how many were taken.
    pub(crate) fn send_all(&self, frames: &[Vec<u8>]) -> u64 {
        let mut parts: Vec<libc::iovec> = frames
            .iter()
            .map(|frame| libc::iovec { iov_base: frame.as_ptr().cast_mut().cast(), iov_len: frame.len() })
            .collect();
        let mut messages: Vec<libc::mmsghdr> = parts
            .iter_mut()
            .map(|part| {
                // SAFETY: all zero is a message without anything.
                let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
                message.msg_hdr.msg_name = (&raw const self.address).cast_mut().cast();
                message.msg_hdr.msg_namelen = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).unwrap();
                message.msg_hdr.msg_iov = part;
                message.msg_hdr.msg_iovlen = 1;
                message
            })
            .collect();
        let count = u32::try_from(messages.len()).unwrap();
        // SAFETY: frames, parts and address live until the end of the call, and are only read.
        let sent = unsafe { libc::sendmmsg(self.socket, messages.as_mut_ptr(), count, 0) };
        u64::try_from(sent).unwrap_or(0)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // SAFETY: it is ours.
        unsafe { libc::close(self.socket) };
    }
}
