//! A folder with the files of a recording (`tickscope live --record`) as one capture: what `cat FOLDER/record-*` would give, which
//! pcapng and zstd both allow, but for files that break off. Taps go on from file to file, and it can be read more than once.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::error::SourceError;

/// What files of a recording are called; between the two stands the time of the first frame.
pub const PREFIX: &str = "record-";
pub const ENDING: &str = ".pcapng.zst";

/// Name and size of the files of a folder that are called so, in the order of their names.
pub fn files_called(folder: &Path, prefix: &str, ending: &str) -> io::Result<Vec<(String, u64)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(prefix) && name.ends_with(ending) {
            files.push((name, entry.metadata()?.len()));
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// Which file is being read, for whoever tells of an error in it.
pub(super) type Place = Arc<Mutex<PathBuf>>;

/// The bytes of all files, one behind the other.
pub(super) struct Recorded {
    waiting: VecDeque<PathBuf>,
    current: Option<Current>,
    /// Files that break off, and how much is left of each behind its last whole frame.
    broken: Vec<(PathBuf, usize)>,
    pub(super) place: Place,
    /// All files together.
    pub(super) size: u64,
}

/// Files of a recording that break off.
#[derive(Debug, thiserror::Error)]
#[error("recordings that break off: {0}")]
pub(super) struct BrokenOff(String);

/// A file on its way. What was written at once is a frame of zstd, so that half a frame, of a daemon that was killed, is of no use.
struct Current {
    file: File,
    path: PathBuf,
    bytes: Vec<u8>,
    /// What was handed over, and up to where frames are whole.
    from: usize,
    whole: usize,
}

/// So much is read at once, and no frame is longer than that: a recorder packs some megabytes at most.
const ROOM: usize = 256 << 10;
const FRAME_MAX: usize = 64 << 20;

impl Current {
    fn open(path: PathBuf) -> io::Result<Current> {
        Ok(Current { file: File::open(&path)?, path, bytes: Vec::new(), from: 0, whole: 0 })
    }

    /// Reads on to the end of a frame; false where there is none any more.
    fn fill(&mut self) -> io::Result<bool> {
        self.bytes.drain(..self.from);
        (self.whole, self.from) = (self.whole - self.from, 0);
        loop {
            let rest = self.bytes.get(self.whole..).unwrap_or(&[]);
            match zstd::zstd_safe::find_frame_compressed_size(rest) {
                Ok(length) if length > 0 && length <= rest.len() => self.whole += length,
                _ if self.whole > 0 => return Ok(true),
                _ if rest.len() > FRAME_MAX => return Ok(false),
                _ => {
                    let before = self.bytes.len();
                    self.bytes.resize(before + ROOM, 0);
                    let count = self.file.read(&mut self.bytes[before..])?;
                    self.bytes.truncate(before + count);
                    if count == 0 {
                        return Ok(false);
                    }
                }
            }
        }
    }
}

impl Recorded {
    /// The files that are there now.
    pub(super) fn open(folder: &Path) -> Result<Recorded, SourceError> {
        let failed = |cause| SourceError::Open { file: folder.to_owned(), cause };
        let files = files_called(folder, PREFIX, ENDING).map_err(failed)?;
        if files.is_empty() {
            let what = format!("this is a folder without files of a recording ({PREFIX}*{ENDING})");
            return Err(SourceError::NotACapture { file: folder.to_owned(), what });
        }
        let size = files.iter().map(|(_, bytes)| bytes).sum();
        let waiting = files.iter().map(|(name, _)| folder.join(name)).collect();
        let place = Arc::new(Mutex::new(folder.to_owned()));
        Ok(Recorded { waiting, current: None, broken: Vec::new(), place, size })
    }

    /// What is said at the end, when all others were read.
    fn end(&mut self) -> io::Result<usize> {
        if self.broken.is_empty() {
            return Ok(0);
        }
        let name =
            |(path, bytes): &(PathBuf, usize)| format!("{} (its last {bytes} bytes are of no use)", path.display());
        let names: Vec<String> = self.broken.drain(..).map(|file| name(&file)).collect();
        Err(io::Error::other(BrokenOff(names.join(", "))))
    }
}

impl Read for Recorded {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(current) = &mut self.current {
                if current.from < current.whole || current.fill()? {
                    let count = room.len().min(current.whole - current.from);
                    room[..count].copy_from_slice(&current.bytes[current.from..current.from + count]);
                    current.from += count;
                    return Ok(count);
                }
                if !current.bytes.is_empty() {
                    self.broken.push((std::mem::take(&mut current.path), current.bytes.len()));
                }
                self.current = None;
            }
            let Some(path) = self.waiting.pop_front() else { return self.end() };
            self.place.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&path);
            self.current = Some(Current::open(path)?);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::open;
    use super::*;

    /// A section with one interface and a packet of this many milliseconds, as pcapng's specification draws them; packed.
    fn file(name: &str, times: &[u64]) -> Vec<u8> {
        let block = |kind: u32, body: &[u8]| {
            let body = [body, &vec![0; body.len().next_multiple_of(4) - body.len()]].concat();
            let length = u32::try_from(body.len() + 12).unwrap().to_le_bytes();
            [&kind.to_le_bytes()[..], &length, &body, &length].concat()
        };
        let mut all = block(0x0A0D_0D0A, &[&[0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0][..], &[0xff; 8]].concat());
        let name = [&[2, 0, u8::try_from(name.len()).unwrap(), 0], name.as_bytes()].concat();
        // Link type 1, no limit, if_name, if_tsresol 3, the end of the options.
        let named = [name.clone(), vec![0; name.len().next_multiple_of(4) - name.len()]].concat();
        all.extend(block(1, &[&[1, 0, 0, 0, 0, 0, 0, 0][..], &named, &[9, 0, 1, 0, 3, 0, 0, 0], &[0; 4]].concat()));
        for time in times {
            let halves = [*time >> 32, *time & 0xffff_ffff].map(|half| u32::try_from(half).unwrap().to_le_bytes());
            all.extend(block(
                6,
                &[&[0; 4], &halves[0][..], &halves[1], &[60, 0, 0, 0, 60, 0, 0, 0], &[7; 60]].concat(),
            ));
        }
        let mut packer = zstd::bulk::Compressor::new(1).unwrap();
        packer.include_checksum(true).unwrap();
        packer.compress(&all).unwrap()
    }

    fn times(path: &Path) -> (Vec<u64>, usize, Option<String>) {
        let mut capture = open(path).unwrap();
        let mut times = Vec::new();
        while capture.advance() {
            times.push(capture.time().unwrap().0 / 1_000_000);
        }
        (times, capture.interfaces().len(), capture.cut().map(ToString::to_string))
    }

    #[test]
    fn a_folder_is_its_recordings_in_the_order_of_their_names() {
        let folder = std::env::temp_dir().join(format!("tickscope-recorded-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let path = |name: &str| folder.join(name);
        let nothing = open(&folder).err().expect("nothing there").to_string();
        assert!(nothing.contains("without files of a recording (record-*.pcapng.zst)"), "{nothing}");
        fs::write(path("record-20260105T143001.000000000Z.pcapng.zst"), file("md", &[30, 40])).unwrap();
        fs::write(path("record-20260105T143000.000000000Z.pcapng.zst"), file("md", &[10, 20])).unwrap();
        fs::write(path("flight-20260105T143000.000000000Z.pcapng"), b"another").unwrap();
        assert_eq!(times(&folder), (vec![10, 20, 30, 40], 2, None));
        assert_eq!(times(&folder).0.len(), 4, "once more");
        let bytes = |name: &str| fs::read(path(name)).unwrap().len() as u64;
        let size = bytes("record-20260105T143000.000000000Z.pcapng.zst")
            + bytes("record-20260105T143001.000000000Z.pcapng.zst");
        assert_eq!(open(&folder).unwrap().size(), Some(size));

        // A daemon that was killed, and what the next one recorded.
        let broken = [file("md", &[50]), file("md", &[60])].concat();
        fs::write(path("record-20260105T143002.000000000Z.pcapng.zst"), &broken[..broken.len() - 5]).unwrap();
        fs::write(path("record-20260105T143003.000000000Z.pcapng.zst"), file("md", &[70])).unwrap();
        let (read, _, cut) = times(&folder);
        assert_eq!(read, [10, 20, 30, 40, 50, 70]);
        let left = file("md", &[60]).len() - 5;
        let text = format!("record-20260105T143002.000000000Z.pcapng.zst (its last {left} bytes are of no use)");
        assert!(cut.as_ref().is_some_and(|cut| cut.contains(&text)), "{cut:?}");

        // What is whole and wrong ends the capture.
        let mut wrong = file("md", &[55]);
        wrong[30] ^= 0x55;
        fs::write(path("record-20260105T143002.000000000Z.pcapng.zst"), &wrong).unwrap();
        let (read, _, cut) = times(&folder);
        assert_eq!(read[..4], [10, 20, 30, 40]);
        assert!(cut.as_ref().is_some_and(|cut| cut.contains("record-20260105T143002")), "{cut:?}");
        fs::remove_dir_all(folder).unwrap();
    }
}
