//! The recent market-data messages of every symbol, for the question "which was the newest before this order?".
//! All ticks of a run lie in one ring in the order of arrival; those of a symbol are chained from newest to oldest,
//! so adding one is two writes and a look-up is a walk of a few steps. Nothing is hashed and nothing allocated.

use tickscope_model::{MarketKind, SymbolId, Timestamp};

/// How many ticks are remembered over all symbols; 32 bytes each.
const RING: u32 = 1 << 20;
/// A step back in time of the capture is put in its place if it is at most this many ticks of the symbol long.
const REORDER_STEPS: usize = 64;

/// One remembered message.
#[derive(Clone, Copy, Debug)]
pub struct Tick {
    pub time: Timestamp,
    pub sequence: u64,
    /// Frame number in the tap that the line belongs to.
    frame: u32,
    /// Number of the tick before on the same symbol.
    before: u32,
    line: u16,
    pub code: u8,
    kind: u8,
}

impl Tick {
    /// Which line brought it, see [`super::Feeds`].
    pub fn line(&self) -> u16 {
        self.line
    }

    pub fn kind(&self) -> MarketKind {
        match self.kind {
            0 => MarketKind::Trade,
            1 => MarketKind::Quote,
            2 => MarketKind::Book,
            3 => MarketKind::Auction,
            _ => MarketKind::Status,
        }
    }

    /// The full frame number: the ring keeps 32 bits, `now` is a later frame of the same tap.
    pub fn frame(&self, now: u64) -> u64 {
        let behind = u64::from(u32::try_from(now & 0xFFFF_FFFF).expect("masked").wrapping_sub(self.frame));
        now.saturating_sub(behind)
    }
}

/// The ticks of one run; heads are kept by observation point and symbol.
#[derive(Default)]
pub struct Ticks {
    ring: Vec<Tick>,
    /// Ticks added so far, modulo 2^32; the tick with number `n` lies at `n % RING`. Number 0 is never given.
    count: u32,
    heads: Vec<Vec<u32>>,
    /// The latest time so far: as long as time goes forward, no older tick needs to be looked at.
    latest: Timestamp,
}

impl Ticks {
    /// Remembers a message.
    #[inline]
    pub fn push(
        &mut self,
        point: u16,
        symbol: SymbolId,
        seen: (Timestamp, u64, u16),
        sequence: u64,
        kind: MarketKind,
        code: u8,
    ) {
        let (time, frame, line) = seen;
        self.count = self.count.wrapping_add(1);
        if self.count == 0 {
            // Numbers start anew every 2^32 ticks; chains that would reach across are cut.
            self.heads.iter_mut().for_each(Vec::clear);
            self.count = 1;
        }
        let number = self.count;
        let at = (number % RING) as usize;
        let head = self.head(point, symbol);
        let before = std::mem::replace(head, number);
        let tick = Tick {
            time,
            sequence,
            frame: u32::try_from(frame & 0xFFFF_FFFF).expect("masked to 32 bits"),
            before,
            line,
            code,
            kind: kind as u8,
        };
        match self.ring.get_mut(at) {
            Some(slot) => *slot = tick,
            None => self.grow(tick),
        }
        if time < self.latest {
            self.sink(point, symbol, number);
        }
        self.latest = self.latest.max(time);
    }

    #[cold]
    fn grow(&mut self, tick: Tick) {
        if self.ring.is_empty() {
            self.ring.reserve_exact(RING as usize);
            // Slot 0 belongs to number 0, which does not exist until the ring is full.
            self.ring.push(Tick { time: Timestamp::MIN, ..tick });
        }
        self.ring.push(tick);
    }

    #[inline]
    fn head(&mut self, point: u16, symbol: SymbolId) -> &mut u32 {
        let (point, symbol) = (usize::from(point), symbol.0 as usize);
        if self.heads.len() <= point {
            self.heads.resize_with(point + 1, Vec::new);
        }
        let heads = &mut self.heads[point];
        if heads.len() <= symbol {
            heads.resize((symbol + 1).next_power_of_two(), 0);
        }
        &mut heads[symbol]
    }

    /// The tick with this number, unless it has been overwritten.
    #[inline]
    fn get(&self, number: u32) -> Option<&Tick> {
        if number == 0 || self.count.wrapping_sub(number) >= RING - 1 {
            return None;
        }
        self.ring.get((number % RING) as usize)
    }

    /// The capture stepped back in time: the newest tick moves down its chain to where its time belongs.
    #[cold]
    fn sink(&mut self, point: u16, symbol: SymbolId, number: u32) {
        let Some(&tick) = self.get(number) else { return };
        let mut above = tick.before;
        if self.get(above).is_none_or(|previous| previous.time <= tick.time) {
            return;
        }
        for _ in 0..REORDER_STEPS {
            let Some(&upper) = self.get(above) else { return };
            match self.get(upper.before) {
                Some(lower) if lower.time > tick.time => above = upper.before,
                _ => break,
            }
        }
        *self.head(point, symbol) = tick.before;
        let Some(upper) = self.ring.get_mut((above % RING) as usize) else { return };
        let below = std::mem::replace(&mut upper.before, number);
        if let Some(moved) = self.ring.get_mut((number % RING) as usize) {
            moved.before = below;
        }
    }

    /// The ticks of a symbol at a point from newest to oldest. Ends with `Err(())` where older ones have been overwritten.
    pub fn newest_first(&self, point: u16, symbol: SymbolId) -> Walk<'_> {
        let head = self.heads.get(usize::from(point)).and_then(|heads| heads.get(symbol.0 as usize)).copied();
        Walk { ticks: self, number: head.unwrap_or(0) }
    }

    /// Whether any market data was seen at this point.
    pub fn has_point(&self, point: u16) -> bool {
        self.heads.get(usize::from(point)).is_some_and(|heads| !heads.is_empty())
    }

    /// How many ticks were added since `count` was the number; for deciding when a look-up must not wait any longer.
    pub fn added_since(&self, count: u32) -> u32 {
        self.count.wrapping_sub(count)
    }

    pub fn count(&self) -> u32 {
        self.count
    }

    /// A look-up may wait until this many ticks have been added.
    pub const PATIENCE: u32 = RING / 2;
}

/// See [`Ticks::newest_first`].
pub struct Walk<'a> {
    ticks: &'a Ticks,
    number: u32,
}

/// What lies at the end of a chain: the ring no longer has older ticks of this symbol.
#[derive(Debug, PartialEq, Eq)]
pub struct Evicted;

impl Iterator for Walk<'_> {
    type Item = Result<Tick, Evicted>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.number == 0 {
            return None;
        }
        let Some(&tick) = self.ticks.get(self.number) else {
            self.number = 0;
            return Some(Err(Evicted));
        };
        self.number = tick.before;
        Some(Ok(tick))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(ticks: &Ticks, symbol: u32) -> Vec<u64> {
        ticks.newest_first(0, SymbolId(symbol)).filter_map(|tick| tick.ok().map(|tick| tick.time.0)).collect()
    }

    fn push(ticks: &mut Ticks, symbol: u32, time: u64) {
        ticks.push(0, SymbolId(symbol), (Timestamp(time), time, 0), time, MarketKind::Trade, b'P');
    }

    #[test]
    fn a_symbol_gives_its_ticks_newest_first_also_where_the_capture_stepped_back() {
        let mut ticks = Ticks::default();
        for time in [10, 20, 40, 30, 50, 15] {
            push(&mut ticks, 7, time);
            push(&mut ticks, 8, 100 + time);
        }
        assert_eq!(times(&ticks, 7), [50, 40, 30, 20, 15, 10]);
        assert_eq!(times(&ticks, 8), [150, 140, 130, 120, 115, 110]);
        assert_eq!(times(&ticks, 9), [0; 0]);
    }

    #[test]
    fn the_ring_says_where_it_has_forgotten() {
        let mut ticks = Ticks::default();
        push(&mut ticks, 1, 1);
        for time in 0..u64::from(RING) + 10 {
            push(&mut ticks, 2, time);
        }
        let mut walk = ticks.newest_first(0, SymbolId(1));
        assert!(matches!(walk.next(), Some(Err(Evicted))));
        assert!(walk.next().is_none());
        assert_eq!(times(&ticks, 2).first(), Some(&(u64::from(RING) + 9)));
    }
}
