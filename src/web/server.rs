//! [`Server`]: binds, starts the `listener` and the `closer`, and ends them all.

use std::io;
use std::net::Shutdown;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use crossbeam_channel::Receiver;
use crossbeam_channel::Sender;

use crate::web::application::Application;
use crate::web::application::Settings;
use crate::web::capacity::Capacity;
use crate::web::closer;
use crate::web::error::Error;
use crate::web::error::Result;
use crate::web::listener;
use crate::web::listener::Shared;
use crate::web::socket::Common;
use crate::web::stats::Stats;
use crate::web::threads::Threads;
use crate::web::wire::Death;

/// How long a shutdown waits for the clients to answer its Close frames.
const DRAIN_DEADLINE: Duration = Duration::from_secs(3);
/// How long it waits after that for threads whose sockets it has shut; only a handler that blocks takes
/// longer.
const KILL_DEADLINE: Duration = Duration::from_secs(1);
/// Connections that the kernel completes before they are accepted; it may allow fewer
/// (`net.core.somaxconn`).
const BACKLOG: i32 = 4096;

/// A running server. Dropped, it shuts down.
pub struct Server {
    local_addr: SocketAddr,
    capacity: Capacity,
    listener: TcpListener,
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Dropped at the end of a shutdown; then `stopped` has no sender any more, which the closer and
    /// [`join`](Server::join) wait for.
    running: Mutex<Option<Sender<()>>>,
    stopped: Receiver<()>,
}

impl Server {
    /// Listens on `address` and serves `application`, with as many clients as this machine can hold
    /// ([`Capacity`]). Port 0 lets the system choose one, see [`local_addr`](Server::local_addr).
    ///
    /// # Errors
    /// [`Error::Io`] if the address cannot be bound, or a thread cannot be started.
    pub fn bind(address: impl ToSocketAddrs, application: Application) -> Result<Server> {
        let capacity = Capacity::of_this_machine(application.settings.delivery);
        Server::bind_with(address, application, capacity)
    }

    /// The same with a capacity of one's own.
    ///
    /// # Errors
    /// As [`bind`](Server::bind).
    pub fn bind_with(
        address: impl ToSocketAddrs,
        application: Application,
        capacity: Capacity,
    ) -> Result<Server> {
        let addresses: Vec<_> =
            address.to_socket_addrs().map_err(Error::io("cannot find the address"))?.collect();
        let names: Vec<_> = addresses.iter().map(SocketAddr::to_string).collect();
        let doing = format!("cannot listen on {}", names.join(" or "));
        let listener = TcpListener::bind(&addresses[..]).map_err(Error::io(doing))?;
        let doing = || "cannot start the server";
        // The standard library asks for a backlog of 128, too few for a storm of clients.
        rustix::net::listen(&listener, BACKLOG).map_err(|error| Error::io(doing())(error.into()))?;
        let local_addr = listener.local_addr().map_err(Error::io(doing()))?;
        let (leaving, to_close) = crossbeam_channel::unbounded();
        let (running, stopped) = crossbeam_channel::bounded(0);
        let Settings { stack_size, max_backlog, write_deadline, delivery, .. } = application.settings;
        let counters = application.meter().0;
        let threads = Arc::new(Threads::new(capacity.clients, delivery));
        let observer = application.observer.clone();
        let common = Arc::new(Common {
            counters,
            stack_size,
            max_backlog,
            write_deadline,
            delivery,
            threads,
            leaving,
            observer,
        });
        let shared = Arc::new(Shared::new(application, common, capacity.clients));
        let server = Server {
            local_addr,
            capacity,
            listener: listener.try_clone().map_err(Error::io(doing()))?,
            shared: shared.clone(),
            threads: Mutex::default(),
            running: Mutex::new(Some(running)),
            stopped: stopped.clone(),
        };
        // In this order: `shutdown`, which an error here comes to, joins the first one first.
        server.start("listener", move || listener::run(&listener, &shared)).map_err(Error::io(doing()))?;
        let closer = move || closer::run(to_close, stopped);
        server.start("closer", closer).map_err(Error::io(doing()))?;
        Ok(server)
    }

    fn start(&self, name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let thread = thread::Builder::new().name(name.to_owned()).spawn(run)?;
        self.threads().push(thread);
        Ok(())
    }

    fn threads(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The address that it listens on, with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The most clients at a time, and which limit says so.
    pub fn capacity(&self) -> Capacity {
        self.capacity
    }

    /// What has been counted so far.
    pub fn stats(&self) -> Stats {
        self.shared.application.meter().stats()
    }

    /// Stops accepting, sends Close 1001 to every client, gives them 3 seconds to answer, ends those
    /// that did not, and joins the threads. The port is free when this returns. A handler that still
    /// blocks then is left to itself, and counted in the log. Any thread may call this, except a
    /// handler's own; the second call waits for the first.
    pub fn shutdown(&self) {
        let mut threads = self.threads();
        if threads.is_empty() {
            return;
        }
        self.shared.stopping.store(true, Ordering::Release);
        // Wakes `accept`.
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        // If it panicked, that has been reported.
        let _ = threads.remove(0).join();
        let deadline = Instant::now() + DRAIN_DEADLINE;
        for connection in self.shared.connections() {
            // Before the 101 the Close waits behind it; on a page's connection it is never written.
            let _ = connection.close(Some(1001), Some("server shutting down"));
            if !connection.is_websocket() {
                let _ = connection.socket().stream.shutdown(Shutdown::Read);
            }
        }
        if self.shared.wait_until_empty(deadline) > 0 {
            for connection in self.shared.connections() {
                connection.outbox().kill(Death::Ended);
            }
            let left = self.shared.wait_until_empty(Instant::now() + KILL_DEADLINE);
            if left > 0 {
                log::warn!("shut down while {left} handlers were still running");
            }
        }
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(running);
        threads.drain(..).for_each(|thread| drop(thread.join()));
    }

    /// Blocks until another thread has called [`shutdown`](Server::shutdown) and it is done. A program
    /// whose main thread has nothing else to do waits here.
    pub fn join(&self) {
        // Nothing is ever sent: this is the end of the last sender.
        let _ = self.stopped.recv();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shutdown();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::web::connection::tests::poison;

    #[test]
    fn behind_poisoned_locks_it_shuts_down_and_is_joined() {
        let server = Server::bind("127.0.0.1:0", Application::new()).unwrap();
        poison(&server.threads);
        poison(&server.running);
        server.shutdown();
        server.join();
        assert!(server.threads().is_empty());
        drop(TcpListener::bind(server.local_addr()).expect("the port is free"));
    }
}
