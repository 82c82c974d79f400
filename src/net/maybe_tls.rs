//! [`MaybeTls`]: the transport of a connection, with TLS or without.

use std::borrow::Cow;
use std::io;

use tungstenite::Bytes;

use crate::net::seal::Seal;
use crate::net::tcp::Tcp;
#[cfg(feature = "tls")]
use crate::net::tls::duplex::TlsStream;

/// See the [module](self).
pub(crate) enum MaybeTls {
    Plain(Tcp),
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream>),
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

impl MaybeTls {
    /// Returns the socket below TLS.
    pub(crate) fn tcp(&self) -> &Tcp {
        match self {
            MaybeTls::Plain(tcp) => tcp,
            #[cfg(feature = "tls")]
            MaybeTls::Tls(tls) => &tls.tcp,
        }
    }

    /// Blocks until bytes arrive. Returns how many, 0 at the end of them. Called by the reading thread alone.
    #[inline]
    pub(crate) fn recv(&self, into: &mut [u8]) -> io::Result<usize> {
        either!(self, transport => transport.recv(into))
    }

    /// Receives without waiting: `WouldBlock` if nothing has come.
    pub(crate) fn try_recv(&self, into: &mut [u8]) -> io::Result<usize> {
        either!(self, transport => transport.try_recv(into))
    }

    /// Seals all of it, for a caller that is the only writer: before the WebSocket.
    pub(crate) fn seal_all<'a>(&self, plain: &'a [u8]) -> io::Result<Cow<'a, [u8]>> {
        match self {
            MaybeTls::Plain(_) => Ok(Cow::Borrowed(plain)),
            #[cfg(feature = "tls")]
            MaybeTls::Tls(tls) => tls.seal_all(plain).map(Cow::Owned),
        }
    }

    /// Tells the peer that nothing follows, with the `close_notify` of TLS. Called by the reading thread, when no other
    /// thread writes any more.
    pub(crate) fn finish(&self) {
        #[cfg(feature = "tls")]
        if let MaybeTls::Tls(tls) = self {
            tls.finish();
        }
    }

    /// Returns whether it is encrypted.
    pub(crate) fn is_secure(&self) -> bool {
        !matches!(self, MaybeTls::Plain(_))
    }
}

impl Seal for MaybeTls {
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
}
