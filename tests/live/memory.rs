//! What a process needs of memory, read from /proc until it is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The most that was seen.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Peak {
    /// What is resident, shared pages and the rings of the kernel included (`VmHWM`).
    pub(crate) resident_kib: u64,
    /// What is its own (`RssAnon`).
    pub(crate) own_kib: u64,
}

/// Looks at a process again and again, on a thread of its own.
pub(crate) struct Watch {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Peak>,
}

impl Watch {
    pub(crate) fn start(id: u32) -> Watch {
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            let mut peak = Peak::default();
            while !over.load(Relaxed) {
                let now = look(id);
                peak.resident_kib = peak.resident_kib.max(now.resident_kib);
                peak.own_kib = peak.own_kib.max(now.own_kib);
                thread::sleep(Duration::from_millis(10));
            }
            peak
        });
        Watch { is_over, thread }
    }

    /// To be called once the process has ended.
    pub(crate) fn end(self) -> Peak {
        self.is_over.store(true, Relaxed);
        let peak = self.thread.join().unwrap();
        assert!(peak.resident_kib > 0 && peak.own_kib > 0, "nothing was seen: {peak:?}");
        peak
    }
}

/// What a process needs now; nothing where it is gone.
pub(crate) fn look(id: u32) -> Peak {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
    };
    Peak { resident_kib: field("VmHWM:"), own_kib: field("RssAnon:") }
}
