//! The Unix socket: every reader gets each snapshot as a line, or answers to what it asks. One thread does all of it: it takes
//! snapshots and rows from the engine over a bounded channel, and waits for nobody. What a reader does not take is kept up to
//! a limit; then the reader is dropped.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tickscope_model::TapId;

use super::reader::{Asked, Reader};
use super::rows::Rows;
use crate::stats::{By, Kept, Snapshot};
use crate::write::{
    Packets, Question, Readers, candidates_answer, error_answer, groups_answer, named, no_row, packets_answer,
    rows_answer, session_answer, snapshot_line,
};

/// So many readers at once.
const MOST_READERS: usize = 32;
/// What may lie between the engine and this thread.
const MESSAGES: usize = 64;
/// Questions for frames that may wait for the engine, which looks at one ten times a second.
const QUESTIONS: usize = 16;
/// Rows in a snapshot.
const NEWEST: usize = 20;
/// At the end readers have so long to take what they were sent: looks, and how long each of them waits.
const LAST_LOOKS: u32 = 20;
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// A socket that nobody else has.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode, to take away no other one at the end.
    identity: (u64, u64),
}

impl Socket {
    /// Makes it for owner and group. What a process left behind that was killed is replaced.
    pub fn bind(path: &Path) -> io::Result<Socket> {
        let named = |error: io::Error| named(path.display(), &error);
        let other = |text: &str| io::Error::new(ErrorKind::AddrInUse, format!("{}: {text}", path.display()));
        match UnixStream::connect(path) {
            Ok(_) => return Err(other("this socket is in use by another process")),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                if !fs::symlink_metadata(path).map_err(named)?.file_type().is_socket() {
                    return Err(other("there is a file of this name that is no socket"));
                }
            }
            Err(error) => return Err(named(error)),
        }
        // Under another name first, so that nobody can connect before the permissions are right, and so that the old one
        // is replaced at once.
        let mut first = path.as_os_str().to_owned();
        first.push(format!(".{}", std::process::id()));
        let first = PathBuf::from(first);
        let _ = fs::remove_file(&first);
        let listener = UnixListener::bind(&first).map_err(named)?;
        let ready =
            fs::set_permissions(&first, fs::Permissions::from_mode(0o660)).and_then(|()| fs::rename(&first, path));
        if let Err(error) = ready {
            let _ = fs::remove_file(&first);
            return Err(named(error));
        }
        listener.set_nonblocking(true)?;
        let metadata = fs::symlink_metadata(path).map_err(named)?;
        Ok(Socket { listener, path: path.to_owned(), identity: (metadata.dev(), metadata.ino()) })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let is_ours = |metadata: fs::Metadata| (metadata.dev(), metadata.ino()) == self.identity;
        if fs::symlink_metadata(&self.path).is_ok_and(is_ours) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// What the engine hands over.
enum Message {
    Rows(Vec<Kept>),
    Snapshot(Box<Snapshot>),
    Frames(Wanted, Option<Packets>),
}

/// Frames that a reader asked for, which the engine's flight recorder may have.
#[derive(Debug)]
pub struct Wanted {
    pub frames: Vec<(TapId, u64)>,
    reader: u64,
    session: String,
    clordid: String,
}

/// The engine's end.
pub struct Publisher {
    messages: SyncSender<Message>,
    /// Somebody wants a snapshot, and with it these groups, by [`By::bit`] …
    wanted: Arc<AtomicBool>,
    groups: Arc<AtomicU8>,
    /// … and none is on its way.
    on_its_way: Arc<AtomicBool>,
    /// What the engine is asked for.
    questions: Receiver<Wanted>,
    /// A byte wakes the thread; its end ends it.
    bell: UnixStream,
    thread: JoinHandle<()>,
}

/// Says something for people.
pub type Tell = Box<dyn Fn(&str) + Send>;

impl Publisher {
    /// `own` is a reader that is there from the beginning: the screen of this run. `taps`: their names.
    pub fn start(
        socket: Option<Socket>,
        own: Option<UnixStream>,
        taps: Vec<String>,
        tell: Tell,
    ) -> io::Result<Publisher> {
        let (messages, queue) = sync_channel(MESSAGES);
        let (bell, ear) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        ear.set_nonblocking(true)?;
        let (wanted, on_its_way) = (Arc::new(AtomicBool::new(own.is_some())), Arc::<AtomicBool>::default());
        let groups = Arc::<AtomicU8>::default();
        let mut readers = Vec::new();
        if let Some(stream) = own {
            stream.set_nonblocking(true)?;
            let mut reader = Reader::new(stream, 0);
            reader.is_own = true;
            readers.push(reader);
        }
        let (ask, questions) = sync_channel(QUESTIONS);
        let server = Server {
            socket,
            queue,
            ear,
            wanted: Arc::clone(&wanted),
            groups: Arc::clone(&groups),
            on_its_way: Arc::clone(&on_its_way),
            tell,
            ask,
            connections: 0,
            readers,
            counts: Readers::default(),
            rows: Rows::default(),
            latest: None,
            taps,
        };
        let thread = thread::Builder::new().name("socket".to_owned()).spawn(move || server.run())?;
        Ok(Publisher { messages, wanted, groups, on_its_way, questions, bell, thread })
    }

    /// Whether somebody waits for a snapshot.
    pub fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    /// The groups that somebody asked for.
    pub fn groups(&self) -> impl Iterator<Item = By> + use<> {
        let bits = self.groups.load(Ordering::Relaxed);
        By::ALL.into_iter().filter(move |by| bits & by.bit() != 0)
    }

    /// Whether the last one was not taken yet.
    pub fn is_behind(&self) -> bool {
        self.on_its_way.load(Ordering::Relaxed)
    }

    /// False where it has to be left out.
    pub fn snapshot(&self, snapshot: Snapshot) -> bool {
        self.on_its_way.store(true, Ordering::Relaxed);
        let is_sent = self.send(Message::Snapshot(Box::new(snapshot)));
        if !is_sent {
            self.on_its_way.store(false, Ordering::Relaxed);
        }
        is_sent
    }

    /// False where they are not kept.
    pub fn rows(&self, rows: Vec<Kept>) -> bool {
        self.send(Message::Rows(rows))
    }

    /// Frames that somebody asked for; they are answered with [`Publisher::frames`].
    pub fn asked(&self) -> Option<Wanted> {
        self.questions.try_recv().ok()
    }

    /// The answer, where `None` says that no frames are kept. It is given back where it has to be sent once more, later.
    pub fn frames(&self, wanted: Wanted, found: Option<Packets>) -> Option<(Wanted, Option<Packets>)> {
        let refused = self.try_send(Message::Frames(wanted, found))?;
        if let Message::Frames(wanted, found) = refused { Some((wanted, found)) } else { None }
    }

    fn send(&self, message: Message) -> bool {
        self.try_send(message).is_none()
    }

    /// Gives back what has no room.
    fn try_send(&self, message: Message) -> Option<Message> {
        let refused = match self.messages.try_send(message) {
            Err(TrySendError::Full(message)) => Some(message),
            Ok(()) | Err(TrySendError::Disconnected(_)) => None,
        };
        // Where the bell is full it rings anyway.
        let _ = (&self.bell).write(&[0]);
        refused
    }

    /// The last snapshot; gives readers the time to take what was sent, a second at most.
    pub fn finish(self, last: Snapshot) {
        // This thread may wait now, and the other one always takes what there is, or is gone.
        let _ = self.messages.send(Message::Snapshot(Box::new(last)));
        drop(self.messages);
        drop(self.bell);
        if let Err(panicked) = self.thread.join() {
            std::panic::resume_unwind(panicked);
        }
    }
}

/// See the head of this file.
struct Server {
    /// Where there is none, nobody can come but the reader that is there already.
    socket: Option<Socket>,
    queue: Receiver<Message>,
    ear: UnixStream,
    wanted: Arc<AtomicBool>,
    groups: Arc<AtomicU8>,
    on_its_way: Arc<AtomicBool>,
    tell: Tell,
    ask: SyncSender<Wanted>,
    /// Readers so far, who are numbered by it.
    connections: u64,
    readers: Vec<Reader>,
    counts: Readers,
    rows: Rows,
    latest: Option<Box<Snapshot>>,
    /// Names of the taps.
    taps: Vec<String>,
}

impl Server {
    fn run(mut self) {
        while self.wait(None) {
            let is_open = self.take();
            self.accept();
            self.serve();
            if !is_open {
                break;
            }
        }
        for reader in &mut self.readers {
            let groups = std::mem::take(&mut reader.wants_groups).into_iter().map(|_| "groups");
            let unanswered = groups.chain((std::mem::take(&mut reader.awaits) > 0).then_some("packets"));
            unanswered.for_each(|query| reader.send(error_answer(Some(query), "the run has ended").into()));
        }
        for _ in 0..LAST_LOOKS {
            self.serve();
            if self.readers.iter().all(Reader::has_taken_all) || !self.wait(Some(&LOOK)) {
                return;
            }
        }
    }

    /// Waits until there is something to do. False where that cannot be waited for.
    fn wait(&mut self, most: Option<&Timespec>) -> bool {
        let is_last = most.is_some();
        let mut all: Vec<PollFd<'_>> = Vec::with_capacity(self.readers.len() + 2);
        if !is_last {
            all.push(PollFd::new(&self.ear, PollFlags::IN));
            all.extend(self.socket.iter().map(|socket| PollFd::new(&socket.listener, PollFlags::IN)));
        }
        // Nothing is waited for of one that was closed half, whose end would be told again and again.
        let waits = |reader: &&Reader| !reader.waits_for(is_last).is_empty();
        let fds = self.readers.iter().filter(waits);
        all.extend(fds.map(|reader| PollFd::new(&reader.stream, reader.waits_for(is_last))));
        match poll(&mut all, most) {
            Ok(_) | Err(rustix::io::Errno::INTR) => true,
            Err(error) => {
                (self.tell)(&format!("the socket is given up: {error}"));
                false
            }
        }
    }

    /// What the engine has sent. False at the end.
    fn take(&mut self) -> bool {
        let mut byte = [0; 64];
        while io::Read::read(&mut &self.ear, &mut byte).is_ok_and(|count| count > 0) {}
        loop {
            match self.queue.try_recv() {
                Ok(Message::Rows(rows)) => self.rows.extend(rows),
                Ok(Message::Snapshot(snapshot)) => {
                    self.on_its_way.store(false, Ordering::Relaxed);
                    self.publish(snapshot);
                }
                Ok(Message::Frames(wanted, found)) => self.give(wanted, found),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn publish(&mut self, snapshot: Box<Snapshot>) {
        self.taps = snapshot.summary.tap_names();
        // First of all those that are behind, so that this snapshot tells of it.
        let is_lost = |reader: &&mut Reader| reader.is_streaming && !reader.is_own && reader.is_behind();
        for reader in self.readers.iter_mut().filter(is_lost) {
            reader.is_over = true;
            self.counts.dropped += 1;
            (self.tell)("a reader of the socket was dropped: it does not take what it is sent");
        }
        self.forget();
        let line: Arc<[u8]> = snapshot_line(&snapshot, self.rows.newest().take(NEWEST), self.counts).into();
        for reader in &mut self.readers {
            let is_sent = reader.is_streaming && !reader.is_behind();
            if std::mem::take(&mut reader.wants_snapshot) || is_sent || reader.is_streaming && snapshot.is_last {
                reader.send(Arc::clone(&line));
            }
        }
        self.give_groups(&snapshot);
        self.latest = Some(snapshot);
        self.say_wanted();
    }

    /// Answers who asked for groups that this snapshot has.
    fn give_groups(&mut self, snapshot: &Snapshot) {
        let answers: Vec<(By, Arc<[u8]>)> = snapshot
            .groups
            .iter()
            .filter_map(|asked| Some((asked.by, groups_answer(asked.by, snapshot)?.into())))
            .collect();
        for (by, answer) in &answers {
            for reader in &mut self.readers {
                let count = reader.wants_groups.iter().filter(|wanted| **wanted == *by).count();
                reader.wants_groups.retain(|wanted| wanted != by);
                (0..count).for_each(|_| reader.send(Arc::clone(answer)));
            }
        }
    }

    /// Answers who asked for frames, if it is still there.
    fn give(&mut self, wanted: Wanted, found: Option<Packets>) {
        let Wanted { reader, session, clordid, .. } = wanted;
        let Some(reader) = self.readers.iter_mut().find(|one| one.number == reader) else { return };
        let answer = match found {
            Some(packets) => packets_answer((&session, &clordid), &packets, &self.taps),
            None => error_answer(Some("packets"), "no frames are kept: --flight DURATION keeps the newest"),
        };
        reader.awaits -= 1;
        reader.send(answer.into());
    }

    /// Asks the engine for the frames of a request; what is wrong with that is told at once.
    fn ask(&mut self, at: usize, session: Option<&str>, clordid: &str) -> Option<Vec<u8>> {
        let error = |text: &str| Some(error_answer(Some("packets"), text));
        let Some(Kept { row, .. }) = self.rows.find(session, clordid) else {
            let (rows, _, aged_out) = self.rows.kept();
            return error(&no_row(rows, aged_out));
        };
        let (session, clordid) = (row.session.to_string(), row.clordid.to_string());
        let reader = &mut self.readers[at];
        let wanted = Wanted { frames: row.frames(), reader: reader.number, session, clordid };
        match self.ask.try_send(wanted) {
            Ok(()) => {
                reader.awaits += 1;
                None
            }
            Err(TrySendError::Full(_)) => error("too many questions for packets wait for their answers; ask again"),
            Err(TrySendError::Disconnected(_)) => error("the run has ended"),
        }
    }

    fn accept(&mut self) {
        // An error is that of a connection that is gone again, or of too many open files: both pass.
        let Some(socket) = &self.socket else { return };
        while let Ok((stream, _)) = socket.listener.accept() {
            if stream.set_nonblocking(true).is_err() {
                continue;
            }
            if self.readers.len() == MOST_READERS {
                self.counts.refused += 1;
                // It has an empty buffer, so this goes out or the reader is gone.
                let _ = (&stream).write(&error_answer(None, "there are too many readers"));
                continue;
            }
            self.connections += 1;
            self.readers.push(Reader::new(stream, self.connections));
        }
        self.say_wanted();
    }

    /// Reads questions, answers them, and sends what is to be sent.
    fn serve(&mut self) {
        for at in 0..self.readers.len() {
            for asked in self.readers[at].read() {
                let answer = self.answer(at, &asked);
                if let Some(answer) = answer {
                    self.readers[at].send(answer.into());
                }
            }
            self.readers[at].write();
        }
        self.forget();
        self.say_wanted();
    }

    fn answer(&mut self, at: usize, asked: &Asked) -> Option<Vec<u8>> {
        let reader = &mut self.readers[at];
        match asked {
            Asked::Wrong(error) => Some(error_answer(None, error)),
            Asked::Question(question @ (Question::Stream | Question::Snapshot)) => {
                reader.is_streaming |= *question == Question::Stream;
                reader.wants_snapshot = true;
                None
            }
            Asked::Question(Question::Groups { by }) => {
                reader.wants_groups.push(*by);
                None
            }
            Asked::Question(Question::Rows { after, most }) => {
                Some(rows_answer(&self.rows.after(*after, *most), &self.taps))
            }
            Asked::Question(Question::Order { session, clordid }) => {
                let found = self.rows.find(session.as_deref(), clordid);
                Some(candidates_answer(found, &self.taps, self.rows.kept()))
            }
            Asked::Question(Question::Packets { session, clordid }) => self.ask(at, session.as_deref(), clordid),
            Asked::Question(Question::Session { session }) => Some(match &self.latest {
                Some(snapshot) => session_answer(session, snapshot),
                None => error_answer(Some("session"), "no snapshot was made yet; ask for one first"),
            }),
        }
    }

    fn forget(&mut self) {
        self.readers.retain(|reader| !reader.is_over);
        self.counts.connected = self.readers.len() as u64;
    }

    fn say_wanted(&self) {
        self.wanted.store(self.readers.iter().any(Reader::wants_any), Ordering::Relaxed);
        let groups = self.readers.iter().flat_map(|reader| &reader.wants_groups).fold(0, |bits, by| bits | by.bit());
        self.groups.store(groups, Ordering::Relaxed);
    }
}
