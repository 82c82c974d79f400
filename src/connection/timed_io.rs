//! Receives and sends that end at a [`Deadline`]: heads, bodies, handshakes, and what comes after the end. On the thread
//! that reads, at either end.
//!
//! What is received into is on the heap: a page of stack that was touched once stays with the thread.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use crate::connection::connection::Connection;
use crate::error::{is_timeout, uninterrupted};
#[cfg(feature = "tls")]
use crate::net::seal::Seal;
use crate::observer::Event;

/// Bytes received at a time for nobody. More than the 1 KiB that glibc's allocator keeps for each thread when they are
/// freed.
const DISCARDED: usize = 2048;

/// When something has to be over, and what to say if it is not.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    pub(crate) at: Instant,
    pub(crate) what: &'static str,
}

impl Deadline {
    /// Returns the deadline that is so far from now.
    pub(crate) fn within(time: Duration, what: &'static str) -> Deadline {
        Deadline { at: Instant::now() + time, what }
    }

    /// Returns the error of who has missed it.
    #[cold]
    pub(crate) fn missed(&self) -> io::Error {
        io::Error::new(ErrorKind::TimedOut, self.what)
    }

    /// Returns the time that is left, which is more than none.
    pub(crate) fn left(&self) -> io::Result<Duration> {
        let left = self.at.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(self.missed()) } else { Ok(left) }
    }

    /// Names a system call's timeout.
    pub(crate) fn named(&self, error: io::Error) -> io::Error {
        if is_timeout(&error) { self.missed() } else { error }
    }
}

/// Receives once, and no longer than until the deadline.
pub(crate) fn recv_before(
    connection: &Connection,
    bytes: &mut [u8],
    deadline: Deadline,
) -> io::Result<usize> {
    recv_with(connection, deadline, || connection.link().transport.recv(bytes))
}

/// Reads what comes, to its end or until the deadline, for nobody. Nobody decrypts it. The error is the last read's.
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

/// Sends bytes as they are, by the deadline.
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
