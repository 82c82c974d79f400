//! [`Patience`]: how long a reader waits for the next byte. It ends at the caller's deadline or at the keepalive's next
//! check, whichever is first. It also decides whether a client reads at all. On the thread that reads: at the client's
//! end, and at a server's whose handler waits with a deadline.

use std::io::{self, ErrorKind};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::connection::connection::Connection;

/// Zero means no timeout.
const SHORTEST: Duration = Duration::from_millis(1);
/// How long it reads bytes that have already arrived, past the caller's deadline. Usually they run out first.
const LATE: Duration = Duration::from_millis(1);
/// The part of its backlog's limit that a client fills with its own answers, mostly pongs, while over half of the limit
/// waits without progress. Then it stops reading.
///
/// A server waits as soon as its backlog is over half. If the client did so too, both could wait for each other. So a
/// client always reads, except from a peer that requests answers and reads none.
const ANSWERS_PART: usize = 4;

/// See the [module](self).
pub(crate) struct Patience {
    /// The caller's deadline.
    until: Option<Instant>,
    /// Whether a read has been tried since that was set: bytes that have already arrived are returned in any case.
    tried: bool,
    /// Whether the socket's timeout differs from the keepalive's.
    is_limited: bool,
    /// When the last byte arrived, or the keepalive last checked.
    heard: Instant,
    /// Bytes of answers since the count last restarted.
    answers: u64,
    /// The total of sent bytes at which the data that waited then is out.
    out_at: u64,
}

impl Patience {
    /// Starts without a deadline.
    pub(crate) fn new() -> Patience {
        let heard = Instant::now();
        Patience { until: None, tried: false, is_limited: false, heard, answers: 0, out_at: 0 }
    }

    /// Counts an answer.
    pub(crate) fn answers(&mut self, bytes: usize) {
        self.answers += bytes as u64;
    }

    /// Returns whether the peer reads its answers, or has few of them.
    pub(crate) fn may_read(&mut self, connection: &Connection) -> bool {
        let (outbox, sent) = (connection.outbox(), connection.link().sent.load(Ordering::Relaxed));
        if outbox.has_room() || sent >= self.out_at {
            (self.answers, self.out_at) = (0, sent + outbox.bytes());
        }
        self.answers <= (connection.state().settings.max_backlog / ANSWERS_PART) as u64
    }

    /// Sets the caller's deadline.
    pub(crate) fn set(&mut self, until: Option<Instant>) {
        (self.until, self.tried) = (until, false);
    }

    /// Returns the caller's deadline.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.until
    }

    /// Bytes have arrived, or the keepalive has checked.
    pub(crate) fn heard(&mut self) {
        self.heard = Instant::now();
    }

    /// Returns whether it has been silent for `quiet`, after which the keepalive checks.
    pub(crate) fn is_due(&self, quiet: Option<Duration>) -> bool {
        quiet.is_some_and(|quiet| self.heard.elapsed() >= quiet)
    }

    /// Returns whether the caller's deadline has passed.
    pub(crate) fn is_over(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }

    /// Sets how long the next receive blocks. False if it must not block: then it takes only bytes that have arrived.
    /// `WouldBlock` if the caller's deadline has passed.
    ///
    /// Not inlined: to keep it off the stack of a server's idle client.
    #[inline(never)]
    pub(crate) fn limit(&mut self, connection: &Connection, quiet: Option<Duration>) -> io::Result<bool> {
        let tcp = connection.link().tcp();
        let Some(until) = self.until else {
            if std::mem::take(&mut self.is_limited) {
                tcp.set_recv_timeout(quiet)?;
            }
            return Ok(true);
        };
        let (now, tried) = (Instant::now(), std::mem::replace(&mut self.tried, true));
        if now >= until {
            // The kernel rounds a timeout up to its tick, which may be 10 ms.
            return if tried && now >= until + LATE { Err(ErrorKind::WouldBlock.into()) } else { Ok(false) };
        }
        let (left, due) = (until - now, quiet.map(|quiet| quiet.saturating_sub(self.heard.elapsed())));
        self.is_limited = true;
        tcp.set_recv_timeout(Some(due.map_or(left, |due| due.min(left)).max(SHORTEST)))?;
        Ok(true)
    }
}
