//! The `closer` thread: disconnects peers that do not answer a Close frame in time, and gives rejected clients time to
//! read the reason.
//!
//! `client-N` cannot do the first, because it is blocked in `read` when another thread calls `close`. A rejected client
//! has no thread. Blocks in a channel; never touches a handler.

use std::io::Read;
use std::net::TcpStream;
use std::sync::Weak;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::metrics::DisconnectReason;

/// The time limit for the peer to answer our Close frame (RFC 6455, section 7.1.1, wants "a reasonable time"), and for
/// a rejected client to read the reason.
pub(crate) const CLOSE_GRACE: Duration = Duration::from_secs(5);

/// Ends a connection at once, from any thread.
pub(crate) trait Kill: Send + Sync {
    /// Ends it; unwritten frames are lost. Only the first reason counts.
    fn kill(&self, reason: DisconnectReason);
}

/// A connection that must be gone at `deadline`, [`CLOSE_GRACE`] after it was sent to the closer.
pub(crate) struct Overdue {
    pub(crate) deadline: Instant,
    pub(crate) peer: OverduePeer,
}

pub(crate) enum OverduePeer {
    /// The peer has to answer our Close frame. Weak, so that it keeps no descriptor open.
    Closing(Weak<dyn Kill>),
    /// The server rejected it before its request arrived. If the server closed it at once, the kernel would answer the
    /// request with a reset, which may overtake the refusal.
    Rejected(TcpStream),
}

/// Runs until the server drops the other end of `stop`. Every deadline is equally far ahead when it is sent, so
/// deadlines come in order, and one sleep after the other is enough.
pub(crate) fn run(overdue: Receiver<Overdue>, stop: Receiver<()>) {
    loop {
        let next = crossbeam_channel::select! {
            recv(overdue) -> next => next,
            recv(stop) -> _ => return,
        };
        let Ok(Overdue { deadline, peer }) = next else { return };
        if stop.recv_deadline(deadline) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        match peer {
            OverduePeer::Closing(connection) => {
                // If the peer has answered, its thread has already ended the connection, and this changes nothing.
                if let Some(connection) = connection.upgrade() {
                    connection.kill(DisconnectReason::CloseTimeout);
                }
            }
            OverduePeer::Rejected(stream) => {
                discard_input(&stream);
            }
        }
    }
}

/// Reads waiting input, up to a request's length, so that closing the socket does not reset it. Returns whether it read
/// any. `stream` must not block.
pub(crate) fn discard_input(mut stream: &TcpStream) -> bool {
    let mut bytes = [0; 1024];
    let mut any = false;
    for _ in 0..16 {
        match stream.read(&mut bytes) {
            Ok(length) if length > 0 => any = true,
            _ => break,
        }
    }
    any
}
