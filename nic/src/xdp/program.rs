//! The XDP program: which frames match, when they came, and the socket of their queue. Everything else goes to the host's stack.

use super::asm::{
    Alu, Assembler, If, Instruction, Label,
    Reg::{R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10},
    Width,
};

/// Bytes before a frame: magic, CLOCK_TAI (or MONOTONIC), the NIC's stamp or 0, nothing.
pub(super) const NOTE_BYTES: usize = 32;
const NOTE: i32 = 32;

/// Places of the counters of a queue, eight bytes each.
pub(super) const MATCHED: i16 = 0;
pub(super) const REDIRECTED: i16 = 8;
pub(super) const NO_SOCKET: i16 = 16;
pub(super) const REFUSED: i16 = 24;
pub(super) const FRAGMENTS: i16 = 32;
pub(super) const COUNTERS_BYTES: u32 = 40;

// Helpers, from Linux `bpf.h`.
const MAP_LOOKUP: i32 = 1;
const KTIME_MONOTONIC: i32 = 5;
const ADJUST_HEAD: i32 = 44;
const REDIRECT_MAP: i32 = 51;
const ADJUST_META: i32 = 54;
/// Since Linux 6.1.
const KTIME_TAI: i32 = 208;
const RING_BUFFER_OUTPUT: i32 = 130;

/// Wake whoever polls, also where a word before was not taken yet.
const FORCE_WAKEUP: i32 = 2;

const XDP_PASS: i32 = 2;
const XDP_REDIRECT: i32 = 4;
// Fields of `struct xdp_md`.
const DATA: i16 = 0;
const DATA_END: i16 = 4;
const DATA_META: i16 = 8;
const QUEUE: i16 = 16;

// The stack.
const KEY_QUEUE: i16 = -4;
const HARDWARE: i16 = -16;
const KEY_ADDRESS: i16 = -32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clock {
    Tai,
    Monotonic,
}

/// How the program is to be; maps are file descriptors.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    pub(super) sockets: i32,
    pub(super) counters: i32,
    /// Of each queue.
    pub(super) alarms: i32,
    /// After so many frames on one processor there is an alarm; a power of two.
    pub(super) alarm_every: u32,
    /// A bit for each port.
    pub(super) ports: Option<i32>,
    /// Destination addresses; IPv4 as IPv6 (`::ffff:a.b.c.d`).
    pub(super) addresses: Option<i32>,
    pub(super) clock: Clock,
    /// The number of `bpf_xdp_metadata_rx_timestamp` in the kernel's BTF.
    pub(super) hardware: Option<i32>,
    /// Says that the bytes before a frame are ours, and those at its begin. Nobody can send it, since nobody knows it.
    pub(super) magic_before: u64,
    pub(super) magic_inside: u64,
    /// Write into the frame at once, as where a driver has no room before it. For trying that.
    pub(super) is_inside_forced: bool,
}

/// Where matching goes on.
struct Labels {
    pass: Label,
    matched: Label,
    fragment: Label,
    ports: Label,
}

pub(super) fn assemble(spec: &Spec) -> Vec<Instruction> {
    let mut a = Assembler::default();
    let labels = Labels { pass: a.label(), matched: a.label(), fragment: a.label(), ports: a.label() };
    // R6 context, R7 where we are in the frame, R8 its end.
    a.alu(Alu::Move, R6, R1);
    a.load(Width::Word, R7, R6, DATA);
    a.load(Width::Word, R8, R6, DATA_END);
    need(&mut a, 14, labels.pass);
    if spec.ports.is_some() || spec.addresses.is_some() {
        network(&mut a, spec, &labels);
        if let Some(ports) = spec.ports {
            match_ports(&mut a, ports, &labels);
            a.place(labels.fragment);
            count_at_queue(&mut a, spec, labels.pass);
            count(&mut a, FRAGMENTS);
            a.jump(labels.pass);
        }
    }
    a.place(labels.matched);
    redirect(&mut a, spec, labels.pass);
    a.place(labels.pass);
    a.alu_value(Alu::Move, R0, XDP_PASS);
    a.exit();
    if spec.ports.is_none() {
        // Nobody jumps there.
        a.place(labels.fragment);
        a.place(labels.ports);
    }
    a.finish()
}

/// The frame has this many bytes from here on.
fn need(a: &mut Assembler, bytes: i32, otherwise: Label) {
    a.alu(Alu::Move, R2, R7);
    a.alu_value(Alu::Add, R2, bytes);
    a.jump_if(If::Greater, R2, R8, otherwise);
}

/// What a field in network order reads as.
fn network_order(value: u16) -> i32 {
    i32::from(value.swap_bytes())
}

/// Up to two tags, then IPv4 or IPv6: ends at `matched`, `fragment`, `ports` (R7 at the transport header) or `pass`.
fn network(a: &mut Assembler, spec: &Spec, labels: &Labels) {
    let (ipv4, ipv6, inner) = (a.label(), a.label(), a.label());
    a.load(Width::Half, R3, R7, 12);
    a.alu_value(Alu::Add, R7, 14);
    for _ in 0..2 {
        let tag = a.label();
        a.jump_if_value(If::Equal, R3, network_order(0x8100), tag);
        a.jump_if_value(If::NotEqual, R3, network_order(0x88A8), inner);
        a.place(tag);
        need(a, 4, labels.pass);
        a.load(Width::Half, R3, R7, 2);
        a.alu_value(Alu::Add, R7, 4);
    }
    a.place(inner);
    a.jump_if_value(If::Equal, R3, network_order(0x0800), ipv4);
    a.jump_if_value(If::Equal, R3, network_order(0x86DD), ipv6);
    a.jump(labels.pass);
    a.place(ipv4);
    match_ipv4(a, spec, labels);
    a.place(ipv6);
    match_ipv6(a, spec, labels);
}

fn match_ipv4(a: &mut Assembler, spec: &Spec, labels: &Labels) {
    need(a, 20, labels.pass);
    if let Some(addresses) = spec.addresses {
        a.store_value(Width::Long, R10, KEY_ADDRESS, 0);
        a.store_value(Width::Word, R10, KEY_ADDRESS + 8, i32::from_le_bytes([0, 0, 0xFF, 0xFF]));
        a.load(Width::Word, R3, R7, 16);
        a.store(Width::Word, R10, KEY_ADDRESS + 12, R3);
        match_address(a, addresses, labels.matched);
    }
    if spec.ports.is_some() {
        let transport = a.label();
        a.load(Width::Byte, R3, R7, 9);
        a.jump_if_value(If::Equal, R3, 6, transport);
        a.jump_if_value(If::NotEqual, R3, 17, labels.pass);
        a.place(transport);
        // Later fragments have no ports.
        a.load(Width::Half, R3, R7, 6);
        a.alu_value(Alu::And, R3, network_order(0x1FFF));
        a.jump_if_value(If::NotEqual, R3, 0, labels.fragment);
        a.load(Width::Byte, R3, R7, 0);
        a.alu_value(Alu::And, R3, 0x0F);
        a.alu_value(Alu::ShiftLeft, R3, 2);
        a.jump_if_value(If::Less, R3, 20, labels.pass);
        a.alu(Alu::Add, R7, R3);
        need(a, 4, labels.pass);
        a.jump(labels.ports);
    } else {
        a.jump(labels.pass);
    }
}

fn match_ipv6(a: &mut Assembler, spec: &Spec, labels: &Labels) {
    need(a, 40, labels.pass);
    if let Some(addresses) = spec.addresses {
        for half in [0, 8] {
            a.load(Width::Long, R3, R7, 24 + half);
            a.store(Width::Long, R10, KEY_ADDRESS + half, R3);
        }
        match_address(a, addresses, labels.matched);
    }
    if spec.ports.is_some() {
        let transport = a.label();
        a.load(Width::Byte, R3, R7, 6);
        a.jump_if_value(If::Equal, R3, 44, labels.fragment);
        a.jump_if_value(If::Equal, R3, 6, transport);
        a.jump_if_value(If::NotEqual, R3, 17, labels.pass);
        a.place(transport);
        a.alu_value(Alu::Add, R7, 40);
        need(a, 4, labels.pass);
        a.jump(labels.ports);
    } else {
        a.jump(labels.pass);
    }
}

/// The key is on the stack.
fn match_address(a: &mut Assembler, addresses: i32, matched: Label) {
    a.load_map(R1, addresses);
    a.alu(Alu::Move, R2, R10);
    a.alu_value(Alu::Add, R2, i32::from(KEY_ADDRESS));
    a.call(MAP_LOOKUP);
    a.jump_if_value(If::NotEqual, R0, 0, matched);
}

fn match_ports(a: &mut Assembler, ports: i32, labels: &Labels) {
    a.place(labels.ports);
    for (register, offset) in [(R3, 0), (R4, 2)] {
        a.load(Width::Half, register, R7, offset);
        a.swap_half(register);
        // Up to Linux 6.1 at least, the verifier does not know that 16 bits are left.
        a.alu_value(Alu::And, register, 0xFFFF);
    }
    for register in [R3, R4] {
        a.load_map_value(R5, ports);
        a.alu(Alu::Move, R2, register);
        a.alu_value(Alu::ShiftRight, R2, 3);
        a.alu(Alu::Add, R5, R2);
        a.load(Width::Byte, R5, R5, 0);
        a.alu_value(Alu::And, register, 7);
        a.alu(Alu::ShiftRight, R5, register);
        a.alu_value(Alu::And, R5, 1);
        a.jump_if_value(If::NotEqual, R5, 0, labels.matched);
    }
    a.jump(labels.pass);
}

/// R7 is then the queue's counters; the queue's number stays on the stack.
fn count_at_queue(a: &mut Assembler, spec: &Spec, pass: Label) {
    a.load(Width::Word, R1, R6, QUEUE);
    a.store(Width::Word, R10, KEY_QUEUE, R1);
    look_up_queue(a, spec.counters);
    a.jump_if_value(If::Equal, R0, 0, pass);
    a.alu(Alu::Move, R7, R0);
}

fn look_up_queue(a: &mut Assembler, map: i32) {
    a.load_map(R1, map);
    a.alu(Alu::Move, R2, R10);
    a.alu_value(Alu::Add, R2, i32::from(KEY_QUEUE));
    a.call(MAP_LOOKUP);
}

fn count(a: &mut Assembler, place: i16) {
    a.alu_value(Alu::Move, R1, 1);
    a.atomic_add(R7, place, R1);
}

fn redirect(a: &mut Assembler, spec: &Spec, pass: Label) {
    let (has_socket, inside, send, is_sent) = (a.label(), a.label(), a.label(), a.label());
    a.call(if spec.clock == Clock::Tai { KTIME_TAI } else { KTIME_MONOTONIC });
    a.alu(Alu::Move, R9, R0);
    count_at_queue(a, spec, pass);
    count(a, MATCHED);
    look_up_queue(a, spec.sockets);
    a.jump_if_value(If::NotEqual, R0, 0, has_socket);
    count(a, NO_SOCKET);
    a.jump(pass);

    a.place(has_socket);
    alarm(a, spec);
    a.store_value(Width::Long, R10, HARDWARE, 0);
    if let Some(function) = spec.hardware {
        let has_stamp = a.label();
        a.alu(Alu::Move, R1, R6);
        a.alu(Alu::Move, R2, R10);
        a.alu_value(Alu::Add, R2, i32::from(HARDWARE));
        a.call_kernel_function(function);
        a.jump_if_value(If::Equal, R0, 0, has_stamp);
        a.store_value(Width::Long, R10, HARDWARE, 0);
        a.place(has_stamp);
    }
    if !spec.is_inside_forced {
        adjust(a, ADJUST_META, inside);
        note(a, DATA_META, DATA, spec.magic_before, send);
        a.jump(send);
    }
    // A driver without room for metadata: make the frame longer at its begin.
    a.place(inside);
    adjust(a, ADJUST_HEAD, send);
    note(a, DATA, DATA_END, spec.magic_inside, send);

    a.place(send);
    a.load_map(R1, spec.sockets);
    a.load(Width::Word, R2, R10, KEY_QUEUE);
    a.alu_value(Alu::Move, R3, XDP_PASS);
    a.call(REDIRECT_MAP);
    a.jump_if_value(If::Equal, R0, XDP_REDIRECT, is_sent);
    count(a, REFUSED);
    a.jump(pass);
    a.place(is_sent);
    count(a, REDIRECTED);
    a.alu_value(Alu::Move, R0, XDP_REDIRECT);
    a.exit();
}

/// Wakes the queue's receiver where it may sleep for too long. R7 is the queue's counters.
fn alarm(a: &mut Assembler, spec: &Spec) {
    let is_none = a.label();
    a.load(Width::Long, R1, R7, MATCHED);
    a.alu_value(Alu::And, R1, spec.alarm_every.cast_signed() - 1);
    a.jump_if_value(If::NotEqual, R1, 0, is_none);
    look_up_queue(a, spec.alarms);
    a.jump_if_value(If::Equal, R0, 0, is_none);
    // That something is said is all that it says: the queue's number is at hand. Where nobody listens there is no room in the end.
    a.alu(Alu::Move, R1, R0);
    a.alu(Alu::Move, R2, R10);
    a.alu_value(Alu::Add, R2, i32::from(KEY_QUEUE));
    a.alu_value(Alu::Move, R3, 4);
    a.alu_value(Alu::Move, R4, FORCE_WAKEUP);
    a.call(RING_BUFFER_OUTPUT);
    a.place(is_none);
}

/// Makes room before the frame.
fn adjust(a: &mut Assembler, helper: i32, otherwise: Label) {
    a.alu(Alu::Move, R1, R6);
    a.alu_value(Alu::Move, R2, -NOTE);
    a.call(helper);
    a.jump_if_value(If::NotEqual, R0, 0, otherwise);
}

/// Writes magic and stamps from `start` on, where they fit before `end`.
fn note(a: &mut Assembler, start: i16, end: i16, magic: u64, otherwise: Label) {
    a.load(Width::Word, R2, R6, start);
    a.load(Width::Word, R3, R6, end);
    a.alu(Alu::Move, R4, R2);
    a.alu_value(Alu::Add, R4, NOTE);
    a.jump_if(If::Greater, R4, R3, otherwise);
    a.load_value(R1, magic);
    a.store(Width::Long, R2, 0, R1);
    a.store(Width::Long, R2, 8, R9);
    a.load(Width::Long, R1, R10, HARDWARE);
    a.store(Width::Long, R2, 16, R1);
    a.store_value(Width::Long, R2, 24, 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::afpacket::samples;
    use crate::options::Filter;
    use crate::xdp::{Maps, bpf};

    fn spec() -> Spec {
        Spec {
            sockets: 10,
            counters: 11,
            alarms: 14,
            alarm_every: 4096,
            ports: Some(12),
            addresses: Some(13),
            clock: Clock::Tai,
            hardware: None,
            magic_before: 1,
            magic_inside: 2,
            is_inside_forced: false,
        }
    }

    fn calls(code: &[Instruction]) -> Vec<(u8, i32)> {
        let calls = code.iter().filter(|instruction| instruction.code == 0x85);
        calls.map(|instruction| (instruction.registers >> 4, instruction.immediate)).collect()
    }

    #[test]
    fn variants_differ_in_what_they_call() {
        let (lookup, word) = ((0, MAP_LOOKUP), (0, RING_BUFFER_OUTPUT));
        let send = [(0, ADJUST_META), (0, ADJUST_HEAD), (0, REDIRECT_MAP)];
        // The counters, the socket, the alarm.
        let find = [lookup, lookup, lookup, word];
        let everything = Spec { ports: None, addresses: None, ..spec() };
        for (spec, expected) in [
            (everything.clone(), [&[(0, KTIME_TAI)][..], &find, &send].concat()),
            (
                Spec { clock: Clock::Monotonic, ..everything.clone() },
                [&[(0, KTIME_MONOTONIC)][..], &find, &send].concat(),
            ),
            (
                Spec { hardware: Some(99), ..everything.clone() },
                [&[(0, KTIME_TAI)][..], &find, &[(2, 99)], &send].concat(),
            ),
            (Spec { is_inside_forced: true, ..everything }, [&[(0, KTIME_TAI)][..], &find, &send[1..]].concat()),
            // One address each for IPv4 and IPv6, the counters of a fragment.
            (spec(), [&[lookup, lookup, lookup, (0, KTIME_TAI)][..], &find, &send].concat()),
        ] {
            assert_eq!(calls(&assemble(&spec)), expected, "{spec:?}");
        }
    }

    #[test]
    fn jumps_stay_inside_and_the_program_ends() {
        for ports in [None, Some(12)] {
            for addresses in [None, Some(13)] {
                let code = assemble(&Spec { ports, addresses, hardware: Some(9), ..spec() });
                assert_eq!(code.last().map(|instruction| instruction.code), Some(0x95));
                assert!(code.len() < 250, "{}", code.len());
                for (at, instruction) in code.iter().enumerate() {
                    let is_jump = instruction.code & 0x07 == 0x05 && !matches!(instruction.code, 0x85 | 0x95);
                    let target = i64::try_from(at).unwrap() + 1 + i64::from(instruction.offset);
                    assert!(!is_jump || (0..i64::try_from(code.len()).unwrap()).contains(&target));
                }
            }
        }
    }
    /// The kernel itself says which frames match (BPF_PROG_RUN); the samples are those of the other driver's filter, whose
    /// later fragments match and are counted apart here.
    #[test]
    fn the_kernel_takes_every_variant_and_matches_as_the_other_driver_does() {
        let both = samples::filter();
        let ports = Filter { ports: both.ports.clone(), addresses: Vec::new() };
        let addresses = Filter { ports: Vec::new(), addresses: both.addresses.clone() };
        for filter in [&Filter::default(), &ports, &addresses, &both] {
            let maps = match Maps::new("none", filter, 1) {
                Err(error) if error.errno() == Some(libc::EPERM) => return, // only root loads programs
                maps => maps.unwrap(),
            };
            for (clock, is_inside_forced) in [(Clock::Tai, false), (Clock::Monotonic, false), (Clock::Tai, true)] {
                let spec = Spec { is_inside_forced, ..maps.spec(clock, None, [1, 2], 1) };
                let program = bpf::load(&assemble(&spec), None).unwrap();
                for sample in samples::frames() {
                    let before = maps.matches.of_queue(0).unwrap();
                    // A frame of the kernel's own checks has 14 bytes at least; nothing has a socket here, so all pass.
                    assert_eq!(bpf::run(&program, &sample.frame).unwrap(), 2, "{}", sample.name);
                    let after = maps.matches.of_queue(0).unwrap();
                    let is_match = after.matched > before.matched;
                    let expected = match (filter.ports.is_empty(), filter.addresses.is_empty()) {
                        (true, true) => true,
                        (false, true) => sample.by_port && !sample.is_fragment,
                        (true, false) => sample.by_address,
                        (false, false) => sample.by_port && !sample.is_fragment || sample.by_address,
                    };
                    assert_eq!(is_match, expected, "{} by {filter:?}", sample.name);
                    assert_eq!(after.no_socket, after.matched, "{}", sample.name);
                    let is_counted = after.fragments > before.fragments;
                    assert_eq!(is_counted, sample.is_fragment && !filter.ports.is_empty(), "{}", sample.name);
                }
            }
        }
    }
}
