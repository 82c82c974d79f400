//! [`RateLimiter`]: whether a client keeps to the rates at which it may send, and what happens if it does not. On the
//! reading thread.
//!
//! A client that is slowed is not read meanwhile: TCP does the rest.

use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::set_socket_recv_buffer_size;

use crate::connection::connection::Connection;
use crate::connection::settings::OverLimit;

/// How long it sleeps at a time: a shutdown, a Close or a connection that dies ends it then.
const STEP: Duration = Duration::from_millis(100);
/// Bytes of the kernel's receive buffer of a client that has been slowed, which could be megabytes otherwise.
const NARROW: usize = 64 << 10;

/// What a rate is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    Messages,
    Bytes,
}

/// The client has sent more than it may, and is not slowed.
#[derive(Debug)]
pub(crate) struct TooFast;

/// See the [module](self). Times are since the state was made.
#[derive(Default)]
pub(crate) struct RateLimiter {
    /// When what has been sent so far is paid for.
    messages: Duration,
    bytes: Duration,
    is_narrow: bool,
}

impl RateLimiter {
    /// Returns what counts, if there is a limit.
    pub(crate) fn new(connection: &Connection) -> Option<Box<RateLimiter>> {
        let settings = &connection.state().settings;
        (settings.max_messages.is_some() || settings.max_bytes.is_some()).then(Box::default)
    }

    /// Counts what has come. Where that is too fast, it sleeps until it is not, or is an error.
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
                self.sleep(connection, arrival.early);
                Ok(())
            }
            OverLimit::Close => Err(TooFast),
        }
    }

    fn sleep(&mut self, connection: &Connection, time: Duration) {
        let socket = &connection.link().transport.tcp().stream;
        if !std::mem::replace(&mut self.is_narrow, true) {
            // A socket that does not take it is gone.
            let _ = set_socket_recv_buffer_size(socket, NARROW);
        }
        let until = Instant::now() + time.min(Duration::from_secs(365 * 86_400));
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || connection.is_closed() || connection.has_given_way() {
                return;
            }
            let step = left.min(STEP);
            // No event is asked for, but a reset is one in any case.
            let timeout = Timespec { tv_sec: 0, tv_nsec: step.subsec_nanos().into() };
            match poll(&mut [PollFd::new(socket, PollFlags::empty())], Some(&timeout)) {
                Ok(0) => {}
                Ok(_) => return,
                Err(_) => thread::sleep(step),
            }
        }
    }
}
