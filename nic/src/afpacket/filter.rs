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

    fn frame(tags: &[u16], kind: u16, network: &[u8], ports: [u16; 2]) -> Vec<u8> {
        let mut frame = vec![0; 12];
        for tag in tags {
            frame.extend_from_slice(&tag.to_be_bytes());
            frame.extend_from_slice(&[0, 100]);
        }
        frame.extend_from_slice(&kind.to_be_bytes());
        frame.extend_from_slice(network);
        ports.iter().for_each(|port| frame.extend_from_slice(&port.to_be_bytes()));
        frame
    }

    fn ip(protocol: u8, words: u8, fragment: u16, to: [u8; 4]) -> Vec<u8> {
        let mut header = vec![0; usize::from(words) * 4];
        header[0] = 0x40 | words;
        header[6..8].copy_from_slice(&fragment.to_be_bytes());
        header[9] = protocol;
        header[16..20].copy_from_slice(&to);
        header
    }

    fn ip6(protocol: u8, last: u8) -> Vec<u8> {
        let mut header = vec![0; 40];
        header[0] = 0x60;
        header[6] = protocol;
        header[24] = 0xFF;
        header[39] = last;
        header
    }

    #[test]
    fn frames_pass_by_port_or_destination_address() {
        let filter = Filter {
            ports: vec![9001, 26_477],
            addresses: vec!["239.1.1.1".parse().unwrap(), "ff00::7".parse().unwrap()],
        };
        let program = assemble(&filter).unwrap();
        let (group, host) = ([239, 1, 1, 1], [10, 0, 0, 1]);
        for (name, frame, expected) in [
            ("destination port", frame(&[], 0x0800, &ip(17, 5, 0, host), [1, 26_477]), true),
            ("source port, TCP", frame(&[], 0x0800, &ip(6, 5, 0, host), [9001, 1]), true),
            ("another port", frame(&[], 0x0800, &ip(17, 5, 0, host), [1, 2]), false),
            ("IP options", frame(&[], 0x0800, &ip(17, 15, 0, host), [9001, 2]), true),
            ("another protocol", frame(&[], 0x0800, &ip(1, 5, 0, host), [9001, 9001]), false),
            ("first fragment", frame(&[], 0x0800, &ip(17, 5, 0x2000, host), [1, 2]), false),
            ("later fragment", frame(&[], 0x0800, &ip(17, 5, 0x2001, host), [1, 2]), true),
            ("group", frame(&[], 0x0800, &ip(1, 5, 0, group), [1, 2]), true),
            ("one tag", frame(&[0x8100], 0x0800, &ip(17, 5, 0, host), [9001, 2]), true),
            ("two tags", frame(&[0x88A8, 0x8100], 0x0800, &ip(17, 5, 0, host), [9001, 2]), true),
            ("three tags", frame(&[0x8100; 3], 0x0800, &ip(17, 5, 0, host), [9001, 2]), false),
            ("IPv6 port", frame(&[], 0x86DD, &ip6(17, 1), [1, 9001]), true),
            ("IPv6 tagged", frame(&[0x8100], 0x86DD, &ip6(6, 1), [9001, 1]), true),
            ("IPv6 group", frame(&[], 0x86DD, &ip6(58, 7), [1, 1]), true),
            ("IPv6 other", frame(&[], 0x86DD, &ip6(17, 1), [1, 1]), false),
            ("ARP", frame(&[], 0x0806, &[0; 28], [9001, 9001]), false),
        ] {
            // What is too short for a load is not captured.
            assert_eq!(run(&program, &frame).unwrap_or(0) != 0, expected, "{name}");
        }
    }

    #[test]
    fn a_program_has_a_limit() {
        let ports = |count| Filter { ports: (0..count).collect(), addresses: Vec::new() };
        assert!(assemble(&ports(500)).is_some());
        assert!(assemble(&ports(600)).is_none());
    }
}
