//! [`Filter`] as a classic BPF program (Documentation/networking/filter.rst), which the kernel runs before a frame costs
//! anything. Up to two VLAN tags, IPv4 and IPv6 without extension headers; later fragments of IPv4 are let through, since they
//! have no ports.

use std::net::IpAddr;

use libc::sock_filter;

use crate::options::Filter;

// Operations, from Linux `bpf_common.h` and `filter.h`.
const LOAD_HALF: u16 = 0x28;
const LOAD_HALF_INDEXED: u16 = 0x48;
const LOAD_WORD_INDEXED: u16 = 0x40;
const LOAD_BYTE_INDEXED: u16 = 0x50;
const LOAD_X: u16 = 0x01;
const ADD: u16 = 0x04;
const ADD_X: u16 = 0x0C;
const AND: u16 = 0x54;
const SHIFT_LEFT: u16 = 0x64;
const TAX: u16 = 0x07;
const TXA: u16 = 0x87;
const JUMP: u16 = 0x05;
const IF_EQUAL: u16 = 0x15;
const IF_SET: u16 = 0x45;
const RETURN: u16 = 0x06;

const WHOLE: u32 = u32::MAX;
const LONGEST: usize = 4096;

/// A program that is being written. Jumps are relative, so blocks can be put one after the other.
#[derive(Default)]
struct Program(Vec<sock_filter>);

impl Program {
    fn push(&mut self, code: u16, k: u32) {
        self.0.push(sock_filter { code, jt: 0, jf: 0, k });
    }

    /// Goes on where `k` is equal, else skips `skip` instructions.
    fn unless_equal_skip(&mut self, k: u32, skip: u8) {
        self.0.push(sock_filter { code: IF_EQUAL, jt: 0, jf: skip, k });
    }

    fn accept_if_equal(&mut self, k: u32) {
        self.unless_equal_skip(k, 1);
        self.push(RETURN, WHOLE);
    }

    /// Lets the frame go on to what follows `body` unless the value just loaded is `k`.
    fn where_equal(&mut self, k: u32, body: Program) {
        // Bodies may be longer than a conditional jump reaches.
        self.0.push(sock_filter { code: IF_EQUAL, jt: 1, jf: 0, k });
        self.push(JUMP, u32::try_from(body.0.len()).expect("shorter than 4096"));
        self.0.extend(body.0);
    }
}

/// Instructions for the filter, or `None` where it is too long for the kernel.
pub(super) fn assemble(filter: &Filter) -> Option<Vec<sock_filter>> {
    let mut program = Program::default();
    // X is the offset of the network header. A = EtherType.
    program.push(LOAD_X, 14);
    program.push(LOAD_HALF, 12);
    for offset in [16, 20] {
        // A tag: skip to its inner type. 0x8100 and 0x88A8 are what Linux takes for tags.
        program.0.push(sock_filter { code: IF_EQUAL, jt: 1, jf: 0, k: 0x8100 });
        program.unless_equal_skip(0x88A8, 2);
        program.push(LOAD_X, offset + 2);
        program.push(LOAD_HALF, offset);
    }
    program.where_equal(0x0800, ipv4(filter));
    // The accumulator still holds the type: a body returns or is skipped.
    program.where_equal(0x86DD, ipv6(filter));
    program.push(RETURN, 0);
    (program.0.len() <= LONGEST).then_some(program.0)
}

fn ipv4(filter: &Filter) -> Program {
    let mut program = Program::default();
    let addresses = filter.addresses.iter().filter_map(|address| match address {
        IpAddr::V4(address) => Some(u32::from(*address)),
        IpAddr::V6(_) => None,
    });
    program.push(LOAD_WORD_INDEXED, 16);
    addresses.for_each(|address| program.accept_if_equal(address));
    if !filter.ports.is_empty() {
        tcp_or_udp(&mut program, 9);
        program.push(LOAD_HALF_INDEXED, 6);
        program.0.push(sock_filter { code: IF_SET, jt: 0, jf: 1, k: 0x1FFF });
        program.push(RETURN, WHOLE);
        program.push(LOAD_BYTE_INDEXED, 0);
        program.push(AND, 0x0F);
        program.push(SHIFT_LEFT, 2);
        program.push(ADD_X, 0);
        program.push(TAX, 0);
        ports(&mut program, filter);
    }
    program.push(RETURN, 0);
    program
}

fn ipv6(filter: &Filter) -> Program {
    let mut program = Program::default();
    for address in &filter.addresses {
        let IpAddr::V6(address) = address else { continue };
        let octets = address.octets();
        let words = octets.as_chunks::<4>().0.iter().map(|word| u32::from_be_bytes(*word));
        // A word that differs skips the rest of the comparison and the return.
        for (offset, (word, skip)) in [24, 28, 32, 36].into_iter().zip(words.zip([7, 5, 3, 1])) {
            program.push(LOAD_WORD_INDEXED, offset);
            program.unless_equal_skip(word, skip);
        }
        program.push(RETURN, WHOLE);
    }
    if !filter.ports.is_empty() {
        tcp_or_udp(&mut program, 6);
        program.push(TXA, 0);
        program.push(ADD, 40);
        program.push(TAX, 0);
        ports(&mut program, filter);
    }
    program.push(RETURN, 0);
    program
}

/// Goes on where the byte at `offset` of the network header is TCP or UDP.
fn tcp_or_udp(program: &mut Program, offset: u32) {
    program.push(LOAD_BYTE_INDEXED, offset);
    program.0.push(sock_filter { code: IF_EQUAL, jt: 2, jf: 0, k: 6 });
    program.0.push(sock_filter { code: IF_EQUAL, jt: 1, jf: 0, k: 17 });
    program.push(RETURN, 0);
}

/// X is the offset of the transport header.
fn ports(program: &mut Program, filter: &Filter) {
    for offset in [0, 2] {
        program.push(LOAD_HALF_INDEXED, offset);
        filter.ports.iter().for_each(|port| program.accept_if_equal(u32::from(*port)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::afpacket::samples;

    /// What the kernel does with a program, for the operations that are used here.
    fn run(program: &[sock_filter], frame: &[u8]) -> Option<u32> {
        let (mut at, mut a, mut x) = (0usize, 0u32, 0u32);
        let load = |offset: u32, bytes: usize| {
            let field = frame.get(offset as usize..offset as usize + bytes)?;
            Some(field.iter().fold(0u32, |value, byte| value << 8 | u32::from(*byte)))
        };
        for _ in 0..LONGEST {
            let sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            let jump = |is_true: bool| usize::from(if is_true { jt } else { jf });
            match code {
                LOAD_HALF => a = load(k, 2)?,
                LOAD_HALF_INDEXED => a = load(x + k, 2)?,
                LOAD_WORD_INDEXED => a = load(x + k, 4)?,
                LOAD_BYTE_INDEXED => a = load(x + k, 1)?,
                LOAD_X => x = k,
                ADD => a += k,
                ADD_X => a += x,
                AND => a &= k,
                SHIFT_LEFT => a <<= k,
                TAX => x = a,
                TXA => a = x,
                JUMP => at += k as usize,
                IF_EQUAL => at += jump(a == k),
                IF_SET => at += jump(a & k != 0),
                RETURN => return Some(k),
                _ => panic!("operation {code:#x}"),
            }
        }
        panic!("a program without end")
    }

    #[test]
    fn frames_pass_by_port_or_destination_address() {
        let program = assemble(&samples::filter()).unwrap();
        for samples::Sample { name, frame, by_port, by_address, .. } in samples::frames() {
            // What is too short for a load is not captured.
            assert_eq!(run(&program, &frame).unwrap_or(0) != 0, by_port || by_address, "{name}");
        }
    }

    #[test]
    fn a_program_has_a_limit() {
        let ports = |count| Filter { ports: (0..count).collect(), addresses: Vec::new() };
        assert!(assemble(&ports(500)).is_some());
        assert!(assemble(&ports(600)).is_none());
    }
}
