//! [`ClientLink`]: what the outbox of a client belongs to. Its transport is read by `client-N`, written by the
//! drainer; everything else here is read by any thread.

use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};
use std::{fmt, io};

use tungstenite::protocol::Role;

use crate::metrics::DisconnectReason;
use crate::net::buffers::MayGiveWay;
use crate::net::closer::{CLOSE_GRACE, Kill, Overdue, OverduePeer};
use crate::net::maybe_tls::MaybeTls;
use crate::net::outbox::{Link, Outbox};
use crate::net::thread_budget::Worker;
use crate::net::transport::{Delivery, Transport};
use crate::net::unacked::Unacked;
use crate::observer::Event;
use crate::server::membership::Memberships;
use crate::server::state::ServerState;
#[cfg(feature = "deflate")]
use crate::ws::compress::MAX_WINDOW_BITS;
#[cfg(feature = "deflate")]
use crate::ws::frame::{Frame, Prepared};

/// How long a pump blocks in one write before it looks at the clock: this, or the write deadline if that is
/// shorter, which it must not overshoot by much.
const PUMP_WRITE: Duration = Duration::from_millis(500);

/// The round trip of the last keepalive's Ping, in microseconds, and when it ended, in microseconds since the
/// server's start; 0 before the first one.
#[derive(Default)]
pub(crate) struct Latency {
    pub(crate) round_trip: AtomicU64,
    pub(crate) at: AtomicU64,
}

/// How far a client is that is no WebSocket: what the end of the server may cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// A request may be on its way: from the accept to the end of the first head, and from the first byte of another one.
    Asking,
    /// A request is here, and its answer is not out.
    Answering,
    /// It has been answered, and nothing of another request is here.
    Idle,
    /// It has its last answer.
    Lingering,
}

/// See the [module](self).
pub(crate) struct ClientLink {
    pub(crate) transport: MaybeTls,
    pub(crate) id: u64,
    /// Which end this is: a client masks its frames, and lets the server end the TCP connection.
    pub(crate) role: Role,
    /// The other end of the socket.
    pub(crate) peer: SocketAddr,
    /// The client behind the proxy that this is. Written once by `client-N`, before the path.
    pub(crate) forwarded: OnceLock<SocketAddr>,
    pub(crate) state: Arc<ServerState>,
    /// The path that the client asked for as a WebSocket, as log lines show it. Written once by `client-N`.
    pub(crate) path: OnceLock<String>,
    /// The peer's close code and reason. Written once by `client-N`, before `on_close`.
    pub(crate) close: OnceLock<(Option<u16>, Option<String>)>,
    /// Bytes that the transport has taken. Written by the drainer, read by the reading thread: when a Ping has timed out,
    /// and at a client's end while much waits.
    pub(crate) sent: AtomicU64,
    /// The bits of the window that the client has for compressed messages; 0 if it takes none. Written once by
    /// `client-N`, before `open`; read by every push, so it is beside what is read then anyway.
    #[cfg(feature = "deflate")]
    pub(crate) window_bits: AtomicU64,
    /// The last keepalive's round trip. Written by `client-N`, read by any thread.
    pub(crate) latency: Latency,
    /// When it was made, which is the accept.
    pub(crate) since: Instant,
    /// Whether it makes room for a newcomer. Written once by the listener, read by `client-N`.
    pub(crate) is_evicted: AtomicBool,
    /// Whether it has to give way to others that need the room of its message. Written by any thread, read by `client-N`.
    pub(crate) has_given_way: AtomicBool,
    /// Whether the peer has reset it before it was a WebSocket. Written and read by `client-N`.
    pub(crate) is_reset: AtomicBool,
    /// The [`Stage`]. Written by `client-N`, read by the thread that ends the server.
    pub(crate) stage: AtomicU8,
    /// The topics that it leaves at its end. Written by any thread that subscribes it, and ended by `client-N`.
    pub(crate) memberships: Memberships,
    /// The pump that runs, or waits for a thread, or the last one that did. Written by the drainer, joined by `client-N`
    /// or by the next pump.
    pub(crate) pump: Mutex<Option<Worker>>,
}

impl ClientLink {
    pub(crate) fn new(
        transport: MaybeTls,
        id: u64,
        role: Role,
        peer: SocketAddr,
        state: Arc<ServerState>,
    ) -> ClientLink {
        ClientLink {
            transport,
            id,
            role,
            peer,
            state,
            forwarded: OnceLock::new(),
            path: OnceLock::new(),
            close: OnceLock::new(),
            #[cfg(feature = "deflate")]
            window_bits: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            latency: Latency::default(),
            since: Instant::now(),
            is_evicted: AtomicBool::new(false),
            has_given_way: AtomicBool::new(false),
            is_reset: AtomicBool::new(false),
            stage: AtomicU8::new(Stage::Asking as u8),
            memberships: Memberships::default(),
            pump: Mutex::default(),
        }
    }

    /// Returns the client's address: the peer's, or that of the client behind it.
    pub(crate) fn client(&self) -> SocketAddr {
        *self.forwarded.get().unwrap_or(&self.peer)
    }

    /// Returns the compressed form of a message, if this client is to get that.
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

impl Link for ClientLink {
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
        let ClientLink { id, state, pump: last, .. } = self;
        let (id, stack_size, observer) = (*id, state.settings.stack_size, state.observer.clone());
        let counters = state.counters.clone();
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
            Delivery::Inline => {
                state.budget.spawn_pump(format!("pump-{id}"), stack_size, self.write_deadline(), run)
            }
            Delivery::Handoff => state.budget.spawn(format!("writer-{id}"), stack_size, Duration::ZERO, run),
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

impl MayGiveWay for Outbox<ClientLink> {
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
impl fmt::Display for ClientLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.get().map_or("", String::as_str);
        write!(f, "client-{} ({} {path})", self.id, self.client())
    }
}
