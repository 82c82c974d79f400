//! [`ServerSettings`]: what a server adds to the [`Settings`](crate::connection::settings::Settings) of its connections,
//! with Tornado's names where it has one. Set before the server starts, held once, read by every thread.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::http::cookies::CookieRules;
use crate::http::host::Hosts;
#[cfg(feature = "tls")]
use crate::net::tls::config::TlsConfig;
use crate::rate::Rate;

/// See [`Application`](crate::Application), which has a method for each.
#[derive(Debug)]
pub(crate) struct ServerSettings {
    pub(crate) cookies: CookieRules,
    /// Who a request may be for.
    pub(crate) hosts: Hosts,
    /// Proxies whose word about the client counts.
    pub(crate) proxies: Vec<IpAddr>,
    /// Most clients of an address; `None` for no limit.
    pub(crate) max_clients_per_address: Option<usize>,
    pub(crate) max_connects_per_address: Option<Rate>,
    pub(crate) max_body: usize,
    /// `None` for what this machine allows.
    pub(crate) max_buffered: Option<u64>,
    /// Certificate and key; `None` to serve without TLS.
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<TlsConfig>,
    pub(crate) stack_size: usize,
    /// Bytes that the application keeps for a client, and those of the program beside the server: both are counted.
    pub(crate) client_memory: u64,
    pub(crate) other_memory: u64,
}

impl ServerSettings {
    /// Returns whether this is a proxy whose word about the client counts.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.proxies.iter().any(|proxy| proxy.to_canonical() == address.to_canonical())
    }

    /// Returns whether the limits of an address hold for all its connections. Those of a trusted proxy are its clients',
    /// and 127.0.0.1 and ::1 ask from this machine, for health and numbers: their WebSockets alone are limited.
    pub(crate) fn limits_at_accept(&self, address: IpAddr) -> bool {
        !self.trusts(address) && !is_this_machine(address)
    }

    /// Returns whether the limits of an address hold for a WebSocket of `client`, which has come by a connection from
    /// `peer`. Where they held for the connection, it has been counted.
    pub(crate) fn limits_at_upgrade(&self, peer: IpAddr, client: IpAddr) -> bool {
        !self.trusts(client) && !self.limits_at_accept(peer)
    }
}

/// The addresses from which a program asks its own machine. The rest of 127.0.0.0/8 is used on purpose only.
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
            max_clients_per_address: None,
            max_connects_per_address: None,
            max_body: 1 << 20,
            max_buffered: None,
            #[cfg(feature = "tls")]
            tls: None,
            stack_size: 512 << 10,
            client_memory: 0,
            other_memory: 0,
        }
    }
}
