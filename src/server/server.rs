//! [`Server`]: binds, starts the `listener` and the `closer`, and ends them all.

use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use crate::connection::state::SharedState;
use crate::error::{Error, Result};
use crate::machine::message_limit;
use crate::metrics::{DisconnectReason, Meter, Stats};
use crate::net::thread_budget::ThreadBudget;
#[cfg(feature = "tls")]
use crate::net::tls::handshake::HandshakeThreads;
use crate::net::transport::Transport;
use crate::net::waker::Waker;
use crate::net::{closer, listen};
use crate::server::application::Application;
use crate::server::capacity::{Capacity, buffers_of_this_machine};
use crate::server::listener::Listener;
use crate::server::registry::Registry;
use crate::server::state::{SPARE_PLACES, ServerState};
#[cfg(feature = "deflate")]
use crate::ws::inflate::Inflater;

/// How long a shutdown waits for the clients to answer its Close frames.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(3);
/// How long it waits after that, in all, for threads whose sockets it has shut; only what an application does, and
/// blocks, takes longer.
const KILL_GRACE: Duration = Duration::from_secs(1);
/// A longer grace is taken for this one: a year.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

/// A running server. Dropped, it shuts down.
pub struct Server {
    local_addr: SocketAddr,
    capacity: Capacity,
    waker: Arc<Waker>,
    state: Arc<ServerState>,
    registry: Arc<Registry>,
    meter: Meter,
    threads: Mutex<Vec<JoinHandle<()>>>,
    #[cfg(feature = "tls")]
    handshakes: Mutex<Option<HandshakeThreads>>,
    /// Dropped at the end of a shutdown; then `stopped` has no sender any more, which the closer and
    /// [`join`](Server::join) wait for.
    running: Mutex<Option<Sender<()>>>,
    stopped: Receiver<()>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Server");
        debug.field("local_addr", &self.local_addr).field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

impl Server {
    /// Listens on `address` and serves `application`, with as many clients as this machine can hold
    /// ([`Capacity`]). Port 0 lets the system choose one, see [`local_addr`](Server::local_addr). Of several
    /// addresses it is the first that this machine has, and `[::]` is IPv4 as well. A port that is in use is an
    /// error, also where it is free on the next address: there, the server would be reached by some, and another
    /// program by the rest.
    ///
    /// # Errors
    /// [`Error::Io`] if the address cannot be bound, or a thread cannot be started.
    pub fn bind(address: impl ToSocketAddrs, application: Application) -> Result<Server> {
        let capacity = Capacity::of_this_machine(&application);
        Server::bind_with(address, application, capacity)
    }

    /// Does the same with a capacity of one's own.
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
        let listener = listen::on_first_of(&addresses)?;
        Server::start_on(listener, application, capacity)
    }

    /// Serves `application` on a socket that listens already: in a test, or under a supervisor that has bound the
    /// port. With as many clients as this machine can hold. The socket is set to non-blocking, which holds for every
    /// process that has it. It is never shut down: other processes that have it go on, and what waits in it is not reset.
    ///
    /// # Errors
    /// [`Error::Io`] if it does not listen, or a thread cannot be started.
    pub fn serve(listener: TcpListener, application: Application) -> Result<Server> {
        let capacity = Capacity::of_this_machine(&application);
        Server::start_on(listener, application, capacity)
    }

    fn start_on(listener: TcpListener, application: Application, capacity: Capacity) -> Result<Server> {
        let doing = || "cannot start the server";
        // The listener waits in `poll`, for its socket and for the end.
        listener.set_nonblocking(true).map_err(Error::io(doing()))?;
        let waker = Arc::new(Waker::new().map_err(Error::io(doing()))?);
        listen::again(&listener).map_err(Error::io(doing()))?;
        let local_addr = listener.local_addr().map_err(Error::io(doing()))?;
        let (to_closer, overdue) = crossbeam_channel::unbounded();
        let (running, stopped) = crossbeam_channel::bounded(0);
        let meter = application.meter();
        let Application { routes, mut connections, settings, observer, .. } = application;
        let max_clients = capacity.clients;
        let buffered = settings.max_buffered.unwrap_or_else(|| buffers_of_this_machine(&settings));
        connections.max_message = message_limit(connections.max_message, settings.other_memory);
        log::debug!(target: crate::LOG, "{max_clients} clients, for whom {} KiB may be buffered", buffered >> 10);
        #[cfg(feature = "deflate")]
        if connections.compression.is_some() {
            Inflater::prepare();
        }
        let counters = meter.0.clone();
        #[cfg(feature = "tls")]
        let tls =
            settings.tls.as_ref().map(HandshakeThreads::start).transpose().map_err(Error::io(doing()))?;
        let places = max_clients.saturating_add(SPARE_PLACES);
        let budget = Arc::new(ThreadBudget::new(places, connections.delivery, settings.stack_size));
        let shared = SharedState::new(connections, buffered, counters, budget, observer, to_closer);
        let state = ServerState::new(settings, Arc::new(shared), max_clients);
        #[cfg(feature = "tls")]
        let (handshakes, handshake_threads) = tls.unzip();
        #[cfg(feature = "tls")]
        let state = state.with_handshakes(handshakes);
        let state = Arc::new(state);
        let (routes, registry) = (Arc::new(routes), Arc::new(Registry::new(state.clone(), waker.clone())));
        state.shared.budget.set_waker(waker.clone());
        let server = Server {
            local_addr,
            capacity,
            waker: waker.clone(),
            state: state.clone(),
            registry: registry.clone(),
            meter,
            threads: Mutex::default(),
            #[cfg(feature = "tls")]
            handshakes: Mutex::new(handshake_threads),
            running: Mutex::new(Some(running)),
            stopped: stopped.clone(),
        };
        server.state.shared.budget.start_reaper().map_err(Error::io(doing()))?;
        // In this order: `shutdown`, which an error here comes to, joins the first one first.
        let accepting = Listener::new(state, routes, registry, waker);
        server.start("listener", move || accepting.run(&listener)).map_err(Error::io(doing()))?;
        let closer = move || closer::run(overdue, stopped);
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

    /// Returns the address that it listens on, with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Returns the most clients at a time, and which limit says so.
    pub fn capacity(&self) -> Capacity {
        self.capacity
    }

    /// Returns what has been counted so far.
    pub fn stats(&self) -> Stats {
        self.meter.stats()
    }

    /// Stops accepting, sends Close 1001 to every client, waits 3 seconds for the answers, ends those
    /// that did not, and joins the threads, for which it waits one second more. The port is free when this returns. A
    /// handler that still blocks then is left to itself, and counted in the log, and so is the application's part of a
    /// TLS handshake. Any thread may call this, except a handler's own; the second call waits for the first.
    pub fn shutdown(&self) {
        self.shutdown_within(SHUTDOWN_GRACE);
    }

    /// Shuts down as [`shutdown`](Server::shutdown) does, but the clients have `grace` to answer. Whatever blocks, it
    /// returns within `grace` and one second more.
    pub fn shutdown_within(&self, grace: Duration) {
        let deadline = Instant::now() + grace.min(LONGEST);
        let last = deadline + KILL_GRACE;
        let mut threads = self.threads();
        if threads.is_empty() {
            return;
        }
        self.state.stop();
        // Not by a shutdown of the socket, which may be somebody else's too.
        self.waker.wake();
        // If it panicked, that has been reported.
        let _ = threads.remove(0).join();
        #[cfg(feature = "tls")]
        let mut handshakes = self.handshakes.lock().unwrap_or_else(PoisonError::into_inner).take();
        #[cfg(feature = "tls")]
        handshakes.iter_mut().for_each(HandshakeThreads::stop);
        for client in self.registry.all() {
            let connection = &client.connection;
            // Before the 101 the Close waits behind it; on a page's connection it is never written.
            let _ = connection.close(Some(1001), Some("server shutting down"));
            if !connection.is_websocket() {
                connection.link().transport.shutdown(Shutdown::Read);
            }
        }
        if self.registry.wait_until_empty(deadline) > 0 {
            for client in self.registry.all() {
                client.connection.outbox().kill(DisconnectReason::Shutdown);
            }
            let left = self.registry.wait_until_empty(last);
            if left > 0 {
                log::warn!(target: crate::LOG, "shut down while {left} handlers were still running");
            }
        }
        self.state.shared.budget.join_all(last);
        #[cfg(feature = "tls")]
        handshakes.iter_mut().for_each(|handshakes| handshakes.join(last));
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
    use crate::connection::connection::tests::poison;

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
