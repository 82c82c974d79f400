//! [`SharedState`]: what all connections of a server share; a client's has one for itself.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crossbeam_channel::Sender;

use crate::connection::settings::Settings;
use crate::log_limit::LogLimiter;
use crate::metrics::Counters;
use crate::net::buffers::Buffers;
use crate::net::closer::Overdue;
use crate::net::thread_budget::ThreadBudget;
use crate::net::unacked::TcpTable;
use crate::observer::Observer;

/// See the [module](self).
pub(crate) struct SharedState {
    pub(crate) settings: Settings,
    pub(crate) counters: Arc<Counters>,
    pub(crate) budget: Arc<ThreadBudget>,
    /// To the `closer` thread. Sent to by any thread.
    pub(crate) closer: Sender<Overdue>,
    pub(crate) observer: Observer,
    /// All that waits for and from the peers.
    pub(crate) buffers: Arc<Buffers>,
    /// What is logged once a minute of all connections together. Locked by the reading thread, while a line is made.
    trouble: Mutex<LogLimiter>,
    /// What the kernel holds for each peer. Read where a Ping has timed out.
    pub(crate) tcp_table: TcpTable,
    /// When it was made: times are counted from here.
    pub(crate) began: Instant,
}

impl SharedState {
    /// Starts with nothing counted. `buffered` is how many bytes may wait for and from all peers.
    pub(crate) fn new(
        settings: Settings,
        buffered: u64,
        counters: Arc<Counters>,
        budget: Arc<ThreadBudget>,
        observer: Observer,
        closer: Sender<Overdue>,
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
