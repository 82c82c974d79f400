//! Proxies that are trusted, and what they tell of their clients.

use super::Application;
use crate::network::Network;

impl Application {
    /// Trusts the proxies at these addresses: of a request that comes from one of them, the client's address is taken
    /// from `X-Forwarded-For`, and whether it came by HTTPS from `X-Forwarded-Proto`
    /// ([`peer_addr`](crate::Request::peer_addr), [`is_secure`](crate::Request::is_secure); Tornado: `xheaders=True`).
    /// Off by default, since anybody can send these headers. In a list the last address counts that is not one of
    /// these; what is no address or scheme is ignored. The proxy has to set both: for nginx
    /// `proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for` and
    /// `proxy_set_header X-Forwarded-Proto $scheme`.
    ///
    /// ```
    /// use std::net::{IpAddr, Ipv4Addr};
    ///
    /// threadcast::Application::new().xheaders([IpAddr::V4(Ipv4Addr::LOCALHOST)]);
    /// let network: threadcast::Network = "10.0.0.0/8".parse()?;
    /// threadcast::Application::new().xheaders([network]);
    /// # Ok::<(), threadcast::Error>(())
    /// ```
    pub fn xheaders(mut self, trusted: impl IntoIterator<Item: Into<Network>>) -> Application {
        self.settings.proxies = trusted.into_iter().map(Into::into).collect();
        self
    }

    /// Reads a PROXY header, of version 1 or 2, before the first byte of each connection, and of TLS: the way in which a
    /// proxy that passes on bytes tells who the client is. Only the proxies that [`xheaders`](Application::xheaders)
    /// trusts may connect; all others are closed. A header that names nobody (`LOCAL`, `UNKNOWN`) is a proxy's own check,
    /// and its address is the proxy's. Off by default, since whoever may send this header may be anybody.
    ///
    /// For HAProxy `server one 10.0.0.2:8888 send-proxy-v2`, for nginx, in a `stream`, `proxy_protocol on`.
    ///
    /// ```
    /// let proxies: threadcast::Network = "10.0.0.0/8".parse()?;
    /// threadcast::Application::new().xheaders([proxies]).proxy_protocol(true);
    /// # Ok::<(), threadcast::Error>(())
    /// ```
    pub fn proxy_protocol(mut self, expected: bool) -> Application {
        self.settings.proxy_protocol = expected;
        self
    }
}
