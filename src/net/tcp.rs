//! [`Tcp`]: unencrypted bytes over a socket. `client-N` reads, the drainer writes.

use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use rustix::net::{RecvFlags, SendFlags};
use tungstenite::Bytes;

use crate::net::transport::Transport;

const SHORTEST: Duration = Duration::from_millis(1);
/// The directions of a socket that have ended.
const READ_ENDED: u8 = 1;
const WRITE_ENDED: u8 = 2;

/// A connection without encryption. It remembers the socket's options: a call that changes nothing costs as much as one
/// that does.
pub(crate) struct Tcp {
    pub(crate) stream: TcpStream,
    /// Nanoseconds that a receive blocks, 0 without limit. Written by the reading thread.
    recv_timeout: AtomicU64,
    /// Written by any thread that sets it.
    nodelay: AtomicBool,
    /// Bits of the directions that have ended. Written by the reading thread, and by the first thread that kills.
    ended: AtomicU8,
}

impl Tcp {
    /// Wraps a socket without a timeout; `nodelay` is its current setting.
    pub(crate) fn new(stream: TcpStream, nodelay: bool) -> Tcp {
        let (recv_timeout, ended) = (AtomicU64::new(0), AtomicU8::new(0));
        Tcp { stream, recv_timeout, nodelay: AtomicBool::new(nodelay), ended }
    }
}

impl Transport for Tcp {
    fn recv(&self, into: &mut [u8]) -> io::Result<usize> {
        let received = (&self.stream).read(into)?;
        if received == 0 {
            self.ended.fetch_or(READ_ENDED, Relaxed);
        }
        Ok(received)
    }

    fn try_recv(&self, into: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::net::recv(&self.stream, into, RecvFlags::DONTWAIT)?.1)
    }

    fn seal(&self, plain: &mut Bytes) -> io::Result<Bytes> {
        Ok(std::mem::take(plain))
    }

    fn try_send(&self, sealed: &[u8]) -> io::Result<usize> {
        Ok(rustix::net::send(&self.stream, sealed, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?)
    }

    fn send(&self, sealed: &[u8]) -> io::Result<usize> {
        Ok(rustix::net::send(&self.stream, sealed, SendFlags::NOSIGNAL)?)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }

    fn shutdown(&self, how: Shutdown) {
        let ends = match how {
            Shutdown::Read => READ_ENDED,
            Shutdown::Write => WRITE_ENDED,
            Shutdown::Both => READ_ENDED | WRITE_ENDED,
        };
        if self.ended.fetch_or(ends, Relaxed) & ends != ends {
            // It fails if the socket is already disconnected, which is the goal.
            let _ = self.stream.shutdown(how);
        }
    }

    fn set_recv_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        let nanos = timeout.map_or(0, |timeout| u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX));
        if self.recv_timeout.load(Relaxed) != nanos {
            self.stream.set_read_timeout(timeout)?;
            self.recv_timeout.store(nanos, Relaxed);
        }
        Ok(())
    }

    fn set_send_timeout(&self, timeout: Duration) -> io::Result<()> {
        // Zero would mean no timeout.
        self.stream.set_write_timeout(Some(timeout.max(SHORTEST)))
    }

    fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        if self.nodelay.load(Relaxed) != nodelay {
            self.stream.set_nodelay(nodelay)?;
            self.nodelay.store(nodelay, Relaxed);
        }
        Ok(())
    }
}
