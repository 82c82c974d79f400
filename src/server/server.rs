//! [`Server`]: binds, starts the `listener` and the `closer`; and in `ending`, how it ends.

mod ending;

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender};
use rustix::net::sockopt;

use crate::connection::state::SharedState;
use crate::error::{Error, Result};
use crate::machine::message_limit;
use crate::metrics::{Meter, Stats};
use crate::net::thread_budget::ThreadBudget;
#[cfg(feature = "tls")]
use crate::net::tls::threads::TlsThreads;
use crate::net::waker::Waker;
use crate::net::{closer, listen};
use crate::server::application::Application;
use crate::server::capacity::{Capacity, buffers_of_this_machine};
use crate::server::listener::Listener;
use crate::server::registry::Registry;
use crate::server::state::{SPARE_PLACES, ServerState};
#[cfg(feature = "deflate")]
use crate::ws::inflate::Inflater;

/// The failed step, if the server does not start.
const DOING: &str = "cannot start the server";

/// A running server. Dropped, it shuts down.
pub struct Server {
    local_addr: SocketAddr,
    capacity: Capacity,
    waker: Arc<Waker>,
    /// The thread `listener` owns it; other threads hold it only briefly. The socket closes when that thread ends.
    listener: Weak<TcpListener>,
    state: Arc<ServerState>,
    registry: Arc<Registry>,
    meter: Meter,
    /// The thread `listener`, until it is joined.
    accepting: Mutex<Option<JoinHandle<()>>>,
    /// The other threads, until a shutdown has joined them.
    threads: Mutex<Vec<JoinHandle<()>>>,
    #[cfg(feature = "tls")]
    tls_threads: Mutex<Option<TlsThreads>>,
    /// Dropped at the end of a shutdown; then `stopped` has no sender any more, which the closer and
    /// [`join`](Server::join) wait for.
    running: Mutex<Option<Sender<()>>>,
    stopped: Receiver<()>,
    /// Dropped at the beginning of a shutdown, which ends the waits of a drain.
    open: Mutex<Option<Sender<()>>>,
    closing: Receiver<()>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Server");
        debug.field("local_addr", &self.local_addr).field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

impl Server {
    /// Listens on `address` and serves `application`, with as many clients as this machine can hold ([`Capacity`]).
    /// Port 0 lets the system choose one, see [`local_addr`](Server::local_addr). Of several addresses, it uses the
    /// first that this machine has; `[::]` includes IPv4. A port that is in use is an error, even if it is free on the
    /// next address: otherwise some clients would reach the server, and the rest another program.
    ///
    /// # Errors
    /// [`Error::Io`] if the address cannot be bound, or a thread cannot be started.
    pub fn bind(address: impl ToSocketAddrs, application: Application) -> Result<Server> {
        let capacity = Capacity::of_this_machine(&application);
        Server::bind_with(address, application, capacity)
    }

    /// Binds with an explicit capacity.
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

    /// Serves `application` on a socket that listens already: in a test, or under a supervisor that has bound the port.
    /// The capacity is that of this machine. The server sets the socket to non-blocking, for every process that shares
    /// it. It never shuts the socket down: other processes continue to accept, and waiting connections are not reset.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it does not listen, [`Error::Io`] if a thread cannot be started.
    pub fn serve(listener: TcpListener, application: Application) -> Result<Server> {
        let capacity = Capacity::of_this_machine(&application);
        Server::serve_with(listener, application, capacity)
    }

    /// Serves `application` on a socket that listens already, with an explicit capacity.
    ///
    /// # Errors
    /// As [`serve`](Server::serve).
    pub fn serve_with(listener: TcpListener, application: Application, capacity: Capacity) -> Result<Server> {
        // A supervisor may pass an accepted socket (`Accept=yes`), or one that is only bound.
        if !sockopt::socket_acceptconn(&listener).map_err(|errno| Error::io(DOING)(errno.into()))? {
            return Err(Error::invalid("the socket does not listen: pass one that does"));
        }
        Server::start_on(listener, application, capacity)
    }

    fn start_on(listener: TcpListener, application: Application, capacity: Capacity) -> Result<Server> {
        // The listener waits in `poll`, for its socket and for the end.
        listener.set_nonblocking(true).map_err(Error::io(DOING))?;
        let waker = Arc::new(Waker::new().map_err(Error::io(DOING))?);
        listen::again(&listener, application.settings.send_buffer).map_err(Error::io(DOING))?;
        let local_addr = listener.local_addr().map_err(Error::io(DOING))?;
        let (to_closer, errands) = crossbeam_channel::unbounded();
        let (running, stopped) = crossbeam_channel::bounded(0);
        let (open, closing) = crossbeam_channel::bounded(0);
        let listener = Arc::new(listener);
        let meter = application.meter();
        let Application { routes, mut connections, settings, observer, .. } = application;
        let max_clients = capacity.clients;
        let buffered = settings.max_buffered.unwrap_or_else(|| buffers_of_this_machine(&settings));
        connections.max_message = message_limit(connections.max_message, settings.other_memory);
        log::debug!("{max_clients} clients, for whom {} KiB may be buffered", buffered >> 10);
        #[cfg(feature = "deflate")]
        if connections.compression.is_some() {
            Inflater::prepare();
        }
        let counters = meter.0.clone();
        #[cfg(feature = "tls")]
        let tls = settings.tls.as_ref().map(TlsThreads::start).transpose().map_err(Error::io(DOING))?;
        let places = max_clients.saturating_add(SPARE_PLACES);
        let budget = Arc::new(ThreadBudget::new(places, connections.delivery, settings.stack_size));
        let shared = SharedState::new(connections, buffered, counters, budget, observer, to_closer);
        let state = ServerState::new(settings, Arc::new(shared), max_clients);
        #[cfg(feature = "tls")]
        let (tls_handshakes, tls_threads) = tls.unzip();
        #[cfg(feature = "tls")]
        let state = state.with_tls_handshakes(tls_handshakes);
        let state = Arc::new(state);
        let (routes, registry) = (Arc::new(routes), Arc::new(Registry::new(state.clone(), waker.clone())));
        state.shared.budget.set_waker(waker.clone());
        let server = Server {
            local_addr,
            capacity,
            waker: waker.clone(),
            listener: Arc::downgrade(&listener),
            state: state.clone(),
            registry: registry.clone(),
            meter,
            accepting: Mutex::default(),
            threads: Mutex::default(),
            #[cfg(feature = "tls")]
            tls_threads: Mutex::new(tls_threads),
            running: Mutex::new(Some(running)),
            stopped: stopped.clone(),
            open: Mutex::new(Some(open)),
            closing,
        };
        server.state.shared.budget.start_reaper().map_err(Error::io(DOING))?;
        let closer =
            start("closer", move || closer::run_errands(errands, stopped)).map_err(Error::io(DOING))?;
        lock(&server.threads).push(closer);
        let accepting = Listener::new(state, routes, registry, waker);
        let accepting = start("listener", move || accepting.run(&listener)).map_err(Error::io(DOING))?;
        *lock(&server.accepting) = Some(accepting);
        Ok(server)
    }

    /// Returns the address that it listens on, with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Returns the most concurrent clients, and which limit sets the number.
    pub fn capacity(&self) -> Capacity {
        self.capacity
    }

    /// Returns another descriptor of the listening socket, for a process that will replace this one. The new process
    /// accepts the connections that this server has not accepted, so no client is refused. Until the descriptor is
    /// closed, the port is in use.
    ///
    /// # Errors
    /// [`Error::Closed`] if the server no longer accepts, [`Error::Io`] if all descriptors are in use.
    pub fn listener(&self) -> Result<TcpListener> {
        let listener = self.listener.upgrade().ok_or(Error::Closed)?;
        listener.try_clone().map_err(Error::io("cannot hand on the socket"))
    }

    /// Returns the number of turns of the `listener` thread's loop, and triggers one more. For a watchdog: if two
    /// calls, at least two seconds apart, return the same number, the listener hangs.
    pub fn beat(&self) -> u64 {
        let beats = self.state.beats.load(Relaxed);
        self.waker.wake();
        beats
    }

    /// Returns the counters.
    pub fn stats(&self) -> Stats {
        self.meter.stats()
    }
}

fn start(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(run)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
        poison(&server.accepting);
        poison(&server.open);
        server.shutdown();
        server.join();
        assert!(lock(&server.threads).is_empty());
        drop(TcpListener::bind(server.local_addr()).expect("the port is free"));
    }
}
