//! gz, zst, xz and lz4 by their magic numbers, members one behind the other included.
//! RFC 1952 (gzip), RFC 8878 (Zstandard), the .xz file format 1.2, the LZ4 frame format 1.6.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::rc::Rc;
use std::sync::{Arc, PoisonError};

use flate2::bufread::MultiGzDecoder;
use liblzma::bufread::XzDecoder;

use super::recorded::{BrokenOff, Place, Recorded};

/// What the first bytes say about how the rest is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    Plain,
    Gzip,
    Zstd,
    Xz,
    Lz4,
}

impl Packing {
    /// From the first bytes; 6 are enough.
    pub(super) fn of(start: &[u8]) -> Packing {
        match start {
            [0x1f, 0x8b, 8, ..] => Packing::Gzip,
            // The second is a skippable frame; Zstandard and LZ4 share its numbers, pzstd begins with one.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Packing::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Packing::Xz,
            [0x04, 0x22, 0x4d, 0x18, ..] => Packing::Lz4,
            _ => Packing::Plain,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Packing::Plain => "input",
            Packing::Gzip => "gzip data",
            Packing::Zstd => "zstd data",
            Packing::Xz => "xz data",
            Packing::Lz4 => "lz4 data",
        }
    }
}

/// Raw bytes to be read by another thread: a file or standard input, with what was read of it already.
pub(super) struct Source {
    start: Vec<u8>,
    rest: Box<dyn Read + Send>,
    /// Of several files the one that is being read.
    place: Option<Place>,
}

impl Source {
    pub(super) fn new(rest: Box<dyn Read + Send>) -> Source {
        Source { start: Vec::new(), rest, place: None }
    }

    pub(super) fn of_recorded(recorded: Recorded) -> Source {
        let place = Some(Arc::clone(&recorded.place));
        Source { place, ..Source::new(Box::new(recorded)) }
    }

    /// The first bytes, read but not used up. Fewer than `count` where the input is shorter.
    pub(super) fn peek(&mut self, count: usize) -> io::Result<&[u8]> {
        while self.start.len() < count {
            let mut room = [0; 64];
            let want = (count - self.start.len()).min(room.len());
            match self.rest.read(room.get_mut(..want).unwrap_or(&mut [])) {
                Ok(0) => break,
                Ok(got) => self.start.extend_from_slice(room.get(..got).unwrap_or(&[])),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(&self.start)
    }
}

/// Counts what a decompressor takes.
struct Counted<R> {
    inner: R,
    count: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(room)?;
        self.count.set(self.count.get() + u64::try_from(got).unwrap_or(0));
        Ok(got)
    }
}

type Raw = BufReader<Counted<io::Chain<Cursor<Vec<u8>>, Box<dyn Read + Send>>>>;

enum Unpacker {
    Plain(Raw),
    Gzip(Box<MultiGzDecoder<Raw>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, Raw>>),
    Xz(Box<XzDecoder<Raw>>),
    /// `None` only after an error.
    Lz4(Option<lz4::Decoder<Raw>>),
}

/// The unpacked bytes.
pub(super) struct Inflater {
    packing: Packing,
    unpacker: Unpacker,
    consumed: Rc<Cell<u64>>,
    place: Option<Place>,
}

/// How much compressed input is read at once.
const INPUT: usize = 256 << 10;

/// A .xz stream may ask for a dictionary of 1.5 GiB; the presets end at 65 MiB.
const XZ_MEMORY: u64 = 256 << 20;

impl Inflater {
    pub(super) fn new(mut source: Source) -> io::Result<Inflater> {
        let packing = Packing::of(source.peek(6)?);
        let consumed = Rc::new(Cell::new(0));
        let chained = Cursor::new(source.start).chain(source.rest);
        let raw = BufReader::with_capacity(INPUT, Counted { inner: chained, count: Rc::clone(&consumed) });
        let unpacker = match packing {
            Packing::Plain => Unpacker::Plain(raw),
            Packing::Gzip => Unpacker::Gzip(Box::new(MultiGzDecoder::new(raw))),
            Packing::Zstd => Unpacker::Zstd(Box::new(zstd::stream::read::Decoder::with_buffer(raw)?)),
            Packing::Xz => {
                let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)?;
                Unpacker::Xz(Box::new(XzDecoder::new_stream(raw, stream)))
            }
            Packing::Lz4 => Unpacker::Lz4(Some(lz4::Decoder::new(raw)?)),
        };
        Ok(Inflater { packing, unpacker, consumed, place: source.place })
    }

    pub(super) fn is_plain(&self) -> bool {
        self.packing == Packing::Plain
    }

    /// Raw bytes taken so far, up to a read-ahead of [`INPUT`].
    pub(super) fn consumed(&self) -> u64 {
        self.consumed.get()
    }

    /// What the user reads when the data breaks off.
    pub(super) fn explain(&self, error: &io::Error) -> String {
        if let Some(broken) = error.get_ref().and_then(|inner| inner.downcast_ref::<BrokenOff>()) {
            return broken.to_string();
        }
        let name = self.packing.name();
        // What is read in one go may begin in the file before.
        let place = self.place.as_ref().map(|place| place.lock().unwrap_or_else(PoisonError::into_inner));
        let place =
            place.map_or(String::new(), |path| format!(", in {} or at the end of the one before", path.display()));
        if error.kind() == io::ErrorKind::UnexpectedEof {
            format!("the {name} is cut short after {} bytes{place}", self.consumed())
        } else if self.is_plain() {
            format!("{error}{place}")
        } else {
            format!("the {name} is corrupt near byte {}{place}: {error}", self.consumed())
        }
    }
}

impl Read for Inflater {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match &mut self.unpacker {
            Unpacker::Plain(raw) => raw.read(room),
            Unpacker::Gzip(gzip) => gzip.read(room),
            Unpacker::Zstd(zstd) => zstd.read(room),
            Unpacker::Xz(xz) => xz.read(room),
            Unpacker::Lz4(decoder) => read_lz4(decoder, room),
        }
    }
}

/// The decoder stops at the end of each frame; there may be another one behind it.
fn read_lz4(place: &mut Option<lz4::Decoder<Raw>>, room: &mut [u8]) -> io::Result<usize> {
    while let Some(mut decoder) = place.take() {
        let got = decoder.read(room)?;
        if got > 0 {
            *place = Some(decoder);
            return Ok(got);
        }
        let (mut raw, ended) = decoder.finish();
        ended.map_err(|_| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        if raw.fill_buf()?.is_empty() {
            break;
        }
        *place = Some(lz4::Decoder::new(raw)?);
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    type Packer = fn(&[u8]) -> Vec<u8>;

    fn packers() -> [(Packing, Packer); 4] {
        [
            (Packing::Gzip, |bytes| {
                let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                out.write_all(bytes).unwrap();
                out.finish().unwrap()
            }),
            (Packing::Zstd, |bytes| {
                let mut out = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
                out.include_checksum(true).unwrap();
                out.write_all(bytes).unwrap();
                out.finish().unwrap()
            }),
            (Packing::Xz, |bytes| {
                let mut out = liblzma::write::XzEncoder::new(Vec::new(), 1);
                out.write_all(bytes).unwrap();
                out.finish().unwrap()
            }),
            (Packing::Lz4, |bytes| {
                let mut out = lz4::EncoderBuilder::new().build(Vec::new()).unwrap();
                out.write_all(bytes).unwrap();
                let (out, ended) = out.finish();
                ended.unwrap();
                out
            }),
        ]
    }

    fn data() -> Vec<u8> {
        let mut state = 88_172_645_463_325_252_u64;
        let next = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40).to_le_bytes()
        };
        (0..200_000).flat_map(next).collect()
    }

    fn unpack(packed: Vec<u8>) -> (Vec<u8>, Option<String>) {
        let mut inflater = Inflater::new(Source::new(Box::new(Cursor::new(packed)))).unwrap();
        let mut out = Vec::new();
        let mut room = vec![0; 70_000];
        loop {
            match inflater.read(&mut room) {
                Ok(0) => return (out, None),
                Ok(got) => out.extend_from_slice(&room[..got]),
                Err(error) => return (out, Some(inflater.explain(&error))),
            }
        }
    }

    #[test]
    fn members_one_behind_the_other_are_one_input() {
        let data = data();
        for (packing, pack) in packers() {
            let packed = [pack(&data[..500_000]), pack(&[]), pack(&data[500_000..])].concat();
            assert_eq!(Packing::of(&packed), packing);
            let (out, trouble) = unpack(packed);
            assert_eq!(trouble, None, "{packing:?}");
            assert!(out == data, "{packing:?}");
        }
    }

    #[test]
    fn a_cut_gives_what_was_before_it_and_a_reason() {
        let data = data();
        for (packing, pack) in packers() {
            let mut packed = pack(&data);
            let whole = packed.len();
            packed.truncate(whole * 2 / 3);
            let (out, trouble) = unpack(packed);
            assert!(out.len() > data.len() / 4 && data.starts_with(&out), "{packing:?}: {}", out.len());
            let trouble = trouble.unwrap_or_default();
            assert!(trouble.contains("cut short after"), "{packing:?}: {trouble}");
        }
    }

    #[test]
    fn damage_is_found() {
        let data = data();
        for (packing, pack) in packers() {
            let mut packed = pack(&data);
            let middle = packed.len() / 2;
            for byte in &mut packed[middle..middle + 2000] {
                *byte ^= 0x5a;
            }
            let (_, trouble) = unpack(packed);
            let trouble = trouble.unwrap_or_default();
            assert!(trouble.contains("is corrupt near byte"), "{packing:?}: {trouble}");
        }
    }
}
