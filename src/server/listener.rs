//! The thread `listener`: accepts, admits or rejects, and starts `client-N`.
//!
//! Blocks in `accept`. It outlives every error: what it cannot serve now it rejects, and goes on.

use std::io::{self, ErrorKind, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::http::response::{Response, Then};
use crate::http::router::Router;
use crate::log_limit::LogLimiter;
use crate::net::closer::{CLOSE_GRACE, Overdue, OverduePeer, discard_input};
#[cfg(feature = "tls")]
use crate::net::tls::handshake;
use crate::observer::Event;
use crate::server::application::Route;
use crate::server::client_thread;
use crate::server::connection::Connection;
use crate::server::input::RETRY_AFTER;
use crate::server::registry::Registry;
use crate::server::state::ServerState;

/// Pause after an error of `accept` that will not go away by itself, such as no free descriptor.
const BACK_OFF: Duration = Duration::from_millis(50);
/// How long the listener waits for another client's thread to be gone, where all threads there may be are taken.
const THREAD_WAIT: Duration = Duration::from_millis(100);
/// Most rejected clients that are given time to send their request, each of which keeps a descriptor; where
/// few clients fit, this part of them.
const MOST_OVERDUE: usize = 32;
const OVERDUE_SHARE: usize = 8;

/// What the listener admits clients to.
pub(crate) struct Listener {
    pub(crate) state: Arc<ServerState>,
    pub(crate) routes: Arc<Router<Route>>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) trouble: LogLimiter,
}

impl Listener {
    /// Accepts until the server is stopping.
    pub(crate) fn run(mut self, listener: &TcpListener) {
        loop {
            match listener.accept() {
                _ if self.state.is_stopping() => return,
                Ok((stream, peer)) => self.admit(stream, peer),
                // The client left while it waited in the backlog, or a signal came: no trouble at all.
                Err(error)
                    if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
                Err(error) => {
                    self.trouble.warn("cannot accept", &error);
                    thread::sleep(BACK_OFF);
                }
            }
        }
    }

    /// Starts the client's thread, or rejects the client.
    fn admit(&mut self, stream: TcpStream, peer: SocketAddr) {
        let Listener { state, routes, registry, trouble } = self;
        if !registry.has_room() {
            let full = io::Error::other(format!("the limit is {}", state.max_clients));
            trouble.warn("rejecting clients", &full);
            return self.reject(stream);
        }
        let connection = Connection::new(stream, peer, state.clone());
        connection.report(Event::Accepted);
        // Before the thread starts, so that its end finds its entry.
        registry.insert(&connection);
        let name = format!("client-{}", connection.id());
        let (own, routes, its_registry) = (connection.clone(), routes.clone(), registry.clone());
        let run = move || client_thread::run(&own, &routes, &its_registry);
        if let Err(error) = state.budget.spawn(name, state.settings.stack_size, THREAD_WAIT, run) {
            registry.forget(&connection);
            connection.report(Event::Gone);
            trouble.warn("cannot start a client's thread", &error);
            if let Ok(stream) = connection.link().transport.tcp().stream.try_clone() {
                self.reject(stream);
            }
        }
    }

    /// Sends 503 to a client that there is no room for; over TLS an alert that is not encrypted, since nobody here does
    /// a handshake. Never blocks: what does not fit into the empty buffer of a new socket is not sent.
    fn reject(&self, mut stream: TcpStream) {
        let state = &self.state;
        state.counters.rejected.add(1);
        let _ = stream.set_nonblocking(true);
        #[cfg(feature = "tls")]
        if state.handshakes.is_some() {
            let _ = stream.write(&handshake::FULL);
            return self.let_go(stream);
        }
        let response = Response::refusal(503, "503: No room for another client, try again later");
        let response = response.with("Retry-After", RETRY_AFTER);
        let head = response.head(Then::Close).unwrap_or_default();
        let _ = response.write_to(head, None, |bytes| stream.write(bytes).map(|_| ()));
        self.let_go(stream);
    }

    /// Ends a rejected client, once it has had the time to read why.
    fn let_go(&self, stream: TcpStream) {
        let state = &self.state;
        let _ = stream.shutdown(Shutdown::Write);
        let most = (state.max_clients / OVERDUE_SHARE).clamp(1, MOST_OVERDUE);
        if !discard_input(&stream) && state.closer.len() < most {
            let (deadline, peer) = (Instant::now() + CLOSE_GRACE, OverduePeer::Rejected(stream));
            // Without a closer the server is shutting down.
            let _ = state.closer.send(Overdue { deadline, peer });
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::server::connection::tests::{accepted, state};

    #[test]
    fn a_client_is_admitted_and_leaves_and_its_thread_is_joined() {
        let (state, registry) = (state(1), Arc::new(Registry::new(1)));
        let routes = Arc::new(Router::new());
        let mut listener = Listener {
            state: state.clone(),
            routes,
            registry: registry.clone(),
            trouble: LogLimiter::default(),
        };
        let ((stream, peer), its_end) = accepted();
        listener.admit(stream, peer);
        assert_eq!(registry.connections().len(), 1);
        drop(its_end);
        let deadline = Instant::now() + Duration::from_secs(60);
        assert_eq!(registry.wait_until_empty(deadline), 0);
        state.budget.join_all(deadline);
        assert_eq!((state.counters.accepted.get(), state.counters.ended.get()), (1, 1));
    }
}
