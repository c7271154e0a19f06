//! bpf(2): maps, loading a program, and the link that holds it to an interface. A link is a file descriptor: when the process
//! is gone, however it went, the program is too.
#![allow(unsafe_code, reason = "bpf(2) has no safe interface")]

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::asm::Instruction;

const MAP_CREATE: c_int = 0;
const MAP_LOOKUP: c_int = 1;
const MAP_UPDATE: c_int = 2;
const PROG_LOAD: c_int = 5;
const LINK_CREATE: c_int = 28;
const PROGRAM_XDP: u32 = 6;
const ATTACH_XDP: u32 = 37;
/// The program may call functions of this interface's driver.
const DEVICE_BOUND: u32 = 1 << 6;
pub(super) const SKB_MODE: u32 = 1 << 1;
pub(super) const DRIVER_MODE: u32 = 1 << 2;
/// Some helpers and all kernel functions are for programs with a licence compatible with the GPL.
const LICENCE: &[u8] = b"Dual MIT/GPL\0";
const LOG_BYTES: usize = 64 << 10;

#[derive(Debug, Clone, Copy)]
#[repr(u32)]
pub(super) enum MapKind {
    Hash = 1,
    Array = 2,
    PerCpuArray = 6,
    ArrayOfMaps = 12,
    Sockets = 17,
    /// A ring buffer, which has neither keys nor values, and as many entries as bytes.
    Words = 27,
}

#[repr(C)]
struct MapCreate {
    kind: u32,
    key_bytes: u32,
    value_bytes: u32,
    entries: u32,
    flags: u32,
    /// Of which kind the maps in a map of maps are.
    inner: u32,
}

#[repr(C)]
struct MapElement {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct ProgramLoad {
    kind: u32,
    count: u32,
    instructions: u64,
    licence: u64,
    log_level: u32,
    log_bytes: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    attach_type: u32,
}

#[repr(C)]
struct LinkCreate {
    program: u32,
    interface: u32,
    attach_type: u32,
    flags: u32,
}

fn bpf<T>(command: c_int, attributes: &mut T) -> io::Result<c_int> {
    // SAFETY: the kernel reads and writes at most the size that it is told; callers keep what addresses point to alive.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(c_int::try_from(result).unwrap_or(0)) }
}

fn descriptor(result: c_int) -> OwnedFd {
    // SAFETY: bpf(2) gave us a new descriptor, which nobody else has.
    unsafe { OwnedFd::from_raw_fd(result) }
}

fn number(descriptor: &OwnedFd) -> u32 {
    descriptor.as_raw_fd().cast_unsigned()
}

pub(super) fn create_map(kind: MapKind, key_bytes: u32, value_bytes: u32, entries: u32) -> io::Result<OwnedFd> {
    let mut attributes = MapCreate { kind: kind as u32, key_bytes, value_bytes, entries, flags: 0, inner: 0 };
    bpf(MAP_CREATE, &mut attributes).map(descriptor)
}

/// An array of maps that are like this one.
pub(super) fn create_array_of(inner: &OwnedFd, entries: u32) -> io::Result<OwnedFd> {
    let (kind, inner) = (MapKind::ArrayOfMaps as u32, number(inner));
    bpf(MAP_CREATE, &mut MapCreate { kind, key_bytes: 4, value_bytes: 4, entries, flags: 0, inner }).map(descriptor)
}

pub(super) fn update(map: &OwnedFd, key: &[u8], value: &[u8]) -> io::Result<()> {
    let (key, value) = (key.as_ptr() as u64, value.as_ptr() as u64);
    bpf(MAP_UPDATE, &mut MapElement { map: number(map), padding: 0, key, value, flags: 0 }).map(drop)
}

/// Puts a descriptor, of a socket or a map, where a queue's is.
pub(super) fn update_queue(map: &OwnedFd, queue: u32, value: &OwnedFd) -> io::Result<()> {
    update(map, &queue.to_ne_bytes(), &value.as_raw_fd().to_ne_bytes())
}

/// `value` is as long as the map's values; of a map per CPU, for every possible CPU.
pub(super) fn look_up(map: &OwnedFd, key: &[u8], value: &mut [u64]) -> io::Result<()> {
    let (key, value) = (key.as_ptr() as u64, value.as_mut_ptr() as u64);
    bpf(MAP_LOOKUP, &mut MapElement { map: number(map), padding: 0, key, value, flags: 0 }).map(drop)
}

/// Loads a program, bound to an interface where its functions are called. With the error comes the verifier's last line.
pub(super) fn load(code: &[Instruction], bound_to: Option<u32>) -> Result<OwnedFd, (io::Error, String)> {
    let mut attributes = ProgramLoad {
        kind: PROGRAM_XDP,
        count: u32::try_from(code.len()).expect("a short program"),
        instructions: code.as_ptr() as u64,
        licence: LICENCE.as_ptr() as u64,
        flags: if bound_to.is_some() { DEVICE_BOUND } else { 0 },
        name: *b"tickscope\0\0\0\0\0\0\0",
        interface: bound_to.unwrap_or(0),
        attach_type: ATTACH_XDP,
        ..ProgramLoad::default()
    };
    let error = match bpf(PROG_LOAD, &mut attributes) {
        Ok(result) => return Ok(descriptor(result)),
        Err(error) => error,
    };
    // Once more, to hear why.
    let mut log = vec![0u8; LOG_BYTES];
    attributes.log_level = 1;
    attributes.log = log.as_mut_ptr() as u64;
    attributes.log_bytes = u32::try_from(log.len()).expect("64 KiB");
    if let Ok(result) = bpf(PROG_LOAD, &mut attributes) {
        return Ok(descriptor(result));
    }
    let log = String::from_utf8_lossy(log.split(|byte| *byte == 0).next().unwrap_or(&[])).into_owned();
    let last = log.lines().rev().find(|line| !line.starts_with("processed ") && !line.trim().is_empty());
    Err((error, last.unwrap_or("the verifier said nothing").to_owned()))
}

/// Attaches a program to an interface for as long as the result lives.
pub(super) fn attach(program: &OwnedFd, interface: u32, mode: u32) -> io::Result<OwnedFd> {
    let mut attributes = LinkCreate { program: number(program), interface, attach_type: ATTACH_XDP, flags: mode };
    bpf(LINK_CREATE, &mut attributes).map(descriptor)
}

/// Runs a program on a frame, and gives its verdict.
#[cfg(test)]
pub(super) fn run(program: &OwnedFd, frame: &[u8]) -> io::Result<u32> {
    #[repr(C)]
    #[derive(Default)]
    struct Run {
        program: u32,
        verdict: u32,
        bytes_in: u32,
        bytes_out: u32,
        data_in: u64,
        data_out: u64,
        repeat: u32,
        duration: u32,
    }
    let bytes_in = u32::try_from(frame.len()).expect("a short frame");
    let mut attributes = Run { program: number(program), bytes_in, data_in: frame.as_ptr() as u64, ..Run::default() };
    bpf(10, &mut attributes)?;
    Ok(attributes.verdict)
}
