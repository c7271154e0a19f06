//! Counts by bucket for a histogram: while there are few samples, a list of their buckets as they came (2 bytes each, so
//! that every symbol can have one), and pages of 128 counts once those take less room. Either takes a sample at once.

/// A list that is longer than this becomes pages …
const LONGEST_LIST: usize = 4096;
/// … and from this length on it is looked, with each doubling, whether they would be smaller.
const SHORT_LIST: usize = 512;
/// Buckets in a page.
const PAGE: usize = 128;
/// Pages of all buckets that there may be, as bits of these.
const PAGE_WORDS: usize = (u16::MAX as usize + 1) / PAGE / 64;

/// Counts of neighbouring buckets.
type Page = Box<[u64; PAGE]>;

/// Counts by bucket number.
#[derive(Clone, Debug)]
pub(super) enum Buckets {
    /// The bucket of each sample, in the order in which they came.
    List(Vec<u16>),
    /// Pages that were hit, by the upper bits of the number.
    Pages(Vec<Option<Page>>),
}

impl Default for Buckets {
    fn default() -> Self {
        Buckets::List(Vec::new())
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
            Buckets::List(numbers) => match usize::try_from(count) {
                Ok(count) if count <= LONGEST_LIST - numbers.len() => {
                    let doublings = |length: usize| (length / SHORT_LIST).checked_ilog2();
                    let before = doublings(numbers.len());
                    numbers.extend(std::iter::repeat_n(number, count));
                    if doublings(numbers.len()) != before && are_pages_smaller(numbers) {
                        self.spread();
                    }
                }
                _ => {
                    self.spread();
                    self.add(number, count);
                }
            },
        }
    }

    #[cold]
    fn spread(&mut self) {
        if let Buckets::List(numbers) = std::mem::replace(self, Buckets::Pages(Vec::new())) {
            for number in numbers {
                self.add(number, 1);
            }
        }
    }

    pub(super) fn merge(&mut self, other: &Buckets) {
        match other {
            Buckets::List(numbers) => numbers.iter().for_each(|&number| self.add(number, 1)),
            Buckets::Pages(_) => other.iter().for_each(|(number, count)| self.add(number, count)),
        }
    }

    /// The bucket of the sample with this rank, counted from 1.
    pub(super) fn at_rank(&self, rank: u64) -> Option<u16> {
        let rank = rank.max(1);
        match self {
            Buckets::List(numbers) => {
                let place = usize::try_from(rank - 1).ok()?;
                let mut numbers = numbers.clone();
                (place < numbers.len()).then(|| *numbers.select_nth_unstable(place).1)
            }
            Buckets::Pages(pages) => {
                let mut before = 0;
                for (page, counts) in pages.iter().enumerate() {
                    let Some(counts) = counts else { continue };
                    let total: u64 = counts.iter().sum();
                    if before + total < rank {
                        before += total;
                        continue;
                    }
                    let reaches = |count: &u64| {
                        before += count;
                        before >= rank
                    };
                    return counts.iter().position(reaches).and_then(|place| u16::try_from(page * PAGE + place).ok());
                }
                None
            }
        }
    }

    /// Those that were hit, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u16, u64)> + '_ {
        let (list, pages): (&[u16], &[Option<Page>]) = match self {
            Buckets::List(numbers) => (numbers, &[]),
            Buckets::Pages(pages) => (&[], pages),
        };
        let mut sorted = list.to_vec();
        sorted.sort_unstable();
        let mut counted: Vec<(u16, u64)> = Vec::with_capacity(sorted.len());
        for number in sorted {
            match counted.last_mut() {
                Some((last, count)) if *last == number => *count += 1,
                _ => counted.push((number, 1)),
            }
        }
        let of_pages = pages.iter().enumerate().filter_map(|(page, counts)| Some((page, counts.as_ref()?))).flat_map(
            |(page, counts)| {
                let number = move |place: usize| u16::try_from(page * PAGE + place).ok();
                let is_hit = |&(_, &count): &(usize, &u64)| count > 0;
                counts
                    .iter()
                    .enumerate()
                    .filter(is_hit)
                    .filter_map(move |(place, &count)| Some((number(place)?, count)))
            },
        );
        counted.into_iter().chain(of_pages)
    }
}

#[cold]
fn are_pages_smaller(numbers: &[u16]) -> bool {
    let mut hit = [0_u64; PAGE_WORDS];
    for page in numbers.iter().map(|number| usize::from(*number) / PAGE) {
        if let Some(word) = hit.get_mut(page / 64) {
            *word |= 1 << (page % 64);
        }
    }
    let pages: usize = hit.iter().map(|word| word.count_ones() as usize).sum();
    pages * size_of::<[u64; PAGE]>() <= size_of_val(numbers)
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
        fn both_forms_count_like_a_map(
            numbers in prop::collection::vec(0..56_320_u16, 0..LONGEST_LIST / 2),
            width in prop_oneof![Just(56_320_u16), 1..2000_u16],
        ) {
            let numbers: Vec<u16> = numbers.into_iter().map(|number| number % width).collect();
            let mut buckets = Buckets::default();
            let mut expected: BTreeMap<u16, u64> = BTreeMap::new();
            for &number in numbers.iter().chain(numbers.iter().take(9)) {
                buckets.add(number, 3);
                *expected.entry(number).or_default() += 3;
            }
            let samples: u64 = expected.values().sum();
            let (is_paged, is_dense) = (matches!(buckets, Buckets::Pages(_)), usize::from(width) <= PAGE);
            prop_assert!(is_paged || samples <= LONGEST_LIST as u64 && (!is_dense || samples < SHORT_LIST as u64));
            prop_assert!(!is_paged || samples >= SHORT_LIST as u64);
            let ranks = || expected.iter().flat_map(|(&number, &count)| (0..count).map(move |_| number));
            prop_assert!((1..).zip(ranks()).step_by(97).all(|(rank, number)| buckets.at_rank(rank) == Some(number)));
            prop_assert_eq!((buckets.at_rank(0), buckets.at_rank(samples + 1)), (ranks().next(), None));
            let mut twice = buckets.clone();
            twice.merge(&buckets);
            prop_assert!(twice.iter().eq(expected.iter().map(|(&number, &count)| (number, 2 * count))));
            prop_assert_eq!(buckets.iter().collect::<Vec<_>>(), expected.into_iter().collect::<Vec<_>>());
        }
    }
}
