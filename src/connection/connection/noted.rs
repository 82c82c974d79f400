//! What the thread that reads a connection notes of it, and what others ask of that.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use tungstenite::protocol::Role;

use super::Connection;
use crate::printable::printable;

/// Most characters that log lines show of a path. It is kept as long as the WebSocket is open.
const MAX_PATH: usize = 200;

impl Connection {
    /// Called by the reading thread before it opens a WebSocket that is to be compressed.
    #[cfg(feature = "deflate")]
    pub(crate) fn set_compressed(&self, window_bits: u8) {
        self.link().window_bits.store(window_bits.into(), Relaxed);
    }

    /// Called by the reading thread when a keepalive's Ping has been answered.
    pub(crate) fn set_latency(&self, round_trip: Duration) {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
        self.link().latency.round_trip.store(micros(round_trip), Relaxed);
        self.link().latency.at.store(micros(self.state().began.elapsed()), Relaxed);
    }

    /// Called once, by the reading thread, when it knows the path of the WebSocket, and who the other end is: `client` is behind a proxy,
    /// or the peer.
    pub(crate) fn set_path(&self, path: &str, client: SocketAddr) {
        if client != self.link().peer {
            self.link().forwarded.get_or_init(|| client);
        }
        self.link().path.get_or_init(|| printable(path).at_most(MAX_PATH).to_string());
    }

    /// Called by the reading thread when the WebSocket has ended: leaves all topics, for good.
    pub(crate) fn leave_topics(&self) {
        self.link().memberships.end(self.id());
    }

    /// Called by the reading thread, which may know before its flag is set.
    pub(crate) fn set_given_way(&self) {
        self.link().has_given_way.store(true, Release);
    }

    /// Returns whether it has to give way to others that need the room of its message or body, which is not whole.
    pub(crate) fn has_given_way(&self) -> bool {
        self.link().has_given_way.load(Acquire)
    }

    /// Called once, by the reading thread, when the peer's Close frame is here.
    pub(crate) fn set_close(&self, code: Option<u16>, reason: Option<String>) {
        self.link().close.get_or_init(|| (code, reason.filter(|reason| !reason.is_empty())));
    }

    /// Returns whether the peer's Close frame is here.
    pub(crate) fn has_peers_close(&self) -> bool {
        self.link().close.get().is_some()
    }

    /// Returns whether this is the client's end.
    #[inline]
    pub(crate) fn is_client(&self) -> bool {
        self.link().role == Role::Client
    }

    /// Returns true from the moment that the path of a WebSocket is known.
    pub(crate) fn is_websocket(&self) -> bool {
        self.link().path.get().is_some()
    }
}
