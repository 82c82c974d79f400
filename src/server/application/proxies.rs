//! Trusted proxies, and how they report their clients' addresses.

use std::net::IpAddr;

use super::Application;
use crate::network::Network;

impl Application {
    /// Trusts the proxies at these addresses: for their requests, the server reads the client's address from
    /// `X-Forwarded-For`, and whether it came by HTTPS from `X-Forwarded-Proto`
    /// ([`peer_addr`](crate::Request::peer_addr), [`is_secure`](crate::Request::is_secure); Tornado: `xheaders=True`).
    /// Off by default, because any client can send these headers. In a list, the last address counts that is not one of
    /// these. The server ignores invalid addresses and schemes. The proxy has to set both headers: for nginx
    /// `proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for` and `proxy_set_header X-Forwarded-Proto $scheme`.
    ///
    /// ```
    /// use std::net::{IpAddr, Ipv4Addr};
    ///
    /// threadcast::Application::new().xheaders([IpAddr::V4(Ipv4Addr::LOCALHOST)]);
    /// ```
    pub fn xheaders(self, trusted: impl IntoIterator<Item = IpAddr>) -> Application {
        self.trusted_proxies(trusted.into_iter().map(Network::from))
    }

    /// [`xheaders`](Application::xheaders) for the proxies in these networks.
    ///
    /// ```
    /// let network = "10.0.0.0/8".parse()?;
    /// threadcast::Application::new().trusted_proxies([network]);
    /// # Ok::<(), threadcast::Error>(())
    /// ```
    pub fn trusted_proxies(mut self, trusted: impl IntoIterator<Item = Network>) -> Application {
        self.settings.proxies = trusted.into_iter().collect();
        self
    }

    /// Reads a PROXY header, of version 1 or 2, before the first byte of each connection, and before TLS. A proxy that
    /// forwards bytes uses it to name the client. Only [trusted proxies](Application::trusted_proxies) may connect; the
    /// server closes all others. A header without a client (`LOCAL`, `UNKNOWN`) is a proxy's own check, and its address
    /// is the proxy's. Off by default: a client that can connect past the proxy could name any address.
    ///
    /// For HAProxy `server one 10.0.0.2:8888 send-proxy-v2`, for nginx, in a `stream`, `proxy_protocol on`.
    ///
    /// ```
    /// let proxies = "10.0.0.0/8".parse()?;
    /// threadcast::Application::new().trusted_proxies([proxies]).proxy_protocol(true);
    /// # Ok::<(), threadcast::Error>(())
    /// ```
    pub fn proxy_protocol(mut self, expected: bool) -> Application {
        self.settings.proxy_protocol = expected;
        self
    }
}
