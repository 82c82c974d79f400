//! What a server counts. Written by every thread, read by whoever asks.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

/// One number that only grows. Who reads what was added sees all that was counted before.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Release);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// What one server counts, from its start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) accepted: Counter,
    pub(crate) ended: Counter,
    pub(crate) refused: Counter,
    pub(crate) pushes: Counter,
    pub(crate) bytes: Counter,
    pub(crate) slow_consumers: Counter,
}

/// Reads what a server counts; clones read the same. From
/// [`Application::meter`](crate::Application::meter), before the server runs, so that a page can show it.
#[derive(Debug, Clone, Default)]
pub struct Meter(pub(crate) Arc<Counters>);

impl Meter {
    /// The numbers now.
    pub fn stats(&self) -> Stats {
        // In this order, or a client that comes and goes meanwhile would be one less than none.
        let ended = self.0.ended.get();
        let accepted = self.0.accepted.get();
        Stats {
            clients: accepted - ended,
            accepted,
            refused: self.0.refused.get(),
            pushes: self.0.pushes.get(),
            bytes: self.0.bytes.get(),
            slow_consumers: self.0.slow_consumers.get(),
        }
    }
}

/// A reading of a server's counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections open now, pages and WebSockets.
    pub clients: u64,
    /// Connections accepted since the start.
    pub accepted: u64,
    /// Connections turned away with 503, for want of room.
    pub refused: u64,
    /// Frames accepted for sending.
    pub pushes: u64,
    /// Bytes in those.
    pub bytes: u64,
    /// WebSockets disconnected because they read too slowly, or because there was no thread left to write
    /// what they had not read.
    pub slow_consumers: u64,
}
