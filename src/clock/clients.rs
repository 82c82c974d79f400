//! [`Clients`]: the receivers of the pushes. The tutorial's `clients = dict()`, with a lock.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use threadcast::Connection;

/// Most bytes of an Id. It is kept as long as its client is connected.
pub const MAX_ID: usize = 256;

/// Sessions by Id. Written by `client-N` in `open` and `on_close`, read by `send`. The lock is held for
/// a look-up or a copy, never while something is sent.
#[derive(Default)]
pub struct Clients {
    sessions: Mutex<HashMap<String, RegisteredClient>>,
}

/// One client.
struct RegisteredClient {
    connection: Connection,
    since: Instant,
}

/// One client, as an administrator sees it.
pub struct Listed {
    /// Its Id.
    pub id: String,
    /// Its connection.
    pub connection: Connection,
    /// When it was registered.
    pub since: Instant,
}

impl Clients {
    /// Starts without a client.
    pub fn new() -> Clients {
        Clients::default()
    }

    /// Registers `connection` as `id`. Returns the connection that had the name before.
    pub fn register(&self, id: &str, connection: &Connection) -> Option<Connection> {
        let session = RegisteredClient { connection: connection.clone(), since: Instant::now() };
        self.sessions().insert(id.to_owned(), session).map(|older| older.connection)
    }

    /// Removes `id`, if `connection` still has it: a session only ever removes itself.
    pub fn remove(&self, id: &str, connection: &Connection) {
        let mut sessions = self.sessions();
        if sessions.get(id).is_some_and(|session| session.connection == *connection) {
            sessions.remove(id);
        }
    }

    /// Returns all connections, to push to without the lock; and their Ids in the same order, or none if those
    /// would be more than `most_ids`.
    pub fn snapshot(&self, most_ids: usize) -> (Vec<Connection>, Vec<String>) {
        let sessions = self.sessions();
        let ids = if sessions.len() > most_ids { Vec::new() } else { sessions.keys().cloned().collect() };
        (sessions.values().map(|session| session.connection.clone()).collect(), ids)
    }

    /// Returns the connection that has an Id.
    pub fn find(&self, id: &str) -> Option<Connection> {
        self.sessions().get(id).map(|session| session.connection.clone())
    }

    /// Returns the first clients behind the Id `after`, in the order of their Ids, and whether there are more.
    pub fn page(&self, after: Option<&str>, most: usize) -> (Vec<Listed>, bool) {
        let is_behind = |id: &str| after.is_none_or(|after| id > after);
        let sessions = self.sessions();
        let mut page: Vec<_> = sessions.iter().filter(|(id, _)| is_behind(id)).collect();
        let has_more = page.len() > most;
        if has_more {
            page.select_nth_unstable_by_key(most, |(id, _)| *id);
            page.truncate(most);
        }
        page.sort_unstable_by_key(|(id, _)| *id);
        let listed = |(id, RegisteredClient { connection, since }): (&String, &RegisteredClient)| Listed {
            id: id.clone(),
            connection: connection.clone(),
            since: *since,
        };
        (page.into_iter().map(listed).collect(), has_more)
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<String, RegisteredClient>> {
        // Nothing panics between two halves of a change, so a poisoned map is a whole one.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpStream;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::time::Duration;

    use crossbeam_channel::Sender;
    use threadcast::{Application, Exchange, Message, Result, Server, WebSocketHandler};

    use super::*;

    struct Hands(Sender<Connection>);

    impl WebSocketHandler for Hands {
        fn open(&mut self, connection: &Connection, _: &mut Exchange<'_>) -> Result<()> {
            self.0.send(connection.clone()).unwrap();
            Ok(())
        }
        fn on_message(&mut self, _: &Connection, _: Message) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn behind_a_poisoned_lock_clients_come_and_go_and_are_found() {
        let (hand, handed) = crossbeam_channel::unbounded();
        let application = Application::new().websocket("/", move || Hands(hand.clone()));
        let server = Server::bind("127.0.0.1:0", application).unwrap();
        let [first, second, third] = [(); 3].map(|()| {
            let mut client = TcpStream::connect(server.local_addr()).unwrap();
            client
                .write_all(
                    b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                      Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                )
                .unwrap();
            handed.recv_timeout(Duration::from_secs(60)).expect("the handler opens")
        });
        let clients = Clients::new();
        clients.register("A", &first);
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _held = clients.sessions.lock();
            panic!("as planned");
        }));
        assert!(panicked.is_err() && clients.sessions.is_poisoned());
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
