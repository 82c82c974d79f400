//! [`Received`]: bytes from the socket that are not handed out yet, and how long the reading thread waits for more.
//!
//! Never here: a server's read while the client's backlog is over half its limit.

use std::io::{self, ErrorKind};
use std::thread;
use std::time::Instant;

use crate::connection::connection::Connection;
use crate::connection::keepalive::Keepalive;
use crate::connection::patience::Patience;
use crate::connection::rate_limiter::{Counted, RateLimiter, TooFast};
use crate::error::Result;
use crate::net::transport::Transport;
use crate::observer::Event;
use crate::ws::frame::Frame;

/// Bytes received at a time.
const RECEIVE: usize = 1024;
/// The size of those pieces.
const LARGE_RECEIVE: usize = 64 * 1024;

/// See the [module](self).
pub(crate) struct Received {
    connection: Connection,
    /// `start..end` is received and not yet handed out. As long as what came with the head, then
    /// [`RECEIVE`], or [`LARGE_RECEIVE`] while a large frame comes in. On the heap, where it costs what
    /// it is; on the stack it would cost whole pages.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    keepalive: Keepalive,
    /// Whether the peer showed no sign of life after a Ping.
    is_silent: bool,
    /// Whether it has sent more than it may.
    is_too_fast: bool,
    /// Where there is a limit for a client.
    limiter: Option<Box<RateLimiter>>,
    /// At the client's end only.
    patience: Option<Box<Patience>>,
}

impl Received {
    /// `early` came with the other end's head, and is handed out first.
    pub(crate) fn new(connection: &Connection, early: Vec<u8>) -> Received {
        let end = early.len();
        Received {
            connection: connection.clone(),
            buffer: early,
            start: 0,
            end,
            keepalive: Keepalive::default(),
            is_silent: false,
            is_too_fast: false,
            limiter: RateLimiter::new(connection),
            patience: connection.is_client().then(|| Box::new(Patience::new())),
        }
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Returns whether the last read failed since the peer showed no sign of life.
    pub(crate) fn is_silent(&self) -> bool {
        self.is_silent
    }

    /// Returns whether the last read failed since the client had sent more than it may.
    pub(crate) fn is_too_fast(&self) -> bool {
        self.is_too_fast
    }

    /// Counts a message that has come. Blocks where that is too fast, or is an error.
    #[inline]
    pub(crate) fn count_message(&mut self) -> std::result::Result<(), TooFast> {
        let Some(limiter) = &mut self.limiter else { return Ok(()) };
        limiter.count(&self.connection, Counted::Messages, 1)
    }

    /// Takes a Pong that answers the keepalive's Ping. False for any other.
    pub(crate) fn take_pong(&mut self, payload: &[u8]) -> bool {
        self.keepalive.take_pong(&self.connection, payload)
    }

    /// Sets until when a client waits. After that it is `WouldBlock`.
    pub(crate) fn wait_until(&mut self, until: Option<Instant>) {
        if let Some(patience) = &mut self.patience {
            patience.set(until);
        }
    }

    /// Sends what the reading thread itself has to say.
    pub(crate) fn answer(&mut self, frame: Frame) -> Result<()> {
        if let Some(patience) = &mut self.patience {
            patience.answers(frame.bytes.len());
        }
        self.connection.push(frame)
    }

    /// Returns what has come. Blocks until there is something, or the end of it, which is empty. `is_large` if much of
    /// a frame is still to come.
    pub(crate) fn bytes(&mut self, is_large: bool) -> io::Result<&[u8]> {
        if self.start == self.end {
            self.receive(is_large)?;
        } else {
            // What has come in one piece may be many messages, each with a large answer. A dead connection's are handled.
            self.wait_to_read();
        }
        Ok(&self.buffer[self.start..self.end])
    }

    /// Takes off bytes that are handed out.
    pub(crate) fn handed_out(&mut self, bytes: usize) {
        self.start += bytes;
    }

    /// Blocks until it may read; what it reads can make it write. False if the connection died.
    fn wait_to_read(&mut self) -> bool {
        let outbox = self.connection.outbox();
        if self.patience.as_mut().is_some_and(|patience| patience.may_read(&self.connection)) {
            return !outbox.state().is_dead();
        }
        outbox.wait_to_read()
    }

    /// The read has timed out. False if the peer shows no sign of life.
    #[cold]
    fn goes_on(&mut self) -> bool {
        let Some(patience) = &mut self.patience else { return self.keepalive.is_alive(&self.connection) };
        if !patience.is_due(self.keepalive.quiet(&self.connection)) {
            return true;
        }
        patience.heard();
        self.keepalive.is_alive(&self.connection)
    }

    /// Blocks until there are bytes, or the end of them.
    fn receive(&mut self, is_large: bool) -> io::Result<()> {
        if !self.wait_to_read() {
            return Err(ErrorKind::ConnectionAborted.into());
        }
        let length = if is_large { LARGE_RECEIVE } else { RECEIVE };
        if self.buffer.len() != length {
            self.buffer = vec![0; length];
        }
        if self.end > 0 && !self.patience.as_ref().is_some_and(|patience| patience.is_over()) {
            // After a message, not at first. While others run, the next one may come; where clients are busy,
            // that saves this thread from going to sleep and being woken for each.
            thread::yield_now();
        }
        self.connection.report(Event::Reads);
        let received = loop {
            let waits = match &mut self.patience {
                Some(patience) => patience.limit(&self.connection, self.keepalive.quiet(&self.connection))?,
                None => true,
            };
            let transport = &self.connection.link().transport;
            let received =
                if waits { transport.recv(&mut self.buffer) } else { transport.try_recv(&mut self.buffer) };
            match received {
                Ok(received) => break received,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The read timeout is the ping interval: the peer has been silent for that long.
                Err(error) if is_timeout(&error) && self.goes_on() => {
                    if !waits {
                        return Err(error);
                    }
                }
                Err(error) => {
                    if is_timeout(&error) {
                        self.is_silent = true;
                    }
                    if error.kind() == ErrorKind::InvalidData {
                        self.connection.push_nothing();
                    }
                    return Err(error);
                }
            }
        };
        self.connection.report(Event::Wakes);
        self.keepalive.heard(&self.connection)?;
        if let Some(patience) = &mut self.patience {
            patience.heard();
        }
        (self.start, self.end) = (0, received);
        if let Some(limiter) = &mut self.limiter
            && limiter.count(&self.connection, Counted::Bytes, received).is_err()
        {
            self.is_too_fast = true;
            return Err(ErrorKind::PermissionDenied.into());
        }
        Ok(())
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
