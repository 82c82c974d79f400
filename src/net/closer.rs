//! The `closer` thread: disconnects peers that do not answer a Close frame in time, gives rejected clients time to read
//! the reason, and runs the calls of handlers that wait for their connection's end outside of a read.
//!
//! `client-N` cannot do the first, because it is blocked in `read` when another thread calls `close`. A rejected client
//! has no thread. And the end may come on a thread that must not run a handler's code. Blocks in a channel.

use std::collections::VecDeque;
use std::io::Read;
use std::net::TcpStream;
use std::sync::Weak;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, at, never};

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

/// Something that waits for the end of a connection. It runs once, when it is dropped: usually on the closer, or on the
/// sending thread after the closer's end.
pub(crate) struct EndCall(Option<Box<dyn FnOnce() + Send>>);

impl EndCall {
    /// `call` must not panic, nor block.
    pub(crate) fn new(call: impl FnOnce() + Send + 'static) -> EndCall {
        EndCall(Some(Box::new(call)))
    }
}

impl Drop for EndCall {
    fn drop(&mut self) {
        if let Some(call) = self.0.take() {
            call();
        }
    }
}

/// A message to the closer.
pub(crate) enum Errand {
    Overdue(Overdue),
    Call(EndCall),
}

/// Runs until the server drops the other end of `stop`. Every deadline lies equally far ahead when it is sent, so they
/// come in their order.
pub(crate) fn run_errands(errands: Receiver<Errand>, stop: Receiver<()>) {
    let mut waiting: VecDeque<Overdue> = VecDeque::new();
    loop {
        let due = waiting.front().map_or_else(never, |next| at(next.deadline));
        crossbeam_channel::select! {
            recv(errands) -> errand => match errand {
                Ok(Errand::Overdue(overdue)) => waiting.push_back(overdue),
                Ok(Errand::Call(call)) => drop(call),
                Err(_) => return,
            },
            recv(due) -> _ => waiting.pop_front().into_iter().for_each(end),
            recv(stop) -> _ => return,
        }
        if waiting.is_empty() {
            // A storm that has passed leaves no memory behind.
            waiting.shrink_to(64);
        }
    }
}

fn end(overdue: Overdue) {
    match overdue.peer {
        OverduePeer::Closing(connection) => {
            // If it has answered, its thread has ended it already, and this changes nothing.
            if let Some(connection) = connection.upgrade() {
                connection.kill(DisconnectReason::CloseTimeout);
            }
        }
        OverduePeer::Rejected(stream) => {
            discard_input(&stream);
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
