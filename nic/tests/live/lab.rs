//! Two network namespaces, `a` and `b`, and a veth pair between them: `veth0` in each. Frames go from `a` to `b` mostly.
#![allow(unsafe_code, reason = "ethtool's ioctl has no safe interface")]

use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::net::{inside, ip, skip};

static NUMBER: AtomicU32 = AtomicU32::new(0);

pub(crate) const A_ADDRESS: &str = "10.77.0.1";
pub(crate) const B_ADDRESS: &str = "10.77.0.2";
pub(crate) const LINK: &str = "veth0";

pub(crate) struct Lab {
    a: String,
    b: String,
}

/// How a lab is made.
#[derive(Clone, Copy)]
pub(crate) struct Setup {
    /// Whether `b` has its address; AF_XDP refuses an interface that has one.
    pub(crate) has_address: bool,
    pub(crate) queues: u32,
    pub(crate) has_offloads: bool,
    pub(crate) mtu: u32,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup { has_address: true, queues: 1, has_offloads: false, mtu: 1500 }
    }
}

impl Lab {
    /// `None` after saying why the test is skipped.
    pub(crate) fn new(setup: Setup) -> Option<Lab> {
        let number = NUMBER.fetch_add(1, Relaxed);
        let name = |side| format!("tsnic-{}-{number}-{side}", std::process::id());
        let lab = Lab { a: name("a"), b: name("b") };
        for side in [&lab.a, &lab.b] {
            if let Err(error) = ip(&format!("netns add {side}")) {
                skip(&error);
                return None;
            }
        }
        if let Err(error) = lab.connect(setup) {
            skip(&error);
            return None;
        }
        Some(lab)
    }

    fn connect(&self, setup: Setup) -> Result<(), String> {
        let Lab { a, b } = self;
        let Setup { queues, mtu, .. } = setup;
        let count = format!("numtxqueues {queues} numrxqueues {queues}");
        ip(&format!(
            "-n {a} link add {LINK} mtu {mtu} {count} type veth peer name {LINK} netns {b} mtu {mtu} {count}"
        ))?;
        for (namespace, address, has_address) in [(a, A_ADDRESS, true), (b, B_ADDRESS, setup.has_address)] {
            // No neighbour discovery between the frames that are counted.
            let other = mac(if namespace == a { b } else { a })?;
            ip(&format!("-n {namespace} link set lo up"))?;
            ip(&format!("-n {namespace} link set {LINK} up"))?;
            if has_address {
                ip(&format!("-n {namespace} addr add {address}/24 dev {LINK}"))?;
                let peer = if namespace == a { B_ADDRESS } else { A_ADDRESS };
                ip(&format!("-n {namespace} neigh replace {peer} lladdr {other} dev {LINK} nud permanent"))?;
            }
            if !setup.has_offloads {
                inside(namespace, offloads_off);
            }
        }
        Ok(())
    }

    pub(crate) fn macs(&self) -> [[u8; 6]; 2] {
        [&self.a, &self.b].map(|namespace| {
            let text = mac(namespace).unwrap();
            let bytes: Vec<u8> = text.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
            bytes.try_into().unwrap()
        })
    }

    /// `ip` in namespace `a` or `b`.
    pub(crate) fn ip_a(&self, arguments: &str) -> String {
        ip(&format!("-n {} {arguments}", self.a)).unwrap()
    }

    pub(crate) fn ip_b(&self, arguments: &str) -> String {
        ip(&format!("-n {} {arguments}", self.b)).unwrap()
    }

    /// The name of namespace `b`, for processes that run in it.
    pub(crate) fn b_name(&self) -> &str {
        &self.b
    }

    /// Runs something in a namespace, on a thread of its own.
    pub(crate) fn in_a<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        inside(&self.a, run)
    }

    pub(crate) fn in_b<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        inside(&self.b, run)
    }
}

/// The hardware address of the link in a namespace.
fn mac(namespace: &str) -> Result<String, String> {
    let text = ip(&format!("-n {namespace} -br link show {LINK}"))?;
    text.split_whitespace().find(|word| word.split(':').count() == 6).map(str::to_owned).ok_or(text)
}

impl Drop for Lab {
    fn drop(&mut self) {
        for namespace in [&self.a, &self.b] {
            let _ = ip(&format!("netns del {namespace}"));
        }
    }
}

/// Checksums, segmentation and merging are done in software, so that frames are as on a wire.
fn offloads_off() {
    #[repr(C)]
    struct Value {
        command: u32,
        data: u32,
    }
    // ETHTOOL_STXCSUM, SSG, STSO, SGSO, SGRO
    for command in [0x17, 0x19, 0x1F, 0x24, 0x2C] {
        let mut value = Value { command, data: 0 };
        // SAFETY: all zero is an ifreq.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(LINK.bytes()) {
            *to = from.cast_signed();
        }
        request.ifr_ifru.ifru_data = std::ptr::from_mut(&mut value).cast();
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        // SAFETY: SIOCETHTOOL takes an ifreq whose data points to the structure of its command.
        unsafe { libc::ioctl(socket.as_raw_fd(), 0x8946, &raw mut request) };
    }
}
