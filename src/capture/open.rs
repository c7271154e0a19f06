//! From a path to a capture: is it a file or a pipe, is it packed, is it a capture at all.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use super::bytes::{Bytes, Origin};
use super::error::SourceError;
use super::file::CaptureFile;
use super::inflate::{Packing, Source};
use super::map::Mapping;
use super::recorded::Recorded;
use super::stream::Stream;
use super::{pcap, pcapng};

/// How many bytes a decompressing thread hands over at once where there are few files.
pub(super) const BLOCK: usize = 1 << 20;

/// Opens a capture; `-` is standard input, and a folder the recording in it.
pub fn open(path: &Path) -> Result<CaptureFile, SourceError> {
    open_with(path, BLOCK)
}

/// A capture in memory, under a name.
pub(super) fn open_bytes(name: &Path, bytes: Vec<u8>) -> Result<CaptureFile, SourceError> {
    streamed(name, Source::new(Box::new(io::Cursor::new(bytes))), None, BLOCK)
}

/// The same with smaller blocks, where many files are open at once.
pub(super) fn open_with(path: &Path, block_bytes: usize) -> Result<CaptureFile, SourceError> {
    let failed = |cause: io::Error| SourceError::Open { file: path.to_owned(), cause };
    if path == Path::new("-") {
        let mut source = Source::new(Box::new(io::stdin()));
        let start = source.peek(PEEK).map_err(failed)?;
        refuse_other_files(path, start)?;
        return streamed(path, source, None, block_bytes);
    }
    let mut file = File::open(path).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    if about.is_dir() {
        let recorded = Recorded::open(path)?;
        let size = Some(recorded.size);
        return streamed(path, Source::of_recorded(recorded), size, block_bytes);
    }
    if !about.is_file() {
        // A named pipe or device: no length, and what was read of it is gone.
        let mut source = Source::new(Box::new(file));
        let start = source.peek(PEEK).map_err(failed)?;
        refuse_other_files(path, start)?;
        return streamed(path, source, None, block_bytes);
    }
    let mut start = Vec::new();
    file.by_ref().take(u64::try_from(PEEK).unwrap_or(0)).read_to_end(&mut start).map_err(failed)?;
    refuse_other_files(path, &start)?;
    io::Seek::rewind(&mut file).map_err(failed)?;
    let size = Some(about.len());
    if Packing::of(&start) == Packing::Plain
        && let Ok(length) = usize::try_from(about.len())
        && let Ok(clone) = file.try_clone()
        && let Ok(mapping) = Mapping::new(clone, length)
    {
        return CaptureFile::new(path, Bytes::new(Origin::Mapped(Arc::new(mapping))), size);
    }
    streamed(path, Source::new(Box::new(file)), size, block_bytes)
}

fn streamed(path: &Path, mut source: Source, size: Option<u64>, block: usize) -> Result<CaptureFile, SourceError> {
    let failed = |cause: io::Error| SourceError::Open { file: path.to_owned(), cause };
    let packed = Packing::of(source.peek(PEEK).map_err(failed)?) != Packing::Plain;
    let stream = Stream::start(source, block).map_err(failed)?;
    let mut bytes = Bytes::new(Origin::Streamed(stream));
    if packed {
        // What is inside may be anything, too.
        bytes.need(PEEK);
        if bytes.rest().len() < 4
            && let Some(trouble) = bytes.trouble()
        {
            let reason = trouble.to_owned();
            return Err(SourceError::Broken { file: path.to_owned(), offset: 0, reason });
        }
        let inside = bytes.rest().get(..PEEK.min(bytes.rest().len())).unwrap_or(&[]);
        if let Some(what) = other_than_capture(inside) {
            let what = format!("after unpacking, {what}");
            return Err(SourceError::NotACapture { file: path.to_owned(), what });
        }
    }
    CaptureFile::new(path, bytes, size)
}

/// Enough to recognise what people pass by mistake.
const PEEK: usize = 16;

fn refuse_other_files(path: &Path, start: &[u8]) -> Result<(), SourceError> {
    if Packing::of(start) != Packing::Plain {
        return Ok(());
    }
    match other_than_capture(start) {
        None => Ok(()),
        Some(what) => Err(SourceError::NotACapture { file: path.to_owned(), what: what.to_owned() }),
    }
}

/// What it is, where it is no capture; `None` for one.
fn other_than_capture(start: &[u8]) -> Option<&'static str> {
    if pcap::is_pcap(start) || start.starts_with(&pcapng::SECTION.to_be_bytes()) {
        return None;
    }
    Some(match start {
        [] => "this is empty",
        [0xac | 0xab, 0x01, 0x1c, 0, ..] | [0, 0x1c, 0x01, 0xac | 0xab, ..] => "this is an Ixia lcap file",
        [b's', b'n', b'o', b'o', b'p', 0, ..] => "this is a Solaris snoop file (editcap -F pcapng turns it into one)",
        [b'G', b'M', b'B', b'U', ..] | [b'R', b'T', b'S', b'S', ..] => "this is a Microsoft Network Monitor file",
        [b'B', b'Z', b'h', ..] => "this is packed by bzip2, unpack it first",
        [b'P', b'K', 3, 4, ..] => "this is a zip archive, unpack it first",
        [b'7', b'z', 0xbc, 0xaf, ..] => "this is a 7z archive, unpack it first",
        [b'R', b'a', b'r', b'!', ..] => "this is a rar archive, unpack it first",
        [0x1f, 0x9d | 0xa0, ..] => "this is packed by compress, unpack it first",
        [0x7f, b'E', b'L', b'F', ..] => "this is a program",
        [b'P', b'A', b'R', b'1', ..] => "this is a Parquet file",
        [b'%', b'P', b'D', b'F', ..] => "this is a PDF document",
        [b'S', b'Q', b'L', b'i', ..] => "this is an SQLite database",
        [b'{' | b'[', ..] => "this looks like JSON",
        [b'<', ..] => "this looks like XML or HTML",
        text if text.iter().all(|&byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) => "this is text",
        zeros if zeros.iter().all(|&byte| byte == 0) => "this begins with zeros",
        _ => "the first bytes are of no kind that is known",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_another_kind_is_named() {
        for (start, what) in [
            (&b""[..], "this is empty"),
            (b"snoop\0\0\0\0\0\0\x02", "this is a Solaris snoop file (editcap -F pcapng turns it into one)"),
            (b"BZh91AY&SY", "this is packed by bzip2, unpack it first"),
            (b"t_ns,price\n1,2", "this is text"),
            (b"{\"a\":1}", "this looks like JSON"),
            (&[0; 16], "this begins with zeros"),
            (&[6, 0, 0, 0, 0xa0, 0, 0, 0], "the first bytes are of no kind that is known"),
        ] {
            assert_eq!(other_than_capture(start), Some(what));
        }
        assert_eq!(other_than_capture(&[0xd4, 0xc3, 0xb2, 0xa1]), None);
        assert_eq!(other_than_capture(&[0x0a, 0x0d, 0x0d, 0x0a]), None);
    }
}
