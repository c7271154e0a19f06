//! One reader of the socket: what it is still to be sent, and the lines that it sends. Both are bounded.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use rustix::event::PollFlags;

use crate::stats::By;
use crate::write::{Question, question};

/// A reader with more than this before it is behind.
const BEHIND: usize = 4 << 20;
/// A line that is longer than this is no question.
const LONGEST_LINE: usize = 64 << 10;
/// Lines are split up to so many at once.
const READ: usize = 16 << 10;

/// A line from a reader.
pub(super) enum Asked {
    Question(Question),
    Wrong(String),
}

/// See the head of this file.
#[allow(clippy::struct_excessive_bools, reason = "they are independent of each other")]
pub(super) struct Reader {
    pub(super) stream: UnixStream,
    /// Every snapshot is for it: so it is from the beginning, until it asks something.
    pub(super) is_streaming: bool,
    /// It asked for the next one.
    pub(super) wants_snapshot: bool,
    /// It asked for groups, which come with the next one.
    pub(super) wants_groups: Vec<By>,
    /// It asked for frames, which the engine has, so often.
    pub(super) awaits: usize,
    pub(super) number: u64,
    /// Gone, or to be dropped.
    pub(super) is_over: bool,
    /// The screen of this very run: it misses snapshots rather than to be dropped.
    pub(super) is_own: bool,
    has_asked: bool,
    /// It will not ask any more.
    has_ended: bool,
    lines: VecDeque<Arc<[u8]>>,
    /// Bytes of the first line that are sent, and of all lines that are not.
    sent: usize,
    pending: usize,
    input: Vec<u8>,
}

impl Reader {
    pub(super) fn new(stream: UnixStream, number: u64) -> Reader {
        Reader {
            stream,
            is_streaming: true,
            wants_snapshot: false,
            wants_groups: Vec::new(),
            awaits: 0,
            number,
            is_over: false,
            is_own: false,
            has_asked: false,
            has_ended: false,
            lines: VecDeque::new(),
            sent: 0,
            pending: 0,
            input: Vec::new(),
        }
    }

    /// It does not take what it is sent. One line, however long, is not too much.
    pub(super) fn is_behind(&self) -> bool {
        self.pending > BEHIND && self.lines.len() > 1
    }

    /// Somebody has to make a snapshot for it.
    pub(super) fn wants_any(&self) -> bool {
        self.is_streaming || self.wants_snapshot || !self.wants_groups.is_empty()
    }

    pub(super) fn has_taken_all(&self) -> bool {
        self.lines.is_empty() || self.is_over
    }

    pub(super) fn waits_for(&self, is_last: bool) -> PollFlags {
        // Whoever does not take answers is asked for no further questions.
        let is_read = !self.has_ended && !is_last && self.pending <= BEHIND;
        let read = if is_read { PollFlags::IN } else { PollFlags::empty() };
        if self.lines.is_empty() { read } else { read | PollFlags::OUT }
    }

    pub(super) fn send(&mut self, line: Arc<[u8]>) {
        self.pending += line.len();
        self.lines.push_back(line);
    }

    /// Sends as much as it takes now.
    pub(super) fn write(&mut self) {
        while let Some(line) = self.lines.front() {
            match (&self.stream).write(&line[self.sent..]) {
                Ok(count) => {
                    (self.sent, self.pending) = (self.sent + count, self.pending - count);
                    if self.sent == line.len() {
                        self.lines.pop_front();
                        self.sent = 0;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    self.is_over = true;
                    return;
                }
            }
        }
        // Whoever asked, and will not ask any more, has what it came for.
        let is_served = !self.wants_any() && self.awaits == 0;
        self.is_over |= self.has_ended && self.has_asked && is_served;
    }

    /// The lines that have come.
    pub(super) fn read(&mut self) -> Vec<Asked> {
        if self.has_ended || self.is_over || self.pending > BEHIND {
            return Vec::new();
        }
        let mut bytes = [0; READ];
        match (&self.stream).read(&mut bytes) {
            Ok(0) => {
                self.has_ended = true;
                // A last line may lack its end.
                if !self.input.is_empty() {
                    self.input.push(b'\n');
                }
            }
            Ok(count) => self.input.extend_from_slice(&bytes[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => self.is_over = true,
        }
        let mut asked = Vec::new();
        while let Some(end) = self.input.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.input.drain(..=end).collect();
            if !line.trim_ascii().is_empty() {
                asked.push(question(line.trim_ascii()).map_or_else(Asked::Wrong, Asked::Question));
            }
        }
        if self.input.len() > LONGEST_LINE {
            self.input.clear();
            self.has_ended = true;
            asked.push(Asked::Wrong(format!("a line is longer than {LONGEST_LINE} bytes")));
        }
        if !asked.is_empty() && !self.has_asked {
            (self.has_asked, self.is_streaming) = (true, false);
        }
        asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Reader, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (Reader::new(ours, 1), theirs)
    }

    #[test]
    fn who_asks_gets_answers_alone_and_is_let_go_behind_the_last() {
        let (mut reader, mut other) = pair();
        assert!(reader.read().is_empty() && reader.is_streaming);
        other.write_all(b"{\"query\":\"snap").unwrap();
        assert!(reader.read().is_empty() && reader.is_streaming, "half a line is no question");
        other.write_all(b"shot\"}\n\nnonsense\n{\"query\":\"stream\"}").unwrap();
        let asked = reader.read();
        assert!(matches!(asked[..], [Asked::Question(Question::Snapshot), Asked::Wrong(_)]));
        assert!(!reader.is_streaming);
        other.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(matches!(reader.read()[..], [Asked::Question(Question::Stream)]), "a last line needs no end");
        reader.send(Arc::from(&b"answer\n"[..]));
        reader.write();
        assert!(reader.is_over);
        drop(reader);
        let mut text = String::new();
        other.read_to_string(&mut text).unwrap();
        assert_eq!(text, "answer\n");
    }

    #[test]
    fn who_takes_nothing_is_behind_and_is_asked_nothing() {
        let (mut reader, _other) = pair();
        let line: Arc<[u8]> = vec![b'x'; 2_400_000].into();
        reader.send(Arc::clone(&line));
        reader.send(Arc::clone(&line));
        reader.write();
        // The kernel takes some two hundred thousand bytes.
        reader.send(line);
        assert!(reader.is_behind());
        assert!(!reader.waits_for(false).contains(PollFlags::IN));
    }

    #[test]
    fn a_line_without_end_is_cut_off() {
        let (mut reader, mut other) = pair();
        other.set_nonblocking(true).unwrap();
        let mut asked = Vec::new();
        for _ in 0..20 {
            let _ = other.write(&[b'x'; READ]);
            asked.extend(reader.read());
        }
        assert!(matches!(asked[..], [Asked::Wrong(_)]));
    }

    #[test]
    fn a_reader_that_is_gone_is_over() {
        let (mut reader, other) = pair();
        drop(other);
        reader.send(Arc::from(&b"x"[..]));
        reader.write();
        assert!(reader.is_over);
    }
}
