//! [`Connection`]: a server's handle of a client, and a client's of its server. Clones are handles of one connection;
//! any thread may call anything on it at any time, while the reading thread is blocked in `read`.

mod identity;
mod latest;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tungstenite::Bytes;
use tungstenite::protocol::Role;

use crate::connection::link::PeerLink;
use crate::connection::state::SharedState;
use crate::error::{Error, Result};
use crate::http::exchange::Choices;
use crate::metrics::{DisconnectReason, PushTally};
use crate::net::maybe_tls::MaybeTls;
use crate::net::outbox::{Link, Outbox};
use crate::observer::Event;
use crate::rate::FOR_EVER;
use crate::ws::frame::{self, Frame, Prepared};
use crate::ws::mask;
use crate::ws::message::Message;

/// The number of this process's newest connection.
static LAST_ID: AtomicU64 = AtomicU64::new(0);

/// One client's WebSocket; or, from [`client::connect`](crate::client::connect), one to a server.
///
/// Clones of one connection are equal; connections are ordered by accept.
#[derive(Clone)]
pub struct Connection {
    outbox: Arc<Outbox<PeerLink>>,
}

impl Connection {
    /// Makes a connection over a transport, for either end.
    pub(crate) fn over(
        transport: MaybeTls,
        role: Role,
        peer: SocketAddr,
        state: Arc<SharedState>,
    ) -> Connection {
        let limit = state.settings.max_backlog as u64;
        let id = LAST_ID.fetch_add(1, Relaxed) + 1;
        let link = PeerLink::new(transport, id, role, peer, state);
        Connection { outbox: Arc::new(Outbox::new(link, limit)) }
    }

    /// Sends a message: text, binary, or JSON (`json!(..)`, [`Message::json`]). Never blocks: bytes that the socket
    /// does not accept wait in the backlog. Messages of one thread arrive in order.
    ///
    /// ```no_run
    /// # fn example(connection: &threadcast::Connection) -> threadcast::Result<()> {
    /// connection.write_message("text")?;
    /// connection.write_message(vec![0, 255])?;
    /// connection.write_message(serde_json::json!({ "type": "pong", "at": [1, 2] }))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Closed`] if the connection is closed or closing; [`Error::SlowConsumer`] if its backlog
    /// is full, which disconnects it; [`Error::Invalid`] for a message of over 1 GiB.
    pub fn write_message(&self, message: impl Into<Message>) -> Result<()> {
        self.push_prepared(&message.into().prepare()?, &mut PushTally::default())
    }

    /// Sends a Ping with up to 125 bytes; the answer arrives at the handler's `on_pong`.
    ///
    /// # Errors
    /// As [`write_message`](Connection::write_message).
    pub fn ping(&self, payload: &[u8]) -> Result<()> {
        self.push(frame::ping(payload)?)
    }

    /// Begins the closing handshake: a Close frame behind all earlier messages. A reason alone means code 1000; without
    /// a code and a reason, the Close frame is empty. A reason is cut to 123 bytes, or fewer so as not to cut a
    /// character. Messages that arrive before the peer's answer are still delivered; the connection ends if the peer
    /// does not answer within 5 seconds after the frame is written.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a reserved code; the connection then stays open. [`Error::Closed`] if it is closed or
    /// closing already.
    pub fn close(&self, code: Option<u16>, reason: Option<&str>) -> Result<()> {
        self.push(frame::close(code, reason)?)
    }

    /// Returns the code of the peer's Close frame: `None` before it, if it had none, or if the connection
    /// ended without one.
    pub fn close_code(&self) -> Option<u16> {
        self.link().close.get()?.0
    }

    /// Returns the reason in the peer's Close frame; `None` as for [`close_code`](Connection::close_code), and
    /// if it is empty.
    pub fn close_reason(&self) -> Option<&str> {
        self.link().close.get()?.1.as_deref()
    }

    /// Returns the reason for the connection's end: in `on_close` and after it, and at a client's end when
    /// [`recv`](crate::client::Messages::recv) has returned the end; `None` while it is open.
    ///
    /// ```
    /// # use threadcast::{Connection, DisconnectReason};
    /// # fn is_dead(connection: &Connection) -> bool {
    /// connection.ended_by() == Some(DisconnectReason::PingTimeout)
    /// # }
    /// ```
    pub fn ended_by(&self) -> Option<DisconnectReason> {
        *self.link().ended_by()
    }

    /// Returns the connection's number, unique in this process; its thread is `client-N`.
    pub fn id(&self) -> u64 {
        self.link().id
    }

    /// Returns the client's address, as [`Request::peer_addr`](crate::Request::peer_addr); at the client's end it is
    /// the server's.
    pub fn peer_addr(&self) -> SocketAddr {
        self.link().addr()
    }

    /// Returns the chosen subprotocol, if any, once the 101 is made: `None` in `open`.
    pub fn subprotocol(&self) -> Option<&str> {
        self.link().choices.get()?.subprotocol.as_deref()
    }

    /// Returns the bytes that wait for the client, plus 64 for each frame.
    pub fn backlog(&self) -> u64 {
        self.outbox.bytes()
    }

    /// Returns the bytes that the system has accepted for the peer so far: frames, and the overhead of TLS.
    pub fn bytes_sent(&self) -> u64 {
        self.link().sent.load(Relaxed)
    }

    /// Blocks until at most a quarter of its backlog's limit is in use, for at most `within`. A producer that waits
    /// first never makes its client a slow consumer. Several producers for one client may all wait, and room is only a
    /// hint: each should send little (together no more than half of [`max_backlog`](crate::Application::max_backlog))
    /// before it waits again.
    ///
    /// The backlog does not include the message in progress. In `open`, the connection writes nothing before the 101,
    /// so waiting is pointless: it accepts messages of any size, as far as
    /// [`max_buffered`](crate::Application::max_buffered) allows, and a thread that `open` starts may call this.
    ///
    /// A handler that waits does not read at the same time, so it does not answer Pings. A client that reads nothing
    /// for the [`write_deadline`](crate::Application::write_deadline) is disconnected, which ends the wait.
    ///
    /// ```no_run
    /// # use std::io::{Read, stdin};
    /// # use std::time::Duration;
    /// # fn forward(connection: &threadcast::Connection) -> threadcast::Result<()> {
    /// let mut bytes = [0; 16 << 10];
    /// while let Ok(length @ 1..) = stdin().read(&mut bytes) {
    ///     connection.wait_for_room(Duration::from_secs(60))?;
    ///     connection.write_message(&bytes[..length])?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Closed`] if the connection is closed or closing, also while it waits; [`Error::TimedOut`] if the
    /// backlog is still too full after `within`; [`Error::Invalid`] at once in `open`, on the client's own thread.
    pub fn wait_for_room(&self, within: Duration) -> Result<()> {
        if self.outbox.state().is_early() && self.is_on_its_thread() {
            return Err(Error::invalid(
                "wait_for_room would wait forever in open, since nothing is sent before open returns: write without waiting, or on another thread",
            ));
        }
        let deadline = Instant::now() + within.min(FOR_EVER);
        if !self.outbox.wait_for_room(deadline) {
            return Err(Error::TimedOut);
        }
        if self.is_closed() { Err(Error::Closed) } else { Ok(()) }
    }

    /// Returns how long the client took to answer the last keepalive's Ping, `None` before the first answer. The server
    /// pings a client only when it has been silent for the [`ping_interval`](crate::Application::ping_interval), so
    /// this may be old: see [`latency_age`](Connection::latency_age).
    pub fn latency(&self) -> Option<Duration> {
        self.latency_age()?;
        Some(Duration::from_micros(self.link().latency.round_trip.load(Relaxed)))
    }

    /// Returns how long ago [`latency`](Connection::latency) was measured.
    pub fn latency_age(&self) -> Option<Duration> {
        let at = self.link().latency.at.load(Relaxed);
        (at > 0).then(|| self.state().began.elapsed().saturating_sub(Duration::from_micros(at)))
    }

    /// Returns true once the connection can no longer send.
    pub fn is_closed(&self) -> bool {
        let state = self.outbox.state();
        state.is_dead() || state.is_closing()
    }

    /// Returns whether permessage-deflate was agreed on, so that messages may be compressed, in both directions. See
    /// [`Application::compression`](crate::Application::compression).
    #[cfg(feature = "deflate")]
    pub fn is_compressed(&self) -> bool {
        self.link().window_bits.load(Relaxed) > 0
    }

    /// Turns Nagle's algorithm off (`true`, the default for a WebSocket) or on.
    ///
    /// # Errors
    /// [`Error::Io`] if the system refuses, as for a closed connection.
    pub fn set_nodelay(&self, nodelay: bool) -> Result<()> {
        let set = self.link().tcp().set_nodelay(nodelay);
        set.map_err(|error| Error::io(format!("cannot set TCP_NODELAY of {self}"))(error))
    }

    /// Called once, when the handshake is done.
    #[inline(never)]
    pub(crate) fn set_choices(&self, choices: Choices) {
        if let Some(bytes) = choices.max_backlog {
            self.outbox().set_limit(bytes as u64);
        }
        if choices.subprotocol.is_some() || choices.max_message.is_some() {
            self.link().choices.get_or_init(|| Box::new(choices));
        }
    }

    pub(crate) fn push(&self, frame: Frame) -> Result<()> {
        self.push_saving(frame, 0, &mut PushTally::default())
    }

    /// Pushes a frame on which compression saved `saved` bytes.
    fn push_saving<'a>(&'a self, mut frame: Frame, saved: usize, tally: &mut PushTally<'a>) -> Result<()> {
        if self.link().is_client() {
            frame = mask::masked(&frame);
        }
        let (bytes, is_close) = (frame.bytes.len(), frame.is_close);
        let pushed = self.outbox.push(frame);
        if is_close {
            self.link().has_closed();
        }
        pushed?;
        tally.add(&self.state().counters, bytes, saved);
        Ok(())
    }

    /// Pushes an empty frame: the transport's own data, such as an alert, goes with it.
    #[cold]
    #[inline(never)]
    pub(crate) fn push_nothing(&self) {
        // Nothing may follow a Close.
        let _ = self.outbox.push(Frame { bytes: Bytes::new(), is_close: false });
    }

    pub(crate) fn push_prepared<'a>(
        &'a self,
        message: &Prepared<'_>,
        tally: &mut PushTally<'a>,
    ) -> Result<()> {
        let (frame, saved) = self.form_of(message);
        self.push_saving(frame, saved, tally)
    }

    /// Returns its address in memory.
    pub(crate) fn place(&self) -> usize {
        Arc::as_ptr(&self.outbox).addr()
    }

    pub(crate) fn outbox(&self) -> &Arc<Outbox<PeerLink>> {
        &self.outbox
    }

    pub(crate) fn link(&self) -> &PeerLink {
        &self.outbox.link
    }

    pub(crate) fn state(&self) -> &Arc<SharedState> {
        &self.link().state
    }

    /// Reports to the [`Observer`](crate::Observer).
    #[inline]
    pub(crate) fn report(&self, event: Event) {
        self.link().report(event);
    }
}

#[cfg(all(test, not(loom)))]
pub(crate) mod tests;
