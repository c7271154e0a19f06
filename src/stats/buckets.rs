//! Counts by bucket for a histogram: a sorted list while few buckets were hit (10 bytes each, so that every symbol can have
//! one), pages of a thousand once they are many (one addition to count, whatever was counted before).

/// A list with more entries than this becomes pages.
const LONGEST_LIST: usize = 256;
/// Buckets in a page.
const PAGE: usize = 1024;

/// Counts by bucket number.
#[derive(Clone, Debug)]
pub(super) enum Buckets {
    /// Those that were hit, ascending; the counts run beside them.
    List(Vec<u16>, Vec<u64>),
    /// Pages that were hit, by the upper bits of the number.
    Pages(Vec<Option<Box<[u64; PAGE]>>>),
}

impl Default for Buckets {
    fn default() -> Self {
        Buckets::List(Vec::new(), Vec::new())
    }
}

impl Buckets {
    #[inline]
    pub(super) fn add(&mut self, number: u16, count: u64) {
        match self {
            Buckets::Pages(pages) => {
                let (page, place) = (usize::from(number) / PAGE, usize::from(number) % PAGE);
                if pages.len() <= page {
                    pages.resize(page + 1, None);
                }
                pages[page].get_or_insert_with(|| Box::new([0; PAGE]))[place] += count;
            }
            Buckets::List(numbers, counts) => match numbers.binary_search(&number) {
                Ok(at) => counts[at] += count,
                Err(at) => {
                    numbers.insert(at, number);
                    counts.insert(at, count);
                    if numbers.len() > LONGEST_LIST {
                        self.spread();
                    }
                }
            },
        }
    }

    #[cold]
    fn spread(&mut self) {
        let list = std::mem::replace(self, Buckets::Pages(Vec::new()));
        for (number, count) in list.iter() {
            self.add(number, count);
        }
    }

    /// Those that were hit, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u16, u64)> + '_ {
        let (list, pages): (&[u16], &[Option<Box<[u64; PAGE]>>]) = match self {
            Buckets::List(numbers, _) => (numbers, &[]),
            Buckets::Pages(pages) => (&[], pages),
        };
        let counts: &[u64] = if let Buckets::List(_, counts) = self { counts } else { &[] };
        let of_list = list.iter().copied().zip(counts.iter().copied());
        let of_pages = pages.iter().enumerate().filter_map(|(page, counts)| Some((page, counts.as_ref()?))).flat_map(
            |(page, counts)| {
                let number = move |place: usize| u16::try_from(page * PAGE + place).ok();
                let is_hit = |&(_, &count): &(usize, &u64)| count > 0;
                counts.iter().enumerate().filter(is_hit).filter_map(move |(place, &count)| Some((number(place)?, count)))
            },
        );
        of_list.chain(of_pages)
    }
}

/// Whichever form they have.
impl PartialEq for Buckets {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Buckets {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn both_forms_count_like_a_map(numbers in prop::collection::vec(0..56_320_u16, 0..2 * LONGEST_LIST)) {
            let mut buckets = Buckets::default();
            let mut expected: BTreeMap<u16, u64> = BTreeMap::new();
            for &number in numbers.iter().chain(numbers.iter().take(9)) {
                buckets.add(number, 3);
                *expected.entry(number).or_default() += 3;
            }
            prop_assert_eq!(matches!(buckets, Buckets::Pages(_)), expected.len() > LONGEST_LIST);
            prop_assert_eq!(buckets.iter().collect::<Vec<_>>(), expected.into_iter().collect::<Vec<_>>());
        }
    }
}
