//! [`Connection`]: what handlers hold of a client. Clones are the same connection; any thread may call
//! anything on it at any time, while `client-N` is blocked in `read`.

use std::fmt;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use crate::web::error::Error;
use crate::web::error::Result;
use crate::web::message;
use crate::web::message::Message;
use crate::web::observer::Event;
use crate::web::outbox::Outbox;
use crate::web::outbox::Refused;
use crate::web::socket::CLOSE_TIMEOUT;
use crate::web::socket::Common;
use crate::web::socket::Leaving;
use crate::web::socket::Peer;
use crate::web::socket::Socket;
use crate::web::wire::Frame;
use crate::web::wire::Wire;

/// One client's WebSocket.
#[derive(Clone)]
pub struct Connection {
    outbox: Arc<Outbox<Socket>>,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, id: u64, peer: SocketAddr, common: Arc<Common>) -> Connection {
        let Common { max_backlog, write_deadline, delivery, .. } = *common;
        let socket = Socket::new(stream, id, peer, common);
        Connection { outbox: Arc::new(Outbox::new(socket, max_backlog as u64, write_deadline, delivery)) }
    }

    /// Sends a message: text, binary, or [`Message::json`]. Never blocks: what the socket does not take
    /// waits in the backlog. Messages of one thread arrive in their order.
    ///
    /// # Errors
    /// [`Error::Closed`] if the connection is closed or closing; [`Error::SlowConsumer`] if its backlog
    /// is full, which disconnects it; [`Error::Invalid`] for a message of over 1 GiB.
    pub fn write_message(&self, message: impl Into<Message>) -> Result<()> {
        self.push(message.into().encode()?)
    }

    /// Sends a Ping with up to 125 bytes; the answer arrives at the handler's `on_pong`.
    ///
    /// # Errors
    /// As [`write_message`](Connection::write_message).
    pub fn ping(&self, payload: &[u8]) -> Result<()> {
        self.push(message::ping(payload)?)
    }

    /// Begins the closing handshake: a Close frame behind all that was sent so far. A reason alone
    /// means code 1000; neither sends an empty Close frame. Messages that arrive before the peer's
    /// answer are still delivered; a peer that does not answer in 5 seconds is disconnected.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a code that may not be sent, or a reason of over 123 bytes; the connection
    /// stays open then. [`Error::Closed`] if it is closed or closing already.
    pub fn close(&self, code: Option<u16>, reason: Option<&str>) -> Result<()> {
        self.push(message::close(code, reason)?)?;
        let peer = Peer::Closing(Arc::downgrade(&self.outbox));
        // Without a closer the server is shutting down, which has a deadline of its own.
        let _ = self.common().leaving.send(Leaving { deadline: Instant::now() + CLOSE_TIMEOUT, peer });
        Ok(())
    }

    /// The code of the peer's Close frame: `None` before it, if it had none, or if the connection ended
    /// without one.
    pub fn close_code(&self) -> Option<u16> {
        self.socket().close.get()?.0
    }

    /// The reason in the peer's Close frame; `None` as for [`close_code`](Connection::close_code), and
    /// if it is empty.
    pub fn close_reason(&self) -> Option<&str> {
        self.socket().close.get()?.1.as_deref()
    }

    /// The connection's number, unique within its server; its thread is `client-N`.
    pub fn id(&self) -> u64 {
        self.socket().id
    }

    /// The client's address.
    pub fn peer_addr(&self) -> SocketAddr {
        self.socket().peer
    }

    /// Bytes that wait for the client, plus 64 for each frame.
    pub fn backlog(&self) -> u64 {
        self.outbox.state().bytes()
    }

    /// True once nothing can be sent any more.
    pub fn is_closed(&self) -> bool {
        let state = self.outbox.state();
        state.is_dead() || state.is_closing()
    }

    /// Turns Nagle's algorithm off (`true`, which is how a WebSocket starts here) or on.
    ///
    /// # Errors
    /// [`Error::Io`] if the system refuses, as it may for a connection that is closed.
    pub fn set_nodelay(&self, nodelay: bool) -> Result<()> {
        self.socket()
            .stream
            .set_nodelay(nodelay)
            .map_err(Error::io(format!("cannot set TCP_NODELAY of {self}")))
    }

    pub(crate) fn push(&self, frame: Frame) -> Result<()> {
        let bytes = frame.bytes.len() as u64;
        self.outbox.push(frame).map_err(|refused| match refused {
            Refused::Closed => Error::Closed,
            Refused::Full(backlog) => Error::SlowConsumer { backlog },
        })?;
        self.common().counters.pushes.add(1);
        self.common().counters.bytes.add(bytes);
        Ok(())
    }

    pub(crate) fn outbox(&self) -> &Arc<Outbox<Socket>> {
        &self.outbox
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.outbox.wire
    }

    pub(crate) fn common(&self) -> &Common {
        &self.socket().common
    }

    /// For whoever watches, see [`Observer`](crate::Observer).
    #[inline]
    pub(crate) fn report(&self, event: Event) {
        self.socket().report(event);
    }

    /// Called once, by `client-N`, when it knows what the client wants.
    pub(crate) fn set_target(&self, target: &str) {
        self.socket().target.get_or_init(|| target.to_owned());
    }

    /// Called once, by `client-N`, when the peer's Close frame is here.
    pub(crate) fn set_close(&self, code: Option<u16>, reason: Option<String>) {
        self.socket().close.get_or_init(|| (code, reason.filter(|reason| !reason.is_empty())));
    }

    /// True from the moment that `client-N` has seen a request for a WebSocket.
    pub(crate) fn is_websocket(&self) -> bool {
        self.socket().target.get().is_some()
    }
}

/// Two are equal if they are the same connection.
impl PartialEq for Connection {
    fn eq(&self, other: &Connection) -> bool {
        Arc::ptr_eq(&self.outbox, &other.outbox)
    }
}

impl Eq for Connection {}

/// `client-7 (127.0.0.1:50000 /websocket?Id=A)`
impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket().fmt(f)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({self})")
    }
}

/// Sends one message to many clients: encoded once, pushed to each without blocking. Gives the number
/// of those that accepted it; the others are closed, closing, or slow consumers that it disconnected.
///
/// # Errors
/// [`Error::Invalid`] for a message of over 1 GiB, which nobody gets.
pub fn broadcast<'a>(
    connections: impl IntoIterator<Item = &'a Connection>,
    message: impl Into<Message>,
) -> Result<usize> {
    let frame = message.into().encode()?;
    Ok(connections.into_iter().filter(|connection| connection.push(frame.clone()).is_ok()).count())
}

#[cfg(all(test, not(loom)))]
pub(crate) mod tests;
