//! What an outbox asks of the transport that it writes to, and who writes.

use std::io;

use tungstenite::Bytes;

/// Turns frames into what is on the wire, and sends that. Called by the drainer alone, one thread at a time: [`seal`] a part
/// of a frame, [`send`] until all of that is out, and so on to the end of the frame. So the order of the calls is the order
/// of the bytes. On a pushing thread, which waits for nobody, it is [`try_seal`] and [`try_send`]; where one of those is
/// `WouldBlock`, a pump goes on with the same part.
///
/// [`seal`]: Seal::seal
/// [`send`]: Seal::send
/// [`try_seal`]: Seal::try_seal
/// [`try_send`]: Seal::try_send
pub(crate) trait Seal: Send + Sync + 'static {
    /// Takes the next part off the front of `plain`, and returns what becomes of it on the wire, behind what the
    /// transport itself has to say. With nothing left of `plain` that may be nothing.
    fn seal(&self, plain: &mut Bytes) -> io::Result<Bytes>;
    /// Does the same without waiting. `WouldBlock`, with `plain` as it was, if it would have to.
    fn try_seal(&self, plain: &mut Bytes) -> io::Result<Bytes> {
        self.seal(plain)
    }
    /// Sends what fits without blocking. `WouldBlock` if nothing does.
    fn try_send(&self, sealed: &[u8]) -> io::Result<usize>;
    /// Blocks until something fits, but not for long. `WouldBlock` or `TimedOut` after that.
    fn send(&self, sealed: &[u8]) -> io::Result<usize>;
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
