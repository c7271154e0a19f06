//! Frames that a filter takes or not, for the tests of both drivers.

use crate::options::Filter;

pub(crate) struct Sample {
    pub(crate) name: &'static str,
    pub(crate) frame: Vec<u8>,
    /// One of its ports is in [`filter`], or it is a later fragment, which has none.
    pub(crate) by_port: bool,
    pub(crate) by_address: bool,
    pub(crate) is_fragment: bool,
}

pub(crate) fn filter() -> Filter {
    let addresses = vec!["239.1.1.1".parse().unwrap(), "ff00::7".parse().unwrap()];
    Filter { ports: vec![9001, 26_477], addresses }
}

fn frame(tags: &[u16], kind: u16, network: &[u8], ports: [u16; 2]) -> Vec<u8> {
    let mut frame = vec![0; 12];
    for tag in tags {
        frame.extend_from_slice(&tag.to_be_bytes());
        frame.extend_from_slice(&[0, 100]);
    }
    frame.extend_from_slice(&kind.to_be_bytes());
    frame.extend_from_slice(network);
    for port in ports {
        frame.extend_from_slice(&port.to_be_bytes());
    }
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

pub(crate) fn frames() -> Vec<Sample> {
    let (group, host) = ([239, 1, 1, 1], [10, 0, 0, 1]);
    let rows = [
        ("destination port", frame(&[], 0x0800, &ip(17, 5, 0, host), [1, 26_477]), true, false),
        ("source port, TCP", frame(&[], 0x0800, &ip(6, 5, 0, host), [9001, 1]), true, false),
        ("another port", frame(&[], 0x0800, &ip(17, 5, 0, host), [1, 2]), false, false),
        ("the neighbour of a port", frame(&[], 0x0800, &ip(17, 5, 0, host), [9000, 9002]), false, false),
        ("IP options", frame(&[], 0x0800, &ip(17, 15, 0, host), [9001, 2]), true, false),
        ("another protocol", frame(&[], 0x0800, &ip(1, 5, 0, host), [9001, 9001]), false, false),
        ("first fragment", frame(&[], 0x0800, &ip(17, 5, 0x2000, host), [1, 2]), false, false),
        ("later fragment", frame(&[], 0x0800, &ip(17, 5, 0x2001, host), [1, 2]), true, false),
        ("group", frame(&[], 0x0800, &ip(1, 5, 0, group), [1, 2]), false, true),
        ("one tag", frame(&[0x8100], 0x0800, &ip(17, 5, 0, host), [9001, 2]), true, false),
        ("two tags", frame(&[0x88A8, 0x8100], 0x0800, &ip(17, 5, 0, host), [9001, 2]), true, false),
        ("three tags", frame(&[0x8100; 3], 0x0800, &ip(17, 5, 0, host), [9001, 2]), false, false),
        ("IPv6 port", frame(&[], 0x86DD, &ip6(17, 1), [1, 9001]), true, false),
        ("IPv6 tagged", frame(&[0x8100], 0x86DD, &ip6(6, 1), [9001, 1]), true, false),
        ("IPv6 group", frame(&[], 0x86DD, &ip6(58, 7), [1, 1]), false, true),
        ("IPv6 other", frame(&[], 0x86DD, &ip6(17, 1), [1, 1]), false, false),
        ("ARP", frame(&[], 0x0806, &[0; 28], [9001, 9001]), false, false),
        ("cut in the ports", frame(&[], 0x0800, &ip(17, 5, 0, host), [1, 9001])[..36].to_vec(), false, false),
        ("cut in the address", frame(&[], 0x0800, &ip(17, 5, 0, group), [1, 2])[..33].to_vec(), false, false),
        ("cut in the tag", frame(&[0x8100], 0x0800, &[], [1, 2])[..17].to_vec(), false, false),
    ];
    let sample = |(name, frame, by_port, by_address)| {
        let is_fragment = name == "later fragment";
        Sample { name, frame, by_port, by_address, is_fragment }
    };
    rows.into_iter().map(sample).collect()
}
