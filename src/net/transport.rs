//! The byte transport of a connection, the threads that write to it, and how a connection ends. Definitions only.

use std::borrow::Cow;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use tungstenite::Bytes;

/// Carries the bytes of one connection. One thread receives, and one sends.
pub(crate) trait Transport: Send + Sync + 'static {
    /// Blocks until bytes arrive. Returns how many, 0 at the end of the stream. Only the reading thread calls it.
    fn recv(&self, into: &mut [u8]) -> io::Result<usize>;
    /// Receives without blocking: `WouldBlock` if nothing has come.
    fn try_recv(&self, into: &mut [u8]) -> io::Result<usize> {
        self.recv(into)
    }
    /// Takes the next part off the front of `plain`, and returns its bytes for the wire, after the transport's own
    /// data. If `plain` is empty, the result may be empty. Only the drainer calls it, so the order of the calls is the
    /// order of the bytes.
    fn seal(&self, plain: &mut Bytes) -> io::Result<Bytes>;
    /// Seals on a pushing thread, without blocking. Returns `WouldBlock`, and leaves `plain` unchanged, if it would
    /// have to wait; then a pump seals.
    fn try_seal(&self, plain: &mut Bytes) -> io::Result<Bytes> {
        self.seal(plain)
    }
    /// Seals all of it, for a caller that is the only writer: before the WebSocket.
    fn seal_all<'a>(&self, plain: &'a [u8]) -> io::Result<Cow<'a, [u8]>> {
        Ok(Cow::Borrowed(plain))
    }
    /// Tells the peer that nothing follows, if the transport can say so. Called by the reading thread, when no thread
    /// writes any more.
    fn finish(&self) {}
    /// Returns whether the transport is encrypted.
    fn is_secure(&self) -> bool {
        false
    }
    /// Sends as much as fits without blocking. `WouldBlock` if nothing does.
    fn try_send(&self, sealed: &[u8]) -> io::Result<usize>;
    /// Blocks briefly until something fits. `WouldBlock` or `TimedOut` after that.
    fn send(&self, sealed: &[u8]) -> io::Result<usize>;
    /// Returns the local address.
    fn local_addr(&self) -> io::Result<SocketAddr>;
    /// Ends one direction or both, which wakes every thread that is blocked in it.
    fn shutdown(&self, how: Shutdown);
    /// Sets how long [`recv`](Transport::recv) blocks; `None` for no limit.
    fn set_recv_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;
    /// Sets how long [`send`](Transport::send) blocks.
    fn set_send_timeout(&self, timeout: Duration) -> io::Result<()>;
    /// Turns Nagle's algorithm off (`true`) or on.
    fn set_nodelay(&self, nodelay: bool) -> io::Result<()>;
}

/// Which threads write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Delivery {
    /// The pushing thread, without blocking; a `pump-N` only while a socket is full. Wakes nobody.
    #[default]
    Inline,
    /// A `writer-N` for each client, which blocks on the client's channel: the textbook way. A push wakes it.
    Handoff,
}

impl Delivery {
    /// Returns the number of threads of a client that keeps up.
    pub(crate) fn threads(self) -> usize {
        match self {
            Delivery::Inline => 1,
            Delivery::Handoff => 2,
        }
    }
}
