//! One end of a FIX session on a TCP connection that comes and goes: used by the reference trader and the gateway.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::now;
use crate::encode::fix::{Framer, Received};
use crate::session::{Happened, Session};

/// A reader looks up so often, for heartbeats and to see whether all is over.
const LOOK_UP: Duration = Duration::from_millis(10);

/// A session and the connection that it has at the moment.
pub(super) struct Link {
    pub(super) session: Session,
    stream: Option<TcpStream>,
}

impl Link {
    pub(super) fn new(session: Session) -> Link {
        Link { session, stream: None }
    }

    /// A connection exists; an initiator logs on.
    pub(super) fn connected(&mut self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(Duration::from_secs(2)))?;
        self.stream = Some(stream.try_clone()?);
        self.session.connected(now());
        self.flush();
        Ok(())
    }

    pub(super) fn disconnected(&mut self) {
        self.stream = None;
        self.session.disconnected();
    }

    /// Takes a message in and answers what the session layer answers.
    pub(super) fn receive(&mut self, message: Received) -> Option<Happened> {
        let happened = self.session.receive(now(), message);
        self.flush();
        happened
    }

    /// Heartbeats and test requests that are due.
    pub(super) fn tick(&mut self) -> Option<Happened> {
        let happened = self.session.tick(now());
        self.flush();
        happened
    }

    /// Sends an application message; its number.
    pub(super) fn send(&mut self, kind: &str, body: crate::encode::fix::Fields) -> u64 {
        let sequence = self.session.send(now(), kind, body);
        self.flush();
        sequence
    }

    pub(super) fn log_out(&mut self) {
        self.session.logout(now(), "");
        self.flush();
    }

    /// A logout was sent and is not answered yet.
    pub(super) fn is_saying_goodbye(&self) -> bool {
        self.stream.is_some() && self.session.is_leaving()
    }

    pub(super) fn is_up(&self) -> bool {
        self.session.is_up()
    }

    /// Cuts the connection; its reader notices.
    pub(super) fn cut(&self) {
        if let Some(stream) = &self.stream {
            // It may be gone already.
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    fn flush(&mut self) {
        let bytes: Vec<u8> = self.session.out.drain(..).flat_map(|one| one.bytes).collect();
        if bytes.is_empty() {
            return;
        }
        let sent = self.stream.as_mut().map(|stream| stream.write_all(&bytes));
        if matches!(sent, Some(Err(_))) {
            // Its reader notices, too; what was not written is asked for again after the next logon.
            self.cut();
        }
    }
}

/// Reads a connection to its end: `take` gets each message, and `None` now and then; it says whether to go on.
pub(super) fn read(mut stream: &TcpStream, mut take: impl FnMut(Option<Received>) -> bool) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(LOOK_UP))?;
    let mut framer = Framer::default();
    let mut buffer = vec![0; 64 * 1024];
    while take(None) {
        let got = match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(got) => got,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => continue,
            Err(error) => return Err(error),
        };
        framer.push(buffer.get(..got).unwrap_or_default());
        while let Some(message) = framer.pop() {
            if !take(Some(message)) {
                return Ok(());
            }
        }
    }
    Ok(())
}
