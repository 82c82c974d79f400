//! [`Keepalive`]: whether a silent client is still there. On `client-N`, when its read has timed out.
//!
//! A client that has been silent for the ping interval gets a Ping. Any byte received counts as a sign of life; so does
//! progress in our own writes, because the Ping waits behind them, in the outbox or in the kernel.

use std::io;
use std::time::{Duration, Instant};

use crate::connection::connection::Connection;

/// See the [module](self).
#[derive(Default)]
pub(crate) struct Keepalive {
    /// The number in the last Ping, and when it was sent; `None` once it is answered.
    ping: Option<(u64, Instant)>,
    /// Pings sent so far.
    pings: u64,
    /// Whether the client has been silent since the last one.
    pinged: bool,
    /// Bytes that its kernel had acknowledged when the Ping timed out last.
    acknowledged: Option<u64>,
}

impl Keepalive {
    /// The read has timed out. Sends a Ping unless one is out. False if the client shows no sign of life.
    ///
    /// Not inlined: the read loop of an idle client keeps within two pages of stack.
    #[cold]
    #[inline(never)]
    pub(crate) fn is_alive(&mut self, connection: &Connection) -> bool {
        if connection.outbox().state().frames() > 0 {
            // The pump is writing, and its deadline decides whether the client reads.
            return true;
        }
        if !self.pinged {
            self.pinged = true;
            self.pings += 1;
            self.ping = Some((self.pings, Instant::now()));
            // Closing already, it needs no Ping, but must still answer in time.
            let _ = connection.ping(&self.pings.to_be_bytes());
            return set_timeout(connection, true).is_ok();
        }
        let Some((acknowledged, unacked)) = connection.link().acknowledged() else { return false };
        let before = self.acknowledged.replace(acknowledged);
        // Retransmissions in vain reach no peer. Otherwise the data is on its way: the client is alive while that
        // continues.
        unacked.bytes > 0 && unacked.retransmits == 0 && before.is_none_or(|before| acknowledged > before)
    }

    /// Returns how long the peer may be silent before [`is_alive`](Keepalive::is_alive) looks.
    pub(crate) fn quiet(&self, connection: &Connection) -> Option<Duration> {
        let settings = &connection.state().settings;
        if self.pinged { settings.ping_grace() } else { settings.ping_interval }
    }

    /// Bytes have arrived.
    pub(crate) fn heard(&mut self, connection: &Connection) -> io::Result<()> {
        if !std::mem::take(&mut self.pinged) {
            return Ok(());
        }
        self.acknowledged = None;
        set_timeout(connection, false)
    }

    /// Takes a Pong that answers the last Ping. False for any other.
    pub(crate) fn take_pong(&mut self, connection: &Connection, payload: &[u8]) -> bool {
        let Some((_, sent)) = self.ping.take_if(|(number, _)| payload == number.to_be_bytes()) else {
            return false;
        };
        connection.link().set_latency(sent.elapsed());
        true
    }
}

/// The timeout of a read: the ping interval, or after a Ping the time for its answer.
fn set_timeout(connection: &Connection, pinged: bool) -> io::Result<()> {
    let settings = &connection.state().settings;
    let (interval, grace) = (settings.ping_interval, settings.ping_grace());
    if grace == interval {
        return Ok(());
    }
    connection.link().tcp().set_recv_timeout(if pinged { grace } else { interval })
}
