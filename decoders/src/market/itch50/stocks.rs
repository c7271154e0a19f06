//! Which stock each locate code stands for on one flow. At most 65,536 entries, since the code has 16 bits; in pages, so that a
//! flow with few of them, such as garbage that looks like a directory, takes little room.

use tickscope_model::SymbolId;

const PAGE: usize = 256;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct KnownStock {
    /// [`super::Stock::key`]; 0 where nothing is known.
    pub key: u64,
    pub symbol: SymbolId,
}

/// See the head of this file.
#[derive(Default)]
pub(super) struct Stocks {
    pages: Vec<Option<Box<[KnownStock; PAGE]>>>,
}

impl Stocks {
    #[inline]
    pub(super) fn get(&self, locate: u16) -> Option<KnownStock> {
        let (page, at) = (usize::from(locate) / PAGE, usize::from(locate) % PAGE);
        self.pages.get(page)?.as_deref()?.get(at).copied()
    }

    /// Puts in what a code stands for, and returns what it stood for before.
    pub(super) fn replace(&mut self, locate: u16, stock: KnownStock) -> KnownStock {
        let (page, at) = (usize::from(locate) / PAGE, usize::from(locate) % PAGE);
        if self.pages.len() <= page {
            self.pages.resize_with(page + 1, || None);
        }
        let page = self.pages.get_mut(page).expect("just made");
        let page = page.get_or_insert_with(|| Box::new([KnownStock::default(); PAGE]));
        page.get_mut(at).map_or(stock, |slot| std::mem::replace(slot, stock))
    }

    /// All of them, by code.
    pub(super) fn all(&self) -> Vec<KnownStock> {
        let unknown = [KnownStock::default(); PAGE];
        self.pages.iter().flat_map(|page| page.as_deref().copied().unwrap_or(unknown)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_far_code_takes_one_page_and_all_are_found_where_they_were_put() {
        let stock = |key: u64| KnownStock { key, symbol: SymbolId(u32::try_from(key).expect("small")) };
        let mut stocks = Stocks::default();
        assert_eq!((stocks.get(0), stocks.all().len()), (None, 0));
        assert_eq!(stocks.replace(65_535, stock(7)), KnownStock::default());
        assert_eq!(stocks.pages.iter().flatten().count(), 1);
        assert_eq!(stocks.replace(65_535, stock(8)), stock(7));
        stocks.replace(256, stock(1));
        assert_eq!((stocks.get(65_535), stocks.get(256)), (Some(stock(8)), Some(stock(1))));
        assert_eq!((stocks.get(255), stocks.get(257)), (None, Some(KnownStock::default())));
        let all = stocks.all();
        let at = |locate: usize| all.get(locate).copied();
        assert_eq!((all.len(), at(256), at(65_535)), (65_536, Some(stock(1)), Some(stock(8))));
        assert_eq!(at(0), Some(KnownStock::default()));
    }
}
