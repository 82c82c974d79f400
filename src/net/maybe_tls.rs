//! [`MaybeTls`]: the transport of a client, with TLS or without.

use std::borrow::Cow;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use tungstenite::Bytes;

use crate::net::tcp::Tcp;
#[cfg(feature = "tls")]
use crate::net::tls::duplex::TlsStream;
use crate::net::transport::Transport;

/// See the [module](self).
pub(crate) enum MaybeTls {
    Plain(Tcp),
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream>),
}

impl MaybeTls {
    /// Returns the socket. Bytes that are written to it directly are not encrypted.
    pub(crate) fn tcp(&self) -> &Tcp {
        match self {
            MaybeTls::Plain(tcp) => tcp,
            #[cfg(feature = "tls")]
            MaybeTls::Tls(tls) => &tls.tcp,
        }
    }
}

/// Calls a method of the variant.
macro_rules! either {
    ($this:ident, $transport:ident => $call:expr) => {
        match $this {
            MaybeTls::Plain($transport) => $call,
            #[cfg(feature = "tls")]
            MaybeTls::Tls($transport) => $call,
        }
    };
}

impl Transport for MaybeTls {
    #[inline]
    fn recv(&self, into: &mut [u8]) -> io::Result<usize> {
        either!(self, transport => transport.recv(into))
    }

    fn try_recv(&self, into: &mut [u8]) -> io::Result<usize> {
        either!(self, transport => transport.try_recv(into))
    }

    #[inline]
    fn seal(&self, plain: &mut Bytes) -> io::Result<Bytes> {
        either!(self, transport => transport.seal(plain))
    }

    #[inline]
    fn try_seal(&self, plain: &mut Bytes) -> io::Result<Bytes> {
        either!(self, transport => transport.try_seal(plain))
    }

    #[inline]
    fn try_send(&self, sealed: &[u8]) -> io::Result<usize> {
        self.tcp().try_send(sealed)
    }

    #[inline]
    fn send(&self, sealed: &[u8]) -> io::Result<usize> {
        self.tcp().send(sealed)
    }

    fn seal_all<'a>(&self, plain: &'a [u8]) -> io::Result<Cow<'a, [u8]>> {
        either!(self, transport => transport.seal_all(plain))
    }

    fn finish(&self) {
        either!(self, transport => transport.finish());
    }

    fn is_secure(&self) -> bool {
        either!(self, transport => transport.is_secure())
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp().local_addr()
    }

    fn shutdown(&self, how: Shutdown) {
        self.tcp().shutdown(how);
    }

    fn set_recv_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.tcp().set_recv_timeout(timeout)
    }

    fn set_send_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.tcp().set_send_timeout(timeout)
    }

    fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.tcp().set_nodelay(nodelay)
    }
}
