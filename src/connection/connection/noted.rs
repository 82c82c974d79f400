//! Notes of a connection's reading thread, and queries of other threads.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use tungstenite::protocol::Role;

use super::Connection;
use crate::http::exchange::Choices;
use crate::metrics::DisconnectReason;
use crate::printable::printable;

/// Most characters that log lines show of a path. The connection keeps it as long as the WebSocket is open.
const MAX_PATH: usize = 200;

impl Connection {
    /// Returns the bytes that the system has accepted for the peer so far: frames, and the overhead of TLS.
    pub fn bytes_sent(&self) -> u64 {
        self.link().sent.load(Relaxed)
    }

    /// Called by the reading thread before it opens a WebSocket with compression.
    #[cfg(feature = "deflate")]
    pub(crate) fn set_compressed(&self, window_bits: u8) {
        self.link().window_bits.store(window_bits.into(), Relaxed);
    }

    /// Called once, when the handshake is done.
    #[inline(never)]
    pub(crate) fn set_choices(&self, choices: Choices) {
        if let Some(bytes) = choices.max_backlog {
            self.outbox().set_limit(bytes as u64);
        }
        if choices.subprotocol.is_some() || choices.max_message.is_some() {
            self.link().choices.get_or_init(|| Box::new(choices));
        }
    }

    /// Returns the most bytes in a message that is read.
    pub(crate) fn max_message(&self) -> usize {
        let chosen = self.link().choices.get().and_then(|choices| choices.max_message);
        chosen.unwrap_or(self.state().settings.max_message)
    }

    /// Called by the reading thread when a keepalive's Ping has been answered.
    pub(crate) fn set_latency(&self, round_trip: Duration) {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
        self.link().latency.round_trip.store(micros(round_trip), Relaxed);
        self.link().latency.at.store(micros(self.state().began.elapsed()), Relaxed);
    }

    /// Called once, by the reading thread, when it knows the path of the WebSocket, and the other end: `client` is
    /// behind a proxy, or the peer.
    #[inline(never)]
    pub(crate) fn set_path(&self, path: &str, client: SocketAddr) {
        if client != self.link().peer {
            self.link().forwarded.get_or_init(|| client);
        }
        self.link().path.get_or_init(|| printable(path).at_most(MAX_PATH).to_string());
    }

    /// Called by the reading thread when the WebSocket has ended: leaves all topics, for good.
    pub(crate) fn leave_topics(&self) {
        self.link().memberships.end(self.id());
        self.link().has_closed();
    }

    /// Called by the reading thread, which may find the end before its flag is set.
    pub(crate) fn set_given_way(&self) {
        self.link().has_given_way.store(true, Release);
    }

    /// Returns whether it has to give way to clients that need the room of its incomplete message or body.
    pub(crate) fn has_given_way(&self) -> bool {
        self.link().has_given_way.load(Acquire)
    }

    /// Called by the reading thread when it has read the end, unless another thread has already killed the connection.
    pub(crate) fn set_ended(&self, reason: DisconnectReason) {
        self.link().ended_by().get_or_insert(reason);
    }

    /// Called once, by the reading thread, when the peer's Close frame has arrived.
    pub(crate) fn set_close(&self, code: Option<u16>, reason: Option<String>) {
        self.link().close.get_or_init(|| (code, reason.filter(|reason| !reason.is_empty())));
    }

    /// Returns whether the peer's Close frame has arrived.
    pub(crate) fn has_peers_close(&self) -> bool {
        self.link().close.get().is_some()
    }

    /// Returns whether this is the client's end.
    #[inline]
    pub(crate) fn is_client(&self) -> bool {
        self.link().role == Role::Client
    }

    /// Returns true once the path of a WebSocket is known.
    pub(crate) fn is_websocket(&self) -> bool {
        self.link().path.get().is_some()
    }
}
