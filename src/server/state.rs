//! [`ServerState`]: what all threads of one server share, but for the map of its clients.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crossbeam_channel::Sender;

use crate::log_limit::LogLimiter;
use crate::metrics::Counters;
use crate::net::buffers::Buffers;
use crate::net::closer::Overdue;
use crate::net::thread_budget::ThreadBudget;
#[cfg(feature = "tls")]
use crate::net::tls::handshake::Handshakes;
use crate::net::unacked::TcpTable;
use crate::observer::Observer;
use crate::server::half_open::HalfOpen;
use crate::server::settings::Settings;

/// Places beyond the clients, for requests: a full server answers its health checks.
pub(crate) const SPARE_PLACES: usize = 16;

/// See the [module](self).
pub(crate) struct ServerState {
    pub(crate) settings: Settings,
    /// Most clients at a time.
    pub(crate) max_clients: usize,
    pub(crate) counters: Arc<Counters>,
    pub(crate) budget: Arc<ThreadBudget>,
    /// To the `closer` thread. Sent to by any thread.
    pub(crate) closer: Sender<Overdue>,
    pub(crate) observer: Observer,
    /// All that waits for and from the clients.
    pub(crate) buffers: Arc<Buffers>,
    /// Who may have to make room for a newcomer.
    half_open: Mutex<HalfOpen>,
    /// What is logged once a minute of all clients together. Locked by `client-N`, while a line is made.
    trouble: Mutex<LogLimiter>,
    /// What the kernel holds for each client. Read where a Ping has timed out.
    pub(crate) tcp_table: TcpTable,
    /// To the threads that do the arithmetic of handshakes, if it serves TLS.
    #[cfg(feature = "tls")]
    pub(crate) handshakes: Option<Handshakes>,
    /// When the server was made.
    pub(crate) began: Instant,
    /// How often the listener has looked around. Written by it, read by any thread.
    pub(crate) beats: AtomicU64,
    /// Set once, by the thread that ends the server, before it wakes the listener.
    stopping: AtomicBool,
    /// Set once, by the same thread. Read by each `client-N` that asks for a WebSocket, behind the registry's lock.
    refusing: AtomicBool,
}

impl ServerState {
    /// Starts with nothing counted. `buffered` is how many bytes may wait for and from all clients.
    pub(crate) fn new(
        settings: Settings,
        max_clients: usize,
        buffered: u64,
        counters: Arc<Counters>,
        observer: Observer,
        closer: Sender<Overdue>,
    ) -> ServerState {
        let buffers = Arc::new(Buffers::new(buffered));
        let budget = Arc::new(ThreadBudget::new(max_clients.saturating_add(SPARE_PLACES), settings.delivery));
        ServerState {
            settings,
            max_clients,
            counters,
            budget,
            closer,
            observer,
            buffers,
            half_open: Mutex::default(),
            trouble: Mutex::default(),
            tcp_table: TcpTable::default(),
            #[cfg(feature = "tls")]
            handshakes: None,
            began: Instant::now(),
            beats: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            refusing: AtomicBool::new(false),
        }
    }

    /// Does handshakes with every client, if it is `Some`.
    #[cfg(feature = "tls")]
    pub(crate) fn with_handshakes(mut self, handshakes: Option<Handshakes>) -> ServerState {
        self.handshakes = handshakes;
        self
    }

    pub(crate) fn half_open(&self) -> MutexGuard<'_, HalfOpen> {
        self.half_open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn trouble(&self) -> MutexGuard<'_, LogLimiter> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses new WebSockets from now on.
    pub(crate) fn refuse_websockets(&self) {
        self.refusing.store(true, Ordering::Release);
    }

    /// Returns whether it takes no new WebSockets.
    pub(crate) fn refuses_websockets(&self) -> bool {
        self.refusing.load(Ordering::Acquire)
    }

    /// Ends the listener, once it is woken.
    pub(crate) fn stop(&self) {
        self.counters.begin_draining();
        self.stopping.store(true, Ordering::Release);
    }

    /// Returns whether the listener has to end.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}
