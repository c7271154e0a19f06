//! One queue: an AF_XDP socket, the memory that its frames are written to (UMEM), and the rings that say which pieces of it are
//! whose (Linux Documentation/networking/af_xdp.rst).

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::alarm::{self, Alarm};
use super::program::NOTE_BYTES;
use crate::clock::Mapping;
use crate::counters::{Counters, Shown, Tally};
use crate::frame::{Direction, Flags, Frame, Source, is_super_frame};
use crate::options::BusyPoll;
use crate::receiver::View;
use crate::sys::{self, Mapping as Memory, Plain};

/// Before each frame the kernel leaves so much of a chunk (XDP_PACKET_HEADROOM).
const HEADROOM: u32 = 256;
/// The largest chunk is a page.
const CHUNK_MAX: u32 = 4096;
const CHUNK: u32 = 2048;
/// Up to this MTU a frame fits into the smaller chunk, with its header and two tags.
const MTU_SMALL: u32 = 1750;
/// We never send; the kernel wants the ring all the same.
const COMPLETION: u32 = 64;
/// Chunks go back to the kernel in groups, so that it need not look at the ring's end for each.
const GROUP: u32 = 64;
/// The frame that comes so many later is asked for in advance, as much of it as most have.
const AHEAD: u32 = 8;
const AHEAD_BYTES: usize = 192;
const DESCRIPTOR_BYTES: usize = 16;
const ADDRESS_BYTES: usize = 8;

/// Some NICs are told the size of a buffer in whole KiB (SRRCTL.BSIZEPKT of igb, igc and 82599 in Linux), and what is left of a chunk
/// is rounded down. A longer frame is lost, or comes in two pieces: seen with igb, which has no fragments, made 1024 of a chunk of
/// 2048, and gave two frames for one.
const ZERO_COPY_FRAME_MAX: u32 = (CHUNK_MAX - HEADROOM) / 1024 * 1024;
/// Header and two tags.
const FRAME_OVERHEAD: u32 = 14 + 2 * 4;

/// The chunk for frames of an interface with this MTU.
pub(super) fn chunk_bytes(mtu: u32, is_zero_copy: bool) -> u32 {
    if is_zero_copy || mtu > MTU_SMALL { CHUNK_MAX } else { CHUNK }
}

/// The longest frame that fits.
pub(super) fn frame_bytes_max(mtu: u32, is_zero_copy: bool) -> u32 {
    if is_zero_copy { ZERO_COPY_FRAME_MAX } else { chunk_bytes(mtu, false) - HEADROOM }
}

/// Whether every frame of an interface with this MTU comes in one piece where nothing is copied.
pub(super) fn fits_zero_copy(mtu: u32) -> bool {
    mtu.saturating_add(FRAME_OVERHEAD) <= ZERO_COPY_FRAME_MAX
}

/// What a queue's socket is made for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) interface: u32,
    pub(super) queue: u32,
    pub(super) mtu: u32,
    pub(super) ring_frames: u32,
    pub(super) wants_zero_copy: bool,
    pub(super) busy_poll: Option<BusyPoll>,
}

/// What the program writes beside a frame, and how it is understood.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamps {
    pub(super) magic_before: u64,
    pub(super) magic_inside: u64,
    pub(super) is_tai: bool,
}

/// A ring shared with the kernel: two counters, flags, entries. Entries are a power of two.
struct Ring {
    memory: Memory,
    producer: usize,
    consumer: usize,
    flags: usize,
    entries: usize,
    mask: u32,
}

impl Ring {
    fn new(
        socket: &OwnedFd,
        offsets: libc::xdp_ring_offset,
        entries: u32,
        entry_bytes: usize,
        page: i64,
    ) -> io::Result<Ring> {
        let place = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
        let length = place(offsets.desc).saturating_add(entries as usize * entry_bytes);
        let memory = Memory::of(socket, length, page)?;
        let (producer, consumer) = (place(offsets.producer), place(offsets.consumer));
        Ok(Ring {
            memory,
            producer,
            consumer,
            flags: place(offsets.flags),
            entries: place(offsets.desc),
            mask: entries - 1,
        })
    }

    fn producer(&self) -> &AtomicU32 {
        self.memory.word(self.producer)
    }

    fn consumer(&self) -> &AtomicU32 {
        self.memory.word(self.consumer)
    }
}

/// A queue's socket with everything that belongs to it.
pub(crate) struct Socket {
    pub(super) file: Arc<OwnedFd>,
    pub(super) is_zero_copy: bool,
    pub(super) alarm: Alarm,
    inner: Box<Inner>,
}

struct Inner {
    received: Ring,
    fill: Ring,
    frames: Memory,
    chunk_bytes: u64,
    stamps: Stamps,
    queue: u32,
    is_busy_polled: bool,
    /// What of the interface's frames was lost in the ring when that was last asked.
    lost: u64,
    /// The ring was full up to here: what comes at this place came after what was lost.
    full_at: Option<u32>,
}

impl Socket {
    /// Opens, fills and binds. The socket gets nothing before it is in the program's map.
    pub(super) fn open(plan: &Plan, stamps: Stamps) -> io::Result<Socket> {
        let alarm = Alarm::new()?;
        let socket = sys::socket(libc::AF_XDP, libc::SOCK_RAW, 0)?;
        let chunk = chunk_bytes(plan.mtu, plan.wants_zero_copy);
        let chunks = plan.ring_frames * 2;
        let frames = Memory::anonymous(chunk as usize * chunks as usize)?;
        // struct xdp_umem_reg: address, length, chunk size (and headroom 0). It grew; its first 24 bytes are all we need.
        let area: [u64; 3] = [frames.address(), frames.len() as u64, u64::from(chunk).to_le()];
        let set = |option, value: &u32| sys::set_option(&socket, libc::SOL_XDP, option, value);
        sys::set_option(&socket, libc::SOL_XDP, libc::XDP_UMEM_REG, &area)?;
        set(libc::XDP_UMEM_FILL_RING, &chunks)?;
        set(libc::XDP_UMEM_COMPLETION_RING, &COMPLETION)?;
        set(libc::XDP_RX_RING, &plan.ring_frames)?;
        let (offsets, length) = sys::option::<libc::xdp_mmap_offsets>(&socket, libc::SOL_XDP, libc::XDP_MMAP_OFFSETS)?;
        if length < size_of::<libc::xdp_mmap_offsets>() {
            return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP)); // before Linux 5.4
        }
        let page = |offset: u64| i64::try_from(offset).expect("a small offset");
        let received = Ring::new(&socket, offsets.rx, plan.ring_frames, DESCRIPTOR_BYTES, libc::XDP_PGOFF_RX_RING)?;
        let fill = Ring::new(&socket, offsets.fr, chunks, ADDRESS_BYTES, page(libc::XDP_UMEM_PGOFF_FILL_RING))?;
        for number in 0..chunks {
            let place = fill.entries + number as usize * ADDRESS_BYTES;
            fill.memory.long(place).store(u64::from(number) * u64::from(chunk), Ordering::Relaxed);
        }
        fill.producer().store(chunks, Ordering::Release);
        if let Some(busy) = plan.busy_poll {
            busy_poll(&socket, busy)?;
        }
        bind(&socket, plan)?;
        let (options, _) = sys::option::<u32>(&socket, libc::SOL_XDP, libc::XDP_OPTIONS)?;
        let is_zero_copy = options & libc::XDP_OPTIONS_ZEROCOPY != 0;
        let inner = Inner {
            received,
            fill,
            frames,
            chunk_bytes: chunk.into(),
            stamps,
            queue: plan.queue,
            is_busy_polled: plan.busy_poll.is_some(),
            lost: 0,
            full_at: None,
        };
        Ok(Socket { file: Arc::new(socket), is_zero_copy, alarm, inner: Box::new(inner) })
    }
}

fn busy_poll(socket: &OwnedFd, busy: BusyPoll) -> io::Result<()> {
    let set = |option, value: u32| sys::set_option(socket, libc::SOL_SOCKET, option, &value);
    set(libc::SO_PREFER_BUSY_POLL, 1)?;
    set(libc::SO_BUSY_POLL, u32::try_from(busy.time.as_micros()).unwrap_or(u32::MAX))?;
    set(libc::SO_BUSY_POLL_BUDGET, busy.budget)
}

/// A socket that was just closed, perhaps by the run before this one, frees its queue a moment later (the kernel does it in a
/// work queue), so a queue that is busy is waited for.
fn bind(socket: &OwnedFd, plan: &Plan) -> io::Result<()> {
    const PAUSE_MS: u32 = 5;
    const PAUSES_MAX: u32 = 100;
    let mut address = libc::sockaddr_xdp::zero();
    address.sxdp_family = u16::try_from(libc::AF_XDP).expect("44");
    address.sxdp_ifindex = plan.interface;
    address.sxdp_queue_id = plan.queue;
    let copy = if plan.wants_zero_copy { libc::XDP_ZEROCOPY } else { libc::XDP_COPY };
    address.sxdp_flags = copy | libc::XDP_USE_NEED_WAKEUP;
    for _ in 0..PAUSES_MAX {
        match sys::bind(socket, &address) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => sys::pause(PAUSE_MS),
            result => return result,
        }
    }
    sys::bind(socket, &address)
}

impl Socket {
    pub(crate) fn is_ready(&self) -> bool {
        self.waiting() > 0
    }

    /// Frames in the ring.
    fn waiting(&self) -> u32 {
        let ring = &self.inner.received;
        ring.producer().load(Ordering::Acquire).wrapping_sub(ring.consumer().load(Ordering::Relaxed))
    }

    pub(crate) fn wait(&self, timeout_ms: u32) -> io::Result<()> {
        if !self.inner.is_busy_polled {
            return sys::poll(&self.file, libc::POLLIN, timeout_ms).map(drop);
        }
        // Each time the kernel looks at the NIC for as long as it was told to.
        let end_ns = sys::clock_ns(libc::CLOCK_MONOTONIC) + i64::from(timeout_ms) * 1_000_000;
        while !self.is_ready() && sys::clock_ns(libc::CLOCK_MONOTONIC) < end_ns {
            sys::kick(&self.file);
        }
        Ok(())
    }

    /// Leaves frames to gather for so long, or until much has come; who polls busily gets none by sleeping.
    pub(crate) fn gather(&self, time_ms: u32) -> io::Result<()> {
        if self.inner.is_busy_polled {
            return Ok(());
        }
        // In this order: what comes after the look at the ring is told of.
        self.alarm.silence();
        if self.waiting() < alarm::every(self.inner.received.mask) { self.alarm.wait(time_ms) } else { Ok(()) }
    }

    pub(crate) fn is_empty(&self, tally: &Tally) -> bool {
        !self.is_ready() && tally.counters().as_ref().ok().and_then(Counters::waiting) == Some(0)
    }

    /// Shows at most `budget` frames, and gives their memory back.
    pub(crate) fn each(&mut self, view: &View<'_>, shown: &mut Shown, tell: &mut dyn FnMut(Frame<'_>)) {
        let Inner { received, fill, frames, chunk_bytes, stamps, queue, lost, full_at, .. } = &mut *self.inner;
        let reader = Reader::new(view, stamps, *queue);
        let (mut at, mut filled) =
            (received.consumer().load(Ordering::Relaxed), fill.producer().load(Ordering::Relaxed));
        let waiting = received.producer().load(Ordering::Acquire).wrapping_sub(at);
        let budget = u32::try_from(view.budget).unwrap_or(u32::MAX).min(waiting);
        for number in 1..=budget {
            let place_of = |at: u32| received.entries + (at & received.mask) as usize * DESCRIPTOR_BYTES;
            // What is said there may be of long ago, and then it does no harm.
            let soon = received.memory.long(place_of(at.wrapping_add(AHEAD))).load(Ordering::Relaxed);
            frames.prefetch(soon.wrapping_sub(NOTE_BYTES as u64), AHEAD_BYTES);
            let place = place_of(at);
            let address = received.memory.long(place).load(Ordering::Relaxed);
            let length = received.memory.word(place + 8).load(Ordering::Relaxed);
            let flags = match full_at.take_if(|full| *full == at) {
                Some(_) => loss_since(view.tally, lost),
                None => Flags::default(),
            };
            match reader.frame(frames, *chunk_bytes, address, length) {
                Some(mut frame) => {
                    frame.flags |= flags;
                    shown.count(&frame);
                    tell(frame);
                }
                None => shown.malformed += 1,
            }
            at = at.wrapping_add(1);
            // A descriptor that points outside belongs to no chunk.
            if address < frames.len() as u64 {
                let slot = fill.entries + (filled & fill.mask) as usize * ADDRESS_BYTES;
                fill.memory.long(slot).store(address - address % *chunk_bytes, Ordering::Relaxed);
                filled = filled.wrapping_add(1);
            }
            if number % GROUP == 0 || number == budget {
                shown.publish(view.tally);
                // A ring stays full until we give something back: what was lost belongs after its last frame.
                let end = received.producer().load(Ordering::Relaxed);
                if end.wrapping_sub(received.consumer().load(Ordering::Relaxed)) > received.mask {
                    *full_at = Some(end);
                }
                received.consumer().store(at, Ordering::Release);
                fill.producer().store(filled, Ordering::Release);
            }
        }
        if fill.memory.word(fill.flags).load(Ordering::Relaxed) & libc::XDP_RING_NEED_WAKEUP != 0 {
            sys::kick(&self.file);
        }
    }
}

/// The flag, where more was lost than when this was asked last.
fn loss_since(tally: &Tally, lost: &mut u64) -> Flags {
    let Ok(counters) = tally.counters() else { return Flags::default() };
    let now = counters.ring_full + counters.fill_ring_empty;
    let has_loss = now > std::mem::replace(lost, now);
    if has_loss { Flags::LOSS_BEFORE } else { Flags::default() }
}

/// Makes frames of descriptors.
struct Reader<'a> {
    stamps: &'a Stamps,
    kernel: Option<Mapping>,
    hardware: Option<Mapping>,
    mtu: u32,
    queue: u32,
}

impl<'a> Reader<'a> {
    fn new(view: &View<'_>, stamps: &'a Stamps, queue: u32) -> Reader<'a> {
        let kernel = if stamps.is_tai { view.board.tai.read() } else { view.board.monotonic.read() };
        Reader { stamps, kernel, hardware: view.board.hardware.read(), mtu: view.mtu, queue }
    }

    /// `None` where the descriptor points outside the memory, or beyond its chunk.
    fn frame<'m>(&self, memory: &'m mut Memory, chunk_bytes: u64, address: u64, length: u32) -> Option<Frame<'m>> {
        let in_chunk = address % chunk_bytes;
        let before = in_chunk.min(NOTE_BYTES as u64);
        if address >= memory.len() as u64 || in_chunk + u64::from(length) > chunk_bytes {
            return None;
        }
        let (start, before) = (usize::try_from(address - before).ok()?, usize::try_from(before).ok()?);
        // SAFETY: the kernel gave us this chunk with the descriptor, and gets it back after the call that shows the frame.
        #[allow(unsafe_code, reason = "memory shared with the kernel")]
        let bytes = unsafe { memory.bytes_mut(start, before + length as usize) };
        let (note, frame) = bytes.split_at_mut(before);
        let mut stamp = read_note(note, self.stamps.magic_before);
        // The chunk comes back one day, perhaps with a frame that has no note.
        note.fill(0);
        let mut frame = &*frame;
        if stamp.is_none()
            && let Some((note, rest)) = frame.split_at_checked(NOTE_BYTES)
        {
            stamp = read_note(note, self.stamps.magic_inside);
            frame = if stamp.is_some() { rest } else { frame };
        }
        let (time_ns, source) = self.time(stamp);
        let wire_len = u32::try_from(frame.len()).ok()?;
        let flags = if is_super_frame(wire_len, self.mtu) { Flags::SUPER_FRAME } else { Flags::default() };
        Some(Frame { bytes: frame, wire_len, time_ns, source, direction: Direction::In, flags, queue: self.queue })
    }

    fn time(&self, stamp: Option<[u64; 2]>) -> (u64, Source) {
        let Some([kernel_ns, hardware_ns]) = stamp else { return (0, Source::None) };
        if hardware_ns != 0
            && let Some(mapping) = &self.hardware
        {
            return (mapping.utc_ns(hardware_ns), Source::HardwareNic);
        }
        let source = if self.stamps.is_tai { Source::KernelXdpTai } else { Source::KernelXdpMonotonic };
        match &self.kernel {
            Some(mapping) => (mapping.utc_ns(kernel_ns), source),
            None => (0, Source::None),
        }
    }
}

/// The kernel's and the NIC's stamp, where the magic is there.
fn read_note(note: &[u8], magic: u64) -> Option<[u64; 2]> {
    let (words, _) = note.as_chunks::<8>();
    let [found, kernel_ns, hardware_ns, _] = words else { return None };
    let word = |bytes: &[u8; 8]| u64::from_ne_bytes(*bytes);
    (word(found) == magic).then(|| [word(kernel_ns), word(hardware_ns)])
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMPS: Stamps = Stamps { magic_before: 0x1111, magic_inside: 0x2222, is_tai: true };

    fn reader(hardware: Option<Mapping>) -> Reader<'static> {
        let kernel = Some(Mapping { offset_ns: 37, ..Mapping::default() });
        Reader { stamps: &STAMPS, kernel, hardware, mtu: 1500, queue: 3 }
    }

    fn memory(note_at: usize, magic: u64, kernel_ns: u64, hardware_ns: u64) -> Memory {
        let mut memory = Memory::anonymous(8192).unwrap();
        // SAFETY: nobody else has this memory.
        #[allow(unsafe_code, reason = "as a ring would be read")]
        let bytes = unsafe { memory.bytes_mut(0, 8192) };
        bytes.fill(0x5A);
        for (place, word) in bytes[note_at..note_at + 24].chunks_mut(8).zip([magic, kernel_ns, hardware_ns]) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        memory
    }

    #[test]
    fn a_note_before_or_inside_the_frame_gives_its_time() {
        let hardware = Mapping { offset_ns: 1000, ..Mapping::default() };
        for (name, note_at, magic, nic_ns, mapping, expected) in [
            ("before", 2272, 0x1111, 0, None, (60, 63, Source::KernelXdpTai)),
            ("inside", 2304, 0x2222, 0, None, (28, 63, Source::KernelXdpTai)),
            ("wrong place", 2304, 0x1111, 0, None, (60, 0, Source::None)),
            ("another program's", 2272, 0x3333, 0, None, (60, 0, Source::None)),
            ("by the NIC", 2272, 0x1111, 5000, Some(hardware), (60, 4000, Source::HardwareNic)),
            ("by a NIC that is not mapped", 2272, 0x1111, 5000, None, (60, 63, Source::KernelXdpTai)),
            ("no stamp of the NIC", 2272, 0x1111, 0, Some(hardware), (60, 63, Source::KernelXdpTai)),
        ] {
            let mut memory = memory(note_at, magic, 100, nic_ns);
            let frame = reader(mapping).frame(&mut memory, 2048, 2304, 60).unwrap();
            assert_eq!((frame.bytes.len(), frame.time_ns, frame.source), expected, "{name}");
            assert!(frame.bytes.iter().all(|byte| *byte == 0x5A) || name == "wrong place", "{name}");
            if note_at == 2272 {
                let again = reader(mapping).frame(&mut memory, 2048, 2304, 60).unwrap();
                assert_eq!(again.source, Source::None, "{name}: a note is read once");
            }
        }
    }

    #[test]
    fn descriptors_that_point_outside_are_no_frames() {
        let mut memory = memory(0, 0, 0, 0);
        for (address, length, is_frame) in [
            (8192 - 60, 60, true),
            (8192 - 60, 61, false),
            (8192, 1, false),
            (u64::MAX, 1, false),
            (u64::MAX - 10, 60, false),
            (0, 2048, true),
            (0, 2049, false),
            (6000, 145, false),
            (0, u32::MAX, false),
        ] {
            assert_eq!(
                reader(None).frame(&mut memory, 2048, address, length).is_some(),
                is_frame,
                "{address} {length}"
            );
        }
    }

    #[test]
    fn frames_fit_their_chunks() {
        for (mtu, chunk, longest) in [(1500, 2048, 1792), (1750, 2048, 1792), (1751, 4096, 3840), (9000, 4096, 3840)] {
            assert_eq!((chunk_bytes(mtu, false), frame_bytes_max(mtu, false)), (chunk, longest), "{mtu}");
        }
        // In one piece also where the NIC's buffers are whole KiB.
        assert_eq!((chunk_bytes(1500, true), frame_bytes_max(1500, true)), (4096, 3072));
        for (mtu, fits) in [(1500, true), (3050, true), (3051, false), (9000, false)] {
            assert_eq!(fits_zero_copy(mtu), fits, "{mtu}");
        }
    }
}
