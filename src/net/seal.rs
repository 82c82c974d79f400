//! An outbox's requirements of its transport, and the choice of the writing thread.

use std::io;

use tungstenite::Bytes;

/// Turns frames into bytes on the wire, and sends them. Only the drainer calls it: [`seal`] a part of a frame, [`send`]
/// until all of that is out, and so on to the end of the frame. So the order of the calls is the order of the bytes. A
/// pushing thread, which never waits, calls [`try_seal`] and [`try_send`]. If one of those returns `WouldBlock`, a pump
/// continues with that part.
///
/// [`seal`]: Seal::seal
/// [`send`]: Seal::send
/// [`try_seal`]: Seal::try_seal
/// [`try_send`]: Seal::try_send
pub(crate) trait Seal: Send + Sync + 'static {
    /// Takes the next part off the front of `plain`, and returns its bytes on the wire, behind the transport's own
    /// data. If `plain` is empty, the result may be empty.
    fn seal(&self, plain: &mut Bytes) -> io::Result<Bytes>;
    /// Seals the next part without waiting. If it would have to wait, returns `WouldBlock` and leaves `plain`
    /// unchanged.
    fn try_seal(&self, plain: &mut Bytes) -> io::Result<Bytes> {
        self.seal(plain)
    }
    /// Sends what fits without blocking. `WouldBlock` if nothing does.
    fn try_send(&self, sealed: &[u8]) -> io::Result<usize>;
    /// Blocks until something fits, but not for long. `WouldBlock` or `TimedOut` after that.
    fn send(&self, sealed: &[u8]) -> io::Result<usize>;
}

/// The thread that writes pushed messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Delivery {
    /// The pushing thread, without blocking; a `pump-N` only while a socket is full. Wakes no other thread.
    #[default]
    Inline,
    /// A `writer-N` for each client, which blocks on the client's channel: the textbook way. A push
    /// wakes it.
    Handoff,
}

impl Delivery {
    /// Threads of a client that reads.
    pub(crate) fn threads(self) -> usize {
        match self {
            Delivery::Inline => 1,
            Delivery::Handoff => 2,
        }
    }
}
