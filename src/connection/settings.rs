//! [`Settings`]: limits and times of a connection, of either end. Set before the first connection, stored once, read by
//! every thread.

use std::time::Duration;

use crate::net::seal::Delivery;
use crate::rate::Rate;

/// Most bytes that may wait for one client.
const MAX_BACKLOG: usize = 1 << 30;

/// The policy for a client that sends faster than [`max_messages`](crate::Application::max_messages) or
/// [`max_bytes`](crate::Application::max_bytes) allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OverLimit {
    /// The server reads it later, at its rate. Nothing is lost.
    #[default]
    Slow,
    /// The server closes it with 1008.
    Close,
}

/// See [`Application`](crate::Application) and [`client::Builder`](crate::client::Builder), which have a method for
/// each setting.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) max_message: usize,
    pub(crate) max_backlog: usize,
    /// The peer's rates; `None` for no limit.
    pub(crate) max_messages: Option<Rate>,
    pub(crate) max_bytes: Option<Rate>,
    pub(crate) over_limit: OverLimit,
    /// The size from which messages are compressed; `None` for never.
    #[cfg(feature = "deflate")]
    pub(crate) compression: Option<usize>,
    pub(crate) write_deadline: Duration,
    pub(crate) delivery: Delivery,
    pub(crate) ping_interval: Option<Duration>,
    pub(crate) ping_timeout: Option<Duration>,
}

impl Settings {
    /// Sets the bytes of backlog of a slow consumer.
    ///
    /// # Panics
    /// If `bytes` is 0, or more than 1 GiB.
    #[track_caller]
    pub(crate) fn set_max_backlog(&mut self, bytes: usize) {
        assert!((1..=MAX_BACKLOG).contains(&bytes), "a backlog is from 1 byte to 1 GiB, not {bytes}");
        self.max_backlog = bytes;
    }

    /// Sets how long a backlog may go without progress.
    ///
    /// # Panics
    /// If it is zero.
    #[track_caller]
    pub(crate) fn set_write_deadline(&mut self, deadline: Duration) {
        assert!(!deadline.is_zero(), "a write deadline is more than zero");
        self.write_deadline = deadline;
    }

    /// Returns how long after a Ping the peer has to show a sign of life: the ping interval, unless set.
    pub(crate) fn ping_grace(&self) -> Option<Duration> {
        self.ping_timeout.or(self.ping_interval)
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            max_message: 10 << 20,
            max_backlog: 1 << 20,
            max_messages: None,
            max_bytes: None,
            over_limit: OverLimit::default(),
            #[cfg(feature = "deflate")]
            compression: None,
            write_deadline: Duration::from_secs(10),
            delivery: Delivery::Inline,
            ping_interval: Some(Duration::from_secs(20)),
            ping_timeout: None,
        }
    }
}
