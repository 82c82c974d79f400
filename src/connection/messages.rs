//! [`Messages`]: the other end's messages, read on the thread that calls it.

mod ending;

use std::fmt;
use std::time::{Duration, Instant};

use crate::connection::connection::Connection;
use crate::connection::reader::{End, Incoming, Reader};
use crate::error::{Error, Result};
use crate::metrics::DisconnectReason;
use crate::observer::Event;
use crate::ws::close::GOING_AWAY;
use crate::ws::message::Message;

/// The longest wait, a year; a longer one is cut to this.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);
/// The log's name for a handler that is a function, or has its own `run`.
pub(crate) const RUN: &str = "run";

/// The messages of the other end, in order. One thread reads them, while any thread writes to the [`Connection`].
///
/// Both ends use it: a server's handler in [`run`](crate::WebSocketHandler::run), a client from
/// [`client::connect`](crate::client::connect). They differ at the end. For a server's handler, a client that leaves is
/// an event: [`recv`](Messages::recv) returns `Ok(None)`, and [`ended_by`](Messages::ended_by) the reason. For a
/// client, an end without a Close is an error.
///
/// The connection answers Pings, and its keepalive works, only while a thread reads: in [`recv`](Messages::recv) or the
/// iterator. So a reading thread should not block in other calls for long, such as in
/// [`wait_for_room`](Connection::wait_for_room) for its own messages.
///
/// At a client's end, dropping it ends the connection, with a Close of 1001 behind all accepted messages, and without
/// blocking. At a server's end, the connection ends when `run` returns.
pub struct Messages {
    connection: Connection,
    reader: Reader,
    /// How reading has ended.
    end: Option<DisconnectReason>,
    /// The code of the Close for invalid input from the peer.
    failed: Option<u16>,
    /// The method of a handler that runs now, or ran last, and whether it runs.
    method: &'static str,
    is_running: bool,
    owner: Owner,
}

/// The owner, which ends the connection behind the last message.
enum Owner {
    /// A server's thread, when its handler has returned.
    Session,
    /// The messages themselves.
    Messages(Box<Peer>),
}

/// A client's knowledge of its server.
struct Peer {
    /// For errors.
    name: String,
    headers: Vec<(String, String)>,
}

impl Messages {
    /// Makes a handler's messages, whose session ends the connection. `early` arrived with the head.
    ///
    /// Not inlined, like everything outside of each turn of the loop: an idle client's stack has no room for it.
    #[inline(never)]
    pub(crate) fn of_session(connection: &Connection, early: Vec<u8>) -> Messages {
        Messages::new(connection, early, Owner::Session)
    }

    /// Makes a client's messages, which end the connection themselves. `name` is the peer's, for errors.
    pub(crate) fn of_owner(
        connection: &Connection,
        early: Vec<u8>,
        name: String,
        headers: Vec<(String, String)>,
    ) -> Messages {
        Messages::new(connection, early, Owner::Messages(Box::new(Peer { name, headers })))
    }

    #[inline]
    fn new(connection: &Connection, early: Vec<u8>, owner: Owner) -> Messages {
        let reader = Reader::new(connection, early);
        let connection = connection.clone();
        Messages { connection, reader, end: None, failed: None, method: RUN, is_running: false, owner }
    }

    /// Blocks until a message arrives. `None` is the end. At a client's end this means that the closing handshake is
    /// complete, and all accepted messages are written; at a server's end it is any end, see
    /// [`ended_by`](Messages::ended_by).
    ///
    /// # Errors
    /// None at a server's end. At a client's [`Error::Io`] if the connection ended without a Close from the server;
    /// [`Error::Failed`] if its input was invalid, or it showed no sign of life after a Ping; [`Error::SlowConsumer`]
    /// if it did not read our messages. After an error, it returns `None`.
    pub fn recv(&mut self) -> Result<Option<Message>> {
        self.recv_until(None)
    }

    /// Blocks until a message arrives, for at most `within`. Zero returns only a message that has already arrived.
    ///
    /// # Errors
    /// As [`recv`](Messages::recv), and [`Error::TimedOut`]: then nothing is lost, and the next call continues. A
    /// handler that returns it closes with 1008 `timed out`.
    pub fn recv_timeout(&mut self, within: Duration) -> Result<Option<Message>> {
        self.recv_until(Some(Instant::now() + within.min(LONGEST)))
    }

    /// Returns a message that has already arrived, without waiting.
    ///
    /// # Errors
    /// As [`recv_timeout`](Messages::recv_timeout): [`Error::TimedOut`] if none has arrived.
    pub fn try_recv(&mut self) -> Result<Option<Message>> {
        self.recv_timeout(Duration::ZERO)
    }

    /// Returns the reason for the connection's end: see [`Connection::ended_by`].
    pub fn ended_by(&self) -> Option<DisconnectReason> {
        self.connection.ended_by()
    }

    /// Returns the code of the peer's Close: see [`Connection::close_code`].
    pub fn close_code(&self) -> Option<u16> {
        self.connection.close_code()
    }

    /// Returns the reason of the peer's Close: see [`Connection::close_reason`].
    pub fn close_reason(&self) -> Option<&str> {
        self.connection.close_reason()
    }

    /// Returns the chosen subprotocol: see [`Connection::subprotocol`].
    pub fn subprotocol(&self) -> Option<&str> {
        self.connection.subprotocol()
    }

    /// Returns names and values of the headers of the server's 101, such as its cookies; empty at the server's end.
    pub fn headers(&self) -> &[(String, String)] {
        match &self.owner {
            Owner::Messages(peer) => &peer.headers,
            Owner::Session => &[],
        }
    }

    /// Not inlined: its caller's frame is on the stack of an idle client, and its own frame is not.
    #[inline(never)]
    fn recv_until(&mut self, until: Option<Instant>) -> Result<Option<Message>> {
        let Owner::Session = self.owner else { return self.read_until(until) };
        let method = self.method;
        self.end_method(false);
        let received = self.read_until(until);
        self.begin_method(method);
        received
    }

    fn read_until(&mut self, until: Option<Instant>) -> Result<Option<Message>> {
        self.reader.wait_until(until);
        loop {
            match self.next_incoming()? {
                Some(Incoming::Message(message)) => return Ok(Some(message)),
                Some(Incoming::Nothing) => return Err(Error::TimedOut),
                Some(Incoming::Ping(_) | Incoming::Pong(_) | Incoming::Close) => {}
                None => return Ok(None),
            }
        }
    }

    /// Blocks until an event of any kind arrives. `None` marks the end.
    #[inline]
    pub(crate) fn next_incoming(&mut self) -> Result<Option<Incoming>> {
        if self.end.is_some() {
            return Ok(None);
        }
        match self.reader.next() {
            Ok(incoming) => Ok(Some(incoming)),
            Err(end) => self.end(end),
        }
    }

    /// Handles the last event.
    #[cold]
    #[inline(never)]
    fn end(&mut self, end: End) -> Result<Option<Incoming>> {
        let reason = match &end {
            _ if self.connection.link().has_given_way() => DisconnectReason::GaveWay,
            End::Fail(_, reason) => *reason,
            End::Over | End::Lost(_) => DisconnectReason::Done,
        };
        self.end = Some(reason);
        if let End::Fail(close, _) = &end {
            self.failed = Some(close.code);
        }
        self.connection.link().set_ended(reason);
        // Before the peer learns why.
        self.reader.give_up();
        match &self.owner {
            Owner::Session => ending::of_session(&self.connection, &end),
            Owner::Messages(peer) => {
                self.connection.link().leave_topics();
                let ended = ending::of_owner(&self.connection, &peer.name, end);
                if self.connection.link().is_client() {
                    ended?;
                }
                // At a server's end, an end is never an error.
            }
        }
        Ok(None)
    }

    /// Notes that a handler's method begins.
    #[inline]
    pub(crate) fn begin_method(&mut self, method: &'static str) {
        (self.method, self.is_running) = (method, true);
        self.connection.report(Event::HandlerBegins(method));
    }

    /// Notes that the method has ended, if one runs.
    #[inline]
    pub(crate) fn end_method(&mut self, panicked: bool) {
        if std::mem::take(&mut self.is_running) {
            self.connection.report(Event::HandlerEnds { method: self.method, panicked });
        }
    }

    /// Returns the method that runs, or ran last.
    pub(crate) fn method(&self) -> &'static str {
        self.method
    }

    /// Returns the code of the Close for invalid input from the peer, if any.
    pub(crate) fn failed(&self) -> Option<u16> {
        self.failed
    }

    /// Returns how reading has ended, if it has.
    pub(crate) fn end_of_reading(&self) -> Option<DisconnectReason> {
        self.end
    }
}

impl Iterator for Messages {
    type Item = Result<Message>;

    /// As [`recv`](Messages::recv).
    fn next(&mut self) -> Option<Result<Message>> {
        self.recv().transpose()
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        if let (Owner::Messages(_), None) = (&self.owner, &self.end) {
            self.connection.link().leave_topics();
            // The outbox refuses it if a Close is out already.
            let _ = self.connection.close(Some(GOING_AWAY), None);
            ending::linger(&self.connection);
        }
    }
}

impl fmt::Debug for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.owner {
            Owner::Session => write!(f, "Messages({})", self.connection),
            Owner::Messages(peer) => write!(f, "Messages({})", peer.name),
        }
    }
}
