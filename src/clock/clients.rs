//! [`Clients`]: who gets the pushes. The tutorial's `clients = dict()`, with a lock.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use crate::Connection;

/// Sessions by Id. Written by `client-N` in `open` and `on_close`, read by `send`. The lock is held for
/// a look-up or a copy, never while something is sent.
#[derive(Default)]
pub struct Clients {
    sessions: Mutex<HashMap<String, Connection>>,
}

impl Clients {
    /// Nobody.
    pub fn new() -> Clients {
        Clients::default()
    }

    /// Takes `id` for `connection`, and gives the connection that had it.
    pub fn register(&self, id: &str, connection: &Connection) -> Option<Connection> {
        self.sessions().insert(id.to_owned(), connection.clone())
    }

    /// Gives `id` up, if `connection` still has it: a session only ever removes itself.
    pub fn remove(&self, id: &str, connection: &Connection) {
        let mut sessions = self.sessions();
        if sessions.get(id) == Some(connection) {
            sessions.remove(id);
        }
    }

    /// All connections, to push to without the lock; and their Ids in the same order, or none if those
    /// would be more than `most_ids`.
    pub fn snapshot(&self, most_ids: usize) -> (Vec<Connection>, Vec<String>) {
        let sessions = self.sessions();
        let ids = if sessions.len() > most_ids { Vec::new() } else { sessions.keys().cloned().collect() };
        (sessions.values().cloned().collect(), ids)
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<String, Connection>> {
        // Nothing panics between two halves of a change, so a poisoned map is a whole one.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::web::connection::tests::connection;
    use crate::web::connection::tests::poison;

    #[test]
    fn behind_a_poisoned_lock_clients_come_and_go_and_are_found() {
        let (clients, [first, second, third]) = (Clients::new(), [(); 3].map(|()| connection()));
        clients.register("A", &first);
        poison(&clients.sessions);
        let (everybody, a) = (vec![first.clone()], "A".to_owned());
        assert_eq!(clients.snapshot(1), (everybody.clone(), vec![a]));
        assert_eq!(clients.snapshot(0), (everybody, vec![]));
        assert_eq!(clients.register("A", &second), Some(first.clone()));
        assert_eq!(clients.register("B", &third), None);
        clients.remove("A", &first);
        clients.remove("B", &third);
        assert_eq!(clients.snapshot(0).0, vec![second.clone()], "a session removes only itself");
        clients.remove("A", &second);
        assert_eq!(clients.snapshot(1), (vec![], vec![]));
        assert!(clients.sessions.is_poisoned(), "to the end");
    }
}
