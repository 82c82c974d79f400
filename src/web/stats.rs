//! What a server counts. Written by every thread, read by whoever asks.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

/// One number that only grows. Relaxed: nothing is ordered by it.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one server counts, from its start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) accepted: Counter,
    pub(crate) refused: Counter,
    pub(crate) slow_consumers: Counter,
}

/// A reading of a server's counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections open now, pages and WebSockets.
    pub clients: usize,
    /// Connections accepted since the start.
    pub accepted: u64,
    /// Connections turned away with 503, for want of room.
    pub refused: u64,
    /// WebSockets disconnected because they read too slowly.
    pub slow_consumers: u64,
}
