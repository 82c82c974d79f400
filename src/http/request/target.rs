//! The target of a request (RFC 9112, section 3.2): a path, `*` of OPTIONS, or a URL. Pure.
//!
//! Refuses everything else. A proxy in front that parses it differently would let requests pass that it means to block:
//! for HAProxy, `*://a/stats` has no path.

use crate::error::{Error, Result};
use crate::http::host::host_and_port;

/// Returns `/path?query` or `*`, and the authority if the target is a URL.
pub(super) fn read(method: &str, target: &str) -> Result<(String, Option<String>)> {
    let wrong = || {
        Error::refused(
            400,
            "The request target is not a path, nor `*` of OPTIONS, nor an http URL with a host.",
        )
    };
    if target.contains('#') {
        return Err(wrong());
    }
    if target.starts_with('/') || (target == "*" && method == "OPTIONS") {
        return Ok((target.to_owned(), None));
    }
    let is_http = |scheme: &str| ["http", "https"].iter().any(|known| known.eq_ignore_ascii_case(scheme));
    let (_, rest) = target.split_once("://").filter(|(scheme, _)| is_http(scheme)).ok_or_else(wrong)?;
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if host_and_port(authority).is_none_or(|(host, _)| host.is_empty()) {
        return Err(wrong());
    }
    let slash = if path.starts_with('/') { "" } else { "/" };
    Ok((format!("{slash}{path}"), Some(authority.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_as_a_table() {
        for (method, target, expected) in [
            ("GET", "/", Some(("/", None))),
            ("GET", "/a/b?c=d?e", Some(("/a/b?c=d?e", None))),
            ("GET", "/a?u=http://x/", Some(("/a?u=http://x/", None))),
            ("GET", "//a/stats", Some(("//a/stats", None))),
            ("OPTIONS", "*", Some(("*", None))),
            ("GET", "http://h", Some(("/", Some("h")))),
            ("GET", "http://h:1/a?b", Some(("/a?b", Some("h:1")))),
            ("GET", "http://h?x", Some(("/?x", Some("h")))),
            ("GET", "HTTPS://Me.test:8443/a", Some(("/a", Some("Me.test:8443")))),
            ("GET", "http://[::1]:80/", Some(("/", Some("[::1]:80")))),
            ("GET", "http://h/a?b=http://c/", Some(("/a?b=http://c/", Some("h")))),
            ("GET", "*", None),
            ("OPTIONS", "*/", None),
            ("GET", "*://a/stats", None),
            ("GET", "://a/stats", None),
            ("GET", "ws://a/stats", None),
            ("GET", "ftp://a/stats", None),
            ("GET", "httpx://a/stats", None),
            ("GET", "http:/a/stats", None),
            ("GET", "http:a/stats", None),
            ("GET", "http:///stats", None),
            ("GET", "http://", None),
            ("GET", "http://?x", None),
            ("GET", "http://:80/stats", None),
            ("GET", "http://u@a/stats", None),
            ("GET", "http://u:p@a/stats", None),
            ("GET", "http://@a/stats", None),
            ("GET", "http://a:x/stats", None),
            ("GET", "http://a:65536/stats", None),
            ("GET", "http://a\\b/stats", None),
            ("GET", "http://[::1/stats", None),
            ("GET", "http://a#/stats", None),
            ("GET", "/stats#", None),
            ("GET", "stats", None),
            ("GET", "a:80", None),
            ("CONNECT", "a:80", None),
            ("GET", "?x", None),
            ("GET", "\\stats", None),
        ] {
            let read = read(method, target).ok();
            let expected = expected.map(|(path, authority)| (path.to_owned(), authority.map(str::to_owned)));
            assert_eq!(read, expected, "{method} {target}");
        }
    }
}
