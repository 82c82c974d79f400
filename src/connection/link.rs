//! [`PeerLink`]: what the outbox of a connection belongs to. Its transport is read by the reading thread, which is a
//! server's `client-N`, and written by the drainer; everything else here is read by any thread.

use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};
use std::{fmt, io};

use tungstenite::protocol::Role;

use crate::connection::membership::Memberships;
use crate::connection::state::SharedState;
use crate::metrics::DisconnectReason;
use crate::net::buffers::MayGiveWay;
use crate::net::closer::{CLOSE_GRACE, Kill, Overdue, OverduePeer};
use crate::net::maybe_tls::MaybeTls;
use crate::net::outbox::{Link, Outbox};
use crate::net::thread_budget::Worker;
use crate::net::transport::{Delivery, Transport};
use crate::net::unacked::Unacked;
use crate::observer::Event;
#[cfg(feature = "deflate")]
use crate::ws::compress::MAX_WINDOW_BITS;
#[cfg(feature = "deflate")]
use crate::ws::frame::{Frame, Prepared};

/// How long a pump blocks in one write before it looks at the clock: this, or the write deadline if that is
/// shorter, which it must not overshoot by much.
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
    // Set when it is made.
    pub(crate) transport: MaybeTls,
    pub(crate) id: u64,
    /// Which end this is: a client masks its frames, and lets the server end the TCP connection.
    pub(crate) role: Role,
    /// The other end of the socket.
    pub(crate) peer: SocketAddr,
    pub(crate) state: Arc<SharedState>,

    // Written by the reading thread: once, before it begins to read.
    /// The client behind the proxy that the peer is. Written before the path.
    pub(crate) forwarded: OnceLock<SocketAddr>,
    /// The path of the WebSocket, as log lines show it.
    pub(crate) path: OnceLock<String>,
    /// The bits of the window that the peer has for compressed messages; 0 if it takes none. Read by every push, so it
    /// is beside what is read then anyway.
    #[cfg(feature = "deflate")]
    pub(crate) window_bits: AtomicU64,

    // Written by the reading thread while it reads.
    /// The last keepalive's round trip.
    pub(crate) latency: Latency,
    /// The peer's close code and reason. Written once, before `on_close`.
    pub(crate) close: OnceLock<(Option<u16>, Option<String>)>,

    // Written by the drainer.
    /// Bytes that the transport has taken. Read by the reading thread: when a Ping has timed out, and at a client's end
    /// while much waits.
    pub(crate) sent: AtomicU64,
    /// The pump that runs, or waits for a thread, or the last one that did. Joined by the reading thread or by the next
    /// pump.
    pub(crate) pump: Mutex<Option<Worker>>,

    // Written by any thread.
    /// Whether it has to give way to others that need the room of its message. Read by the reading thread.
    pub(crate) has_given_way: AtomicBool,
    /// The topics that it leaves at its end, which is the reading thread's doing.
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
            #[cfg(feature = "deflate")]
            window_bits: AtomicU64::new(0),
            latency: Latency::default(),
            close: OnceLock::new(),
            sent: AtomicU64::new(0),
            pump: Mutex::default(),
            has_given_way: AtomicBool::new(false),
            memberships: Memberships::default(),
        }
    }

    /// Returns the peer's address, or that of the client behind it.
    pub(crate) fn addr(&self) -> SocketAddr {
        *self.forwarded.get().unwrap_or(&self.peer)
    }

    /// Returns the compressed form of a message, if this peer is to get that.
    #[cfg(feature = "deflate")]
    #[inline(never)]
    pub(crate) fn deflated(&self, message: &Prepared<'_>) -> Option<Frame> {
        let from = self.state.settings.compression?;
        // No distance within a message is longer than the message, so it fits the window of who has a small one.
        let bits = self.window_bits.load(Ordering::Relaxed);
        let longest = if bits == u64::from(MAX_WINDOW_BITS) { usize::MAX } else { 1 << bits };
        if (from..=longest).contains(&message.payload().len()) { message.deflated() } else { None }
    }

    /// Waits for the thread of the pump to end; it has nothing left to write.
    pub(crate) fn join_pump(&self) {
        let pump = self.pump.lock().unwrap_or_else(PoisonError::into_inner).take();
        pump.inspect(Worker::join);
    }

    /// Returns how many of the bytes sent the peer's kernel has acknowledged, and how often the kernel has sent
    /// the rest again in vain; `None` if the kernel does not say.
    pub(crate) fn acknowledged(&self) -> Option<(u64, Unacked)> {
        let unacked = self.state.tcp_table.unacked(self.transport.local_addr().ok()?, self.peer)?;
        Some((self.sent.load(Ordering::Relaxed).saturating_sub(unacked.bytes), unacked))
    }

    fn warn_slow(&self, why: &str, backlog: u64) {
        log::warn!(target: crate::LOG, "{self} is a slow consumer: disconnected, {why}, {backlog} bytes are lost");
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
        self.transport.set_send_timeout(PUMP_WRITE.min(self.write_deadline()))?;
        let PeerLink { id, state, pump: last, .. } = self;
        let (id, observer, counters) = (*id, state.observer.clone(), state.counters.clone());
        // Held until the pump is in it: the next one may be wanted before that.
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        let before = last.take();
        let run = move || {
            // It has given up its role, so it is about to end.
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
        let started =
            started.inspect_err(|error| log::warn!(target: crate::LOG, "{self} has no pump: {error}"))?;
        *last = Some(started);
        Ok(())
    }

    fn disconnect(&self, reason: DisconnectReason) {
        // Counted before anybody can notice.
        self.state.counters.disconnected(reason);
        self.transport.shutdown(Shutdown::Both);
        match reason {
            DisconnectReason::Overflow { backlog } => {
                self.report(Event::SlowConsumer { backlog });
                self.warn_slow("its backlog is full", backlog);
            }
            DisconnectReason::Stalled { backlog } => {
                self.report(Event::SlowConsumer { backlog });
                self.warn_slow("it has read nothing within the write deadline", backlog);
            }
            DisconnectReason::NoPump { backlog } => {
                self.report(Event::SlowConsumer { backlog });
                self.warn_slow("no thread became free to write to it", backlog);
            }
            _ => log::debug!(target: crate::LOG, "{self}: disconnected ({reason:?})"),
        }
    }

    fn hold(&self, bytes: u64, all: u64) -> bool {
        self.state.buffers.hold(bytes, all)
    }

    fn release(&self, bytes: u64) {
        self.state.buffers.release(bytes);
    }

    fn close_written(&self, connection: Weak<dyn Kill>) {
        // Who has sent a Close has answered ours, or needs no answer to its own; but a server has to end the TCP
        // connection then.
        if self.close.get().is_none() || self.role == Role::Client {
            let (deadline, peer) = (Instant::now() + CLOSE_GRACE, OverduePeer::Closing(connection));
            // Without a closer the server is shutting down, which has a deadline of its own.
            let _ = self.state.closer.send(Overdue { deadline, peer });
        }
    }

    #[inline]
    fn sent(&self, bytes: usize) {
        // One drainer at a time: no need for an addition that others see whole.
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
            self.link.transport.shutdown(Shutdown::Read);
        } else {
            // Its thread does not read: it waits until the client takes what was answered before.
            self.kill(DisconnectReason::GaveWay);
        }
    }
}

/// `client-7 (127.0.0.1:50000 /websocket)`
impl fmt::Display for PeerLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.get().map_or("", String::as_str);
        write!(f, "client-{} ({} {path})", self.id, self.addr())
    }
}
