//! [`Received`]: bytes from the socket that no read has returned yet, and how long the reading thread waits for more.
//!
//! Never here: a server's read while the client's backlog is over half its limit.

use std::io::{self, ErrorKind};
use std::thread;
use std::time::Instant;

use crate::connection::connection::Connection;
use crate::connection::keepalive::Keepalive;
use crate::connection::patience::Patience;
use crate::connection::rate_limiter::{Counted, RateLimiter, TooFast};
use crate::error::{Result, is_timeout};
use crate::observer::Event;
use crate::ws::frame::Frame;

/// Bytes per receive.
const RECEIVE: usize = 1024;
/// The size of those pieces.
const LARGE_RECEIVE: usize = 64 * 1024;

/// See the [module](self).
pub(crate) struct Received {
    connection: Connection,
    /// `start..end` is received and not yet returned. Its length is that of the bytes behind the head, then
    /// [`RECEIVE`], or [`LARGE_RECEIVE`] during a large frame. On the heap, where it costs its length; on the stack it
    /// would cost whole pages.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    keepalive: Keepalive,
    /// Whether the peer showed no sign of life after a Ping.
    is_silent: bool,
    /// Whether it has exceeded its rate.
    is_too_fast: bool,
    /// Present if a client has a limit.
    limiter: Option<Box<RateLimiter>>,
    /// Present at the client's end, and at a server's from the first wait with a deadline.
    patience: Option<Box<Patience>>,
}

impl Received {
    /// `early` arrived with the other end's head, and is returned first.
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
            patience: connection.link().is_client().then(|| Box::new(Patience::new())),
        }
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Returns whether the last read failed because the peer showed no sign of life.
    pub(crate) fn is_silent(&self) -> bool {
        self.is_silent
    }

    /// Returns whether the last read failed because the client had exceeded its rate.
    pub(crate) fn is_too_fast(&self) -> bool {
        self.is_too_fast
    }

    /// Counts a message that has arrived. An error if the client exceeds its rate, unless it is slowed.
    #[inline]
    pub(crate) fn count_message(&mut self) -> std::result::Result<(), TooFast> {
        let Some(limiter) = &mut self.limiter else { return Ok(()) };
        limiter.count(&self.connection, Counted::Messages, 1)
    }

    /// Blocks as long as the client is slowed. False if the caller's deadline passes before.
    #[inline]
    pub(crate) fn keep_to_rate(&mut self) -> bool {
        let Some(limiter) = &mut self.limiter else { return true };
        let until = self.patience.as_ref().and_then(|patience| patience.deadline());
        limiter.wait(&self.connection, until)
    }

    /// Takes a Pong that answers the keepalive's Ping. False for any other.
    pub(crate) fn take_pong(&mut self, payload: &[u8]) -> bool {
        self.keepalive.take_pong(&self.connection, payload)
    }

    /// Sets until when a read waits. After that it returns `WouldBlock`.
    pub(crate) fn wait_until(&mut self, until: Option<Instant>) {
        if until.is_some() && self.patience.is_none() {
            self.patience = Some(Box::new(Patience::new()));
        }
        if let Some(patience) = &mut self.patience {
            patience.set(until);
        }
    }

    /// Sends the reading thread's own data, such as an alert.
    pub(crate) fn answer(&mut self, frame: Frame) -> Result<()> {
        if let Some(patience) = &mut self.patience {
            patience.answers(frame.bytes.len());
        }
        self.connection.push(frame)
    }

    /// Returns received bytes. Blocks until some arrive, or returns none at the end. `is_large` if much of a frame has
    /// yet to arrive.
    pub(crate) fn bytes(&mut self, is_large: bool) -> io::Result<&[u8]> {
        if self.start == self.end {
            self.receive(is_large)?;
        } else {
            // One piece may contain many messages, each with a large answer. A dead connection's messages are still
            // handled.
            self.wait_to_read()?;
        }
        if !self.keep_to_rate() {
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(&self.buffer[self.start..self.end])
    }

    /// Removes returned bytes.
    pub(crate) fn handed_out(&mut self, bytes: usize) {
        self.start += bytes;
    }

    /// Blocks until it may read, because input can cause output. False if the connection died; `WouldBlock` if the
    /// caller's deadline passes before.
    fn wait_to_read(&mut self) -> io::Result<bool> {
        let outbox = self.connection.outbox();
        let Some(patience) = &mut self.patience else { return Ok(outbox.wait_to_read()) };
        match patience.deadline() {
            _ if self.connection.link().is_client() && patience.may_read(&self.connection) => {}
            Some(deadline) if !outbox.wait_to_read_until(deadline) => {
                return Err(ErrorKind::WouldBlock.into());
            }
            Some(_) => {}
            None => return Ok(outbox.wait_to_read()),
        }
        Ok(!outbox.state().is_dead())
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
        if !self.wait_to_read()? {
            return Err(ErrorKind::ConnectionAborted.into());
        }
        let length = if is_large { LARGE_RECEIVE } else { RECEIVE };
        if self.buffer.len() != length {
            self.buffer = vec![0; length];
        }
        if self.end > 0 && !self.patience.as_ref().is_some_and(|patience| patience.is_over()) {
            // After a message, not at first. While other threads run, the next message may arrive. With busy clients,
            // this saves the thread from sleeping and waking for each message.
            thread::yield_now();
        }
        self.connection.report(Event::Reads);
        let received = loop {
            // An interrupted call, by a part of a TLS record or a signal, sets the remaining time again.
            let waits = match &mut self.patience {
                Some(patience) => patience.limit(&self.connection, self.keepalive.quiet(&self.connection))?,
                None => true,
            };
            let transport = &self.connection.link().transport;
            let received =
                if waits { transport.recv(&mut self.buffer) } else { transport.try_recv(&mut self.buffer) };
            match received {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(received) => break received,
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
