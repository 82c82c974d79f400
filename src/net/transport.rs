//! What bytes travel through, who asks for it, and how a connection ends. Definitions only.

use std::borrow::Cow;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use tungstenite::Bytes;

/// Carries the bytes of one connection. One thread receives, one at a time sends.
pub(crate) trait Transport: Send + Sync + 'static {
    /// Blocks until bytes arrive. Returns how many, 0 at the end of them. Called by the reading thread alone.
    fn recv(&self, into: &mut [u8]) -> io::Result<usize>;
    /// Does the same without waiting: `WouldBlock` if nothing has come.
    fn try_recv(&self, into: &mut [u8]) -> io::Result<usize> {
        self.recv(into)
    }
    /// Takes the next part off the front of `plain`, and returns what becomes of it on the wire, behind what the
    /// transport itself has to say. With nothing left of `plain` that may be nothing. Called by the drainer alone, so
    /// the order of the calls is the order of the bytes.
    fn seal(&self, plain: &mut Bytes) -> io::Result<Bytes>;
    /// Does the same on a pushing thread, which waits for nobody. `WouldBlock`, with `plain` as it was, if it would
    /// have to; then a pump does it.
    fn try_seal(&self, plain: &mut Bytes) -> io::Result<Bytes> {
        self.seal(plain)
    }
    /// Does the same with all of it, for a caller that nobody else writes beside: before the WebSocket.
    fn seal_all<'a>(&self, plain: &'a [u8]) -> io::Result<Cow<'a, [u8]>> {
        Ok(Cow::Borrowed(plain))
    }
    /// Tells the peer that nothing follows, where the transport has a word for that. Called by the reading thread, when
    /// nobody writes any more.
    fn finish(&self) {}
    /// Returns whether it is encrypted.
    fn is_secure(&self) -> bool {
        false
    }
    /// Sends what fits without blocking. `WouldBlock` if nothing does.
    fn try_send(&self, sealed: &[u8]) -> io::Result<usize>;
    /// Blocks until something fits, but not for long. `WouldBlock` or `TimedOut` after that.
    fn send(&self, sealed: &[u8]) -> io::Result<usize>;
    /// Returns our own end's address.
    fn local_addr(&self) -> io::Result<SocketAddr>;
    /// Ends one direction or both, which wakes every thread that is blocked in it.
    fn shutdown(&self, how: Shutdown);
    /// Sets how long [`recv`](Transport::recv) blocks; `None` is for ever.
    fn set_recv_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;
    /// Sets how long [`send`](Transport::send) blocks.
    fn set_send_timeout(&self, timeout: Duration) -> io::Result<()>;
    /// Turns Nagle's algorithm off (`true`) or on.
    fn set_nodelay(&self, nodelay: bool) -> io::Result<()>;
}

/// Who writes what is pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
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
