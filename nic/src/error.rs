//! Why a capture does not start, or does not go on. Every message names the interface and what to do next.

use std::io;

/// A capture could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("interface {interface}: {source}; `ip link` lists the interfaces of this network namespace")]
    NoInterface { interface: String, source: io::Error },
    #[error("interface {interface}: {what}: {source}; {advice}")]
    System { interface: String, what: &'static str, source: io::Error, advice: String },
    #[error("interface {interface}: {driver} needs {missing}, which this process has not; {advice}")]
    Privileges { interface: String, driver: &'static str, missing: String, advice: String },
    #[error(
        "interface {interface} carries {address} of this host, and AF_XDP would take its frames away from it; capture by \
         AF_PACKET, or say `steal`"
    )]
    InUse { interface: String, address: String },
    #[error(
        "interface {interface} has an XDP program or AF_XDP socket already, and only one can be there; `ip link show \
         {interface}` shows the program: end what loaded it, or capture by AF_PACKET"
    )]
    Busy { interface: String },
    #[error("interface {interface}: {problem}")]
    Options { interface: String, problem: String },
}

impl OpenError {
    pub(crate) fn system(interface: &str, what: &'static str, source: io::Error, advice: &str) -> OpenError {
        OpenError::System { interface: interface.to_owned(), what, source, advice: advice.to_owned() }
    }

    pub(crate) fn options(interface: &str, problem: impl Into<String>) -> OpenError {
        OpenError::Options { interface: interface.to_owned(), problem: problem.into() }
    }

    /// The system's own error where there is one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            OpenError::NoInterface { source, .. } | OpenError::System { source, .. } => source.raw_os_error(),
            OpenError::Privileges { .. } => Some(libc::EPERM),
            OpenError::Busy { .. } => Some(libc::EBUSY),
            OpenError::InUse { .. } | OpenError::Options { .. } => None,
        }
    }
}

/// The system refused something while capturing.
#[derive(Debug, thiserror::Error)]
#[error("interface {interface}: {what}: {source}; the capture has to be opened again")]
pub struct CaptureError {
    pub interface: String,
    pub what: &'static str,
    pub source: io::Error,
}
