//! Things to be done at a time: handed out when it has come, as exactly as a thread can be woken and can then watch the
//! clock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::now;

/// The last part of a wait is spent watching the clock: the system wakes a thread some 50 microseconds late.
const WATCHED: u64 = 120_000;
/// A sleeper looks up so often, to see whether all is over.
const LONGEST_SLEEP: u64 = 20_000_000;
/// At most so many things wait.
const MOST: usize = 1 << 16;

struct Entry<T> {
    due: u64,
    order: u64,
    what: T,
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Entry<T>) -> bool {
        (self.due, self.order) == (other.due, other.order)
    }
}
impl<T> Eq for Entry<T> {}
impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Entry<T>) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Entry<T>) -> std::cmp::Ordering {
        (self.due, self.order).cmp(&(other.due, other.order))
    }
}

struct Waiting<T> {
    heap: BinaryHeap<Reverse<Entry<T>>>,
    order: u64,
}

/// A queue by time; what is due at the same time keeps its order.
pub(super) struct Agenda<T> {
    waiting: Mutex<Waiting<T>>,
    changed: Condvar,
}

impl<T> Agenda<T> {
    pub(super) fn new() -> Agenda<T> {
        let waiting = Mutex::new(Waiting { heap: BinaryHeap::new(), order: 0 });
        Agenda { waiting, changed: Condvar::new() }
    }

    /// False where too much waits already.
    pub(super) fn push(&self, due: u64, what: T) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.heap.len() >= MOST {
            return false;
        }
        waiting.order += 1;
        let order = waiting.order;
        let is_next = waiting.heap.peek().is_none_or(|Reverse(first)| due < first.due);
        waiting.heap.push(Reverse(Entry { due, order, what }));
        if is_next {
            self.changed.notify_one();
        }
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).heap.is_empty()
    }

    /// The next thing, once its time has come; `None` when all is over.
    pub(super) fn next(&self, is_over: impl Fn() -> bool) -> Option<(u64, T)> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        while !is_over() {
            let due = waiting.heap.peek().map_or(u64::MAX, |Reverse(first)| first.due);
            let left = due.saturating_sub(now());
            if left == 0 {
                return waiting.heap.pop().map(|Reverse(first)| (first.due, first.what));
            }
            if left <= WATCHED {
                // Something still more urgent may come meanwhile.
                drop(waiting);
                std::hint::spin_loop();
                waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            } else {
                let sleep = Duration::from_nanos((left - WATCHED).min(LONGEST_SLEEP));
                let woken = self.changed.wait_timeout(waiting, sleep).unwrap_or_else(PoisonError::into_inner);
                waiting = woken.0;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_comes_before_its_time_and_all_in_order() {
        let agenda = Agenda::new();
        let start = now();
        for (after, name) in [(3_000_000, 'c'), (500_000, 'a'), (500_000, 'b'), (0, '0')] {
            assert!(agenda.push(start + after, name));
        }
        let got: Vec<(u64, char)> = (0..4).map(|_| agenda.next(|| false).unwrap()).collect();
        assert!(now() >= start + 3_000_000);
        assert_eq!(got.iter().map(|one| one.1).collect::<String>(), "0abc");
        assert!(agenda.next(|| true).is_none());
    }
}
