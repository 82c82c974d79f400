//! [`Messages`]: what comes from the server, read on the thread of who asks for it.

use std::fmt;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use super::url::Url;
use crate::connection::connection::Connection;
use crate::connection::reader::{End, Incoming, Reader};
use crate::connection::timed_io::discard_until;
use crate::error::{Error, Result};
use crate::metrics::{DisconnectReason, Meter};
use crate::net::closer::CLOSE_GRACE;
use crate::net::transport::Transport;
use crate::ws::message::Message;

/// A longer wait is taken for this one: a year.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

/// The messages of a server, in their order. One thread reads them, while any thread writes to the
/// [`Connection`].
///
/// Pings are answered, and the keepalive works, while somebody reads: in [`recv`](Messages::recv) or the iterator.
/// So a thread that reads should not block elsewhere for long, such as in
/// [`wait_for_room`](Connection::wait_for_room) for what it writes itself.
///
/// Dropped, it ends the connection: with a Close of 1001 behind all that was accepted, and without blocking.
pub struct Messages {
    connection: Connection,
    reader: Reader,
    url: Url,
    has_ended: bool,
    subprotocol: Option<String>,
    headers: Vec<(String, String)>,
}

impl Messages {
    pub(super) fn new(
        connection: &Connection,
        url: Url,
        early: Vec<u8>,
        subprotocol: Option<String>,
        headers: Vec<(String, String)>,
    ) -> Messages {
        let reader = Reader::new(connection, early);
        Messages { connection: connection.clone(), reader, url, has_ended: false, subprotocol, headers }
    }

    /// Blocks until a message is here. `None` is the end: the closing handshake is complete, and all that was accepted
    /// is written.
    ///
    /// # Errors
    /// [`Error::Io`] if the connection ended without a Close from the server; [`Error::Failed`] if what it sent cannot be
    /// read, or it showed no sign of life after a Ping; [`Error::SlowConsumer`] if it did not read what was sent. After
    /// an error it is `None`.
    pub fn recv(&mut self) -> Result<Option<Message>> {
        self.recv_until(None)
    }

    /// Blocks until a message is here, for at most `within`. Zero is for what has come already.
    ///
    /// # Errors
    /// As [`recv`](Messages::recv), and [`Error::TimedOut`]: then nothing is lost, and the next call goes on.
    pub fn recv_timeout(&mut self, within: Duration) -> Result<Option<Message>> {
        self.recv_until(Some(Instant::now() + within.min(LONGEST)))
    }

    /// Returns the code of the server's Close: see [`Connection::close_code`].
    pub fn close_code(&self) -> Option<u16> {
        self.connection.close_code()
    }

    /// Returns the reason of the server's Close: see [`Connection::close_reason`].
    pub fn close_reason(&self) -> Option<&str> {
        self.connection.close_reason()
    }

    /// Returns the subprotocol that the server has chosen, one of those offered, if it chose any.
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// Returns names and values of the headers of the server's 101, such as its cookies.
    pub fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    fn recv_until(&mut self, until: Option<Instant>) -> Result<Option<Message>> {
        if self.has_ended {
            return Ok(None);
        }
        self.reader.wait_until(until);
        loop {
            match self.reader.next() {
                Ok(Incoming::Message(message)) => return Ok(Some(message)),
                Ok(Incoming::Nothing) => return Err(Error::TimedOut),
                Ok(Incoming::Ping(_) | Incoming::Pong(_) | Incoming::Close) => {}
                Err(end) => return self.end(end),
            }
        }
    }

    /// The last thing that is read.
    fn end(&mut self, end: End) -> Result<Option<Message>> {
        self.has_ended = true;
        self.connection.leave_topics();
        match end {
            End::Fail(code, reason, _) => {
                // Not accepted if a Close is out already: then there is nothing to add.
                let _ = self.connection.close(Some(code), Some(reason));
                linger(&self.connection);
                let reason = format!("{}: {reason}, so it was closed with {code}", self.url);
                Err(Error::Failed { code, reason })
            }
            End::Over => {
                self.connection.outbox().wait_until_written();
                self.connection.link().transport.finish();
                gone(&self.connection);
                Ok(None)
            }
            End::Lost(error) => self.lost(error),
        }
    }

    /// The connection ended without the server's Close: who ended it is counted.
    fn lost(&mut self, error: io::Error) -> Result<Option<Message>> {
        gone(&self.connection);
        let counted = Meter(self.connection.state().counters.clone()).stats();
        if counted.slow_consumers > 0 {
            return Err(Error::SlowConsumer { backlog: self.connection.backlog() });
        }
        let source = match error.kind() {
            _ if counted.disconnects.close_timeout > 0 => {
                io::Error::new(ErrorKind::TimedOut, "the server did not answer it in time")
            }
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionAborted => {
                io::Error::new(ErrorKind::UnexpectedEof, "it ended without a Close frame")
            }
            _ => error,
        };
        let doing = if counted.disconnects.close_timeout > 0 { "closing" } else { "reading from" };
        Err(Error::Io { doing: format!("{doing} {}", self.url), source })
    }
}

/// All is over: nothing waits, and no thread is left.
fn gone(connection: &Connection) {
    connection.outbox().kill(DisconnectReason::Done);
    connection.link().join_pump();
}

/// Leaves what is to be written, and to be read to its end, to a thread of its own: the kernel answers bytes that
/// nobody has read with a reset, which may overtake the Close.
fn linger(connection: &Connection) {
    let (own, state) = (connection.clone(), connection.state());
    let run = move || {
        own.outbox().wait_until_written();
        let _ = discard_until(&own, Instant::now() + CLOSE_GRACE);
        gone(&own);
    };
    let name = format!("linger-{}", connection.id());
    let started = state.budget.spawn(name, Duration::ZERO, run);
    if let Err(error) = started {
        log::warn!(target: crate::LOG, "{connection} ends without its Close: {error}");
        connection.outbox().kill(DisconnectReason::Failed);
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
        if !self.has_ended {
            self.connection.leave_topics();
            // Not accepted if a Close is out already.
            let _ = self.connection.close(Some(1001), None);
            linger(&self.connection);
        }
    }
}

impl fmt::Debug for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Messages({})", self.url)
    }
}
