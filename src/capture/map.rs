//! A file mapped into memory, the hint that brings a cache line early, and the signal handler that turns
//! "the file shrank while it was read" into zeros and a note instead of the end of the process.
//! This is the one file of the reader that needs `unsafe`: mmap(2), madvise(2), sigaction(2), a prefetch instruction.
#![allow(unsafe_code, reason = "memory maps and signal handlers have no safe interface in the standard library")]

use std::ffi::c_int;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr;
use std::slice;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A read-only view of a whole file.
pub(super) struct Mapping {
    start: *const u8,
    length: usize,
    slot: &'static Slot,
    /// Bytes before the first were given back already; those before the second may be.
    released: AtomicUsize,
    behind: AtomicUsize,
    file: File,
}

// SAFETY: the pages are only ever read, the slot consists of atomics, and nothing is bound to a thread.
unsafe impl Send for Mapping {}
// SAFETY: as above; what changes is atomic.
unsafe impl Sync for Mapping {}

/// Steps in which the kernel is told where we are. A multiple of every page size in use; large, since taking pages away
/// interrupts the other threads.
const WINDOW: usize = 32 << 20;
/// The reader gives pages back itself only where so many are left to others that read ahead, who may have nothing to do.
const LEFT_TO_OTHERS: usize = 2 * WINDOW;

impl Mapping {
    /// Maps `length` bytes of `file`. Fails where the system cannot, or where all slots of the signal handler are taken;
    /// the caller then reads the file like a pipe.
    pub(super) fn new(file: File, length: usize) -> io::Result<Mapping> {
        install_handler();
        let slot = Slot::claim().ok_or_else(|| io::Error::other("too many mapped files"))?;
        // SAFETY: a fresh read-only mapping at an address that the kernel chooses touches no memory of ours.
        let map = |kind| unsafe { libc::mmap(ptr::null_mut(), length, libc::PROT_READ, kind, file.as_raw_fd(), 0) };
        // Measured on 1.1 GB: to map everything and to take it away again costs 9 ms shared, 65 ms private where the file is
        // in memory in pages of 2 MiB (only shared ones are mapped as such), 68 and 97 ms where it is in pieces of 64 KiB.
        // Not every file system has it.
        let shared = map(libc::MAP_SHARED);
        let start = if shared == libc::MAP_FAILED { map(libc::MAP_PRIVATE) } else { shared };
        if start == libc::MAP_FAILED {
            slot.release();
            return Err(io::Error::last_os_error());
        }
        slot.watch(start as usize, length);
        let mapping = Mapping {
            start: start.cast_const().cast(),
            length,
            slot,
            released: AtomicUsize::new(0),
            behind: AtomicUsize::new(0),
            file,
        };
        // Measured: reading ahead from the disk like this is three times as fast as without, and costs nothing where
        // the file is in memory. MADV_WILLNEED and MADV_POPULATE_READ, from here or from a thread of its own, do.
        mapping.advise(0, length, libc::MADV_SEQUENTIAL);
        Ok(mapping)
    }

    /// The file's bytes. Another process may change them while we look; every length is checked after it was
    /// loaded, and bytes that vanish read as zero (see [`on_bus_error`]).
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: `start` is a live mapping of `length` readable bytes until `drop`; a page whose file bytes are gone
        // is replaced by zeros in the signal handler.
        unsafe { slice::from_raw_parts(self.start, self.length) }
    }

    /// The lowest address that could not be read, `usize::MAX` while all is well; then [`Mapping::shrunk_to`] knows more.
    pub(super) fn fault(&self) -> &'static AtomicUsize {
        &self.slot.fault
    }

    /// Where the file ends now, if that is before the end of the map. Asks the system, since a file that shrank
    /// within its last page reads as zeros there without any signal.
    #[cold]
    pub(super) fn shrunk_to(&self) -> Option<usize> {
        let fault = match self.slot.fault.load(Ordering::Relaxed) {
            usize::MAX => self.length,
            address => address.saturating_sub(self.start as usize),
        };
        let now = self.file.metadata().map_or(self.length, |data| usize::try_from(data.len()).unwrap_or(self.length));
        let end = fault.min(now);
        (end < self.length).then_some(end)
    }

    /// Tells how far the reader is: pages behind are given back, so a long capture does not fill the memory of the
    /// process. Says where it wants to be told again.
    #[cold]
    pub(super) fn reached(&self, at: usize) -> usize {
        let here = at - at % WINDOW;
        let behind = self.behind.fetch_max(here.saturating_sub(WINDOW), Ordering::Relaxed);
        if behind.saturating_sub(self.released.load(Ordering::Relaxed)) >= LEFT_TO_OTHERS {
            self.give_back();
        }
        here.saturating_add(WINDOW)
    }

    /// Gives back the pages behind the reader. Takes a while, so it is for threads that have the time.
    pub(super) fn give_back(&self) {
        let behind = self.behind.load(Ordering::Relaxed);
        let released = self.released.fetch_max(behind, Ordering::Relaxed);
        if behind > released {
            self.advise(released, behind, libc::MADV_DONTNEED);
        }
    }

    fn advise(&self, from: usize, to: usize, advice: c_int) {
        debug_assert!(from <= to && to <= self.length, "a window lies inside the file");
        // SAFETY: the range lies inside our mapping, and neither kind of advice changes what it reads as:
        // dropped pages of a mapping that is never written come back from the file.
        unsafe {
            libc::madvise(self.start.wrapping_add(from).cast_mut().cast(), to - from, advice);
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        self.slot.release();
        // SAFETY: this is the mapping made in `new`, and no slice of it outlives `self`.
        unsafe {
            libc::munmap(self.start.cast_mut().cast(), self.length);
        }
    }
}

/// Asks for the cache line of `bytes[at]`, which may lie anywhere; never faults.
#[inline]
pub(super) fn prefetch(bytes: &[u8], at: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_NTA, _mm_prefetch};
        // SAFETY: a prefetch is a hint that reads nothing and faults nowhere, so any address will do.
        unsafe { _mm_prefetch::<_MM_HINT_NTA>(bytes.as_ptr().wrapping_add(at).cast()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (bytes, at);
}

// ── SIGBUS ───────────────────────────────────────────────────────────────────────────────────────────────────────

/// What the signal handler knows of one mapping. Plain atomics, since a handler may take no lock.
struct Slot {
    taken: AtomicBool,
    start: AtomicUsize,
    end: AtomicUsize,
    /// Lowest address that could not be read, `usize::MAX` while all is well.
    fault: AtomicUsize,
}

static SLOTS: [Slot; 256] = [const {
    Slot {
        taken: AtomicBool::new(false),
        start: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
        fault: AtomicUsize::new(usize::MAX),
    }
}; 256];

impl Slot {
    fn claim() -> Option<&'static Slot> {
        SLOTS.iter().find(|slot| slot.taken.compare_exchange(false, true, Ordering::AcqRel, Ordering::Relaxed).is_ok())
    }

    fn watch(&self, start: usize, length: usize) {
        self.fault.store(usize::MAX, Ordering::Relaxed);
        self.start.store(start, Ordering::Relaxed);
        self.end.store(start + length, Ordering::Release);
    }

    fn release(&self) {
        self.end.store(0, Ordering::Release);
        self.start.store(0, Ordering::Relaxed);
        self.taken.store(false, Ordering::Release);
    }
}

struct Previous(std::cell::UnsafeCell<std::mem::MaybeUninit<libc::sigaction>>);
// SAFETY: written once under `INSTALL` before the handler can run, only read afterwards.
unsafe impl Sync for Previous {}
static PREVIOUS: Previous = Previous(std::cell::UnsafeCell::new(std::mem::MaybeUninit::zeroed()));
static INSTALL: Once = Once::new();

fn install_handler() {
    INSTALL.call_once(|| {
        // SAFETY: the structures are valid for both calls, `PREVIOUS` is not read by anyone before the handler is
        // in place, and the handler calls only what is allowed in one (mmap, sigaction, atomics).
        unsafe {
            libc::sigaction(libc::SIGBUS, ptr::null(), (*PREVIOUS.0.get()).as_mut_ptr());
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_bus_error as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            libc::sigemptyset(&raw mut action.sa_mask);
            libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut());
        }
    });
}

/// The kernel raises SIGBUS for a page of a mapped file behind the file's present end. From that page on the mapping
/// becomes zeros, the place is noted, and the read goes on; the reader sees the note at its next frame.
/// A SIGBUS that is not ours goes to whoever was there before.
extern "C" fn on_bus_error(_signal: c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the kernel hands a valid `siginfo_t` to a handler installed with SA_SIGINFO.
    let address = unsafe { (*info).si_addr() } as usize;
    for slot in &SLOTS {
        let end = slot.end.load(Ordering::Acquire);
        let start = slot.start.load(Ordering::Relaxed);
        if address < start || address >= end {
            continue;
        }
        // SAFETY: sysconf(3) is a table look-up, and the range is the rest of one of our own mappings.
        let replaced = unsafe {
            let page = usize::try_from(libc::sysconf(libc::_SC_PAGESIZE)).unwrap_or(4096);
            let from = address & !(page - 1);
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE;
            let error = errno();
            let zeros = libc::mmap(from as *mut libc::c_void, end - from, libc::PROT_READ, flags, -1, 0);
            set_errno(error);
            slot.fault.fetch_min(from, Ordering::Relaxed);
            zeros != libc::MAP_FAILED
        };
        if replaced {
            return;
        }
    }
    // SAFETY: `PREVIOUS` was filled before this handler was installed. Returning repeats the access, now under the
    // previous handler (or the default, which ends the process).
    unsafe {
        libc::sigaction(libc::SIGBUS, (*PREVIOUS.0.get()).as_ptr(), ptr::null_mut());
    }
}

#[cfg(target_os = "linux")]
fn errno() -> c_int {
    // SAFETY: the pointer to this thread's errno is always valid.
    unsafe { *libc::__errno_location() }
}

#[cfg(target_os = "linux")]
fn set_errno(value: c_int) {
    // SAFETY: the pointer to this thread's errno is always valid.
    unsafe { *libc::__errno_location() = value }
}

#[cfg(not(target_os = "linux"))]
fn errno() -> c_int {
    0
}

#[cfg(not(target_os = "linux"))]
fn set_errno(_value: c_int) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_shrinks_reads_as_zeros_and_says_where() {
        let path = std::env::temp_dir().join(format!("tickscope-map-{}", std::process::id()));
        std::fs::write(&path, vec![7_u8; 1 << 20]).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let mapping = Mapping::new(file.try_clone().unwrap(), 1 << 20).unwrap();
        assert_eq!(mapping.bytes()[(1 << 20) - 1], 7);
        assert_eq!(mapping.shrunk_to(), None);
        file.set_len(300_000).unwrap();
        assert_eq!(mapping.fault().load(Ordering::Relaxed), usize::MAX);
        let sum: usize = mapping.bytes().iter().map(|&byte| usize::from(byte)).sum();
        assert_eq!(sum, 7 * 300_000);
        assert_ne!(mapping.fault().load(Ordering::Relaxed), usize::MAX);
        assert_eq!(mapping.shrunk_to(), Some(300_000));
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn slots_come_back() {
        let path = std::env::temp_dir().join(format!("tickscope-slots-{}", std::process::id()));
        std::fs::write(&path, vec![1_u8; 100]).unwrap();
        let file = File::open(&path).unwrap();
        for _ in 0..1000 {
            let mapping = Mapping::new(file.try_clone().unwrap(), 100).unwrap();
            assert_eq!(mapping.reached(99), WINDOW);
            assert_eq!(mapping.bytes().len(), 100);
        }
        std::fs::remove_file(&path).unwrap();
    }
}
