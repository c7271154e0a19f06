//! Capture files: pcap with nanosecond stamps (draft-ietf-opsawg-pcap) and pcapng (draft-ietf-opsawg-pcapng), little
//! endian, Ethernet. One interface a file.

use std::io::{self, Write};

/// Which of the two formats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    #[default]
    Pcap,
    Pcapng,
}

impl Format {
    /// The end of the file's name.
    pub fn extension(self) -> &'static str {
        match self {
            Format::Pcap => "pcap",
            Format::Pcapng => "pcapng",
        }
    }
}

/// Writes one capture file.
pub(crate) struct Writer<W: Write> {
    format: Format,
    out: W,
    bytes: u64,
}

impl<W: Write> Writer<W> {
    /// Begins a capture; `snaplen` 0 means that frames are never cut.
    pub(crate) fn new(mut out: W, format: Format, name: &str, snaplen: u32) -> io::Result<Writer<W>> {
        let snaplen = if snaplen == 0 { 262_144 } else { snaplen };
        let mut head = Vec::new();
        match format {
            Format::Pcap => {
                head.extend_from_slice(&0xA1B2_3C4D_u32.to_le_bytes());
                head.extend_from_slice(&[2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
                head.extend_from_slice(&snaplen.to_le_bytes());
                head.extend_from_slice(&1_u32.to_le_bytes());
            }
            Format::Pcapng => {
                let mut section = vec![0x4D, 0x3C, 0x2B, 0x1A, 1, 0, 0, 0];
                section.extend_from_slice(&[0xFF; 8]);
                block(&mut head, 0x0A0D_0D0A, &section);
                let mut interface = vec![1, 0, 0, 0];
                interface.extend_from_slice(&snaplen.to_le_bytes());
                option(&mut interface, 2, name.as_bytes());
                option(&mut interface, 9, &[9]);
                option(&mut interface, 0, &[]);
                block(&mut head, 1, &interface);
            }
        }
        out.write_all(&head)?;
        Ok(Writer { format, out, bytes: head.len() as u64 })
    }

    /// Appends one frame, of which `bytes` were captured.
    pub(crate) fn frame(&mut self, ns: u64, bytes: &[u8], wire_length: usize) -> io::Result<()> {
        let captured = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        let wire = u32::try_from(wire_length).map_err(io::Error::other)?;
        match self.format {
            Format::Pcap => {
                let second = u32::try_from(ns / 1_000_000_000).map_err(io::Error::other)?;
                let nanos = u32::try_from(ns % 1_000_000_000).map_err(io::Error::other)?;
                let mut head = [0; 16];
                head[..4].copy_from_slice(&second.to_le_bytes());
                head[4..8].copy_from_slice(&nanos.to_le_bytes());
                head[8..12].copy_from_slice(&captured.to_le_bytes());
                head[12..].copy_from_slice(&wire.to_le_bytes());
                self.out.write_all(&head)?;
                self.out.write_all(bytes)?;
                self.bytes += 16 + bytes.len() as u64;
            }
            Format::Pcapng => {
                let high = u32::try_from(ns >> 32).map_err(io::Error::other)?;
                let low = u32::try_from(ns & 0xFFFF_FFFF).map_err(io::Error::other)?;
                let mut body = Vec::with_capacity(24 + bytes.len());
                for word in [0, high, low, captured, wire] {
                    body.extend_from_slice(&word.to_le_bytes());
                }
                body.extend_from_slice(bytes);
                pad4(&mut body);
                let mut whole = Vec::with_capacity(body.len() + 12);
                block(&mut whole, 6, &body);
                self.out.write_all(&whole)?;
                self.bytes += whole.len() as u64;
            }
        }
        Ok(())
    }

    /// How long the file is by now.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Ends the file.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }
}

fn block(out: &mut Vec<u8>, kind: u32, body: &[u8]) {
    let length = u32::try_from(body.len() + 12).expect("blocks are one frame long");
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(body);
    out.extend_from_slice(&length.to_le_bytes());
}

fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    out.extend_from_slice(&code.to_le_bytes());
    out.extend_from_slice(&u16::try_from(value.len()).expect("short names").to_le_bytes());
    out.extend_from_slice(value);
    pad4(out);
}

fn pad4(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pcap_is_the_bytes_of_the_draft() {
        let mut writer = Writer::new(Vec::new(), Format::Pcap, "tap", 0).unwrap();
        writer.frame(1_000_000_005, b"abc", 60).unwrap();
        assert_eq!(writer.bytes(), 43);
        let bytes = writer.finish().unwrap();
        assert_eq!(bytes[..4], [0x4D, 0x3C, 0xB2, 0xA1]);
        assert_eq!(bytes[24..], [1, 0, 0, 0, 5, 0, 0, 0, 3, 0, 0, 0, 60, 0, 0, 0, b'a', b'b', b'c']);
    }

    #[test]
    fn pcapng_blocks_have_their_length_on_both_sides() {
        let mut writer = Writer::new(Vec::new(), Format::Pcapng, "tap", 64).unwrap();
        writer.frame(1_767_623_400_000_000_005, b"abc", 60).unwrap();
        let length = writer.bytes();
        let bytes = writer.finish().unwrap();
        assert_eq!(bytes.len() as u64, length);
        let mut at = 0;
        let mut kinds = Vec::new();
        while at < bytes.len() {
            let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
            let length = word(at + 4) as usize;
            kinds.push(word(at));
            assert_eq!(length % 4, 0);
            assert_eq!(word(at + length - 4) as usize, length);
            at += length;
        }
        assert_eq!(kinds, [0x0A0D_0D0A, 1, 6]);
    }
}
