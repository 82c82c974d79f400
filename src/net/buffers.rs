//! [`Buffers`]: one bound for all that a server keeps for and from its clients: backlogs, bodies, and messages that
//! are not whole. Any thread; nothing here waits.
//!
//! Only what waits is counted. A frame that a pushing thread writes itself is none.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// See the [module](self).
pub(crate) struct Buffers {
    /// Bytes.
    limit: u64,
    used: AtomicU64,
}

impl Buffers {
    /// Starts with nothing kept.
    pub(crate) fn new(limit: u64) -> Buffers {
        Buffers { limit, used: AtomicU64::new(0) }
    }

    /// Counts bytes that begin to wait. False if that is more than there is room for; they are counted all the
    /// same, and have to be [released](Buffers::release).
    pub(crate) fn hold(&self, bytes: u64) -> bool {
        // Only a sum: nothing else is read by it.
        self.used.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.limit
    }

    /// Takes off bytes that wait no longer.
    pub(crate) fn release(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Returns the bytes that wait now.
    #[cfg(test)]
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

/// Bytes that one reader keeps, until this is dropped.
pub(crate) struct Held {
    buffers: Arc<Buffers>,
    bytes: u64,
}

impl Held {
    /// Starts with nothing kept.
    pub(crate) fn new(buffers: &Arc<Buffers>) -> Held {
        Held { buffers: buffers.clone(), bytes: 0 }
    }

    /// Keeps `bytes` in all. False if there is no room for that.
    pub(crate) fn grow_to(&mut self, bytes: u64) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        self.bytes += more;
        self.buffers.hold(more)
    }

    /// Keeps nothing any more.
    pub(crate) fn clear(&mut self) {
        // Most messages hold nothing, and need not touch what all threads count in.
        if self.bytes > 0 {
            self.buffers.release(std::mem::take(&mut self.bytes));
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_counted_and_given_back() {
        let buffers = Arc::new(Buffers::new(100));
        assert!(buffers.hold(60));
        let mut held = Held::new(&buffers);
        assert!(held.grow_to(30) && held.grow_to(40) && held.grow_to(10));
        assert_eq!(buffers.used(), 100);
        assert!(!held.grow_to(41));
        held.clear();
        assert!(held.grow_to(40));
        drop(held);
        buffers.release(60);
        assert_eq!(buffers.used(), 0);
    }
}
