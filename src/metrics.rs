//! What a server counts, and the reasons for which connections end. Written by every thread, read by anyone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub use by_reason::HandshakeResults;
pub(crate) use push_tally::PushTally;

mod by_reason;
mod push_tally;

/// Who, or what, ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DisconnectReason {
    /// Its backlog was at the limit when one more frame came.
    Overflow { backlog: u64 },
    /// Its backlog did not shrink for the whole write deadline.
    Stalled { backlog: u64 },
    /// There was no thread for its pump.
    NoPump { backlog: u64 },
    /// A write failed.
    Failed,
    /// It had to make room for a newer client.
    Evicted,
    /// The peer did not answer a Close frame in time.
    CloseTimeout,
    /// The peer showed no sign of life after a Ping.
    PingTimeout,
    /// It sent more than it may.
    TooFast,
    /// It held most of what may be buffered, with a message or a body that was not whole.
    GaveWay,
    /// The server shut down.
    Shutdown,
    /// A handler or a drainer panicked.
    Panicked,
    /// The peer left, or the closing handshake was complete.
    Done,
}

/// One number that only grows. Who reads what was added sees all that was counted before.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Release);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// What one server counts, from its start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) accepted: Counter,
    pub(crate) ended: Counter,
    pub(crate) websockets: Counter,
    pub(crate) websockets_ended: Counter,
    pub(crate) handshakes: Counter,
    pub(crate) handshakes_failed: Counter,
    pub(crate) tls_handshakes: Counter,
    pub(crate) tls_handshakes_failed: Counter,
    pub(crate) pumps: Counter,
    pub(crate) pumps_ended: Counter,
    pub(crate) rejected: Counter,
    pub(crate) rejected_full: Counter,
    pub(crate) rejected_half_open: Counter,
    pub(crate) rejected_clients_per_address: Counter,
    pub(crate) rejected_connects_per_address: Counter,
    pub(crate) rejected_draining: Counter,
    pub(crate) limited_messages: Counter,
    pub(crate) limited_bytes: Counter,
    pub(crate) pushes: Counter,
    pub(crate) bytes: Counter,
    /// Bytes that compression took off those.
    pub(crate) saved: Counter,
    overflow: Counter,
    stalled: Counter,
    no_pump: Counter,
    failed: Counter,
    evicted: Counter,
    close_timeout: Counter,
    ping_timeout: Counter,
    too_fast: Counter,
    gave_way: Counter,
    shutdown: Counter,
    panicked: Counter,
    done: Counter,
    /// Set once, by the thread that drains the server or shuts it down, and read by every thread.
    draining: AtomicBool,
}

impl Counters {
    /// Counts the end of a connection.
    pub(crate) fn disconnected(&self, reason: DisconnectReason) {
        let counter = match reason {
            DisconnectReason::Overflow { .. } => &self.overflow,
            DisconnectReason::Stalled { .. } => &self.stalled,
            DisconnectReason::NoPump { .. } => &self.no_pump,
            DisconnectReason::Failed => &self.failed,
            DisconnectReason::Evicted => &self.evicted,
            DisconnectReason::CloseTimeout => &self.close_timeout,
            DisconnectReason::PingTimeout => &self.ping_timeout,
            DisconnectReason::TooFast => &self.too_fast,
            DisconnectReason::GaveWay => &self.gave_way,
            DisconnectReason::Shutdown => &self.shutdown,
            DisconnectReason::Panicked => &self.panicked,
            DisconnectReason::Done => &self.done,
        };
        counter.add(1);
    }

    /// Notes that the server is about to end.
    pub(crate) fn begin_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Returns whether the server is about to end.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }
}

/// Reads what a server counts; clones read the same. From
/// [`Application::meter`](crate::Application::meter), before the server runs, so that a page can show it.
#[derive(Debug, Clone, Default)]
pub struct Meter(pub(crate) Arc<Counters>);

impl Meter {
    /// Returns whether the server is about to end, as [`Server::is_draining`](crate::Server::is_draining) does: a page
    /// that a load balancer asks, such as `/ready`, answers 503 then.
    pub fn is_draining(&self) -> bool {
        self.0.is_draining()
    }

    /// Returns the numbers now.
    pub fn stats(&self) -> Stats {
        let counters = &*self.0;
        // In this order, or a client that comes and goes meanwhile would be one less than none.
        let ended = counters.ended.get();
        let accepted = counters.accepted.get();
        let websockets_ended = counters.websockets_ended.get();
        let pumps_ended = counters.pumps_ended.get();
        let saved = counters.saved.get();
        let bytes = counters.bytes.get();
        let disconnects = Disconnects {
            overflow: counters.overflow.get(),
            stalled: counters.stalled.get(),
            no_pump: counters.no_pump.get(),
            failed: counters.failed.get(),
            evicted: counters.evicted.get(),
            close_timeout: counters.close_timeout.get(),
            ping_timeout: counters.ping_timeout.get(),
            too_fast: counters.too_fast.get(),
            gave_way: counters.gave_way.get(),
            shutdown: counters.shutdown.get(),
            panicked: counters.panicked.get(),
            done: counters.done.get(),
        };
        let rejections = Rejections {
            full: counters.rejected_full.get(),
            half_open: counters.rejected_half_open.get(),
            clients_per_address: counters.rejected_clients_per_address.get(),
            connects_per_address: counters.rejected_connects_per_address.get(),
            draining: counters.rejected_draining.get(),
        };
        Stats {
            clients: accepted - ended,
            websockets: counters.websockets.get() - websockets_ended,
            accepted,
            handshakes: HandshakeResults::of(&counters.handshakes, &counters.handshakes_failed),
            tls_handshakes: HandshakeResults::of(&counters.tls_handshakes, &counters.tls_handshakes_failed),
            pumps: counters.pumps.get() - pumps_ended,
            rejected: counters.rejected.get(),
            rejections,
            limited: Limited {
                messages: counters.limited_messages.get(),
                bytes: counters.limited_bytes.get(),
            },
            pushes: counters.pushes.get(),
            bytes,
            bytes_uncompressed: bytes + saved,
            slow_consumers: disconnects.overflow + disconnects.stalled + disconnects.no_pump,
            disconnects,
        }
    }
}

/// A reading of a server's counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections open now, pages and WebSockets.
    pub clients: u64,
    /// Those of them that are WebSockets; no more than the [`Capacity`](crate::Capacity).
    pub websockets: u64,
    /// Connections accepted since the start.
    pub accepted: u64,
    /// Requests for a WebSocket, by result.
    pub handshakes: HandshakeResults,
    /// HandshakeResults of TLS, by result; one that the client leaves has failed.
    pub tls_handshakes: HandshakeResults,
    /// Threads that write to a full socket now.
    pub pumps: u64,
    /// Connections rejected with 503 or 429, whatever the reason.
    pub rejected: u64,
    /// The same, by reason.
    pub rejections: Rejections,
    /// How often clients were slowed or closed, since they sent more than they may.
    pub limited: Limited,
    /// Frames accepted for sending.
    pub pushes: u64,
    /// Bytes in those, as they are sent.
    pub bytes: u64,
    /// Bytes that would be in those if none was compressed.
    pub bytes_uncompressed: u64,
    /// WebSockets disconnected because they read too slowly, or because there was no thread left to write
    /// what they had not read.
    pub slow_consumers: u64,
    /// Connections that have ended, by who ended them.
    pub disconnects: Disconnects,
}

/// How many connections were rejected, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rejections {
    /// There were as many clients as there may be.
    pub full: u64,
    /// Its own address had the most half-open connections.
    pub half_open: u64,
    /// See [`max_clients_per_address`](crate::Application::max_clients_per_address).
    pub clients_per_address: u64,
    /// See [`max_connects_per_address`](crate::Application::max_connects_per_address).
    pub connects_per_address: u64,
    /// The server was about to end: see [`Server::drain`](crate::Server::drain).
    pub draining: u64,
}

/// How often clients were over a limit of their own, by limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limited {
    /// See [`max_messages`](crate::Application::max_messages).
    pub messages: u64,
    /// See [`max_bytes`](crate::Application::max_bytes).
    pub bytes: u64,
}

/// How many connections have ended, by who ended them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Disconnects {
    /// The backlog was full when one more frame came.
    pub overflow: u64,
    /// The backlog did not shrink for the whole write deadline.
    pub stalled: u64,
    /// There was no thread to write to a full socket.
    pub no_pump: u64,
    /// A write failed.
    pub failed: u64,
    /// A newer client needed the room.
    pub evicted: u64,
    /// The peer did not answer a Close frame in time.
    pub close_timeout: u64,
    /// The peer did not answer a Ping in time.
    pub ping_timeout: u64,
    /// The client sent more than [`max_messages`](crate::Application::max_messages) or
    /// [`max_bytes`](crate::Application::max_bytes) allow.
    pub too_fast: u64,
    /// It held most of what may be buffered, with a message or a body that was not whole, and others needed the
    /// room: see [`max_buffered`](crate::Application::max_buffered).
    pub gave_way: u64,
    /// The server shut down.
    pub shutdown: u64,
    /// A handler panicked, or a thread that was writing.
    pub panicked: u64,
    /// The peer left, or the closing handshake was complete.
    pub done: u64,
}
