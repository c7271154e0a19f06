//! AF_XDP.
use std::io;
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct QueueMatches {
    pub(crate) matched: u64,
    pub(crate) redirected: u64,
    pub(crate) no_socket: u64,
    pub(crate) refused: u64,
    pub(crate) fragments: u64,
}
pub(crate) struct Matches;
impl Matches {
    pub(crate) fn of_queue(&self, _queue: u32) -> io::Result<QueueMatches> {
        Ok(QueueMatches::default())
    }
}
