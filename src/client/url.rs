//! [`Url`]: a WebSocket's address (RFC 6455, section 3), as far as a client needs it. Pure.
//!
//! A host is a name in ASCII or an address: write a name in another script as the DNS does (`xn--`). The client
//! percent-encodes characters of path and query that a request line cannot carry, as browsers do, and keeps existing
//! encodings.

use std::fmt;
use std::net::Ipv6Addr;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::error::{Error, Result};

/// The characters that a browser encodes in a path or a query.
const ENCODED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// See the [module](self).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url {
    /// `wss`.
    pub(super) is_secure: bool,
    /// In lower case; an IPv6 address without its brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// Path and query, as in the request line.
    pub(super) target: String,
}

impl Url {
    /// Reads a URL. The error never quotes it, because it may have a password.
    pub(super) fn parse(url: &str) -> Result<Url> {
        let wrong = |what: &str| Err(Error::invalid(format!("not a WebSocket URL: {what}")));
        if url.chars().any(char::is_control) {
            return wrong("it has control characters");
        }
        let Some((scheme, rest)) = url.split_once("://") else {
            return wrong("it does not begin with ws:// or wss://");
        };
        let (is_secure, default) = match scheme.to_ascii_lowercase().as_str() {
            "ws" => (false, 80),
            "wss" => (true, 443),
            "http" => return wrong("write ws:// in place of http://"),
            "https" => return wrong("write wss:// in place of https://"),
            _ => return wrong("it does not begin with ws:// or wss://"),
        };
        if rest.contains('#') {
            return wrong("it has a fragment; write a # that belongs to the path as %23");
        }
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return wrong("it has a user or a password; send them in an Authorization header");
        }
        let (host, port) = match authority.strip_prefix('[').map(|rest| rest.split_once(']')) {
            Some(Some((host, port))) if host.parse::<Ipv6Addr>().is_ok() => (host, port),
            Some(_) => return wrong("its host in brackets is not an IPv6 address"),
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        if host.is_empty() {
            return wrong("it has no host");
        }
        if !host.is_ascii() {
            return wrong("its host is not ASCII; write the name in the form that DNS uses, xn--...");
        }
        if !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte)) {
            return wrong("its host is neither a name nor an address");
        }
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => default,
            Some("") => default,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => match digits.parse() {
                Ok(port @ 1..) => port,
                _ => return wrong("its port is not from 1 to 65535"),
            },
            _ => return wrong("its port is not a number"),
        };
        let slash = if target.starts_with('/') { "" } else { "/" };
        let target = format!("{slash}{}", utf8_percent_encode(target, ENCODED));
        Ok(Url { is_secure, host: host.to_ascii_lowercase(), port, target })
    }

    /// Returns the value of the `Host` header: it includes the port if that is not the scheme's default.
    pub(super) fn authority(&self) -> String {
        let default = if self.is_secure { 443 } else { 80 };
        host_and_port(&self.host, (self.port != default).then_some(self.port))
    }

    /// Returns the path without the query, which may contain tokens.
    pub(super) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

/// Returns the part behind `://`: an IPv6 address has brackets.
pub(super) fn host_and_port(host: &str, port: Option<u16>) -> String {
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    if host.contains(':') { format!("[{host}]{port}") } else { format!("{host}{port}") }
}

/// The form for logs, without the query: `ws://localhost:8888/feed`.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_secure { "wss" } else { "ws" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_as_a_table() {
        for (url, is_secure, host, port, authority, target) in [
            ("ws://a.test", false, "a.test", 80, "a.test", "/"),
            ("WSS://A.Test", true, "a.test", 443, "a.test", "/"),
            ("wss://a.test:80/", true, "a.test", 80, "a.test:80", "/"),
            ("ws://a.test:/x", false, "a.test", 80, "a.test", "/x"),
            ("ws://a.test:443/x?y=1", false, "a.test", 443, "a.test:443", "/x?y=1"),
            ("ws://a.test?y=/@:", false, "a.test", 80, "a.test", "/?y=/@:"),
            ("ws://a.test?y=http://b", false, "a.test", 80, "a.test", "/?y=http://b"),
            ("ws://127.0.0.1:8888/", false, "127.0.0.1", 8888, "127.0.0.1:8888", "/"),
            ("wss://[::1]/", true, "::1", 443, "[::1]", "/"),
            ("ws://[2001:DB8::1]:65535", false, "2001:db8::1", 65535, "[2001:db8::1]:65535", "/"),
            ("ws://my_host-1.test/a b", false, "my_host-1.test", 80, "my_host-1.test", "/a%20b"),
            ("ws://a/\u{fc}?q=\"\u{20ac}\"", false, "a", 80, "a", "/%C3%BC?q=%22%E2%82%AC%22"),
            ("ws://a/%2f%zz?x=%20+'", false, "a", 80, "a", "/%2f%zz?x=%20+'"),
            ("ws://a//b/../c", false, "a", 80, "a", "//b/../c"),
        ] {
            let parsed = Url::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
            let (host, target) = (host.to_owned(), target.to_owned());
            assert_eq!(parsed, Url { is_secure, host, port, target }, "{url}");
            assert_eq!(parsed.authority(), authority, "{url}");
        }
    }

    #[test]
    fn what_is_no_url_of_a_websocket_is_refused_in_words() {
        for (url, says) in [
            ("", "ws:// or wss://"),
            ("a.test/x", "ws:// or wss://"),
            (" ws://a.test", "ws:// or wss://"),
            ("ws:/a.test", "ws:// or wss://"),
            ("ftp://a.test", "ws:// or wss://"),
            ("http://a.test", "write ws://"),
            ("https://a.test", "write wss://"),
            ("ws://a.test/#top", "fragment"),
            ("ws://a.test#", "fragment"),
            ("ws://me:secret@a.test/", "Authorization"),
            ("ws://me@a.test/", "Authorization"),
            ("ws://", "no host"),
            ("ws:///x", "no host"),
            ("ws://:80/x", "no host"),
            ("ws://a.test:0", "1 to 65535"),
            ("ws://a.test:65536", "1 to 65535"),
            ("ws://a.test:+80", "not a number"),
            ("ws://a.test:80:80", "not a number"),
            ("ws://[::1]x/", "not a number"),
            ("ws://[::1", "IPv6"),
            ("ws://[fe80::1%25eth0]/", "IPv6"),
            ("ws://b\u{fc}cher.test/", "xn--"),
            ("ws://b%C3%BCcher.test/", "neither a name nor an address"),
            ("ws://a b.test/", "neither a name nor an address"),
            ("ws://a.test/\r\nHost: b", "control characters"),
            ("ws://a.test/\t", "control characters"),
        ] {
            let error = Url::parse(url).expect_err(url).to_string();
            assert!(error.starts_with("not a WebSocket URL: ") && error.contains(says), "{url}: {error}");
            assert!(!error.contains("secret") && error.lines().count() == 1, "{error}");
        }
    }

    #[test]
    fn its_name_has_no_query_where_tokens_travel() {
        let url = Url::parse("wss://a.test:444/x?token=1").unwrap();
        assert_eq!((url.to_string(), url.path()), ("wss://a.test:444/x".to_owned(), "/x"));
    }
}
