//! Connections over the loopback for the tests of other files too, and what a panic leaves behind.

use std::net::TcpListener;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::web::observer::Observer;
use crate::web::threads::Threads;
use crate::web::wire::Delivery;

pub(crate) fn common() -> Arc<Common> {
    Arc::new(Common {
        counters: Arc::default(),
        stack_size: 64 << 10,
        max_backlog: 1 << 20,
        write_deadline: Duration::from_secs(10),
        delivery: Delivery::Inline,
        threads: Arc::new(Threads::new(16, Delivery::Inline)),
        leaving: crossbeam_channel::unbounded().0,
        observer: Observer::default(),
    })
}

/// A client as `accept` gives it, and the client's own end.
pub(crate) fn accepted() -> ((TcpStream, SocketAddr), TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener.accept().unwrap(), client)
}

/// A connection whose client has left.
pub(crate) fn connection() -> Connection {
    let ((stream, peer), _) = accepted();
    Connection::new(stream, 1, peer, common())
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
    poison(&connection.socket().pump);
    let (done, ran) = crossbeam_channel::unbounded();
    for n in 1..=2 {
        let done = done.clone();
        connection.socket().start_pump(Box::new(move || done.send(n).unwrap())).unwrap();
    }
    connection.socket().join_pump();
    assert_eq!(ran.try_iter().collect::<Vec<_>>(), [1, 2]);
}
