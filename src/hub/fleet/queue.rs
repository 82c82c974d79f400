//! [`Queue`]: work for a thread of the fleet. Bounded by number, bytes and age; any thread offers, one takes.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The most items that wait.
const MAX_ITEMS: usize = 65_536;
/// The most bytes that wait.
const MAX_BYTES: usize = 16 << 20;
/// The most items that a thread takes together.
pub(super) const BATCH: usize = 512;
/// An item that has waited this long is dropped: old news is worse than no news.
const MAX_AGE: Duration = Duration::from_secs(2);

/// See the [module](self).
pub(super) struct Queue<T> {
    waiting: Mutex<Waiting<T>>,
    changed: Condvar,
}

struct Waiting<T> {
    items: VecDeque<(Instant, usize, T)>,
    bytes: usize,
    /// Set by [`Queue::wake`], and cleared by the taker.
    is_woken: bool,
    is_closed: bool,
}

/// The result of a take.
#[derive(Debug, PartialEq)]
pub(super) struct Due<T> {
    pub(super) items: Vec<T>,
    /// The number of items dropped because they had waited too long.
    pub(super) stale: u64,
    /// No more items will come.
    pub(super) is_last: bool,
}

impl<T> Queue<T> {
    pub(super) fn new() -> Queue<T> {
        let waiting = Waiting { items: VecDeque::new(), bytes: 0, is_woken: false, is_closed: false };
        Queue { waiting: Mutex::new(waiting), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an item that came `now`. Returns false if the queue is full.
    pub(super) fn offer(&self, item: T, bytes: usize, now: Instant) -> bool {
        let mut waiting = self.lock();
        if waiting.is_closed || waiting.items.len() >= MAX_ITEMS || waiting.bytes + bytes > MAX_BYTES {
            return false;
        }
        waiting.bytes += bytes;
        waiting.items.push_back((now, bytes, item));
        drop(waiting);
        self.changed.notify_one();
        true
    }

    /// Ends a [`take`](Queue::take) that waits.
    pub(super) fn wake(&self) {
        self.lock().is_woken = true;
        self.changed.notify_one();
    }

    /// Refuses new items from now on.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_one();
    }

    /// Blocks until an item comes, [`wake`](Queue::wake) or [`close`](Queue::close) is called, or the deadline passes.
    /// Takes at most `most` items.
    pub(super) fn take(&self, most: usize, deadline: Instant) -> Due<T> {
        let mut waiting = self.lock();
        while waiting.items.is_empty() && !waiting.is_woken && !waiting.is_closed {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            waiting = self.changed.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        waiting.is_woken = false;
        let stale = waiting.expire(Instant::now());
        let items = waiting.pop(most);
        Due { is_last: waiting.is_closed && waiting.items.is_empty(), items, stale }
    }

    /// Drops items that have waited too long. Returns their number.
    pub(super) fn expire(&self, now: Instant) -> u64 {
        self.lock().expire(now)
    }
}

impl<T> Waiting<T> {
    fn expire(&mut self, now: Instant) -> u64 {
        let old = |(came, ..): &(Instant, usize, T)| now.saturating_duration_since(*came) > MAX_AGE;
        let stale = self.items.iter().take_while(|item| old(item)).count();
        self.pop(stale);
        stale as u64
    }

    fn pop(&mut self, most: usize) -> Vec<T> {
        let count = most.min(self.items.len());
        let taken = self.items.drain(..count).map(|(_, bytes, item)| (bytes, item));
        let (bytes, items): (Vec<_>, Vec<_>) = taken.unzip();
        self.bytes -= bytes.into_iter().sum::<usize>();
        items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded_by_number_bytes_and_age() {
        let (queue, now) = (Queue::new(), Instant::now());
        assert!((0..MAX_ITEMS).all(|n| queue.offer(n, 1, now)) && !queue.offer(0, 0, now));
        assert_eq!(queue.take(2, now), Due { items: vec![0, 1], stale: 0, is_last: false });
        assert!(!queue.offer(0, MAX_BYTES, now), "bytes");
        assert_eq!(queue.expire(now + MAX_AGE), 0);
        assert_eq!(queue.expire(now + 2 * MAX_AGE), MAX_ITEMS as u64 - 2);
        assert!(queue.offer(7, MAX_BYTES, now) && !queue.offer(8, 1, now));
        queue.close();
        assert!(!queue.offer(9, 0, now));
        assert_eq!(queue.take(9, now), Due { items: vec![7], stale: 0, is_last: true });
    }

    #[test]
    fn a_take_that_is_woken_or_times_out_returns_nothing() {
        let queue = Queue::<()>::new();
        let nothing = Due { items: vec![], stale: 0, is_last: false };
        queue.wake();
        assert_eq!(queue.take(1, Instant::now() + Duration::from_secs(3600)), nothing);
        assert_eq!(queue.take(1, Instant::now()), nothing, "it is woken once");
    }
}
