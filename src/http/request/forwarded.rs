//! Behind a proxy: the client's address, and whether it used HTTPS, from `X-Forwarded-For` and `X-Forwarded-Proto`.
//!
//! Anybody can send these headers. The server reads them only if the application trusts the peer as a proxy, and in
//! them only what the outermost trusted proxy wrote itself. The presence of any of them shows that the request came
//! from another machine or a proxy.

use std::net::{IpAddr, SocketAddr};

use super::Request;
use crate::http::host;

/// Headers that proxies add, in lower case, beside all that begin with [`FORWARDED`].
const OF_A_PROXY: [&str; 3] = ["x-real-ip", "forwarded", "via"];
const FORWARDED: &str = "x-forwarded";

impl Request {
    /// Returns whether the request was made on this machine: from a loopback address, to a loopback name (a page of
    /// another site may have a name that resolves to this machine), and without a header that proxies add:
    /// `X-Forwarded-*`, `X-Real-IP`, `Forwarded`, `Via`. A proxy on this machine that adds none of them, and sends such
    /// a `Host`, looks like a local client.
    pub fn is_local(&self) -> bool {
        let of_a_proxy = |name: &str| OF_A_PROXY.contains(&name) || name.starts_with(FORWARDED);
        let is_proxied = self.headers.keys().any(|name| of_a_proxy(name.as_str()));
        let has_local_name = self.header("Host").is_some_and(|host| host::is_loopback(&host));
        !is_proxied && has_local_name && self.peer.ip().to_canonical().is_loopback()
    }

    /// Takes client and scheme from the headers of a trusted proxy, and ignores invalid values. Not inlined, to keep an
    /// idle client's stack shallow.
    #[inline(never)]
    pub(crate) fn trust(&mut self, proxies: &[IpAddr]) {
        let is_trusted = |address: IpAddr| proxies.iter().any(|proxy| same(*proxy, address));
        if !is_trusted(self.peer.ip()) {
            return;
        }
        if let Some(client) = self.header("X-Forwarded-For").and_then(|list| client(&list, is_trusted)) {
            self.peer = client;
        }
        // Some proxies name the WebSocket scheme, `ws` or `wss`.
        let scheme = self.header("X-Forwarded-Proto").unwrap_or_default().to_ascii_lowercase();
        match scheme.rsplit(',').next().unwrap_or_default().trim() {
            "https" | "wss" => self.secure = Some(true),
            "http" | "ws" => self.secure = Some(false),
            _ => {}
        }
    }
}

/// Returns the address that the outermost trusted proxy has seen: from the right, the first that is not trusted itself.
/// If that one is invalid, nobody trusted wrote the entries left of it.
fn client(list: &str, is_trusted: impl Fn(IpAddr) -> bool) -> Option<SocketAddr> {
    let mut client = None;
    for entry in list.rsplit(',') {
        let address = address(entry.trim())?;
        client = Some(address);
        if !is_trusted(address.ip()) {
            break;
        }
    }
    client
}

/// Parses `1.2.3.4`, `2001:db8::1`, `[2001:db8::1]`, each with an optional port, which some proxies add; the default is
/// 0.
fn address(text: &str) -> Option<SocketAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let without_port = bare.parse().ok().map(|address: IpAddr| SocketAddr::new(address, 0));
    without_port.or_else(|| text.parse().ok())
}

/// A socket for both families has IPv4 peers as `::ffff:1.2.3.4`.
fn same(one: IpAddr, other: IpAddr) -> bool {
    one.to_canonical() == other.to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the address and scheme of a request from `peer`, behind proxies 10.0.0.1, 10.0.0.2 and ::1.
    fn forwarded(peer: &str, lines: &str) -> (String, bool) {
        let head = format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
        let peer = SocketAddr::new(peer.parse().unwrap(), 7);
        let (mut request, _) = Request::parse(head.as_bytes(), peer).unwrap().unwrap();
        let proxies = ["10.0.0.1", "::ffff:10.0.0.2", "::1"].map(|proxy| proxy.parse().unwrap());
        request.trust(&proxies);
        (request.peer_addr().to_string(), request.is_secure())
    }

    #[test]
    fn clients_as_a_table() {
        for (peer, list, client) in [
            ("10.0.0.1", "1.2.3.4", "1.2.3.4:0"),
            ("::ffff:10.0.0.1", "1.2.3.4", "1.2.3.4:0"),
            ("10.0.0.2", "1.2.3.4", "1.2.3.4:0"),
            ("::1", "2001:db8::1", "[2001:db8::1]:0"),
            ("10.0.0.1", "[2001:db8::1]", "[2001:db8::1]:0"),
            ("10.0.0.1", "[2001:db8::1]:80", "[2001:db8::1]:80"),
            ("10.0.0.1", "1.2.3.4:5678", "1.2.3.4:5678"),
            // The client's own forged entry is on the left.
            ("10.0.0.1", "127.0.0.1, 1.2.3.4", "1.2.3.4:0"),
            ("10.0.0.1", "10.0.0.2, 1.2.3.4 ,10.0.0.2", "1.2.3.4:0"),
            ("10.0.0.1", "10.0.0.2,10.0.0.1", "10.0.0.2:0"),
            // Invalid: the peer's own address.
            ("10.0.0.1", "1.2.3.4, unknown", "10.0.0.1:7"),
            ("10.0.0.1", "1.2.3.4,", "10.0.0.1:7"),
            ("10.0.0.1", "unknown, 10.0.0.2", "10.0.0.1:7"),
            ("10.0.0.1", "1.2.3.4.5", "10.0.0.1:7"),
            ("10.0.0.1", "", "10.0.0.1:7"),
            // Not trusted.
            ("10.0.0.3", "1.2.3.4", "10.0.0.3:7"),
            ("127.0.0.1", "1.2.3.4", "127.0.0.1:7"),
        ] {
            let lines = format!("X-Forwarded-For: {list}\r\n");
            assert_eq!(forwarded(peer, &lines).0, client, "{peer} {list}");
        }
        let two_lines = "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-For: 1.2.3.4\r\n";
        assert_eq!(forwarded("10.0.0.1", two_lines).0, "1.2.3.4:0");
        assert_eq!(forwarded("10.0.0.1", "Forwarded: for=1.2.3.4\r\nX-Real-IP: 1.2.3.4\r\n").0, "10.0.0.1:7");
    }

    #[test]
    fn local_requests_as_a_table() {
        for (peer, lines, is_local) in [
            ("127.0.0.1", "Host: localhost:8888", true),
            ("127.8.8.8", "Host: [::1]", true),
            ("::1", "Host: 127.0.0.1", true),
            ("::ffff:127.0.0.1", "Host: a.localhost", true),
            ("10.0.0.9", "Host: localhost", false),
            ("127.0.0.1", "Host: evil.test", false),
            ("127.0.0.1", "Host:", false),
            ("127.0.0.1", "Host: localhost\r\nX-Forwarded-For: 127.0.0.1", false),
            ("127.0.0.1", "Host: localhost\r\nX-Forwarded-Port: 80", false),
            ("127.0.0.1", "Host: localhost\r\nX-FORWARDED-Anything: x", false),
            ("127.0.0.1", "Host: localhost\r\nX-Forwarded: for=a", false),
            ("127.0.0.1", "Host: localhost\r\nX-Real-IP: 127.0.0.1", false),
            ("127.0.0.1", "Host: localhost\r\nForwarded:", false),
            ("127.0.0.1", "Host: localhost\r\nVia: 1.1 a", false),
            ("127.0.0.1", "Host: localhost\r\nX-Other: x", true),
        ] {
            let head = format!("GET / HTTP/1.1\r\n{lines}\r\n\r\n");
            let peer = SocketAddr::new(peer.parse().unwrap(), 7);
            let (request, _) = Request::parse(head.as_bytes(), peer).unwrap().unwrap();
            assert_eq!(request.is_local(), is_local, "{peer} {lines}");
        }
    }

    #[test]
    fn schemes_as_a_table() {
        for (peer, scheme, secure) in [
            ("10.0.0.1", "https", true),
            ("10.0.0.1", "HTTPS", true),
            ("10.0.0.1", "wss", true),
            ("10.0.0.1", "http, https", true),
            ("10.0.0.1", "https, http", false),
            ("10.0.0.1", "http", false),
            ("10.0.0.1", "", false),
            ("10.0.0.1", "https:", false),
            ("10.0.0.3", "https", false),
        ] {
            let lines = format!("X-Forwarded-Proto: {scheme}\r\n");
            assert_eq!(forwarded(peer, &lines).1, secure, "{peer} {scheme}");
        }
    }
}
