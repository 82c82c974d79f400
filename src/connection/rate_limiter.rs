//! [`RateLimiter`]: checks whether a client keeps to its rates, and slows or closes it if not. On the reading thread.
//!
//! The server does not read from a slowed client, so TCP slows its sender.

use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::set_socket_recv_buffer_size;

use crate::connection::connection::Connection;
use crate::connection::settings::OverLimit;

/// The longest single sleep: after it, a shutdown, a Close or the connection's death can end the wait.
const STEP: Duration = Duration::from_millis(100);
/// Bytes of the kernel's receive buffer of a client that has been slowed, which could otherwise be megabytes.
const NARROW: usize = 64 << 10;

/// The longest wait, a year; a longer one is cut to this.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

/// The unit of a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    Messages,
    Bytes,
}

/// The client has exceeded its rate, and the server does not slow it.
#[derive(Debug)]
pub(crate) struct TooFast;

/// See the [module](self). Times count from the creation of the state.
#[derive(Default)]
pub(crate) struct RateLimiter {
    /// When the input so far is paid for.
    messages: Duration,
    bytes: Duration,
    /// Until when it is slowed.
    slowed: Option<Instant>,
    is_narrow: bool,
}

impl RateLimiter {
    /// Returns the counters, if a limit is set.
    pub(crate) fn new(connection: &Connection) -> Option<Box<RateLimiter>> {
        let settings = &connection.state().settings;
        (settings.max_messages.is_some() || settings.max_bytes.is_some()).then(Box::default)
    }

    /// Counts input. If it is too fast, the client has to [wait](RateLimiter::wait), or this returns an error.
    ///
    /// Not inlined: an idle client's stack has no room for it.
    #[inline(never)]
    pub(crate) fn count(
        &mut self,
        connection: &Connection,
        counted: Counted,
        n: usize,
    ) -> Result<(), TooFast> {
        let state = connection.state();
        let (rate, paid_at) = match counted {
            Counted::Messages => (state.settings.max_messages, &mut self.messages),
            Counted::Bytes => (state.settings.max_bytes, &mut self.bytes),
        };
        let Some(rate) = rate else { return Ok(()) };
        let arrival = rate.arrive(*paid_at, state.began.elapsed(), n as u64);
        *paid_at = arrival.paid_at;
        if arrival.early.is_zero() {
            return Ok(());
        }
        let limit = match counted {
            Counted::Messages => &state.counters.limited_messages,
            Counted::Bytes => &state.counters.limited_bytes,
        };
        limit.add(1);
        let what = match counted {
            Counted::Messages => "clients send too many messages",
            Counted::Bytes => "clients send too many bytes",
        };
        state.trouble().warn_of(what, &format_args!("the limit is {rate}"), connection);
        match state.settings.over_limit {
            OverLimit::Slow => {
                let until = Instant::now() + arrival.early.min(LONGEST);
                self.slowed = self.slowed.max(Some(until));
                Ok(())
            }
            OverLimit::Close => Err(TooFast),
        }
    }

    /// Blocks as long as the client is slowed. False if `deadline` passes first.
    #[inline]
    pub(crate) fn wait(&mut self, connection: &Connection, deadline: Option<Instant>) -> bool {
        let Some(slowed) = self.slowed else { return true };
        self.sleep(connection, deadline.map_or(slowed, |deadline| deadline.min(slowed)));
        if deadline.is_some_and(|deadline| deadline < slowed) && !is_over(connection) {
            return false;
        }
        self.slowed = None;
        true
    }

    #[inline(never)]
    fn sleep(&mut self, connection: &Connection, until: Instant) {
        let socket = &connection.link().tcp().stream;
        if !std::mem::replace(&mut self.is_narrow, true) {
            // A socket that refuses the option is gone.
            let _ = set_socket_recv_buffer_size(socket, NARROW);
        }
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || is_over(connection) {
                return;
            }
            let step = left.min(STEP);
            // Requests no events, but `poll` always reports a reset.
            let timeout = Timespec { tv_sec: 0, tv_nsec: step.subsec_nanos().into() };
            match poll(&mut [PollFd::new(socket, PollFlags::empty())], Some(&timeout)) {
                Ok(0) => {}
                Ok(_) => return,
                Err(_) => thread::sleep(step),
            }
        }
    }
}

/// Returns whether further waiting is pointless.
fn is_over(connection: &Connection) -> bool {
    connection.is_closed() || connection.link().has_given_way()
}
