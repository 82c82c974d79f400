//! [`Proxy`]: a proxy that opens a tunnel to the server with `CONNECT` (RFC 9110, section 9.3.6), and how to find it in
//! the environment.

use std::net::IpAddr;
use std::{env, fmt};

use data_encoding::BASE64;
use percent_encoding::percent_decode_str;

use super::url::{Url, host_and_port};
use crate::error::{Error, Result};

/// Which proxy a client uses.
#[derive(Clone, Default)]
pub(super) enum ProxyChoice {
    #[default]
    None,
    /// The proxy of this URL.
    Url(String),
    /// The proxy in `HTTPS_PROXY`, subject to `NO_PROXY`.
    Environment,
}

/// See the [module](self).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Proxy {
    /// An IPv6 address without its brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// `user:password`.
    user: Option<Vec<u8>>,
}

impl ProxyChoice {
    /// Returns the proxy on the way to this server.
    pub(super) fn find(&self, url: &Url) -> Result<Option<Proxy>> {
        match self {
            ProxyChoice::None => Ok(None),
            ProxyChoice::Url(proxy) => Proxy::parse(proxy).map(Some),
            ProxyChoice::Environment => {
                // An empty variable counts as not set.
                let variable = |lower: &str, upper| {
                    env::var(lower).ok().filter(|value| !value.is_empty()).or_else(|| env::var(upper).ok())
                };
                let proxy = variable("https_proxy", "HTTPS_PROXY").filter(|proxy| !proxy.is_empty());
                let exempt = variable("no_proxy", "NO_PROXY").unwrap_or_default();
                let Some(proxy) = proxy.filter(|_| !is_exempt(url, &exempt)) else { return Ok(None) };
                Proxy::parse(&proxy)
                    .map(Some)
                    .map_err(|error| Error::invalid(format!("HTTPS_PROXY: {error}")))
            }
        }
    }
}

impl Proxy {
    /// Reads `http://user:password@host:port`, where only the host is required. The error never quotes it, because it
    /// may have a password.
    fn parse(proxy: &str) -> Result<Proxy> {
        let wrong = |why: &str| Error::invalid(format!("not a proxy URL such as http://host:3128: {why}"));
        let rest = match proxy.split_once("://") {
            None => proxy,
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some(_) => return Err(wrong("only http:// proxies are supported")),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (user, authority) = match rest.rsplit_once('@') {
            Some((user, authority)) => (Some(percent_decode_str(user).collect()), authority),
            None => (None, rest),
        };
        if authority.contains(['/', '?']) {
            return Err(wrong("it has a path"));
        }
        // The rules for host and port are those of any URL.
        let url = Url::parse(&format!("ws://{authority}"))
            .map_err(|error| wrong(error.to_string().split_once(": ").map_or("", |(_, why)| why)))?;
        Ok(Proxy { host: url.host, port: url.port, user })
    }

    /// Returns the request for a tunnel to the server.
    pub(super) fn request(&self, url: &Url) -> String {
        let target = host_and_port(&url.host, Some(url.port));
        let user = self.user.as_ref().map(|user| BASE64.encode(user));
        let user = user.map(|user| format!("Proxy-Authorization: Basic {user}\r\n")).unwrap_or_default();
        format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{user}\r\n")
    }
}

/// Without user and password.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the proxy http://{}", host_and_port(&self.host, Some(self.port)))
    }
}

/// Returns whether a list like `localhost, .a.test, 10.0.0.0/8, b.test:8443` contains this server. A name includes its
/// subdomains, as for `curl`.
fn is_exempt(url: &Url, list: &str) -> bool {
    list.split([',', ' ']).filter(|entry| !entry.is_empty()).any(|entry| {
        if entry == "*" {
            return true;
        }
        let entry = entry.to_ascii_lowercase();
        let (name, port) = match entry.rsplit_once(':') {
            Some((name, port)) if !name.contains(':') || name.ends_with(']') => (name, Some(port)),
            _ => (entry.as_str(), None),
        };
        if port.is_some_and(|port| port != url.port.to_string()) {
            return false;
        }
        let name = name.trim_start_matches('.').trim_matches(['[', ']']);
        match url.host.parse::<IpAddr>() {
            Ok(address) => is_within(address, name),
            Err(_) => url.host.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
        }
    })
}

/// Returns whether an address is this one, or in this network.
fn is_within(address: IpAddr, network: &str) -> bool {
    let bits = |address| match address {
        IpAddr::V4(address) => u128::from(u32::from(address)) << 96,
        IpAddr::V6(address) => u128::from(address),
    };
    let (network, length) = network.split_once('/').unwrap_or((network, "128"));
    let (Ok(network), Ok(length)) = (network.parse::<IpAddr>(), length.parse::<u32>()) else { return false };
    let differs = bits(address) ^ bits(network);
    address.is_ipv4() == network.is_ipv4() && differs.leading_zeros() >= length.min(128)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_proxies_as_a_table() {
        for (proxy, host, port, user) in [
            ("http://proxy.test:3128", "proxy.test", 3128, None),
            ("http://proxy.test:3128/", "proxy.test", 3128, None),
            ("HTTP://Proxy.test", "proxy.test", 80, None),
            ("proxy.test:8080", "proxy.test", 8080, None),
            ("http://me:se%3Acret@[::1]:3128", "::1", 3128, Some("me:se:cret")),
            ("http://me:p@ss@10.0.0.1:1", "10.0.0.1", 1, Some("me:p@ss")),
        ] {
            let user = user.map(|user: &str| user.as_bytes().to_vec());
            assert_eq!(Proxy::parse(proxy).unwrap(), Proxy { host: host.to_owned(), port, user }, "{proxy}");
        }
        for (proxy, says) in [
            ("https://me:secret@proxy.test", "only http://"),
            ("socks5://proxy.test:1080", "only http://"),
            ("http://me:secret@proxy.test/way", "a path"),
            ("http://me:secret@", "no host"),
            ("http://proxy.test:99999", "1 to 65535"),
            ("http://a b", "neither a name nor an address"),
            ("", "no host"),
        ] {
            let error = Proxy::parse(proxy).unwrap_err().to_string();
            assert!(error.starts_with("not a proxy URL such as http://host:3128: "), "{error}");
            assert!(error.contains(says) && !error.contains("secret"), "{proxy}: {error}");
        }
    }

    #[test]
    fn the_request_names_host_and_port_and_has_the_user() {
        let proxy = |url| Proxy::parse(url).unwrap();
        let request = proxy("http://p.test").request(&Url::parse("wss://a.test/x?token=1").unwrap());
        assert_eq!(request, "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n");
        let with_user = proxy("http://me:secret@[::2]:3128");
        let request = with_user.request(&Url::parse("ws://[::1]").unwrap());
        assert_eq!(
            request,
            "CONNECT [::1]:80 HTTP/1.1\r\nHost: [::1]:80\r\nProxy-Authorization: Basic bWU6c2VjcmV0\r\n\r\n"
        );
        assert_eq!(with_user.to_string(), "the proxy http://[::2]:3128");
    }

    #[test]
    fn servers_that_need_no_proxy_as_a_table() {
        for (list, exempt, others) in [
            ("", &[][..], &["ws://a.test"][..]),
            (" , ", &[], &["ws://a.test", "ws://10.1.2.3"]),
            ("*", &["ws://a.test", "ws://10.1.2.3"], &[]),
            (
                "a.test",
                &["ws://a.test", "ws://A.Test:81", "ws://b.a.test"],
                &["ws://ba.test", "ws://a.test.b"],
            ),
            (".a.test, b.test", &["ws://a.test", "ws://c.a.test", "wss://b.test"], &["ws://test"]),
            ("a.test:443", &["wss://a.test", "ws://b.a.test:443"], &["ws://a.test"]),
            ("10.0.0.0/8,::1", &["ws://10.1.2.3", "ws://[::1]:8"], &["ws://11.1.2.3", "ws://[::2]"]),
            ("10.1.2.3", &["ws://10.1.2.3"], &["ws://10.1.2.4", "ws://110.1.2.3"]),
            ("[fd00::1]:80 fd01::/16", &["ws://[fd00::1]", "ws://[fd01::9]"], &["wss://[fd00::1]"]),
            ("0.0.0.0/0", &["ws://10.1.2.3"], &["ws://[::1]", "ws://a.test"]),
            ("10.0.0.0/x, ::1/8/9, :80", &[], &["ws://10.0.0.0", "ws://[::1]"]),
        ] {
            for (urls, expected) in [(exempt, true), (others, false)] {
                for url in urls {
                    assert_eq!(is_exempt(&Url::parse(url).unwrap(), list), expected, "{list:?}, {url}");
                }
            }
        }
    }
}
