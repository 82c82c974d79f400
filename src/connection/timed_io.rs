//! Receives and sends that end at a [`Deadline`]: heads, bodies, handshakes, and bytes after the end. On the reading
//! thread, at either end.
//!
//! The receive buffer is on the heap: a touched page of stack stays with the thread.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use crate::connection::connection::Connection;
use crate::error::{is_timeout, uninterrupted};
#[cfg(feature = "tls")]
use crate::net::seal::Seal;
use crate::observer::Event;

/// Bytes per receive of discarded input. More than the 1 KiB that glibc's allocator keeps for each thread when they are
/// freed.
const DISCARDED: usize = 2048;

/// The deadline of an operation, and the error for missing it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    pub(crate) at: Instant,
    pub(crate) what: &'static str,
}

impl Deadline {
    /// Returns the deadline at this distance from now.
    pub(crate) fn within(time: Duration, what: &'static str) -> Deadline {
        Deadline { at: Instant::now() + time, what }
    }

    /// Returns the error for missing it.
    #[cold]
    pub(crate) fn missed(&self) -> io::Error {
        io::Error::new(ErrorKind::TimedOut, self.what)
    }

    /// Returns the remaining time, which is never zero.
    pub(crate) fn left(&self) -> io::Result<Duration> {
        let left = self.at.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(self.missed()) } else { Ok(left) }
    }

    /// Names the timeout of a system call.
    pub(crate) fn named(&self, error: io::Error) -> io::Error {
        if is_timeout(&error) { self.missed() } else { error }
    }
}

/// Receives once, and blocks at most until the deadline.
pub(crate) fn recv_before(
    connection: &Connection,
    bytes: &mut [u8],
    deadline: Deadline,
) -> io::Result<usize> {
    recv_with(connection, deadline, || connection.link().transport.recv(bytes))
}

/// Reads and discards input, without decryption, to its end or until the deadline. The error is the last read's.
pub(crate) fn discard_until(connection: &Connection, deadline: Deadline) -> io::Result<()> {
    let mut bytes = vec![0; DISCARDED];
    while recv_with(connection, deadline, || connection.link().tcp().recv(&mut bytes))? > 0 {}
    Ok(())
}

fn recv_with(
    connection: &Connection,
    deadline: Deadline,
    mut recv: impl FnMut() -> io::Result<usize>,
) -> io::Result<usize> {
    connection.report(Event::Reads);
    let received = uninterrupted(|| {
        connection.link().tcp().set_recv_timeout(Some(deadline.left()?))?;
        recv()
    });
    connection.report(Event::Wakes);
    received.map_err(|error| deadline.named(error))
}

/// Sends raw bytes, past TLS, by the deadline.
#[cfg(feature = "tls")]
pub(crate) fn send_before(connection: &Connection, mut bytes: &[u8], deadline: Deadline) -> io::Result<()> {
    let tcp = connection.link().tcp();
    while !bytes.is_empty() {
        let sent = uninterrupted(|| {
            tcp.set_send_timeout(deadline.left()?)?;
            tcp.send(bytes)
        });
        bytes = &bytes[sent.map_err(|error| deadline.named(error))?..];
    }
    Ok(())
}
