//! What the outbox writes, to what, and how a connection dies. Definitions only.

use std::io;

use tungstenite::Bytes;

use crate::web::observer::Event;

/// One encoded WebSocket frame; clones share its bytes.
#[derive(Clone)]
pub(crate) struct Frame {
    pub(crate) bytes: Bytes,
    /// The connection's last frame.
    pub(crate) is_close: bool,
}

/// Why a connection was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Death {
    /// Its backlog was at the limit when one more frame came.
    Overflow { backlog: u64 },
    /// Its backlog did not shrink for the whole write deadline.
    Stalled { backlog: u64 },
    /// A write failed, the drainer panicked, or there was no thread for a pump.
    Failed,
    /// It had come to its end.
    Ended,
}

/// What the outbox writes to.
pub(crate) trait Wire: Send + Sync + Sized + 'static {
    /// Writes what fits without blocking; `WouldBlock` if nothing does.
    fn send_now(&self, bytes: &[u8]) -> io::Result<usize>;
    /// Blocks until something fits, but not for long: `WouldBlock` or `TimedOut` after that.
    fn send(&self, bytes: &[u8]) -> io::Result<usize>;
    /// Ends the connection both ways, so that every thread that is blocked on it wakes up.
    fn kill(&self, why: Death);
    /// Runs `pump` on a thread of its own. If that fails, `pump` has to be dropped.
    fn start_pump(&self, pump: Box<dyn FnOnce() + Send>) -> io::Result<()>;
    /// For whoever watches, see [`Observer`](crate::Observer).
    fn report(&self, event: Event) {
        let _ = event;
    }
}

/// Who writes what is pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Delivery {
    /// The pushing thread, without blocking; a `pump-N` only while a socket is full. Wakes nobody.
    #[default]
    Inline,
    /// A `writer-N` for each client, which blocks on the client's channel: the textbook way. A push
    /// wakes it.
    Handoff,
}

impl Delivery {
    /// Threads of a client that takes what it is sent.
    pub(crate) fn threads(self) -> usize {
        match self {
            Delivery::Inline => 1,
            Delivery::Handoff => 2,
        }
    }
}
