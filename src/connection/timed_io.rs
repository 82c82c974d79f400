//! Receives and sends that end at a deadline: heads, bodies, handshakes, and what comes after the end. On the thread that
//! reads, at either end.
//!
//! What is received into is on the heap: a page of stack that was touched once stays with the thread.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use crate::connection::connection::Connection;
use crate::net::transport::Transport;
use crate::observer::Event;

/// Bytes received at a time for nobody. More than the 1 KiB that glibc's allocator keeps for each thread when they are
/// freed.
const DISCARDED: usize = 2048;

/// Receives once, and no longer than until the deadline.
pub(crate) fn recv_before(connection: &Connection, bytes: &mut [u8], deadline: Instant) -> io::Result<usize> {
    recv_from(connection, &connection.link().transport, bytes, deadline)
}

/// Reads what comes, to its end or until the deadline, for nobody. Nobody decrypts it. The error is the last read's.
pub(crate) fn discard_until(connection: &Connection, deadline: Instant) -> io::Result<()> {
    let tcp = connection.link().transport.tcp();
    let mut bytes = vec![0; DISCARDED];
    while recv_from(connection, tcp, &mut bytes, deadline)? > 0 {}
    Ok(())
}

/// Does the same from another layer of the transport.
fn recv_from(
    connection: &Connection,
    transport: &impl Transport,
    bytes: &mut [u8],
    deadline: Instant,
) -> io::Result<usize> {
    connection.report(Event::Reads);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        transport.set_recv_timeout(Some(left))?;
        match transport.recv(bytes) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => {
                connection.report(Event::Wakes);
                return result;
            }
        }
    }
}

/// Sends bytes as they are, by the deadline.
pub(crate) fn send_before(connection: &Connection, mut bytes: &[u8], deadline: Instant) -> io::Result<()> {
    let tcp = connection.link().transport.tcp();
    while !bytes.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left == Duration::ZERO {
            return Err(ErrorKind::TimedOut.into());
        }
        tcp.set_send_timeout(left)?;
        match tcp.send(bytes) {
            Ok(sent) => bytes = &bytes[sent..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
