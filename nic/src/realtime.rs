//! Threads that run before all ordinary ones.

use std::io;
use std::thread;

/// This thread runs before all that are not of the same kind with a higher priority (1 to 99), until it waits for something.
#[allow(unsafe_code, reason = "sched_setscheduler(2) has no safe interface")]
pub fn run_first(priority: u8) -> io::Result<()> {
    let parameter = libc::sched_param { sched_priority: priority.into() };
    // SAFETY: it reads one parameter; 0 is this thread.
    if unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameter) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Whether threads of this process may do that; tried by one that does nothing else.
pub fn may_run_first(priority: u8) -> io::Result<()> {
    let tried = thread::Builder::new().name("realtime".to_owned()).spawn(move || run_first(priority))?;
    tried.join().unwrap_or_else(|panicked| std::panic::resume_unwind(panicked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_priority_that_there_is_not_is_refused() {
        assert_eq!(may_run_first(100).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }
}
