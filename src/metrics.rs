//! A server's counters, and the reasons for which connections end. Every thread writes and reads them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub use by_reason::HandshakeResults;
pub(crate) use push_tally::PushTally;

mod by_reason;
mod push_tally;

/// The reasons for which connections end: the name and the meaning of each. All other code iterates.
macro_rules! disconnect_reasons {
    ($($(#[$doc:meta])+ $reason:ident $name:ident,)+) => {
        /// The reason for a connection's end.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum DisconnectReason {
            $($(#[$doc])+ $reason,)+
        }

        impl DisconnectReason {
            /// All of them.
            pub const ALL: &'static [DisconnectReason] = &[$(DisconnectReason::$reason),+];

            /// Returns its name, which is also that of the field in [`Disconnects`].
            pub const fn name(self) -> &'static str {
                match self {
                    $(DisconnectReason::$reason => stringify!($name),)+
                }
            }
        }

        /// How many connections have ended, by reason: a number for each [`DisconnectReason`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Disconnects {
            $($(#[$doc])+ pub $name: u64,)+
        }

        impl Disconnects {
            fn read(counters: &ReasonCounters) -> Disconnects {
                Disconnects { $($name: counters[DisconnectReason::$reason as usize].get(),)+ }
            }

            /// Returns each reason, with its number.
            pub fn iter(&self) -> impl Iterator<Item = (DisconnectReason, u64)> + use<> {
                [$((DisconnectReason::$reason, self.$name)),+].into_iter()
            }
        }
    };
}

disconnect_reasons! {
    /// The backlog was full when one more frame came.
    Overflow overflow,
    /// The backlog made no progress during the whole write deadline.
    Stalled stalled,
    /// All threads that could write to a full socket were in use.
    NoPump no_pump,
    /// A write failed, or the peer's input was invalid.
    Failed failed,
    /// A newer client needed the room.
    Evicted evicted,
    /// The peer did not answer a Close frame in time.
    CloseTimeout close_timeout,
    /// The peer did not answer a Ping in time.
    PingTimeout ping_timeout,
    /// The client sent more than [`max_messages`](crate::Application::max_messages) or
    /// [`max_bytes`](crate::Application::max_bytes) allow.
    TooFast too_fast,
    /// It held the most buffered bytes, in an incomplete message or body, and other clients needed the room: see
    /// [`max_buffered`](crate::Application::max_buffered).
    GaveWay gave_way,
    /// The server shut down.
    Shutdown shutdown,
    /// A handler panicked, or a thread that was writing.
    Panicked panicked,
    /// The peer left, or the closing handshake was complete.
    Done done,
}

impl DisconnectReason {
    /// Returns whether the peer read too slowly, or all threads that could write its backlog were in use.
    pub(crate) fn is_slowness(self) -> bool {
        matches!(self, DisconnectReason::Overflow | DisconnectReason::Stalled | DisconnectReason::NoPump)
    }
}

/// One for each reason, in their order.
type ReasonCounters = [Counter; DisconnectReason::ALL.len()];

/// A number that only grows. A thread that reads an addition also sees all earlier counts.
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

/// One server's counters, from its start.
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
    pub(crate) rejected_not_a_proxy: Counter,
    pub(crate) rejected_clients_per_address: Counter,
    pub(crate) rejected_connects_per_address: Counter,
    pub(crate) rejected_draining: Counter,
    pub(crate) limited_messages: Counter,
    pub(crate) limited_bytes: Counter,
    pub(crate) pushes: Counter,
    pub(crate) bytes: Counter,
    /// Bytes that compression took off those.
    pub(crate) saved: Counter,
    ends: ReasonCounters,
    /// Set once, by the thread that drains the server or shuts it down, and read by every thread.
    draining: AtomicBool,
}

impl Counters {
    /// Counts the end of a connection.
    pub(crate) fn disconnected(&self, reason: DisconnectReason) {
        self.ends[reason as usize].add(1);
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

/// Reads a server's counters; clones read the counters of one server. Comes from
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
        // In this order: otherwise a client that comes and goes during the reading could make the difference negative.
        let ended = counters.ended.get();
        let accepted = counters.accepted.get();
        let websockets_ended = counters.websockets_ended.get();
        let pumps_ended = counters.pumps_ended.get();
        let saved = counters.saved.get();
        let bytes = counters.bytes.get();
        let disconnects = Disconnects::read(&counters.ends);
        let rejections = Rejections {
            full: counters.rejected_full.get(),
            half_open: counters.rejected_half_open.get(),
            not_a_proxy: counters.rejected_not_a_proxy.get(),
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
            slow_consumers: disconnects
                .iter()
                .filter(|(reason, _)| reason.is_slowness())
                .map(|(_, n)| n)
                .sum(),
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
    /// Open WebSockets; no more than the [`Capacity`](crate::Capacity).
    pub websockets: u64,
    /// Connections accepted since the start.
    pub accepted: u64,
    /// WebSocket handshakes, by result.
    pub handshakes: HandshakeResults,
    /// TLS handshakes, by result; a handshake that the client abandons has failed.
    pub tls_handshakes: HandshakeResults,
    /// Threads now writing to a full socket.
    pub pumps: u64,
    /// Connections rejected with 503 or 429, whatever the reason.
    pub rejected: u64,
    /// Rejected connections, by reason.
    pub rejections: Rejections,
    /// How often the server slowed or closed clients because they exceeded their rate.
    pub limited: Limited,
    /// Frames accepted for sending.
    pub pushes: u64,
    /// Bytes in those frames, as sent.
    pub bytes: u64,
    /// Bytes in those frames without compression.
    pub bytes_uncompressed: u64,
    /// WebSockets disconnected because they read too slowly, or because all threads that could write their backlog were
    /// in use.
    pub slow_consumers: u64,
    /// Connections that have ended, by reason.
    pub disconnects: Disconnects,
}

/// How many connections were rejected, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rejections {
    /// The server was full.
    pub full: u64,
    /// Its own address had the most half-open connections.
    pub half_open: u64,
    /// Only trusted proxies may connect: see [`proxy_protocol`](crate::Application::proxy_protocol).
    pub not_a_proxy: u64,
    /// See [`max_clients_per_address`](crate::Application::max_clients_per_address).
    pub clients_per_address: u64,
    /// See [`max_connects_per_address`](crate::Application::max_connects_per_address).
    pub connects_per_address: u64,
    /// The server was about to end: see [`Server::drain`](crate::Server::drain).
    pub draining: u64,
}

/// How often clients exceeded their limits, by limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limited {
    /// See [`max_messages`](crate::Application::max_messages).
    pub messages: u64,
    /// See [`max_bytes`](crate::Application::max_bytes).
    pub bytes: u64,
}
