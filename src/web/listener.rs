//! The thread `listener`: accepts, admits or refuses, and starts `client-N`.
//!
//! Blocks in `accept`. It outlives every error: what it cannot serve now it refuses, and goes on.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::io;
use std::io::ErrorKind;
use std::io::Write;
use std::net::Shutdown;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use crate::web::application::Application;
use crate::web::client_thread;
use crate::web::closer::drain;
use crate::web::connection::Connection;
use crate::web::observer::Event;
use crate::web::response::Response;
use crate::web::socket::CLOSE_TIMEOUT;
use crate::web::socket::Common;
use crate::web::socket::Leaving;
use crate::web::socket::Peer;
use crate::web::threads::Place;
use crate::web::wire::Death;

/// Pause after an error of `accept` that will not go away by itself, such as no free descriptor.
const BACK_OFF: Duration = Duration::from_millis(50);
/// One log line for each kind of trouble in this time.
const LOG_EVERY: Duration = Duration::from_secs(60);
/// Of the capacity, this part is the most that clients may have that are no WebSockets, or not yet: so a
/// flood of half-open connections leaves the rest to those who mean it.
const HEADS_SHARE: usize = 4;
/// How long the listener waits for a client that it has disconnected to be gone.
const ROOM_WAIT: Duration = Duration::from_millis(100);
/// Most refused clients that are given time to send their request, each of which keeps a descriptor; where
/// few clients fit, this part of them.
const MOST_LEAVING: usize = 32;
const LEAVING_SHARE: usize = 8;
/// `Retry-After` of a refusal, in seconds.
const RETRY_AFTER: &str = "5";

/// What the listener, the clients' threads and the server share.
pub(crate) struct Shared {
    pub(crate) application: Application,
    pub(crate) common: Arc<Common>,
    /// Most clients at a time.
    pub(crate) max_clients: usize,
    /// Set once, by the server, before it wakes the listener.
    pub(crate) stopping: AtomicBool,
    /// Every client, from its accept to the end of its thread.
    clients: Mutex<Clients>,
    /// Signalled when a client has left.
    left: Condvar,
}

#[derive(Default)]
struct Clients {
    alive: HashMap<u64, Client>,
    /// Those that may still be without a WebSocket, the oldest first.
    heads: VecDeque<u64>,
}

struct Client {
    connection: Connection,
    thread: JoinHandle<()>,
    _place: Place,
}

impl Shared {
    pub(crate) fn new(application: Application, common: Arc<Common>, max_clients: usize) -> Shared {
        Shared {
            application,
            common,
            max_clients,
            stopping: AtomicBool::new(false),
            clients: Mutex::default(),
            left: Condvar::new(),
        }
    }

    fn clients(&self) -> MutexGuard<'_, Clients> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is room for one more client. Beyond the share of those that have not asked for a
    /// WebSocket the oldest of them, which has had the most time to, is disconnected.
    fn has_room(&self) -> bool {
        let mut clients = self.clients();
        let share = (self.max_clients / HEADS_SHARE).max(1);
        let Clients { alive, heads, .. } = &mut *clients;
        if heads.len() >= share {
            heads.retain(|id| alive.get(id).is_some_and(|client| !client.connection.is_websocket()));
        }
        let oldest = if heads.len() >= share { heads.pop_front() } else { None };
        if let Some(client) = oldest.and_then(|id| alive.get(&id)) {
            log::debug!("{}: disconnected for a newer client", client.connection);
            client.connection.outbox().kill(Death::Ended);
        }
        let full = |clients: &mut Clients| clients.alive.len() >= self.max_clients;
        // The one that was disconnected is about to leave its place.
        if oldest.is_some() && full(&mut clients) {
            let waited = self.left.wait_timeout_while(clients, ROOM_WAIT, full);
            clients = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        clients.alive.len() < self.max_clients
    }

    pub(crate) fn connections(&self) -> Vec<Connection> {
        self.clients().alive.values().map(|client| client.connection.clone()).collect()
    }

    /// Blocks until the last client's thread has ended, or the deadline; gives the number still there.
    pub(crate) fn wait_until_empty(&self, deadline: Instant) -> usize {
        let mut clients = self.clients();
        while !clients.alive.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return clients.alive.len();
            }
            clients = self.left.wait_timeout(clients, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(clients);
        self.common.threads.ended(None).map(JoinHandle::join);
        0
    }
}

/// Accepts until the server is stopping.
pub(crate) fn run(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut trouble = Trouble::default();
    for id in 1.. {
        let accepted = loop {
            match listener.accept() {
                _ if shared.stopping.load(Ordering::Acquire) => return,
                Ok(accepted) => break accepted,
                // The client left while it waited in the backlog, or a signal came: no trouble at all.
                Err(error)
                    if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
                Err(error) => {
                    trouble.log("cannot accept", &error);
                    thread::sleep(BACK_OFF);
                }
            }
        };
        admit(accepted, id, shared, &mut trouble);
    }
}

/// Starts the client's thread, or refuses the client.
fn admit((stream, peer): (TcpStream, SocketAddr), id: u64, shared: &Arc<Shared>, trouble: &mut Trouble) {
    if !shared.has_room() {
        trouble.log("refusing clients", &io::Error::other(format!("the limit is {}", shared.max_clients)));
        return refuse(stream, shared);
    }
    let Some(place) = shared.common.threads.take() else {
        trouble.log("refusing clients", &io::Error::other("pumps have taken the threads"));
        return refuse(stream, shared);
    };
    let connection = Connection::new(stream, id, peer, shared.common.clone());
    let (own, its_shared) = (connection.clone(), shared.clone());
    let life = move || {
        let ending = Ending { connection: own, shared: its_shared };
        ending.shared.common.counters.accepted.add(1);
        client_thread::run(&ending.connection, &ending.shared.application);
    };
    connection.report(Event::Accepted);
    // Held while the thread starts, so that its end finds its entry.
    let mut clients = shared.clients();
    let thread = thread::Builder::new().name(format!("client-{id}")).stack_size(shared.common.stack_size);
    match thread.spawn(life) {
        Ok(thread) => {
            clients.heads.push_back(id);
            clients.alive.insert(id, Client { connection, thread, _place: place });
        }
        Err(error) => {
            drop(clients);
            connection.report(Event::Gone);
            trouble.log("cannot start a thread", &error);
            connection.socket().stream.try_clone().into_iter().for_each(|stream| refuse(stream, shared));
        }
    }
}

/// 503 to a client that there is no room for. Never blocks: what does not fit into the empty buffer of
/// a new socket is not sent.
fn refuse(mut stream: TcpStream, shared: &Shared) {
    let Common { counters, leaving, .. } = &*shared.common;
    counters.refused.add(1);
    let response = Response::refusal(503, "503: No room for another client, try again later");
    let bytes = response.with("Retry-After", RETRY_AFTER).to_bytes(false, true).unwrap_or_default();
    let _ = stream.set_nonblocking(true);
    let _ = stream.write(&bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let most = (shared.max_clients / LEAVING_SHARE).clamp(1, MOST_LEAVING);
    if !drain(&stream) && leaving.len() < most {
        // Without a closer the server is shutting down.
        let _ =
            leaving.send(Leaving { deadline: Instant::now() + CLOSE_TIMEOUT, peer: Peer::Refused(stream) });
    }
}

/// The end of `client-N`, however it comes. Dropped as the last thing on that thread.
struct Ending {
    connection: Connection,
    shared: Arc<Shared>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.connection.outbox().kill(Death::Ended);
        self.connection.socket().join_pump();
        self.connection.report(Event::Gone);
        let mut clients = self.shared.clients();
        let own = clients.alive.remove(&self.connection.id());
        let before = own.and_then(|client| self.shared.common.threads.ended(Some(client.thread)));
        self.shared.common.counters.ended.add(1);
        drop(clients);
        // It has been here before us, so it is about to end. If it panicked, that has been reported.
        before.map(JoinHandle::join);
        self.shared.left.notify_all();
    }
}

/// Logs each kind of trouble once a minute.
#[derive(Default)]
struct Trouble(HashMap<(&'static str, String), (Instant, u64)>);

impl Trouble {
    fn log(&mut self, what: &'static str, error: &io::Error) {
        if let Some(count) = self.due(what, error, Instant::now()) {
            log::warn!("{what}: {error} ({count} times so far)");
        }
    }

    /// Counts it; how often it has been, if that shall be logged now.
    fn due(&mut self, what: &'static str, error: &io::Error, now: Instant) -> Option<u64> {
        let (since, count) = self.0.entry((what, error.to_string())).or_insert((now, 0));
        *count += 1;
        let due = *count == 1 || now - *since >= LOG_EVERY;
        if due {
            *since = now;
        }
        due.then_some(*count)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::web::connection::tests::accepted;
    use crate::web::connection::tests::common;
    use crate::web::connection::tests::poison;

    #[test]
    fn behind_a_poisoned_lock_clients_are_admitted_disconnected_and_waited_for() {
        let shared = Arc::new(Shared::new(Application::new(), common(), 1));
        poison(&shared.clients);
        let (client, _its_end) = accepted();
        admit(client, 1, &shared, &mut Trouble::default());
        assert_eq!(shared.connections().len(), 1);
        assert_eq!(shared.wait_until_empty(Instant::now() + Duration::from_millis(1)), 1);
        // Disconnects it for a newer one, and waits until there is room.
        shared.has_room();
        assert_eq!(shared.wait_until_empty(Instant::now() + Duration::from_secs(60)), 0);
        assert!(shared.clients.is_poisoned(), "to the end");
    }

    #[test]
    fn each_kind_of_trouble_is_logged_once_a_minute() {
        let (mut trouble, begun) = (Trouble::default(), Instant::now());
        let [full, aborted] = [ErrorKind::OutOfMemory, ErrorKind::NotConnected].map(io::Error::from);
        for (seconds, error, due) in [
            (0, &full, Some(1)),
            (1, &full, None),
            (2, &aborted, Some(1)),
            (59, &full, None),
            (60, &full, Some(4)),
            (61, &aborted, None),
            (119, &full, None),
            (120, &full, Some(6)),
        ] {
            let now = begun + Duration::from_secs(seconds);
            assert_eq!(trouble.due("cannot accept", error, now), due, "after {seconds} s");
        }
    }
}
