//! Recorded market data as a source: the UDP frames of a capture file (classic pcap, either byte order, micro- or
//! nanoseconds, Ethernet), with the times between them, faithful or faster.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::Path;

/// Longer records mean that this is no capture.
const LONGEST: usize = 1 << 18;

/// Reads the UDP frames of a capture one after the other.
#[derive(Debug)]
pub(crate) struct Recording {
    input: BufReader<File>,
    is_big: bool,
    unit: u64,
    first: Option<u64>,
}

/// One recorded frame and how long after the first one it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recorded {
    pub(crate) after: u64,
    pub(crate) frame: Vec<u8>,
    /// Where its UDP payload begins and ends.
    pub(crate) payload: std::ops::Range<usize>,
}

impl Recording {
    pub(crate) fn open(path: &Path) -> io::Result<Recording> {
        let said = |what: &str| io::Error::new(ErrorKind::InvalidData, format!("{}: {what}", path.display()));
        let file =
            File::open(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
        let mut input = BufReader::with_capacity(1 << 20, file);
        let mut head = [0; 24];
        input.read_exact(&mut head).map_err(|_| said("shorter than the header of a pcap file"))?;
        let (is_big, unit) = match [head[0], head[1], head[2], head[3]] {
            [0xA1, 0xB2, 0xC3, 0xD4] => (true, 1_000),
            [0xD4, 0xC3, 0xB2, 0xA1] => (false, 1_000),
            [0xA1, 0xB2, 0x3C, 0x4D] => (true, 1),
            [0x4D, 0x3C, 0xB2, 0xA1] => (false, 1),
            _ => return Err(said("not a pcap file (pcapng is not replayed: convert it with editcap -F nsecpcap)")),
        };
        let recording = Recording { input, is_big, unit, first: None };
        if recording.word(&head[20..24]) & 0xFFFF != 1 {
            return Err(said("replay needs an Ethernet capture"));
        }
        Ok(recording)
    }

    fn word(&self, bytes: &[u8]) -> u32 {
        let mut word = [0; 4];
        word.copy_from_slice(bytes);
        if self.is_big { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) }
    }

    /// The next UDP frame; `None` at the end, also where the last record is cut.
    pub(crate) fn next_frame(&mut self) -> io::Result<Option<Recorded>> {
        loop {
            let mut head = [0; 16];
            match self.input.read_exact(&mut head) {
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
                other => other?,
            }
            let length = usize::try_from(self.word(&head[8..12])).unwrap_or(usize::MAX);
            if length > LONGEST {
                return Err(io::Error::new(ErrorKind::InvalidData, format!("a record of {length} bytes is no frame")));
            }
            let mut frame = vec![0; length];
            match self.input.read_exact(&mut frame) {
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
                other => other?,
            }
            let time = u64::from(self.word(&head[..4])) * 1_000_000_000 + u64::from(self.word(&head[4..8])) * self.unit;
            let first = *self.first.get_or_insert(time);
            if let Some(payload) = udp_payload(&frame) {
                return Ok(Some(Recorded { after: time.saturating_sub(first), frame, payload }));
            }
        }
    }
}

/// Where the payload of an unfragmented UDP datagram over IPv4 lies, behind any VLAN tags.
fn udp_payload(frame: &[u8]) -> Option<std::ops::Range<usize>> {
    let mut at = 12;
    while matches!(frame.get(at..at + 2)?, [0x81, 0x00] | [0x88, 0xA8]) {
        at += 4;
    }
    if frame.get(at..at + 2)? != [0x08, 0x00] {
        return None;
    }
    let ip = at + 2;
    let header = usize::from(frame.get(ip)? & 0x0F) * 4;
    let is_fragment = frame.get(ip + 6)? & 0x3F != 0 || *frame.get(ip + 7)? != 0;
    if *frame.get(ip + 9)? != 17 || is_fragment {
        return None;
    }
    let udp = ip + header;
    let length = usize::from(u16::from_be_bytes([*frame.get(udp + 4)?, *frame.get(udp + 5)?]));
    let end = udp + length;
    (length >= 8 && end <= frame.len()).then_some(udp + 8..end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{Format, Writer};
    use crate::wire::{Node, udp_frame};

    #[test]
    fn udp_frames_come_back_with_the_time_between_them() {
        let path = std::env::temp_dir().join(format!("tickscope-replay-{}.pcap", std::process::id()));
        let mut writer = Writer::new(Vec::new(), Format::Pcap, "x", 0).unwrap();
        let frame = udp_frame(&Node::host([1, 2, 3, 4], 5), &Node::group([233, 1, 2, 3], 6), 7, b"payload");
        writer.frame(1_000_000_000, &frame, frame.len()).unwrap();
        writer.frame(1_000_000_500, &[0; 60], 60).unwrap();
        writer.frame(1_000_000_900, &frame, frame.len()).unwrap();
        let mut bytes = writer.finish().unwrap();
        bytes.extend_from_slice(&[0; 7]); // a record that is cut
        std::fs::write(&path, bytes).unwrap();
        let mut recording = Recording::open(&path).unwrap();
        let first = recording.next_frame().unwrap().unwrap();
        assert_eq!((first.after, &first.frame[first.payload]), (0, &b"payload"[..]));
        assert_eq!(recording.next_frame().unwrap().unwrap().after, 900);
        assert_eq!(recording.next_frame().unwrap(), None);
        std::fs::remove_file(path).unwrap();
    }
}
