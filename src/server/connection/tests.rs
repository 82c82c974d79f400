//! Connections over the loopback for the tests of other files too, and what a panic leaves behind.

use std::collections::{BTreeSet, HashSet};
use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use super::*;
use crate::observer::Observer;
use crate::server::settings::Settings;

pub(crate) fn state(max_clients: usize) -> Arc<ServerState> {
    let settings = Settings { stack_size: 64 << 10, ..Settings::default() };
    let closer = crossbeam_channel::unbounded().0;
    let (counters, observer) = (Arc::default(), Observer::default());
    let state = ServerState::new(settings, max_clients, 1 << 30, counters, observer, closer);
    state.budget.start_reaper().unwrap();
    Arc::new(state)
}

/// A client as `accept` returns it, and the client's own end.
pub(crate) fn accepted() -> ((TcpStream, SocketAddr), TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener.accept().unwrap(), client)
}

/// A connection whose client has left.
pub(crate) fn connection() -> Connection {
    let ((stream, peer), _) = accepted();
    Connection::new(stream, peer, state(16))
}

/// Panics while it holds the lock.
pub(crate) fn poison<T>(mutex: &Mutex<T>) {
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _held = mutex.lock();
        panic!("as planned");
    }));
    assert!(panicked.is_err() && mutex.is_poisoned());
}

#[test]
fn behind_a_poisoned_lock_a_pump_starts_and_is_joined() {
    let connection = connection();
    poison(&connection.link().pump);
    let (done, ran) = crossbeam_channel::unbounded();
    for n in 1..=2 {
        let done = done.clone();
        connection.link().start_pump(move || done.send(n).unwrap()).unwrap();
    }
    connection.link().join_pump();
    assert_eq!(ran.try_iter().collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn two_are_equal_if_they_are_the_same_and_ordered_as_they_came() {
    let (first, second) = (connection(), connection());
    assert!(first == first.clone() && first != second && first < second);
    let both = [&second, &first, &second];
    assert_eq!(both.into_iter().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>(), [&first, &second]);
    assert_eq!(both.into_iter().collect::<HashSet<_>>().len(), 2);
}

#[test]
fn its_name_has_the_path_and_not_the_query_where_secrets_travel() {
    let connection = connection();
    connection.set_request("/websocket", connection.peer_addr());
    let (id, peer) = (connection.id(), connection.peer_addr());
    assert_eq!(connection.to_string(), format!("client-{id} ({peer} /websocket)"));
}

#[test]
fn a_server_that_knows_no_observer_reports_to_nobody() {
    assert!(!connection().state().observer.is_watching());
}
