//! Finding a function of the running kernel in its own type information (Linux Documentation/bpf/btf.rst): the XDP program
//! calls it by its number there, which differs from kernel to kernel.

const MAGIC: u16 = 0xEB9F;
const FUNCTION: u32 = 12;
/// Where the kernel shows it.
pub(crate) const KERNEL: &str = "/sys/kernel/btf/vmlinux";

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_ne_bytes)
}

fn size(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(word(bytes, at)?).ok()
}

/// Bytes behind the twelve of every type, by its kind and its number of members.
fn extra(kind: u32, members: usize) -> Option<usize> {
    Some(match kind {
        2 | 7..=12 | 16 | 18 => 0,
        1 | 14 | 17 => 4,
        3 => 12,
        4 | 5 | 15 | 19 => members * 12,
        6 | 13 => members * 8,
        _ => return None, // a kind of a newer kernel: its length is not known
    })
}

/// The number of the function of this name. `None` where the kernel has none, or says something that is not understood.
pub(super) fn function(btf: &[u8], name: &str) -> Option<i32> {
    if btf.get(0..2)? != MAGIC.to_ne_bytes() {
        return None;
    }
    let section = |at: usize| {
        let start = size(btf, 4)?.checked_add(size(btf, at)?)?;
        btf.get(start..start.checked_add(size(btf, at + 4)?)?)
    };
    let (mut types, strings) = (section(8)?, section(16)?);
    let mut number = 0i32;
    while !types.is_empty() {
        number = number.checked_add(1)?;
        let (name_at, info) = (size(types, 0)?, word(types, 4)?);
        let (kind, members) = (info >> 24 & 0x1F, (info & 0xFFFF) as usize);
        if kind == FUNCTION {
            let rest = strings.get(name_at..)?.strip_prefix(name.as_bytes());
            if rest.is_some_and(|rest| rest.first() == Some(&0)) {
                return Some(number);
            }
        }
        types = types.get(12 + extra(kind, members)?..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An integer, a structure of two members, and two functions.
    fn sample() -> Vec<u8> {
        let strings = b"\0int\0pair\0wrong_name\0right\0";
        let mut types = Vec::new();
        for (name, kind, members, extra) in [(1u32, 1u32, 0u32, 1), (5, 4, 2, 6), (10, 12, 0, 0), (21, 12, 0, 0)] {
            types.extend([name, kind << 24 | members, 0]);
            types.extend(vec![0; extra]);
        }
        let types: Vec<u8> = types.into_iter().flat_map(u32::to_ne_bytes).collect();
        let mut btf = MAGIC.to_ne_bytes().to_vec();
        btf.extend([1, 0]);
        let lengths = [24, 0, types.len(), types.len(), strings.len()];
        btf.extend(lengths.iter().flat_map(|length| u32::try_from(*length).unwrap().to_ne_bytes()));
        btf.extend(types);
        btf.extend(strings);
        btf
    }

    #[test]
    fn a_function_is_found_by_its_whole_name() {
        let btf = sample();
        for (name, expected) in
            [("right", Some(4)), ("wrong_name", Some(3)), ("wrong", None), ("int", None), ("", None)]
        {
            assert_eq!(function(&btf, name), expected, "{name}");
        }
    }

    #[test]
    fn any_cut_or_change_is_harmless() {
        let btf = sample();
        for length in 0..btf.len() {
            let _ = function(&btf[..length], "right");
            for value in [0, 0x7F, 0xFF] {
                let mut changed = btf.clone();
                changed[length] = value;
                let _ = function(&changed, "right");
            }
        }
    }
}
