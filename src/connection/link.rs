//! [`PeerLink`]: the owner of a connection's outbox. The reading thread, a server's `client-N`, reads its transport,
//! and the drainer writes it. Any thread may read the other fields.

use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};
use std::{fmt, io};

use tungstenite::protocol::Role;

use crate::connection::membership::Memberships;
use crate::connection::state::SharedState;
use crate::http::exchange::Choices;
use crate::metrics::DisconnectReason;
use crate::net::buffers::MayGiveWay;
use crate::net::closer::{CLOSE_GRACE, Errand, Kill, Overdue, OverduePeer};
use crate::net::maybe_tls::MaybeTls;
use crate::net::outbox::{Link, Outbox};
use crate::net::seal::Delivery;
use crate::net::tcp::Tcp;
use crate::net::thread_budget::Worker;
use crate::net::unacked::{Unacked, canonical};
use crate::observer::Event;
#[cfg(feature = "deflate")]
use crate::ws::compress::MAX_WINDOW_BITS;
#[cfg(feature = "deflate")]
use crate::ws::frame::{Frame, Prepared};

/// How long a pump blocks in one write before it checks the clock; less if the write deadline is shorter, because it
/// must not overshoot that by much.
const PUMP_WRITE: Duration = Duration::from_millis(500);

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
    pub(crate) forwarded: OnceLock<SocketAddr>,
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
    pub(crate) has_given_way: AtomicBool,
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

    /// Returns the compressed form of a message, if this peer should get it.
    #[cfg(feature = "deflate")]
    #[inline(never)]
    pub(crate) fn deflated(&self, message: &Prepared<'_>) -> Option<Frame> {
        let from = self.state.settings.compression?;
        // No distance within a message is longer than the message, so a short message fits a small window.
        let bits = self.window_bits.load(Ordering::Relaxed);
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
        Some((self.sent.load(Ordering::Relaxed).saturating_sub(unacked.bytes), unacked))
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

impl Link for PeerLink {
    type Transport = MaybeTls;

    fn transport(&self) -> &MaybeTls {
        &self.transport
    }

    fn delivery(&self) -> Delivery {
        self.state.settings.delivery
    }

    fn write_deadline(&self) -> Duration {
        self.state.settings.write_deadline
    }

    fn start_pump(&self, pump: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.tcp().set_send_timeout(PUMP_WRITE.min(self.write_deadline()))?;
        let PeerLink { id, state, pump: last, .. } = self;
        let (id, observer, counters) = (*id, state.observer.clone(), state.counters.clone());
        // Held until the pump is in it: another thread may need the next pump before that.
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        let before = last.take();
        let run = move || {
            // The pump has given up its role, so it is about to end.
            before.inspect(Worker::join);
            observer.report(id, Event::PumpBegins);
            let running = counters.pump_begins();
            pump();
            drop(running);
            observer.report(id, Event::PumpEnds);
        };
        let started = match self.delivery() {
            Delivery::Inline => state.budget.spawn_pump(format!("pump-{id}"), self.write_deadline(), run),
            Delivery::Handoff => state.budget.spawn(format!("writer-{id}"), Duration::ZERO, run),
        };
        let started = started.inspect_err(|error| log::warn!("{self}: cannot start its pump: {error}"))?;
        *last = Some(started);
        Ok(())
    }

    fn disconnect(&self, reason: DisconnectReason, backlog: u64) {
        *self.ended_by() = Some(reason);
        // Counted before another thread can notice.
        self.state.counters.disconnected(reason);
        self.tcp().shutdown(Shutdown::Both);
        self.has_closed();
        let why = match reason {
            DisconnectReason::Overflow => "its backlog is full",
            DisconnectReason::Stalled => "it has read nothing within the write deadline",
            DisconnectReason::NoPump => "no thread became free to write to it",
            _ => return log::debug!("{self}: disconnected ({reason:?})"),
        };
        self.report(Event::SlowConsumer { backlog });
        log::warn!("{self} is a slow consumer: disconnected, {why}, {backlog} bytes are lost");
    }

    fn hold(&self, bytes: u64, all: u64) -> bool {
        self.state.buffers.hold(bytes, all)
    }

    fn release(&self, bytes: u64) {
        self.state.buffers.release(bytes);
    }

    fn close_written(&self, connection: Weak<dyn Kill>) {
        // A peer that has sent a Close has answered ours, or needs no further answer; but then a server has to end the
        // TCP connection.
        if self.close.get().is_none() || self.role == Role::Client {
            let (deadline, peer) = (Instant::now() + CLOSE_GRACE, OverduePeer::Closing(connection));
            // Without a closer the server is shutting down, which has its own deadline.
            let _ = self.state.closer.send(Errand::Overdue(Overdue { deadline, peer }));
        }
    }

    #[inline]
    fn sent(&self, bytes: usize) {
        // There is only one drainer, so the addition need not be atomic.
        self.sent.store(self.sent.load(Ordering::Relaxed) + bytes as u64, Ordering::Relaxed);
    }

    #[inline]
    fn report(&self, event: Event) {
        self.state.observer.report(self.id, event);
    }
}

impl MayGiveWay for Outbox<PeerLink> {
    fn give_way(&self) {
        self.link.has_given_way.store(true, Ordering::Release);
        if self.has_room() {
            self.link.tcp().shutdown(Shutdown::Read);
        } else {
            // Its thread does not read: it waits until the client has read the earlier answers.
            self.kill(DisconnectReason::GaveWay);
        }
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
