//! The thread `listener`: accepts, admits or rejects, and starts `client-N`.
//!
//! Blocks in `poll` of its socket and of the [`Waker`]. It never waits for a client: a newcomer whose place or thread
//! is not free yet waits in a queue. It outlives every error: it rejects a client that it cannot serve, and continues.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::http::response::{Response, Then};
use crate::http::router::Router;
use crate::log_limit::LogLimiter;
use crate::net::closer::{CLOSE_GRACE, Errand, Overdue, OverduePeer, discard_input};
#[cfg(feature = "tls")]
use crate::net::tls::threads;
use crate::net::waker::Waker;
use crate::observer::Event;
use crate::server::addresses::Neighbour;
use crate::server::application::Route;
use crate::server::client::Client;
use crate::server::client_thread;
use crate::server::registry::{Admitted, Registry};
use crate::server::rejection::Rejection;
use crate::server::state::ServerState;

/// Pause after a lasting error of `accept`, such as no free descriptor.
const BACK_OFF: Duration = Duration::from_millis(50);
/// How long a newcomer waits for a place and a thread: evicted clients end at once, but on a busy machine their threads
/// have to wait for a turn.
const PLACE_WAIT: Duration = Duration::from_secs(1);
/// Clients that it accepts before it serves the queue.
const ACCEPTS: usize = 64;
/// Most rejected clients that get time to send their request. Each keeps a descriptor, so a small server allows only
/// this part of its capacity.
const MOST_OVERDUE: usize = 32;
const OVERDUE_SHARE: usize = 8;

/// The server that the listener admits clients to.
pub(crate) struct Listener {
    pub(crate) state: Arc<ServerState>,
    pub(crate) routes: Arc<Router<Route>>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) waker: Arc<Waker>,
    trouble: LogLimiter,
    /// Waiting newcomers, in order of arrival.
    waiting: VecDeque<Newcomer>,
}

/// An admitted newcomer without a thread.
struct Newcomer {
    client: Arc<Client>,
    counted: Option<Neighbour>,
    deadline: Instant,
}

impl Newcomer {
    fn neighbour(&self) -> Neighbour {
        self.client.neighbour()
    }
}

impl Listener {
    pub(crate) fn new(
        state: Arc<ServerState>,
        routes: Arc<Router<Route>>,
        registry: Arc<Registry>,
        waker: Arc<Waker>,
    ) -> Listener {
        let (trouble, waiting) = (LogLimiter::default(), VecDeque::new());
        Listener { state, routes, registry, waker, trouble, waiting }
    }

    /// Accepts until the server is stopping. `listener` does not block.
    pub(crate) fn run(mut self, listener: &TcpListener) {
        while !self.state.is_stopping() {
            self.state.beats.fetch_add(1, Ordering::Relaxed);
            // In this order: a place that is released after this look at the queue ends the wait.
            self.waker.want(!self.waiting.is_empty());
            self.start_waiting();
            let deadline = self.waiting.front().map(|first| first.deadline);
            let timeout = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            match self.waker.wait_for(listener, timeout) {
                Ok(()) if self.state.is_stopping() => {}
                Ok(()) => self.accept_from(listener),
                Err(error) => self.back_off("cannot wait for clients", &error),
            }
        }
        for newcomer in std::mem::take(&mut self.waiting) {
            self.dismiss(newcomer, self.full());
        }
    }

    fn full(&self) -> Rejection {
        Rejection::Full { most: self.state.max_clients }
    }

    fn accept_from(&mut self, listener: &TcpListener) {
        for _ in 0..ACCEPTS {
            match listener.accept() {
                Ok((stream, peer)) => self.admit(stream, peer),
                // No client waits, or another process that shares this socket was faster.
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // The client left while it waited in the accept queue, or a signal came. Neither is an error.
                Err(error)
                    if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
                Err(error) => return self.back_off("cannot accept", &error),
            }
        }
    }

    fn back_off(&mut self, what: &'static str, error: &io::Error) {
        self.trouble.warn(what, error);
        // Only the shutdown ends it early.
        let _ = self.waker.pause(BACK_OFF);
    }

    /// Starts the client's thread, lets it wait, or rejects it.
    fn admit(&mut self, stream: TcpStream, peer: SocketAddr) {
        let neighbour = Neighbour::of(peer.ip());
        let of_its_own = self.waiting.iter().filter(|other| other.neighbour() == neighbour).count();
        if self.waiting.len() >= self.registry.most_waiting() && 2 * of_its_own < self.waiting.len() {
            self.make_room_to_wait(of_its_own);
        }
        match self.registry.admit(peer.ip(), self.waiting.len(), of_its_own) {
            Ok(Admitted { at_once, counted }) => {
                let client = Client::new(stream, peer, self.state.clone());
                client.connection.report(Event::Accepted);
                let newcomer = Newcomer { client, counted, deadline: Instant::now() + PLACE_WAIT };
                self.waiting.push_back(newcomer);
                if at_once {
                    self.start_waiting();
                }
            }
            Err(rejection) => self.reject(stream, peer.ip(), rejection),
        }
    }

    /// Rejects the last newcomer of the address that has the most waiting, if the new one's address would still have
    /// fewer.
    fn make_room_to_wait(&mut self, of_its_own: usize) {
        let neighbours: Vec<_> = self.waiting.iter().map(Newcomer::neighbour).collect();
        let count = |neighbour| neighbours.iter().filter(|other| **other == neighbour).count();
        let most = neighbours.iter().enumerate().map(|(at, neighbour)| (count(*neighbour), at)).max();
        let crowded = most.filter(|(count, _)| *count > of_its_own + 1);
        if let Some(newcomer) = crowded.and_then(|(_, at)| self.waiting.remove(at)) {
            self.dismiss(newcomer, Rejection::HalfOpen);
        }
    }

    /// Starts the threads of waiting newcomers, in order of arrival, while there are places and threads. Rejects
    /// newcomers that have waited too long.
    fn start_waiting(&mut self) {
        while let Some(newcomer) = self.waiting.pop_front() {
            if newcomer.deadline <= Instant::now() {
                self.dismiss(newcomer, self.full());
            } else if !self.registry.has_place() {
                return self.waiting.push_front(newcomer);
            } else if let Err(error) = self.start(&newcomer) {
                // Not the system's error: threads that have just ended will soon return their permits.
                if error.raw_os_error().is_none() {
                    return self.waiting.push_front(newcomer);
                }
                self.trouble.warn("cannot start a client's thread", &error);
                self.dismiss(newcomer, self.full());
            }
        }
    }

    /// Starts the client's thread.
    fn start(&self, newcomer: &Newcomer) -> io::Result<()> {
        let Listener { state, routes, registry, .. } = self;
        let client = &newcomer.client;
        // Before the thread starts, so that its end finds its entry.
        registry.insert(client, newcomer.counted);
        let name = format!("client-{}", client.connection.id());
        let (own, routes, its_registry) = (client.clone(), routes.clone(), registry.clone());
        let run = move || client_thread::serve_client(&own, &routes, &its_registry);
        let started = state.shared.budget.spawn(name, Duration::ZERO, run);
        started.map(drop).inspect_err(|_| registry.withdraw(client))
    }

    /// Rejects an admitted newcomer.
    fn dismiss(&self, newcomer: Newcomer, rejection: Rejection) {
        let Newcomer { client, counted, .. } = newcomer;
        let connection = &client.connection;
        self.registry.discharge(counted);
        connection.report(Event::Gone);
        if let Ok(stream) = connection.link().tcp().stream.try_clone() {
            self.reject(stream, connection.link().peer.ip(), rejection);
        }
    }

    /// Sends 503 or 429 to a client; over TLS, an unencrypted alert, because the listener does no handshakes. Never
    /// blocks: it sends only as much as fits into the empty buffer of a new socket.
    fn reject(&self, mut stream: TcpStream, client: IpAddr, rejection: Rejection) {
        self.registry.note(client, &rejection);
        let _ = stream.set_nonblocking(true);
        if rejection == Rejection::NotAProxy {
            // The client learns nothing about other clients.
            return self.let_go(stream);
        }
        #[cfg(feature = "tls")]
        if self.state.tls_handshakes.is_some() {
            let _ = stream.write(&threads::FULL);
            return self.let_go(stream);
        }
        let response = Response::from_error(&rejection.to_error());
        let head = response.head(Then::Close).unwrap_or_default();
        let _ = response.write_to(head, None, |bytes| stream.write(bytes).map(|_| ()));
        self.let_go(stream);
    }

    /// Ends a rejected client, once it has had the time to read why.
    fn let_go(&self, stream: TcpStream) {
        let state = &self.state;
        let _ = stream.shutdown(Shutdown::Write);
        let most = (state.max_clients / OVERDUE_SHARE).clamp(1, MOST_OVERDUE);
        if !discard_input(&stream) && state.shared.closer.len() < most {
            let (deadline, peer) = (Instant::now() + CLOSE_GRACE, OverduePeer::Rejected(stream));
            // Without a closer the server is shutting down.
            let _ = state.shared.closer.send(Errand::Overdue(Overdue { deadline, peer }));
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
