//! Two network namespaces: in `sender` frames are sent on `md0` and `or0`, in `receiver` they arrive on `md1` and `or1`, which
//! carry no address.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::net::{inside, ip, skip};

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Market data and orders: where they are sent, and where they arrive.
pub(crate) const SENT: [&str; 2] = ["md0", "or0"];
pub(crate) const ARRIVES: [&str; 2] = ["md1", "or1"];

pub(crate) struct Lab {
    pub(crate) sender: String,
    pub(crate) receiver: String,
}

impl Lab {
    /// `None` after saying why the test is skipped.
    pub(crate) fn new() -> Option<Lab> {
        let number = NUMBER.fetch_add(1, Relaxed);
        let name = |side| format!("tslive-{}-{number}-{side}", std::process::id());
        let lab = Lab { sender: name("s"), receiver: name("r") };
        let made = Command::new("tcpdump").arg("--version").output().map_err(|_| "there is no tcpdump".to_owned());
        match made.and_then(|_| lab.make()) {
            Ok(()) => Some(lab),
            Err(reason) => {
                skip(&reason);
                None
            }
        }
    }

    fn make(&self) -> Result<(), String> {
        let Lab { sender, receiver } = self;
        for namespace in [sender, receiver] {
            ip(&format!("netns add {namespace}"))?;
            // Nothing but what the test sends.
            let quiet =
                ["sysctl", "-q", "-w", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1"];
            let _ = Command::new("ip").args(["netns", "exec", namespace]).args(quiet).output();
        }
        for (from, to) in SENT.into_iter().zip(ARRIVES) {
            ip(&format!("-n {sender} link add {from} type veth peer name {to} netns {receiver}"))?;
            ip(&format!("-n {sender} link set {from} up"))?;
            ip(&format!("-n {receiver} link set {to} up"))?;
        }
        Ok(())
    }

    /// `ip` where frames arrive.
    pub(crate) fn ip(&self, arguments: &str) {
        ip(&format!("-n {} {arguments}", self.receiver)).unwrap();
    }

    /// A command that runs in one of the namespaces.
    pub(crate) fn command(namespace: &str, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace, program]);
        command
    }

    /// Runs something where frames are sent, on a thread of its own.
    pub(crate) fn in_sender<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        inside(&self.sender, run)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for namespace in [&self.sender, &self.receiver] {
            let _ = ip(&format!("netns del {namespace}"));
        }
    }
}
