//! [`Settings`]: limits and times, with Tornado's names where it has one. Set before the server starts,
//! held once, read by every thread.

use std::net::IpAddr;
use std::time::Duration;

use crate::http::cookies::CookieRules;
use crate::http::host::Hosts;
#[cfg(feature = "tls")]
use crate::net::tls::config::TlsConfig;
use crate::net::transport::Delivery;
use crate::rate::Rate;
use crate::server::access::AccessLog;

/// Most bytes that may wait for one client.
const MAX_BACKLOG: usize = 1 << 30;

/// What happens to a client that sends faster than [`max_messages`](crate::Application::max_messages) or
/// [`max_bytes`](crate::Application::max_bytes) allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OverLimit {
    /// It is read later, at its rate. Nothing is lost.
    #[default]
    Slow,
    /// It is closed with 1008.
    Close,
}

/// See [`Application`](crate::Application), which has a method for each; some are a client's, too.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) cookies: CookieRules,
    /// Who a request may be for.
    pub(crate) hosts: Hosts,
    /// Proxies whose word about the client counts.
    pub(crate) proxies: Vec<IpAddr>,
    /// Most clients of an address; `None` for no limit.
    pub(crate) max_clients_per_address: Option<usize>,
    pub(crate) max_connects_per_address: Option<Rate>,
    /// What one client may send; `None` for no limit.
    pub(crate) max_messages: Option<Rate>,
    pub(crate) max_bytes: Option<Rate>,
    pub(crate) over_limit: OverLimit,
    pub(crate) max_message: usize,
    pub(crate) max_body: usize,
    pub(crate) max_backlog: usize,
    /// `None` for what this machine allows.
    pub(crate) max_buffered: Option<u64>,
    /// The size from which messages are compressed; `None` for never.
    #[cfg(feature = "deflate")]
    pub(crate) compression: Option<usize>,
    /// Certificate and key; `None` to serve without TLS.
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<TlsConfig>,
    pub(crate) write_deadline: Duration,
    pub(crate) delivery: Delivery,
    pub(crate) ping_interval: Option<Duration>,
    pub(crate) ping_timeout: Option<Duration>,
    pub(crate) stack_size: usize,
    /// Bytes that the application keeps for a client, and those of the program beside the server: both are counted.
    pub(crate) client_memory: u64,
    pub(crate) other_memory: u64,
    pub(crate) access: AccessLog,
}

impl Settings {
    /// Sets the bytes of backlog of a slow consumer.
    ///
    /// # Panics
    /// If there are none, or more than 1 GiB.
    #[track_caller]
    pub(crate) fn set_max_backlog(&mut self, bytes: usize) {
        assert!((1..=MAX_BACKLOG).contains(&bytes), "a backlog is from 1 byte to 1 GiB, not {bytes}");
        self.max_backlog = bytes;
    }

    /// Sets how long a backlog may stand still.
    ///
    /// # Panics
    /// If it is zero.
    #[track_caller]
    pub(crate) fn set_write_deadline(&mut self, deadline: Duration) {
        assert!(!deadline.is_zero(), "a write deadline is more than zero");
        self.write_deadline = deadline;
    }

    /// Returns whether this is a proxy whose word about the client counts.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.proxies.iter().any(|proxy| proxy.to_canonical() == address.to_canonical())
    }

    /// Returns how long after a Ping the peer has to show a sign of life: as long as between two, unless set.
    pub(crate) fn ping_grace(&self) -> Option<Duration> {
        self.ping_timeout.or(self.ping_interval)
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            cookies: CookieRules::default(),
            hosts: Hosts::default(),
            proxies: Vec::new(),
            max_clients_per_address: None,
            max_connects_per_address: None,
            max_messages: None,
            max_bytes: None,
            over_limit: OverLimit::default(),
            max_message: 10 << 20,
            max_body: 1 << 20,
            max_backlog: 1 << 20,
            max_buffered: None,
            #[cfg(feature = "deflate")]
            compression: None,
            #[cfg(feature = "tls")]
            tls: None,
            write_deadline: Duration::from_secs(10),
            delivery: Delivery::Inline,
            ping_interval: Some(Duration::from_secs(20)),
            ping_timeout: None,
            stack_size: 512 << 10,
            client_memory: 0,
            other_memory: 0,
            access: AccessLog::default(),
        }
    }
}
