//! A small assembler of eBPF instructions (Linux Documentation/bpf/standardization/instruction-set.rst): enough for one
//! program, with labels, so that loading it needs no compiler.

/// Registers: `R1`…`R5` are arguments and lost in a call, `R6`…`R9` are kept, `R10` is the end of the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Reg {
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    R10,
}

/// As the kernel reads it on little-endian machines: destination in the low half of `registers`, source in the high half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Instruction {
    pub(super) code: u8,
    pub(super) registers: u8,
    pub(super) offset: i16,
    pub(super) immediate: i32,
}

/// How many bytes a load or store moves.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
pub(super) enum Width {
    Word = 0x00,
    Half = 0x08,
    Byte = 0x10,
    Long = 0x18,
}

/// Conditions of jumps; all comparisons are unsigned and of 64 bits.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
pub(super) enum If {
    Equal = 0x10,
    Greater = 0x20,
    NotEqual = 0x50,
    Less = 0xA0,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Alu {
    Add = 0x00,
    And = 0x50,
    ShiftLeft = 0x60,
    ShiftRight = 0x70,
    Move = 0xB0,
}

const ALU64: u8 = 0x07;
const JUMP: u8 = 0x05;
const FROM_REGISTER: u8 = 0x08;
const LOAD: u8 = 0x61;
const STORE: u8 = 0x63;
const STORE_IMMEDIATE: u8 = 0x62;
const LOAD_LONG: u8 = 0x18;
const ATOMIC_LONG: u8 = 0xDB;
const SWAP_BIG_ENDIAN: u8 = 0xDC;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
/// Values of the source register in a 64-bit load: the immediate is a map, or the begin of a map's only value.
const PSEUDO_MAP: u8 = 1;
const PSEUDO_MAP_VALUE: u8 = 2;
/// And in a call: the immediate is a number in the kernel's BTF.
const PSEUDO_KERNEL_FUNCTION: u8 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Label(usize);

#[derive(Default)]
pub(super) struct Assembler {
    code: Vec<Instruction>,
    labels: Vec<Option<usize>>,
    jumps: Vec<(usize, Label)>,
}

impl Assembler {
    fn push(&mut self, code: u8, to: u8, from: u8, offset: i16, immediate: i32) {
        self.code.push(Instruction { code, registers: from << 4 | to, offset, immediate });
    }

    pub(super) fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// The label is here.
    pub(super) fn place(&mut self, label: Label) {
        let before = self.labels[label.0].replace(self.code.len());
        assert!(before.is_none(), "a label is in one place");
    }

    pub(super) fn alu(&mut self, operation: Alu, to: Reg, from: Reg) {
        self.push(ALU64 | FROM_REGISTER | operation as u8, to as u8, from as u8, 0, 0);
    }

    pub(super) fn alu_value(&mut self, operation: Alu, to: Reg, value: i32) {
        self.push(ALU64 | operation as u8, to as u8, 0, 0, value);
    }

    /// The low 16 bits, from network order.
    pub(super) fn swap_half(&mut self, register: Reg) {
        self.push(SWAP_BIG_ENDIAN, register as u8, 0, 0, 16);
    }

    pub(super) fn load(&mut self, width: Width, to: Reg, from: Reg, offset: i16) {
        self.push(LOAD | width as u8, to as u8, from as u8, offset, 0);
    }

    pub(super) fn store(&mut self, width: Width, to: Reg, offset: i16, from: Reg) {
        self.push(STORE | width as u8, to as u8, from as u8, offset, 0);
    }

    pub(super) fn store_value(&mut self, width: Width, to: Reg, offset: i16, value: i32) {
        self.push(STORE_IMMEDIATE | width as u8, to as u8, 0, offset, value);
    }

    /// Adds to eight bytes of memory at once.
    pub(super) fn atomic_add(&mut self, to: Reg, offset: i16, from: Reg) {
        self.push(ATOMIC_LONG, to as u8, from as u8, offset, 0);
    }

    fn wide(&mut self, to: Reg, kind: u8, low: i32, high: i32) {
        self.push(LOAD_LONG, to as u8, kind, 0, low);
        self.push(0, 0, 0, 0, high);
    }

    pub(super) fn load_value(&mut self, to: Reg, value: u64) {
        let halves = value.to_le_bytes();
        let half = |at: usize| i32::from_le_bytes([halves[at], halves[at + 1], halves[at + 2], halves[at + 3]]);
        self.wide(to, 0, half(0), half(4));
    }

    pub(super) fn load_map(&mut self, to: Reg, map: i32) {
        self.wide(to, PSEUDO_MAP, map, 0);
    }

    pub(super) fn load_map_value(&mut self, to: Reg, map: i32) {
        self.wide(to, PSEUDO_MAP_VALUE, map, 0);
    }

    pub(super) fn jump(&mut self, label: Label) {
        self.jumps.push((self.code.len(), label));
        self.push(JUMP, 0, 0, 0, 0);
    }

    pub(super) fn jump_if(&mut self, condition: If, left: Reg, right: Reg, label: Label) {
        self.jumps.push((self.code.len(), label));
        self.push(JUMP | FROM_REGISTER | condition as u8, left as u8, right as u8, 0, 0);
    }

    pub(super) fn jump_if_value(&mut self, condition: If, left: Reg, right: i32, label: Label) {
        self.jumps.push((self.code.len(), label));
        self.push(JUMP | condition as u8, left as u8, 0, 0, right);
    }

    pub(super) fn call(&mut self, helper: i32) {
        self.push(CALL, 0, 0, 0, helper);
    }

    pub(super) fn call_kernel_function(&mut self, number: i32) {
        self.push(CALL, 0, PSEUDO_KERNEL_FUNCTION, 0, number);
    }

    pub(super) fn exit(&mut self) {
        self.push(EXIT, 0, 0, 0, 0);
    }

    /// The program, with its jumps filled in.
    pub(super) fn finish(mut self) -> Vec<Instruction> {
        for (at, label) in self.jumps {
            let target = self.labels[label.0].expect("every label that is used is placed");
            let distance = i64::try_from(target).expect("short") - i64::try_from(at).expect("short") - 1;
            self.code[at].offset = i16::try_from(distance).expect("our programs are shorter than a jump");
        }
        self.code
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(write: impl FnOnce(&mut Assembler)) -> Vec<u8> {
        let mut assembler = Assembler::default();
        write(&mut assembler);
        let code = assembler.finish();
        code.iter()
            .flat_map(|instruction| {
                let mut bytes = vec![instruction.code, instruction.registers];
                bytes.extend_from_slice(&instruction.offset.to_le_bytes());
                bytes.extend_from_slice(&instruction.immediate.to_le_bytes());
                bytes
            })
            .collect()
    }

    /// The expected bytes are what `llvm-mc -triple bpfel -show-encoding` documents for these instructions.
    #[test]
    fn instructions_have_the_bytes_of_the_instruction_set() {
        use Reg::{R1, R2, R3, R5, R6, R7, R10};
        type Write = fn(&mut Assembler);
        let rows: [(Write, &[u8]); 14] = [
            (|a| a.alu(Alu::Move, R6, R1), &[0xBF, 0x16, 0, 0, 0, 0, 0, 0]),
            (|a| a.alu_value(Alu::Add, R2, 14), &[0x07, 0x02, 0, 0, 14, 0, 0, 0]),
            (|a| a.alu_value(Alu::Add, R2, -4), &[0x07, 0x02, 0, 0, 0xFC, 0xFF, 0xFF, 0xFF]),
            (|a| a.alu_value(Alu::And, R3, 15), &[0x57, 0x03, 0, 0, 15, 0, 0, 0]),
            (|a| a.alu(Alu::ShiftRight, R5, R3), &[0x7F, 0x35, 0, 0, 0, 0, 0, 0]),
            (|a| a.swap_half(R3), &[0xDC, 0x03, 0, 0, 16, 0, 0, 0]),
            (|a| a.load(Width::Half, R3, R7, 12), &[0x69, 0x73, 12, 0, 0, 0, 0, 0]),
            (|a| a.load(Width::Byte, R3, R7, 9), &[0x71, 0x73, 9, 0, 0, 0, 0, 0]),
            (|a| a.store(Width::Word, R10, -4, R1), &[0x63, 0x1A, 0xFC, 0xFF, 0, 0, 0, 0]),
            (|a| a.store_value(Width::Long, R10, -16, 0), &[0x7A, 0x0A, 0xF0, 0xFF, 0, 0, 0, 0]),
            (|a| a.atomic_add(R7, 8, R1), &[0xDB, 0x17, 8, 0, 0, 0, 0, 0]),
            (|a| a.load_map(R1, 5), &[0x18, 0x11, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            (|a| a.call_kernel_function(77), &[0x85, 0x20, 0, 0, 77, 0, 0, 0]),
            (|a| a.exit(), &[0x95, 0, 0, 0, 0, 0, 0, 0]),
        ];
        for (write, expected) in rows {
            assert_eq!(bytes(write), expected);
        }
        let value = bytes(|a| a.load_value(R1, 0x8877_6655_4433_2211));
        assert_eq!(value, [0x18, 1, 0, 0, 0x11, 0x22, 0x33, 0x44, 0, 0, 0, 0, 0x55, 0x66, 0x77, 0x88]);
    }

    #[test]
    fn jumps_reach_their_labels_forwards_and_backwards() {
        let code = bytes(|a| {
            let (start, end) = (a.label(), a.label());
            a.place(start);
            a.jump_if(If::Greater, Reg::R2, Reg::R8, end);
            a.jump_if_value(If::NotEqual, Reg::R0, 4, start);
            a.jump(end);
            a.exit();
            a.place(end);
            a.exit();
        });
        assert_eq!(code[0..8], [0x2D, 0x82, 3, 0, 0, 0, 0, 0]);
        assert_eq!(code[8..16], [0x55, 0x00, 0xFE, 0xFF, 4, 0, 0, 0]);
        assert_eq!(code[16..24], [0x05, 0, 1, 0, 0, 0, 0, 0]);
    }
}
