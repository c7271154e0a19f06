//! Small damage to bytes, drawn from a generator with a seed (`SplitMix64`, public domain, Sebastiano Vigna).

/// Random numbers that are the same for the same seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `limit`, which is not 0.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        let limit = limit as u64;
        usize::try_from(self.next() % limit).expect("smaller than a usize")
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}

/// Values at which length fields and counters go wrong.
const EDGES: [u64; 14] =
    [0, 1, 2, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0xffff, 0x1_0000, 0x7fff_ffff, 0xffff_ffff, u64::MAX / 2, u64::MAX];

/// Damages the input in a few places; `other` is another seed to splice from.
pub(crate) fn mutate(random: &mut Random, input: &mut Vec<u8>, other: &[u8], limit: usize) {
    for _ in 0..=random.below(6) {
        if input.is_empty() {
            input.push(random.byte());
        }
        let at = random.below(input.len());
        let length = 1 + random.below(input.len().min(64));
        let end = input.len().min(at + length);
        match random.below(10) {
            0 => input[at] ^= 1 << random.below(8),
            1 => input[at] = random.byte(),
            2 => edge(random, input, at),
            3 => drop(input.drain(at..end)),
            4 => {
                let copy = input[at..end].to_vec();
                let to = random.below(input.len() + 1);
                input.splice(to..to, copy);
            }
            5 => {
                let new: Vec<u8> = (0..length).map(|_| random.byte()).collect();
                input.splice(at..at, new);
            }
            6 if !other.is_empty() => {
                let from = random.below(other.len());
                let piece = &other[from..other.len().min(from + 1 + random.below(512))];
                input.splice(at..end, piece.iter().copied());
            }
            7 => input.truncate(at),
            8 => digits(random, input, at),
            _ => input[at..end].rotate_left(1),
        }
        input.truncate(limit);
    }
}

/// A number of two, four or eight bytes becomes one from the edges of its range.
fn edge(random: &mut Random, input: &mut [u8], at: usize) {
    let value = EDGES[random.below(EDGES.len())].wrapping_sub(u64::from(random.byte() % 3));
    let width = [1, 2, 4, 8][random.below(4)];
    let bytes = if random.below(2) == 0 { value.to_le_bytes() } else { value.to_be_bytes() };
    let bytes = if random.below(2) == 0 { &bytes[..width] } else { &bytes[8 - width..] };
    for (target, source) in input.iter_mut().skip(at).zip(bytes) {
        *target = *source;
    }
}

/// Text protocols write their numbers in digits.
fn digits(random: &mut Random, input: &mut Vec<u8>, at: usize) {
    let Some(first) = input.iter().skip(at).position(u8::is_ascii_digit).map(|found| at + found) else { return };
    let length = input[first..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let value = EDGES[random.below(EDGES.len())].to_string();
    input.splice(first..first + length, value.bytes());
}
