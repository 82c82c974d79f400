//! The write side of a client of the direct variant: any task may push, whole frames only.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// Bytes that may wait for a client before it counts as too slow.
const BACKLOG_LIMIT: usize = 1 << 20;

/// A socket, and the bytes that it has not taken yet.
pub(crate) struct Outbox {
    stream: TcpStream,
    /// The pushing thread writes it under the lock; the client's task empties it.
    backlog: Mutex<Backlog>,
    /// Wakes the client's task for a backlog, or to end the client.
    wake: Notify,
}

#[derive(Default)]
struct Backlog {
    bytes: Vec<u8>,
    dead: bool,
}

impl Outbox {
    /// An empty outbox in front of a socket.
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, backlog: Mutex::default(), wake: Notify::new() }
    }

    /// Writes a whole frame, or keeps the part that the socket does not take now.
    pub(crate) fn push(&self, frame: &[u8]) -> io::Result<()> {
        let mut backlog = self.backlog.lock().unwrap_or_else(PoisonError::into_inner);
        if backlog.dead {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let written = if backlog.bytes.is_empty() {
            match self.stream.try_write(frame) {
                Ok(written) => written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                Err(_) => {
                    backlog.dead = true;
                    0
                }
            }
        } else {
            0
        };
        if written == frame.len() {
            return Ok(());
        }
        let first = backlog.bytes.is_empty();
        backlog.bytes.extend_from_slice(&frame[written..]);
        backlog.dead |= backlog.bytes.len() > BACKLOG_LIMIT;
        if first || backlog.dead {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Writes every backlog; returns when the client must end.
    pub(crate) async fn finish_writes(&self) {
        loop {
            let (empty, dead) = {
                let backlog = self.backlog.lock().unwrap_or_else(PoisonError::into_inner);
                (backlog.bytes.is_empty(), backlog.dead)
            };
            if dead {
                return;
            }
            if empty {
                self.wake.notified().await;
                continue;
            }
            tokio::select! {
                writable = self.stream.writable() => {
                    if writable.is_err() || self.write_some().is_err() {
                        return;
                    }
                }
                () = self.wake.notified() => {}
            }
        }
    }

    /// Writes as much of the backlog as the socket takes.
    fn write_some(&self) -> io::Result<()> {
        let mut backlog = self.backlog.lock().unwrap_or_else(PoisonError::into_inner);
        if backlog.dead {
            return Err(ErrorKind::BrokenPipe.into());
        }
        match self.stream.try_write(&backlog.bytes) {
            Ok(written) => {
                backlog.bytes.drain(..written);
                if backlog.bytes.is_empty() {
                    backlog.bytes = Vec::new();
                }
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// The socket for tungstenite: reads come from it, writes go through the outbox, so that tungstenite's frames and the
/// broadcast's never mix.
pub(crate) struct Duplex(pub(crate) Arc<Outbox>);

impl AsyncRead for Duplex {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.stream.poll_read_ready(context))?;
            match self.0.stream.try_read(buffer.initialize_unfilled()) {
                Ok(read) => {
                    buffer.advance(read);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Duplex {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(self.0.push(bytes).map(|()| bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
