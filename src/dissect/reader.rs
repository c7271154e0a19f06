//! The front of what is left of a frame: bytes that were captured, and how many more were on the wire.

use tickscope_model::Loss;

/// A slice that knows how much the capture cut off behind it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    pub(super) bytes: &'a [u8],
    /// Bytes that followed on the wire and were not captured.
    pub(super) beyond: usize,
}

impl<'a> Reader<'a> {
    /// Takes a header of fixed length off the front.
    #[inline]
    pub(super) fn take<const N: usize>(&mut self) -> Result<&'a [u8; N], Loss> {
        let Some((head, rest)) = self.bytes.split_first_chunk::<N>() else { return Err(self.too_short(N)) };
        self.bytes = rest;
        Ok(head)
    }

    /// Steps over `count` bytes.
    #[inline]
    pub(super) fn skip(&mut self, count: usize) -> Result<(), Loss> {
        let Some((_, rest)) = self.bytes.split_at_checked(count) else { return Err(self.too_short(count)) };
        self.bytes = rest;
        Ok(())
    }

    /// The length on the wire of what is left.
    pub(super) fn wire(&self) -> usize {
        self.bytes.len().saturating_add(self.beyond)
    }

    /// A header says that `length` bytes follow it. More than that is padding, check sequence or trailer; less means
    /// that somebody cut the frame, the capture or a packet broker in front of it.
    #[inline]
    pub(super) fn limit(&mut self, length: usize) {
        match self.bytes.split_at_checked(length) {
            Some((inside, _)) => *self = Reader { bytes: inside, beyond: 0 },
            None => self.beyond = length - self.bytes.len(),
        }
    }

    /// Why `needed` bytes are not there.
    #[cold]
    pub(super) fn too_short(&self, needed: usize) -> Loss {
        if needed <= self.wire() { Loss::FrameCut } else { Loss::FrameMalformed }
    }
}
