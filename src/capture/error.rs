//! What can be wrong with a source as a whole ([`SourceError`]: nothing can be read), and where a capture
//! broke off ([`Cut`]: everything before it was read).

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a capture could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The operating system said no.
    #[error("{}: {cause}", file.display())]
    Open { file: PathBuf, cause: io::Error },
    /// It is something else.
    #[error("{}: {what}, not a capture: tickscope reads pcap and pcapng, plain or compressed by gz, zst, xz or lz4", file.display())]
    NotACapture { file: PathBuf, what: String },
    /// It is a capture, but already its first bytes do not hold.
    #[error("{}: at byte {offset}: {reason}", file.display())]
    Broken { file: PathBuf, offset: u64, reason: String },
}

/// Where a capture ended before its end, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Byte in the capture; in the decompressed data where it is compressed.
    pub offset: u64,
    /// Number of the frame that would have come next, as Wireshark counts.
    pub frame: u64,
    /// One clause, without the file's name.
    pub reason: String,
    /// How many bytes of the capture were not read, where its size is known.
    pub unread: Option<u64>,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ends at byte {}, before frame {}: {}", self.offset, self.frame, self.reason)?;
        match self.unread {
            Some(bytes) if bytes > 0 => write!(f, " ({bytes} bytes left unread)"),
            _ => Ok(()),
        }
    }
}
