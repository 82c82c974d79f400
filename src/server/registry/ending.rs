//! The registry's methods for the thread that ends the server.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use super::{ClientEntry, Registry};
use crate::server::client::{Client, Stage};

impl Registry {
    /// Returns all clients.
    pub(crate) fn all(&self) -> Vec<Arc<Client>> {
        self.clients().alive.values().map(|entry| entry.client.clone()).collect()
    }

    /// Returns the WebSockets, and those that are about to be one.
    pub(crate) fn websockets(&self) -> Vec<Arc<Client>> {
        let clients = self.clients();
        let websockets = clients.alive.values().filter(|entry| entry.is_websocket);
        websockets.map(|entry| entry.client.clone()).collect()
    }

    /// Called by a client without a WebSocket that has its last answer, while the server ends.
    #[cold]
    #[inline(never)]
    pub(crate) fn has_answered(&self) {
        // A waiting thread has either seen it, or wakes now.
        if self.clients().is_awaited {
            self.changed.notify_all();
        }
    }

    /// Blocks until every client is a WebSocket, or has its answer, or the deadline passes.
    pub(crate) fn wait_until_answered(&self, deadline: Instant) {
        let is_open = |entry: &ClientEntry| {
            [Stage::Asking, Stage::Answering].iter().any(|stage| entry.client.is(*stage))
        };
        self.wait_while(deadline, |alive| alive.values().any(|entry| !entry.is_websocket && is_open(entry)));
    }

    /// Blocks until the last client has left, or the deadline passes. Returns the number still there.
    pub(crate) fn wait_until_empty(&self, deadline: Instant) -> usize {
        self.wait_while(deadline, |alive| !alive.is_empty())
    }

    fn wait_while(&self, deadline: Instant, waits: impl Fn(&HashMap<u64, ClientEntry>) -> bool) -> usize {
        let mut clients = self.clients();
        clients.is_awaited = true;
        while waits(&clients.alive) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            clients = self.changed.wait_timeout(clients, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        clients.alive.len()
    }
}
