//! [`ServerSettings`]: a server's settings, in addition to the [`Settings`](crate::connection::settings::Settings) of
//! its connections, with Tornado's names where it has one. Set before the server starts, held once, read by every
//! thread.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::http::cookies::CookieRules;
use crate::http::host::Hosts;
#[cfg(feature = "tls")]
use crate::net::tls::config::TlsConfig;
use crate::network::Network;
use crate::rate::Rate;
use crate::server::access::AccessLog;

/// See [`Application`](crate::Application), which has a method for each.
#[derive(Debug)]
pub(crate) struct ServerSettings {
    pub(crate) cookies: CookieRules,
    /// The host names that the server accepts.
    pub(crate) hosts: Hosts,
    /// Proxies that the server trusts to name the client.
    pub(crate) proxies: Vec<Network>,
    /// Whether each connection begins with a PROXY header, from a trusted proxy.
    pub(crate) proxy_protocol: bool,
    /// Most clients of an address; `None` for no limit.
    pub(crate) max_clients_per_address: Option<usize>,
    pub(crate) max_connects_per_address: Option<Rate>,
    pub(crate) max_body: usize,
    /// `None` for the capacity of this machine.
    pub(crate) max_buffered: Option<u64>,
    /// Certificate and key; `None` to serve without TLS.
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<TlsConfig>,
    /// The kernel's send buffer for each client, in bytes; `None` for the kernel's default.
    pub(crate) send_buffer: Option<usize>,
    pub(crate) stack_size: usize,
    /// Bytes that the application keeps for each client, and those of the rest of the program: the capacity counts
    /// both.
    pub(crate) client_memory: u64,
    pub(crate) other_memory: u64,
    pub(crate) access: AccessLog,
    /// The process that ends when this one serves.
    pub(crate) predecessor: Option<u32>,
}

impl ServerSettings {
    /// Returns whether this is a trusted proxy.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.proxies.iter().any(|proxy| proxy.contains(address))
    }

    /// Returns whether the limits of an address hold for all its connections. A trusted proxy's connections are its
    /// clients', and 127.0.0.1 and ::1 send health checks and scrapes: for these, only WebSockets are limited.
    pub(crate) fn limits_at_accept(&self, address: IpAddr) -> bool {
        !self.trusts(address) && !is_this_machine(address)
    }

    /// Returns whether the limits of an address hold for a WebSocket of `client`, which has come by a connection from
    /// `peer`. If the limits held for the connection, it has already been counted.
    pub(crate) fn limits_at_upgrade(&self, peer: IpAddr, client: IpAddr) -> bool {
        !self.trusts(client) && !self.limits_at_accept(peer)
    }
}

/// The addresses of a program's requests to its own machine. The rest of 127.0.0.0/8 is only used deliberately.
fn is_this_machine(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address == Ipv4Addr::LOCALHOST,
        IpAddr::V6(address) => address == Ipv6Addr::LOCALHOST,
    }
}

impl Default for ServerSettings {
    fn default() -> ServerSettings {
        ServerSettings {
            cookies: CookieRules::default(),
            hosts: Hosts::default(),
            proxies: Vec::new(),
            proxy_protocol: false,
            max_clients_per_address: None,
            max_connects_per_address: None,
            max_body: 1 << 20,
            max_buffered: None,
            #[cfg(feature = "tls")]
            tls: None,
            send_buffer: None,
            stack_size: 512 << 10,
            client_memory: 0,
            other_memory: 0,
            access: AccessLog::default(),
            predecessor: None,
        }
    }
}
