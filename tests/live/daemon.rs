//! A running `tickscope live`, and a running tcpdump.
#![allow(unsafe_code, reason = "kill(2) has no safe interface")]

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::lab::Lab;

/// So long a daemon may take to start or to end, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) fn program() -> &'static str {
    env!("CARGO_BIN_EXE_tickscope")
}

/// A folder for the files of a test, taken away at its end.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("tickscope-live-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A process that says on stderr when it is ready.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    /// What stderr said up to now.
    pub(crate) said: Vec<String>,
    output: Option<JoinHandle<String>>,
}

impl Running {
    pub(crate) fn start(mut command: Command, ready: &str) -> Running {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (tell, lines) = channel();
        let errors = BufReader::new(child.stderr.take().unwrap());
        thread::spawn(move || errors.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        let mut stdout = child.stdout.take().unwrap();
        let output = thread::spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).unwrap();
            text
        });
        let mut running = Running { child, lines, said: Vec::new(), output: Some(output) };
        running.await_line(ready);
        running
    }

    /// Waits until stderr says this.
    pub(crate) fn await_line(&mut self, part: &str) {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("it never said {part:?}, but {:#?}", self.said));
            self.said.push(line);
            if self.said.last().unwrap().contains(part) {
                return;
            }
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: i32) {
        let id = i32::try_from(self.id()).unwrap();
        // SAFETY: no memory is passed; the process is ours, and was not waited for.
        assert_eq!(unsafe { libc::kill(id, signal) }, 0);
    }

    /// Ends it, and returns what it printed.
    pub(crate) fn end(mut self, signal: i32) -> (ExitStatus, String, Vec<String>) {
        self.signal(signal);
        let status = self.child.wait().unwrap();
        let output = self.output.take().unwrap().join().unwrap();
        while let Ok(line) = self.lines.recv() {
            self.said.push(line);
        }
        (status, output, std::mem::take(&mut self.said))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Where a test fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `tickscope live` on both links, once it captures.
pub(crate) fn live(lab: &Lab, driver: &str, arguments: &[&str]) -> Running {
    live_after("true", lab, driver, arguments)
}

/// The same, once a command of the shell was run in its mount namespace.
pub(crate) fn live_after(before: &str, lab: &Lab, driver: &str, arguments: &[&str]) -> Running {
    let mut command = Lab::command(&lab.receiver, "sh");
    // Replaced by the program, so that signals go to it.
    command.args(["-c", &format!("{before} && exec \"$0\" \"$@\""), program()]);
    let taps = [format!("md=md1,driver={driver}"), format!("ord=or1,driver={driver}")];
    command.args(["live", "--headless", "--tap", &taps[0], "--tap", &taps[1]]).args(arguments);
    Running::start(command, "capturing")
}

pub(crate) fn tcpdump(namespace: &str, interface: &str, file: &Path) -> Running {
    let mut command = Lab::command(namespace, "tcpdump");
    command.args(["-i", interface, "--time-stamp-precision=nano", "-s0", "-B", "65536", "-U", "-Z", "root", "-w"]);
    command.arg(file);
    Running::start(command, "listening on")
}
