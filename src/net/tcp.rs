//! [`Tcp`]: bytes as they are, over a socket. Read by `client-N`, written by the drainer.

use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use rustix::net::{RecvFlags, SendFlags};
use tungstenite::Bytes;

use crate::net::transport::Transport;

const SHORTEST: Duration = Duration::from_millis(1);

/// A connection without encryption.
pub(crate) struct Tcp(pub(crate) TcpStream);

impl Transport for Tcp {
    fn recv(&self, into: &mut [u8]) -> io::Result<usize> {
        (&self.0).read(into)
    }

    fn try_recv(&self, into: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::net::recv(&self.0, into, RecvFlags::DONTWAIT)?.1)
    }

    fn seal(&self, plain: &mut Bytes) -> io::Result<Bytes> {
        Ok(std::mem::take(plain))
    }

    fn try_send(&self, sealed: &[u8]) -> io::Result<usize> {
        Ok(rustix::net::send(&self.0, sealed, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?)
    }

    fn send(&self, sealed: &[u8]) -> io::Result<usize> {
        Ok(rustix::net::send(&self.0, sealed, SendFlags::NOSIGNAL)?)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    fn shutdown(&self, how: Shutdown) {
        // Not connected any more is what it is to become.
        let _ = self.0.shutdown(how);
    }

    fn set_recv_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.set_read_timeout(timeout)
    }

    fn set_send_timeout(&self, timeout: Duration) -> io::Result<()> {
        // No timeout at all is spelled zero.
        self.0.set_write_timeout(Some(timeout.max(SHORTEST)))
    }

    fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.0.set_nodelay(nodelay)
    }
}
