//! [`Patience`]: how long a client's reader waits for the next byte: until its caller's deadline, or until the
//! keepalive has to look, whichever is first; and whether it reads at all. On the thread that reads, and at the client's
//! end alone.

use std::io::{self, ErrorKind};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::connection::connection::Connection;
use crate::net::transport::Transport;

/// No timeout at all is spelled zero.
const SHORTEST: Duration = Duration::from_millis(1);
/// How long what has come already is read, past the caller's deadline: until there is nothing more, as a rule.
const LATE: Duration = Duration::from_millis(1);
/// The part of its backlog's limit that a client fills with answers of its own, pongs above all, while over half of the
/// limit waits and does not get away. Then it reads no more.
///
/// A server waits as soon as its backlog is over half. If the client did, too, both could wait for each other: a client
/// reads, whatever it has to send, and only a peer that wants answers and takes none is not read.
const ANSWERS_PART: usize = 4;

/// See the [module](self).
pub(crate) struct Patience {
    /// The caller's deadline.
    until: Option<Instant>,
    /// Whether a read has been tried since that was set: what is here already comes in any case.
    tried: bool,
    /// Whether the socket's timeout is another than the keepalive's.
    is_limited: bool,
    /// When the last byte came, or the keepalive last looked.
    heard: Instant,
    /// Bytes of answers since they were last counted anew.
    answers: u64,
    /// Bytes that are sent in all once what waited then is out.
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

    /// Returns whether the peer takes its answers, or has not got many.
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

    /// Something has come, or the keepalive has looked.
    pub(crate) fn heard(&mut self) {
        self.heard = Instant::now();
    }

    /// Returns whether it has been silent for `quiet`, after which the keepalive looks.
    pub(crate) fn is_due(&self, quiet: Option<Duration>) -> bool {
        quiet.is_some_and(|quiet| self.heard.elapsed() >= quiet)
    }

    /// Returns whether the caller's deadline has passed.
    pub(crate) fn is_over(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }

    /// Sets how long the next receive blocks. False if it must not: then it takes what has come. `WouldBlock` if
    /// the caller's deadline has passed.
    ///
    /// Not inlined: an idle client of a server has none of it on its stack.
    #[inline(never)]
    pub(crate) fn limit(&mut self, connection: &Connection, quiet: Option<Duration>) -> io::Result<bool> {
        let transport = &connection.link().transport;
        let Some(until) = self.until else {
            if std::mem::take(&mut self.is_limited) {
                transport.set_recv_timeout(quiet)?;
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
        transport.set_recv_timeout(Some(due.map_or(left, |due| due.min(left)).max(SHORTEST)))?;
        Ok(true)
    }
}
