//! [`Client`]: a client of the server, from its accept to the end of its thread: its connection, and whether a newcomer
//! takes its place. Any thread.

use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU8};
use std::time::Instant;

use tungstenite::protocol::Role;

use crate::connection::connection::Connection;
use crate::metrics::DisconnectReason;
use crate::net::maybe_tls::MaybeTls;
use crate::net::tcp::Tcp;
#[cfg(feature = "tls")]
use crate::net::tls::duplex::TlsStream;
use crate::server::addresses::Neighbour;
use crate::server::half_open::Wait;
use crate::server::state::ServerState;

/// The stage of a client without a WebSocket: it decides what the end of the server may cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// A request may be on its way: from the accept to the end of the first head, and from the first byte of a later
    /// one.
    Asking,
    /// A request has arrived, and its answer is not out.
    Answering,
    /// It has been answered, and nothing of another request has arrived.
    Idle,
    /// It has its last answer.
    Lingering,
}

/// See the [module](self).
pub(crate) struct Client {
    pub(crate) connection: Connection,
    pub(crate) server: Arc<ServerState>,
    /// When it was accepted.
    pub(crate) since: Instant,
    /// Whether it makes room for a newcomer. Written once by the listener, read by `client-N`.
    is_evicted: AtomicBool,
    /// Whether the peer has reset it before it was a WebSocket. Written and read by `client-N`.
    is_reset: AtomicBool,
    /// The [`Stage`]. Written by `client-N`, read by the thread that ends the server.
    stage: AtomicU8,
}

impl Client {
    /// Makes the client of an accepted connection.
    pub(crate) fn new(stream: TcpStream, peer: SocketAddr, server: Arc<ServerState>) -> Arc<Client> {
        // An accepted socket inherits it from the listening one.
        let transport = Tcp::new(stream, true);
        #[cfg(feature = "tls")]
        let transport = match server.tls_handshakes {
            Some(_) => MaybeTls::Tls(Box::new(TlsStream::new(transport))),
            None => MaybeTls::Plain(transport),
        };
        #[cfg(not(feature = "tls"))]
        let transport = MaybeTls::Plain(transport);
        Arc::new(Client {
            connection: Connection::over(transport, Role::Server, peer, server.shared.clone()),
            server,
            since: Instant::now(),
            is_evicted: AtomicBool::new(false),
            is_reset: AtomicBool::new(false),
            stage: AtomicU8::new(Stage::Asking as u8),
        })
    }

    /// Returns the peer's address, which may be a proxy's.
    pub(crate) fn neighbour(&self) -> Neighbour {
        Neighbour::of(self.connection.link().peer.ip())
    }

    /// Called by `client-N`, and before it starts: from now on a newcomer may take its place, while it waits for this.
    #[inline(never)]
    pub(crate) fn begin_wait(&self, wait: Wait) {
        if !self.is_evicted() {
            self.server.half_open().enter(self.neighbour(), self.connection.id(), self.since, wait);
        }
    }

    /// Called by `client-N`, when its answer is next, and behind its end: no newcomer takes its place.
    #[inline(never)]
    pub(crate) fn end_wait(&self) {
        self.server.half_open().leave(self.neighbour(), self.connection.id());
    }

    /// Called by `client-N` behind its end, if it has not become a WebSocket.
    #[inline(never)]
    pub(crate) fn end_half_open(&self) {
        if !self.is_reset.load(Relaxed) {
            return self.end_wait();
        }
        self.server.half_open().reset(self.neighbour(), self.connection.id(), self.since);
    }

    /// Called by `client-N` when a read has found it reset.
    pub(crate) fn set_reset(&self) {
        self.is_reset.store(true, Relaxed);
    }

    /// Called by the listener: from now on it cannot become a WebSocket.
    pub(crate) fn set_evicted(&self) {
        self.is_evicted.store(true, Release);
    }

    /// Called by the listener behind that: ends the wait of `client-N`. A thread that waits for input still refuses the
    /// request that has arrived, so that every client gets an answer.
    pub(crate) fn evict(&self, wait: Wait) {
        match wait {
            Wait::ForInput => self.connection.link().tcp().shutdown(Shutdown::Read),
            Wait::ForOutput => self.connection.outbox().kill(DisconnectReason::Evicted),
        }
    }

    /// Called by `client-N`.
    #[inline]
    pub(crate) fn set_stage(&self, stage: Stage) {
        self.stage.store(stage as u8, Release);
    }

    /// Returns whether it is in this stage.
    pub(crate) fn is(&self, stage: Stage) -> bool {
        self.stage.load(Acquire) == stage as u8
    }

    /// Returns whether a newcomer takes its place.
    pub(crate) fn is_evicted(&self) -> bool {
        self.is_evicted.load(Acquire)
    }
}
