//! Limits for each address and each client.

use super::Application;
use crate::connection::settings::OverLimit;
use crate::rate::Rate;

impl Application {
    /// Sets the most concurrent clients of one address; no limit by default. One more gets a 503 with a random
    /// `Retry-After` of 1 to 10 seconds; over TLS it gets an alert. An address is all of an IPv4 address, and the first
    /// 64 bits of an IPv6 one. Behind a proxy that [`xheaders`](Application::xheaders) trusts, the address that the
    /// proxy names counts, for WebSockets, and never the proxy's own. For 127.0.0.1 and `::1` too only WebSockets
    /// count, so that a machine can always check itself. The clients of a company or a mobile network may share one
    /// address.
    ///
    /// # Panics
    /// If `clients` is 0.
    #[track_caller]
    pub fn max_clients_per_address(mut self, clients: usize) -> Application {
        assert!(clients > 0, "an address has at least 1 client, not 0");
        self.settings.max_clients_per_address = Some(clients);
        self
    }

    /// Sets how often one address may connect; no limit by default. One that connects more often gets a 429 with
    /// `Retry-After`: the time until it may connect again, clamped to 1 to 10 seconds; over TLS it gets an alert.
    /// Addresses count as for [`max_clients_per_address`](Application::max_clients_per_address).
    ///
    /// ```
    /// use threadcast::{Application, Rate};
    ///
    /// Application::new().max_clients_per_address(100).max_connects_per_address(Rate::per_second(20));
    /// ```
    pub fn max_connects_per_address(mut self, rate: Rate) -> Application {
        self.settings.max_connects_per_address = Some(rate);
        self
    }

    /// Sets how many messages a client may send, Pings and Pongs included; no limit by default. Beyond that the server
    /// slows the client or closes it, see [`over_limit`](Application::over_limit).
    ///
    /// ```
    /// use threadcast::{Application, OverLimit, Rate};
    ///
    /// Application::new().max_messages(Rate::per_second(20)).over_limit(OverLimit::Close);
    /// ```
    pub fn max_messages(mut self, rate: Rate) -> Application {
        self.connections.max_messages = Some(rate);
        self
    }

    /// Sets how many bytes a client may send over its WebSocket, as they arrive; no limit by default. A message may be
    /// larger than a second's worth, if the client takes the time to send it.
    pub fn max_bytes(mut self, rate: Rate) -> Application {
        self.connections.max_bytes = Some(rate);
        self
    }

    /// Sets what happens to a client that sends more than [`max_messages`](Application::max_messages) or
    /// [`max_bytes`](Application::max_bytes). By default its thread sleeps before the next read. The client has to wait
    /// too, and loses nothing.
    pub fn over_limit(mut self, over_limit: OverLimit) -> Application {
        self.connections.over_limit = over_limit;
        self
    }
}
