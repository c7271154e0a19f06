//! A terminal that a test looks at: tmux types, and says what stands there. Where it is absent tests say `SKIPPED`, which
//! `TICKSCOPE_REQUIRE_TMUX=1` makes a failure.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

static NUMBER: AtomicU32 = AtomicU32::new(0);
/// So long something may take to appear, on a busy machine and in a debug build.
const PATIENCE: Duration = Duration::from_secs(120);

/// A terminal with a shell in a folder of its own.
pub(crate) struct Terminal {
    name: String,
    pub(crate) folder: PathBuf,
}

impl Terminal {
    pub(crate) fn open(columns: u16, rows: u16) -> Option<Terminal> {
        let required = std::env::var("TICKSCOPE_REQUIRE_TMUX").is_ok_and(|value| value == "1");
        if Command::new("tmux").arg("-V").output().is_err() {
            assert!(!required, "tmux is required");
            eprintln!("SKIPPED: there is no tmux");
            return None;
        }
        let name = format!("tickscope-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(&name);
        fs::create_dir_all(&folder).unwrap();
        let terminal = Terminal { name, folder };
        let size = [columns.to_string(), rows.to_string()];
        let folder = terminal.folder.display().to_string();
        terminal.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", &size[0], "-y", &size[1], "-c", &folder, "sh"]);
        terminal.line("PS1='ready> '; export TERM=screen-256color RUST_BACKTRACE=0; clear");
        terminal.wait("ready>");
        Some(terminal)
    }

    pub(crate) fn tmux(&self, arguments: &[&str]) -> String {
        let output = Command::new("tmux").args(["-L", &self.name]).args(arguments).env_remove("TMUX").output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Keys by their names, as tmux calls them.
    pub(crate) fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    pub(crate) fn line(&self, text: &str) {
        self.tmux(&["send-keys", "-l", text]);
        self.keys(&["Enter"]);
    }

    pub(crate) fn shown(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Waits until that stands there.
    pub(crate) fn wait(&self, part: &str) -> String {
        let start = Instant::now();
        loop {
            let shown = self.shown();
            if shown.contains(part) {
                return shown;
            }
            assert!(start.elapsed() < PATIENCE, "{part:?} never came:\n{shown}");
            sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn run(&self, arguments: &str) {
        self.line(&format!("clear; {} {arguments}; echo ended with $?.", env!("CARGO_BIN_EXE_tickscope")));
    }

    /// What stands there, and what has gone up.
    #[allow(dead_code, reason = "not every test asks")]
    pub(crate) fn whole(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-S", "-"])
    }

    /// The program's process.
    #[allow(dead_code, reason = "not every test asks")]
    pub(crate) fn process(&self) -> String {
        let shell = self.tmux(&["display", "-p", "#{pane_pid}"]);
        let output = Command::new("pgrep").args(["-P", shell.trim()]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// The terminal is as it was: no other screen, a cursor, no mouse, lines and echo.
    pub(crate) fn is_sane(&self) {
        let flags = self.tmux(&["display", "-p", "#{alternate_on} #{cursor_flag} #{mouse_any_flag}"]);
        assert_eq!(flags.trim(), "0 1 0", "{}", self.shown());
        self.line("clear; stty -a");
        let modes = self.wait("icanon");
        assert!(!modes.contains("-icanon") && !modes.contains("-echo ") && !modes.contains("-isig"), "{modes}");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new("tmux").args(["-L", &self.name, "kill-server"]).output();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
