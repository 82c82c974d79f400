//! [`SharedState`]: the state that all connections of a server share; a client's connection has its own.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crossbeam_channel::Sender;

use crate::connection::settings::Settings;
use crate::log_limit::LogLimiter;
use crate::metrics::Counters;
use crate::net::buffers::Buffers;
use crate::net::closer::Errand;
use crate::net::thread_budget::ThreadBudget;
use crate::net::unacked::TcpTable;
use crate::observer::Observer;

/// See the [module](self).
pub(crate) struct SharedState {
    pub(crate) settings: Settings,
    pub(crate) counters: Arc<Counters>,
    pub(crate) budget: Arc<ThreadBudget>,
    /// To the `closer` thread. Any thread sends to it without waiting: the channel keeps a message until `closer` takes
    /// it. When the last sender is dropped, its receive ends, and so does the thread.
    pub(crate) closer: Sender<Errand>,
    pub(crate) observer: Observer,
    /// All bytes that wait for and from the peers. Behind an `Arc`, like the two above: each owner counts as one, and
    /// the last one to drop it frees it.
    pub(crate) buffers: Arc<Buffers>,
    /// Log lines that all connections together write at most once a minute. Locked by the reading thread while it makes
    /// a line.
    trouble: Mutex<LogLimiter>,
    /// Bytes that the kernel holds for each peer. Read when a Ping has timed out.
    pub(crate) tcp_table: TcpTable,
    /// The time of its creation, from which other times count.
    pub(crate) began: Instant,
}

impl SharedState {
    /// Starts at zero. `buffered` is how many bytes may wait for and from all peers.
    pub(crate) fn new(
        settings: Settings,
        buffered: u64,
        counters: Arc<Counters>,
        budget: Arc<ThreadBudget>,
        observer: Observer,
        closer: Sender<Errand>,
    ) -> SharedState {
        SharedState {
            settings,
            counters,
            budget,
            closer,
            observer,
            buffers: Arc::new(Buffers::new(buffered)),
            trouble: Mutex::default(),
            tcp_table: TcpTable::default(),
            began: Instant::now(),
        }
    }

    pub(crate) fn trouble(&self) -> MutexGuard<'_, LogLimiter> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
