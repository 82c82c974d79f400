//! How a server ends: a drain, which gives the clients time to go elsewhere, and the shutdown behind it. On the thread
//! that asks for it.
//!
//! Never here: a socket that is shut while a request on it has no answer, unless a deadline has passed.

use std::net::Shutdown;
use std::time::{Duration, Instant};

use super::{Server, lock};
use crate::metrics::DisconnectReason;
#[cfg(feature = "tls")]
use crate::net::tls::handshake::HandshakeThreads;
use crate::net::transport::Transport;
use crate::server::client::{Client, Stage};

/// How long a shutdown waits for the clients to answer its Close frames.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(3);
/// How long it waits after that, in all, for threads whose sockets it has shut; only what an application does, and
/// blocks, takes longer.
const KILL_GRACE: Duration = Duration::from_secs(1);
/// How long those may take to ask that were accepted before, and have not asked for anything.
const ASK_GRACE: Duration = Duration::from_secs(1);
/// From one wave of Close frames to the next.
const WAVE: Duration = Duration::from_millis(50);
/// A longer time is taken for this one: a year.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

/// Close code and reason where another server takes over (the IANA registry of close codes), and where none does.
const RESTART: (u16, &str) = (1012, "service restart");
const GOING_AWAY: (u16, &str) = (1001, "server shutting down");

impl Server {
    /// Returns whether a [`drain`](Server::drain) or a [`shutdown`](Server::shutdown) has begun. A handler, which has no
    /// server, asks the [`Meter`](crate::Meter::is_draining).
    pub fn is_draining(&self) -> bool {
        self.meter.is_draining()
    }

    /// Shuts down so that the clients can go elsewhere, without all of them coming at once. Blocks until it is done.
    ///
    /// For `delay` it goes on accepting, so that a load balancer has the time to notice
    /// ([`is_draining`](Server::is_draining) is true from the first moment): requests for pages are answered, with
    /// `Connection: close`, and new WebSockets get 503 with a `Retry-After` of 1 to 10 seconds. Then it accepts no more,
    /// and closes the WebSockets in waves over the time `over`, with code 1012, which asks a client to connect again; at
    /// once if that is zero. With `None` they are closed at once with 1001, which says that nobody takes over. Whoever
    /// was accepted before that is answered if it asks within a second. In the end it shuts down as
    /// [`shutdown`](Server::shutdown) does, which also ends the waits here if another thread calls it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use threadcast::{Application, Server};
    ///
    /// # fn main() -> threadcast::Result<()> {
    /// let server = Server::bind("127.0.0.1:0", Application::new())?;
    /// server.drain(Duration::ZERO, Duration::from_secs(10)); // no client, no wait
    /// # Ok(())
    /// # }
    /// ```
    pub fn drain(&self, delay: Duration, over: impl Into<Option<Duration>>) {
        self.state.shared.counters.begin_draining();
        if !delay.is_zero() {
            self.state.refuse_websockets();
            self.wait_until(Instant::now() + delay.min(LONGEST));
        }
        if let Some(over) = over.into() {
            self.close_in_waves(over.min(LONGEST));
        }
        self.shutdown();
    }

    /// Returns whether it may go on: a shutdown ends the wait.
    fn wait_until(&self, at: Instant) -> bool {
        self.closing.recv_deadline(at).is_err_and(|error| error.is_timeout())
    }

    fn close_in_waves(&self, over: Duration) {
        self.stop_accepting();
        let begun = Instant::now();
        let clients = self.registry.websockets();
        let waves = usize::try_from(over.as_millis() / WAVE.as_millis()).unwrap_or(usize::MAX);
        let size = clients.len().div_ceil(waves.max(1)).max(1);
        let waves = clients.chunks(size);
        let count = u32::try_from(waves.len()).unwrap_or(u32::MAX).max(1);
        for (n, wave) in (0..).zip(waves) {
            if n > 0 && !self.wait_until(begun + over / count * n) {
                return;
            }
            wave.iter().for_each(|client| close(client, RESTART));
        }
        // Those that were accepted before that and have become WebSockets since.
        self.registry.wait_until_answered(begun + ASK_GRACE);
        self.state.refuse_websockets();
        self.registry.websockets().iter().for_each(|client| close(client, RESTART));
    }

    /// Joins the listener. What it has accepted is not cut, but for those who have their answer and ask for nothing.
    fn stop_accepting(&self) {
        self.state.stop();
        // Not by a shutdown of the socket, which may be somebody else's too.
        self.waker.wake();
        let mut accepting = lock(&self.accepting);
        // If it panicked, that has been reported.
        accepting.take().into_iter().for_each(|listener| drop(listener.join()));
        self.cut(|client| client.is(Stage::Idle));
    }

    /// Ends the wait of clients that are not WebSockets for what they send.
    fn cut(&self, which: impl Fn(&Client) -> bool) {
        let clients = self.registry.all();
        let clients = clients.iter().filter(|client| !client.connection.is_websocket() && which(client));
        clients.for_each(|client| client.connection.link().transport.shutdown(Shutdown::Read));
    }

    /// Stops accepting, sends Close 1001 to every client, waits 3 seconds for the answers, ends those
    /// that did not, and joins the threads, for which it waits one second more. The port is free when this returns. A
    /// connection without a WebSocket gets the answer to a request that is here, or that comes within a second; one that
    /// has been answered, and waits for the next request, is cut at once. A
    /// handler that still blocks then is left to itself, and counted in the log, and so is the application's part of a
    /// TLS handshake. Any thread may call this, except a handler's own; the second call waits for the first.
    pub fn shutdown(&self) {
        self.shutdown_within(SHUTDOWN_GRACE);
    }

    /// Shuts down as [`shutdown`](Server::shutdown) does, but the clients have `grace` to answer. Whatever blocks, it
    /// returns within `grace` and one second more.
    pub fn shutdown_within(&self, grace: Duration) {
        let begun = Instant::now();
        let deadline = begun + grace.min(LONGEST);
        let last = deadline + KILL_GRACE;
        let mut threads = lock(&self.threads);
        if threads.is_empty() {
            return;
        }
        drop(lock(&self.open).take());
        self.stop_accepting();
        self.state.refuse_websockets();
        // Before the 101 the Close waits behind it.
        self.registry.websockets().iter().for_each(|client| close(client, GOING_AWAY));
        if self.registry.wait_until_empty(deadline.min(begun + ASK_GRACE)) > 0 {
            self.cut(|client| !client.is(Stage::Answering));
        }
        #[cfg(feature = "tls")]
        let mut handshakes = lock(&self.handshakes).take();
        #[cfg(feature = "tls")]
        handshakes.iter_mut().for_each(HandshakeThreads::stop);
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
        drop(lock(&self.running).take());
        threads.drain(..).for_each(|thread| drop(thread.join()));
    }

    /// Blocks until another thread has called [`shutdown`](Server::shutdown) and it is done. A program
    /// whose main thread has nothing else to do waits here.
    pub fn join(&self) {
        // Nothing is ever sent: this is the end of the last sender.
        let _ = self.stopped.recv();
    }
}

/// Closes a client, unless it is closing already.
fn close(client: &Client, (code, reason): (u16, &str)) {
    let _ = client.connection.close(Some(code), Some(reason));
}
