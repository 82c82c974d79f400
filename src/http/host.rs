//! The target host of a request: the value of a `Host` header, and [`Hosts`], the names that a server answers to. Pure.

use std::net::{IpAddr, Ipv6Addr};

/// Splits the value of a `Host` header (RFC 9110, section 7.2); `None` if it is invalid. The host is in lower case and
/// may be empty. Drops the zone of an IPv6 address: it names an interface of the client's own machine, which some
/// clients send as `%eth0` and others as `%25eth0` (RFC 6874).
pub(crate) fn host_and_port(text: &str) -> Option<(String, Option<u16>)> {
    let end = if text.starts_with('[') { text.find(']')? + 1 } else { text.find(':').unwrap_or(text.len()) };
    let (host, port) = text.split_at(end);
    let is_name =
        |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&b));
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(literal) => {
            let (address, zone) = literal.split_once('%').unwrap_or((literal, "any"));
            let is_zone = !zone.is_empty() && is_name(zone);
            format!("[{}]", address.parse::<Ipv6Addr>().ok().filter(|_| is_zone)?)
        }
        None => Some(host.to_ascii_lowercase()).filter(|host| is_name(host))?,
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => None,
        Some("") => None,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => Some(digits.parse().ok()?),
        _ => return None,
    };
    Some((host, port))
}

/// Returns whether a `Host` is a name or an address of the client's own machine, with or without a port.
pub(crate) fn is_loopback(host: &str) -> bool {
    host_and_port(host).is_some_and(|(host, _)| is_loopback_name(&without_dot(host)))
}

/// Returns whether a host, without its last dot, is `localhost`, a name below it, or a loopback address.
fn is_loopback_name(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let is_address = address.is_ok_and(|address| address.to_canonical().is_loopback());
    host == "localhost" || host.ends_with(".localhost") || is_address
}

/// `me.test.` is the absolute form of `me.test`.
fn without_dot(mut host: String) -> String {
    if host.ends_with('.') {
        host.pop();
    }
    host
}

/// The names that a server answers to; empty for all names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hosts {
    /// As [`host_and_port`] returns them, without a last dot.
    names: Vec<String>,
}

impl Hosts {
    /// Adds a name or an address; an IPv6 address may have brackets. `localhost` stands for every loopback name and
    /// address.
    ///
    /// # Panics
    /// If it is not a host, or has a port.
    #[track_caller]
    pub(crate) fn add(&mut self, name: &str) {
        let address = name.parse::<Ipv6Addr>().map(|address| format!("[{address}]"));
        let host = address.unwrap_or_else(|_| name.to_owned());
        let has_port = !host.ends_with(']') && host.contains(':');
        let host = host_and_port(&host).map(|(host, _)| without_dot(host));
        let host = host.filter(|host| !host.is_empty() && !host.contains('*') && !has_port);
        self.names.push(host.unwrap_or_else(|| {
            panic!("{name:?} is not a host: write a name or an address, without a port");
        }));
    }

    /// Returns whether a request with this `Host` is for this server. Ignores the port, because a proxy may have
    /// another one.
    pub(crate) fn include(&self, host: Option<&str>) -> bool {
        let is_named = |(host, _)| {
            let host = without_dot(host);
            let is_it = |name: &String| *name == host || (name == "localhost" && is_loopback_name(&host));
            self.names.iter().any(is_it)
        };
        self.names.is_empty() || host.and_then(host_and_port).is_some_and(is_named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_dropped() {
        for (text, host) in [
            ("[fe80::1%lo]", Some("[fe80::1]")),
            ("[fe80::1%25lo]", Some("[fe80::1]")),
            ("[FE80:0::1%25eth0]:8888", Some("[fe80::1]")),
            ("[fe80::1%wlp2s0.5]:80", Some("[fe80::1]")),
            ("[fe80::1%]", None),
            ("[fe80::1%25]", Some("[fe80::1]")),
            ("[fe80::1%a b]", None),
            ("[fe80::1%a@b]", None),
            ("[fe80::1%[]]", None),
            ("[%lo]", None),
            ("[127.0.0.1%lo]", None),
        ] {
            assert_eq!(host_and_port(text).map(|(host, _)| host).as_deref(), host, "{text}");
        }
    }

    #[test]
    fn names_of_this_machine_as_a_table() {
        for (host, local) in [
            ("localhost", true),
            ("localhost:8888", true),
            ("LOCALHOST.:80", true),
            ("clock.localhost", true),
            ("127.0.0.1", true),
            ("127.8.8.8:8888", true),
            ("[::1]:8888", true),
            ("[::1]", true),
            ("[::1%25lo]:1", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("", false),
            ("localhost.evil.test", false),
            ("notlocalhost", false),
            ("evil.test:8888", false),
            ("10.0.0.1", false),
            ("[2001:db8::1]:80", false),
            ("0.0.0.0", false),
            ("localhost..", false),
        ] {
            assert_eq!(is_loopback(host), local, "{host}");
        }
    }

    #[test]
    fn hosts_as_a_table() {
        let mut hosts = Hosts::default();
        assert!(hosts.include(None) && hosts.include(Some("any.test")), "none are all");
        for name in ["Me.test", "10.0.0.1", "fe80::1", "[2001:db8::1]", "dot.test."] {
            hosts.add(name);
        }
        for (host, included) in [
            (Some("me.test"), true),
            (Some("ME.test.:8888"), true),
            (Some("10.0.0.1:80"), true),
            (Some("[fe80:0::1%25lo]:80"), true),
            (Some("[2001:db8::1]"), true),
            (Some("dot.test"), true),
            (Some("www.me.test"), false),
            (Some("me.test.evil.test"), false),
            (Some("localhost"), false),
            (Some("127.0.0.1"), false),
            (Some(""), false),
            (Some("a b"), false),
            (None, false),
        ] {
            assert_eq!(hosts.include(host), included, "{host:?}");
        }
        hosts.add("localhost");
        for host in ["localhost:1", "127.0.0.1", "[::1]:8888", "a.localhost"] {
            assert!(hosts.include(Some(host)), "{host}");
        }
        assert!(!hosts.include(Some("evil.test")));
    }

    #[test]
    fn an_invalid_host_is_a_panic_that_says_so() {
        for name in
            ["", ".", "me.test:80", "http://me.test", "me.test/", "a b", "*.me.test", "[::1]:80", "u@me.test"]
        {
            let panic = std::panic::catch_unwind(|| Hosts::default().add(name)).unwrap_err();
            let text = panic.downcast_ref::<String>().unwrap();
            assert!(text.contains("is not a host"), "{name}: {text}");
        }
    }
}
