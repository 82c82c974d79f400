//! How a server ends: a drain, which lets the clients move to another server in time, and the shutdown after it. On the
//! calling thread.
//!
//! Never here: shutting a socket whose request has no answer, before a deadline has passed.

use std::net::Shutdown;
use std::time::{Duration, Instant};

use super::{Server, lock};
use crate::metrics::DisconnectReason;
#[cfg(feature = "tls")]
use crate::net::tls::threads::TlsThreads;
use crate::rate::FOR_EVER;
use crate::server::client::{Client, Stage};
use crate::ws::close::CloseCode;

/// How long a shutdown waits for the clients to answer its Close frames. Less than `CLOSE_GRACE`: a stop does not wait
/// for peers whose sockets the closer would shut later.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(3);
/// How long it waits after that, in all, for threads whose sockets it has shut. Only blocked application code takes
/// longer.
const KILL_GRACE: Duration = Duration::from_secs(1);
/// How long an accepted client may take to send its first request.
const ASK_GRACE: Duration = Duration::from_secs(1);
/// From one wave of Close frames to the next.
const WAVE: Duration = Duration::from_millis(50);

impl Server {
    /// Returns whether a [`drain`](Server::drain) or a [`shutdown`](Server::shutdown) has begun. A handler, which has
    /// no `Server`, asks the [`Meter`](crate::Meter::is_draining).
    pub fn is_draining(&self) -> bool {
        self.meter.is_draining()
    }

    /// Shuts down so that the clients can move to another server, but not all at once. Blocks until it is done.
    ///
    /// For `delay` it continues to accept, so that a load balancer has the time to notice
    /// ([`is_draining`](Server::is_draining) is true from the first moment): requests for pages get an answer with
    /// `Connection: close`, and new WebSockets get 503 with a `Retry-After` of 1 to 10 seconds. Then it accepts no
    /// more, and closes the WebSockets in waves over the time `over`, with code 1012, which asks a client to connect
    /// again; at once if `over` is zero. With `None` it closes them at once with 1001, which says that no other server
    /// takes over. A connection that was accepted before that still gets an answer if its request arrives within a
    /// second. In the end the server shuts down as [`shutdown`](Server::shutdown) does, which also ends the waits of a
    /// drain if another thread calls it.
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
            self.state.reject_websockets();
            if !self.wait_until(Instant::now() + delay.min(FOR_EVER)) {
                return self.shutdown();
            }
        }
        if let Some(over) = over.into() {
            self.close_in_waves(over.min(FOR_EVER));
        }
        self.shutdown();
    }

    /// Returns whether the drain may continue: a shutdown ends the wait.
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
            wave.iter().for_each(|client| close(client, CloseCode::RESTART));
        }
        // The clients that were accepted before that and have become WebSockets since.
        self.registry.wait_until_answered(begun + ASK_GRACE);
        self.state.reject_websockets();
        self.registry.websockets().iter().for_each(|client| close(client, CloseCode::RESTART));
    }

    /// Joins the listener. It cuts no accepted connections, except idle ones that have their answer.
    fn stop_accepting(&self) {
        self.state.stop();
        // Not by a shutdown of the socket, which another process may share.
        self.waker.wake();
        let mut accepting = lock(&self.accepting);
        // A panic has already been reported.
        accepting.take().into_iter().for_each(|listener| drop(listener.join()));
        self.cut(|client| client.is(Stage::Idle));
    }

    /// Ends the wait for input from clients without a WebSocket.
    fn cut(&self, which: impl Fn(&Client) -> bool) {
        let clients = self.registry.all();
        let clients =
            clients.iter().filter(|client| !client.connection.link().is_websocket() && which(client));
        clients.for_each(|client| client.connection.link().tcp().shutdown(Shutdown::Read));
    }

    /// Stops accepting, sends Close 1001 to every client, waits 3 seconds for the answers, disconnects clients that did
    /// not answer, and joins the threads, for which it waits one second more. The port is free when this returns. A
    /// connection without a WebSocket gets the answer to a request that has arrived, or that arrives within a second.
    /// The server immediately cuts an idle connection that has its answer. It abandons a handler that still blocks, and
    /// logs the number of such handlers. The same holds for application code in a TLS handshake. Any thread may call
    /// this, except a handler's own; the second call waits for the first.
    pub fn shutdown(&self) {
        self.shutdown_within(SHUTDOWN_GRACE);
    }

    /// Shuts down as [`shutdown`](Server::shutdown) does, but the clients have `grace` to answer. It always returns
    /// within `grace` and one second more.
    pub fn shutdown_within(&self, grace: Duration) {
        let begun = Instant::now();
        let deadline = begun + grace.min(FOR_EVER);
        let last = deadline + KILL_GRACE;
        let mut threads = lock(&self.threads);
        if threads.is_empty() {
            return;
        }
        drop(lock(&self.open).take());
        self.stop_accepting();
        self.state.reject_websockets();
        // Before the 101, the Close waits behind it.
        self.registry.websockets().iter().for_each(|client| close(client, CloseCode::SHUTTING_DOWN));
        if self.registry.wait_until_empty(deadline.min(begun + ASK_GRACE)) > 0 {
            self.cut(|client| !client.is(Stage::Answering));
        }
        #[cfg(feature = "tls")]
        let mut tls_threads = lock(&self.tls_threads).take();
        #[cfg(feature = "tls")]
        tls_threads.iter_mut().for_each(TlsThreads::stop);
        if self.registry.wait_until_empty(deadline) > 0 {
            for client in self.registry.all() {
                client.connection.outbox().kill(DisconnectReason::Shutdown);
            }
            let left = self.registry.wait_until_empty(last);
            if left > 0 {
                log::warn!("shut down while {left} handlers were still running");
            }
        }
        self.state.shared.budget.join_all(last);
        #[cfg(feature = "tls")]
        tls_threads.iter_mut().for_each(|threads| threads.join(last));
        drop(lock(&self.running).take());
        threads.drain(..).for_each(|thread| drop(thread.join()));
    }

    /// Blocks until another thread has called [`shutdown`](Server::shutdown) and it is done. For a program whose main
    /// thread has nothing else to do.
    pub fn join(&self) {
        // No message is ever sent: the end of the last sender ends this wait.
        let _ = self.stopped.recv();
    }
}

/// Closes a client, unless it is closing already.
fn close(client: &Client, CloseCode { code, reason, .. }: CloseCode) {
    if code == CloseCode::SHUTTING_DOWN.code {
        client.connection.link().set_ended(DisconnectReason::Shutdown);
    }
    let _ = client.connection.close(Some(code), Some(reason));
}
