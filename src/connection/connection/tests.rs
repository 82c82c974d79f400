//! Connections over the loopback, also for the tests of other files; and the state after a panic.

use std::collections::{BTreeSet, HashSet};
use std::net::{TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use super::*;
use crate::connection::settings::Settings;
use crate::net::tcp::Tcp;
use crate::net::thread_budget::ThreadBudget;
use crate::observer::Observer;

/// The shared state of that number of connections, without a reaper.
pub(crate) fn shared(connections: usize) -> Arc<SharedState> {
    let settings = Settings::default();
    let budget = Arc::new(ThreadBudget::new(connections, settings.delivery, 64 << 10));
    let (counters, observer, closer) =
        (Arc::default(), Observer::default(), crossbeam_channel::unbounded().0);
    Arc::new(SharedState::new(settings, 1 << 30, counters, budget, observer, closer))
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
    {
        let transport = MaybeTls::Plain(Tcp::new(stream, true));
        Connection::over(transport, Role::Server, peer, shared(16))
    }
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
    assert_eq!(connection.to_string(), format!("client-{} ({})", connection.id(), connection.peer_addr()));
    connection.link().set_path("/websocket", connection.peer_addr());
    let (id, peer) = (connection.id(), connection.peer_addr());
    assert_eq!(connection.to_string(), format!("client-{id} ({peer} /websocket)"));
}

#[test]
fn a_server_that_knows_no_observer_reports_to_nobody() {
    assert!(!connection().state().observer.is_watching());
}

#[test]
fn its_name_has_the_ipv4_address_of_a_client_that_came_to_a_socket_for_both_families() {
    let ((stream, _), _) = accepted();
    let mapped = "[::ffff:192.0.2.1]:80".parse().unwrap();
    let connection =
        Connection::over(MaybeTls::Plain(Tcp::new(stream, true)), Role::Server, mapped, shared(1));
    assert_eq!(connection.to_string(), format!("client-{} (192.0.2.1:80)", connection.id()));
}
