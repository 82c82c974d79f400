//! What the thread that reads a connection notes of it, and what others ask of that.

use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use tungstenite::protocol::Role;

use super::Connection;
use crate::metrics::DisconnectReason;
use crate::net::transport::Transport;
use crate::printable::printable;
use crate::server::addresses::Neighbour;
use crate::server::half_open::Wait;

/// Most characters that log lines show of a path. It is kept as long as the WebSocket is open.
const MAX_PATH: usize = 200;

impl Connection {
    /// Returns how long ago the connection was accepted; at the client's end, made.
    pub fn age(&self) -> Duration {
        self.link().since.elapsed()
    }

    /// Returns the bytes that the system has taken for the peer so far: frames, and what TLS adds to them.
    pub fn bytes_sent(&self) -> u64 {
        self.link().sent.load(Relaxed)
    }

    /// Called by `client-N` before it opens a WebSocket that is to be compressed.
    #[cfg(feature = "deflate")]
    pub(crate) fn set_compressed(&self, window_bits: u8) {
        self.link().window_bits.store(window_bits.into(), Relaxed);
    }

    /// Called by `client-N` when a keepalive's Ping has been answered.
    pub(crate) fn set_latency(&self, round_trip: Duration) {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
        self.link().latency.round_trip.store(micros(round_trip), Relaxed);
        self.link().latency.at.store(micros(self.state().began.elapsed()), Relaxed);
    }

    /// Called once, by `client-N`, when it knows that the client wants a WebSocket at `path`, and who it is.
    pub(crate) fn set_request(&self, path: &str, client: SocketAddr) {
        if client != self.link().peer {
            self.link().forwarded.get_or_init(|| client);
        }
        self.link().path.get_or_init(|| printable(path).at_most(MAX_PATH).to_string());
    }

    /// Called by `client-N` when the WebSocket has ended: leaves all topics, for good.
    pub(crate) fn leave_topics(&self) {
        self.link().memberships.end(self.id());
    }

    /// Called by `client-N`, and before it starts: from now on a newcomer may take its place, while it waits for this.
    #[inline(never)]
    pub(crate) fn begin_wait(&self, wait: Wait) {
        let (link, state) = (self.link(), self.state());
        if !self.is_evicted() {
            state.half_open().enter(Neighbour::of(link.peer.ip()), link.id, link.since, wait);
        }
    }

    /// Called by `client-N`, when it is to be answered, and behind its end: nobody takes its place.
    #[inline(never)]
    pub(crate) fn end_wait(&self) {
        self.state().half_open().leave(Neighbour::of(self.link().peer.ip()), self.link().id);
    }

    /// Called by `client-N` behind its end, if it has not become a WebSocket.
    #[inline(never)]
    pub(crate) fn end_half_open(&self) {
        if !self.link().is_reset.load(Relaxed) {
            return self.end_wait();
        }
        let (link, neighbour) = (self.link(), Neighbour::of(self.link().peer.ip()));
        self.state().half_open().reset(neighbour, link.id, link.since);
    }

    /// Called by the listener: from now on it does not become a WebSocket any more.
    pub(crate) fn set_evicted(&self) {
        self.link().is_evicted.store(true, Release);
    }

    /// Called by the listener behind that: ends the wait of `client-N`. One that waits for input still refuses what has
    /// come, so that nobody is cut without a word.
    pub(crate) fn evict(&self, wait: Wait) {
        match wait {
            Wait::ForInput => self.link().transport.shutdown(Shutdown::Read),
            Wait::ForOutput => self.outbox().kill(DisconnectReason::Evicted),
        }
    }

    /// Returns whether a newcomer takes its place.
    pub(crate) fn is_evicted(&self) -> bool {
        self.link().is_evicted.load(Acquire)
    }

    /// Called by `client-N`, which may know before its flag is set.
    pub(crate) fn set_given_way(&self) {
        self.link().has_given_way.store(true, Release);
    }

    /// Returns whether it has to give way to others that need the room of its message or body, which is not whole.
    pub(crate) fn has_given_way(&self) -> bool {
        self.link().has_given_way.load(Acquire)
    }

    /// Called once, by `client-N`, when the peer's Close frame is here.
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

    /// Returns true from the moment that `client-N` has seen a request for a WebSocket.
    pub(crate) fn is_websocket(&self) -> bool {
        self.link().path.get().is_some()
    }
}
