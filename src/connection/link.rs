//! [`PeerLink`]: the owner of a connection's outbox. The reading thread, a server's `client-N`, reads its transport,
//! and the drainer writes it. Any thread may read the other fields.

mod writing;

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tungstenite::protocol::Role;

use crate::connection::membership::Memberships;
use crate::connection::state::SharedState;
use crate::http::exchange::Choices;
use crate::metrics::DisconnectReason;
use crate::net::closer::Errand;
use crate::net::maybe_tls::MaybeTls;
use crate::net::tcp::Tcp;
use crate::net::thread_budget::Worker;
use crate::net::unacked::{Unacked, canonical};
use crate::printable::printable;
#[cfg(feature = "deflate")]
use crate::ws::compress::MAX_WINDOW_BITS;
#[cfg(feature = "deflate")]
use crate::ws::frame::{Frame, Prepared};

/// Most characters that log lines show of a path. It is kept as long as the WebSocket is open.
const MAX_PATH: usize = 200;

/// The round trip of the last keepalive's Ping, in microseconds, and when it ended, in microseconds since the
/// state was made; 0 before the first one.
#[derive(Default)]
pub(crate) struct Latency {
    pub(crate) round_trip: AtomicU64,
    pub(crate) at: AtomicU64,
}

/// See the [module](self). The fields are grouped by who writes them.
pub(crate) struct PeerLink {
    // Set at its creation.
    pub(crate) transport: MaybeTls,
    pub(crate) id: u64,
    /// Which end this is: a client masks its frames, and lets the server end the TCP connection.
    pub(crate) role: Role,
    /// The other end of the socket.
    pub(crate) peer: SocketAddr,
    pub(crate) state: Arc<SharedState>,

    // Written by the reading thread: once, before it begins to read.
    /// The client, if the peer is a proxy. Written before the path.
    forwarded: OnceLock<SocketAddr>,
    /// The path of the WebSocket, as log lines show it.
    pub(crate) path: OnceLock<String>,
    /// The subprotocol chosen in the handshake, if any.
    pub(crate) choices: OnceLock<Box<Choices>>,
    /// The bits of the peer's window for compressed messages; 0 if it accepts none. Read by every push, so it is next
    /// to the fields that a push reads anyway.
    #[cfg(feature = "deflate")]
    pub(crate) window_bits: AtomicU64,

    // Written by the reading thread while it reads.
    /// The last keepalive's round trip.
    pub(crate) latency: Latency,
    /// The peer's close code and reason. Written once, before `on_close`.
    pub(crate) close: OnceLock<(Option<u16>, Option<String>)>,

    // Written by the drainer.
    /// Bytes that the transport has accepted. Read by the reading thread: when a Ping has timed out, and at a client's
    /// end while much waits.
    pub(crate) sent: AtomicU64,
    /// The pump that runs or waits for a thread, or the last one that ran. Joined by the reading thread or by the next
    /// pump.
    pub(crate) pump: Mutex<Option<Worker>>,

    // Written by any thread.
    /// Why it has ended: from the reading thread, or from the first thread that killed it.
    ended_by: Mutex<Option<DisconnectReason>>,
    /// Whether it has to give way to clients that need the room of its message. Read by the reading thread.
    has_given_way: AtomicBool,
    /// The topics, which the reading thread leaves at the end.
    pub(crate) memberships: Memberships,
}

impl PeerLink {
    pub(crate) fn new(
        transport: MaybeTls,
        id: u64,
        role: Role,
        peer: SocketAddr,
        state: Arc<SharedState>,
    ) -> PeerLink {
        PeerLink {
            transport,
            id,
            role,
            peer,
            state,
            forwarded: OnceLock::new(),
            path: OnceLock::new(),
            choices: OnceLock::new(),
            #[cfg(feature = "deflate")]
            window_bits: AtomicU64::new(0),
            latency: Latency::default(),
            close: OnceLock::new(),
            sent: AtomicU64::new(0),
            pump: Mutex::default(),
            ended_by: Mutex::default(),
            has_given_way: AtomicBool::new(false),
            memberships: Memberships::default(),
        }
    }

    /// Returns the socket, for its timeouts, its ends and its address, which the outbox does not handle.
    pub(crate) fn tcp(&self) -> &Tcp {
        self.transport.tcp()
    }

    /// Returns the peer's address, or that of the client behind a proxy.
    pub(crate) fn addr(&self) -> SocketAddr {
        *self.forwarded.get().unwrap_or(&self.peer)
    }

    /// Returns whether this is the client's end.
    #[inline]
    pub(crate) fn is_client(&self) -> bool {
        self.role == Role::Client
    }

    /// Called once, by the reading thread, when it knows the path of the WebSocket, and the other end: `client` is
    /// behind a proxy, or the peer.
    #[inline(never)]
    pub(crate) fn set_path(&self, path: &str, client: SocketAddr) {
        if client != self.peer {
            self.forwarded.get_or_init(|| client);
        }
        self.path.get_or_init(|| printable(path).at_most(MAX_PATH).to_string());
    }

    /// Returns true once the path of a WebSocket is known.
    pub(crate) fn is_websocket(&self) -> bool {
        self.path.get().is_some()
    }

    /// Called by the reading thread before it opens a WebSocket with compression.
    #[cfg(feature = "deflate")]
    pub(crate) fn set_compressed(&self, window_bits: u8) {
        self.window_bits.store(window_bits.into(), Relaxed);
    }

    /// Returns the most bytes in a message that is read.
    pub(crate) fn max_message(&self) -> usize {
        let chosen = self.choices.get().and_then(|choices| choices.max_message);
        chosen.unwrap_or(self.state.settings.max_message)
    }

    /// Called by the reading thread when a keepalive's Ping has been answered.
    pub(crate) fn set_latency(&self, round_trip: Duration) {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
        self.latency.round_trip.store(micros(round_trip), Relaxed);
        self.latency.at.store(micros(self.state.began.elapsed()), Relaxed);
    }

    /// Called once, by the reading thread, when the peer's Close frame has arrived.
    pub(crate) fn set_close(&self, code: Option<u16>, reason: Option<String>) {
        self.close.get_or_init(|| (code, reason.filter(|reason| !reason.is_empty())));
    }

    /// Returns whether the peer's Close frame has arrived.
    pub(crate) fn has_peers_close(&self) -> bool {
        self.close.get().is_some()
    }

    /// Called by the reading thread, which may find the end before its flag is set.
    pub(crate) fn set_given_way(&self) {
        self.has_given_way.store(true, Release);
    }

    /// Returns whether it has to give way to clients that need the room of its incomplete message or body.
    pub(crate) fn has_given_way(&self) -> bool {
        self.has_given_way.load(Acquire)
    }

    /// Called by the reading thread when it has read the end, unless another thread has already killed the connection.
    pub(crate) fn set_ended(&self, reason: DisconnectReason) {
        self.ended_by().get_or_insert(reason);
    }

    /// Called by the reading thread when the WebSocket has ended: leaves all topics, for good.
    pub(crate) fn leave_topics(&self) {
        self.memberships.end(self.id);
        self.has_closed();
    }

    /// Returns the compressed form of a message, if this peer should get it.
    #[cfg(feature = "deflate")]
    #[inline(never)]
    pub(crate) fn deflated(&self, message: &Prepared<'_>) -> Option<Frame> {
        let from = self.state.settings.compression?;
        // No distance within a message is longer than the message, so a short message fits a small window.
        let bits = self.window_bits.load(Relaxed);
        let longest = if bits == u64::from(MAX_WINDOW_BITS) { usize::MAX } else { 1 << bits };
        if (from..=longest).contains(&message.payload().len()) { message.deflated() } else { None }
    }

    /// Waits for the thread of the pump to end; it has written everything.
    pub(crate) fn join_pump(&self) {
        let pump = self.pump.lock().unwrap_or_else(PoisonError::into_inner).take();
        pump.inspect(Worker::join);
    }

    /// Returns how many of the bytes sent the peer's kernel has acknowledged, and how often the kernel has
    /// retransmitted the rest in vain; `None` if the kernel does not say.
    pub(crate) fn acknowledged(&self) -> Option<(u64, Unacked)> {
        let unacked = self.state.tcp_table.unacked(self.tcp().local_addr().ok()?, self.peer)?;
        Some((self.sent.load(Relaxed).saturating_sub(unacked.bytes), unacked))
    }

    /// Called when the connection can no longer send: runs the calls that wait for that.
    #[cold]
    #[inline(never)]
    pub(crate) fn has_closed(&self) {
        for call in self.memberships.take_calls() {
            // Without a closer, it runs on this thread.
            let _ = self.state.closer.send(Errand::Call(call));
        }
    }

    /// Returns why it has ended, to read or to set.
    pub(crate) fn ended_by(&self) -> MutexGuard<'_, Option<DisconnectReason>> {
        self.ended_by.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `client-7 (127.0.0.1:50000 /websocket)`
impl fmt::Display for PeerLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client-{} ({}", self.id, canonical(self.addr()))?;
        match self.path.get() {
            Some(path) => write!(f, " {path})"),
            None => f.write_str(")"),
        }
    }
}
