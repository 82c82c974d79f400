//! [`Registry`]: the map of a server's clients, from each one's accept to the end of its thread.
//!
//! Written by the listener and by every `client-N`. The lock is held for a look-up or a change, never while
//! something is sent, started or joined.

use std::collections::{HashMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::metrics::DisconnectReason;
use crate::server::connection::Connection;

/// Of the capacity, this part is the most that clients may have that are no WebSockets, or not yet: so a
/// flood of half-open connections leaves the rest to those who mean it.
const PENDING_SHARE: usize = 4;
/// How long the listener waits for a client that it has evicted to be gone: its thread has nothing to do but end, but on
/// a busy machine that takes its turn.
const EVICTED_WAIT: Duration = Duration::from_secs(1);

/// See the [module](self).
pub(crate) struct Registry {
    max_clients: usize,
    clients: Mutex<Entries>,
    /// Signalled when a client has left.
    left: Condvar,
}

#[derive(Default)]
struct Entries {
    alive: HashMap<u64, Connection>,
    /// Those that may still be without a WebSocket, the oldest first.
    pending: VecDeque<u64>,
}

impl Registry {
    /// Starts without a client.
    pub(crate) fn new(max_clients: usize) -> Registry {
        Registry { max_clients, clients: Mutex::default(), left: Condvar::new() }
    }

    fn clients(&self) -> MutexGuard<'_, Entries> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether there is room for one more client. Beyond the share of those that are no WebSockets, the
    /// one is evicted that has been there longest, and is not being answered.
    pub(crate) fn has_room(&self) -> bool {
        let mut clients = self.clients();
        let share = (self.max_clients / PENDING_SHARE).max(1);
        let Entries { alive, pending } = &mut *clients;
        // Who has left, or become a WebSocket, is only looked for then: most accepts cost no look-up.
        if pending.len() >= share {
            pending.retain(|id| alive.get(id).is_some_and(|connection| !connection.is_websocket()));
        }
        let is_crowded = pending.len() >= share;
        let evictable = |id: &u64| alive.get(id).is_some_and(Connection::is_evictable);
        let oldest = if is_crowded { pending.iter().position(evictable) } else { None };
        if let Some(connection) = oldest.and_then(|at| alive.get(&pending.remove(at)?)) {
            connection.outbox().kill(DisconnectReason::Evicted);
        }
        let full = |clients: &mut Entries| clients.alive.len() >= self.max_clients;
        // The one that was evicted is about to leave its place.
        if oldest.is_some() && full(&mut clients) {
            let waited = self.left.wait_timeout_while(clients, EVICTED_WAIT, full);
            clients = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        clients.alive.len() < self.max_clients
    }

    /// Adds a client whose thread is about to start.
    pub(crate) fn insert(&self, connection: &Connection) {
        let mut clients = self.clients();
        clients.pending.push_back(connection.id());
        clients.alive.insert(connection.id(), connection.clone());
    }

    /// Takes a client out whose thread is about to end, and counts that.
    pub(crate) fn remove(&self, connection: &Connection) {
        let mut clients = self.clients();
        let removed = clients.alive.remove(&connection.id());
        connection.state().counters.ended.add(1);
        drop(clients);
        drop(removed);
        self.left.notify_all();
    }

    /// Takes a client out whose thread did not start.
    pub(crate) fn forget(&self, connection: &Connection) {
        self.clients().alive.remove(&connection.id());
    }

    /// Returns all clients.
    pub(crate) fn connections(&self) -> Vec<Connection> {
        self.clients().alive.values().cloned().collect()
    }

    /// Blocks until the last client has left, or the deadline passes. Returns the number still there.
    pub(crate) fn wait_until_empty(&self, deadline: Instant) -> usize {
        let mut clients = self.clients();
        while !clients.alive.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return clients.alive.len();
            }
            clients = self.left.wait_timeout(clients, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        0
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::server::connection::tests::{connection, poison};

    #[test]
    fn behind_a_poisoned_lock_clients_come_and_are_evicted_and_waited_for() {
        let registry = Registry::new(1);
        poison(&registry.clients);
        let client = connection();
        assert!(registry.has_room());
        registry.insert(&client);
        client.set_evictable(false);
        assert!(!registry.has_room() && !client.is_closed(), "it is being answered");
        client.set_evictable(true);
        assert_eq!(registry.connections(), std::slice::from_ref(&client));
        assert_eq!(registry.wait_until_empty(Instant::now() + Duration::from_millis(1)), 1);
        assert!(!registry.has_room(), "it has been evicted, but has not left");
        assert!(client.is_closed());
        registry.remove(&client);
        assert!(registry.has_room());
        assert_eq!(registry.wait_until_empty(Instant::now()), 0);
        assert!(registry.clients.is_poisoned(), "to the end");
    }
}
