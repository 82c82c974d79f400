//! [`ServerState`]: the state that all threads of one server share, except for the map of its clients.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::connection::state::SharedState;
#[cfg(feature = "tls")]
use crate::net::tls::threads::TlsHandshakes;
use crate::server::half_open::HalfOpen;
use crate::server::settings::ServerSettings;

/// Extra places for requests, so that a full server answers its health checks.
pub(crate) const SPARE_PLACES: usize = 16;

/// See the [module](self).
pub(crate) struct ServerState {
    pub(crate) settings: ServerSettings,
    /// The state that its connections share.
    pub(crate) shared: Arc<SharedState>,
    /// Most concurrent clients.
    pub(crate) max_clients: usize,
    /// Connections that may have to make room for a newcomer.
    half_open: Mutex<HalfOpen>,
    /// The threads that do the arithmetic of handshakes, if it serves TLS.
    #[cfg(feature = "tls")]
    pub(crate) tls_handshakes: Option<TlsHandshakes>,
    /// The number of turns of the listener's loop. Written by it, read by any thread.
    pub(crate) beats: AtomicU64,
    /// Set once, by the thread that ends the server, before it wakes the listener. `Release` and `Acquire`: a thread
    /// that reads `true` also sees everything written before it was set.
    stopping: AtomicBool,
    /// Set once, by the thread that ends the server. Read under the registry's lock by each `client-N` that asks for a
    /// WebSocket.
    refusing: AtomicBool,
}

impl ServerState {
    /// Starts without clients.
    pub(crate) fn new(settings: ServerSettings, shared: Arc<SharedState>, max_clients: usize) -> ServerState {
        ServerState {
            settings,
            shared,
            max_clients,
            half_open: Mutex::default(),
            #[cfg(feature = "tls")]
            tls_handshakes: None,
            beats: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            refusing: AtomicBool::new(false),
        }
    }

    /// Does a TLS handshake with every client, if it is `Some`.
    #[cfg(feature = "tls")]
    pub(crate) fn with_tls_handshakes(mut self, tls_handshakes: Option<TlsHandshakes>) -> ServerState {
        self.tls_handshakes = tls_handshakes;
        self
    }

    pub(crate) fn half_open(&self) -> MutexGuard<'_, HalfOpen> {
        self.half_open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses new WebSockets from now on.
    pub(crate) fn reject_websockets(&self) {
        self.refusing.store(true, Ordering::Release);
    }

    /// Returns whether it refuses new WebSockets.
    pub(crate) fn rejects_websockets(&self) -> bool {
        self.refusing.load(Ordering::Acquire)
    }

    /// Ends the listener, once it is woken.
    pub(crate) fn stop(&self) {
        self.shared.counters.begin_draining();
        self.stopping.store(true, Ordering::Release);
    }

    /// Returns whether the listener has to end.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}

#[cfg(all(test, not(loom)))]
pub(crate) mod tests {
    use super::*;
    use crate::connection::connection::tests::shared;

    /// The state of a server that admits this number of clients, and has a reaper.
    pub(crate) fn state(max_clients: usize) -> Arc<ServerState> {
        let shared = shared(max_clients.saturating_add(SPARE_PLACES));
        shared.budget.start_reaper().unwrap();
        Arc::new(ServerState::new(ServerSettings::default(), shared, max_clients))
    }
}
