//! Files written in large pieces, each at a multiple of its size. The system then keeps the file in memory in large pieces
//! as well (on Linux in pages of 2 MiB), and every program that reads it soon after is faster; see `benches/README.md`.

use std::io::{self, Write};

/// Size of a piece; a multiple of the largest pages in which files are kept.
const PIECE: usize = 4 << 20;

/// See the head of this file. What is left is written by [`Write::flush`], which comes last; where a run breaks off, when it
/// is dropped.
pub(crate) struct InPieces<W: Write> {
    out: W,
    waiting: Vec<u8>,
}

impl<W: Write> InPieces<W> {
    pub(crate) fn new(out: W) -> InPieces<W> {
        InPieces { out, waiting: Vec::with_capacity(PIECE) }
    }

    /// What could not be written is not tried again: part of it may have been.
    fn write_waiting(&mut self) -> io::Result<()> {
        let written = self.out.write_all(&self.waiting);
        self.waiting.clear();
        written
    }
}

impl<W: Write> Drop for InPieces<W> {
    fn drop(&mut self) {
        // Who wants to know of errors flushes before.
        let _ = self.flush();
    }
}

impl<W: Write> Write for InPieces<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = PIECE - self.waiting.len();
        let taken = bytes.get(..room).unwrap_or(bytes);
        self.waiting.extend_from_slice(taken);
        if self.waiting.len() == PIECE {
            self.write_waiting()?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_waiting()?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Remembers how long each write was.
    #[derive(Default)]
    struct Writes(Vec<usize>, Vec<u8>);

    impl Write for &mut Writes {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.push(bytes.len());
            self.1.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn everything_is_written_in_whole_pieces_and_a_rest() {
        let bytes: Vec<u8> = (0..PIECE + PIECE / 2).map(|at| u8::try_from(at % 251).expect("small")).collect();
        let mut writes = Writes::default();
        let mut out = InPieces::new(&mut writes);
        for part in bytes.chunks(999_983) {
            out.write_all(part).expect("memory");
        }
        out.flush().expect("memory");
        drop(out);
        assert_eq!(writes.0, [PIECE, PIECE / 2]);
        assert!(writes.1 == bytes);
    }
}
