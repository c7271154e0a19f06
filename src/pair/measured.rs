//! The latencies of one request.

use std::iter;

use tickscope_model::{Nanos, SegmentKind};

/// A latency for each segment that was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    values: [Nanos; SegmentKind::ALL.len()],
    /// A bit for each that is known, by [`SegmentKind::index`].
    known: u32,
}
const _: () = assert!(SegmentKind::ALL.len() <= 32);

impl Measured {
    #[inline]
    pub fn get(&self, kind: SegmentKind) -> Option<Nanos> {
        if self.known >> kind.index() & 1 == 0 {
            return None;
        }
        self.values.get(kind.index()).copied()
    }

    #[inline]
    pub fn set(&mut self, kind: SegmentKind, latency: Nanos) {
        if let Some(value) = self.values.get_mut(kind.index()) {
            *value = latency;
            self.known |= 1 << kind.index();
        }
    }

    /// Keeps the smaller one where there is one already.
    pub fn set_least(&mut self, kind: SegmentKind, latency: Nanos) {
        self.set(kind, self.get(kind).map_or(latency, |earlier| earlier.min(latency)));
    }

    pub fn forget(&mut self, kind: SegmentKind) {
        self.set(kind, Nanos(0));
        self.known &= !(1 << kind.index());
    }

    /// In table order.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = (SegmentKind, Nanos)> + '_ {
        let mut rest = self.known;
        iter::from_fn(move || {
            let at = rest.trailing_zeros() as usize;
            let (kind, value) = (SegmentKind::ALL.get(at)?, self.values.get(at)?);
            rest &= rest - 1;
            Some((*kind, *value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_there_in_table_order_until_it_is_forgotten() {
        let mut measured = Measured::default();
        assert_eq!(measured.iter().count(), 0);
        for (value, kind) in (0..).zip(SegmentKind::ALL.into_iter().rev()) {
            measured.set(kind, Nanos(value - 5));
        }
        assert!(measured.iter().map(|(kind, _)| kind).eq(SegmentKind::ALL));
        assert_eq!(measured.get(SegmentKind::GatewayOut), Some(Nanos(-5)));
        measured.set_least(SegmentKind::GatewayOut, Nanos(3));
        measured.forget(SegmentKind::Hop);
        assert_eq!((measured.get(SegmentKind::GatewayOut), measured.get(SegmentKind::Hop)), (Some(Nanos(-5)), None));
        assert_eq!(measured.iter().count(), SegmentKind::ALL.len() - 1);
        let mut other = Measured::default();
        other.set_least(SegmentKind::Ack, Nanos(7));
        other.forget(SegmentKind::Ack);
        assert_eq!(other, Measured::default());
    }
}
