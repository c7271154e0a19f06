//! What the mutator begins with: the captures that ship, and the foreign ones where they are at hand.

use std::path::{Path, PathBuf};

use tickscope::capture::open;
use tickscope::dissect::{Transport, dissect};
use tickscope_model::TapId;

/// Larger captures are cut to this.
const FILE_LIMIT: usize = 96 << 10;
/// Frames of one capture; more of the same teaches nothing.
const FRAMES: usize = 60;

/// Seeds by what they are.
#[derive(Default)]
pub(crate) struct Seeds {
    pub(crate) files: Vec<Vec<u8>>,
    /// Whole frames, behind a byte that chooses the link type.
    pub(crate) frames: Vec<Vec<u8>>,
    pub(crate) datagrams: Vec<Vec<u8>>,
    /// Payloads of TCP, several segments together.
    pub(crate) streams: Vec<Vec<u8>>,
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
        if path.is_dir() && !path.ends_with("expected") { walk(&path, found) } else { found.push(path) }
    }
}

pub(crate) fn read() -> Seeds {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let foreign = std::env::var_os("TICKSCOPE_CAPTURES").map_or_else(|| root.join("../shared/captures"), PathBuf::from);
    let mut paths = Vec::new();
    walk(&root.join("captures"), &mut paths);
    walk(&foreign, &mut paths);
    paths.sort();
    let mut seeds = Seeds::default();
    for path in paths.iter().filter(|path| path.is_file()) {
        let Ok(mut bytes) = std::fs::read(path) else { continue };
        bytes.truncate(FILE_LIMIT);
        seeds.files.push(bytes);
        frames_of(path, &mut seeds);
    }
    seeds
}

fn frames_of(path: &Path, seeds: &mut Seeds) {
    let Ok(mut file) = open(path) else { return };
    let mut stream = Vec::new();
    let mut taken = 0;
    while taken < FRAMES && file.advance() {
        taken += 1;
        let frame = file.frame(TapId(0));
        let mut bytes = vec![crate::targets::link_byte(frame.link)];
        bytes.extend(frame.bytes);
        seeds.frames.push(bytes);
        match dissect(&frame).map(|packet| packet.transport) {
            Ok(Transport::Udp { payload }) => seeds.datagrams.push(payload.to_vec()),
            Ok(Transport::Tcp { payload, .. }) => stream.extend(payload),
            Err(_) => {}
        }
    }
    if !stream.is_empty() {
        seeds.streams.push(stream);
    }
}
